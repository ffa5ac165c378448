//! From which rows of a load the commands of a batch come, and what became of the load by now.
//!
//! Rows that make equally many commands each are one run, so that a batch of thousands has a single one as a rule.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::outcome::{Failure, Origin, Outcome};

/// Of a batch: whose it is, and the rows of its commands.
#[derive(Debug)]
pub struct Part {
    pub tally: Arc<Tally>,
    pub rows: Rows,
}

/// Rows in order.
#[derive(Debug, Default)]
pub struct Rows {
    runs: Vec<Run>,
    last: Option<u64>,
}

/// Rows, one behind the other, of `each` commands.
#[derive(Debug)]
struct Run {
    /// The first one's first command, by its place in the batch and by its place in the load.
    place: u64,
    index: u64,
    each: u64,
    row: u64,
    line: Option<u64>,
    rows: u64,
}

impl Rows {
    /// The next row has so many commands, the first of them at `place` in the batch and `index` in the load.
    pub fn push(&mut self, row: u64, line: Option<u64>, commands: u64, place: u64, index: u64) {
        self.last = Some(row);
        if commands == 0 {
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.each == commands
            && run.row + run.rows == row
            && run.line.map(|first| first + run.rows) == line
            && run.index + run.rows * run.each == index
        {
            run.rows += 1;
            return;
        }
        self.runs.push(Run {
            place,
            index,
            each: commands,
            row,
            line,
            rows: 1,
        });
    }

    /// The last row that was gone through, with or without commands.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Memory that it occupies, about.
    pub fn size(&self) -> usize {
        self.runs.len() * size_of::<Run>()
    }

    /// A command by its place in the batch: its place in the load, its row and line.
    fn find(&self, place: u64) -> Option<(u64, u64, Option<u64>)> {
        let at = self.runs.partition_point(|run| run.place <= place);
        let run = self.runs[..at].last()?;
        let commands = place - run.place;
        let rows = commands / run.each;
        Some((run.index + commands, run.row + rows, run.line.map(|line| line + rows)))
    }
}

impl Part {
    /// Completes what is told of a command, by its place in the batch.
    pub fn locate(&self, failure: &mut Failure, place: u64) {
        if let Some((index, row, line)) = self.rows.find(place) {
            failure.index = index;
            failure.origin = Some(Origin {
                load: self.tally.number,
                row,
                line,
            });
        }
    }
}

/// What became of a load.
#[derive(Debug)]
pub struct Tally {
    number: u32,
    limit: FailureLimit,
    max_failures: usize,
    known: Mutex<Known>,
    /// The limit is reached.
    stopped: AtomicBool,
    given_up: AtomicBool,
}

/// How many failures end a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureLimit {
    Commands(u64),
    /// The load does nothing but fail: none of its first commands has succeeded, and all have the same code.
    Hopeless,
}

/// This many failures without a success are taken for a mistake in all of the load.
pub const HOPELESS: u64 = 1_000;

