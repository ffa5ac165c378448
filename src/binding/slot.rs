//! One pipeline, as its instance of the addon keeps it.

use std::sync::Arc;

use tokio::sync::watch;

use super::load::Loads;
use super::notices::Mailbox;
use crate::config::Encoding;
use crate::error::Error;
use crate::loader::Looker;
use crate::pipeline::Pipeline;

pub(super) struct Slot {
    pub(super) pipeline: Pipeline,
    /// Where the command of a `query` is put together.
    pub(super) query: Pipeline,
    pub(super) looker: Arc<Looker>,
    pub(super) encoding: Encoding,
    pub(super) state: State,
    pub(super) loads: Loads,
    pub(super) mailbox: Arc<Mailbox>,
    /// Closes when the pipeline's task is over, and with it its connection.
    pub(super) over: watch::Receiver<()>,
}

pub(super) enum State {
    Open,
    /// JavaScript is spelling out an argument, which may run code of the user's.
    Expanding,
    /// Closed, destroyed or aborted.
    Ended(Error),
}

impl Slot {
    /// Nothing can be appended any more; what was and is not executed is forgotten.
    pub(super) fn end(&mut self, error: Error) {
        if !self.has_ended() {
            self.end_loads();
            self.pipeline.retire();
            self.query.retire();
            self.state = State::Ended(error);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Why nothing can be appended now.
    pub(super) fn refusal(&self) -> Error {
        match &self.state {
            State::Ended(error) => error.clone(),
            State::Open | State::Expanding => Error::InvalidArgument(
                "a command cannot be appended while the arguments of another are read".to_owned(),
            ),
        }
    }
}

/// Nobody has the pipeline any more: whatever it still does ends, the threads that read files too.
impl Drop for Slot {
    fn drop(&mut self) {
        self.end(Error::Closed);
        self.pipeline.shared().stop(Error::Closed);
    }
}
