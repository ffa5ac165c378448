//! Commands that end their connection: each has its own outcome, and no other command loses its own to it.

use super::Exchange;
use super::peer::{batch, commands, counts, echoed, lost, only_finished, plain, settings, values, wire, write};
use super::{Broken, Settings};
use crate::config::{Replies, Resend, Transaction};
use crate::outcome::Failure;
use crate::resp::value::Value;

const UNREADABLE: &[u8] = b"-ERR Protocol error: invalid bulk length\r\n";

/// The connection ends because of a command that the server cannot read.
fn unreadable(exchange: &mut Exchange, said: &[u8]) {
    match exchange.received(said) {
        Err(Broken::Unreadable(reason)) => {
            assert_eq!(reason, "the server says: ERR Protocol error: invalid bulk length");
        }
        other => panic!("{other:?}"),
    }
    exchange.disconnected(&lost());
}

/// What is written next: the names and keys of the commands, without fences.
fn next(exchange: &mut Exchange) -> (Vec<String>, Vec<u8>) {
    let bytes = write(exchange, usize::MAX);
    let (commands, _) = commands(&bytes);
    let words = commands
        .iter()
        .filter(|words| words[0] != "ECHO")
        .map(|words| words.join(" "));
    (words.collect(), bytes)
}

fn failure(failure: &Failure) -> (u64, &str, &str, Option<&[u8]>) {
    (failure.index, &failure.code, &failure.command, failure.key.as_deref())
}

#[test]
fn only_the_command_that_cannot_be_read_has_failed() {
    for replies in [Replies::Check, Replies::Collect] {
        let mut exchange = Exchange::new(settings(replies, Transaction::Off));
        exchange.push(batch(&["INCR a 1", "SET big 2", "INCR b 3"]), 10);
        exchange.push(batch(&["INCR c 4"]), 13);
        write(&mut exchange, usize::MAX);
        unreadable(&mut exchange, &[b":1\r\n".as_slice(), UNREADABLE].concat());
        assert_eq!(exchange.in_flight(), 0);

        let (words, bytes) = next(&mut exchange);
        assert_eq!(words, ["INCR b 3", "INCR c 4"]);
        assert_eq!(exchange.resent(), 2, "both were written before");
        let fence = |at: usize| {
            let (commands, _) = commands(&bytes);
            format!("$32\r\n{}\r\n", commands[at][1])
        };
        exchange
            .received(format!(":2\r\n{}:3\r\n{}", fence(1), fence(3)).as_bytes())
            .unwrap();
        let finished = exchange.take_finished();
        assert_eq!(finished.iter().map(counts).collect::<Vec<_>>(), [(2, 1, 0), (1, 0, 0)]);
        let failures = &finished[0].outcome.failures;
        assert_eq!(
            failures.iter().map(failure).collect::<Vec<_>>(),
            [(11, "ERR", "SET", Some(&b"big"[..]))]
        );
        assert_eq!(failures[0].message, "ERR Protocol error: invalid bulk length");
        if replies == Replies::Collect {
            let refusal = Value::Error(b"ERR Protocol error: invalid bulk length".to_vec());
            assert_eq!(
                values(&finished[0].replies),
                [Value::Integer(1), refusal, Value::Integer(2)]
            );
        }
        assert!(exchange.is_idle());
    }
}

#[test]
fn the_server_may_say_so_before_it_has_all_of_the_command() {
    let (first, second) = (wire("INCR a 1").len(), wire("SET big 2").len());
    // Of what is written nothing is too much: all of the command, or its first byte; others behind it, or none.
    for written in [first + 1, first + second - 1, first + second, first + second + 4] {
        for cut in 0..UNREADABLE.len() {
            let mut exchange = Exchange::new(plain());
            exchange.push(batch(&["INCR a 1", "SET big 2", "INCR b 3"]), 0);
            write(&mut exchange, written);
            exchange.received(b":1\r\n").unwrap();
            exchange.received(&UNREADABLE[..cut]).unwrap();
            unreadable(&mut exchange, &UNREADABLE[cut..]);
            assert_eq!((exchange.progress(), exchange.in_flight()), ((1, 1, 0), 0));
            assert_eq!(next(&mut exchange).0, ["INCR b 3"]);
            assert_eq!(exchange.resent(), 0, "it was never written whole");
        }
    }
}

