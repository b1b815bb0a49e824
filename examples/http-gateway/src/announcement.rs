//! How a worker describes itself to routers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a worker tells of itself. All but the id is optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Announcement {
    /// The name by which requests choose it. Several workers may have one: they share its requests.
    pub id: String,
    /// Anything, for people and `GET /workers`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Hosts that it serves, `*.example.com` for all below. Default: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Paths that it serves, with all below. Default: every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// Methods that it serves. Default: every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Its share of requests beside others. Default 1; 1 to 100.
    #[serde(default = "one")]
    pub weight: u32,
    /// Its version, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Requests that it takes at a time. Default 0: no limit.
    #[serde(default)]
    pub capacity: u32,
    /// How long a router waits for a response to begin, in milliseconds. Default 0: as the router is configured.
    #[serde(default)]
    pub timeout_ms: u64,
    /// It can serve now. Default true.
    #[serde(default = "yes")]
    pub ready: bool,
    /// It finishes what it has, and takes no more: there is no way back.
    #[serde(default)]
    pub draining: bool,
}

impl Announcement {
    /// A worker that serves everything.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            labels: BTreeMap::new(),
            hosts: Vec::new(),
            path_prefixes: Vec::new(),
            methods: Vec::new(),
            weight: 1,
            version: String::new(),
            capacity: 0,
            timeout_ms: 0,
            ready: true,
            draining: false,
        }
    }

    /// Whether it takes requests now.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.ready && !self.draining
    }

    /// Whether a request could choose it: an id is a word without blanks and commas.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let lists = [&self.hosts, &self.path_prefixes, &self.methods];
        is_word(&self.id)
            && (1..=MOST_WEIGHT).contains(&self.weight)
            && lists.iter().all(|list| list.len() <= MOST_RULES)
            && self.labels.len() <= MOST_RULES
            && self.path_prefixes.iter().all(|prefix| prefix.starts_with('/'))
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers always have a JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What a worker sent, if it is sound.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        if json.len() > MOST_BYTES {
            return None;
        }
        serde_json::from_slice(json).ok().filter(Self::is_valid)
    }
}

fn is_word(id: &str) -> bool {
    (1..=MOST_ID_BYTES).contains(&id.len()) && !id.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

const MOST_WEIGHT: u32 = 100;
const MOST_ID_BYTES: usize = 256;
const MOST_RULES: usize = 64;
const MOST_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_has_its_default() {
        let read = Announcement::from_json(br#"{"id":"worker-1"}"#).unwrap();
        assert_eq!(read, Announcement::new("worker-1"));
        assert_eq!(Announcement::from_json(&read.to_json()), Some(read));
    }

    #[test]
    fn nonsense_is_refused() {
        for json in [
            "",
            "{}",
            r#"{"id":""}"#,
            r#"{"id":"a b"}"#,
            r#"{"id":"a,b"}"#,
            r#"{"id":"a","weight":0}"#,
            r#"{"id":"a","weight":101}"#,
            r#"{"id":"a","path_prefixes":["x"]}"#,
        ] {
            assert_eq!(Announcement::from_json(json.as_bytes()), None, "{json}");
        }
    }
}
