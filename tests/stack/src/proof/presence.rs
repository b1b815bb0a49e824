//! Who is there: tokens are up while their holder is, and a will comes once for each death.

use std::collections::BTreeSet;

use glue_endpoint::{Engine, TokenEvent};
use glue_net::{EndpointId, Incarnation};
use glue_sim::{NodeId, World};
use glue_topics::Message;

use crate::claims::View;

/// What each endpoint was told of the others.
#[derive(Debug)]
pub(super) struct Presence {
    views: Vec<View>,
    pub(super) wills: u64,
}

impl Presence {
    pub(super) fn new(count: usize) -> Self {
        Self { views: vec![View::default(); count], wills: 0 }
    }

    /// A process has ended, and with it what it knew.
    pub(super) fn forget(&mut self, index: usize) {
        self.views[index] = View::default();
    }

    pub(super) fn peer(&mut self, index: usize, event: &glue_discovery::Event) {
        self.views[index].follow(event);
    }

    pub(super) fn token(&mut self, index: usize, event: &TokenEvent) {
        self.views[index].turn(event);
    }

    pub(super) fn will(&mut self, index: usize, will: &Message) {
        self.views[index].take_will(will);
        self.wills += 1;
    }

    /// All run, and have for a while: each knows the token of each, and no other. Where more than 10 % is lost, but of those
    /// that it takes for dead just then.
    pub(super) fn conclude(&self, world: &World<Engine>, loss: f64, members: &[(NodeId, EndpointId, Incarnation)]) {
        for ((node, own, _), view) in members.iter().zip(&self.views) {
            assert!(world.is_running(*node), "all run at the end");
            let may_miss = |id, life| loss > 0.1 && id != *own && !view.is_up((id, life));
            let held = members.iter().filter(|(_, id, life)| !may_miss(*id, *life));
            let truth: BTreeSet<_> = held.map(|(_, id, life)| ((*id, *life), TOKEN.to_owned())).collect();
            assert_eq!(*view.tokens(), truth, "what {node} knows of tokens");
        }
    }
}

/// That each endpoint holds.
pub(super) const TOKEN: &str = "alive";
