//! The connection that takes over next: opened and logged in while the present one still works.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Shared;
use crate::connection::link::{self, Link};

/// Dropping it closes the connection.
pub(super) struct Standby(JoinHandle<Option<Link>>);

impl Standby {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        // An error is no news: whoever needs the connection then opens one, and hears of it.
        Self(tokio::spawn(async move {
            link::open(&shared.config, shared.connector().ok()?).await.ok()
        }))
    }

    /// Nothing has to be waited for.
    pub(super) fn is_up(&self) -> bool {
        self.0.is_finished()
    }

    /// The connection, if it came about.
    pub(super) async fn link(mut self) -> Option<Link> {
        (&mut self.0).await.ok().flatten()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.0.abort();
    }
}
