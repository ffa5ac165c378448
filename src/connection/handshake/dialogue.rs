//! Requests out, replies in, while a connection is logged in.
//!
//! Requests come in from the list of exchanges; replies go back, or the error that tells why there
//! is none. Whatever an error quotes of the peer passes `Secrets` first.

use std::io;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::super::stream::Channel;
use super::super::tls;
use super::objection::Objection;
use crate::config::Login;
use crate::error::Error;
use crate::resp::reply::{self, Kind, Malformed, Scanner};
use crate::resp::value::{self, Value};

/// A stream on which every request waits for its replies.
pub(super) struct Dialogue<'a, S> {
    stream: &'a mut S,
    secrets: &'a Secrets,
    address: &'a str,
    channel: Channel,
    scanner: Scanner,
    /// Bytes received that belong to no reply given out; `scanned` of them are known to be RESP.
    received: Vec<u8>,
    scanned: usize,
    heard: Heard,
    /// Why the last request was not written whole.
    unsent: Option<io::Error>,
}

/// Whether the peer ever said a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

/// A reply, read and raw.
pub(super) struct Reply {
    pub(super) value: Value,
    pub(super) bytes: Vec<u8>,
}

/// For all that is answered at once.
const ROOM: usize = 4 * 1024;

/// A HELLO takes some 200 bytes, a section of INFO 2 KiB: who sends this much is not greeting.
const MAX_REPLY: usize = 64 * 1024;

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Dialogue<'a, S> {
    pub(super) fn new(stream: &'a mut S, secrets: &'a Secrets, address: &'a str, channel: Channel) -> Self {
        Self {
            stream,
            secrets,
            address,
            channel,
            scanner: Scanner::new(),
            received: Vec::new(),
            scanned: 0,
            heard: Heard::Nothing,
            unsent: None,
        }
    }

    /// Writes `request`. Whether that failed is told by `reply`: a server that hangs up says why
    /// first (`-DENIED`), and that can still be read.
    pub(super) async fn send(&mut self, request: &[u8]) {
        self.unsent = self.write(request).await.err();
    }

    /// Waits for the next reply; `name` is for errors.
    pub(super) async fn reply(&mut self, name: &str) -> Result<Reply, Error> {
        loop {
            match self.scan() {
                Ok(Some(bytes)) if bytes.len() <= MAX_REPLY => return self.parse(bytes),
                Ok(None) if self.received.len() <= MAX_REPLY => {}
                Ok(_) => {
                    return Err(self.protocol(format!("the reply to {name} is longer than {MAX_REPLY} bytes")));
                }
                Err(malformed) => return Err(self.no_resp(malformed).await),
            }
            self.received.reserve(ROOM);
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => {
                    let unsent = self.unsent.take();
                    return Err(self.cut_off(name, unsent));
                }
                Ok(_) => self.heard = Heard::Something,
                Err(error) => return Err(self.cut_off(name, Some(error))),
            }
        }
    }

    /// Nothing may have come behind the reply to the command of this name.
    pub(super) fn expect_silence(&self, name: &str) -> Result<(), Error> {
        if self.received.is_empty() {
            return Ok(());
        }
        Err(self.protocol(format!(
            "more than one reply to {name}: {}",
            self.secrets.excerpt(&self.received)
        )))
    }

    pub(super) fn error_of(&self, objection: Objection, reply: &[u8]) -> Error {
        objection.into_error(self.address, reply, self.secrets)
    }

    async fn write(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await
    }

    /// The bytes of the next reply, if it is complete.
    fn scan(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        loop {
            let step = self.scanner.next(&self.received[self.scanned..])?;
            self.scanned += step.consumed;
            match step.done {
                None => return Ok(None),
                // Part of the reply behind it.
                Some(Kind::Attribute) => {}
                Some(Kind::Push) => {
                    self.received.drain(..self.scanned);
                    self.scanned = 0;
                }
                Some(Kind::Value | Kind::Null | Kind::Error | Kind::Header(_)) => {
                    let rest = self.received.split_off(self.scanned);
                    self.scanned = 0;
                    return Ok(Some(std::mem::replace(&mut self.received, rest)));
                }
            }
        }
    }

    fn parse(&self, bytes: Vec<u8>) -> Result<Reply, Error> {
        match value::parse(&bytes) {
            Some((value, length)) if length == bytes.len() => Ok(Reply { value, bytes }),
            _ => Err(Error::Internal("scanner and parser do not agree on a reply".into())),
        }
    }

    async fn no_resp(&mut self, malformed: Malformed) -> Error {
        // The first byte gives a wrong peer away, its name takes a few more.
        let deadline = Instant::now() + GRACE;
        while self.received.len() < EXCERPT {
            let read = self.stream.read_buf(&mut self.received);
            match timeout_at(deadline, read).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => break,
            }
        }
        let hint = match reply::peer_hint(&self.received) {
            Some(hint) => format!("; this looks like {hint}"),
            None => String::new(),
        };
        self.protocol(format!("{malformed}: {}{hint}", self.secrets.excerpt(&self.received)))
    }

    fn cut_off(&self, name: &str, error: Option<io::Error>) -> Error {
        let address = self.address.to_owned();
        if let Some(reason) = error.as_ref().and_then(tls::reason) {
            return Error::Tls { address, reason };
        }
        let hint = match (self.heard, self.channel) {
            (Heard::Nothing, Channel::Plain) => " (is it a TLS port?)",
            _ => "",
        };
        let detail = match error {
            Some(error) if !is_hang_up(&error) => format!(": {error}"),
            _ => String::new(),
        };
        Error::Connect {
            address,
            reason: format!("the server closed the connection during login, at {name}{hint}{detail}"),
        }
    }

    fn protocol(&self, reason: String) -> Error {
        Error::Protocol {
            address: self.address.to_owned(),
            reason,
        }
    }
}

