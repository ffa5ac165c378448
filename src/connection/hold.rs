//! A connection on which the server does nothing before another one lets it go: so that both can be written to, and nothing
//! of the one is done before everything of the other is.
//!
//! `WAIT` for more replicas than there can be, without a time limit, is the only command of Redis and Valkey that blocks and
//! touches no key; `CLIENT UNBLOCK` on another connection ends it. What comes on a connection that is blocked, the server keeps,
//! executes none of it, and drops it if the connection ends.

use std::time::Duration;

use super::handshake::Peer;
use super::link::Link;
use super::question::encode;
use crate::error::Error;
use crate::resp::value::Value;

/// Whether the server of `link`, which is quiet, would hold a connection back, and let it go: it knows the commands, and the
/// user may use them. Neither does anything here.
///
/// # Errors
/// Those of `Link::ask`.
pub async fn can_hold(link: &mut Link, limit: Duration) -> Result<bool, Error> {
    let Peer {
        client_id,
        run_id,
        version,
        ..
    } = &link.peer;
    // The version is told by HELLO, without which a login takes several turns.
    if client_id.is_none() || run_id.is_none() || version.is_none() {
        return Ok(false);
    }
    // Nobody has the number 0.
    let requests = [release(0), encode(&[b"WAIT", b"0", b"0"])].concat();
    let answers = link.ask_all("WAIT", &requests, 2, limit).await?;
    Ok(matches!(answers.as_slice(), [Value::Integer(0), Value::Integer(_)]))
}

/// Holds back the connection on which it is said. `WAIT` takes no greater number.
pub fn hold() -> Vec<u8> {
    encode(&[b"WAIT", b"2147483647", b"0"])
}

/// Lets go the connection of that number.
pub fn release(client_id: i64) -> Vec<u8> {
    encode(&[b"CLIENT", b"UNBLOCK", client_id.to_string().as_bytes()])
}

/// A server can only let go of its own connections; elsewhere the number may be a stranger's.
pub fn same_run(one: &Peer, other: &Peer) -> bool {
    one.run_id.is_some() && one.run_id == other.run_id
}
