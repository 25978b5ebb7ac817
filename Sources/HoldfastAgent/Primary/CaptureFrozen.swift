import HoldfastCore
import HoldfastStore

/// What a capture gives to the provider that stops the writers.
extension CaptureWorker {
  func freezeScene(_ work: CaptureWork, _ catalog: any Catalog) -> FreezeScene {
    let began = host.clock.now()
    lookForMapped(began)
    return FreezeScene(catalog: catalog, work: work, lookTime: host.clock.now() - began)
  }

  /// What was told, and by whom the newest of it.
  func tell() -> FreezeScene.News {
    var news = FreezeScene.News()
    let count = drain()
    (news.work.scans, news.work.places) = dirty.take()
    news.work.forced = mapped
    if count > 0 { news.process = watch?.newestProcess }
    return news
  }
}
