//! Settings from the environment.

mod address;
mod problem;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use glue_net::{EndpointId, NetworkId};
use serde::Deserialize;

pub use self::problem::{EnvError, UnknownVariable};
pub use self::variables::Variable;

use self::address::AddressError;
use self::problem::{Problem, Reason};
use crate::settings::Settings;

impl Settings {
    /// The environment variables that are read, in the order in which they are best explained.
    pub const VARIABLES: &'static [Variable] = variables::ALL;

    /// Reads the `GLUE_*` variables of this process; each is optional. Blanks round a value are ignored, and an empty
    /// one counts as none. A `GLUE_*` name that is not known is logged as a warning.
    ///
    /// Blocks while the host names in addresses are resolved.
    ///
    /// ```
    /// let settings = glue_endpoint::Settings::from_env()?;
    /// println!("on network {}", settings.network_id);
    /// # Ok::<(), glue_endpoint::EnvError>(())
    /// ```
    ///
    /// # Errors
    /// [`EnvError`] tells of each variable that is malformed.
    pub fn from_env() -> Result<Self, EnvError> {
        let (settings, unknown) = Self::from_vars(std::env::vars_os());
        for variable in unknown {
            tracing::warn!("{variable}");
        }
        settings
    }

    /// Reads settings as [`Settings::from_env`] does, from these names and values. Of several with the same name the
    /// first counts, as for the system. The second value holds the `GLUE_*` names that are not known, sorted.
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
        let (values, unknown) = sort(vars);
        (Reader::new(values).read(), unknown.into_iter().map(UnknownVariable::new).collect())
    }
}

/// Values of known variables, and names of unknown ones.
fn sort<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> (BTreeMap<&'static str, OsString>, BTreeSet<String>)
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let (mut values, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for (name, value) in vars {
        let name: OsString = name.into();
        let name = name.to_string_lossy();
        if let Some(variable) = Settings::VARIABLES.iter().find(|variable| variable.name == name) {
            values.entry(variable.name).or_insert_with(|| value.into());
        } else if name.starts_with(variables::PREFIX) && !variables::OTHERS.contains(&&*name) {
            unknown.insert(name.into_owned());
        }
    }
    (values, unknown)
}

/// The values as text, before any is understood: so that what is wrong with one is told in our words, and does not hide
/// what is wrong with another.
#[derive(Debug, Deserialize)]
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
}

struct Reader {
    raw: Raw,
    problems: Vec<Problem>,
}

impl Reader {
    fn new(values: BTreeMap<&'static str, OsString>) -> Self {
        let (mut texts, mut problems) = (Vec::new(), Vec::new());
        for (name, value) in values {
            match value.to_str().map(str::trim) {
                Some("") => {}
                Some(text) => texts.push((name.to_owned(), text.to_owned())),
                None => problems.push(Problem::new(name, value, Reason::default())),
            }
        }
        let raw = envy::prefixed(variables::PREFIX).from_iter(texts);
        Self { raw: raw.expect("each name once, and each an optional text"), problems }
    }
}
