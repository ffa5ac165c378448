//! One connection goes on where another ends: what is written to which, and what becomes of both when they are lost.

use super::handover::TAIL;
use super::peer::{Model, Session, batch, batch_within, commands, counts, lost, plain, settings, wire, write};
use super::{Broken, Exchange, Settings};
use crate::config::{Replies, Resend, Transaction};

/// Shares of one batch each, of which the first is written.
fn begun(settings: Settings, batches: &[&[&str]]) -> (Exchange, Vec<u8>) {
    let mut exchange = Exchange::new(Settings {
        reconnect_every: 1,
        ..settings
    });
    for (tag, commands) in (0..).zip(batches) {
        exchange.push(batch(commands), tag);
    }
    let mut written = write(&mut exchange, usize::MAX);
    if exchange.awaits_first_multi() {
        exchange.received(b"+OK\r\n").unwrap();
        written.extend(write(&mut exchange, usize::MAX));
    }
    assert!(exchange.may_hand_over() && !exchange.is_spent());
    (exchange, written)
}

fn release() -> Vec<u8> {
    wire("CLIENT UNBLOCK 7")
}

fn names(bytes: &[u8]) -> Vec<String> {
    let (commands, length) = commands(bytes);
    assert_eq!(length, bytes.len(), "whole commands");
    commands.into_iter().map(|mut words| words.swap_remove(0)).collect()
}

#[test]
fn the_release_is_the_last_word_and_what_follows_goes_over_the_next_one() {
    for (replies, transaction) in [
        (Replies::Check, Transaction::Off),
        (Replies::Check, Transaction::EachBatch),
        (Replies::Off, Transaction::Off),
        (Replies::Off, Transaction::EachBatch),
    ] {
        let settings = settings(replies, transaction);
        let (mut exchange, mut before) = begun(settings, &[&["SET a 1"], &["SET a 2"], &["SET a 3"]]);
        exchange.hand_over(release());
        assert!(!exchange.writes_to_next());
        // In two pieces: the second one is still for the old connection.
        let piece = write(&mut exchange, 5);
        assert!(!exchange.writes_to_next() && !exchange.may_hand_over());
        assert_eq!([piece, write(&mut exchange, release().len() - 5)].concat(), release());
        assert!(exchange.writes_to_next() && !exchange.reads_from_next());
        let next = write(&mut exchange, usize::MAX);
        assert!(names(&next).contains(&"SET".to_owned()), "{:?}", names(&next));
        // Its share, and no more of it.
        assert_eq!(names(&next).iter().filter(|name| *name == "SET").count(), 1);

        if transaction == Transaction::EachBatch && replies == Replies::Check {
            // Answered above.
            before.drain(..wire("MULTI").len());
        }
        let mut model = Model::default();
        exchange
            .received(&answers(&mut model, &before, transaction, replies))
            .unwrap();
        assert_eq!((exchange.take_finished().len(), exchange.reads_from_next()), (1, false));
        assert!(!exchange.is_spent() && !exchange.is_idle());
        exchange.received(b":1\r\n").unwrap();
        assert!(exchange.reads_from_next());
        exchange.received(b":0\r\n").unwrap();
        assert!(!exchange.writes_to_next());
        exchange
            .received(&answers(&mut model, &next, Transaction::Off, replies))
            .unwrap();
        assert_eq!((exchange.take_finished().len(), exchange.is_spent()), (1, true));
        assert_eq!(exchange.in_flight(), 0);
    }
}

/// What the model says to `written`, on a connection of its own; its MULTI may have been answered before.
fn answers(model: &mut Model, written: &[u8], begun: Transaction, replies: Replies) -> Vec<u8> {
    let mut session = Session::default();
    if begun == Transaction::EachBatch && replies == Replies::Check {
        session.feed(model, &wire("MULTI"));
    }
    let (mut said, mut silent) = (Vec::new(), false);
    for words in commands(written).0 {
        let line = words.join(" ");
        match line.as_str() {
            "CLIENT REPLY OFF" => silent = true,
            "CLIENT REPLY ON" => {
                silent = false;
                said.extend_from_slice(b"+OK\r\n");
            }
            line => {
                let reply = session.feed(model, &wire(line));
                if !silent {
                    said.extend(reply);
                }
            }
        }
    }
    said
}

