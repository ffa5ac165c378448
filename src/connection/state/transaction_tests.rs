//! MULTI … EXEC: replies in two steps, refusals at each, and all or nothing when the connection is lost.

use super::peer::{
    Model, Session, batch, batch_within, commands, counts, echoed, lost, only_finished, protocol, settings, values,
    wire, write,
};
use super::{Exchange, Settings};
use crate::config::{Replies, Transaction};
use crate::outcome::Failure;
use crate::resp::value::Value;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

fn transactions() -> Settings {
    settings(Replies::Collect, Transaction::EachBatch)
}

/// A transaction whose MULTI is accepted, wholly written; the bytes that its fence awaits.
fn written(commands: &[&str]) -> (Exchange, Vec<u8>) {
    let mut exchange = Exchange::new(transactions());
    exchange.push(batch(commands), 0);
    assert_eq!(write(&mut exchange, usize::MAX), MULTI);
    exchange.received(b"+OK\r\n").unwrap();
    let nonce = echoed(&write(&mut exchange, usize::MAX));
    (exchange, nonce)
}

fn codes(failures: &[Failure]) -> Vec<(u64, &str)> {
    failures
        .iter()
        .map(|failure| (failure.index, failure.code.as_str()))
        .collect()
}

fn errors(replies: &[u8]) -> Vec<String> {
    let text = |value| match value {
        Value::Error(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    };
    values(replies).into_iter().map(text).collect()
}

#[test]
fn replies_are_those_of_exec_in_every_split() {
    for size in 1..80 {
        let (mut exchange, nonce) = written(&["SET a 1", "LPUSH b 2", "GETSET c 3"]);
        let replies = [
            b"+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n-WRONGTYPE x\r\n$12\r\nx\r\n+QUEUED\r\n\r\n".as_slice(),
            &nonce,
        ]
        .concat();
        for piece in replies.chunks(size) {
            exchange.received(piece).unwrap();
        }
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (2, 1, 0));
        assert_eq!(codes(&finished.outcome.failures), [(1, "WRONGTYPE")]);
        assert_eq!(finished.replies, b"+OK\r\n-WRONGTYPE x\r\n$12\r\nx\r\n+QUEUED\r\n\r\n");
        assert_eq!(exchange.take_released().segments.len(), 1);
        assert_eq!(exchange.answered(), 3);
    }
}

#[test]
fn queued_commands_leave_the_window_but_their_bytes_are_kept() {
    let commands: Vec<String> = (0..50).map(|tag| format!("SET key {tag}")).collect();
    let mut exchange = Exchange::new(Settings {
        max_in_flight: 200,
        ..transactions()
    });
    exchange.push(batch_within(200, &commands), 0);
    let (mut model, mut session, mut kept) = (Model::default(), Session::default(), 0);
    while !exchange.is_idle() {
        let bytes = write(&mut exchange, usize::MAX);
        assert!(exchange.in_flight() <= 200);
        let executes = bytes.windows(EXEC.len()).any(|bytes| bytes == EXEC);
        exchange.received(&session.feed(&mut model, &bytes)).unwrap();
        let released = exchange.take_released().bytes;
        assert!(executes || released == 0);
        kept += released;
    }
    assert_eq!(kept, commands.iter().map(|command| wire(command).len()).sum::<usize>());
    assert_eq!(counts(&only_finished(&mut exchange)), (50, 0, 0));
}

