//! The login: a list of exchanges, each a command and how to judge its reply.
//!
//! The options of the login come in, an open stream goes out that is at a boundary between
//! replies, with a `Peer` that says who is at the other end. What depends on being let in is written
//! once that is answered: data piped behind an AUTH that fails would be parsed as something else.

mod dialogue;
mod exchange;
mod identity;
mod objection;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncWrite};

use self::dialogue::{Dialogue, Secrets};
use self::exchange::{Exchange, exchanges};
pub use self::objection::asks_to_come_back;
use super::hold::hold;
use super::stream::Channel;
use crate::config::{Login, Replies};
use crate::error::Error;

/// Who is at the other end, and who we are to it. Each field is told by a command of its own, which
/// a server may not know, or not allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// This connection's number, by which the server can be told to end it.
    pub client_id: Option<i64>,
    /// Where this connection comes from, as the server sees it: not the local address of the
    /// socket, as a proxy may stand between. `None` for unix sockets, where all come from one place.
    pub client_address: Option<String>,
    /// The server's process. Numbers of connections begin anew with each.
    pub run_id: Option<String>,
    pub version: Option<String>,
    /// Error replies that the server has counted, of all its clients. Asked for last of all, and
    /// only with `Probe::RepliesOff`.
    pub error_replies: Option<u64>,
}

/// What a login has to make sure of, beyond a master that answers exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    Nothing,
    /// The server honours `CLIENT REPLY OFF`, and is known to be a master and no cluster: it would
    /// refuse or redirect what it is sent, and nobody would see that. Replies are on afterwards.
    RepliesOff,
}

impl Probe {
    pub fn of(replies: Replies) -> Self {
        match replies {
            Replies::Check | Replies::Collect => Self::Nothing,
            Replies::Off => Self::RepliesOff,
        }
    }
}

/// What a connection is once it is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Ready,
    /// Held back by the server, which has let us in before: all is written in one go.
    Held,
}

/// Logs in on an open stream and makes sure that a master answers, exactly.
///
/// `address` is for the errors. There is no time limit in here.
///
/// # Errors
///
/// - `Error::Auth`: a password, a database or a permission is wrong
/// - `Error::Refused`: a Sentinel, a replica, or what `probe` is against
/// - `Error::Connect`: the server hung up, or asks to come back later (LOADING, too many clients)
/// - `Error::Denied`: its protected mode keeps us out
/// - `Error::Tls`: our certificate was refused, which TLS 1.3 tells as late as here
/// - `Error::Protocol`: no RESP, or not the replies that belong to the commands; with `After::Held` also where it would
///   have to be asked more than the last time
pub async fn login<S>(
    stream: &mut S,
    login: &Login,
    probe: Probe,
    after: After,
    address: &str,
    channel: Channel,
) -> Result<Peer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let secrets = Secrets::of(login);
    let mut dialogue = Dialogue::new(stream, &secrets, address, channel);
    let mut peer = Peer::default();
    let mut ahead: VecDeque<Exchange> = exchanges(login, probe).into();
    if after == After::Held {
        let mut all = Exchange::all(ahead);
        // Looked at before the last reply goes out.
        all.request.extend(hold());
        ahead = [all].into();
    }
    while let Some(exchange) = ahead.pop_front() {
        let inserted = turn(&mut dialogue, &exchange, login, probe, &mut peer).await?;
        if after == After::Held && !inserted.is_empty() {
            return Err(Error::Protocol {
                address: address.to_owned(),
                reason: "it does not say at HELLO what it said before".to_owned(),
            });
        }
        for exchange in inserted.into_iter().rev() {
            ahead.push_front(exchange);
        }
    }
    Ok(peer)
}

/// One exchange; returns those that have to come next.
async fn turn<S>(
    dialogue: &mut Dialogue<'_, S>,
    exchange: &Exchange,
    login: &Login,
    probe: Probe,
    peer: &mut Peer,
) -> Result<Vec<Exchange>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut inserted = Vec::new();
    dialogue.send(&exchange.request).await;
    for asked in &exchange.asked {
        let reply = dialogue.reply(asked.name).await?;
        let judged = asked.judge(&reply.value, login, probe, peer);
        inserted.extend(judged.map_err(|objection| dialogue.error_of(objection, &reply.bytes))?);
    }
    if let Some(last) = exchange.asked.last() {
        dialogue.expect_silence(last.name)?;
    }
    Ok(inserted)
}
