//! The end of an old connection, made sure of on the new one: nothing more of it runs.
//!
//! What was known of the old connection comes in, with a link to the server that is quiet; out goes
//! whether the fence stands. Without it, bytes of a connection that was given up may be executed
//! long after, over what was sent again on the next.

#[cfg(test)]
#[cfg(unix)]
mod server_tests;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::handshake::{Peer, asks_to_come_back};
use super::link::Link;
use super::question::encode;
use crate::error::Error;
use crate::resp::reply::printable;
use crate::resp::value::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fenced {
    /// The old connection has ended for the server, which executes nothing more of it.
    Done,
    /// It may still run; for people, why that cannot be changed.
    Impossible(String),
}

/// Ends the connection of `old` on its server, if it is still there.
///
/// Numbers of connections begin anew with each start of a server, so that a number alone could hit
/// a stranger: it is only used where the server's process is known to be the same, or together
/// with the old address.
///
/// # Errors
///
/// Those of `Link::ask`, and `Error::Connect` where the server asks to come back later. The link is
/// of no more use then, and the fence has to be tried on another.
pub async fn fence(link: &mut Link, old: &Peer, limit: Duration) -> Result<Fenced, Error> {
    let request = match plan(&link.peer, old) {
        Plan::Nothing => return Ok(Fenced::Done),
        Plan::Hopeless(reason) => return Ok(Fenced::Impossible(reason.into())),
        Plan::Kill(request) => request,
    };
    match link.ask("CLIENT KILL", &request, limit).await? {
        // How many were ended.
        Value::Integer(0 | 1) => Ok(Fenced::Done),
        Value::Error(text) if text.starts_with(b"ERR No such client") => Ok(Fenced::Done),
        Value::Error(text) if asks_to_come_back(&text) => Err(Error::Connect {
            address: link.address.clone(),
            reason: excuse(&text),
        }),
        Value::Error(text) if text.starts_with(b"NOPERM") => Ok(Fenced::Impossible(format!(
            "the user needs the permission +client|kill: {}",
            excuse(&text)
        ))),
        Value::Error(text) => Ok(Fenced::Impossible(format!(
            "the server refuses CLIENT KILL: {}",
            excuse(&text)
        ))),
        // A proxy's, perhaps: whatever it means, it is no count.
        _ => Ok(Fenced::Impossible(
            "the server does not say how many connections CLIENT KILL has ended".into(),
        )),
    }
}

enum Plan {
    /// What the old connection spoke to does not run any more.
    Nothing,
    Kill(Vec<u8>),
    Hopeless(&'static str),
}

fn plan(new: &Peer, old: &Peer) -> Plan {
    let run = match (&new.run_id, &old.run_id) {
        (Some(new), Some(old)) if new != old => return Plan::Nothing,
        (Some(_), Some(_)) => Run::Same,
        _ => Run::Unknown,
    };
    let Some(id) = old.client_id else {
        return Plan::Hopeless("the server does not tell the numbers of its connections (HELLO, CLIENT ID)");
    };
    // The server would spare the one that asks, and say that there is none.
    let same_address = old.client_address.is_some() && new.client_address == old.client_address;
    if new.client_id == Some(id) && (run == Run::Same || same_address) {
        return Plan::Hopeless("to the server, the old connection and the new one are the same: is there a proxy?");
    }
    let number = id.to_string();
    let mut words: Vec<&[u8]> = vec![b"CLIENT", b"KILL", b"ID", number.as_bytes()];
    match (&old.client_address, run) {
        (Some(address), _) => words.extend([&b"ADDR"[..], address.as_bytes()]),
        (None, Run::Same) => {}
        (None, Run::Unknown) => {
            return Plan::Hopeless(
                "the server tells neither its run_id (INFO) nor the addresses of its connections (CLIENT INFO)",
            );
        }
    }
    Plan::Kill(encode(&words))
}

/// Whether the server is the process that the old connection spoke to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Same,
    Unknown,
}

/// An error text for people, of at most 1 KiB.
fn excuse(text: &[u8]) -> String {
    printable(&text[..text.len().min(1024)])
}
