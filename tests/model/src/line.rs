//! What is under way between nodes, and what may happen to it.

use std::collections::VecDeque;
use std::fmt::Debug;

use crate::{Bounds, Choice};

/// Something under way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel<T> {
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) item: T,
    /// It is no datagram: it can be late, and is neither lost nor doubled.
    pub(crate) is_sure: bool,
}

/// The network: in order and at once, but for what the bounds allow.
#[derive(Clone, Debug)]
pub(crate) struct Line<T> {
    queue: VecDeque<Parcel<T>>,
    held: Vec<Parcel<T>>,
    /// What is left of the bounds.
    pub(crate) left: Bounds,
}

impl<T: Clone + Debug> Line<T> {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self { queue: VecDeque::new(), held: Vec::new(), left: bounds }
    }

    pub(crate) fn send(&mut self, from: u8, to: u8, item: T) {
        self.queue.push_back(Parcel { from, to, item, is_sure: false });
    }

    pub(crate) fn tell(&mut self, from: u8, to: u8, item: T) {
        self.queue.push_back(Parcel { from, to, item, is_sure: true });
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn queue(&self) -> impl Iterator<Item = &Parcel<T>> {
        self.queue.iter()
    }

    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Nothing of or for this node is under way any more, but for what `stays`.
    pub(crate) fn forget(&mut self, node: u8, stays: impl Fn(&Parcel<T>) -> bool) {
        let keeps = |parcel: &Parcel<T>| (parcel.from != node && parcel.to != node) || stays(parcel);
        self.queue.retain(keeps);
        self.held.retain(keeps);
    }

    /// Takes back what has not left yet.
    pub(crate) fn withdraw(&mut self, which: impl Fn(&Parcel<T>) -> bool) -> Vec<Parcel<T>> {
        let (back, on) = std::mem::take(&mut self.queue).into_iter().partition::<Vec<_>, _>(which);
        self.queue = on.into();
        back
    }

    /// What may happen to what is under way.
    pub(crate) fn choices(&self, out: &mut Vec<Choice>) {
        if let Some(first) = self.queue.front() {
            out.push(Choice::Deliver);
            let may = |left: u8| left > 0 && self.left.faults > 0;
            if !first.is_sure && may(self.left.losses) {
                out.push(Choice::Lose);
            }
            if !first.is_sure && may(self.left.copies) {
                out.push(Choice::Copy);
            }
            if may(self.left.holds) {
                out.push(Choice::Hold);
            }
        }
        out.extend((0..self.held.len()).filter_map(|at| u8::try_from(at).ok()).map(Choice::Release));
    }

    /// Does it; what arrives by it.
    pub(crate) fn choose(&mut self, choice: Choice) -> Option<Parcel<T>> {
        if let Choice::Release(at) = choice {
            let at = usize::from(at);
            return (at < self.held.len()).then(|| self.held.remove(at));
        }
        let first = self.queue.pop_front()?;
        match choice {
            Choice::Lose => {
                self.left.spend(|left| &mut left.losses);
                None
            }
            Choice::Hold => {
                self.left.spend(|left| &mut left.holds);
                self.held.push(first);
                None
            }
            Choice::Copy => {
                self.left.spend(|left| &mut left.copies);
                self.held.push(first.clone());
                Some(first)
            }
            _ => Some(first),
        }
    }

    /// All that stays away is on its way again.
    pub(crate) fn release_all(&mut self) {
        self.queue.extend(std::mem::take(&mut self.held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_costs_of_its_own_bound_and_of_all() {
        let bounds = Bounds { losses: 1, copies: 1, holds: 1, faults: 2, ..Bounds::default() };
        let mut line = Line::new(bounds);
        (0..4).for_each(|number| line.send(0, 1, number));
        let choices = |line: &Line<i32>| {
            let mut out = Vec::new();
            line.choices(&mut out);
            out
        };
        assert_eq!(choices(&line), [Choice::Deliver, Choice::Lose, Choice::Copy, Choice::Hold]);
        assert!(line.choose(Choice::Lose).is_none());
        assert_eq!(choices(&line), [Choice::Deliver, Choice::Copy, Choice::Hold]);
        assert_eq!(line.choose(Choice::Copy).unwrap().item, 1);
        assert_eq!(choices(&line), [Choice::Deliver, Choice::Release(0)]);
        assert_eq!(line.choose(Choice::Deliver).unwrap().item, 2);
        assert_eq!(line.choose(Choice::Release(0)).unwrap().item, 1);
        assert_eq!(choices(&line), [Choice::Deliver]);
    }

    #[test]
    fn what_is_sure_can_only_be_late() {
        let bounds = Bounds { losses: 1, copies: 1, holds: 1, faults: 3, ..Bounds::default() };
        let mut line = Line::new(bounds);
        line.tell(0, 1, ());
        let mut out = Vec::new();
        line.choices(&mut out);
        assert_eq!(out, [Choice::Deliver, Choice::Hold]);
    }
}
