//! What each reply means, and what is left when a connection or the trust in it is lost.

use std::io::IoSlice;

use super::peer::{
    Model, Session, batch, batch_within, commands, counts, echoed, lost, only_finished, plain, protocol, settings,
    values, wire, write,
};
use super::{Exchange, Listening, Settings};
use crate::config::{Replies, Transaction};
use crate::resp::value::Value;

fn collecting() -> Settings {
    settings(Replies::Collect, Transaction::Off)
}

/// A batch that is wholly written; the bytes that its fence awaits.
fn written(settings: Settings, commands: &[&str]) -> (Exchange, Vec<u8>) {
    let mut exchange = Exchange::new(settings);
    exchange.push(batch(commands), 0);
    let nonce = echoed(&write(&mut exchange, usize::MAX));
    (exchange, nonce)
}

fn violation(exchange: &mut Exchange, input: &[u8]) -> String {
    exchange.received(input).expect_err("a violation").to_string()
}

#[test]
fn a_batch_finishes_at_its_fence_and_not_before() {
    let (mut exchange, nonce) = written(plain(), &["SET a 1", "GETSET a 2", "SET a 3"]);
    exchange.received(b"+OK\r\n$1\r\n1\r\n$-1\r\n").unwrap();
    assert!(exchange.take_finished().is_empty());
    assert_eq!((exchange.progress(), exchange.answered()), ((3, 0, 0), 3));
    assert_eq!(exchange.take_released().segments.len(), 1);
    exchange.received(&nonce[..20]).unwrap();
    assert!(exchange.take_finished().is_empty());
    exchange.received(&nonce[20..]).unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (3, 0, 0));
    assert!(exchange.is_idle());
    assert_eq!(exchange.in_flight(), 0);
}

#[test]
fn every_split_of_the_replies_says_the_same() {
    let replies = b">2\r\n+invalidate\r\n$1\r\nk\r\n+OK\r\n:7\r\n-WRONGTYPE no\r\n$4\r\na\r\nb\r\n|1\r\n+ttl\r\n:1\r\n*2\r\n+x\r\n$-1\r\n";
    let words = ["SET a 1", "INCR b 2", "LPUSH c 3", "GETSET d 4", "GETSET e 5"];
    let whole = [
        b"+OK\r\n:7\r\n-WRONGTYPE no\r\n$4\r\na\r\nb\r\n".as_slice(),
        b"*2\r\n+x\r\n$-1\r\n",
    ]
    .concat();
    for size in 1..replies.len() {
        let (mut exchange, nonce) = written(collecting(), &words);
        for piece in [replies.as_slice(), &nonce].concat().chunks(size) {
            exchange.received(piece).unwrap();
        }
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (4, 1, 0));
        assert_eq!(finished.replies, whole, "pieces of {size}");
        let failure = &finished.outcome.failures[0];
        assert_eq!((failure.index, failure.command.as_str()), (2, "LPUSH"));
        assert_eq!(
            (failure.key.as_deref(), failure.code.as_str()),
            (Some(&b"c"[..]), "WRONGTYPE")
        );
        assert_eq!(failure.message, "WRONGTYPE no");
    }
}

