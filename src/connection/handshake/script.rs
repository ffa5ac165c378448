//! For the tests: a login talks to a scripted peer, whose bytes are cut in every way.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::config::Secret;
use crate::resp::value::{self, Value};

pub(super) const PASSWORD: &str = "hunter2-ä'pass";

pub(super) fn plain() -> Login {
    Login::default()
}

pub(super) fn with_password() -> Login {
    Login {
        password: Some(Secret::new(PASSWORD.into())),
        ..plain()
    }
}

pub(super) fn with_user() -> Login {
    Login {
        username: Some("loader".into()),
        ..with_password()
    }
}

pub(super) fn hello(fields: &[(&str, &str)]) -> String {
    let mut reply = format!("*{}\r\n", fields.len() * 2);
    for (key, value) in fields {
        reply += &format!("${}\r\n{key}\r\n{value}\r\n", key.len());
    }
    reply
}

/// The reply of a Redis 7 master.
pub(super) fn greeting() -> String {
    hello(&[
        ("server", "+redis"),
        ("version", "$6\r\n7.0.15"),
        ("proto", ":2"),
        ("id", ":42"),
        ("mode", "$10\r\nstandalone"),
        ("role", "$6\r\nmaster"),
        ("modules", "*0"),
    ])
}

pub(super) const UNKNOWN: &str =
    "-ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH' 'default' 'hunter2-\r\n";
pub(super) const PONG: (&str, &str) = ("PING", "+PONG\r\n");
pub(super) const ECHO: (&str, &str) = ("ECHO <nonce>", "$32\r\n<nonce>\r\n");

/// What a login asks beside, which most scripts do not mention: then it is refused.
const BESIDE: [&str; 3] = ["CLIENT INFO", "CLIENT ID", "INFO server"];

pub(super) type Script<'a> = &'a [(&'a str, &'a str)];

/// Lets the login talk to a peer that expects the first and answers the second of each pair, in
/// pieces of `piece` bytes, and then hangs up.
pub(super) async fn converse(login: &Login, script: Script<'_>, piece: usize) -> Result<Peer, Error> {
    converse_with(Probe::Nothing, login, script, piece).await
}

async fn converse_with(probe: Probe, login_data: &Login, script: Script<'_>, piece: usize) -> Result<Peer, Error> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let peer = async {
        let mut peer = Scripted {
            stream: theirs,
            written: VecDeque::new(),
        };
        for (expected, reply) in script {
            let last = loop {
                let (words, last) = peer.request().await;
                if words != *expected && BESIDE.contains(&words.as_str()) {
                    peer.stream.write_all(b"-NOPERM no\r\n").await.unwrap();
                    continue;
                }
                let said = match expected.ends_with("<nonce>") {
                    true => words.replace(&last, "<nonce>"),
                    false => words,
                };
                assert_eq!(&said, expected);
                break last;
            };
            for bytes in reply.replace("<nonce>", &last).as_bytes().chunks(piece) {
                // The login may have given up by now.
                peer.stream.write_all(bytes).await.ok();
                tokio::task::yield_now().await;
            }
        }
    };
    let address = "localhost:6379";
    let (result, ()) = tokio::join!(
        async {
            let result = login(&mut ours, login_data, probe, After::Ready, address, Channel::Plain).await;
            drop(ours);
            result
        },
        peer
    );
    if let Err(error) = &result {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(PASSWORD), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    result
}

/// The other end, with what was written to it and is not answered.
struct Scripted {
    stream: DuplexStream,
    written: VecDeque<(String, String)>,
}

impl Scripted {
    /// The words of one request, and the last of them. What proves that replies can be off is three
    /// commands, and one request.
    async fn request(&mut self) -> (String, String) {
        let (mut said, mut last) = self.command().await;
        if said == "CLIENT REPLY OFF" {
            for _ in 0..2 {
                let words;
                (words, last) = self.command().await;
                said = format!("{said}, {words}");
            }
        }
        (said, last)
    }

    async fn command(&mut self) -> (String, String) {
        if self.written.is_empty() {
            self.read().await;
        }
        self.written.pop_front().unwrap()
    }

    /// All that was written at once. Only the last questions are several commands.
    async fn read(&mut self) {
        let mut bytes = Vec::new();
        while self.written.is_empty() || !bytes.is_empty() {
            assert!(self.stream.read_buf(&mut bytes).await.unwrap() > 0, "hung up");
            while let Some((Value::Array(words), length)) = value::parse(&bytes) {
                bytes.drain(..length);
                let words: Vec<_> = words
                    .into_iter()
                    .map(|word| match word {
                        Value::Text(text) => String::from_utf8(text).unwrap(),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                self.written.push_back((words.join(" "), words.last().unwrap().clone()));
            }
        }
        assert!(
            self.written.len() == 1 || self.written[0].0 == "PING",
            "written behind an unanswered command"
        );
    }
}

/// The outcome of a script, the same however the peer's bytes are cut.
pub(super) async fn outcome(login: &Login, script: Script<'_>) -> Result<Peer, Error> {
    outcome_with(Probe::Nothing, login, script).await
}

pub(super) async fn outcome_with(probe: Probe, login: &Login, script: Script<'_>) -> Result<Peer, Error> {
    let whole = converse_with(probe, login, script, usize::MAX).await;
    let longest = script.iter().map(|(_, reply)| reply.len()).max().unwrap_or(1);
    for piece in 1..longest.clamp(1, 200) {
        let cut = converse_with(probe, login, script, piece).await;
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"), "in pieces of {piece}");
    }
    whole
}

/// The kind of an error, and its text.
pub(super) fn told(error: &Error) -> (&'static str, String) {
    let variant = match error {
        Error::Connect { .. } => "connect",
        Error::Denied { .. } => "denied",
        Error::Auth { .. } => "auth",
        Error::Refused { .. } => "refused",
        Error::Protocol { .. } => "protocol",
        _ => panic!("{error:?}"),
    };
    (variant, error.to_string())
}
