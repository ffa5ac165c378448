//! The commands of a login, in order, and what their replies have to be.
//!
//! The options of the login come in, exchanges go out; a reply comes in, what it tells goes into
//! the `Peer`, and out come the exchanges that have to follow, or an objection.

use super::super::question::encode;
use super::objection::{Objection, Reading, reading_of};
use super::{Peer, Probe, identity};
use memchr::memmem;

use crate::config::Login;
use crate::resp::reply::excerpt;
use crate::resp::value::Value;

/// What is written in one go, and what has to come back.
pub(super) struct Exchange {
    pub(super) request: Vec<u8>,
    pub(super) asked: Vec<Asked>,
}

impl Exchange {
    /// Several as one.
    pub(super) fn all(exchanges: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            request: Vec::new(),
            asked: Vec::new(),
        };
        for exchange in exchanges {
            all.request.extend(exchange.request);
            all.asked.extend(exchange.asked);
        }
        all
    }
}

/// One reply that is waited for.
pub(super) struct Asked {
    /// The command, as errors call it: never with an argument.
    pub(super) name: &'static str,
    expected: Expected,
    refusal: Refusal,
}

enum Expected {
    /// Fields of the server, among them its mode and role.
    Hello,
    Status(&'static str),
    /// An array that begins with "master".
    Role,
    /// The server's mode, among its `INFO`.
    Mode,
    Nonce(String),
    /// Text that may hold what a `Peer` tells.
    Client,
    ClientId,
    Server,
    Stats,
}

/// What follows if the server refuses a command, unless its error says it all (`reading_of`).
enum Refusal {
    /// Servers before Redis 6, and some proxies: say it in the old words.
    OldWords,
    /// The command only makes an error clearer or earlier, or tells what only some things need.
    Tolerated,
    /// The login has failed.
    Fatal,
    /// No batch could be confirmed.
    Fence,
    /// With replies off it has to be known what the server is. Holds the permission.
    Known(&'static str),
    /// Replies cannot be left out. Any reply but the expected ones means the same.
    Silence,
}

/// In order; more may be inserted by what a reply tells.
pub(super) fn exchanges(login: &Login, probe: Probe) -> Vec<Exchange> {
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"2"];
    if let Some(password) = &login.password {
        let user = login.username.as_deref().unwrap_or("default");
        hello.extend([&b"AUTH"[..], user.as_bytes(), password.expose().as_bytes()]);
    }
    let mut exchanges = vec![exchange("HELLO", &hello, Expected::Hello, Refusal::OldWords)];
    if let Some(name) = &login.client_name {
        let words: [&[u8]; 3] = [b"CLIENT", b"SETNAME", name.as_bytes()];
        exchanges.push(exchange(
            "CLIENT SETNAME",
            &words,
            Expected::Status("OK"),
            Refusal::Fatal,
        ));
    }
    if login.db != 0 {
        let db = login.db.to_string();
        let words: [&[u8]; 2] = [b"SELECT", db.as_bytes()];
        exchanges.push(exchange("SELECT", &words, Expected::Status("OK"), Refusal::Fatal));
    }
    exchanges.push(last_questions(probe));
    exchanges
}

/// What is asked of a server that has let us in. In one go, as a connection that takes over is
/// opened while another one is at work, and each way there and back takes of its time.
fn last_questions(probe: Probe) -> Exchange {
    // The sections alone: all of INFO takes a server a while.
    let (server, stats): ([&[u8]; 2], [&[u8]; 2]) = ([b"INFO", b"server"], [b"INFO", b"stats"]);
    let nonce = nonce();
    let mut exchanges = vec![
        exchange("PING", &[b"PING"], Expected::Status("PONG"), Refusal::Tolerated),
        exchange(
            "CLIENT INFO",
            &[b"CLIENT", b"INFO"],
            Expected::Client,
            Refusal::Tolerated,
        ),
        exchange("INFO", &server, Expected::Server, Refusal::Tolerated),
    ];
    if probe == Probe::RepliesOff {
        exchanges.push(silence());
        exchanges.push(exchange("INFO", &stats, Expected::Stats, Refusal::Tolerated));
    }
    exchanges.push(exchange(
        "ECHO",
        &[b"ECHO", nonce.as_bytes()],
        Expected::Nonce(nonce.clone()),
        Refusal::Fence,
    ));
    Exchange::all(exchanges)
}

/// What HELLO would have done.
fn old_words(login: &Login, probe: Probe) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    if let Some(password) = &login.password {
        let mut auth: Vec<&[u8]> = vec![b"AUTH"];
        auth.extend(login.username.as_ref().map(String::as_bytes));
        auth.push(password.expose().as_bytes());
        exchanges.push(exchange("AUTH", &auth, Expected::Status("OK"), Refusal::Fatal));
    }
    exchanges.push(role(probe));
    exchanges.extend(mode(probe));
    exchanges.push(client_id());
    exchanges
}