#[test]
fn no_more_than_the_window_is_in_flight_and_a_larger_frame_goes_alone() {
    let window = 200;
    let mut exchange = Exchange::new(Settings {
        max_in_flight: window,
        ..plain()
    });
    let large = format!("SET large {}", "9".repeat(1000));
    let small: Vec<String> = (0..20).map(|tag| format!("SET key:{tag} {tag}")).collect();
    exchange.push(batch_within(window, &small), 0);
    exchange.push(batch_within(window, &[large]), 20);
    exchange.push(batch_within(window, &small), 21);
    let (mut model, mut session, mut alone) = (Model::default(), Session::default(), 0);
    while !exchange.is_idle() {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = exchange.writable(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        exchange.wrote(bytes.len());
        if exchange.in_flight() > window {
            assert_eq!(
                (filled, exchange.in_flight()),
                (1, wire(&format!("SET large {}", "9".repeat(1000))).len())
            );
            alone += 1;
        }
        // One command large enough to be refused here would be the model's fault.
        let bytes = String::from_utf8(bytes).unwrap().replace(&"9".repeat(1000), "999");
        let bytes = bytes.replace("$1000\r\n", "$3\r\n");
        exchange.received(&session.feed(&mut model, bytes.as_bytes())).unwrap();
    }
    assert_eq!((alone, model.applied.len()), (1, 41));
}

#[test]
fn what_was_begun_is_finished_though_the_window_is_full() {
    let mut exchange = Exchange::new(Settings {
        max_in_flight: 10,
        ..plain()
    });
    exchange.push(batch(&["SET a 1"]), 0);
    let length = wire("SET a 1").len();
    assert_eq!(write(&mut exchange, 5).len(), 5);
    assert_eq!(write(&mut exchange, usize::MAX).len(), length - 5);
    exchange.received(b"+OK\r\n").unwrap();
    assert_eq!(write(&mut exchange, usize::MAX).len(), 53);
}

#[test]
fn a_partly_written_frame_is_answered_up_to_its_last_whole_command() {
    let first = wire("SET a 1").len();
    for (bytes, allowed) in [(first - 1, 0), (first, 1), (first + 5, 1), (2 * first, 2)] {
        let mut exchange = Exchange::new(plain());
        exchange.push(batch(&["SET a 1", "SET b 2", "SET c 3"]), 0);
        write(&mut exchange, bytes);
        for _ in 0..allowed {
            exchange.received(b"+OK\r\n").unwrap();
        }
        let message = violation(&mut exchange, b"+OK\r\n");
        assert_eq!(
            message, "a reply to what was not written yet: +OK\\r\\n",
            "{bytes} bytes"
        );
    }
}

#[test]
fn pushes_may_come_at_any_time() {
    let push = b">2\r\n+message\r\n$2\r\nhi\r\n|1\r\n+k\r\n+v\r\n";
    for transaction in [Transaction::Off, Transaction::EachBatch] {
        for size in 1..=push.len() {
            let mut exchange = Exchange::new(settings(Replies::Collect, transaction));
            let say = |exchange: &mut Exchange, input: &[u8]| {
                for piece in push.chunks(size) {
                    exchange.received(piece).unwrap();
                }
                exchange.received(input).unwrap();
            };
            let (mut model, mut session) = (Model::default(), Session::default());
            say(&mut exchange, b"");
            exchange.push(batch(&["SET a 1", "GETSET b 2"]), 0);
            while !exchange.is_idle() {
                // Before anything of a frame is written, and when it is half written.
                say(&mut exchange, b"");
                let bytes = write(&mut exchange, 7);
                let replies = session.feed(&mut model, &bytes);
                say(&mut exchange, &replies);
            }
            let finished = only_finished(&mut exchange);
            assert_eq!(counts(&finished), (2, 0, 0));
            assert_eq!(finished.replies, b"+OK\r\n$-1\r\n");
        }
    }
}

#[test]
fn a_fence_before_the_last_reply_is_a_violation_in_every_split() {
    let words = ["SET a 1", "SET b 2", "GET c"];
    let (_, nonce) = written(plain(), &words);
    for size in 1..nonce.len() + 10 {
        let (mut exchange, nonce) = written(collecting(), &words);
        let input = [b"+OK\r\n+OK\r\n".as_slice(), &nonce].concat();
        let told = input.chunks(size).find_map(|piece| exchange.received(piece).err());
        assert_eq!(
            told.expect("a violation").to_string(),
            "the fence was answered before all commands were",
            "{size}"
        );
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 3));
    }
    // A value that only begins like it is a value.
    let (mut exchange, nonce) = written(collecting(), &words);
    let mut alike = nonce.clone();
    alike[36] ^= 1;
    exchange
        .received(&[b"+OK\r\n+OK\r\n".as_slice(), &alike, &nonce].concat())
        .unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (3, 0, 0));
}

