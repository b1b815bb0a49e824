//! Settings from the environment.

mod address;
mod problem;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use glue_net::NetworkId;
use glue_topics::Filter;
use serde::Deserialize;

use self::address::AddressError;
use self::problem::{Problems, Reason};
use crate::config::Config;
use crate::settings::Settings;

pub use self::problem::{EnvError, UnknownVariable};
pub use self::variables::Variable;

impl Settings {
    /// The environment variables that are read.
    pub const VARIABLES: &'static [Variable] = variables::ALL;

    /// Reads the `GLUE_*` variables of this process ([`Settings::VARIABLES`]); each is optional. Blanks round a value
    /// are ignored, and an empty value counts as none. A `GLUE_*` name that is not known is logged as a warning.
    ///
    /// Blocks while host names in addresses are resolved; an IP address needs no resolving.
    ///
    /// ```
    /// let settings = glue_endpoint::Settings::from_env()?;
    /// println!("on network {}", settings.network_id);
    /// # Ok::<(), glue_endpoint::EnvError>(())
    /// ```
    ///
    /// # Errors
    /// [`EnvError`] tells of every variable that is malformed.
    pub fn from_env() -> Result<Self, EnvError> {
        let (settings, unknown) = Self::from_vars(std::env::vars_os());
        for variable in unknown {
            tracing::warn!("{variable}");
        }
        settings
    }

    /// Reads settings as [`Settings::from_env`] does, but from these names and values. Of several values of one name the
    /// first counts, as it does for the system. Beside the settings come the `GLUE_*` names that are not known, sorted.
    ///
    /// ```
    /// use glue_endpoint::Settings;
    ///
    /// let (settings, unknown) = Settings::from_vars([("GLUE_NETWORK_ID", "7"), ("GLUE_ENDPIONT_NAME", "lamp")]);
    /// assert_eq!(settings?.network_id.0, 7);
    /// assert_eq!(unknown[0].to_string(), "GLUE_ENDPIONT_NAME is not known; did you mean GLUE_ENDPOINT_NAME?");
    /// # Ok::<(), glue_endpoint::EnvError>(())
    /// ```
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> (Result<Self, EnvError>, Vec<UnknownVariable>)
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let mut found = Found::new();
        for (name, value) in vars {
            let name = name.into().to_string_lossy().into_owned();
            if name.starts_with(variables::PREFIX) {
                found.entry(name).or_insert_with(|| value.into());
            }
        }
        let mut problems = Problems::default();
        let raw = take_known(&mut found, &mut problems);
        let unknown = found.into_keys().filter(|name| !variables::OTHERS.contains(&name.as_str()));
        (read(raw, problems), unknown.map(UnknownVariable::new).collect())
    }
}

/// The variables with our prefix.
type Found = BTreeMap<String, OsString>;

/// The values of the known variables as text. Understanding them is left to us, so that what is wrong with one is told
/// in our words and does not hide what is wrong with another.
#[derive(Deserialize)]
struct Raw {
    network_id: Option<String>,
    endpoint_id: Option<String>,
    endpoint_name: Option<String>,
    listen_address: Option<String>,
    listen_interface: Option<String>,
    discovery_target_address: Option<String>,
    discovery_listen_address: Option<String>,
    discovery_rate_milliseconds: Option<String>,
    discovery_rate_timeout_multiplier: Option<String>,
    memory_budget_bytes: Option<String>,
    cache: Option<String>,
    network_key: Option<String>,
    identity_file: Option<String>,
    trusted_peers: Option<String>,
}

/// Moves the known variables out of `found`.
fn take_known(found: &mut Found, problems: &mut Problems) -> Raw {
    let mut texts = Vec::new();
    for variable in Settings::VARIABLES {
        let Some(value) = found.remove(variable.name) else { continue };
        match value.to_str().map(str::trim) {
            Some("") => {}
            Some(text) => texts.push((variable.name.to_owned(), text.to_owned())),
            None => problems.add(variable, value, Reason::default()),
        }
    }
    // envy takes names in any case and refuses the same twice, and the standard library's list, which it reads by
    // itself, panics where a value is not UTF-8: so it is given names and values of which none of this is true.
    envy::prefixed(variables::PREFIX).from_iter(texts).expect("names differ, and each may have any text")
}