#[test]
fn a_refused_transaction_names_the_culprits_and_fails_the_others_under_execabort() {
    let (mut exchange, nonce) = written(&["SET a 1", "UNKNOWN b 2", "SET c 3", "UNKNOWN d 4"]);
    exchange
        .received(b"+QUEUED\r\n-ERR unknown command\r\n+QUEUED\r\n-OOM command not allowed\r\n")
        .unwrap();
    exchange
        .received(&[b"-EXECABORT Transaction discarded\r\n".as_slice(), &nonce].concat())
        .unwrap();
    let finished = only_finished(&mut exchange);
    assert_eq!(counts(&finished), (0, 4, 0));
    assert_eq!(
        codes(&finished.outcome.failures),
        [(0, "EXECABORT"), (1, "ERR"), (2, "EXECABORT"), (3, "OOM")]
    );
    let keys: Vec<_> = finished
        .outcome
        .failures
        .iter()
        .map(|one| one.key.clone().unwrap_or_default())
        .collect();
    assert_eq!(keys, [b"a".to_vec(), b"".to_vec(), b"c".to_vec(), b"".to_vec()]);
    assert_eq!(
        errors(&finished.replies),
        [
            "EXECABORT Transaction discarded",
            "ERR unknown command",
            "EXECABORT Transaction discarded",
            "OOM command not allowed"
        ]
    );
    // Out of memory may pass: that is no progress.
    assert_eq!(exchange.answered(), 0);
}

#[test]
fn an_exec_of_another_shape_is_a_violation() {
    for reply in [
        "*1\r\n",
        "*3\r\n",
        "*-1\r\n",
        "+OK\r\n",
        ":2\r\n",
        "+QUEUED\r\n",
        "$2\r\nhi\r\n",
    ] {
        let (mut exchange, _) = written(&["SET a 1", "SET b 2"]);
        exchange.received(b"+QUEUED\r\n+QUEUED\r\n").unwrap();
        let message = exchange.received(reply.as_bytes()).expect_err(reply).to_string();
        assert!(message.starts_with("EXEC of 2 commands was answered by"), "{message}");
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        let finished = only_finished(&mut exchange);
        assert_eq!((counts(&finished), values(&finished.replies).len()), ((0, 0, 2), 2));
    }
    // Not aborted, though a command was not queued.
    let (mut exchange, _) = written(&["SET a 1", "UNKNOWN b 2"]);
    exchange.received(b"+QUEUED\r\n-ERR unknown command\r\n").unwrap();
    exchange.received(b"*1\r\n").unwrap_err();
    exchange.distrust(&protocol());
    exchange.give_up(&protocol());
    let finished = only_finished(&mut exchange);
    assert_eq!((counts(&finished), values(&finished.replies).len()), ((0, 0, 2), 2));
    assert!(finished.outcome.errors.is_empty() && finished.outcome.failures.is_empty());
}

#[test]
fn other_replies_than_queued_are_a_violation() {
    for reply in [
        "+OK\r\n",
        ":1\r\n",
        "+QUEUE\r\n",
        "+QUEUED \r\n",
        "$6\r\nQUEUED\r\n",
        "*0\r\n",
    ] {
        let (mut exchange, _) = written(&["SET a 1", "SET b 2"]);
        exchange.received(b"+QUEUED\r\n").unwrap();
        exchange.received(reply.as_bytes()).expect_err(reply);
    }
    // A reply of an earlier life, half read when the transaction begins.
    let (mut exchange, _) = written(&["SET a 1"]);
    exchange.received(b"+QUE").unwrap();
    exchange.received(b"+QUEUED\r\n").unwrap_err();
}

#[test]
fn a_multi_refused_at_first_fails_its_batch_and_nothing_was_sent_behind_it() {
    let mut exchange = Exchange::new(transactions());
    exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
    exchange.push(batch(&["SET c 3"]), 2);
    for expected in [2, 1] {
        assert_eq!(write(&mut exchange, 3), MULTI[..3]);
        assert_eq!(write(&mut exchange, usize::MAX), MULTI[3..]);
        assert_eq!(write(&mut exchange, usize::MAX), b"");
        exchange.received(b"-ERR unknown comm").unwrap();
        exchange.received(b"and\r\n").unwrap();
        let nonce = echoed(&write(&mut exchange, 53));
        exchange.received(&nonce).unwrap();
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (0, expected, 0));
        assert_eq!(
            (finished.outcome.errors["ERR"], values(&finished.replies).len() as u64),
            (expected, expected)
        );
        assert!(finished.error.is_none());
    }
    assert!(exchange.is_idle());
    assert_eq!((exchange.take_released().segments.len(), exchange.in_flight()), (2, 0));
}

