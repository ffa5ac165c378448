//! What the server refuses for now, and what is sent again over the next connection.

use super::peer::{
    Model, Session, batch, commands, counts, echoed, lost, only_finished, plain, settings, values, write,
};
use super::{Exchange, Settings};
use crate::config::{Replies, Resend, Transaction};
use crate::resp::value::Value;

const OOM: &[u8] = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";

fn patient(settings: Settings) -> Settings {
    Settings {
        waits: true,
        resend: Resend::Idempotent,
        ..settings
    }
}

fn transactions() -> Settings {
    patient(settings(Replies::Collect, Transaction::EachBatch))
}

/// Everything that is written now, in words.
fn written(exchange: &mut Exchange) -> Vec<String> {
    let bytes = write(exchange, usize::MAX);
    commands(&bytes).0.iter().map(|words| words.join(" ")).collect()
}

/// Without the nonces.
fn names(exchange: &mut Exchange) -> Vec<String> {
    let echo = |line: String| {
        if line.starts_with("ECHO") {
            "ECHO".to_owned()
        } else {
            line
        }
    };
    written(exchange).into_iter().map(echo).collect()
}

/// What is written now, and the reply that its fence awaits.
fn fenced(exchange: &mut Exchange) -> (Vec<String>, Vec<u8>) {
    let bytes = write(exchange, usize::MAX);
    let words = commands(&bytes).0.iter().map(|words| words.join(" ")).collect();
    (words, echoed(&bytes))
}

/// Goes on with a server that takes everything.
fn finish(exchange: &mut Exchange) -> Model {
    let (mut model, mut session) = (Model::default(), Session::default());
    while !exchange.is_idle() {
        let bytes = write(exchange, usize::MAX);
        assert!(!bytes.is_empty(), "stuck");
        exchange.received(&session.feed(&mut model, &bytes)).unwrap();
    }
    model
}

#[test]
fn what_is_refused_for_now_is_sent_again_in_order_before_anything_newer() {
    let mut exchange = Exchange::new(patient(settings(Replies::Collect, Transaction::Off)));
    exchange.push(batch(&["SET a 1", "SET b 2", "INCR c 3", "SET d 4"]), 0);
    let (_, nonce) = fenced(&mut exchange);
    exchange
        .received(&[b"+OK\r\n", OOM, OOM, b"+OK\r\n", nonce.as_slice()].concat())
        .unwrap();
    exchange.push(batch(&["SET e 5"]), 4);
    assert!(exchange.is_waiting() && !exchange.is_idle());
    assert!(exchange.take_finished().is_empty());
    assert!(written(&mut exchange).is_empty(), "nothing is written meanwhile");

    exchange.retry();
    assert_eq!(names(&mut exchange), ["SET b 2", "INCR c 3", "ECHO"]);
    assert!(
        written(&mut exchange).is_empty(),
        "nothing newer before those are answered"
    );
    exchange.disconnected(&lost());
    // INCR may have been done by now.
    assert_eq!(names(&mut exchange), ["SET b 2", "ECHO"]);
    let _ = finish_after_loss(&mut exchange);
}

#[test]
fn what_waits_when_the_connection_is_lost_is_not_in_doubt() {
    let mut exchange = Exchange::new(patient(settings(Replies::Collect, Transaction::Off)));
    exchange.push(batch(&["SET a 1", "INCR b 2"]), 0);
    let (_, nonce) = fenced(&mut exchange);
    exchange.received(&[OOM, OOM, nonce.as_slice()].concat()).unwrap();
    assert!(exchange.is_waiting());
    exchange.disconnected(&lost());
    finish(&mut exchange);
    assert_eq!(counts(&only_finished(&mut exchange)), (2, 0, 0));
    assert_eq!(exchange.resent(), 0);
}

/// The connection is lost once more, and the next one takes everything.
fn finish_after_loss(exchange: &mut Exchange) -> Vec<(u64, u64, u64)> {
    exchange.disconnected(&lost());
    finish(exchange);
    let finished = exchange.take_finished();
    for batch in &finished {
        assert_eq!(values(&batch.replies).len() as u64, batch.outcome.commands);
    }
    let outcomes: Vec<_> = finished.iter().map(counts).collect();
    assert_eq!(outcomes, [(3, 0, 1), (1, 0, 0)]);
    outcomes
}

