//! Exactly once: how far the load is, stored with each batch under one key, and who may go on from there.
//!
//! ```text
//!   key, a hash:   run     which load it belongs to        owner            the pipeline that may write now
//!                  batch   the last one that is done       writer:<owner>   its connection, so that the next
//!                  row     of a load of rows                                pipeline can end it
//! ```
//!
//! A pipeline first says that it is the owner, then reads, and ends the connections of all other writers: of two
//! that do so at a time, at least one sees the other. What it reads after that cannot change any more but by itself.

use std::time::Duration;

use crate::connection::fence::{Fenced, fence};
use crate::connection::handshake::Peer;
use crate::connection::link::Link;
use crate::connection::question::encode;
use crate::error::Error;
use crate::resp::reply::printable;
use crate::resp::value::Value;

/// What the key holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) run: Option<String>,
    pub(super) batch: u64,
    pub(super) row: Option<u64>,
    owner: Option<String>,
    writers: Vec<(String, Peer)>,
}

/// The last batch that the server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub batch: u64,
    pub row: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Checkpoint {
    key: Vec<u8>,
    /// This pipeline.
    owner: String,
    /// Which load: taken over from the server, or chosen with the first batch.
    run: Option<String>,
    /// Of the last batch that was taken on.
    number: u64,
    /// Of the last batch that is known to be done.
    confirmed: u64,
    /// What the key held when the connection was made; `None` before, and when that is no longer true.
    found: Option<Stored>,
    /// The key is ours.
    claimed: bool,
}

impl Checkpoint {
    pub(super) fn new(key: Vec<u8>) -> Self {
        Self {
            key,
            owner: nonce(),
            run: None,
            number: 0,
            confirmed: 0,
            found: None,
            claimed: false,
        }
    }

    /// Batches can be numbered.
    pub(super) fn is_ready(&self) -> bool {
        self.found.is_some()
    }

    /// What was taken on is over without being done: the next batch is numbered after what the server then holds.
    pub(super) fn forget(&mut self) {
        self.found = None;
    }

    /// The load that the server has something of is continued, unless another one was begun.
    pub(super) fn adopt(&mut self) {
        if self.run.is_none()
            && let Some(found) = &self.found
            && found.run.is_some()
        {
            self.run.clone_from(&found.run);
            self.number = found.batch;
            self.confirmed = found.batch;
        }
    }

    /// The next batch's number, and the request that stores it; of a load of rows, with the last of them.
    pub(super) fn next_mark(&mut self, row: Option<u64>) -> Vec<u8> {
        self.number += 1;
        let run = self.run.get_or_insert_with(nonce);
        let number = self.number.to_string();
        let row = row.map(|row| row.to_string()).unwrap_or_default();
        encode(&[
            b"HSET",
            &self.key,
            b"run",
            run.as_bytes(),
            b"batch",
            number.as_bytes(),
            b"row",
            row.as_bytes(),
        ])
    }

