//! Batches with and without MULTI … EXEC by turns, over one connection.

use super::peer::{Model, Session, batch, batch_within, commands, counts, lost, protocol, settings, values, write};
use super::{Exchange, Finished, Settings};
use crate::batch::Wrap;
use crate::config::{Replies, Resend, Transaction};
use crate::resp::value::Value;

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn mixed() -> Settings {
    settings(Replies::Collect, Transaction::Off)
}

fn patient() -> Settings {
    Settings {
        waits: true,
        resend: Resend::Idempotent,
        ..mixed()
    }
}

/// Batches of commands that are parted by commas; those in brackets are transactions.
fn load(settings: Settings, batches: &[&str]) -> Exchange {
    let mut exchange = Exchange::new(settings);
    let mut index = 0;
    for text in batches {
        let (wrap, text) = match text.strip_prefix('[') {
            Some(inner) => (Wrap::Always, inner.trim_end_matches(']')),
            None => (Wrap::AsConfigured, *text),
        };
        let commands: Vec<&str> = text.split(", ").collect();
        let mut batch = batch(&commands);
        batch.wrap = wrap;
        exchange.push(batch, index);
        index += commands.len() as u64;
    }
    exchange
}

/// What is written now, fences by their name alone, and the replies: `answer`'s, and those of the fences.
fn written(exchange: &mut Exchange, mut answer: impl FnMut(&str) -> &'static str) -> (Vec<String>, Vec<u8>) {
    let (mut lines, mut replies) = (Vec::new(), Vec::new());
    for words in commands(&write(exchange, usize::MAX)).0 {
        if words[0] == "ECHO" {
            replies.extend_from_slice(format!("$32\r\n{}\r\n", words[1]).as_bytes());
            lines.push("ECHO".to_owned());
        } else {
            let line = words.join(" ");
            replies.extend_from_slice(answer(&line).as_bytes());
            lines.push(line);
        }
    }
    (lines, replies)
}

/// The same, and the machine hears them.
fn answered(exchange: &mut Exchange, answer: impl FnMut(&str) -> &'static str) -> Vec<String> {
    let (lines, replies) = written(exchange, answer);
    exchange.received(&replies).unwrap();
    lines
}

fn finish(exchange: &mut Exchange, model: &mut Model) {
    let mut session = Session::default();
    while !exchange.is_idle() {
        let bytes = write(exchange, usize::MAX);
        assert!(!bytes.is_empty(), "stuck");
        exchange.received(&session.feed(model, &bytes)).unwrap();
    }
}

fn all_counts(exchange: &mut Exchange) -> Vec<(u64, u64, u64)> {
    exchange.take_finished().iter().map(counts).collect()
}

const LOAD: [&str; 4] = ["SET a 0, SET b 1", "[SET a 2, GETSET b 3]", "INCR c 4", "[INCR c 5]"];

#[test]
fn only_what_is_a_transaction_is_framed_and_the_first_multi_is_awaited() {
    let mut exchange = load(mixed(), &LOAD);
    let (lines, replies) = written(&mut exchange, |_| "+OK\r\n");
    assert_eq!(lines, ["SET a 0", "SET b 1", "ECHO", "MULTI"]);
    exchange.received(&replies).unwrap();
    let (lines, _) = written(&mut exchange, |_| "");
    assert_eq!(
        lines,
        [
            "SET a 2",
            "GETSET b 3",
            "EXEC",
            "ECHO",
            "INCR c 4",
            "ECHO",
            "MULTI",
            "INCR c 5",
            "EXEC",
            "ECHO"
        ]
    );
}

