/// What `init` writes where there is no configuration.
enum SampleConfiguration {
  static func text(site: String, state: String) -> String {
    """
    # Holdfast: docs/configuration.md explains every key.
    site: \(site)
    listen: 0.0.0.0:7433          # other sites connect here, with mutual TLS
    state: \(state)
    control: /run/holdfast
    peers: {}
    #  other-site: { address: "other-site.example:7433" }   # no address: the other side dials
    pairs: {}
    #  my-service:
    #    primary: \(site)             # where it is served at first
    #    standby: other-site
    #    roots:
    #      - path: /srv/my-service
    #        exclude: ["*.tmp", "/cache/"]
    #    rpo: 5s
    #    retention: { all: 1h, hourly: 24h, daily: 30d }

    """
  }
}