#[test]
fn replies_of_what_was_sent_again_come_in_their_places() {
    let mut exchange = Exchange::new(patient(settings(Replies::Collect, Transaction::Off)));
    exchange.push(batch(&["GETSET a 1", "GETSET b 2", "GETSET c 3", "GETSET d 4"]), 0);
    let (_, nonce) = fenced(&mut exchange);
    let first = [b"$1\r\na\r\n", OOM, b"$1\r\nc\r\n".as_slice(), OOM, &nonce].concat();
    for byte in first.chunks(1) {
        exchange.received(byte).unwrap();
    }
    exchange.retry();
    let (words, nonce) = fenced(&mut exchange);
    assert_eq!(words[..2], ["GETSET b 2", "GETSET d 4"]);
    for byte in [b"$1\r\nb\r\n$1\r\nd\r\n", nonce.as_slice()].concat().chunks(1) {
        exchange.received(byte).unwrap();
    }
    let finished = only_finished(&mut exchange);
    assert_eq!(finished.replies, b"$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
    assert_eq!(counts(&finished), (4, 0, 0));
    assert!(exchange.is_idle());
}

#[test]
fn a_newer_value_stays() {
    let mut exchange = Exchange::new(patient(plain()));
    exchange.push(batch(&["SET a 1", "SET b 2", "GET a 0", "SET a 3"]), 0);
    let (_, nonce) = fenced(&mut exchange);
    let replies = [OOM, OOM, b"$1\r\n0\r\n+OK\r\n", nonce.as_slice()].concat();
    exchange.received(&replies).unwrap();
    exchange.retry();
    let (words, nonce) = fenced(&mut exchange);
    assert_eq!(words[0], "SET b 2");
    assert_eq!(words.len(), 2);
    exchange.received(&[b"+OK\r\n", nonce.as_slice()].concat()).unwrap();
    let finished = only_finished(&mut exchange);
    assert_eq!(counts(&finished), (3, 1, 0));
    assert_eq!(
        (
            finished.outcome.failures[0].index,
            finished.outcome.failures[0].code.as_str()
        ),
        (0, "OOM")
    );
}

#[test]
fn once_patience_is_used_up_refusals_are_failures_until_something_succeeds() {
    let mut exchange = Exchange::new(patient(plain()));
    exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
    exchange.push(batch(&["SET c 3", "SET d 4", "SET e 5"]), 2);
    let bytes = write(&mut exchange, usize::MAX);
    let nonces: Vec<Vec<u8>> = commands(&bytes)
        .0
        .iter()
        .filter(|words| words[0] == "ECHO")
        .map(|words| format!("$32\r\n{}\r\n", words[1]).into_bytes())
        .collect();
    let both = [OOM, OOM, &nonces[0], OOM, OOM, OOM, &nonces[1]].concat();
    exchange.received(&both).unwrap();
    assert!(exchange.is_waiting());
    exchange.be_patient(false);
    exchange.retry();
    let (words, nonce) = fenced(&mut exchange);
    assert_eq!(words.len(), 6);
    // The last one is refused after a success: that one is worth waiting for again.
    exchange
        .received(&[OOM, OOM, OOM, b"+OK\r\n", OOM, nonce.as_slice()].concat())
        .unwrap();
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 2, 0));
    assert!(exchange.is_waiting());
    exchange.retry();
    finish(&mut exchange);
    assert_eq!(counts(&only_finished(&mut exchange)), (2, 1, 0));
}

#[test]
fn what_waits_when_the_work_is_given_up_has_failed_for_the_servers_reason() {
    let mut exchange = Exchange::new(patient(plain()));
    exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
    let (_, nonce) = fenced(&mut exchange);
    exchange.received(&[OOM, b"+OK\r\n", &nonce].concat()).unwrap();
    exchange.give_up(&lost());
    let finished = only_finished(&mut exchange);
    assert_eq!((counts(&finished), finished.outcome.errors["OOM"]), ((1, 1, 0), 1));
    assert_eq!(exchange.take_released().bytes, 54);
}