#[test]
fn a_multi_refused_later_leaves_what_was_written_unknown() {
    let (mut exchange, nonce) = written(&["SET a 1"]);
    exchange.push(batch(&["SET b 2", "SET c 3", "SET d 4"]), 1);
    exchange.push(batch(&["SET e 5"]), 4);
    // Written without waiting, as this server takes MULTI: it then runs each command by itself.
    write(&mut exchange, MULTI.len() + 2 * wire("SET b 2").len() + 9);
    exchange
        .received(&[b"+QUEUED\r\n*1\r\n+OK\r\n".as_slice(), &nonce].concat())
        .unwrap();
    let message = exchange.received(b"-NOPERM no\r\n").unwrap_err().to_string();
    assert_eq!(message, "MULTI was refused: NOPERM no");
    exchange.distrust(&protocol());
    exchange.give_up(&protocol());
    let finished = exchange.take_finished();
    assert_eq!(
        finished.iter().map(counts).collect::<Vec<_>>(),
        [(1, 0, 0), (0, 1, 2), (0, 1, 0)]
    );
    assert!(finished[0].error.is_none());
    assert_eq!(errors(&finished[1].replies).len(), 3);
}

#[test]
fn a_violation_makes_what_was_written_unknown_wherever_it_comes() {
    // No EXEC was written: yet who can tell what such a peer did.
    let replies = b"+QUEUED\r\n-ERR x\r\n+QUEUED\r\n*3\r\n";
    for (upto, _) in replies.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let (mut exchange, _) = written(&["SET a 1", "SET b 2", "SET c 3"]);
        let _ = exchange.received(&replies[..=upto]);
        exchange.received(b"?").unwrap_err();
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        let finished = only_finished(&mut exchange);
        assert_eq!((counts(&finished), values(&finished.replies).len()), ((0, 0, 3), 3));
        assert_eq!(exchange.take_released().segments.len(), 1);
    }
    // Within EXEC's array, and behind it.
    for upto in [0, 1, 2, 3] {
        let (mut exchange, _) = written(&["SET a 1", "SET b 2", "SET c 3"]);
        exchange.received(b"+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n").unwrap();
        exchange.received(&b"+OK\r\n".repeat(upto)).unwrap();
        exchange.received(b"$1\r\n??").unwrap_err();
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        let finished = only_finished(&mut exchange);
        assert_eq!(
            (counts(&finished), values(&finished.replies).len()),
            ((0, 0, 3), 3),
            "{upto}"
        );
    }
}

#[test]
fn without_its_exec_a_transaction_is_written_again_whole() {
    let words = ["SET a 1", "SET b 2", "UNKNOWN c 3"];
    let data: Vec<u8> = words.iter().flat_map(|command| wire(command)).collect();
    let before = MULTI.len() + data.len();
    // Everything written is answered: nothing of it is in flight when the connection ends.
    for (bytes, undone) in [(MULTI.len(), 0), (before, 3), (before + 5, 3)] {
        let mut exchange = Exchange::new(transactions());
        exchange.push(batch(&words), 7);
        write(&mut exchange, MULTI.len());
        exchange.received(b"+OK\r\n").unwrap();
        write(&mut exchange, bytes - MULTI.len());
        if bytes >= before {
            exchange
                .received(b"+QUEUED\r\n+QUEUED\r\n-ERR unknown command\r\n")
                .unwrap();
        }
        exchange.disconnected(&lost());
        assert!(exchange.take_finished().is_empty());
        assert_eq!(
            (exchange.progress(), exchange.collected(), exchange.resent()),
            ((0, 0, 0), 0, 0)
        );
        assert_eq!(write(&mut exchange, usize::MAX), MULTI);
        exchange.received(b"+OK\r\n").unwrap();
        assert_eq!(exchange.resent(), undone);
        let rest = write(&mut exchange, usize::MAX);
        assert_eq!(rest[..data.len() + EXEC.len()], [data.as_slice(), EXEC].concat());
        exchange
            .received(b"+QUEUED\r\n+QUEUED\r\n-ERR unknown command\r\n-EXECABORT x\r\n")
            .unwrap();
        exchange.received(&echoed(&rest)).unwrap();
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (0, 3, 0));
        assert_eq!(
            codes(&finished.outcome.failures),
            [(7, "EXECABORT"), (8, "EXECABORT"), (9, "ERR")]
        );
    }
}