#[test]
fn a_fence_that_does_not_fit_is_a_violation() {
    let ok = b"+OK\r\n".as_slice();
    let wrong = b"$32\r\n00000000000000000000000000000000\r\n".as_slice();
    let (_, other) = written(plain(), &["SET a 1"]);
    for (input, what) in [
        ([ok, ok, ok].concat(), "too many replies"),
        (ok.to_vec(), "too few: the nonce is taken for the second"),
        ([ok, ok, wrong].concat(), "a wrong nonce"),
        ([ok, ok, &other].concat(), "another batch's nonce"),
        ([ok, ok, b"$31\r\n"].concat(), "a shorter nonce"),
        ([ok, ok, b"-ERR x\r\n"].concat(), "an error in its place"),
        ([ok, ok, b":1\r\n"].concat(), "a number in its place"),
        (
            [b"-ERR a\r\n+b\r\n".as_slice(), ok].concat(),
            "a line end smuggled into an error",
        ),
        ([ok, b"$1\r\n+OK\r\n"].concat(), "a wrong length"),
    ] {
        let (mut exchange, nonce) = written(collecting(), &["SET a 1", "SET b 2"]);
        exchange.push(batch(&["SET c 3"]), 0);
        let next = echoed(&write(&mut exchange, usize::MAX));
        let input = [input, nonce, ok.to_vec(), next].concat();
        exchange.received(&input).expect_err(what);
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        let finished = exchange.take_finished();
        assert_eq!(
            finished.iter().map(counts).collect::<Vec<_>>(),
            [(0, 0, 2), (0, 0, 1)],
            "{what}"
        );
        for finished in finished {
            assert_eq!(
                finished.error.as_ref().map(|error| error.code()),
                Some("RESPIPE_PROTOCOL")
            );
            assert_eq!(
                values(&finished.replies).len() as u64,
                finished.outcome.commands,
                "{what}"
            );
        }
    }
}

#[test]
fn a_nonce_of_other_case_is_a_violation() {
    let (mut exchange, nonce) = written(plain(), &["SET a 1"]);
    exchange.received(b"+OK\r\n").unwrap();
    violation(&mut exchange, &nonce.to_ascii_uppercase());
}

#[test]
fn what_nothing_asked_for_is_a_violation_from_its_first_byte() {
    for (input, said) in [
        (b"+".as_slice(), "a reply that nothing asked for: +"),
        (b"$5\r\nhe", "a reply that nothing asked for: $5\\r\\nhe"),
        (b"-ERR max idle time\r\n", "the server says: ERR max idle time"),
        (b"?", "unknown type of reply at byte 0: ?"),
    ] {
        let (mut exchange, nonce) = written(plain(), &["SET a 1"]);
        exchange.received(&[b"+OK\r\n", nonce.as_slice()].concat()).unwrap();
        assert!(violation(&mut exchange, input).starts_with(said.split(" at byte").next().unwrap()));
    }
    let mut exchange = Exchange::new(plain());
    exchange.push(batch(&["SET a 1"]), 0);
    let message = violation(&mut exchange, b"-ERR bye\r\n");
    assert_eq!(message, "the server says: ERR bye");
}

#[test]
fn the_servers_last_words_are_no_reply() {
    let (mut exchange, _) = written(plain(), &["SET a 1", "SET b 2"]);
    let message = violation(&mut exchange, b"+OK\r\n-ERR Protocol error: expected '$', got 'x'\r\n");
    assert_eq!(message, "the server says: ERR Protocol error: expected '$', got 'x'");
    exchange.distrust(&protocol());
    exchange.give_up(&protocol());
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 2));
}

#[test]
fn only_the_first_failures_keep_their_details_unless_somebody_listens() {
    let failing: Vec<String> = (0..10).map(|tag| format!("LPUSH key:{tag} {tag}")).collect();
    for listening in [Listening::No, Listening::Yes] {
        let mut exchange = Exchange::new(Settings {
            max_failures: 3,
            listening,
            ..plain()
        });
        exchange.push(batch_within(1 << 20, &failing), 100);
        let nonce = echoed(&write(&mut exchange, usize::MAX));
        exchange
            .received(&[b"-WRONGTYPE x\r\n".repeat(9), b"-OOM y\r\n".to_vec(), nonce].concat())
            .unwrap();
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), (0, 10, 0));
        assert_eq!(finished.outcome.errors["WRONGTYPE"], 9);
        assert_eq!(finished.outcome.errors["OOM"], 1);
        let indices = |failures: &[crate::outcome::Failure]| failures.iter().map(|one| one.index).collect::<Vec<_>>();
        assert_eq!(indices(&finished.outcome.failures), [100, 101, 102]);
        let heard = exchange.take_overheard();
        match listening {
            Listening::No => assert!(heard.is_empty()),
            Listening::Yes => {
                assert_eq!(indices(&heard), (100..110).collect::<Vec<_>>());
                assert_eq!(heard[9].key.as_deref(), Some(&b"key:9"[..]));
            }
        }
    }
}

