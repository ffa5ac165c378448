//! The JavaScript thread's half of a pipeline: the open batch, its ceiling, and when it executes by itself.
//!
//! Arguments come in from the binding; sealed batches go out to the loader. Per command there is no lock, no
//! atomic and no system call: two comparisons tell whether anything else has to be looked at.

use std::sync::Arc;

use crate::config::{AutoExec, WhenFull};
use crate::error::Error;
use crate::loader::{Hopeless, Shared};
use crate::resp::request::Request;

#[derive(Debug)]
pub struct Pipeline {
    /// Where arguments are appended.
    pub request: Request,
    shared: Arc<Shared>,
    when_full: WhenFull,
    auto: AutoExec,
    /// The open batch may grow to so many bytes without a further look.
    allowed: usize,
}

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
        let never = AutoExec {
            bytes: usize::MAX,
            commands: u64::MAX,
        };
        Self {
            request: Request::new(Arc::clone(&shared.pool)),
            when_full: shared.config.when_full,
            auto: shared.config.auto_exec.unwrap_or(never),
            shared,
            allowed: 0,
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

    /// Forgets everything appended; returns how many commands.
    pub fn discard(&mut self) -> u64 {
        self.allowed = 0;
        self.request.seal().commands
    }

    /// Nothing more will be appended: gives back the memory.
    pub fn retire(&mut self) {
        self.request = Request::new(Arc::clone(&self.shared.pool));
        self.shared.pool.retire();
    }

    #[cold]
    fn commit_with_a_look(&mut self) -> Result<Committed, Error> {
        let first = self.request.commands() == 0;
        let needed = self.request.open_bytes();
        let committed = self.request.committed_bytes();
        let mut room = self.shared.budget.room(committed);
        if room < needed {
            room = match self.when_full {
                WhenFull::Throw => return Err(self.full(None)),
                WhenFull::Block => match self.shared.budget.wait_for_room(needed, committed) {
                    Ok(room) => room,
                    Err(hopeless) => return Err(self.full(Some(hopeless))),
                },
            };
        }
        self.request.commit();
        if self.request.total_bytes() >= self.auto.bytes || self.request.commands() >= self.auto.commands {
            self.execute(None);
            return Ok(Committed::Executed);
        }
        self.allowed = (committed + room).min(self.auto.bytes - 1);
        Ok(if first { Committed::First } else { Committed::Appended })
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