    /// Of the last batch that was taken on.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn confirm(&mut self, number: u64) {
        self.confirmed = self.confirmed.max(number);
    }

    /// The question that [`Self::answer`] reads the reply to.
    pub(super) fn question(&self) -> Vec<u8> {
        encode(&[b"HGETALL", &self.key])
    }

    /// What the server holds of this load; of another's, nothing.
    pub(super) fn answer(&self, reply: &Value) -> Option<Progress> {
        let stored = Stored::read(reply).ok()?;
        let own = stored.run.is_some() && stored.run == self.run;
        own.then_some(Progress {
            batch: stored.batch,
            row: stored.row,
        })
    }

    /// Makes the key this pipeline's, so that nobody else's batch can be done from here on; returns how many batches
    /// of this load the server holds.
    ///
    /// # Errors
    /// Those of [`Link::ask`]; `Error::Refused` where the key is no checkpoint, or the load cannot be continued from
    /// it; `Error::Auth` where a permission is missing.
    pub(super) async fn claim(&mut self, link: &mut Link, limit: Duration) -> Result<u64, Error> {
        let writer = format!("writer:{}", self.owner);
        let identity = write_peer(&link.peer);
        let mut claim: Vec<&[u8]> = vec![b"HSET", &self.key, writer.as_bytes(), identity.as_bytes()];
        if !self.claimed {
            claim.extend([b"owner", self.owner.as_bytes()]);
        }
        let request = encode(&claim);
        let reply = link.ask("HSET of the checkpoint", &request, limit).await?;
        self.expect(link, "HSET", reply)?;
        let mut stored = self.read(link, limit).await?;
        match &stored.owner {
            Some(owner) if *owner != self.owner => {
                return Err(self.refused(link, "another pipeline has taken it over"));
            }
            Some(_) => {}
            // The server has lost the key, and perhaps more: that is for `compare` to say.
            None => self.own(link, limit).await?,
        }
        if self.end_others(link, &stored, limit).await? {
            stored = self.read(link, limit).await?;
        }
        self.claimed = true;
        let done = self.compare(link, &stored)?;
        self.found = Some(stored);
        Ok(done)
    }

    async fn own(&self, link: &mut Link, limit: Duration) -> Result<(), Error> {
        let request = encode(&[b"HSET", &self.key, b"owner", self.owner.as_bytes()]);
        let reply = link.ask("HSET of the checkpoint", &request, limit).await?;
        self.expect(link, "HSET", reply).map(drop)
    }

    /// Nothing is under way any more: the next pipeline has nobody to end. Best effort.
    pub(super) async fn leave(&mut self, link: &mut Link, limit: Duration) {
        if self.claimed {
            let writer = format!("writer:{}", self.owner);
            let request = encode(&[b"HDEL", &self.key, writer.as_bytes()]);
            let _ = link.ask("HDEL of the checkpoint", &request, limit).await;
        }
    }

    /// Ends the connections of all others that could write; tells whether there were any.
    async fn end_others(&self, link: &mut Link, stored: &Stored, limit: Duration) -> Result<bool, Error> {
        let own = format!("writer:{}", self.owner);
        let others: Vec<&(String, Peer)> = stored.writers.iter().filter(|(field, _)| *field != own).collect();
        for (field, peer) in &others {
            if let Fenced::Impossible(reason) = fence(link, peer, limit).await? {
                return Err(Error::Auth {
                    address: link.address.clone(),
                    reason: format!(
                        "checkpoint {} was written by another connection, which cannot be ended: {reason}",
                        printable(&self.key)
                    ),
                });
            }
            let request = encode(&[b"HDEL", &self.key, field.as_bytes()]);
            let reply = link.ask("HDEL of the checkpoint", &request, limit).await?;
            self.expect(link, "HDEL", reply)?;
        }
        Ok(!others.is_empty())
    }

    /// How many batches of this load the server holds.
    fn compare(&mut self, link: &Link, stored: &Stored) -> Result<u64, Error> {
        let own = self.run.is_some() && stored.run == self.run;
        let done = if own { stored.batch } else { 0 };
        if done < self.confirmed {
            let confirmed = self.confirmed;
            return Err(self.refused(
                link,
                &format!("the server holds {done} batches of this load, and had confirmed {confirmed}: it lost data"),
            ));
        }
        self.confirmed = done;
        if self.found.is_none() && self.run.is_some() {
            self.number = done;
        }
        Ok(done)
    }

    async fn read(&self, link: &mut Link, limit: Duration) -> Result<Stored, Error> {
        let reply = link.ask("HGETALL of the checkpoint", &self.question(), limit).await?;
        let reply = self.expect(link, "HGETALL", reply)?;
        Stored::read(&reply).map_err(|reason| self.refused(link, &reason))
    }

    fn expect(&self, link: &Link, command: &str, reply: Value) -> Result<Value, Error> {
        match reply {
            Value::Error(text) if text.starts_with(b"NOPERM") => Err(Error::Auth {
                address: link.address.clone(),
                reason: format!("checkpoint needs {command}: {}", printable(&text)),
            }),
            Value::Error(text) if text.starts_with(b"WRONGTYPE") => {
                Err(self.refused(link, "the key holds something else"))
            }
            // Whatever it is may pass: the server is busy, full, or read-only for now.
            Value::Error(text) => Err(Error::Connect {
                address: link.address.clone(),
                reason: format!("{command} of the checkpoint: {}", printable(&text)),
            }),
            reply => Ok(reply),
        }
    }

    fn refused(&self, link: &Link, reason: &str) -> Error {
        Error::Refused {
            address: link.address.clone(),
            reason: format!("checkpoint {}: {reason}", printable(&self.key)),
        }
    }
}