#[test]
fn a_lost_connection_leaves_what_was_not_written() {
    let mut exchange = Exchange::new(collecting());
    exchange.push(batch(&["SET a 1", "SET b 2", "SET c 3"]), 0);
    exchange.push(batch(&["SET d 4"]), 3);
    let first = wire("SET a 1").len();
    write(&mut exchange, 2 * first + 3);
    exchange.received(b"+OK\r\n+O").unwrap();
    exchange.disconnected(&lost());
    assert!(exchange.take_finished().is_empty());
    assert_eq!((exchange.progress(), exchange.in_flight()), ((1, 0, 1), 0));
    let (left, _) = commands(&write(&mut exchange, usize::MAX));
    let names: Vec<String> = left.iter().map(|words| words[..2].join(" ")).collect();
    assert_eq!((names[0].as_str(), names[2].as_str()), ("SET c", "SET d"));
    assert_eq!((left.len(), exchange.resent()), (4, 0));
    exchange.received(b"-OOM no\r\n").unwrap();
    exchange
        .received(format!("$32\r\n{}\r\n", left[1][1]).as_bytes())
        .unwrap();
    let finished = only_finished(&mut exchange);
    assert_eq!(counts(&finished), (1, 1, 1));
    assert_eq!(finished.outcome.failures[0].index, 2);
    assert_eq!(
        values(&finished.replies),
        [
            Value::Text(b"OK".to_vec()),
            Value::Error(b"RESPIPE_CONNECTION_LOST unknown whether executed: connection to h:1 lost: reset".to_vec()),
            Value::Error(b"OOM no".to_vec()),
        ]
    );
}

#[test]
fn a_batch_that_lacks_only_its_fence_needs_no_other_connection() {
    let mut exchange = Exchange::new(plain());
    exchange.push(batch(&["SET a 1"]), 0);
    write(&mut exchange, wire("SET a 1").len());
    exchange.received(b"+OK\r\n").unwrap();
    exchange.disconnected(&lost());
    let finished = only_finished(&mut exchange);
    assert_eq!((counts(&finished), finished.error.is_none()), ((1, 0, 0), true));
    assert!(exchange.is_idle());
}

#[test]
fn giving_up_fails_what_was_not_written_and_spares_what_is_over() {
    let mut exchange = Exchange::new(Settings {
        max_failures: 2,
        ..collecting()
    });
    exchange.push(batch(&["SET z 0"]), 0);
    let nonce = echoed(&write(&mut exchange, usize::MAX));
    exchange.push(batch(&["SET a 1", "SET b 2", "SET c 3"]), 10);
    exchange.push(batch(&["SET d 4"; 5]), 13);
    write(&mut exchange, wire("SET a 1").len());
    exchange.received(&[b"+OK\r\n".as_slice(), &nonce].concat()).unwrap();
    exchange.give_up(&lost());
    let finished = exchange.take_finished();
    let errors: Vec<bool> = finished.iter().map(|finished| finished.error.is_some()).collect();
    assert_eq!(errors, [false, true, true]);
    assert_eq!(
        finished.iter().map(counts).collect::<Vec<_>>(),
        [(1, 0, 0), (0, 2, 1), (0, 5, 0)]
    );
    assert_eq!(finished[2].outcome.errors["RESPIPE_CONNECTION_LOST"], 5);
    let indices: Vec<u64> = finished[2]
        .outcome
        .failures
        .iter()
        .map(|failure| failure.index)
        .collect();
    assert_eq!(indices, [13, 14]);
    assert_eq!(finished[1].outcome.failures[0].index, 11);
    for finished in &finished {
        assert_eq!(values(&finished.replies).len() as u64, finished.outcome.commands);
    }
    let released = exchange.take_released();
    let bytes: u64 = finished.iter().map(|finished| finished.outcome.bytes).sum();
    assert_eq!((released.bytes as u64, released.segments.len()), (bytes, 3));
    assert!(exchange.is_idle());
}

