//! Replies that are off, and transactions that store how far the load is.

use super::peer::{Model, Session, batch, batch_within, commands, counts, lost, only_finished, settings, write};
use super::{Exchange, Settings};
use crate::config::{Replies, Resend, Transaction};

fn silent(transaction: Transaction) -> Settings {
    Settings {
        resend: Resend::Idempotent,
        ..settings(Replies::Off, transaction)
    }
}

/// Everything that is written now, in words, fences by their name alone.
fn written(exchange: &mut Exchange) -> (Vec<String>, Vec<Vec<u8>>) {
    let bytes = write(exchange, usize::MAX);
    let (mut words, mut nonces) = (Vec::new(), Vec::new());
    for line in commands(&bytes).0 {
        if line[0] == "ECHO" {
            nonces.push(format!("+OK\r\n$32\r\n{}\r\n", line[1]).into_bytes());
            words.push("ECHO".to_owned());
        } else {
            words.push(line.join(" "));
        }
    }
    (words, nonces)
}

const OFF: &str = "CLIENT REPLY OFF";
const ON: &str = "CLIENT REPLY ON";

#[test]
fn a_batch_in_silence_is_unknown_once_its_fence_is_answered() {
    let mut exchange = Exchange::new(silent(Transaction::Off));
    exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
    exchange.push(batch(&["SET c 3"]), 2);
    let (words, nonces) = written(&mut exchange);
    assert_eq!(
        words,
        [OFF, "SET a 1", "SET b 2", ON, "ECHO", OFF, "SET c 3", ON, "ECHO"]
    );
    for byte in nonces[0].chunks(1) {
        assert!(exchange.take_finished().is_empty());
        exchange.received(byte).unwrap();
    }
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 2));
    exchange.received(&nonces[1]).unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 1));
    assert!(exchange.is_idle());
    assert_eq!((exchange.in_flight(), exchange.take_released().bytes), (0, 81));
}

#[test]
fn what_is_said_in_silence_is_a_violation() {
    for input in [b"-NOPERM no\r\n".as_slice(), b"+OK\r\n+OK\r\n", b":1\r\n"] {
        let mut exchange = Exchange::new(silent(Transaction::Off));
        exchange.push(batch(&["SET a 1"]), 0);
        written(&mut exchange);
        exchange.received(input).unwrap_err();
    }
}

#[test]
fn there_is_a_fence_within_each_window() {
    let window = 200;
    let mut exchange = Exchange::new(Settings {
        max_in_flight: window,
        ..silent(Transaction::Off)
    });
    let many: Vec<String> = (0..30).map(|tag| format!("SET key:{tag} {tag}")).collect();
    exchange.push(batch_within(60, &many), 0);
    let mut rounds = 0;
    while !exchange.is_idle() {
        let (_, nonces) = written(&mut exchange);
        // Half a window and a segment, and the two commands about replies with a fence.
        assert!(
            exchange.in_flight() <= window / 2 + 60 + 37 + 36 + 53,
            "{}",
            exchange.in_flight()
        );
        assert!(!nonces.is_empty(), "stuck");
        nonces.iter().for_each(|nonce| exchange.received(nonce).unwrap());
        rounds += 1;
    }
    assert!(rounds > 5);
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 30));
}

#[test]
fn a_transaction_in_silence_goes_alone_however_large_it_is() {
    let mut exchange = Exchange::new(Settings {
        max_in_flight: 50,
        ..silent(Transaction::EachBatch)
    });
    let many: Vec<String> = (0..10).map(|tag| format!("SET key:{tag} {tag}")).collect();
    exchange.push(batch_within(60, &many), 0);
    exchange.push(batch(&["SET a 1"]), 10);
    let (words, nonces) = written(&mut exchange);
    assert_eq!((words.len(), nonces.len()), (1 + 1 + 10 + 1 + 2, 1));
    exchange.received(&nonces[0]).unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 10));
    let (words, _) = written(&mut exchange);
    assert_eq!(words, [OFF, "MULTI", "SET a 1", "EXEC", ON, "ECHO"]);
}

#[test]
fn silence_begins_anew_on_the_next_connection() {
    let mut exchange = Exchange::new(silent(Transaction::Off));
    exchange.push(batch(&["SET a 1", "INCR b 2"]), 0);
    exchange.push(batch(&["INCR c 3"]), 2);
    exchange.push(batch(&["SET d 4"]), 3);
    written(&mut exchange);
    exchange.disconnected(&lost());
    assert_eq!(
        written(&mut exchange).0,
        [OFF, "SET a 1", ON, "ECHO", OFF, "SET d 4", ON, "ECHO"]
    );
    exchange.give_up(&lost());
    let outcomes: Vec<_> = exchange.take_finished().iter().map(counts).collect();
    assert_eq!(outcomes, [(0, 0, 2), (0, 0, 1), (0, 0, 1)]);
}

