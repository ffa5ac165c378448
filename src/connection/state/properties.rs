//! Properties of the machine: a connection lost at every byte, and random lives against a model of a server.

use std::collections::HashMap;

use proptest::prelude::*;

use super::peer::{Model, Session, batch_within, commands, lost, settings, values, wire, write};
use super::{Exchange, Finished, Settings};
use crate::config::{Replies, Transaction};
use crate::resp::value::Value;

const MODES: [(Replies, Transaction); 4] = [
    (Replies::Check, Transaction::Off),
    (Replies::Collect, Transaction::Off),
    (Replies::Check, Transaction::EachBatch),
    (Replies::Collect, Transaction::EachBatch),
];

/// What is known of one command at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    Unknown,
    NeverWritten,
}

fn fate(reply: &Value) -> Fate {
    match reply {
        Value::Error(text) if text.starts_with(b"RESPIPE_") => {
            if text.windows(7).any(|bytes| bytes == b"unknown") {
                Fate::Unknown
            } else {
                Fate::NeverWritten
            }
        }
        Value::Error(_) => Fate::Refused,
        _ => Fate::Done,
    }
}

/// Commands with tags that count from 0, in batches.
#[derive(Debug, Clone)]
struct Load(Vec<Vec<String>>);

impl Load {
    fn of(batches: &[&[&str]]) -> Self {
        let mut tag = 0;
        let batch = |words: &&[&str]| words.iter().map(|word| command(word, &mut tag)).collect();
        Self(batches.iter().map(batch).collect())
    }

    fn commands(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flatten()
    }
}

fn command(word: &str, tag: &mut u64) -> String {
    let command = format!("{word} key:{} {tag}", *tag % 3);
    *tag += 1;
    command
}

fn is_refused(command: &str, batch: &[String]) -> bool {
    // `batch` is the transaction that it is in, if any.
    command.starts_with("LPUSH")
        || command.starts_with("UNKNOWN")
        || batch.iter().any(|other| other.starts_with("UNKNOWN"))
}

/// Checks what is reported against what the model did.
fn check(load: &Load, finished: &[Finished], model: &Model, mode: (Replies, Transaction)) {
    let mut times = HashMap::<u64, u32>::new();
    for tag in &model.applied {
        *times.entry(*tag).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "nothing is done twice");
    assert!(model.applied.is_sorted(), "commands run in their order");
    assert_eq!(finished.len(), load.0.len());
    let mut tag = 0;
    for (batch, finished) in load.0.iter().zip(finished) {
        let outcome = &finished.outcome;
        assert_eq!(outcome.commands, batch.len() as u64);
        assert_eq!(outcome.commands, outcome.succeeded + outcome.failed + outcome.unknown);
        assert_eq!(outcome.failed, outcome.errors.values().sum::<u64>());
        assert_eq!(outcome.failures.len() as u64, outcome.failed.min(100));
        for failure in &outcome.failures {
            let words: Vec<&str> = batch[usize::try_from(failure.index - tag).unwrap()]
                .split(' ')
                .collect();
            assert_eq!(failure.command, words[0]);
            let key = failure.key.as_deref().map(|key| str::from_utf8(key).unwrap());
            assert_eq!(key, (words[0] != "UNKNOWN").then_some(words[1]));
        }
        let transaction = match mode.1 {
            Transaction::EachBatch => batch.as_slice(),
            Transaction::Off => &[],
        };
        let tags = tag..tag + outcome.commands;
        let done = tags.clone().filter(|tag| times.contains_key(tag)).count() as u64;
        assert!(outcome.succeeded <= done && done <= outcome.succeeded + outcome.unknown);
        if mode.1 == Transaction::EachBatch {
            let possible = batch.iter().filter(|command| !is_refused(command, batch)).count() as u64;
            assert!(done == 0 || done == possible, "all or nothing");
        }
        if mode.0 == Replies::Check {
            assert!(finished.replies.is_empty());
        } else {
            let fates: Vec<Fate> = values(&finished.replies).iter().map(fate).collect();
            assert_eq!(fates.len(), batch.len(), "one reply a command");
            let count = |wanted: &[Fate]| fates.iter().filter(|fate| wanted.contains(fate)).count() as u64;
            assert_eq!(count(&[Fate::Done]), outcome.succeeded);
            assert_eq!(count(&[Fate::Unknown]), outcome.unknown);
            assert_eq!(count(&[Fate::Refused, Fate::NeverWritten]), outcome.failed);
            for ((command, fate), tag) in batch.iter().zip(&fates).zip(tags) {
                let done = times.contains_key(&tag);
                match fate {
                    Fate::Done => assert!(done && !is_refused(command, transaction), "{command}"),
                    Fate::Refused => assert!(!done && is_refused(command, transaction), "{command}"),
                    Fate::NeverWritten => assert!(!done, "{command}"),
                    Fate::Unknown => {}
                }
            }
        }
        tag += outcome.commands;
    }
}