fn role(probe: Probe) -> Exchange {
    let refusal = match probe {
        Probe::Nothing => Refusal::Tolerated,
        Probe::RepliesOff => Refusal::Known("+role"),
    };
    exchange("ROLE", &[b"ROLE"], Expected::Role, refusal)
}

/// Only asked for where it matters.
fn mode(probe: Probe) -> Option<Exchange> {
    (probe == Probe::RepliesOff).then(|| {
        let words: [&[u8]; 2] = [b"INFO", b"server"];
        exchange("INFO", &words, Expected::Mode, Refusal::Known("+info"))
    })
}

fn client_id() -> Exchange {
    let words: [&[u8]; 2] = [b"CLIENT", b"ID"];
    exchange("CLIENT ID", &words, Expected::ClientId, Refusal::Tolerated)
}

/// Replies off and on again. A server that answers one time too often or too seldom does not get
/// the nonce to its place.
fn silence() -> Exchange {
    let nonce = nonce();
    let mut request = encode(&[b"CLIENT", b"REPLY", b"OFF"]);
    request.extend(encode(&[b"CLIENT", b"REPLY", b"ON"]));
    request.extend(encode(&[b"ECHO", nonce.as_bytes()]));
    let asked = [Expected::Status("OK"), Expected::Nonce(nonce)].map(|expected| Asked {
        name: "CLIENT REPLY",
        expected,
        refusal: Refusal::Silence,
    });
    Exchange {
        request,
        asked: asked.into(),
    }
}

fn exchange(name: &'static str, words: &[&[u8]], expected: Expected, refusal: Refusal) -> Exchange {
    Exchange {
        request: encode(words),
        asked: vec![Asked {
            name,
            expected,
            refusal,
        }],
    }
}

/// No reply that was cached, or meant for another connection, can hold this one.
fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

impl Asked {
    /// The exchanges that have to come next, usually none.
    pub(super) fn judge(
        &self,
        reply: &Value,
        login: &Login,
        probe: Probe,
        peer: &mut Peer,
    ) -> Result<Vec<Exchange>, Objection> {
        match (&self.expected, reply) {
            (_, Value::Error(text)) => return self.judge_error(text, login, probe),
            (Expected::Hello, Value::Array(fields)) => return greet(fields, probe, peer),
            (Expected::Status(status), Value::Text(text)) if text == status.as_bytes() => {}
            (Expected::Nonce(nonce), Value::Text(text)) if text == nonce.as_bytes() => {}
            (Expected::Role, Value::Array(fields)) => match fields.first() {
                Some(Value::Text(role)) => require_master(role)?,
                _ => return Err(Objection::Unexpected(self.name)),
            },
            (Expected::Mode, Value::Text(text)) => match identity::mode(text) {
                Some(mode) => require_standalone(mode)?,
                None => return Err(Objection::Refused(NO_MODE.into())),
            },
            (Expected::ClientId, Value::Integer(id)) => peer.client_id = identity::valid_id(*id),
            (Expected::Client, Value::Text(text)) => identity::client(text, peer),
            (Expected::Server, Value::Text(text)) => peer.run_id = identity::run_id(text),
            (Expected::Stats, Value::Text(text)) => peer.error_replies = identity::error_replies(text),
            // What a proxy may say that has nothing to tell.
            (Expected::Client | Expected::ClientId | Expected::Server | Expected::Stats, Value::Null) => {}
            _ if matches!(self.refusal, Refusal::Silence) => return Err(Objection::Refused(NO_SILENCE.into())),
            _ => return Err(Objection::Unexpected(self.name)),
        }
        Ok(Vec::new())
    }

