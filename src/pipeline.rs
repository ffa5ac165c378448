//! The JavaScript thread's half of a pipeline: the open batch, its ceiling, and when it executes by itself.
//!
//! Arguments come in from the binding; sealed batches go out to the loader. Per command there is no lock, no
//! atomic and no system call: two comparisons tell whether anything else has to be looked at.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Wrap};
use crate::config::{AutoExec, WhenFull};
use crate::error::Error;
use crate::loader::{Hopeless, Ordered, Shared};
use crate::resp::compose::Mark;
use crate::resp::request::Request;
use crate::rows::Part;

#[derive(Debug)]
pub struct Pipeline {
    /// Where arguments are appended.
    pub request: Request,
    shared: Arc<Shared>,
    when_full: WhenFull,
    auto: AutoExec,
    /// The open batch may grow to so many bytes without a further look.
    allowed: usize,
    /// When the runtime's thread was let go first.
    gave_way: Instant,
}

/// After so many bytes there is a look at how the rest is doing. A segment: some 20 to 200 microseconds.
const LOOK_BYTES: usize = 64 * 1024;

/// So often the runtime's thread is let go first. A window of 1 kB values keeps a server at work for a millisecond, and where that
/// thread is woken beside this one, it waits as long for its turn: the server had nothing to do a tenth of the time.
const GIVE_WAY_EVERY: Duration = Duration::from_micros(200);

const NEVER: AutoExec = AutoExec {
    bytes: usize::MAX,
    commands: u64::MAX,
};

/// What a commit did besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Appended,
    /// The command is the first of its batch.
    First,
    /// It completed a batch, which is on its way now.
    Executed,
}