impl FailureLimit {
    /// `leading`: so many commands from the first one on are known; behind them some may be known and others under way.
    fn is_reached(self, outcome: &Outcome, leading: u64) -> bool {
        match self {
            Self::Commands(most) => outcome.failed >= most,
            Self::Hopeless => leading >= HOPELESS && outcome.failed == outcome.commands && outcome.errors.len() == 1,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub outcome: Outcome,
    pub batches: u64,
    /// Commands of the batches that are over.
    executed: u64,
    /// Why it was given up.
    pub error: Option<Error>,
    /// Why no more rows came.
    pub cause: Option<Error>,
}

impl Tally {
    /// `limit`: where it is reached the load goes no further. `max_failures`: so many keep their details.
    pub fn new(number: u32, limit: FailureLimit, max_failures: usize) -> Self {
        Self {
            number,
            limit,
            max_failures,
            known: Mutex::default(),
            stopped: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// A batch of it is over.
    pub fn add(&self, outcome: Outcome, error: Option<Error>) {
        let mut known = self.lock();
        known.batches += 1;
        known.executed += outcome.commands;
        known.outcome.add(outcome, self.max_failures);
        self.look_at_limit(&known, known.executed);
        if let Some(error) = error {
            known.error.get_or_insert(error);
            self.given_up.store(true, Relaxed);
        }
    }

    /// So many commands would be executed.
    pub fn see(&self, commands: u64, bytes: u64) {
        let outcome = &mut self.lock().outcome;
        outcome.commands += commands;
        outcome.succeeded += commands;
        outcome.bytes += bytes;
    }

    /// A row made no command.
    pub fn fail(&self, failure: Failure) {
        let mut known = self.lock();
        let so_far = failure.index + 1;
        known.outcome.fail(failure, self.max_failures);
        // Unless commands before it are under way.
        let leading = if known.outcome.commands == so_far { so_far } else { 0 };
        self.look_at_limit(&known, leading);
    }

    /// No more rows come, for this reason. Those before are not concerned.
    pub fn ended(&self, cause: Error) {
        self.lock().cause.get_or_insert(cause);
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// More commands have failed than may.
    pub fn has_failed_enough(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn look_at_limit(&self, known: &Known, leading: u64) {
        if self.limit.is_reached(&known.outcome, leading) {
            self.stopped.store(true, Relaxed);
        }
    }

    pub fn error(&self) -> Option<Error> {
        self.lock().error.clone()
    }

    pub fn look(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever rows there are, the runs say of each command what was said of its row.
        #[test]
        fn each_command_finds_its_row(rows in prop::collection::vec((0_u64..4, 0_u64..3, 0_u64..3), 0..200)) {
            let (mut told, mut expected) = (Rows::default(), Vec::new());
            let (mut row, mut line, mut index) = (0, 1, 0);
            for (commands, skipped, lines) in rows {
                row += skipped;
                index += skipped;
                told.push(row, Some(line), commands, expected.len() as u64, index);
                for command in 0..commands {
                    expected.push((index + command, row, Some(line)));
                }
                prop_assert_eq!(told.last(), Some(row));
                row += 1;
                line += 1 + lines;
                index += commands;
            }
            for (place, origin) in expected.iter().enumerate() {
                prop_assert_eq!(told.find(place as u64), Some(*origin));
            }
        }
    }

    fn failure(index: u64) -> Failure {
        Failure {
            index,
            origin: None,
            command: "HSET".to_owned(),
            key: None,
            code: "ERR".to_owned(),
            message: "ERR no".to_owned(),
        }
    }

    fn batch(succeeded: u64, codes: &[(&str, u64)]) -> Outcome {
        let mut outcome = Outcome {
            commands: succeeded,
            succeeded,
            ..Outcome::default()
        };
        for &(code, count) in codes {
            for _ in 0..count {
                let code = code.to_owned();
                outcome.fail(Failure { code, ..failure(0) }, 0);
            }
        }
        outcome
    }

    fn is_hopeless(outcomes: &[Outcome]) -> bool {
        let tally = Tally::new(1, FailureLimit::Hopeless, 0);
        for outcome in outcomes {
            tally.add(outcome.clone(), None);
        }
        tally.has_failed_enough()
    }

    #[test]
    fn a_load_is_hopeless_where_its_first_commands_all_fail_with_one_code() {
        assert!(!is_hopeless(&[batch(0, &[("ERR", HOPELESS - 1)])]));
        assert!(is_hopeless(&[
            batch(0, &[("ERR", HOPELESS - 1)]),
            batch(0, &[("ERR", 1)])
        ]));
        assert!(!is_hopeless(&[batch(0, &[("ERR", HOPELESS), ("WRONGTYPE", 1)])]));
        assert!(!is_hopeless(&[batch(1, &[]), batch(0, &[("ERR", 2 * HOPELESS)])]));
    }

    #[test]
    fn rows_without_commands_make_a_load_hopeless_unless_others_are_under_way() {
        let tally = Tally::new(1, FailureLimit::Hopeless, 0);
        for index in 0..HOPELESS {
            assert!(!tally.has_failed_enough());
            tally.fail(failure(index));
        }
        assert!(tally.has_failed_enough());

        let mixed = Tally::new(1, FailureLimit::Hopeless, 0);
        for index in 0..2 * HOPELESS {
            mixed.fail(failure(2 * index + 1));
        }
        assert!(!mixed.has_failed_enough());
    }

    #[test]
    fn even_rows_are_one_run() {
        let mut rows = Rows::default();
        for row in 0..1_000 {
            rows.push(row, Some(row + 2), 3, row * 3, row * 3);
        }
        assert_eq!(rows.runs.len(), 1);
        assert_eq!(rows.find(2_999), Some((2_999, 999, Some(1_001))));
    }
}