impl Stored {
    fn read(reply: &Value) -> Result<Self, String> {
        let Value::Array(fields) = reply else {
            return Err("HGETALL was answered by no list of fields".to_owned());
        };
        let mut stored = Self::default();
        for pair in fields.chunks_exact(2) {
            let (Value::Text(field), Value::Text(value)) = (&pair[0], &pair[1]) else {
                return Err("HGETALL was answered by no list of fields".to_owned());
            };
            let value = String::from_utf8_lossy(value).into_owned();
            match field.as_slice() {
                b"run" => stored.run = Some(value),
                b"owner" => stored.owner = Some(value),
                b"batch" => stored.batch = value.parse().map_err(|_| format!("its batch is {value:?}"))?,
                b"row" => stored.row = value.parse().ok(),
                field if field.starts_with(b"writer:") => {
                    let field = String::from_utf8_lossy(field).into_owned();
                    stored.writers.push((field, read_peer(&value)));
                }
                _ => {}
            }
        }
        Ok(stored)
    }
}

/// A connection, for whoever has to end it: its number, the server's run and its address, with a dash for none.
fn write_peer(peer: &Peer) -> String {
    let id = peer.client_id.map(|id| id.to_string());
    [&id, &peer.run_id, &peer.client_address]
        .map(|part| part.as_deref().unwrap_or("-"))
        .join(" ")
}

fn read_peer(text: &str) -> Peer {
    let mut parts = text.splitn(3, ' ').map(|part| (part != "-").then(|| part.to_owned()));
    Peer {
        client_id: parts.next().flatten().and_then(|id| id.parse().ok()),
        run_id: parts.next().flatten(),
        client_address: parts.next().flatten(),
        ..Peer::default()
    }
}

fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_as_they_were_written() {
        for peer in [
            Peer::default(),
            Peer {
                client_id: Some(7),
                run_id: Some("abc".into()),
                client_address: Some("[::1]:5".into()),
                ..Peer::default()
            },
            Peer {
                client_id: Some(7),
                client_address: Some("10.0.0.1:5".into()),
                ..Peer::default()
            },
        ] {
            assert_eq!(read_peer(&write_peer(&peer)), peer);
        }
        assert_eq!(read_peer("junk"), Peer::default());
    }

    fn stored(fields: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        Value::Array(
            fields
                .iter()
                .flat_map(|(field, value)| [text(field), text(value)])
                .collect(),
        )
    }

    #[test]
    fn another_loads_progress_is_not_this_ones() {
        let mut checkpoint = Checkpoint::new(b"k".to_vec());
        let reply = stored(&[("run", "other"), ("batch", "7"), ("row", "")]);
        assert_eq!(checkpoint.answer(&reply), None);
        checkpoint.found = Some(Stored::read(&reply).unwrap());
        checkpoint.adopt();
        assert_eq!(checkpoint.answer(&reply), Some(Progress { batch: 7, row: None }));
        assert_eq!(
            String::from_utf8(checkpoint.next_mark(None))
                .unwrap()
                .matches("\r\n8\r\n")
                .count(),
            1
        );
    }

    #[test]
    fn a_load_that_has_begun_adopts_no_other() {
        let mut checkpoint = Checkpoint::new(b"k".to_vec());
        checkpoint.found = Some(Stored::read(&stored(&[("run", "other"), ("batch", "7")])).unwrap());
        checkpoint.next_mark(None);
        checkpoint.adopt();
        assert_eq!(checkpoint.number(), 1);
        assert_ne!(checkpoint.run.as_deref(), Some("other"));
    }
}