impl Pipeline {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            request: Request::new(Arc::clone(&shared.pool)),
            when_full: shared.config.when_full,
            auto: shared.config.auto_exec.unwrap_or(NEVER),
            shared,
            allowed: 0,
            gave_way: Instant::now(),
        }
    }

    /// One whose batches end where a load says so. It never blocks: a load waits in its own way, and can be stopped then.
    pub fn for_load(shared: Arc<Shared>) -> Self {
        Self {
            auto: NEVER,
            when_full: WhenFull::Throw,
            ..Self::new(shared)
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The open command becomes part of the batch.
    ///
    /// # Errors
    /// `BufferFull` where it finds no room; it is then forgotten.
    #[inline]
    pub fn commit(&mut self) -> Result<Committed, Error> {
        if self.request.total_bytes() <= self.allowed && self.request.commands() + 1 < self.auto.commands {
            self.request.commit();
            return Ok(Committed::Appended);
        }
        self.commit_with_a_look()
    }

    /// The commands since `mark`, committed one by one in the request, become part of the batch: all in the same one.
    ///
    /// # Errors
    /// `BufferFull` where they find no room; they are then forgotten, all of them.
    #[inline]
    pub fn keep(&mut self, mark: &Mark) -> Result<Committed, Error> {
        if self.request.total_bytes() <= self.allowed && self.request.commands() < self.auto.commands {
            return Ok(Committed::Appended);
        }
        self.keep_with_a_look(mark)
    }

    /// Refuses an argument of at least `bytes` before it is copied, where it cannot find room.
    ///
    /// # Errors
    /// `BufferFull`; the open command is then forgotten.
    pub fn expect_room(&mut self, bytes: usize) -> Result<(), Error> {
        let needed = self.request.open_bytes() + bytes;
        let possible = match self.when_full {
            WhenFull::Throw => self.shared.budget.room(self.request.committed_bytes()),
            WhenFull::Block => self.shared.budget.max(),
        };
        if needed <= possible {
            Ok(())
        } else {
            Err(self.full(None))
        }
    }

    /// Everything appended becomes a batch on its way; with a ticket, its outcome is reported under that, together
    /// with all since the last report.
    pub fn execute(&mut self, ticket: Option<u32>) {
        self.allowed = 0;
        self.shared.execute(self.request.seal(), ticket);
    }

    /// The same for a load; its report has what became of all of that.
    pub(crate) fn execute_part(&mut self, part: Part, wrap: Wrap, ticket: Option<u32>) {
        self.allowed = 0;
        let load = Some(Arc::clone(&part.tally));
        let batch = Batch {
            part: Some(part),
            wrap,
            ..self.request.seal()
        };
        self.shared
            .execute_and(batch, ticket.map(|ticket| Ordered { ticket, load }));
    }

    /// Forgets everything appended; returns how many commands.
    pub fn discard(&mut self) -> u64 {
        self.take_back(|_| {})
    }

    /// The same, after a look at it.
    pub fn take_back(&mut self, look: impl FnOnce(&Batch)) -> u64 {
        self.allowed = 0;
        let batch = self.request.seal();
        look(&batch);
        for segment in batch.segments {
            self.shared.pool.put_back(segment);
        }
        batch.commands
    }

    /// Nothing more will be appended: gives back the memory.
    pub fn retire(&mut self) {
        self.request = Request::new(Arc::clone(&self.shared.pool));
        self.shared.pool.retire();
    }

    #[cold]
    fn commit_with_a_look(&mut self) -> Result<Committed, Error> {
        let (commands, committed) = (self.request.commands(), self.request.committed_bytes());
        let room = self.room_for(self.request.open_bytes(), committed)?;
        self.request.commit();
        Ok(self.grown(commands, committed + room))
    }

    #[cold]
    fn keep_with_a_look(&mut self, mark: &Mark) -> Result<Committed, Error> {
        let needed = self.request.committed_bytes() - mark.bytes;
        let room = self
            .room_for(needed, mark.bytes)
            .inspect_err(|_| self.request.undo(mark))?;
        Ok(self.grown(mark.commands, mark.bytes + room))
    }

    /// Room behind `committed` bytes, of which `needed` are there.
    fn room_for(&mut self, needed: usize, committed: usize) -> Result<usize, Error> {
        self.give_way();
        let room = self.shared.budget.room(committed);
        if room >= needed {
            return Ok(room);
        }
        match self.when_full {
            WhenFull::Throw => Err(self.full(None)),
            WhenFull::Block => self
                .shared
                .budget
                .wait_for_room(needed, committed)
                .map_err(|hopeless| self.full(Some(hopeless))),
        }
    }

    /// Where the server has enough to do without this thread, that of the runtime comes first: they may share a processor.
    fn give_way(&mut self) {
        if self.shared.is_ahead() && self.gave_way.elapsed() >= GIVE_WAY_EVERY {
            thread::yield_now();
            self.gave_way = Instant::now();
        }
    }

    /// The batch has grown, from so many commands; it may do so up to `allowed` bytes.
    fn grown(&mut self, commands: u64, allowed: usize) -> Committed {
        if self.request.total_bytes() >= self.auto.bytes || self.request.commands() >= self.auto.commands {
            self.execute(None);
            return Committed::Executed;
        }
        self.allowed = allowed
            .min(self.auto.bytes - 1)
            .min(self.request.total_bytes() + LOOK_BYTES);
        if commands == 0 {
            Committed::First
        } else {
            Committed::Appended
        }
    }

    #[cold]
    fn full(&mut self, hopeless: Option<Hopeless>) -> Error {
        self.request.rollback();
        let max = self.shared.budget.max();
        let why = match hopeless {
            None => "call exec() and await it, or drain()",
            Some(Hopeless::NothingExecuted) => "nothing is executed that could make room: call exec() first",
            Some(Hopeless::Untaken) => "replies or failures that were not taken yet fill it: let the event loop run",
            Some(Hopeless::GivenUp) => "the connection was given up meanwhile",
        };
        Error::BufferFull(format!("the buffer of maxBufferedBytes ({max} bytes) is full: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::loader::server::{Deaf, config};

    /// Nobody works for it: what it executes stays.
    fn pipeline(config: Config) -> Pipeline {
        Pipeline::new(Arc::new(Shared::new(config, Arc::new(Deaf))))
    }

    /// A command of 100 bytes.
    fn append(pipeline: &mut Pipeline) -> Result<Committed, Error> {
        pipeline.request.begin(2, b"$3\r\nGET\r\n");
        pipeline.request.bytes(&[b'x'; 80]);
        pipeline.commit()
    }

    fn small(max_buffered: usize) -> Config {
        Config {
            max_buffered,
            ..config(1)
        }
    }

    #[test]
    fn the_first_command_of_a_batch_is_told_apart() {
        let mut pipeline = pipeline(config(1));
        assert_eq!(append(&mut pipeline).unwrap(), Committed::First);
        assert_eq!(pipeline.request.committed_bytes(), 100);
        assert_eq!(append(&mut pipeline).unwrap(), Committed::Appended);
        assert_eq!(pipeline.discard(), 2);
        assert_eq!(append(&mut pipeline).unwrap(), Committed::First);
        pipeline.execute(None);
        assert_eq!(append(&mut pipeline).unwrap(), Committed::First);
    }

    #[test]
    fn at_the_ceiling_a_command_is_refused_and_forgotten() {
        let mut pipeline = pipeline(small(1_000));
        for _ in 0..10 {
            append(&mut pipeline).unwrap();
        }
        let error = append(&mut pipeline).unwrap_err();
        assert_eq!(error.code(), "RESPIPE_BUFFER_FULL");
        assert_eq!(
            (pipeline.request.commands(), pipeline.request.committed_bytes()),
            (10, 1_000)
        );
        // Executed, it is in the way all the same, until it is answered.
        pipeline.execute(None);
        append(&mut pipeline).unwrap_err();
        let _ = pipeline.shared.budget.settle(1_000, 1);
        assert_eq!(append(&mut pipeline).unwrap(), Committed::First);
    }

    #[test]
    fn commands_kept_together_find_room_together() {
        let mut pipeline = pipeline(small(1_000));
        let group = |pipeline: &mut Pipeline| {
            let mark = pipeline.request.mark();
            for _ in 0..3 {
                pipeline.request.begin(1, &[b'x'; 96]);
                pipeline.request.commit();
            }
            pipeline.keep(&mark)
        };
        assert_eq!(group(&mut pipeline).unwrap(), Committed::First);
        assert_eq!(group(&mut pipeline).unwrap(), Committed::Appended);
        assert_eq!(group(&mut pipeline).unwrap(), Committed::Appended);
        assert_eq!(group(&mut pipeline).unwrap_err().code(), "RESPIPE_BUFFER_FULL");
        assert_eq!(
            (pipeline.request.commands(), pipeline.request.committed_bytes()),
            (9, 900)
        );
        append(&mut pipeline).unwrap();
    }

    #[test]
    fn a_batch_executes_with_all_commands_that_are_kept_together() {
        let mut pipeline = pipeline(Config {
            auto_exec: Some(AutoExec {
                bytes: usize::MAX,
                commands: 2,
            }),
            ..config(1)
        });
        let mark = pipeline.request.mark();
        for _ in 0..3 {
            pipeline.request.begin(1, &[b'x'; 96]);
            pipeline.request.commit();
        }
        assert_eq!(pipeline.keep(&mark).unwrap(), Committed::Executed);
        assert_eq!(pipeline.shared.budget.executed(), 300);
    }

    #[test]
    fn replies_that_nobody_took_take_room() {
        let mut pipeline = pipeline(small(1_000));
        pipeline.shared.budget.keep(950);
        append(&mut pipeline).unwrap_err();
        pipeline.shared.taken(950);
        append(&mut pipeline).unwrap();
    }

    #[test]
    fn an_argument_without_room_is_refused_before_it_is_copied() {
        for (when_full, possible) in [(WhenFull::Throw, 900), (WhenFull::Block, 1_000)] {
            let mut pipeline = pipeline(Config {
                when_full,
                ..small(1_000)
            });
            append(&mut pipeline).unwrap();
            pipeline.expect_room(possible).unwrap();
            assert_eq!(
                pipeline.expect_room(possible + 1).unwrap_err().code(),
                "RESPIPE_BUFFER_FULL"
            );
        }
    }

    #[test]
    fn thresholds_execute_a_batch_by_themselves() {
        for (bytes, commands) in [(500, u64::MAX), (usize::MAX, 5), (401, 100), (1, 1)] {
            let expected = if bytes == 1 { 1 } else { 5 };
            let mut pipeline = pipeline(Config {
                auto_exec: Some(AutoExec { bytes, commands }),
                ..config(1)
            });
            for round in 1..4 {
                for _ in 1..expected {
                    assert_ne!(append(&mut pipeline).unwrap(), Committed::Executed);
                }
                assert_eq!(append(&mut pipeline).unwrap(), Committed::Executed);
                assert_eq!(pipeline.shared.budget.executed(), round * expected * 100);
                assert_eq!(pipeline.request.commands(), 0);
            }
        }
    }

    #[test]
    fn blocking_waits_for_an_answer_and_not_in_vain() {
        let mut pipeline = pipeline(Config {
            when_full: WhenFull::Block,
            ..small(2_000)
        });
        for _ in 0..20 {
            append(&mut pipeline).unwrap();
        }
        // Nothing is executed that could be answered.
        append(&mut pipeline).unwrap_err();
        pipeline.execute(None);
        let shared = Arc::clone(&pipeline.shared);
        let server = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            // All is answered, yet the batch takes room until its fence has come.
            let _ = shared.budget.settle(1_950, 0);
            let _ = shared.budget.settle(50, 0);
            thread::sleep(Duration::from_millis(20));
            let _ = shared.budget.settle(0, 1);
        });
        for _ in 0..20 {
            append(&mut pipeline).unwrap();
        }
        server.join().unwrap();
    }
}
