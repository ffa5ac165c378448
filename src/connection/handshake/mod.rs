//! The login: a list of exchanges, each a command and how to judge its reply.
//!
//! The options of the login come in, an open stream goes out that is at a boundary between
//! replies, with a `Peer` that says who is at the other end. A command is written once the one
//! before it is answered: data piped behind an AUTH that fails would be parsed as something else.

mod dialogue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncWrite};

use self::dialogue::{Dialogue, Secrets};
use super::stream::Channel;
use crate::config::Login;
use crate::error::Error;
use crate::resp::reply::excerpt;
use crate::resp::value::Value;

/// What a server says of itself when it greets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// This connection's number, by which the server can be told to end it. Servers without HELLO
    /// do not say.
    pub client_id: Option<i64>,
    pub version: Option<String>,
}

/// Logs in on an open stream and makes sure that a master answers, exactly.
///
/// `address` is for the errors. There is no time limit in here.
///
/// # Errors
///
/// - `Error::Auth`: a password, a database or a permission is wrong
/// - `Error::Refused`: a Sentinel or a replica
/// - `Error::Connect`: the server hung up, or asks to come back later (LOADING, too many clients)
/// - `Error::Denied`: its protected mode keeps us out
/// - `Error::Tls`: our certificate was refused, which TLS 1.3 tells as late as here
/// - `Error::Protocol`: no RESP, or not the replies that belong to the commands
pub async fn login<S>(stream: &mut S, login: &Login, address: &str, channel: Channel) -> Result<Peer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let secrets = Secrets::of(login);
    let mut dialogue = Dialogue::new(stream, &secrets, address, channel);
    let mut peer = Peer::default();
    let mut ahead: VecDeque<Exchange> = exchanges(login).into();
    while let Some(exchange) = ahead.pop_front() {
        let reply = dialogue.ask(exchange.name, &exchange.request).await?;
        let inserted = exchange
            .judge(&reply.value, login, &mut peer)
            .map_err(|objection| objection.into_error(address, &reply.bytes, &secrets))?;
        for exchange in inserted.into_iter().rev() {
            ahead.push_front(exchange);
        }
        dialogue.expect_silence(exchange.name)?;
    }
    Ok(peer)
}

/// A command and what its reply has to be.
struct Exchange {
    /// As errors call it: never with an argument.
    name: &'static str,
    request: Vec<u8>,
    expected: Expected,
    refusal: Refusal,
}

enum Expected {
    /// Fields of the server, among them its mode and role.
    Hello,
    Status(&'static str),
    /// An array that begins with "master".
    Role,
    Nonce(String),
}

/// What follows if the server refuses a command, unless its error says it all (`reading_of`).
enum Refusal {
    /// Servers before Redis 6, and some proxies: say it in the old words.
    OldWords,
    /// The command only makes an error clearer or earlier.
    Tolerated,
    /// The login has failed.
    Fatal,
    /// No batch could be confirmed.
    Fence,
}

fn exchanges(login: &Login) -> Vec<Exchange> {
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"2"];
    if let Some(password) = &login.password {
        let user = login.username.as_deref().unwrap_or("default");
        hello.extend([&b"AUTH"[..], user.as_bytes(), password.expose().as_bytes()]);
    }
    let mut exchanges = vec![Exchange {
        name: "HELLO",
        request: encode(&hello),
        expected: Expected::Hello,
        refusal: Refusal::OldWords,
    }];
    if let Some(name) = &login.client_name {
        exchanges.push(Exchange {
            name: "CLIENT SETNAME",
            request: encode(&[b"CLIENT", b"SETNAME", name.as_bytes()]),
            expected: Expected::Status("OK"),
            refusal: Refusal::Fatal,
        });
    }
    if login.db != 0 {
        exchanges.push(Exchange {
            name: "SELECT",
            request: encode(&[b"SELECT", login.db.to_string().as_bytes()]),
            expected: Expected::Status("OK"),
            refusal: Refusal::Fatal,
        });
    }
    exchanges.push(Exchange {
        name: "PING",
        request: encode(&[b"PING"]),
        expected: Expected::Status("PONG"),
        refusal: Refusal::Tolerated,
    });
    // No reply that was cached, or meant for another connection, can be this one.
    let nonce = format!("{:032x}", fastrand::u128(..));
    exchanges.push(Exchange {
        name: "ECHO",
        request: encode(&[b"ECHO", nonce.as_bytes()]),
        expected: Expected::Nonce(nonce),
        refusal: Refusal::Fence,
    });
    exchanges
}

/// What HELLO would have done.
fn old_words(login: &Login) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    if let Some(password) = &login.password {
        let mut auth: Vec<&[u8]> = vec![b"AUTH"];
        auth.extend(login.username.as_ref().map(String::as_bytes));
        auth.push(password.expose().as_bytes());
        exchanges.push(Exchange {
            name: "AUTH",
            request: encode(&auth),
            expected: Expected::Status("OK"),
            refusal: Refusal::Fatal,
        });
    }
    exchanges.push(role());
    exchanges
}

fn role() -> Exchange {
    Exchange {
        name: "ROLE",
        request: encode(&[b"ROLE"]),
        expected: Expected::Role,
        refusal: Refusal::Tolerated,
    }
}

fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}

