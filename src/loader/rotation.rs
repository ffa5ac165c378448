//! A connection has had its share: the next one takes over, without a pause where that can be.
//!
//! ```text
//!   half of the share is there: the next connection is opened and logged in
//!     │ the server holds it back (`hold`): once all of the share is written, it takes over before that is answered
//!     └ else: it takes over once everything is answered
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Reason;
use super::standby::Standby;
use super::work::Loader;
use crate::connection::hold::{can_hold, release};
use crate::connection::link::Link;
use crate::connection::stream::Stream;
use crate::connection::task::{Driver, Successor};
use crate::error::Error;

/// A clean goodbye (TLS tells the peer) may take so long.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

impl Loader {
    /// Half of a connection's share is there: the next one is opened meanwhile.
    pub(super) fn prepare(&mut self) {
        if self.standby.is_some() || !self.exchange.is_half_spent() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.standby = Some(match &self.peer {
            Some(peer) if self.holds_back => Standby::open_held(shared, peer.clone()),
            _ => Standby::open(shared),
        });
    }

    /// The connection that was opened beforehand, where one is to take over and is still good.
    pub(super) async fn take_over(&mut self) -> Option<Link> {
        let standby = self.standby.take_if(|_| self.reason == Reason::Rotation)?;
        // The server has nothing to do. Where it can be given something at once, nobody hears before of what is over.
        if !standby.is_up() || self.checkpoint.is_some() {
            self.settle();
        }
        let mut link = self.unless_stopped(standby.link()).await.ok()??;
        if !link.is_quiet().await {
            return None;
        }
        // Whatever is wrong with it, the ordinary way finds out.
        self.prepare_unless_stopped(&mut link).await.ok()?;
        self.connected(&link.peer);
        Some(link)
    }

    /// The connection that was opened beforehand, where the server holds it back.
    pub(super) fn next_in_line(&mut self) -> Option<Successor<Stream>> {
        let standby = self.standby.take_if(|standby| standby.is_held() && standby.is_up())?;
        let Some(link) = standby.take().and_then(Link::if_quiet) else {
            // Not tried again before the server is asked anew.
            self.holds_back = false;
            return None;
        };
        let release = release(link.peer.client_id?);
        self.audit.begin(&link.peer);
        self.next = Some(link.peer);
        Some(Successor {
            stream: link.stream,
            release,
        })
    }

    /// It will be there in a while, or it will be known that it will not.
    pub(super) fn awaits_next(&self) -> bool {
        self.standby.as_ref().is_some_and(Standby::is_held)
    }

    /// Whether the server of a new connection would hold one back, where there will be others.
    pub(super) async fn ask_to_hold(&mut self, link: &mut Link, limit: Duration) -> Result<(), Error> {
        if self.exchange.rotates() && self.reason != Reason::Rotation {
            self.holds_back = can_hold(link, limit).await?;
        }
        Ok(())
    }

    /// The next connection is the one at work.
    pub(super) fn has_succeeded(&mut self, old: Stream) {
        self.reason = Reason::Rotation;
        if let Some(peer) = self.next.take() {
            self.connected(&peer);
        }
        dismiss(old);
    }
}

/// Nothing is unread on it, so that it ends cleanly; nobody has to wait for that.
pub(super) fn dismiss(mut stream: Stream) {
    tokio::spawn(async move { timeout(GOODBYE, stream.shutdown()).await });
}