    fn judge_error(&self, text: &[u8], login: &Login, probe: Probe) -> Result<Vec<Exchange>, Objection> {
        let permitted = !text.starts_with(b"NOPERM");
        let name = self.name;
        let text = text.to_vec();
        match (reading_of(&text), &self.refusal) {
            (Some(Reading::ComeBack), _) => Err(Objection::Later(text)),
            (Some(Reading::KeepOut), _) => Err(Objection::Denied(text)),
            (Some(Reading::BadLogin), _) => Err(Objection::Login(name, text)),
            (Some(Reading::Misunderstood), _) => Err(Objection::Unexpected(name)),
            (None, Refusal::OldWords) => Ok(old_words(login, probe)),
            (None, Refusal::Tolerated) => Ok(Vec::new()),
            (None, Refusal::Fatal) => Err(Objection::Login(name, text)),
            (None, Refusal::Fence) if permitted => Err(Objection::Refused(format!(
                "it refuses {name}, which confirms each batch"
            ))),
            (None, Refusal::Fence) => Err(Objection::Permission("+echo", text)),
            (None, Refusal::Known(_)) if permitted => Err(Objection::Refused(format!(
                "it refuses {name}, and with replies off it has to be known to be a master and no cluster"
            ))),
            (None, Refusal::Known(permission)) => Err(Objection::PermissionOff(permission, text)),
            (None, Refusal::Silence) if permitted => Err(Objection::Refused(NO_SILENCE.into())),
            (None, Refusal::Silence) if memmem::find(&text, b"'echo'").is_some() => {
                Err(Objection::Permission("+echo", text))
            }
            (None, Refusal::Silence) => Err(Objection::PermissionOff("+client|reply", text)),
        }
    }
}

/// Reads the reply of HELLO. What it does not tell has to be asked.
fn greet(fields: &[Value], probe: Probe, peer: &mut Peer) -> Result<Vec<Exchange>, Objection> {
    let mut mode_told = None;
    let mut role_told = None;
    let (pairs, odd) = fields.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Objection::Unexpected("HELLO"));
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for [key, value] in pairs {
        let Value::Text(key) = key else {
            return Err(Objection::Unexpected("HELLO"));
        };
        if seen.contains(&key.as_slice()) {
            return Err(Objection::Unexpected("HELLO"));
        }
        seen.push(key);
        match (key.as_slice(), value) {
            (b"mode", Value::Text(text)) => mode_told = Some(text),
            (b"role", Value::Text(text)) => role_told = Some(text),
            (b"version", Value::Text(text)) => {
                peer.version = Some(excerpt(text));
            }
            (b"id", Value::Integer(id)) => peer.client_id = identity::valid_id(*id),
            (b"mode" | b"role" | b"version" | b"id", _) => {
                return Err(Objection::Unexpected("HELLO"));
            }
            _ => {}
        }
    }
    let mut ahead = Vec::new();
    match mode_told {
        Some(mode) if mode == b"sentinel" => return Err(Objection::Refused(A_SENTINEL.into())),
        Some(mode) if probe == Probe::RepliesOff => require_standalone(mode)?,
        _ => {}
    }
    match (mode_told, role_told) {
        (Some(_), Some(told)) => require_master(told)?,
        _ => ahead.push(role(probe)),
    }
    if mode_told.is_none() {
        ahead.extend(mode(probe));
    }
    if peer.client_id.is_none() {
        ahead.push(client_id());
    }
    Ok(ahead)
}

fn require_master(role: &[u8]) -> Result<(), Objection> {
    match role {
        b"master" => Ok(()),
        b"sentinel" => Err(Objection::Refused(A_SENTINEL.into())),
        b"slave" | b"replica" => Err(Objection::Refused("it is a replica, and does not take writes".into())),
        other => Err(Objection::Role(other.to_vec())),
    }
}

/// For replies that are off.
fn require_standalone(mode: &[u8]) -> Result<(), Objection> {
    match mode {
        b"standalone" => Ok(()),
        b"sentinel" => Err(Objection::Refused(A_SENTINEL.into())),
        b"cluster" => Err(Objection::Refused(A_CLUSTER.into())),
        other => Err(Objection::Mode(other.to_vec())),
    }
}

const A_SENTINEL: &str = "it is a Sentinel, which holds no data";
const A_CLUSTER: &str = "it is a member of a cluster, and with replies off nobody would see what it redirects (MOVED)";
const NO_MODE: &str = "it does not tell its mode, and with replies off it has to be known to be no cluster";
const NO_SILENCE: &str = "it does not support CLIENT REPLY, which replies: 'off' needs";