#[test]
fn with_its_exec_written_nobody_knows_but_for_what_was_answered() {
    for (replies, expected) in [
        ("", (0, 0, 3)),
        ("+QUEUED\r\n+QUE", (0, 0, 3)),
        ("+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n", (0, 0, 3)),
        (
            "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n-WRONGTYPE x\r\n$10\r\n+QUEU",
            (1, 1, 1),
        ),
        (
            "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$12\r\nx\r\n+QUEUED\r\n\r\n+O",
            (1, 0, 2),
        ),
        (
            "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n",
            (3, 0, 0),
        ),
        ("+QUEUED\r\n-ERR no\r\n+QUEUED\r\n-EXECABORT x\r\n$32", (0, 3, 0)),
    ] {
        let (mut exchange, _) = written(&["SET a 1", "SET b 2", "SET c 3"]);
        exchange.received(replies.as_bytes()).unwrap();
        exchange.disconnected(&lost());
        let finished = only_finished(&mut exchange);
        assert_eq!(
            (counts(&finished), values(&finished.replies).len()),
            (expected, 3),
            "{replies:?}"
        );
        assert_eq!(exchange.take_released().segments.len(), 1);
        assert!(exchange.is_idle());
    }
}

#[test]
fn an_exec_that_can_do_nothing_leaves_nothing_in_doubt() {
    let (mut exchange, _) = written(&["SET a 1", "UNKNOWN b 2", "SET c 3"]);
    exchange.received(b"+QUEUED\r\n-ERR no\r\n").unwrap();
    exchange.disconnected(&lost());
    assert_eq!((exchange.progress(), exchange.take_finished().len()), ((0, 0, 0), 0));
    // Written again, the server says so itself.
    let (mut model, mut session) = (Model::default(), Session::default());
    while !exchange.is_idle() {
        let bytes = write(&mut exchange, usize::MAX);
        exchange.received(&session.feed(&mut model, &bytes)).unwrap();
    }
    let finished = only_finished(&mut exchange);
    assert_eq!((counts(&finished), exchange.resent()), ((0, 3, 0), 3));
    assert_eq!(finished.outcome.errors["EXECABORT"], 2);
}

#[test]
fn a_reply_to_what_was_not_written_again_is_too_early() {
    let first = wire("SET a 1").len();
    let mut exchange = Exchange::new(transactions());
    exchange.push(batch(&["SET a 1", "SET b 2", "SET c 3"]), 0);
    for (commands, answer) in [(2, 2), (1, 1)] {
        write(&mut exchange, usize::MAX);
        exchange.received(b"+OK\r\n").unwrap();
        write(&mut exchange, commands * first + 1);
        exchange.received(&b"+QUEUED\r\n".repeat(answer)).unwrap();
        if commands == 1 {
            exchange.received(b"+QUEUED\r\n").unwrap_err();
        } else {
            exchange.disconnected(&lost());
        }
    }
}

#[test]
fn what_is_given_up_before_its_exec_is_not_done_and_not_written_again() {
    let (mut exchange, _) = written(&["SET a 1"]);
    exchange.push(batch(&["SET b 2", "SET c 3"]), 1);
    write(&mut exchange, MULTI.len() + wire("SET b 2").len());
    exchange.give_up(&lost());
    let finished = exchange.take_finished();
    assert_eq!(finished.iter().map(counts).collect::<Vec<_>>(), [(0, 0, 1), (0, 2, 0)]);
    assert_eq!(exchange.resent(), 0);
    assert_eq!(commands(&write(&mut exchange, usize::MAX)).0.len(), 0);
}
