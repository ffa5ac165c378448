//! For the tests: a model of a server, and what stands between it and the machine.
//!
//! Commands carry a tag of their own (`SET key tag`, `INCR key tag`), so that the model can tell which were done,
//! how often and in which order.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

use super::{Exchange, Finished, Listening, Settings};
use crate::batch::{Batch, Pool};
use crate::config::{Replies, Resend, Transaction};
use crate::error::Error;
use crate::resp::request::Request;
use crate::resp::value::{Value, parse};

pub(crate) fn settings(replies: Replies, transaction: Transaction) -> Settings {
    Settings {
        replies,
        transaction,
        max_in_flight: 1 << 20,
        reconnect_every: 0,
        resend: Resend::None,
        waits: false,
        one_at_a_time: false,
        throttled: false,
        max_failures: 100,
        listening: Listening::No,
    }
}

pub(crate) fn plain() -> Settings {
    settings(Replies::Check, Transaction::Off)
}

pub(crate) fn lost() -> Error {
    Error::ConnectionLost {
        address: "h:1".into(),
        reason: "reset".into(),
    }
}

pub(crate) fn protocol() -> Error {
    Error::Protocol {
        address: "h:1".into(),
        reason: "desync".into(),
    }
}

/// A batch of commands in words, in segments that suit `window`.
pub(crate) fn batch_within(window: usize, commands: &[String]) -> Batch {
    let mut request = Request::new(Arc::new(Pool::for_window(window)));
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let name = format!("${}\r\n{}\r\n", words[0].len(), words[0]);
        request.begin(words.len(), name.as_bytes());
        words[1..].iter().for_each(|word| request.bytes(word.as_bytes()));
        request.commit();
    }
    request.seal()
}

pub(crate) fn batch(commands: &[&str]) -> Batch {
    let commands: Vec<String> = commands.iter().map(|command| (*command).to_owned()).collect();
    batch_within(1 << 20, &commands)
}

/// A command as it goes over the wire.
pub(crate) fn wire(command: &str) -> Vec<u8> {
    batch(&[command]).segments[0].bytes().to_vec()
}

/// What the machine wants to write, at most `max` bytes of it; it is told that they were accepted.
pub(crate) fn write(exchange: &mut Exchange, max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < max {
        let mut slices = [IoSlice::new(&[]); 3];
        let filled = exchange.writable(&mut slices);
        if filled == 0 {
            break;
        }
        let before = bytes.len();
        for slice in &slices[..filled] {
            assert!(!slice.is_empty(), "nothing is offered as something");
            let room = max - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let written = bytes.len() - before;
        exchange.wrote(written);
    }
    bytes
}

/// The commands that `bytes` hold whole, in words, and how many bytes they take.
pub(crate) fn commands(bytes: &[u8]) -> (Vec<Vec<String>>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((Value::Array(words), length)) = parse(&bytes[at..]) {
        let words = words.into_iter().map(|word| match word {
            Value::Text(text) => String::from_utf8(text).expect("text"),
            other => panic!("not a word: {other:?}"),
        });
        found.push(words.collect());
        at += length;
    }
    (found, at)
}

/// Where the nonce of the first fence in `bytes` stands.
pub(crate) fn echoed(bytes: &[u8]) -> Vec<u8> {
    let (commands, _) = commands(bytes);
    let echo = commands.iter().find(|words| words[0] == "ECHO").expect("a fence");
    format!("$32\r\n{}\r\n", echo[1]).into_bytes()
}

/// The data of a server: outlives its connections.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) strings: HashMap<String, String>,
    pub(crate) counters: HashMap<String, i64>,
    /// Tags of commands that were done, in order.
    pub(crate) applied: Vec<u64>,
}

/// One connection to it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    received: Vec<u8>,
    /// Since MULTI.
    queued: Option<Vec<Vec<String>>>,
    /// A command was not even queued.
    aborted: bool,
}

impl Session {
    /// Takes bytes in; says what the server answers.
    pub(crate) fn feed(&mut self, model: &mut Model, bytes: &[u8]) -> Vec<u8> {
        self.received.extend_from_slice(bytes);
        let (commands, length) = commands(&self.received);
        self.received.drain(..length);
        commands
            .into_iter()
            .flat_map(|words| self.answer(model, words).into_bytes())
            .collect()
    }

    fn answer(&mut self, model: &mut Model, words: Vec<String>) -> String {
        match (words[0].as_str(), &mut self.queued) {
            ("MULTI", None) => {
                self.queued = Some(Vec::new());
                "+OK\r\n".into()
            }
            ("EXEC", Some(_)) => {
                let queued = self.queued.take().unwrap_or_default();
                if std::mem::take(&mut self.aborted) {
                    return "-EXECABORT Transaction discarded because of previous errors.\r\n".into();
                }
                let replies: String = queued.into_iter().map(|words| model.run(&words)).collect();
                format!("*{}\r\n{replies}", replies_in(replies.as_bytes()))
            }
            ("EXEC", None) => "-ERR EXEC without MULTI\r\n".into(),
            ("UNKNOWN", queued) => {
                self.aborted = queued.is_some();
                "-ERR unknown command 'UNKNOWN'\r\n".into()
            }
            (_, Some(queued)) => {
                queued.push(words);
                "+QUEUED\r\n".into()
            }
            (_, None) => model.run(&words),
        }
    }
}

impl Model {
    fn run(&mut self, words: &[String]) -> String {
        let mut apply = || {
            let tag: u64 = words[2].parse().expect("a tag");
            self.applied.push(tag);
        };
        match words[0].as_str() {
            "SET" => {
                apply();
                self.strings.insert(words[1].clone(), words[2].clone());
                "+OK\r\n".into()
            }
            "INCR" => {
                apply();
                let counter = self.counters.entry(words[1].clone()).or_default();
                *counter += 1;
                format!(":{counter}\r\n")
            }
            // A bulk, so that it takes the slow path.
            "GETSET" => {
                apply();
                let old = self.strings.insert(words[1].clone(), words[2].clone());
                old.map_or("$-1\r\n".into(), |old| format!("${}\r\n{old}\r\n", old.len()))
            }
            "LPUSH" => "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".into(),
            "ECHO" => format!("${}\r\n{}\r\n", words[1].len(), words[1]),
            other => panic!("the model does not know {other}"),
        }
    }
}

/// How many replies `bytes` hold.
pub(crate) fn replies_in(bytes: &[u8]) -> usize {
    values(bytes).len()
}

/// The replies in `bytes`, which hold nothing else.
pub(crate) fn values(bytes: &[u8]) -> Vec<Value> {
    let (mut values, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (value, length) = parse(&bytes[at..]).expect("whole replies");
        values.push(value);
        at += length;
    }
    values
}

/// The one batch that finished.
pub(crate) fn only_finished(exchange: &mut Exchange) -> Finished {
    let mut finished = exchange.take_finished();
    assert_eq!(finished.len(), 1);
    finished.remove(0)
}

/// succeeded, failed, unknown
pub(crate) fn counts(finished: &Finished) -> (u64, u64, u64) {
    let outcome = &finished.outcome;
    (outcome.succeeded, outcome.failed, outcome.unknown)
}
