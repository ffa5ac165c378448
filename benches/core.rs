//! What the core does for each command: the encoder, the walker, the readers of files, the scanner of replies.
//! `cargo bench`.

use std::fmt::Write;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use respipe::batch::{Batch, Pool};
use respipe::config::{Config, Login, Replies, Resend, Retry, Server, Throttle, Transaction, WhenFull};
use respipe::error::Error;
use respipe::loader::{Listener, Notice, Shared};
use respipe::pipeline::Pipeline;
use respipe::resp::reply::{Kind, Scanner};
use respipe::resp::request::Request;
use respipe::resp::walk;
use respipe::source::csv::{Header, Settings};
use respipe::source::input::Input;
use respipe::source::rows::{self, Reader};
use respipe::source::script::{Bytes, Format, Script, What};
use respipe::template::{OnNull, compile};

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

/// A file of three commands by turns, read and appended: as for `redis-cli --pipe`, or as one types them.
#[divan::bench(args = [Format::Resp, Format::Commands])]
fn read_commands(bencher: Bencher<'_, '_>, format: Format) {
    let mut file = Vec::new();
    for row in 0..COMMANDS {
        let line = match row % 3 {
            0 => format!("HSET user:{row} name somebody age 37"),
            1 => format!("expire user:{row} 86400"),
            _ => format!("SADD users user:{row}"),
        };
        if format == Format::Commands {
            file.extend_from_slice(format!("{line}\n").as_bytes());
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        file.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            file.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    let config = config();
    let mut pipeline = Pipeline::new(Arc::new(Shared::new(config.clone(), Arc::new(Deaf))));
    bencher.counter(ItemsCount::new(100 * COMMANDS)).bench_local(|| {
        // Often enough that the buffer of a reader is a small part of it.
        let mut script = Script::new(Repeated::new(&file, 100), format, &config);
        while let Some(record) = script.next().expect("a sound file") {
            let What::Command(command) = record.what else {
                unreachable!("only commands")
            };
            command.append(&mut pipeline).expect("room");
            if pipeline.request.committed_bytes() > 64 * 1024 {
                pipeline.discard();
            }
        }
    });
}

/// Bytes over and over.
struct Repeated<'a> {
    bytes: &'a [u8],
    at: usize,
    times: usize,
}

impl<'a> Repeated<'a> {
    fn new(bytes: &'a [u8], times: usize) -> Self {
        Self { bytes, at: 0, times }
    }
}

impl Read for Repeated<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() {
            self.at = 0;
            self.times -= 1;
        }
        if self.times == 0 {
            return Ok(0);
        }
        let count = into.len().min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Bytes for Repeated<'_> {
    fn error(&self, error: &io::Error) -> Error {
        self.because(error.to_string())
    }

    fn because(&self, reason: String) -> Error {
        Error::Internal(reason)
    }
}

struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _: Notice) {}
}

/// The defaults; nothing is ever sent.
fn config() -> Config {
    Config {
        server: Server::Tcp {
            host: String::new(),
            port: 0,
        },
        tls: None,
        login: Login::default(),
        connect_timeout: Duration::ZERO,
        stall_timeout: Duration::ZERO,
        retry: Retry {
            first_connect: 0,
            attempts: None,
            max_elapsed: Duration::ZERO,
            min_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
        },
        replies: Replies::Check,
        transaction: Transaction::Off,
        auto_exec: None,
        max_buffered: 1 << 26,
        when_full: WhenFull::Throw,
        max_in_flight: 1 << 20,
        reconnect_every: 0,
        resend: Resend::Idempotent,
        checkpoint: None,
        wait_replicas: None,
        max_failures: 100,
        throttle: Throttle::default(),
    }
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

/// Rows of five columns, 80 bytes each: as many as keep the file larger than a processor's cache.
const ROWS: u32 = 100_000;

fn csv_file() -> Vec<u8> {
    let mut text = "id,name,email,city,created\n".to_owned();
    for row in 0..ROWS {
        let (name, city) = (
            row.wrapping_mul(2_654_435_761),
            ["London", "New York", "Tokyo"][row as usize % 3],
        );
        writeln!(
            text,
            "{row},Name {name} Surname,user{row}@example.com,{city},2026-01-31T12:00:00Z"
        )
        .expect("text");
    }
    text.into_bytes()
}

/// The same with each text in quotes.
fn quoted_file() -> Vec<u8> {
    let text = String::from_utf8(csv_file()).expect("text");
    let quoted = |line: &str| {
        line.split(',')
            .map(|field| format!("\"{field}\""))
            .collect::<Vec<_>>()
            .join(",")
    };
    text.lines()
        .map(|line| quoted(line) + "\n")
        .collect::<String>()
        .into_bytes()
}

fn ndjson_file() -> Vec<u8> {
    let text = String::from_utf8(csv_file()).expect("text");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let object = |line: &str| {
        let member = |(name, value): (&&str, &str)| match *name {
            "id" => format!("\"id\":{value}"),
            _ => format!("\"{name}\":\"{value}\""),
        };
        let members: Vec<String> = names.iter().zip(line.split(',')).map(member).collect();
        format!("{{{}}}\n", members.join(","))
    };
    lines.map(object).collect::<String>().into_bytes()
}

/// All rows are read, and put into a template where one is given that has holes.
fn read_rows(bencher: Bencher<'_, '_>, file: &[u8], format: &rows::Format, text: &str) {
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let input = Input::of("rows", Box::new(Cursor::new(file.to_vec())), None).expect("memory");
        let template = compile(&[text]).expect("a template");
        let mut reader = Reader::new(input, format.clone(), template, OnNull::Throw).expect("rows");
        let mut rows = 0;
        while let Some(record) = reader.next().expect("memory") {
            rows += u32::from(record.content.is_ok());
        }
        assert_eq!(rows, ROWS);
    });
}

fn csv_format() -> rows::Format {
    rows::Format::Csv(Settings {
        delimiter: b',',
        header: Header::Row,
    })
}

#[divan::bench]
fn read_csv(bencher: Bencher<'_, '_>) {
    read_rows(bencher, &csv_file(), &csv_format(), "SET k {id}");
}

#[divan::bench]
fn read_csv_in_quotes(bencher: Bencher<'_, '_>) {
    read_rows(bencher, &quoted_file(), &csv_format(), "SET k {id}");
}

#[divan::bench(args = ["SET k {id}", "HSET k {id} {name} {email} {city}", "HSET k {*}"])]
fn read_ndjson(bencher: Bencher<'_, '_>, text: &str) {
    read_rows(bencher, &ndjson_file(), &rows::Format::Ndjson, text);
}

/// For comparison: a reader that accepts broken files.
#[divan::bench]
fn read_csv_with_crate_csv(bencher: Bencher<'_, '_>) {
    let file = csv_file();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let mut reader = csv::Reader::from_reader(Cursor::new(file.clone()));
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        while reader.read_byte_record(&mut record).expect("csv") {
            rows += 1;
        }
        assert_eq!(rows, ROWS);
    });
}
