//! The ceiling for what a pipeline holds: appended, on its way, or kept for JavaScript.
//!
//! The JavaScript thread asks for room and may wait for it; the loader gives back what was answered.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a batch occupies besides its bytes, about: counted, so that no number of tiny batches is free. A small
/// ceiling bounds them by itself, as a command has 14 bytes at least.
const BATCH_OVERHEAD: usize = 512;
const SMALL_CEILING: usize = 1 << 20;

/// So far a load gets ahead of its server at most. A higher ceiling is for larger commands: rows that wait gain nothing.
const AHEAD: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    /// Counted for each batch under way.
    batch_overhead: usize,
    ledger: Mutex<Ledger>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Bytes executed and not yet answered.
    executed: usize,
    /// Batches executed and not yet finished.
    batches: usize,
    /// Replies and failures that JavaScript has not taken yet.
    untaken: usize,
    /// Of that, failures.
    overheard: usize,
    /// How often the work was given up.
    given_up: u64,
    /// Who waits for the level at which appending may go on.
    drains: Vec<u32>,
    /// Who waits for that at which a load may.
    rests: Vec<u32>,
    /// Who waits for everything executed to be over.
    idles: Vec<u32>,
}

/// Why waiting for room is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hopeless {
    /// Nothing is executed that could be answered.
    NothingExecuted,
    /// Only what JavaScript must take fills the buffer.
    Untaken,
    /// The work was given up meanwhile.
    GivenUp,
}

impl Ledger {
    fn held(&self, batch_overhead: usize) -> usize {
        self.executed + self.batches * batch_overhead + self.untaken
    }

    fn is_idle(&self) -> bool {
        self.executed == 0 && self.batches == 0
    }
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            batch_overhead: if max < SMALL_CEILING { 0 } else { BATCH_OVERHEAD },
            ledger: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many bytes may still be appended, where `open` are appended and not yet executed.
    pub(crate) fn room(&self, open: usize) -> usize {
        self.max.saturating_sub(self.lock().held(self.batch_overhead) + open)
    }