/// How much is shown of a peer that does not speak RESP (the length of `reply::excerpt`), and how
/// long is waited for that much: it arrives in one piece, or there is no more.
const EXCERPT: usize = 64;
const GRACE: Duration = Duration::from_millis(100);

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// What no error may show, in the forms in which a server could quote it.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    pub(super) fn of(login: &Login) -> Self {
        let Some(password) = &login.password else {
            return Self(Vec::new());
        };
        let plain = password.expose().as_bytes().to_vec();
        let escaped = plain.escape_ascii().to_string().into_bytes();
        let mut forms = vec![plain, escaped];
        forms.dedup();
        forms.retain(|form| !form.is_empty());
        Self(forms)
    }

    /// A server's error text, fit for people, of at most 1 KiB.
    pub(super) fn quote(&self, text: &[u8]) -> String {
        /// As much as the scanner keeps of a command's error.
        const KEPT: usize = 1024;

        // Servers quote the arguments of a command that they do not know, cut anywhere.
        let end = memmem::find(text, b", with args").unwrap_or(text.len());
        let hidden = self.hide(&text[..end]);
        reply::printable(&hidden[..hidden.len().min(KEPT)])
    }

    /// The first 64 bytes, printable.
    pub(super) fn excerpt(&self, bytes: &[u8]) -> String {
        /// Fewer bytes of a password are no help to anybody, and match too much.
        const TELLING: usize = 4;

        let mut shown = self.hide(bytes);
        // A peer that echoes may have been cut off within the password.
        for secret in &self.0 {
            let begun = (TELLING..secret.len())
                .rev()
                .find(|&length| shown.ends_with(&secret[..length]));
            if let Some(length) = begun {
                shown.truncate(shown.len() - length);
                shown.extend_from_slice(HIDDEN);
            }
        }
        reply::excerpt(&shown)
    }

    fn hide(&self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = bytes.to_vec();
        for secret in &self.0 {
            let mut hidden = Vec::with_capacity(shown.len());
            let mut rest = shown.as_slice();
            while let Some(at) = memmem::find(rest, secret) {
                hidden.extend_from_slice(&rest[..at]);
                hidden.extend_from_slice(HIDDEN);
                rest = &rest[at + secret.len()..];
            }
            hidden.extend_from_slice(rest);
            shown = hidden;
        }
        shown
    }
}

const HIDDEN: &[u8] = b"***";
