//! From which rows of a load the commands of a batch come, and what became of the load by now.
//!
//! Rows that make equally many commands each are one run, so that a batch of thousands has a single one as a rule.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
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
    max_failed: u64,
    max_failures: usize,
    known: Mutex<Known>,
    failed: AtomicU64,
    given_up: AtomicBool,
}

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub outcome: Outcome,
    pub batches: u64,
    /// Why it was given up.
    pub error: Option<Error>,
    /// Why no more rows came.
    pub cause: Option<Error>,
}

impl Tally {
    /// `max_failed`: once so many commands have failed it goes no further. `max_failures`: so many keep their details.
    pub fn new(number: u32, max_failed: u64, max_failures: usize) -> Self {
        Self {
            number,
            max_failed,
            max_failures,
            known: Mutex::default(),
            failed: AtomicU64::new(0),
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
        known.outcome.add(outcome, self.max_failures);
        self.failed.store(known.outcome.failed, Relaxed);
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
        known.outcome.fail(failure, self.max_failures);
        self.failed.store(known.outcome.failed, Relaxed);
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
        self.failed.load(Relaxed) >= self.max_failed
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