#[test]
fn replies_of_both_kinds_are_read_in_every_split() {
    for size in 1..120 {
        let mut exchange = load(mixed(), &LOAD);
        let (mut model, mut session) = (Model::default(), Session::default());
        while !exchange.is_idle() {
            let replies = session.feed(&mut model, &write(&mut exchange, usize::MAX));
            replies.chunks(size).for_each(|piece| exchange.received(piece).unwrap());
        }
        let finished = exchange.take_finished();
        assert_eq!(model.applied, [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            finished.iter().map(|batch| batch.executed).collect::<Vec<_>>(),
            [false, true, false, true]
        );
        let replies: Vec<_> = finished.iter().map(|batch| batch.replies.as_slice()).collect();
        let expected: [&[u8]; 4] = [b"+OK\r\n+OK\r\n", b"+OK\r\n$1\r\n1\r\n", b":1\r\n", b":2\r\n"];
        assert_eq!(replies, expected);
    }
}

#[test]
fn what_was_refused_for_now_goes_again_in_the_order_of_the_batches() {
    let mut exchange = load(
        patient(),
        &["GET x 0", "[SET x 1]", "SET a 2, SET b 3", "[SET a 4]", "SET a 5"],
    );
    answered(&mut exchange, |_| "+OK\r\n");
    let mut execs = ["*1\r\n+OK\r\n", ABORTED].into_iter();
    answered(&mut exchange, |line| match line {
        "MULTI" => "+OK\r\n",
        "SET x 1" => "+QUEUED\r\n",
        "EXEC" => execs.next().unwrap(),
        _ => OOM,
    });
    assert_eq!(all_counts(&mut exchange), [(1, 0, 0), (1, 0, 0)]);
    assert!(exchange.is_waiting());
    exchange.retry();
    let lines = answered(&mut exchange, |line| match line {
        "SET a 4" => "+QUEUED\r\n",
        "EXEC" => "*1\r\n+OK\r\n",
        _ => "+OK\r\n",
    });
    assert_eq!(
        lines,
        ["SET a 2", "SET b 3", "MULTI", "SET a 4", "EXEC", "SET a 5", "ECHO"]
    );
    assert_eq!(all_counts(&mut exchange), [(2, 0, 0), (1, 0, 0), (1, 0, 0)]);
    assert!(exchange.is_idle());
}

#[test]
fn a_newer_value_of_the_other_kind_stays() {
    // A command behind a transaction that is refused for now, and the other way round.
    const ONE: &str = "*1\r\n+OK\r\n";
    const TWO: &str = "*2\r\n+OK\r\n+OK\r\n";

    for (batches, execs, newer) in [
        (
            ["[SET x 0]", "[SET a 1]", "SET b 2, SET a 3"],
            [ONE, ABORTED],
            "+OK\r\n",
        ),
        (
            ["[SET x 0]", "SET a 1", "[SET b 2, SET a 3]"],
            [ONE, TWO],
            "+QUEUED\r\n",
        ),
    ] {
        let mut exchange = load(patient(), &batches);
        answered(&mut exchange, |_| "+OK\r\n");
        let mut execs = execs.into_iter();
        answered(&mut exchange, |line| match line {
            "MULTI" => "+OK\r\n",
            "SET x 0" => "+QUEUED\r\n",
            "SET a 1" => OOM,
            "EXEC" => execs.next().unwrap(),
            _ => newer,
        });
        assert!(exchange.is_idle(), "{batches:?}");
        let expected = [(1, 0, 0), (0, 1, 0), (2, 0, 0)];
        assert_eq!(all_counts(&mut exchange), expected, "{batches:?}");
    }
}

#[test]
fn nothing_is_sent_again_amid_a_transaction() {
    let mut exchange = Exchange::new(Settings {
        // A segment at a time.
        max_in_flight: 120,
        ..patient()
    });
    let many: Vec<String> = (1..6).map(|tag| format!("SET b {tag}")).collect();
    exchange.push(batch(&["SET a 0"]), 0);
    let mut transaction = batch_within(60, &many);
    transaction.wrap = Wrap::Always;
    exchange.push(transaction, 1);
    // The transaction is begun before it is known that the command is refused.
    let lines = answered(&mut exchange, |line| if line == "MULTI" { "+OK\r\n" } else { OOM });
    assert_eq!(lines, ["SET a 0", "ECHO", "MULTI"]);
    let mut queued = 0;
    loop {
        assert!(!exchange.is_waiting());
        let lines = answered(&mut exchange, |line| match line {
            "EXEC" => "*5\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
            _ => "+QUEUED\r\n",
        });
        assert!(!lines.is_empty(), "stuck");
        queued += lines.iter().filter(|line| line.starts_with("SET b")).count();
        if lines.contains(&"EXEC".to_owned()) {
            break;
        }
    }
    assert!(queued == 5 && exchange.is_waiting());
    exchange.retry();
    let mut model = Model::default();
    finish(&mut exchange, &mut model);
    assert_eq!(model.applied, [0]);
    assert_eq!(all_counts(&mut exchange), [(1, 0, 0), (5, 0, 0)]);
}

#[test]
fn both_kinds_share_their_fate_where_they_share_keys() {
    let mut exchange = load(
        patient(),
        &["[SET x 0]", "[SET a 1]", "INCR a 2", "[SET b 3]", "SET b 4", "SET c 5"],
    );
    answered(&mut exchange, |_| "+OK\r\n");
    written(&mut exchange, |_| "");
    exchange.disconnected(&lost());
    let (lines, _) = written(&mut exchange, |_| "");
    assert_eq!(lines, ["MULTI"]);
    exchange.received(b"+OK\r\n").unwrap();
    let (lines, _) = written(&mut exchange, |_| "");
    let expected = "SET x 0, EXEC, ECHO, MULTI, SET b 3, EXEC, ECHO, SET b 4, ECHO, SET c 5, ECHO";
    assert_eq!(lines.join(", "), expected);
    exchange.give_up(&lost());
    assert_eq!(all_counts(&mut exchange), [(0, 0, 1); 6]);
}

#[test]
fn in_silence_there_is_no_fence_within_a_transaction() {
    let mut exchange = Exchange::new(Settings {
        max_in_flight: 200,
        ..settings(Replies::Off, Transaction::Off)
    });
    let many: Vec<String> = (0..6).map(|tag| format!("SET key:{tag} {tag}")).collect();
    let mut transaction = batch_within(60, &many);
    transaction.wrap = Wrap::Always;
    exchange.push(batch_within(60, &many), 0);
    exchange.push(transaction, 6);
    let mut all = Vec::new();
    while !exchange.is_idle() {
        let lines = answered(&mut exchange, |line| match line {
            "CLIENT REPLY ON" => "+OK\r\n",
            _ => "",
        });
        assert!(!lines.is_empty(), "stuck");
        all.extend(lines);
    }
    let at = all.iter().position(|line| line == "MULTI").unwrap();
    assert!(all[..at].iter().filter(|line| *line == "ECHO").count() > 1, "{all:?}");
    let transaction: Vec<&str> = all[at..].iter().map(|line| &line[..4]).collect();
    assert_eq!(
        transaction,
        [
            "MULT", "SET ", "SET ", "SET ", "SET ", "SET ", "SET ", "EXEC", "CLIE", "ECHO"
        ]
    );
    assert_eq!(all_counts(&mut exchange), [(0, 0, 6), (0, 0, 6)]);
}

#[test]
fn a_broken_protocol_leaves_both_kinds_unknown() {
    for heard in 0..6 {
        let mut exchange = load(mixed(), &LOAD);
        answered(&mut exchange, |_| "+OK\r\n");
        written(&mut exchange, |_| "");
        let replies = ["+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n", "+OK\r\n", "+OK\r\n"];
        replies[..heard.min(5)]
            .iter()
            .for_each(|reply| exchange.received(reply.as_bytes()).unwrap());
        exchange.received(b"?\r\n").unwrap_err();
        exchange.distrust(&protocol());
        exchange.give_up(&protocol());
        let expected = [(2, 0, 0), (0, 0, 2), (0, 0, 1), (0, 0, 1)];
        assert_eq!(all_counts(&mut exchange), expected, "{heard}");
    }
}

#[test]
fn a_connection_may_be_lost_at_every_byte_of_both_kinds() {
    for resend in [Resend::None, Resend::Idempotent] {
        let mut bytes = 0;
        // Until all of it fits.
        while lose(resend, bytes, usize::MAX) {
            lose(resend, bytes, 0);
            lose(resend, bytes, bytes / 3);
            bytes += 1;
        }
        assert!(bytes > 300);
    }
}

/// One life with a connection lost when `bytes` were written and of their replies `heard` bytes had come. Tells whether
/// there was more to write.
fn lose(resend: Resend, bytes: usize, heard: usize) -> bool {
    let mut exchange = load(Settings { resend, ..mixed() }, &LOAD);
    let (mut model, mut session) = (Model::default(), Session::default());
    let mut written = 0;
    let mut replies = Vec::new();
    while written < bytes && !exchange.is_idle() {
        let more = write(&mut exchange, bytes - written);
        if more.is_empty() {
            exchange.received(&std::mem::take(&mut replies)).unwrap();
        }
        written += more.len();
        replies.extend(session.feed(&mut model, &more));
    }
    exchange.received(&replies[..heard.min(replies.len())]).unwrap();
    let more = !exchange.is_idle();
    exchange.disconnected(&lost());
    finish(&mut exchange, &mut model);
    let finished: Vec<Finished> = exchange.take_finished();
    let times = |tag: u64| model.applied.iter().filter(|done| **done == tag).count();
    let mut tag = 0;
    for (batch, text) in finished.iter().zip(LOAD) {
        let first = tag;
        let replies = values(&batch.replies);
        let (succeeded, failed, unknown) = counts(batch);
        assert_eq!((succeeded + failed + unknown, failed), (replies.len() as u64, 0));
        for reply in replies {
            let is_unknown = matches!(reply, Value::Error(_));
            assert!(is_unknown || times(tag) > 0, "{resend:?} {bytes} {heard}: {tag}");
            let once = resend == Resend::None || text.contains("INCR");
            assert!(times(tag) <= 1 || !once, "{resend:?} {bytes} {heard}: {tag} twice");
            tag += 1;
        }
        let whole = (first..tag).all(|other| times(other) == times(first));
        assert!(whole || !text.starts_with('['), "{resend:?} {bytes} {heard}: torn");
    }
    assert_eq!((finished.len(), tag), (4, 6));
    assert!(model.applied.is_sorted() || resend != Resend::None);
    more
}