impl Exchange {
    /// The exchanges that have to come next, usually none.
    fn judge(&self, reply: &Value, login: &Login, peer: &mut Peer) -> Result<Vec<Self>, Objection> {
        match (&self.expected, reply) {
            (_, Value::Error(text)) => self.judge_error(text, login),
            (Expected::Hello, Value::Array(fields)) => greet(fields, peer),
            (Expected::Status(status), Value::Text(text)) if text == status.as_bytes() => Ok(Vec::new()),
            (Expected::Nonce(nonce), Value::Text(text)) if text == nonce.as_bytes() => Ok(Vec::new()),
            (Expected::Role, Value::Array(fields)) => match fields.first() {
                Some(Value::Text(role)) => require_master(role).map(|()| Vec::new()),
                _ => Err(Objection::Unexpected(self.name)),
            },
            _ => Err(Objection::Unexpected(self.name)),
        }
    }

    fn judge_error(&self, text: &[u8], login: &Login) -> Result<Vec<Self>, Objection> {
        let text = text.to_vec();
        match (reading_of(&text), &self.refusal) {
            (Some(Reading::ComeBack), _) => Err(Objection::Later(text)),
            (Some(Reading::KeepOut), _) => Err(Objection::Denied(text)),
            (Some(Reading::BadLogin), _) => Err(Objection::Login(self.name, text)),
            (Some(Reading::Misunderstood), _) => Err(Objection::Unexpected(self.name)),
            (None, Refusal::OldWords) => Ok(old_words(login)),
            (None, Refusal::Tolerated) => Ok(Vec::new()),
            (None, Refusal::Fatal) => Err(Objection::Login(self.name, text)),
            (None, Refusal::Fence) if text.starts_with(b"NOPERM") => Err(Objection::NoEcho(text)),
            (None, Refusal::Fence) => Err(Objection::Refused(format!(
                "it refuses {}, which confirms each batch",
                self.name
            ))),
        }
    }
}

/// Errors that mean the same at every step.
enum Reading {
    ComeBack,
    KeepOut,
    BadLogin,
    /// The server could not read the request, and hangs up next.
    Misunderstood,
}

fn reading_of(text: &[u8]) -> Option<Reading> {
    const READINGS: [(&str, Reading); 14] = [
        ("LOADING", Reading::ComeBack),
        ("MASTERDOWN", Reading::ComeBack),
        ("BUSY", Reading::ComeBack),
        ("CLUSTERDOWN", Reading::ComeBack),
        ("TRYAGAIN", Reading::ComeBack),
        ("ERR max number of clients", Reading::ComeBack),
        ("DENIED", Reading::KeepOut),
        ("NOAUTH", Reading::BadLogin),
        ("WRONGPASS", Reading::BadLogin),
        ("ERR invalid password", Reading::BadLogin),
        ("ERR invalid username-password", Reading::BadLogin),
        ("ERR AUTH <password> called without", Reading::BadLogin),
        // The same, before Redis 6.
        ("ERR Client sent AUTH, but no password", Reading::BadLogin),
        ("ERR Protocol error", Reading::Misunderstood),
    ];
    READINGS
        .into_iter()
        .find(|(start, _)| text.starts_with(start.as_bytes()))
        .map(|(_, reading)| reading)
}

/// Reads the reply of HELLO. Where a server tells neither mode nor role, ROLE has to be asked.
fn greet(fields: &[Value], peer: &mut Peer) -> Result<Vec<Exchange>, Objection> {
    let mut mode = None;
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
            (b"mode", Value::Text(text)) => mode = Some(text),
            (b"role", Value::Text(text)) => role_told = Some(text),
            (b"version", Value::Text(text)) => {
                peer.version = Some(excerpt(text));
            }
            (b"id", Value::Integer(id)) => peer.client_id = Some(*id),
            (b"mode" | b"role" | b"version" | b"id", _) => {
                return Err(Objection::Unexpected("HELLO"));
            }
            _ => {}
        }
    }
    if let Some(mode) = mode
        && mode == b"sentinel"
    {
        return Err(Objection::Refused(A_SENTINEL.into()));
    }
    match (mode, role_told) {
        (Some(_), Some(told)) => require_master(told).map(|()| Vec::new()),
        _ => Ok(vec![role()]),
    }
}

fn require_master(role: &[u8]) -> Result<(), Objection> {
    match role {
        b"master" => Ok(()),
        b"sentinel" => Err(Objection::Refused(A_SENTINEL.into())),
        b"slave" | b"replica" => Err(Objection::Refused("it is a replica, and does not take writes".into())),
        other => Err(Objection::Role(other.to_vec())),
    }
}

const A_SENTINEL: &str = "it is a Sentinel, which holds no data";

/// Why a login ends, before it is put into words fit for people.
enum Objection {
    Later(Vec<u8>),
    Denied(Vec<u8>),
    Login(&'static str, Vec<u8>),
    NoEcho(Vec<u8>),
    Refused(String),
    /// Not the one of a master.
    Role(Vec<u8>),
    /// Not what can be answered to the command of this name.
    Unexpected(&'static str),
}

impl Objection {
    fn into_error(self, address: &str, reply: &[u8], secrets: &Secrets) -> Error {
        let address = address.to_owned();
        match self {
            Self::Later(text) => Error::Connect {
                address,
                reason: secrets.quote(&text),
            },
            Self::Denied(text) => Error::Denied {
                address,
                reason: secrets.quote(&text),
            },
            Self::Login(name, text) => Error::Auth {
                address,
                reason: format!("{name}: {}", secrets.quote(&text)),
            },
            Self::NoEcho(text) => Error::Auth {
                address,
                reason: format!("the user needs the permission +echo: {}", secrets.quote(&text)),
            },
            Self::Refused(reason) => Error::Refused { address, reason },
            Self::Role(role) => Error::Refused {
                address,
                reason: format!("its role is \"{}\", not master", secrets.excerpt(&role)),
            },
            Self::Unexpected(name) => Error::Protocol {
                address,
                reason: format!("unexpected reply to {name}: {}", secrets.excerpt(reply)),
            },
        }
    }
}
