//! A load of rows: from which rows the commands of a batch come, when a batch is full, whether to go on.
//!
//! Rows come from JavaScript (`binding`) or from a file (`source`), one by one: begun, made commands of, ended. A batch ends with
//! a row, never within. What became of the load is told apart from all else that the pipeline does.

use std::mem;
use std::sync::Arc;

use crate::batch::{Batch, Wrap};
use crate::config::Transaction;
use crate::loader::Shared;
use crate::outcome::{Failure, Origin};
use crate::pipeline::Pipeline;
use crate::resp::compose::Mark;
use crate::resp::walk::end_of_command;
use crate::rows::{FailureLimit, Part, Rows, Tally};

/// A batch is executed at so many bytes, where `autoExec` says nothing else: as much as fills a segment.
const BATCH_BYTES: usize = 64 * 1024;

/// The same for transactions: each is answered before the next is written, which is seldom then.
const TRANSACTION_BYTES: usize = 256 * 1024;

/// What a row has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    GoOn,
    /// A batch was executed, and so much is on its way that it is time to wait.
    Wait,
    /// The work was given up, or too much of it has failed.
    Stop,
}

/// The account of a load. It is kept apart from the pipeline whose open batch the load fills, which another one can stand in for.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    /// Of the open batch.
    rows: Rows,
    row: Option<OpenRow>,
    /// The place of the next command among those of the load. A row that made none has one, too.
    next_index: u64,
    batch_bytes: usize,
    batch_commands: u64,
    cut: Cut,
    /// Nothing is executed.
    rehearsal: Option<Rehearsal>,
}

/// What the commands of a load would be.
#[derive(Debug, Default)]
struct Rehearsal {
    /// The first ones, as they would be sent.
    sample: Vec<Vec<u8>>,
}

/// So many commands are looked at.
const SAMPLE: usize = 10;

impl Rehearsal {
    fn see(&mut self, batch: &Batch) {
        for segment in &batch.segments {
            let mut at = 0;
            while self.sample.len() < SAMPLE
                && let Some(end) = end_of_command(segment.bytes(), at)
            {
                self.sample.push(segment.bytes()[at..end].to_vec());
                at = end;
            }
        }
    }
}

/// Where batches end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    WhereFull,
    /// Not before the end of a transaction.
    Later,
}

#[derive(Debug)]
struct OpenRow {
    row: u64,
    line: Option<u64>,
    /// What was in the batch before.
    mark: Mark,
}

impl Load {
    /// `number` is what JavaScript knows it by; `limit` as for [`Tally::new`].
    pub fn new(shared: &Shared, number: u32, limit: FailureLimit) -> Self {
        let config = &shared.config;
        let bytes = match (config.auto_exec, config.transaction) {
            (Some(auto), _) => auto.bytes,
            (None, Transaction::EachBatch) => TRANSACTION_BYTES,
            (None, Transaction::Off) => BATCH_BYTES,
        };
        Self {
            tally: Arc::new(Tally::new(number, limit, config.max_failures)),
            rows: Rows::default(),
            row: None,
            next_index: 0,
            // Several of them on their way, however little may be.
            batch_bytes: bytes.min(config.max_buffered / 16).max(1),
            batch_commands: config.auto_exec.map_or(u64::MAX, |auto| auto.commands),
            cut: Cut::WhereFull,
            rehearsal: None,
        }
    }

    /// Makes all commands, and executes none.
    pub fn rehearse(mut self) -> Self {
        self.rehearsal = Some(Rehearsal::default());
        self
    }

    /// In a rehearsal: the first commands, in RESP.
    pub fn sample(&self) -> &[Vec<u8>] {
        self.rehearsal.as_ref().map_or(&[], |rehearsal| &rehearsal.sample)
    }

    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// What is committed from here on belongs to this row; the line is that of a file.
    #[inline]
    pub fn begin_row(&mut self, pipeline: &Pipeline, row: u64, line: Option<u64>) {
        let mark = pipeline.request.mark();
        self.row = Some(OpenRow { row, line, mark });
    }

    /// The row has made all its commands.
    #[inline]
    pub fn end_row(&mut self, pipeline: &mut Pipeline) -> Next {
        let Some(OpenRow { row, line, mark }) = self.row.take() else {
            return Next::GoOn;
        };
        let request = &pipeline.request;
        let commands = request.commands() - mark.commands;
        self.rows.push(row, line, commands, mark.commands, self.next_index);
        self.next_index += commands;
        let is_full = request.committed_bytes() + self.rows.size() >= self.batch_bytes
            || request.commands() >= self.batch_commands;
        if is_full && self.cut == Cut::WhereFull {
            self.execute(pipeline);
            return self.next(pipeline);
        }
        self.may_go_on()
    }