#[test]
fn a_transaction_that_is_refused_for_now_is_sent_again_whole() {
    let mut exchange = Exchange::new(transactions());
    exchange.push(batch(&["SET a 1", "INCR b 2"]), 0);
    assert_eq!(names(&mut exchange), ["MULTI"]);
    exchange.received(b"+OK\r\n").unwrap();
    let (_, nonce) = fenced(&mut exchange);
    let abort = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
    exchange
        .received(&[OOM, b"+QUEUED\r\n", abort.as_slice(), &nonce].concat())
        .unwrap();
    assert!(exchange.is_waiting());
    exchange.retry();
    assert_eq!(names(&mut exchange), ["MULTI", "SET a 1", "INCR b 2", "EXEC", "ECHO"]);
    exchange.disconnected(&lost());
    // EXEC was written: nobody knows, and INCR cannot be repeated.
    assert_eq!(counts(&only_finished(&mut exchange)), (0, 0, 2));
    assert!(exchange.is_idle());
}

#[test]
fn a_refusal_at_exec_says_why() {
    let mut exchange = Exchange::new(transactions());
    exchange.push(batch(&["SET a 1"]), 0);
    names(&mut exchange);
    exchange.received(b"+OK\r\n").unwrap();
    let (_, nonce) = fenced(&mut exchange);
    let abort = b"-EXECABORT Transaction discarded because of: OOM command not allowed.\r\n";
    exchange
        .received(&[b"+QUEUED\r\n", abort.as_slice(), &nonce].concat())
        .unwrap();
    assert!(exchange.is_waiting());
    exchange.be_patient(false);
    exchange.retry();
    let (_, nonce) = fenced(&mut exchange);
    exchange
        .received(&[b"+OK\r\n+QUEUED\r\n", abort.as_slice(), &nonce].concat())
        .unwrap();
    let finished = only_finished(&mut exchange);
    assert_eq!(
        (counts(&finished), finished.outcome.errors["EXECABORT"]),
        ((0, 1, 0), 1)
    );
}

#[test]
fn a_lost_connection_leaves_what_may_be_repeated_and_the_rest_unknown() {
    for (resend, left, outcome) in [
        (Resend::Idempotent, vec!["SET a 1", "SET d 4", "ECHO"], (2, 0, 2)),
        (
            Resend::All,
            vec!["SET a 1", "INCR b 2", "SET b 3", "SET d 4", "ECHO"],
            (4, 0, 0),
        ),
        (Resend::None, vec![], (0, 0, 4)),
    ] {
        let mut exchange = Exchange::new(Settings {
            resend,
            ..settings(Replies::Collect, Transaction::Off)
        });
        exchange.push(batch(&["SET a 1", "INCR b 2", "SET b 3", "SET d 4"]), 0);
        written(&mut exchange);
        exchange.disconnected(&lost());
        assert_eq!(names(&mut exchange), left, "{resend:?}");
        assert_eq!(exchange.resent(), left.len().saturating_sub(1) as u64);
        exchange.disconnected(&lost());
        finish(&mut exchange);
        let finished = only_finished(&mut exchange);
        assert_eq!(counts(&finished), outcome, "{resend:?}");
        let unknown = |reply: &Value| matches!(reply, Value::Error(text) if text.starts_with(b"RESPIPE_"));
        let places: Vec<bool> = values(&finished.replies).iter().map(unknown).collect();
        let expected = match resend {
            Resend::Idempotent => [false, true, true, false],
            Resend::All => [false; 4],
            Resend::None => [true; 4],
        };
        assert_eq!(places, expected);
    }
}

