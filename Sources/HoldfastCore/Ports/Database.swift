/// A session with a PostgreSQL server. What it holds there, a backup that was begun or a temporary
/// slot, ends with it. Calls block. Not shared between threads.
package protocol DatabaseSession: AnyObject {
  /// Has one statement carried out, without the semicolon.
  /// - Parameter isWanted: asked now and then; the session ends where nobody waits any more.
  /// - Returns: rows of fields; null is empty. No field may hold a line break.
  /// - Throws: what the server said, or that it took longer than `limit`; then the session is over.
  func ask(
    _ statement: String, within limit: Duration, while isWanted: () -> Bool
  ) throws(ProviderError) -> [[String]]
  /// Ends it, and waits until it has ended here; the server may need a moment longer.
  func close()
}