fn push_all(exchange: &mut Exchange, load: &Load, window: usize) -> usize {
    let (mut index, mut bytes) = (0, 0);
    for commands in &load.0 {
        let batch = batch_within(window, commands);
        bytes += batch.bytes;
        exchange.push(batch, index);
        index += commands.len() as u64;
    }
    bytes
}

/// Goes on until nothing is outstanding.
fn finish(exchange: &mut Exchange, model: &mut Model, session: &mut Session) {
    while !exchange.is_idle() {
        let bytes = write(exchange, usize::MAX);
        let replies = session.feed(model, &bytes);
        assert!(!bytes.is_empty() || !replies.is_empty(), "stuck");
        exchange.received(&replies).expect("a sound reply");
    }
}

/// Writes `bytes` on a fresh connection; the server's replies that were not needed to get so far.
fn write_exactly(
    exchange: &mut Exchange,
    model: &mut Model,
    session: &mut Session,
    bytes: usize,
) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut replies) = (Vec::new(), Vec::new());
    while sent.len() < bytes {
        let more = write(exchange, bytes - sent.len());
        if more.is_empty() {
            // The first MULTI has to be answered.
            exchange.received(&std::mem::take(&mut replies)).expect("a sound reply");
        }
        replies.extend(session.feed(model, &more));
        sent.extend(more);
    }
    (sent, replies)
}

/// The bytes that a connection that is lost after `sent` leaves to the next one, fences left out; the last `undone`
/// transactions were not done though their EXEC was written.
fn expected_left(load: &Load, sent: &[u8], transaction: Transaction, undone: usize) -> Vec<u8> {
    let (whole, _) = commands(sent);
    let mut left = Vec::new();
    if transaction == Transaction::Off {
        let whole = whole.iter().filter(|words| words[0] != "ECHO").count();
        load.commands()
            .skip(whole)
            .for_each(|command| left.extend(wire(command)));
        return left;
    }
    let executed = whole.iter().filter(|words| words[0] == "EXEC").count();
    let executed = executed.saturating_sub(undone);
    for batch in &load.0[executed..] {
        left.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        batch.iter().for_each(|command| left.extend(wire(command)));
        left.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
    }
    left
}

/// Everything that is written, fences left out, while a server answers.
fn written_until_idle(exchange: &mut Exchange, model: &mut Model) -> Vec<u8> {
    let (mut session, mut sent) = (Session::default(), Vec::new());
    while !exchange.is_idle() {
        let bytes = write(exchange, usize::MAX);
        exchange.received(&session.feed(model, &bytes)).expect("a sound reply");
        sent.extend(bytes);
    }
    let (commands, _) = commands(&sent);
    let encode = |words: &Vec<String>| wire(&words.join(" "));
    commands
        .iter()
        .filter(|words| words[0] != "ECHO")
        .flat_map(encode)
        .collect()
}

#[test]
fn a_connection_may_be_lost_at_every_byte_of_either_direction() {
    let load = Load::of(&[&["SET", "LPUSH", "GETSET"], &["INCR"], &["UNKNOWN", "SET"]]);
    for mode in MODES.into_iter().filter(|(replies, _)| *replies == Replies::Collect) {
        for segment in [1, 1 << 20] {
            let mut commands_before = 0;
            for bytes in 0..=load_bytes(&load, mode.1) {
                // Every byte of the replies where one more command is whole, else none and all of them.
                let (sent, total) = lose(&load, mode, segment, bytes, 0);
                let commands = commands(&sent).0.len();
                let first = if commands > commands_before { 1 } else { total.max(1) };
                commands_before = commands;
                for heard in first..=total {
                    lose(&load, mode, segment, bytes, heard);
                }
            }
        }
    }
}