fn read(raw: Raw, mut problems: Problems) -> Result<Settings, EnvError> {
    let mut settings = Settings::default();
    let (s, p) = (&mut settings, &mut problems);
    p.set(&mut s.network_id, &variables::NETWORK_ID, raw.network_id, |text| Ok(NetworkId(text.parse()?)));
    p.set(&mut s.endpoint_id, &variables::ENDPOINT_ID, raw.endpoint_id, |text| Ok(Some(text.parse()?)));
    p.set(&mut s.endpoint_name, &variables::ENDPOINT_NAME, raw.endpoint_name, endpoint_name);
    p.set(&mut s.listen_address, &variables::LISTEN_ADDRESS, raw.listen_address, listen_address);
    p.set(&mut s.listen_interface, &variables::LISTEN_INTERFACE, raw.listen_interface, interface);
    p.set(&mut s.discovery_targets, &variables::TARGET_ADDRESS, raw.discovery_target_address, targets);
    p.set(
        &mut s.discovery_listen_address,
        &variables::DISCOVERY_LISTEN_ADDRESS,
        raw.discovery_listen_address,
        discovery_listen_address,
    );
    p.set(&mut s.discovery_interval, &variables::RATE, raw.discovery_rate_milliseconds, interval);
    p.set(
        &mut s.discovery_timeout_multiplier,
        &variables::MULTIPLIER,
        raw.discovery_rate_timeout_multiplier,
        multiplier,
    );
    p.set(&mut s.memory_budget_bytes, &variables::MEMORY_BUDGET, raw.memory_budget_bytes, memory_budget);
    p.set(&mut s.caches, &variables::CACHE, raw.cache, caches);
    p.set(&mut s.network_key, &variables::NETWORK_KEY, raw.network_key, |text| Ok(Some(text.parse()?)));
    p.set(&mut s.identity_file, &variables::IDENTITY_FILE, raw.identity_file, |text| Ok(Some(text.into())));
    p.set(&mut s.trusted_peers, &variables::TRUSTED_PEERS, raw.trusted_peers, |text| Ok(Some(text.into())));
    problems.into_result(settings)
}

fn endpoint_name(text: &str) -> Result<Option<String>, Reason> {
    let fits = text.len() <= glue_discovery::Config::MAX_NAME_BYTES;
    fits.then(|| Some(text.to_owned())).ok_or_else(Reason::default)
}

fn listen_address(text: &str) -> Result<SocketAddr, Reason> {
    match address::parse(text, 0)? {
        group if group.ip().is_multicast() => Err(AddressError::Multicast { group: group.ip() }.into()),
        address => Ok(address),
    }
}

/// Whether there is such an interface shows at the start. No system has longer names: Windows allows 256 characters,
/// Linux 127 bytes.
fn interface(text: &str) -> Result<Option<String>, Reason> {
    let fits = text.len() <= 256 && !text.contains(char::is_control);
    fits.then(|| Some(text.to_owned())).ok_or_else(Reason::default)
}

fn targets(text: &str) -> Result<Vec<SocketAddr>, Reason> {
    if text == "0" {
        return Ok(Vec::new());
    }
    text.split(',').map(|one| target(one.trim())).collect()
}

fn target(text: &str) -> Result<SocketAddr, Reason> {
    match address::parse(text, Settings::DISCOVERY_PORT)? {
        target if target.port() == 0 || target.ip().is_unspecified() => Err(AddressError::Target { target }.into()),
        target => Ok(target),
    }
}

fn discovery_listen_address(text: &str) -> Result<Option<SocketAddr>, Reason> {
    match address::parse(text, Settings::DISCOVERY_PORT)? {
        group if group.ip().is_multicast() && group.port() == 0 => Err(AddressError::ZeroPort.into()),
        address => Ok(Some(address)),
    }
}

fn interval(text: &str) -> Result<Duration, Reason> {
    let interval = Duration::from_millis(text.parse()?);
    glue_discovery::Config::INTERVALS.contains(&interval).then_some(interval).ok_or_else(Reason::default)
}

fn memory_budget(text: &str) -> Result<usize, Reason> {
    let bytes = text.parse()?;
    (bytes >= Config::LEAST_MEMORY_BUDGET).then_some(bytes).ok_or_else(Reason::default)
}

fn caches(text: &str) -> Result<Vec<(String, Option<usize>)>, Reason> {
    text.split(',').map(|one| cache(one.trim())).collect()
}

fn cache(text: &str) -> Result<(String, Option<usize>), Reason> {
    // A topic may have an equals sign in it: it is one of ours if nothing but a number follows.
    let with_budget = text.rsplit_once('=').filter(|(_, bytes)| bytes.bytes().all(|byte| byte.is_ascii_digit()));
    let (pattern, budget) = match with_budget {
        Some((pattern, bytes)) => (pattern, Some(bytes.parse()?)),
        None => (text, None),
    };
    match Filter::new(pattern, MAX_PATTERN_BYTES) {
        Ok(_) => Ok((pattern.to_owned(), budget)),
        Err(_) => Err(Reason::default()),
    }
}

/// As long as a topic may be.
const MAX_PATTERN_BYTES: usize = 1_024;

fn multiplier(text: &str) -> Result<f64, Reason> {
    let multiplier = text.parse()?;
    (1.0..=1_000.0).contains(&multiplier).then_some(multiplier).ok_or_else(Reason::default)
}
