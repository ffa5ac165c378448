//! One command and its reply, on a connection of its own, beside the load.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Notice, Shared};
use crate::connection::link::{self, Link};
use crate::connection::tls::Connector;
use crate::error::Error;
use crate::resp::reply::{Kind, Scanner, excerpt};

/// The connection for looking. Opened by the first question; questions take turns.
#[derive(Debug, Default)]
pub struct Looker {
    link: Mutex<Option<Link>>,
}

impl Looker {
    /// Asks, and notifies of the answer under `ticket`.
    pub async fn ask(&self, shared: Arc<Shared>, ticket: u32, request: Vec<u8>) {
        let reply = tokio::select! {
            biased;
            error = shared.stop_signal() => Err(error),
            reply = self.answer(&shared, &request) => reply,
        };
        if let Ok(reply) = &reply {
            shared.budget.keep(reply.len().cast_signed());
        }
        shared.listener.notify(Notice::Queried { ticket, reply });
    }

    async fn answer(&self, shared: &Shared, request: &[u8]) -> Result<Vec<u8>, Error> {
        let mut kept = self.link.lock().await;
        // A connection that was idle may have ended unseen. On any error it is dropped.
        let quiet = match &mut *kept {
            Some(link) => still_quiet(link).await,
            None => false,
        };
        let mut link = match kept.take() {
            Some(link) if quiet => link,
            _ => link::open(&shared.config, &Connector::new(&shared.config)?).await?,
        };
        let reply = exchange(shared, &mut link, request).await?;
        *kept = Some(link);
        Ok(reply)
    }
}

/// Nothing was said, and nobody hung up.
async fn still_quiet(link: &mut Link) -> bool {
    let mut byte = [0];
    // Polled once: a zero timeout polls before it looks at the clock.
    timeout(std::time::Duration::ZERO, link.stream.read(&mut byte))
        .await
        .is_err()
}

async fn exchange(shared: &Shared, link: &mut Link, request: &[u8]) -> Result<Vec<u8>, Error> {
    let stall = shared.config.stall_timeout;
    let address = link.address.clone();
    let lost = |reason: String| Error::ConnectionLost {
        address: address.clone(),
        reason,
    };
    let asked = async {
        link.stream
            .write_all(request)
            .await
            .map_err(|error| lost(error.to_string()))?;
        link.stream.flush().await.map_err(|error| lost(error.to_string()))?;
        let mut scanner = Scanner::new();
        let mut reply = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let bytes = link
                .stream
                .read(&mut buffer)
                .await
                .map_err(|error| lost(error.to_string()))?;
            if bytes == 0 {
                return Err(lost("the server closed it".to_owned()));
            }
            let mut input = &buffer[..bytes];
            while !input.is_empty() {
                let step = scanner.next(input).map_err(|malformed| Error::Protocol {
                    address: address.clone(),
                    reason: format!("{malformed}: {}", excerpt(input)),
                })?;
                reply.extend_from_slice(&input[..step.consumed]);
                input = &input[step.consumed..];
                match step.done {
                    None => {}
                    Some(Kind::Push | Kind::Attribute) => reply.clear(),
                    Some(_) if input.is_empty() => return Ok(reply),
                    Some(_) => {
                        return Err(Error::Protocol {
                            address: address.clone(),
                            reason: format!("more than one reply to a query: {}", excerpt(input)),
                        });
                    }
                }
            }
        }
    };
    timeout(stall, asked).await.unwrap_or_else(|_| {
        Err(Error::Stalled {
            address: link.address.clone(),
            after: stall,
        })
    })
}