fn marked() -> Settings {
    Settings {
        one_at_a_time: true,
        waits: true,
        resend: Resend::Idempotent,
        ..settings(Replies::Collect, Transaction::EachBatch)
    }
}

fn mark(number: u64) -> Option<Vec<u8>> {
    Some(super::peer::wire(&format!("SET mark {number}")))
}

/// Two transactions with marks, the first MULTI answered.
fn two() -> Exchange {
    let mut exchange = Exchange::new(marked());
    exchange.push_marked(batch(&["INCR a 1", "INCR b 2"]), 0, mark(101));
    exchange.push_marked(batch(&["INCR a 3"]), 2, mark(102));
    written(&mut exchange);
    exchange.received(b"+OK\r\n").unwrap();
    exchange
}

#[test]
fn a_transaction_waits_for_the_one_before_it() {
    let mut exchange = two();
    assert_eq!(
        written(&mut exchange).0,
        ["INCR a 1", "INCR b 2", "SET mark 101", "EXEC", "ECHO"]
    );
    let (mut model, mut session) = (Model::default(), Session::default());
    session.feed(&mut model, b"*1\r\n$5\r\nMULTI\r\n");
    assert!(written(&mut exchange).0.is_empty());
    exchange
        .received(b"+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:1\r\n+OK\r\n")
        .unwrap();
    assert!(written(&mut exchange).0.is_empty());
}

#[test]
fn in_doubt_the_server_is_asked() {
    for (done, left, outcomes) in [
        (
            0,
            vec!["MULTI", "INCR a 1", "INCR b 2", "SET mark 101", "EXEC", "ECHO"],
            0,
        ),
        (1, vec!["MULTI", "INCR a 3", "SET mark 102", "EXEC", "ECHO"], 1),
    ] {
        let mut exchange = two();
        written(&mut exchange);
        exchange.disconnected(&lost());
        assert!(exchange.take_finished().is_empty());
        exchange.proven(done, &lost());
        let finished = exchange.take_finished();
        assert_eq!(finished.len(), outcomes);
        for batch in finished {
            assert_eq!((counts(&batch), batch.executed), ((2, 0, 0), true));
        }
        let (mut words, _) = written(&mut exchange);
        exchange.received(b"+OK\r\n").unwrap();
        words.extend(written(&mut exchange).0);
        assert_eq!(words, left);
    }
}

#[test]
fn in_doubt_and_given_up_it_is_unknown() {
    let mut exchange = two();
    written(&mut exchange);
    exchange.give_up(&lost());
    let finished = exchange.take_finished();
    assert_eq!(finished.iter().map(counts).collect::<Vec<_>>(), [(0, 0, 2), (0, 1, 0)]);
    assert!(finished.iter().all(|batch| !batch.executed));
}

#[test]
fn what_cannot_be_queued_leaves_its_transaction() {
    let mut exchange = Exchange::new(marked());
    exchange.push_marked(
        batch(&["UNKNOWN x 1", "INCR a 2", "UNKNOWN y 3", "INCR b 4"]),
        0,
        mark(101),
    );
    let (mut model, mut session) = (Model::default(), Session::default());
    let mut lines = Vec::new();
    while !exchange.is_idle() {
        let bytes = write(&mut exchange, usize::MAX);
        lines.extend(
            commands(&bytes)
                .0
                .into_iter()
                .map(|words| words[..words.len().min(2)].join(" ")),
        );
        exchange.received(&session.feed(&mut model, &bytes)).unwrap();
    }
    lines.retain(|line| !line.starts_with("ECHO"));
    let first = [
        "MULTI",
        "UNKNOWN x",
        "INCR a",
        "UNKNOWN y",
        "INCR b",
        "SET mark",
        "EXEC",
    ];
    assert_eq!(
        lines,
        [first.as_slice(), &["MULTI", "INCR a", "INCR b", "SET mark", "EXEC"]].concat()
    );
    let finished = only_finished(&mut exchange);
    assert_eq!(counts(&finished), (2, 2, 0));
    let places: Vec<u64> = finished.outcome.failures.iter().map(|failure| failure.index).collect();
    assert_eq!(places, [0, 2]);
    let unknown = "-ERR unknown command 'UNKNOWN'\r\n";
    assert_eq!(
        String::from_utf8(finished.replies).unwrap(),
        format!("{unknown}:1\r\n{unknown}:1\r\n")
    );
    assert_eq!(model.applied, [2, 4, 101]);
}
