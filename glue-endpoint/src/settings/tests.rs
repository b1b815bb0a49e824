use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn defaults_are_the_documented_ones() {
    let settings = Settings::default();
    assert_eq!(settings.network_id, NetworkId(1));
    assert_eq!(settings.endpoint_id, None);
    assert_eq!(settings.endpoint_name, None);
    assert_eq!(settings.listen_address, at("0.0.0.0:0"));
    assert_eq!(settings.listen_interface, None);
    assert_eq!(settings.discovery_targets, [at("239.192.137.1:27320")]);
    assert_eq!(settings.discovery_listen_address, Some(at("239.192.137.1:27320")));
    assert_eq!(settings.discovery_interval, Duration::from_secs(1));
    assert_eq!(settings.discovery_timeout_multiplier, 2.0);
    assert_eq!(settings.memory_budget_bytes, 256 << 20);
    assert_eq!(settings.caches, []);
}

#[test]
fn an_untouched_builder_holds_the_defaults() {
    assert_eq!(*Builder::new().settings(), Settings::default());
}

#[test]
fn each_setter_sets_its_field_and_no_other() {
    let builder = Builder::new()
        .network_id(7)
        .endpoint_id(EndpointId::from_integer(9))
        .endpoint_name("a")
        .listen_address(at("127.0.0.1:5"))
        .listen_interface("lo")
        .discovery_target(at("10.0.0.1:1"))
        .discovery_listen_address(at("127.0.0.1:6"))
        .discovery_interval(Duration::from_millis(50))
        .discovery_timeout_multiplier(3.5)
        .memory_budget_bytes(50_000_000)
        .cache("a", 7)
        .cache("b", None)
        .network_key(NetworkKey::from_bytes([7; 32]))
        .identity_file("identity")
        .trusted_peers("trusted");
    let expected = Settings {
        network_id: NetworkId(7),
        endpoint_id: Some(EndpointId::from_integer(9)),
        endpoint_name: Some("a".to_owned()),
        listen_address: at("127.0.0.1:5"),
        listen_interface: Some("lo".to_owned()),
        discovery_targets: vec![at("10.0.0.1:1")],
        discovery_listen_address: Some(at("127.0.0.1:6")),
        discovery_interval: Duration::from_millis(50),
        discovery_timeout_multiplier: 3.5,
        memory_budget_bytes: 50_000_000,
        caches: vec![("a".to_owned(), Some(7)), ("b".to_owned(), None)],
        network_key: Some(NetworkKey::from_bytes([7; 32])),
        identity_file: Some("identity".into()),
        trusted_peers: Some("trusted".into()),
    };
    assert_eq!(*builder.settings(), expected);
}

#[test]
fn the_first_target_replaces_the_default_and_later_ones_add() {
    let builder = Builder::new().discovery_target(at("10.0.0.1:1")).discovery_target(at("10.0.0.2:2"));
    assert_eq!(builder.settings().discovery_targets, [at("10.0.0.1:1"), at("10.0.0.2:2")]);
}

#[test]
fn the_first_target_replaces_those_of_earlier_settings() {
    let settings = Settings { discovery_targets: vec![at("10.0.0.9:9")], ..Settings::default() };
    let builder = Builder::from(settings.clone());
    assert_eq!(*builder.settings(), settings);
    assert_eq!(builder.discovery_target(at("10.0.0.1:1")).settings().discovery_targets, [at("10.0.0.1:1")]);
}

#[test]
fn a_rendezvous_has_no_targets_but_may_be_given_some() {
    assert_eq!(Builder::new().rendezvous().settings().discovery_targets, []);
    let builder = Builder::new().discovery_target(at("10.0.0.1:1")).rendezvous().discovery_target(at("10.0.0.2:2"));
    assert_eq!(builder.settings().discovery_targets, [at("10.0.0.2:2")]);
}

#[test]
fn listening_for_announcements_can_be_turned_off() {
    assert_eq!(Builder::new().discovery_listen_address(None).settings().discovery_listen_address, None);
}