#[test]
fn the_next_one_is_written_to_once_the_old_one_has_little_left() {
    let many: Vec<String> = (0..8_000).map(|tag| format!("SET key {tag:09}")).collect();
    let mut exchange = Exchange::new(Settings {
        reconnect_every: 1,
        ..plain()
    });
    exchange.push(batch_within(1 << 20, &many), 0);
    exchange.push(batch(&["SET next 0"]), 8_000);
    let before = write(&mut exchange, usize::MAX);
    exchange.hand_over(release());
    assert_eq!(write(&mut exchange, usize::MAX), release(), "and nothing else yet");
    // What is worth waiting for ends where something can be written again.
    let owed = exchange.owed();
    assert!((1..8_000 * 4).contains(&owed), "{owed}");

    let (mut model, mut session) = (Model::default(), Session::default());
    let replies = session.feed(&mut model, &before);
    let each = before.len() / 8_000;
    let early = 8_000 - TAIL / each - 200;
    exchange.received(&replies[..early * 5]).unwrap();
    assert_eq!(write(&mut exchange, usize::MAX), b"");
    exchange.received(&replies[early * 5..(early + 400) * 5]).unwrap();
    assert_eq!(names(&write(&mut exchange, usize::MAX)), ["SET", "ECHO"]);
    exchange.received(&replies[(early + 400) * 5..]).unwrap();
    assert_eq!(exchange.take_finished().len(), 1);
}

#[test]
fn what_both_connections_had_is_in_doubt_together() {
    for (resend, again, told) in [
        // The third batch was never written, and is for a connection of its own.
        (Resend::Idempotent, "SET", vec![(0, 0, 1)]),
        (Resend::All, "INCR", vec![]),
        (Resend::None, "INCR", vec![(0, 0, 1), (0, 0, 1)]),
    ] {
        let settings = Settings { resend, ..plain() };
        let (mut exchange, _) = begun(settings, &[&["INCR a 1"], &["SET b 2"], &["INCR c 3"]]);
        exchange.hand_over(release());
        write(&mut exchange, usize::MAX);
        exchange.disconnected(&lost());
        assert_eq!(names(&write(&mut exchange, usize::MAX)), [again, "ECHO"]);
        let finished: Vec<_> = exchange.take_finished().iter().map(counts).collect();
        assert_eq!(finished, told);
    }
}

#[test]
fn whoever_was_not_held_back_is_given_up() {
    for (last_words, first_words) in [
        (":0\r\n", None),
        ("-NOPERM no\r\n", None),
        (":1\r\n", Some("-BUSY a script\r\n")),
        (":1\r\n", Some("$-1\r\n")),
    ] {
        let (mut exchange, before) = begun(plain(), &[&["SET a 1"], &["SET a 2"]]);
        exchange.hand_over(release());
        write(&mut exchange, usize::MAX);
        let replies = Session::default().feed(&mut Model::default(), &before);
        exchange.received(&replies).unwrap();
        let mut told = exchange.received(last_words.as_bytes());
        if let Some(first_words) = first_words {
            told.unwrap();
            told = exchange.received(first_words.as_bytes());
        }
        assert!(matches!(told, Err(Broken::Unavailable(_))), "{told:?}");
    }
    let (mut exchange, before) = begun(plain(), &[&["SET a 1"], &["SET a 2"]]);
    exchange.hand_over(release());
    write(&mut exchange, usize::MAX);
    exchange
        .received(&Session::default().feed(&mut Model::default(), &before))
        .unwrap();
    let told = exchange.received(b":1\r\n:0\r\n");
    assert!(matches!(told, Err(Broken::Violation(_))), "{told:?}");
}

#[test]
fn what_the_old_one_refused_for_now_goes_again_over_the_next_one() {
    let settings = Settings { waits: true, ..plain() };
    let (mut exchange, before) = begun(settings, &[&["SET a 1"], &["SET b 2"], &["SET c 3"]]);
    exchange.hand_over(release());
    write(&mut exchange, release().len());
    let fence = Session::default().feed(&mut Model::default(), &before[wire("SET a 1").len()..]);
    exchange.received(b"-OOM no\r\n").unwrap();
    assert_eq!(write(&mut exchange, usize::MAX), b"", "nothing newer is written");
    exchange.received(&fence).unwrap();
    assert!(!exchange.is_waiting(), "the next one is not there yet");
    exchange.received(b":1\r\n").unwrap();
    exchange.received(b":0\r\n").unwrap();
    assert!(exchange.is_waiting());
    exchange.retry();
    let again = write(&mut exchange, usize::MAX);
    assert_eq!(commands(&again).0[0], ["SET", "a", "1"]);
}
