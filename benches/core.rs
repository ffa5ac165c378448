//! What the core does for each command: the encoder, the walker, the scanner of replies. `cargo bench`.

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use respipe::batch::{Batch, Pool};
use respipe::resp::reply::{Kind, Scanner};
use respipe::resp::request::Request;
use respipe::resp::walk;

const COMMANDS: usize = 1_000;

fn main() {
    divan::main();
}

fn request() -> Request {
    Request::new(Arc::new(Pool::for_window(1 << 20)))
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// HSET with three words.
fn append(request: &mut Request, words: [&[u16]; 3]) {
    request.begin(4, b"$4\r\nHSET\r\n");
    for word in words {
        request.utf16(word).expect("well formed");
    }
    request.commit();
}

fn batch() -> Batch {
    let (key, field, value) = (units("user:12345"), units("name"), units("somebody"));
    let mut request = request();
    for _ in 0..COMMANDS {
        append(&mut request, [&key, &field, &value]);
    }
    request.seal()
}

#[divan::bench]
fn encode_short_words(bencher: Bencher<'_, '_>) {
    let (key, field, value) = (units("user:12345"), units("name"), units("somebody"));
    let mut request = request();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        for _ in 0..COMMANDS {
            append(&mut request, [black_box(&key), &field, &value]);
        }
        request.seal()
    });
}

#[divan::bench(args = ["all work and no play makes no text ", "Zürich, 東京, Ελλάδα, naïve. 🚀 "])]
fn encode_a_kilobyte(bencher: Bencher<'_, '_>, piece: &str) {
    let (key, field) = (units("user:12345"), units("text"));
    let value = units(&piece.repeat(1_000 / piece.len()));
    let mut request = request();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        for _ in 0..COMMANDS {
            append(&mut request, [&key, &field, black_box(&value)]);
        }
        request.seal()
    });
}

#[divan::bench]
fn encode_numbers(bencher: Bencher<'_, '_>) {
    let mut request = request();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        for _ in 0..COMMANDS {
            request.begin(3, b"$4\r\nINCR\r\n");
            request.number(black_box(123_456.0));
            request.number(black_box(0.125));
            request.commit();
        }
        request.seal()
    });
}

#[divan::bench]
fn walk_commands(bencher: Bencher<'_, '_>) {
    let batch = batch();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        let mut found = 0;
        for segment in black_box(&batch.segments) {
            let mut at = 0;
            while let Some(end) = walk::end_of_command(segment.bytes(), at) {
                at = end;
                found += 1;
            }
        }
        assert_eq!(found, COMMANDS);
    });
}

/// The short replies that a load gets, which are only counted.
#[divan::bench(args = [":0", "+OK", "+QUEUED"])]
fn count_plain_replies(bencher: Bencher<'_, '_>, reply: &str) {
    let bytes = format!("{reply}\r\n").repeat(COMMANDS).into_bytes();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        let (_, count) = Scanner::new().count_plain(black_box(&bytes), u64::MAX);
        assert_eq!(count, COMMANDS as u64);
    });
}

/// Replies of every other kind, one by one.
#[divan::bench(args = ["100 bytes", "three integers"])]
fn scan_replies(bencher: Bencher<'_, '_>, kind: &str) {
    let reply = match kind {
        "100 bytes" => format!("$100\r\n{}\r\n", "x".repeat(100)),
        _ => "*3\r\n:1\r\n:2\r\n:3\r\n".to_owned(),
    };
    let bytes = reply.repeat(COMMANDS).into_bytes();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        let (mut scanner, mut at, mut values) = (Scanner::new(), 0, 0);
        while at < bytes.len() {
            let step = scanner.next(black_box(&bytes[at..])).expect("RESP");
            at += step.consumed;
            values += usize::from(matches!(step.done, Some(Kind::Value)));
        }
        assert_eq!(values, COMMANDS);
    });
}
