//! Decoders of what people write: variables, files, filters.

use glue_endpoint::{EndpointId, Settings};
use glue_security::{Identity, NetworkKey, PublicKey};
use glue_topics::{Filter, Share, TopicName, Trust};

/// A filter, and a topic after a line's end.
pub(crate) fn filter(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (text, topic) = text.split_once('\n').unwrap_or((text, "some/topic"));
    if let Ok(Some(share)) = Share::split(text) {
        return share.filter(MAX_TOPIC_BYTES).is_ok();
    }
    let (filter, topic) = (Filter::new(text, MAX_TOPIC_BYTES), TopicName::new(topic, MAX_TOPIC_BYTES));
    let (Ok(filter), Ok(topic)) = (filter, topic) else { return false };
    assert_eq!(filter.as_str(), text);
    let matches = filter.matches(&topic);
    match filter.topic() {
        Some(only) => assert_eq!(matches, only == topic, "{text:?} {topic:?}"),
        None => assert!(text.contains(['+', '#']), "{text:?}"),
    }
    assert_eq!(matches, is_match(text, &topic), "{text:?} {topic:?}");
    true
}

/// The rule of MQTT 5 in short, to compare with.
fn is_match(filter: &str, topic: &str) -> bool {
    if filter.starts_with(['+', '#']) && topic.starts_with('$') {
        return false;
    }
    let mut levels = topic.split('/');
    for level in filter.split('/') {
        match (level, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (name, Some(other)) if name == other => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

pub(crate) fn filter_beginnings() -> Vec<Vec<u8>> {
    ["a/+/c\na/b/c", "a/#\na", "#\n/", "$share/g/a/+/#\na/b", "+\n$SYS", "a//b\na//b", "\u{e4}/+\n\u{e4}/x"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

/// The file of trusted peers.
pub(crate) fn trust(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let trust = text.parse::<Trust>();
    let keys = text.lines().filter_map(|line| line.split_whitespace().next()?.parse::<PublicKey>().ok());
    if let Ok(trust) = &trust {
        keys.for_each(|key| assert!(trust.admits(&key), "a key at a line's beginning is admitted"));
    }
    trust.is_ok()
}

pub(crate) fn trust_beginnings() -> Vec<Vec<u8>> {
    let key = Identity::from_seed([1; 32]).public_key();
    let lines = format!("# comment\n{key} name publish=a/#,b subscribe=b/+ cache=c\n* subscribe=#\n");
    vec![lines.into_bytes(), format!("{key}\n").into_bytes()]
}

/// Variables, `NAME=VALUE`, one in a line.
pub(crate) fn settings(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    // Names of hosts would be asked for on the network, a fraction of a second each.
    let variables = variables.filter(|(name, value)| !name.contains("ADDRESS") || !value.split(',').any(may_be_a_name));
    let (settings, _) = Settings::from_vars(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if let Err(error) = &settings {
        assert!(error.to_string().lines().all(|line| line.starts_with("GLUE_")), "a line for each variable: {error}");
    }
    settings.is_ok()
}

/// Whether an address has a letter, and no such colons or brackets as no name has.
fn may_be_a_name(address: &str) -> bool {
    address.contains(|c: char| c.is_ascii_alphabetic()) && !address.contains('[') && address.matches(':').count() < 2
}

pub(crate) fn settings_beginnings() -> Vec<Vec<u8>> {
    let text = "GLUE_NETWORK_ID=7\nGLUE_ENDPOINT_ID=0ujtsYcgvSTl8PAuAdqWYSMnLOv\nGLUE_ENDPOINT_NAME=me\n\
        GLUE_LISTEN_ADDRESS=[fe80::1%2]:4000\nGLUE_DISCOVERY_TARGET_ADDRESS=239.192.137.1:27320,10.0.0.1\n\
        GLUE_DISCOVERY_RATE_MILLISECONDS=500\nGLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER=2.5\n\
        GLUE_MEMORY_BUDGET_BYTES=100000000\nGLUE_CACHE=site/#=1000,log\n\
        GLUE_NETWORK_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nGLUE_ENDIONT=typo";
    vec![text.as_bytes().to_vec()]
}

/// A network key, and the same text as a public key and as the seed of an identity: what the identity file holds.
pub(crate) fn network_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.expose().parse::<Identity>().expect("what it prints").expose(), identity.expose());
        assert!(!format!("{identity:?}").contains(text.trim()), "a seed is never shown");
    }
    let Ok(key) = text.parse::<NetworkKey>() else { return false };
    assert_eq!(key.expose().parse::<NetworkKey>().expect("what it prints").expose(), key.expose());
    assert!(!format!("{key:?}").contains(text.trim()), "a key is never shown");
    true
}

pub(crate) fn network_key_beginnings() -> Vec<Vec<u8>> {
    let key = NetworkKey::from_bytes([7; 32]);
    vec![key.expose().as_bytes().to_vec(), "07".repeat(32).into_bytes()]
}

/// A KSUID's text, or an integer.
pub(crate) fn endpoint_id(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(id) = text.parse::<EndpointId>() else { return false };
    let again = id.to_string();
    assert_eq!(again.parse(), Ok(id));
    assert!(
        again == text || text.parse::<i64>().is_ok_and(|number| EndpointId::from_integer(number) == id),
        "{text:?}"
    );
    true
}

pub(crate) fn endpoint_id_beginnings() -> Vec<Vec<u8>> {
    ["3MObaaaaaaaaaaaaaaaaaaaaaaa", "0ujtsYcgvSTl8PAuAdqWYSMnLOv", "-7", "9223372036854775807"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

const MAX_TOPIC_BYTES: usize = 1_024;
