//! One direction of a connection: bytes on their way, bytes that have arrived, and what happens to them in between.

use std::collections::VecDeque;

use super::plan::{End, Perils};

#[derive(Debug, Default)]
pub(super) struct Lane {
    flying: VecDeque<u8>,
    pub(super) arrived: VecDeque<u8>,
    /// Bytes that have arrived since the start.
    passed: usize,
    perils: Perils,
    /// Nothing passes until then.
    pub(super) held_until: u64,
    /// How it ends behind what is flying.
    end: Option<End>,
    /// The end has arrived as well.
    over: Option<End>,
}

/// What came of letting bytes pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passage {
    All,
    /// So many have to wait for so long.
    Held(usize, u64),
    Cut(End),
}

impl Lane {
    pub(super) fn new(perils: &Perils) -> Self {
        Self {
            perils: perils.clone(),
            ..Self::default()
        }
    }

    /// Bytes set out. Behind an end they come to nothing.
    pub(super) fn push(&mut self, bytes: impl IntoIterator<Item = u8>) {
        if self.end.is_none() {
            self.flying.extend(bytes);
        }
    }

    pub(super) fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Bytes that take room.
    pub(super) fn held(&self) -> usize {
        self.flying.len() + self.arrived.len()
    }

    /// At most `count` bytes arrive.
    pub(super) fn pass(&mut self, count: usize) -> Passage {
        let count = count.min(self.flying.len());
        let within = |at: &usize| at.saturating_sub(self.passed) <= count;
        let hold = self.perils.hold.filter(|(at, _)| within(at));
        let cut = self.perils.cut.filter(|(at, _)| within(at));
        if let Some((at, millis)) = hold
            && cut.is_none_or(|(cut, _)| at <= cut)
        {
            self.perils.hold = None;
            let passed = self.arrive(at.saturating_sub(self.passed));
            return Passage::Held(count - passed, millis);
        }
        if let Some((at, end)) = cut {
            self.perils.cut = None;
            self.arrive(at.saturating_sub(self.passed));
            return Passage::Cut(end);
        }
        self.arrive(count);
        if self.flying.is_empty() {
            self.over = self.end;
        }
        Passage::All
    }

    /// The sender is gone: `left` bytes of what is flying still arrive, and then the end.
    pub(super) fn end(&mut self, left: usize, end: End) {
        self.flying.truncate(left);
        self.end.get_or_insert(end);
    }

    /// Nothing more arrives.
    pub(super) fn end_here(&mut self, end: End) {
        self.flying.clear();
        self.end = Some(end);
        self.over.get_or_insert(end);
    }

    /// Set once the end is all that is left.
    pub(super) fn over(&self) -> Option<End> {
        self.over.filter(|_| self.arrived.is_empty())
    }

    /// The end has arrived, whatever is left to be read before it.
    pub(super) fn has_ended(&self) -> bool {
        self.over.is_some()
    }

    /// It has, and it is a reset.
    pub(super) fn is_cut_off(&self) -> bool {
        self.over == Some(End::Reset)
    }

    fn arrive(&mut self, count: usize) -> usize {
        self.arrived.extend(self.flying.drain(..count));
        self.passed += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_up_to_a_hold_and_a_cut() {
        let mut lane = Lane::new(&Perils {
            cut: Some((5, End::Fin)),
            hold: Some((3, 100)),
        });
        lane.push(*b"abcdefgh");
        assert_eq!(lane.pass(2), Passage::All);
        assert_eq!(lane.pass(2), Passage::Held(1, 100));
        assert_eq!(lane.pass(1), Passage::All);
        assert_eq!(lane.pass(9), Passage::Cut(End::Fin));
        assert_eq!(lane.arrived, b"abcde");
        lane.end_here(End::Fin);
        assert_eq!((lane.over(), lane.held()), (None, 5));
        lane.arrived.clear();
        assert_eq!(lane.over(), Some(End::Fin));
    }
}
