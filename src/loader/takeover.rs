//! Before a connection takes the load over from one that was lost: the old one is ended for the server as well.

use super::work::Loader;
use crate::connection::fence::{Fenced, fence};
use crate::connection::handshake::Peer;
use crate::connection::link::Link;
use crate::connection::task::End;
use crate::error::Error;

/// A connection that was lost with something in flight.
#[derive(Debug)]
pub(super) struct Predecessor {
    pub(super) peer: Peer,
    pub(super) error: Error,
    pub(super) end: End,
}

impl Loader {
    /// Sees to it that nothing more of the connections before runs, and that this one may write.
    pub(super) async fn prepare_link(&mut self, link: &mut Link) -> Result<(), Error> {
        let limit = self.shared.config.stall_timeout;
        if let Some(predecessor) = &self.predecessor {
            let fenced = fence(link, &predecessor.peer, limit).await?;
            if let Fenced::Impossible(reason) = fenced
                && predecessor.end == End::Ours
            {
                if self.checkpoint.is_some() {
                    return Err(Error::Auth {
                        address: link.address.clone(),
                        reason: format!("the connection before cannot be ended, as checkpoint needs: {reason}"),
                    });
                }
                let error = predecessor.error.clone();
                self.exchange.unfenced(&error);
            }
        }
        if let Some(checkpoint) = &mut self.checkpoint {
            let before = checkpoint.number() - self.exchange.open_batches();
            let done = checkpoint.claim(link, limit).await?;
            let cause = self.predecessor.as_ref().map_or(Error::Closed, |old| old.error.clone());
            self.exchange.proven(done.saturating_sub(before), &cause);
        }
        self.predecessor = None;
        self.audit.begin(&link.peer);
        Ok(())
    }
}
