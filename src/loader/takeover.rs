//! Before a connection takes the load over from one that was lost: the old one is ended for the server as well.

use std::time::Duration;

use super::work::Loader;
use crate::config::{Replies, Transaction};
use crate::connection::fence::{Fenced, fence};
use crate::connection::handshake::{Peer, asks_to_come_back};
use crate::connection::link::Link;
use crate::connection::question::encode;
use crate::connection::task::End;
use crate::error::Error;
use crate::resp::reply::printable;
use crate::resp::value::Value;

/// What was lost with something in flight.
#[derive(Debug)]
pub(super) struct Predecessor {
    /// One connection, or two where one was taking over from the other.
    pub(super) peers: Vec<Peer>,
    pub(super) error: Error,
    pub(super) end: End,
}

impl Loader {
    /// Sees to it that nothing more of the connections before runs, and that this one may write.
    pub(super) async fn prepare_link(&mut self, link: &mut Link) -> Result<(), Error> {
        let limit = self.shared.config.stall_timeout;
        if let Some(predecessor) = &self.predecessor {
            let mut fenced = Fenced::Done;
            for peer in &predecessor.peers {
                if let Fenced::Impossible(reason) = fence(link, peer, limit).await? {
                    fenced = Fenced::Impossible(reason);
                }
            }
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
        self.try_transaction(link, limit).await?;
        self.ask_to_hold(link, limit).await?;
        self.predecessor = None;
        self.audit.begin(&link.peer);
        Ok(())
    }

    /// With replies off nobody would see that MULTI was refused, and the commands behind it run one by one.
    async fn try_transaction(&mut self, link: &mut Link, limit: Duration) -> Result<(), Error> {
        let config = &self.shared.config;
        if config.replies != Replies::Off || config.transaction != Transaction::EachBatch || self.tried_transaction {
            return Ok(());
        }
        for command in ["MULTI", "EXEC"] {
            if let Value::Error(text) = link.ask(command, &encode(&[command.as_bytes()]), limit).await? {
                let (address, text) = (link.address.clone(), printable(&text));
                let text = text.trim_start_matches("EXECABORT Transaction discarded because of: ");
                let reason = format!("replies: 'off' with transaction needs {command}: {text}");
                return Err(if asks_to_come_back(text.as_bytes()) {
                    Error::Connect { address, reason }
                } else if text.starts_with("NOPERM") {
                    Error::Auth { address, reason }
                } else {
                    Error::Refused { address, reason }
                });
            }
        }
        self.tried_transaction = true;
        Ok(())
    }
}