#[test]
fn what_is_sent_again_and_refused_may_have_been_done_the_first_time() {
    for (command, reply, outcome) in [
        // Depends on the key alone: it was refused the first time too.
        ("LPUSHX a 1", b"-WRONGTYPE x\r\n".as_slice(), (0, 0, 1)),
        ("SADD a 1", b"-WRONGTYPE x\r\n", (0, 1, 0)),
        // Depends on the hour.
        ("SET a 1", OOM, (0, 0, 1)),
    ] {
        let mut exchange = Exchange::new(Settings {
            resend: Resend::All,
            waits: false,
            ..plain()
        });
        exchange.push(batch(&[command]), 0);
        written(&mut exchange);
        exchange.disconnected(&lost());
        let (_, nonce) = fenced(&mut exchange);
        exchange.received(&[reply, &nonce].concat()).unwrap();
        assert_eq!(counts(&only_finished(&mut exchange)), outcome, "{command}");
    }
}

#[test]
fn without_a_fence_nothing_in_doubt_is_sent_again() {
    for settings in [patient(plain()), transactions()] {
        let mut exchange = Exchange::new(settings);
        exchange.push(batch(&["SET a 1"]), 0);
        exchange.push(batch(&["SET b 2"]), 1);
        written(&mut exchange);
        if settings.transaction == Transaction::EachBatch {
            exchange.received(b"+OK\r\n").unwrap();
            written(&mut exchange);
        }
        exchange.disconnected(&lost());
        exchange.unfenced(&lost());
        assert!(exchange.is_idle());
        let finished = exchange.take_finished();
        assert_eq!(finished.iter().map(counts).collect::<Vec<_>>(), [(0, 0, 1); 2]);
    }
}

#[test]
fn given_up_before_it_was_sent_again_it_is_unknown() {
    for settings in [patient(plain()), transactions()] {
        let mut exchange = Exchange::new(settings);
        exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
        written(&mut exchange);
        if settings.transaction == Transaction::EachBatch {
            exchange.received(b"+OK\r\n").unwrap();
            written(&mut exchange);
        }
        exchange.disconnected(&lost());
        exchange.push(batch(&["SET c 3"]), 2);
        exchange.give_up(&lost());
        let finished = exchange.take_finished();
        assert_eq!(
            finished.iter().map(counts).collect::<Vec<_>>(),
            [(0, 0, 2), (0, 1, 0)],
            "{settings:?}"
        );
    }
}

#[test]
fn what_was_sent_again_twice_still_ends_its_batch() {
    for settings in [patient(plain()), transactions()] {
        let mut exchange = Exchange::new(settings);
        exchange.push(batch(&["SET a 1"]), 0);
        let mut input = OOM.to_vec();
        if settings.transaction == Transaction::EachBatch {
            names(&mut exchange);
            exchange.received(b"+OK\r\n").unwrap();
            input.extend(b"-EXECABORT Transaction discarded because of previous errors.\r\n");
        }
        let (_, nonce) = fenced(&mut exchange);
        exchange.received(&[input, nonce].concat()).unwrap();
        exchange.retry();
        names(&mut exchange);
        exchange.disconnected(&lost());
        finish(&mut exchange);
        assert_eq!(counts(&only_finished(&mut exchange)), (1, 0, 0));
    }
}

#[test]
fn a_fence_that_is_refused_for_now_is_another_one_later() {
    const BUSY: &[u8] = b"-BUSY Redis is busy running a script.\r\n";

    let mut exchange = Exchange::new(patient(plain()));
    exchange.push(batch(&["INCR a 1"]), 0);
    exchange.push(batch(&["INCR a 2"]), 1);
    write(&mut exchange, usize::MAX);
    exchange.received(&BUSY.repeat(4)).unwrap();
    assert!(exchange.is_waiting() && exchange.take_finished().is_empty());
    exchange.retry();
    assert_eq!(names(&mut exchange), ["INCR a 1", "INCR a 2", "ECHO"]);
    exchange.received(&BUSY.repeat(3)).unwrap();
    exchange.retry();
    let model = finish(&mut exchange);
    assert_eq!(model.applied, [1, 2]);
    let finished = exchange.take_finished();
    assert_eq!(finished.iter().map(counts).collect::<Vec<_>>(), [(1, 0, 0); 2]);
}
