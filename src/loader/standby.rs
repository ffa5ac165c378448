//! The connection that takes over next: opened and logged in while the present one still works.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Shared;
use crate::connection::handshake::Peer;
use crate::connection::hold::same_run;
use crate::connection::link::{self, Link};

/// Dropping it closes the connection.
pub(super) struct Standby {
    /// `None` where it did not come about. That is no news: whoever needs the connection then opens one, and hears why.
    link: oneshot::Receiver<Option<Link>>,
    task: AbortHandle,
    held: bool,
}

impl Standby {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        Self::start(Arc::clone(&shared), false, async move {
            link::open(&shared.config, shared.connector().ok()?).await.ok()
        })
    }

    /// One that the server holds back until that of `old` lets it go.
    pub(super) fn open_held(shared: Arc<Shared>, old: Peer) -> Self {
        Self::start(Arc::clone(&shared), true, async move {
            let link = link::open_held(&shared.config, shared.connector().ok()?).await.ok()?;
            same_run(&link.peer, &old).then_some(link)
        })
    }

    fn start(shared: Arc<Shared>, held: bool, link: impl Future<Output = Option<Link>> + Send + 'static) -> Self {
        let (sender, receiver) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Where nobody waits for it any more, it is dropped.
            drop(sender.send(link.await));
            shared.wake.notify_one();
        });
        Self {
            link: receiver,
            task: task.abort_handle(),
            held,
        }
    }

    /// Nothing has to be waited for.
    pub(super) fn is_up(&self) -> bool {
        !self.link.is_empty() || self.task.is_finished()
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// The connection, if it came about, where that is known.
    pub(super) fn take(mut self) -> Option<Link> {
        self.link.try_recv().ok().flatten()
    }

    /// The connection, if it came about.
    pub(super) async fn link(mut self) -> Option<Link> {
        (&mut self.link).await.ok().flatten()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.task.abort();
    }
}