#[test]
fn the_last_command_of_all_can_be_the_one() {
    for written in [wire("SET big 1").len() - 1, usize::MAX] {
        let mut exchange = Exchange::new(plain());
        exchange.push(batch(&["SET big 1"]), 0);
        write(&mut exchange, written);
        unreadable(&mut exchange, UNREADABLE);
        assert!(exchange.is_idle());
        assert_eq!(counts(&only_finished(&mut exchange)), (0, 1, 0));
        let released = exchange.take_released();
        assert_eq!((released.bytes, released.segments.len()), (wire("SET big 1").len(), 1));
    }
}

#[test]
fn an_error_that_is_no_such_thing_is_still_a_violation() {
    let first = wire("SET a 1").len();
    for (written, said) in [
        (usize::MAX, "ERR Protocol error: expected '$', got 'x'"),
        (first + 1, "ERR Protocol error: expected '$', got 'x'"),
        // Not the reply to what is not there yet.
        (first + 1, "ERR max number of clients reached"),
        (first, "ERR Protocol error: invalid bulk length"),
    ] {
        let mut exchange = Exchange::new(plain());
        exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
        write(&mut exchange, written);
        exchange.received(b"+OK\r\n").unwrap();
        match exchange.received(format!("-{said}\r\n").as_bytes()) {
            Err(Broken::Violation(message)) => assert_eq!(message, format!("the server says: {said}")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_script_says_ends_no_connection() {
    for said in [
        "ERR Protocol error: invalid bulk length",
        "ERR Protocol error: expected '$'",
    ] {
        let mut exchange = Exchange::new(plain());
        exchange.push(batch(&["EVAL return 0", "FT.ADD x 1", "INCR a 1"]), 0);
        let nonce = echoed(&write(&mut exchange, usize::MAX));
        let error = format!("-{said}\r\n");
        exchange
            .received(&[error.as_bytes(), error.as_bytes(), b":1\r\n", &nonce].concat())
            .unwrap();
        assert_eq!(counts(&only_finished(&mut exchange)), (1, 2, 0));
    }
}

#[test]
fn a_script_that_is_too_long_is_not_executed_either() {
    let mut exchange = Exchange::new(plain());
    let long = format!("EVAL {} 0", "x".repeat((1 << 20) + 1));
    exchange.push(batch(&[&long, "INCR a 1"]), 0);
    write(&mut exchange, usize::MAX);
    unreadable(&mut exchange, UNREADABLE);
    assert_eq!(next(&mut exchange).0, ["INCR a 1"]);
}

#[test]
fn what_was_in_doubt_before_stays_in_doubt_but_for_the_command_itself() {
    let mut exchange = Exchange::new(Settings {
        resend: Resend::Idempotent,
        ..plain()
    });
    exchange.push(batch(&["SET a 1", "SET a 2", "SET b 3"]), 0);
    write(&mut exchange, usize::MAX);
    exchange.disconnected(&lost());
    write(&mut exchange, usize::MAX);
    unreadable(&mut exchange, UNREADABLE);
    let (words, bytes) = next(&mut exchange);
    assert_eq!(words, ["SET a 2", "SET b 3"]);
    let said = [b"-OOM x\r\n-WRONGTYPE x\r\n".to_vec(), echoed(&bytes)].concat();
    exchange.received(&said).unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 2, 1));
}

#[test]
fn a_transaction_with_it_does_nothing_and_the_others_go_on() {
    for (replies, written) in [
        (Replies::Check, 5),
        (Replies::Collect, 0),
        (Replies::Collect, 3),
        (Replies::Collect, 999),
    ] {
        let mut exchange = Exchange::new(settings(replies, Transaction::EachBatch));
        exchange.push(batch(&["INCR a 1"]), 0);
        exchange.push(batch(&["INCR a 2", "SET big 3", "INCR b 4"]), 1);
        exchange.push(batch(&["INCR c 5"]), 4);
        write(&mut exchange, usize::MAX);
        exchange.received(b"+OK\r\n").unwrap();
        let whole = wire("INCR a 1").len() + b"*1\r\n$4\r\nEXEC\r\n".len() + 53 + b"*1\r\n$5\r\nMULTI\r\n".len();
        let bytes = write(&mut exchange, whole + wire("INCR a 2").len() + 1 + written);
        let said = [
            b"+QUEUED\r\n*1\r\n:1\r\n".to_vec(),
            echoed(&bytes),
            b"+OK\r\n+QUEUED\r\n".to_vec(),
        ]
        .concat();
        exchange.received(&said).unwrap();
        assert_eq!(counts(&only_finished(&mut exchange)), (1, 0, 0));
        unreadable(&mut exchange, UNREADABLE);
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (0, 3, 0));
        let failures: Vec<_> = finished.outcome.failures.iter().map(failure).collect();
        assert_eq!(
            failures,
            [
                (1, "EXECABORT", "INCR", Some(&b"a"[..])),
                (2, "ERR", "SET", Some(&b"big"[..])),
                (3, "EXECABORT", "INCR", Some(&b"b"[..]))
            ]
        );
        if replies == Replies::Collect {
            let errors: Vec<bool> = values(&finished.replies)
                .iter()
                .map(|reply| matches!(reply, Value::Error(text) if text.starts_with(b"ERR Protocol")))
                .collect();
            assert_eq!(errors, [false, true, false]);
        }
        assert_eq!(next(&mut exchange).0, ["MULTI"]);
        exchange.received(b"+OK\r\n").unwrap();
        assert_eq!(next(&mut exchange).0, ["INCR c 5", "EXEC"]);
    }
}

#[test]
fn with_a_checkpoint_the_others_of_its_batch_are_done() {
    for replies in [Replies::Check, Replies::Collect] {
        let mut exchange = Exchange::new(Settings {
            one_at_a_time: true,
            ..settings(replies, Transaction::EachBatch)
        });
        exchange.push_marked(
            batch(&["INCR a 1", "SET big 2", "INCR b 3"]),
            0,
            Some(wire("HSET mark 1")),
        );
        exchange.push_marked(batch(&["INCR c 4"]), 3, Some(wire("HSET mark 2")));
        write(&mut exchange, usize::MAX);
        exchange.received(b"+OK\r\n").unwrap();
        write(&mut exchange, wire("INCR a 1").len() + 9);
        unreadable(&mut exchange, &[b"+QUEUED\r\n".as_slice(), UNREADABLE].concat());
        assert_eq!(next(&mut exchange).0, ["MULTI"]);
        exchange.received(b"+OK\r\n").unwrap();
        let (words, bytes) = next(&mut exchange);
        assert_eq!(words, ["INCR a 1", "INCR b 3", "HSET mark 1", "EXEC"]);
        exchange
            .received(b"+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:1\r\n:1\r\n")
            .unwrap();
        // That of what is sent again, and that of the batch.
        for fence in commands(&bytes).0.iter().filter(|words| words[0] == "ECHO") {
            let fence = format!("$32\r\n{}\r\n", fence[1]);
            exchange.received(fence.as_bytes()).unwrap();
        }
        let finished = only_finished(&mut exchange);
        assert_eq!((counts(&finished), finished.executed), ((2, 1, 0), true));
        assert_eq!(finished.outcome.failures[0].index, 1);
        if replies == Replies::Collect {
            assert_eq!(values(&finished.replies).len(), 3);
        }
    }
}

#[test]
fn what_the_next_connection_holds_is_not_executed_either() {
    let mut exchange = Exchange::new(Settings {
        reconnect_every: 1,
        ..plain()
    });
    exchange.push(batch(&["SET big 1", "INCR a 2"]), 0);
    exchange.push(batch(&["INCR b 3"]), 2);
    write(&mut exchange, usize::MAX);
    assert!(exchange.may_hand_over());
    exchange.hand_over(b"*1\r\n$7\r\nRELEASE\r\n".to_vec());
    write(&mut exchange, usize::MAX);
    assert!(exchange.writes_to_next());
    unreadable(&mut exchange, UNREADABLE);
    let (words, bytes) = next(&mut exchange);
    assert_eq!(words, ["INCR a 2"]);
    exchange
        .received(&[b":1\r\n".to_vec(), echoed(&bytes)].concat())
        .unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (1, 1, 0));
    exchange.replaced();
    assert_eq!(next(&mut exchange).0, ["INCR b 3"]);
}

#[test]
fn given_up_behind_it_the_others_are_not_executed() {
    let mut exchange = Exchange::new(plain());
    exchange.push(batch(&["SET big 1", "INCR a 2"]), 0);
    write(&mut exchange, usize::MAX);
    assert!(matches!(exchange.received(UNREADABLE), Err(Broken::Unreadable(_))));
    exchange.give_up(&lost());
    let finished = only_finished(&mut exchange);
    assert_eq!(counts(&finished), (0, 2, 0));
    assert_eq!(finished.outcome.errors["RESPIPE_CONNECTION_LOST"], 1);
}