    /// Waits until `needed` bytes may be appended; returns the room there is.
    ///
    /// # Errors
    /// Where waiting cannot help.
    pub(crate) fn wait_for_room(&self, needed: usize, open: usize) -> Result<usize, Hopeless> {
        let mut ledger = self.lock();
        let given_up = ledger.given_up;
        loop {
            let room = self.max.saturating_sub(ledger.held(self.batch_overhead) + open);
            if ledger.given_up != given_up {
                return Err(Hopeless::GivenUp);
            }
            if room >= needed {
                return Ok(room);
            }
            // Even where all is answered, a batch gives room when it finishes.
            if ledger.is_idle() {
                let untaken = ledger.untaken > 0 && needed + open <= self.max;
                return Err(if untaken {
                    Hopeless::Untaken
                } else {
                    Hopeless::NothingExecuted
                });
            }
            if needed + open > self.max {
                return Err(Hopeless::NothingExecuted);
            }
            ledger = self.freed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// After [`Self::needs_rest`], waits until half of that is executed, or told of failures, or until `is_over`, of which
    /// [`Self::nudge`] tells.
    pub(crate) fn wait_until_drained(&self, is_over: impl Fn() -> bool) {
        let mut ledger = self.lock();
        let given_up = ledger.given_up;
        while ledger.executed + ledger.overheard >= self.rested() && ledger.given_up == given_up && !is_over() {
            ledger = self.freed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same until nothing is executed: what is given up is over soon, too.
    pub(crate) fn wait_until_idle(&self, is_over: impl Fn() -> bool) {
        let mut ledger = self.lock();
        while !ledger.is_idle() && !is_over() {
            ledger = self.freed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whoever waits looks again.
    pub(crate) fn nudge(&self) {
        let _ledger = self.lock();
        self.freed.notify_all();
    }

    pub(crate) fn executed(&self) -> usize {
        self.lock().executed
    }

    /// A batch was executed.
    pub(crate) fn execute(&self, bytes: usize) {
        let mut ledger = self.lock();
        ledger.executed += bytes;
        ledger.batches += 1;
    }

    /// `bytes` were answered and `batches` finished. Returns who waited for that.
    #[must_use]
    pub(crate) fn settle(&self, bytes: usize, batches: usize) -> Vec<u32> {
        let mut ledger = self.lock();
        ledger.executed = ledger.executed.saturating_sub(bytes);
        ledger.batches = ledger.batches.saturating_sub(batches);
        self.freed.notify_all();
        let mut settled = Vec::new();
        if ledger.executed < self.drained() || ledger.executed == 0 {
            settled.append(&mut ledger.drains);
        }
        if ledger.executed < self.rested() {
            settled.append(&mut ledger.rests);
        }
        if ledger.is_idle() {
            settled.append(&mut ledger.idles);
        }
        settled
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// So much more, or less, is kept for JavaScript.
    pub(crate) fn keep(&self, more: isize) {
        if more != 0 {
            let mut ledger = self.lock();
            ledger.untaken = ledger.untaken.saturating_add_signed(more);
            self.freed.notify_all();
        }
    }

    /// The same for failures that are told.
    pub(crate) fn overhear(&self, bytes: usize) {
        if bytes > 0 {
            let mut ledger = self.lock();
            ledger.untaken += bytes;
            ledger.overheard += bytes;
        }
    }

    /// JavaScript took some of them.
    pub(crate) fn take_overheard(&self, bytes: usize) {
        let mut ledger = self.lock();
        ledger.untaken = ledger.untaken.saturating_sub(bytes);
        ledger.overheard = ledger.overheard.saturating_sub(bytes);
        self.freed.notify_all();
    }

    /// Nobody works any more, and nothing will be answered. Returns who waited.
    #[must_use]
    pub(crate) fn abandon(&self) -> Vec<u32> {
        let mut ledger = self.lock();
        ledger.executed = 0;
        ledger.batches = 0;
        let mut settled = mem::take(&mut ledger.drains);
        settled.append(&mut ledger.rests);
        settled.append(&mut ledger.idles);
        self.freed.notify_all();
        settled
    }

    /// JavaScript took that much.
    pub(crate) fn take(&self, untaken: usize) {
        let mut ledger = self.lock();
        ledger.untaken = ledger.untaken.saturating_sub(untaken);
    }

    /// The work is given up: whoever waits for room waits in vain.
    pub(crate) fn give_up(&self) {
        self.lock().given_up += 1;
        self.freed.notify_all();
    }

    /// Above an eighth of the ceiling it is time to wait.
    pub(crate) fn needs_drain(&self) -> bool {
        self.lock().executed > self.max / 8
    }

    /// The same for a load, where failures that were told and not yet taken count as well.
    pub(crate) fn needs_rest(&self) -> bool {
        let ledger = self.lock();
        ledger.executed + ledger.overheard > (self.max / 8).min(AHEAD)
    }

    /// Registers a wait for less than a sixteenth; false where that is so already.
    pub(crate) fn wait_for_drain(&self, ticket: u32) -> bool {
        let mut ledger = self.lock();
        let waits = ledger.executed >= self.drained() && ledger.executed > 0;
        if waits {
            ledger.drains.push(ticket);
        }
        waits
    }

    /// Registers a wait for what a load waits for; false where that is so already.
    pub(crate) fn wait_for_rest(&self, ticket: u32) -> bool {
        let mut ledger = self.lock();
        let waits = ledger.executed >= self.rested();
        if waits {
            ledger.rests.push(ticket);
        }
        waits
    }

    /// Registers a wait for everything executed to be over; false where that is so already.
    pub(crate) fn wait_for_idle(&self, ticket: u32) -> bool {
        let mut ledger = self.lock();
        let waits = !ledger.is_idle();
        if waits {
            ledger.idles.push(ticket);
        }
        waits
    }

    /// All that takes room.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lock().held(self.batch_overhead)
    }

    fn drained(&self) -> usize {
        self.max / 16
    }

    /// Half of what [`Self::needs_rest`] looks at.
    fn rested(&self) -> usize {
        self.drained().clamp(1, AHEAD / 2)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_that_is_held_takes_room() {
        for (max, overhead) in [(SMALL_CEILING, BATCH_OVERHEAD), (10_000, 0)] {
            let budget = Budget::new(max);
            assert_eq!(budget.room(1_000), max - 1_000);
            budget.execute(2_000);
            assert_eq!(budget.room(1_000), max - 3_000 - overhead);
            assert!(budget.settle(2_000, 1).is_empty());
            budget.keep(300);
            assert_eq!(budget.room(1_000), max - 1_300);
            budget.take(300);
            assert_eq!(budget.room(0), max);
        }
    }

    #[test]
    fn waiting_ends_when_an_answer_makes_room() {
        let budget = Arc::new(Budget::new(10_000));
        budget.execute(9_000);
        let waiter = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.wait_for_room(5_000, 0)
        });
        thread::sleep(Duration::from_millis(20));
        let _ = budget.settle(9_000, 1);
        assert_eq!(waiter.join().expect("no panic"), Ok(10_000));
    }

    #[test]
    fn waiting_in_vain_ends_at_once() {
        let budget = Budget::new(10_000);
        assert_eq!(budget.wait_for_room(2_000, 9_000), Err(Hopeless::NothingExecuted));
        budget.keep(9_000);
        assert_eq!(budget.wait_for_room(2_000, 0), Err(Hopeless::Untaken));
        budget.execute(500);
        assert_eq!(budget.wait_for_room(11_000, 0), Err(Hopeless::NothingExecuted));
    }

    #[test]
    fn giving_up_ends_the_wait() {
        let budget = Arc::new(Budget::new(10_000));
        budget.execute(9_900);
        let waiter = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.wait_for_room(5_000, 0)
        });
        thread::sleep(Duration::from_millis(20));
        budget.give_up();
        assert_eq!(waiter.join().expect("no panic"), Err(Hopeless::GivenUp));
    }

    #[test]
    fn a_drain_ends_below_a_sixteenth() {
        let budget = Budget::new(16_000);
        assert!(!budget.wait_for_drain(1));
        budget.execute(3_000);
        assert!(budget.needs_drain());
        assert!(budget.wait_for_drain(7));
        assert!(budget.settle(2_000, 0).is_empty());
        assert!(!budget.needs_drain());
        assert_eq!(budget.settle(1, 0), [7]);
    }

    #[test]
    fn a_load_gets_no_further_ahead_below_a_high_ceiling() {
        for ceiling in [64 << 20, 1 << 30] {
            let budget = Budget::new(ceiling);
            budget.execute(AHEAD);
            assert!(!budget.needs_rest());
            budget.execute(1);
            assert!(budget.needs_rest());
            let asked = Cell::new(false);
            budget.wait_until_drained(|| !asked.replace(true));
            assert!(asked.get());
            assert!(budget.settle(AHEAD / 2 + 2, 0).is_empty());
            budget.wait_until_drained(|| unreachable!("it is drained"));
        }
    }

    #[test]
    fn idle_is_when_the_last_batch_is_over() {
        let budget = Budget::new(16_000);
        assert!(!budget.wait_for_idle(1));
        budget.execute(10);
        assert!(budget.wait_for_idle(2));
        assert!(budget.settle(10, 0).is_empty());
        assert_eq!(budget.settle(0, 1), [2]);
    }
}