    /// Forgets what the row has made.
    pub fn undo_row(&mut self, pipeline: &mut Pipeline) {
        if let Some(row) = self.row.take() {
            pipeline.request.undo(&row.mark);
        }
    }

    /// The row makes no command: it counts as one that has failed.
    pub fn fail_row(&mut self, pipeline: &mut Pipeline, command: &str, code: &str, message: &str) -> Next {
        let Some(OpenRow { row, line, mark }) = self.row.take() else {
            return Next::GoOn;
        };
        pipeline.request.undo(&mark);
        let failure = Failure {
            index: self.next_index,
            origin: Some(Origin {
                load: self.tally.number(),
                row,
                line,
            }),
            command: command.to_owned(),
            key: None,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        match self.rehearsal {
            Some(_) => self.tally.fail(failure),
            None => pipeline.shared().fail(&self.tally, failure),
        }
        self.rows.push(row, line, 0, mark.commands, self.next_index);
        self.next_index += 1;
        self.next(pipeline)
    }

    /// The rows from here on are a transaction.
    pub fn begin_transaction(&mut self, pipeline: &mut Pipeline) -> Next {
        self.execute(pipeline);
        self.cut = Cut::Later;
        self.next(pipeline)
    }

    pub fn is_in_transaction(&self) -> bool {
        self.cut == Cut::Later
    }

    /// It ends here.
    pub fn end_transaction(&mut self, pipeline: &mut Pipeline) -> Next {
        self.cut = Cut::WhereFull;
        self.send(pipeline, Wrap::Always, None);
        self.next(pipeline)
    }

    /// Executes what the rows have made by now, if that is no half of a transaction.
    pub fn execute(&mut self, pipeline: &mut Pipeline) {
        if self.cut == Cut::WhereFull {
            self.send(pipeline, Wrap::AsConfigured, None);
        }
    }

    /// No more rows come: the rest is executed, and what became of all is reported under `ticket`.
    pub fn close(&mut self, pipeline: &mut Pipeline, ticket: u32) {
        // Of what was begun, nothing is done by half.
        self.undo_row(pipeline);
        if self.is_in_transaction() {
            pipeline.discard();
        }
        self.send(pipeline, Wrap::AsConfigured, Some(ticket));
    }

    fn send(&mut self, pipeline: &mut Pipeline, wrap: Wrap, ticket: Option<u32>) {
        if let Some(rehearsal) = &mut self.rehearsal {
            let request = &pipeline.request;
            let (commands, bytes) = (request.commands(), request.committed_bytes() as u64);
            self.tally.see(commands, bytes);
            pipeline.take_back(|batch| rehearsal.see(batch));
        }
        let part = Part {
            tally: Arc::clone(&self.tally),
            rows: mem::take(&mut self.rows),
        };
        pipeline.execute_part(part, wrap, ticket);
    }

    fn next(&self, pipeline: &Pipeline) -> Next {
        match self.may_go_on() {
            Next::GoOn if pipeline.shared().budget.needs_rest() => Next::Wait,
            next => next,
        }
    }

    #[inline]
    fn may_go_on(&self) -> Next {
        if self.tally.is_given_up() || self.tally.has_failed_enough() {
            Next::Stop
        } else {
            Next::GoOn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::loader::server::{Deaf, config};

    /// Nobody works for it: what it executes stays.
    fn load(config: Config, max_failed: u64) -> (Load, Pipeline) {
        let shared = Arc::new(Shared::new(config, Arc::new(Deaf)));
        let load = Load::new(&shared, 1, FailureLimit::Commands(max_failed));
        (load, Pipeline::for_load(shared))
    }

    /// A row of so many commands, of 100 bytes each.
    fn row(load: &mut Load, pipeline: &mut Pipeline, number: u64, commands: usize) -> Next {
        load.begin_row(pipeline, number, None);
        for _ in 0..commands {
            pipeline.request.begin(2, b"$3\r\nGET\r\n");
            pipeline.request.bytes(&[b'x'; 80]);
            pipeline.commit().unwrap();
        }
        load.end_row(pipeline)
    }

    fn executed(pipeline: &Pipeline) -> usize {
        pipeline.shared().budget.executed()
    }

    #[test]
    fn a_batch_ends_with_the_row_that_fills_it() {
        let (mut load, mut pipeline) = load(config(1), u64::MAX);
        for number in 0..130 {
            assert_eq!(row(&mut load, &mut pipeline, number, 5), Next::GoOn);
            assert_eq!(executed(&pipeline), 0);
        }
        // With what is kept of its rows, 64 KiB.
        row(&mut load, &mut pipeline, 130, 5);
        assert_eq!(executed(&pipeline), 65_500);
        assert_eq!(pipeline.request.commands(), 0);
    }

    #[test]
    fn a_row_that_fails_leaves_nothing_and_counts_as_a_command() {
        let (mut load, mut pipeline) = load(config(1), 2);
        row(&mut load, &mut pipeline, 0, 2);
        for (number, next) in [(1, Next::GoOn), (2, Next::Stop)] {
            load.begin_row(&pipeline, number, Some(number + 1));
            pipeline.request.begin(1, b"$4\r\nPING\r\n");
            pipeline.commit().unwrap();
            assert_eq!(load.fail_row(&mut pipeline, "PING", "CODE", "why"), next);
        }
        assert_eq!(pipeline.request.commands(), 2);
        let known = load.tally().look();
        assert_eq!((known.outcome.commands, known.outcome.failed), (2, 2));
        let places: Vec<u64> = known.outcome.failures.iter().map(|failure| failure.index).collect();
        assert_eq!(places, [2, 3]);
        let origin = known.outcome.failures[1].origin.unwrap();
        assert_eq!((origin.row, origin.line), (2, Some(3)));
    }

    #[test]
    fn a_row_that_is_undone_has_never_been() {
        let (mut load, mut pipeline) = load(config(1), u64::MAX);
        load.begin_row(&pipeline, 0, None);
        pipeline.request.begin(1, b"$4\r\nPING\r\n");
        pipeline.commit().unwrap();
        load.undo_row(&mut pipeline);
        assert_eq!(load.end_row(&mut pipeline), Next::GoOn);
        assert_eq!((pipeline.request.commands(), load.next_index), (0, 0));
    }

    #[test]
    fn nothing_is_executed_within_a_transaction() {
        let (mut load, mut pipeline) = load(config(1), u64::MAX);
        row(&mut load, &mut pipeline, 0, 1);
        load.begin_transaction(&mut pipeline);
        assert_eq!(executed(&pipeline), 100);
        for number in 1..=1_000 {
            row(&mut load, &mut pipeline, number, 1);
        }
        load.execute(&mut pipeline);
        assert_eq!(executed(&pipeline), 100);
        load.end_transaction(&mut pipeline);
        assert_eq!(executed(&pipeline), 100_100);
    }

    #[test]
    fn where_much_is_on_its_way_it_is_time_to_wait() {
        let small = Config {
            max_buffered: 160_000,
            ..config(1)
        };
        let (mut load, mut pipeline) = load(small, u64::MAX);
        let waits = (0..).find(|number| row(&mut load, &mut pipeline, *number, 1) == Next::Wait);
        // Above an eighth, in batches of a sixteenth.
        assert_eq!((waits, executed(&pipeline)), (Some(299), 30_000));
    }

    #[test]
    fn a_row_of_transactions_is_waited_for_as_well() {
        let small = Config {
            max_buffered: 160_000,
            ..config(1)
        };
        let (mut load, mut pipeline) = load(small, u64::MAX);
        let waits = (0..).find(|number| {
            load.begin_transaction(&mut pipeline);
            assert_eq!(row(&mut load, &mut pipeline, *number, 1), Next::GoOn);
            load.end_transaction(&mut pipeline) == Next::Wait
        });
        assert_eq!((waits, executed(&pipeline)), (Some(200), 20_100));
    }

    #[test]
    fn half_a_transaction_is_not_done_in_the_end() {
        let (mut load, mut pipeline) = load(config(1), u64::MAX);
        load.begin_transaction(&mut pipeline);
        row(&mut load, &mut pipeline, 0, 1);
        load.begin_row(&pipeline, 1, None);
        load.close(&mut pipeline, 1);
        assert_eq!((executed(&pipeline), pipeline.request.commands()), (0, 0));
    }

    #[test]
    fn a_rehearsal_sees_the_first_commands_and_sends_none() {
        let (load, mut pipeline) = load(config(1), u64::MAX);
        let mut load = load.rehearse();
        for number in 0..1_000 {
            row(&mut load, &mut pipeline, number, 2);
        }
        load.close(&mut pipeline, 1);
        assert_eq!(executed(&pipeline), 0);
        assert_eq!(load.sample().len(), SAMPLE);
        assert!(load.sample().iter().all(|command| command.len() == 100));
        let outcome = load.tally().look().outcome;
        assert_eq!((outcome.commands, outcome.bytes), (2_000, 200_000));
    }
}