/// One life with a connection lost when `bytes` were written and `heard` bytes of the further replies had come.
/// Returns what was written, and how many bytes there were to hear.
fn lose(load: &Load, mode: (Replies, Transaction), segment: usize, bytes: usize, heard: usize) -> (Vec<u8>, usize) {
    let mut exchange = Exchange::new(settings(mode.0, mode.1));
    let (mut model, mut session) = (Model::default(), Session::default());
    push_all(&mut exchange, load, segment);
    let (sent, replies) = write_exactly(&mut exchange, &mut model, &mut session, bytes);
    exchange.received(&replies[..heard]).expect("a sound reply");
    exchange.disconnected(&lost());
    let left = written_until_idle(&mut exchange, &mut model);
    // A transaction of which a command is known to be refused is not in doubt: its EXEC did nothing.
    let expected = [0, 1].map(|undone| expected_left(load, &sent, mode.1, undone));
    assert!(
        left == expected[0] || (left == expected[1] && left.windows(7).any(|word| word == b"UNKNOWN")),
        "{mode:?} {segment} {bytes} {heard}"
    );
    check(load, &exchange.take_finished(), &model, mode);
    (sent, replies.len())
}

/// All that is written for `load`.
fn load_bytes(load: &Load, transaction: Transaction) -> usize {
    let frame = match transaction {
        Transaction::Off => 53,
        Transaction::EachBatch => 53 + 15 + 14,
    };
    load.0.len() * frame + load.commands().map(|command| wire(command).len()).sum::<usize>()
}

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    Push(usize),
    Write(usize),
    /// The server reads so many bytes.
    Serve(usize),
    Hear(usize),
    /// The connection ends; the server still reads so many bytes.
    Lose(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1_usize..4).prop_map(Event::Push),
        4 => (1_usize..200).prop_map(Event::Write),
        4 => (1_usize..200).prop_map(Event::Serve),
        4 => (1_usize..60).prop_map(Event::Hear),
        1 => (0_usize..100).prop_map(Event::Lose),
    ]
}