#[test]
fn distrust_in_the_middle_of_a_collected_reply_leaves_whole_ones() {
    let (mut exchange, _) = written(collecting(), &["SET a 1", "GETSET b 2", "SET c 3"]);
    exchange.received(b"+OK\r\n$5\r\nhel").unwrap();
    violation(&mut exchange, b"lo?");
    exchange.distrust(&protocol());
    exchange.give_up(&protocol());
    let finished = only_finished(&mut exchange);
    assert_eq!((counts(&finished), values(&finished.replies).len()), ((0, 0, 3), 3));
}

#[test]
fn a_batch_without_commands_is_a_fence_alone() {
    for transaction in [Transaction::Off, Transaction::EachBatch] {
        let mut exchange = Exchange::new(settings(Replies::Collect, transaction));
        exchange.push(batch(&[]), 0);
        let bytes = write(&mut exchange, usize::MAX);
        assert_eq!(bytes.len(), 53);
        exchange.received(&echoed(&bytes)).unwrap();
        assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 0));
    }
}

#[test]
fn nonces_are_hexadecimal_and_differ() {
    let nonces: std::collections::HashSet<Vec<u8>> = (0..100)
        .map(|_| {
            let mut exchange = Exchange::new(plain());
            exchange.push(batch(&[]), 0);
            echoed(&write(&mut exchange, usize::MAX))
        })
        .collect();
    assert_eq!(nonces.len(), 100);
    for nonce in nonces {
        let digits = &nonce[5..37];
        assert!(
            digits
                .iter()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
        );
    }
}

#[test]
fn a_connection_takes_its_share_of_batches_and_no_more() {
    for transaction in [Transaction::Off, Transaction::EachBatch] {
        let mut exchange = Exchange::new(Settings {
            reconnect_every: 2,
            ..settings(Replies::Check, transaction)
        });
        (0..5).for_each(|tag| exchange.push(batch(&[&format!("SET a {tag}"), "LPUSH a x"]), 0));
        let mut model = Model::default();
        for (batches, left) in [(2, 3), (2, 1), (1, 0)] {
            let mut session = Session::default();
            let mut finished = 0;
            // Whatever is answered in between, no batch of the next connection is written.
            loop {
                let written = write(&mut exchange, usize::MAX);
                if written.is_empty() {
                    break;
                }
                assert!(!exchange.is_spent(), "not before it is answered");
                exchange.received(&session.feed(&mut model, &written)).unwrap();
                finished += exchange.take_finished().len();
            }
            assert_eq!(finished, batches);
            assert_eq!(exchange.is_spent(), batches == 2);
            assert_eq!(exchange.is_idle(), left == 0);
            exchange.replaced();
            assert!(!exchange.is_spent());
        }
    }
}

#[test]
fn the_next_connection_is_wanted_when_half_the_share_is_there() {
    for (every, half) in [(1, 1), (2, 1), (3, 2), (10, 5)] {
        let mut exchange = Exchange::new(Settings {
            reconnect_every: every,
            ..plain()
        });
        for written in 1..=every {
            assert_eq!(exchange.is_half_spent(), written > half, "{written} of {every}");
            exchange.push(batch(&["SET a 1"]), 0);
            write(&mut exchange, usize::MAX);
        }
        assert!(exchange.is_half_spent());
    }
    let mut ahead = Exchange::new(Settings {
        reconnect_every: 10,
        ..plain()
    });
    (0..4).for_each(|_| ahead.push(batch(&["SET a 1"]), 0));
    assert!(!ahead.is_half_spent(), "nothing is written yet");
    write(&mut ahead, 1);
    assert!(!ahead.is_half_spent());
    ahead.push(batch(&["SET a 1"]), 0);
    assert!(ahead.is_half_spent());

    let mut never = Exchange::new(plain());
    never.push(batch(&["SET a 1"]), 0);
    write(&mut never, usize::MAX);
    assert!(!never.is_half_spent());
}
