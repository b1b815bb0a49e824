//! What scenarios have in common.

use std::time::Duration;

use glue_endpoint::{Config, Credentials, Engine, Identity, NetworkKey, Random, Security};
use glue_net::{EndpointId, Incarnation, Rng, WallClock};
use glue_sim::{Context, DISCOVERY_GROUP, Link, Seeds, seeds};

/// `n` milliseconds.
#[must_use]
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `n` seconds.
#[must_use]
pub const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `count` seeds, and before them those that failed once.
#[must_use]
pub fn kept(count: u64) -> Seeds {
    seeds(count).kept_in(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt"))
}

/// A line as bad as the seed says: loss of 0, 5, 20 or 50 %, 5 % duplicates, some overtaking.
#[must_use]
pub fn rough(seed: u64) -> Link {
    let loss = match seed % 4 {
        0 => 0.0,
        1 => 0.05,
        2 => 0.2,
        _ => 0.5,
    };
    Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5))
}

/// Makes a member of the private network of all scenarios: of this id, in this life. `GLUE_SIM_PRIVATE` set to 1 makes every
/// scenario private, so that each promise can be checked with a key as well.
#[must_use]
pub fn security(id: EndpointId, context: &Context) -> Security {
    let key = NetworkKey::from_bytes([7; 32]);
    let mut seed = [0; 32];
    seed.iter_mut().zip(id.as_bytes()).for_each(|(to, from)| *to = *from);
    let identity = Identity::from_seed(seed);
    seed.iter_mut().rev().zip(context.seed.to_le_bytes()).for_each(|(to, from)| *to = from);
    Security { credentials: Credentials { key, identity }, random: Random::new(seed) }
}

fn is_private() -> bool {
    std::env::var_os("GLUE_SIM_PRIVATE").is_some_and(|value| value == "1")
}

/// An endpoint that announces itself to the group, and counts its lives. `set` changes its settings.
///
/// # Panics
/// If a setting is out of range.
#[must_use]
pub fn engine(id: EndpointId, context: &Context, set: impl FnOnce(Config) -> Config) -> Engine {
    let mut discovery = glue_discovery::Config::new(id, format!("endpoint-{id}"));
    discovery.incarnation = Incarnation(u64::from(context.restarts) + 1);
    discovery.targets = vec![DISCOVERY_GROUP];
    discovery.data_port = context.data.port();
    let clock = WallClock::new(context.now, context.wall);
    let mut config = Config::new(discovery);
    config.security = is_private().then(|| security(id, context));
    let config = set(config);
    let mut engine = Engine::new(context.now, config, clock, &mut Rng::new(context.seed)).expect("good settings");
    engine.handle_interfaces(context.now, context.interfaces.clone());
    engine
}