fn load() -> impl Strategy<Value = Load> {
    let word = prop_oneof![
        6 => Just("SET"), 3 => Just("INCR"), 3 => Just("GETSET"), 1 => Just("LPUSH"), 1 => Just("UNKNOWN"),
    ];
    prop::collection::vec(prop::collection::vec(word, 1..8), 1..8).prop_map(|batches| {
        let batches: Vec<&[&str]> = batches.iter().map(Vec::as_slice).collect();
        Load::of(&batches)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    GivenUp,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_command_is_accounted_for_whatever_happens(
        load in load(),
        events in prop::collection::vec(event(), 0..60),
        mode in prop::sample::select(MODES.to_vec()),
        segment in prop_oneof![Just(1_usize), Just(60), Just(1 << 20)],
        window in prop_oneof![Just(1_usize), Just(100), Just(1 << 20)],
        end in prop_oneof![Just(End::Finished), Just(End::GivenUp)],
    ) {
        let mut exchange = Exchange::new(Settings { max_in_flight: window, ..settings(mode.0, mode.1) });
        let (mut model, mut session) = (Model::default(), Session::default());
        let (mut to_server, mut to_us) = (Vec::new(), Vec::new());
        let mut waiting = load.0.iter();
        let (mut index, mut pushed, mut finished, mut released) = (0, 0, Vec::new(), 0);
        let segments = load.0.iter().flat_map(|commands| batch_within(segment, commands).segments);
        let largest = segments.map(|segment| segment.bytes().len()).max().unwrap_or(0).max(53);
        for event in events {
            match event {
                Event::Push(count) => {
                    for commands in waiting.by_ref().take(count) {
                        let batch = batch_within(segment, commands);
                        pushed += batch.bytes;
                        exchange.push(batch, index);
                        index += commands.len() as u64;
                    }
                }
                Event::Write(bytes) => {
                    to_server.extend(write(&mut exchange, bytes));
                    prop_assert!(exchange.in_flight() <= window.max(largest));
                }
                Event::Serve(bytes) => {
                    let bytes: Vec<u8> = to_server.drain(..bytes.min(to_server.len())).collect();
                    to_us.extend(session.feed(&mut model, &bytes));
                }
                Event::Hear(bytes) => {
                    let bytes: Vec<u8> = to_us.drain(..bytes.min(to_us.len())).collect();
                    exchange.received(&bytes).expect("a sound reply");
                }
                Event::Lose(bytes) => {
                    // Whatever still arrives there runs before the next connection does.
                    session.feed(&mut model, &to_server[..bytes.min(to_server.len())]);
                    session = Session::default();
                    to_server.clear();
                    to_us.clear();
                    exchange.disconnected(&lost());
                    prop_assert_eq!(exchange.in_flight(), 0);
                }
            }
            let (succeeded, failed, unknown) = exchange.progress();
            prop_assert!(succeeded + failed + unknown <= 8);
            finished.extend(exchange.take_finished());
            released += exchange.take_released().bytes;
            prop_assert!(released <= pushed);
        }
        for commands in waiting {
            let batch = batch_within(segment, commands);
            pushed += batch.bytes;
            exchange.push(batch, index);
            index += commands.len() as u64;
        }
        if end == End::GivenUp {
            session.feed(&mut model, &to_server);
            exchange.give_up(&lost());
        } else {
            to_us.extend(session.feed(&mut model, &to_server));
            exchange.received(&to_us).expect("a sound reply");
            finish(&mut exchange, &mut model, &mut session);
        }
        finished.extend(exchange.take_finished());
        released += exchange.take_released().bytes;
        prop_assert!(exchange.is_idle());
        prop_assert_eq!((released, exchange.in_flight()), (pushed, 0));
        check(&load, &finished, &model, mode);
    }

    #[test]
    fn no_bytes_of_a_peer_panic_or_go_on_for_ever(
        load in load(),
        mode in prop::sample::select(MODES.to_vec()),
        sound in 0_usize..200,
        bytes in 0_usize..400,
        pieces in prop::collection::vec(
            prop_oneof![
                Just(b"+OK\r\n".to_vec()), Just(b"+QUEUED\r\n".to_vec()), Just(b"*2\r\n".to_vec()), Just(b"*0\r\n".to_vec()),
                Just(b">1\r\n+x\r\n".to_vec()), Just(b"|1\r\n+x\r\n:1\r\n".to_vec()), Just(b"-ERR x\r\n".to_vec()),
                Just(b"$32\r\n".to_vec()), prop::collection::vec(any::<u8>(), 1..4),
            ],
            1..12,
        ),
    ) {
        let mut exchange = Exchange::new(settings(mode.0, mode.1));
        let (mut model, mut session) = (Model::default(), Session::default());
        push_all(&mut exchange, &load, 60);
        let bytes = bytes.min(load_bytes(&load, mode.1));
        let (_, replies) = write_exactly(&mut exchange, &mut model, &mut session, bytes);
        exchange.received(&replies[..sound.min(replies.len())]).expect("a sound reply");
        let broken = pieces.iter().any(|piece| {
            let answer = exchange.received(piece);
            write(&mut exchange, 30);
            answer.is_err()
        });
        if broken {
            exchange.distrust(&lost());
        }
        exchange.give_up(&lost());
        let finished = exchange.take_finished();
        prop_assert_eq!(finished.len(), load.0.len());
        for (batch, finished) in load.0.iter().zip(finished) {
            let outcome = finished.outcome;
            prop_assert_eq!(outcome.commands, batch.len() as u64);
            prop_assert_eq!(outcome.commands, outcome.succeeded + outcome.failed + outcome.unknown);
            if mode.0 == Replies::Collect {
                prop_assert_eq!(values(&finished.replies).len(), batch.len());
            }
        }
        prop_assert!(exchange.is_idle());
    }
}
