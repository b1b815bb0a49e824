//! Looks whether the servers can be reached.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::CONNECT_TIMEOUT;
use super::target::{Target, Targets};
use crate::worker::Announcer;

/// A connection is enough of a sign: what a server answers to whom is its own business.
pub(super) async fn watch(targets: &Targets, announcer: &Announcer, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut can_serve = false;
        for target in targets.iter() {
            let is_up = can_connect(target).await;
            target.set_up(is_up);
            can_serve |= is_up;
        }
        announcer.announce(|announcement| announcement.ready = can_serve);
    }
}

async fn can_connect(target: &Target) -> bool {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((target.address().host, target.address().port))).await;
    matches!(connected, Ok(Ok(_)))
}
