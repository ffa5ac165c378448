//! Files of commands, in every split: what is written, passed over, refused, and where a broken file ends.

use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::script::{Bytes, Format, Record, Script, What};
use super::split::tests::quote;
use super::window::tests::Pieces;
use crate::config::{Config, Replies, Transaction};
use crate::error::Error;
use crate::loader::server::config;
use crate::loader::{Listener, Notice, Shared};
use crate::pipeline::Pipeline;
use crate::resp::walk;

impl Bytes for Pieces {
    fn error(&self, error: &io::Error) -> Error {
        self.because(error.to_string())
    }

    fn because(&self, reason: String) -> Error {
        Error::Io {
            path: "f".to_owned(),
            reason,
        }
    }
}

struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _: Notice) {}
}

/// Nobody works for it.
pub(super) fn pipeline() -> Pipeline {
    Pipeline::new(Arc::new(Shared::new(config(1), Arc::new(Deaf))))
}

/// The words of a command, as it goes over the wire.
pub(super) fn words(pipeline: &mut Pipeline, record: &Record<'_>) -> Option<Vec<Vec<u8>>> {
    let What::Command(command) = &record.what else {
        return None;
    };
    command.append(pipeline).expect("room");
    let batch = pipeline.request.seal();
    assert_eq!(batch.commands, 1);
    let bytes = batch.segments[0].bytes();
    assert_eq!(walk::end_of_command(bytes, 0), Some(bytes.len()));
    Some(walk::words(bytes, 0)?.into_iter().map(<[u8]>::to_vec).collect())
}

/// What a file is read as, a text for each command, and the error that it ends with.
fn read(file: &[u8], sizes: &[usize], format: Format, config: &Config) -> (Vec<String>, Option<String>) {
    let mut script = Script::new(Pieces::new(file, sizes), format, config);
    let mut pipeline = pipeline();
    let mut told = Vec::new();
    loop {
        let record = match script.next() {
            Ok(Some(record)) => record,
            Ok(None) => return (told, None),
            Err(error) => {
                assert_eq!(script.next().unwrap_err().to_string(), error.to_string());
                return (told, Some(error.to_string()));
            }
        };
        assert_eq!(record.row, told.len() as u64);
        let line = record.line.map_or(String::new(), |line| format!("{line}: "));
        let what = match words(&mut pipeline, &record) {
            Some(words) => words
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect::<Vec<_>>()
                .join(" "),
            None => match record.what {
                What::Failed(failed) => format!("{} {}: {}", failed.command, failed.code, failed.message),
                other => format!("{other:?}"),
            },
        };
        told.push(format!("{line}{what}"));
    }
}

/// The same whatever the pieces in which it comes.
fn read_in_pieces(file: &[u8], format: Format, config: &Config) -> (Vec<String>, Option<String>) {
    let whole = read(file, &[usize::MAX], format, config);
    for sizes in [&[1][..], &[2, 3], &[7], &[usize::MAX, 1]] {
        assert_eq!(read(file, sizes, format, config), whole, "{}", file.escape_ascii());
    }
    whole
}

fn resp(file: &str) -> (Vec<String>, Option<String>) {
    read_in_pieces(file.as_bytes(), Format::Resp, &config(1))
}

fn lines(file: &str) -> (Vec<String>, Option<String>) {
    read_in_pieces(file.as_bytes(), Format::Commands, &config(1))
}

/// What is told where the file is sound.
fn sound((told, error): (Vec<String>, Option<String>)) -> Vec<String> {
    assert_eq!(error, None, "{told:?}");
    told
}

fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn resp_and_inline_commands_are_mixed_and_empty_ones_skipped() {
    let file = "*2\r\n$3\r\nGET\r\n$1\r\na\r\nSET b \"x y\"\r\n\r\n \r\n*0\r\n*-1\r\n\nset c 'd'\n*1\r\n$4\r\nPING\r\nGET last";
    assert_eq!(sound(resp(file)), ["GET a", "SET b x y", "set c d", "PING", "GET last"]);
    assert_eq!(sound(resp("")), [""; 0]);
    assert_eq!(sound(resp("\n\n \r")), [""; 0]);
}

#[test]
fn the_end_of_the_last_line_may_be_missing() {
    for end in ["", "\r", "\r\n"] {
        assert_eq!(
            sound(resp(&format!("*2\r\n$4\r\nECHO\r\n$3\r\nabc{end}"))),
            ["ECHO abc"]
        );
        assert_eq!(sound(resp(&format!("*2\r\n$4\r\nECHO\r\n$0\r\n{end}"))), ["ECHO "]);
    }
    assert_eq!(sound(lines("SET a 1\r\nSET b 2")), ["1: SET a 1", "2: SET b 2"]);
}

#[test]
fn a_broken_file_ends_the_load_at_a_place_and_what_came_before_stands() {
    for (file, reason) in [
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*1\n$4\r\nPING\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n+PING\r\n", "expected '$', got '+'"),
        ("*2\r\n$4\r\nECHO\r\n*1\r\n", "expected '$', got '*'"),
        (
            "*2\r\n$4\r\nECHO\r\n$1\r\n\u{e9}\r\n",
            "expected '\\r\\n' behind an argument of 1 bytes, got '\\xa9\\r'",
        ),
        ("*2\r\n$4\r\nECHO\r\n$3\r\nab", "the file ends within a command"),
        ("*2\r\n$4\r\nECHO\r\n", "the file ends within a command"),
        ("*2\r\n$4\r\nECHO", "the file ends within a command"),
        ("*2147483647\r\n", "the file ends within a command"),
        ("*1", "the file ends within a command"),
        ("SET a \"b\r\nGET c\r\n", "unbalanced quotes"),
        ("SET a 'b", "unbalanced quotes"),
        (
            "SET a\0b\r\n",
            "a zero byte, which can only stand within quotes, as \\x00",
        ),
    ] {
        let (told, error) = resp(&format!("PING\r\n{file}"));
        assert_eq!(told, ["PING"], "{file}");
        assert_eq!(
            error,
            Some(format!("cannot read f: row 1, at byte 6: {reason}")),
            "{file}"
        );
    }
    let (_, error) = resp("REDIS0011\u{fa}\tredis-ver");
    assert!(error.unwrap().contains("it is an RDB file"));
}

#[test]
fn reading_may_fail() {
    struct Failing;

    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    impl Bytes for Failing {
        fn error(&self, error: &io::Error) -> Error {
            self.because(error.to_string())
        }

        fn because(&self, reason: String) -> Error {
            Error::Internal(reason)
        }
    }

    let mut script = Script::new(Failing, Format::Resp, &config(1));
    assert_eq!(
        script.next().unwrap_err().to_string(),
        "internal error: the disk is gone"
    );
}

#[test]
fn what_finds_no_room_is_an_error_and_nothing_is_allocated_for_what_is_announced() {
    let small = Config {
        max_buffered: 1_000_000,
        ..config(1)
    };
    for (file, what) in [
        (
            format!("*2\r\n$3\r\nGET\r\n$400000000\r\n{}", "x".repeat(600_000)),
            "a command",
        ),
        (format!("SET a {}", "x".repeat(1_500_000)), "a command"),
        (format!("MULTI\n{}EXEC\n", "SET a 1\n".repeat(200_000)), "MULTI … EXEC"),
    ] {
        let (told, error) = read(file.as_bytes(), &[usize::MAX], Format::Resp, &small);
        assert_eq!(told, [""; 0]);
        let error = error.unwrap();
        assert!(
            error.ends_with(&format!("{what} of more than maxBufferedBytes (1000000 bytes)")),
            "{error}"
        );
    }
    let large = format!("*2\r\n$3\r\nGET\r\n$900000\r\n{}\r\nPING\r\n", "x".repeat(900_000));
    let (told, error) = read(large.as_bytes(), &[usize::MAX], Format::Resp, &small);
    assert_eq!((told.len(), error), (2, None));
}

#[test]
fn lines_are_commands_and_a_broken_one_is_a_broken_row() {
    let file = "\u{feff}# all of it\nSET a 1\r\n\n  \t\n  # more\nSET \"b c\" \"x\\ny\"\nSET a \"b\nset c d\\x \r\nGET \"a\"b\nSET a\0b 1\nPING";
    assert_eq!(
        sound(lines(file)),
        [
            "2: SET a 1",
            "6: SET b c x\\ny",
            "7: SET RESPIPE_INVALID_ARGUMENT: unbalanced quotes",
            "8: set c d\\\\x",
            "9: GET RESPIPE_INVALID_ARGUMENT: unbalanced quotes",
            "10: SET RESPIPE_INVALID_ARGUMENT: a zero byte, which can only stand within quotes, as \\x00",
            "11: PING",
        ]
    );
    assert_eq!(sound(lines("\u{feff}")), [""; 0]);
    // No RESP there.
    let told = sound(lines("*1\r\n$4\r\nPING\r\n"));
    assert_eq!(
        told.iter()
            .filter(|line| line.contains("RESPIPE_INVALID_ARGUMENT"))
            .count(),
        2
    );
    assert_eq!(told[2], "3: PING");
}

#[test]
fn refused_commands_are_rows_that_failed() {
    let told = sound(resp(
        "PING\nMONITOR\nclient reply off\nEXEC\nDISCARD\nMULTI x\nWATCH a\nSELECT x\nPING\n",
    ));
    let codes: Vec<_> = told.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "PING",
            "MONITOR RESPIPE_FORBIDDEN_COMMAND",
            "CLIENT RESPIPE_FORBIDDEN_COMMAND",
            "EXEC RESPIPE_FORBIDDEN_COMMAND",
            "DISCARD RESPIPE_FORBIDDEN_COMMAND",
            "MULTI RESPIPE_INVALID_ARGUMENT",
            "WATCH RESPIPE_FORBIDDEN_COMMAND",
            "SELECT RESPIPE_INVALID_ARGUMENT",
            "PING",
        ]
    );
    assert!(told[3].ends_with("EXEC without MULTI"));
}

#[test]
fn the_database_of_the_pipeline_is_passed_over_and_another_ends_the_load() {
    let mut config = config(1);
    config.login.db = 2;
    let file = b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\nSET a 1\r\nselect 0\r\nSET b 2\r\n";
    let (told, error) = read_in_pieces(file, Format::Resp, &config);
    let reason = "SELECT 0, but the pipeline writes to db 2: what follows belongs elsewhere (see the option db)";
    assert_eq!(
        told,
        [
            "Passed",
            "SET a 1",
            &format!("SELECT RESPIPE_FORBIDDEN_COMMAND: {reason}")
        ]
    );
    assert_eq!(error, Some(format!("cannot read f: row 2, at byte 32: {reason}")));

    let (told, error) = lines("MULTI\nSET a 1\nSELECT 3\nSET b 1\nEXEC\n");
    assert_eq!(told[0], "1: Passed");
    assert!(told[1].starts_with("2: SET EXECABORT"), "{told:?}");
    assert_eq!(told.len(), 3);
    assert!(
        error
            .unwrap()
            .starts_with("cannot read f: row 2, line 3: SELECT 3, but")
    );
}

#[test]
fn transactions_are_looked_at_as_a_whole() {
    let plain = "SET z 0\n";
    for (section, expected) in [
        (
            "MULTI\nSET a 1\nSELECT 0\nSET b 2\nEXEC\n",
            &["Begin", "SET a 1", "Passed", "SET b 2", "End"][..],
        ),
        ("multi\r\nexec\r\n", &["Begin", "End"]),
        ("MULTI\nSET a 1\nDISCARD\n", &["Passed", "Passed", "Passed"]),
        (
            "MULTI\nSET a 1\nMONITOR\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nEXEC\n",
            &[
                "Passed",
                "SET EXECABORT",
                "MONITOR RESPIPE_FORBIDDEN_COMMAND",
                "GET EXECABORT",
                "Passed",
            ],
        ),
        (
            "MULTI\nSET a 1\nMULTI\nEXEC\nEXEC\n",
            &[
                "Passed",
                "SET EXECABORT",
                "MULTI RESPIPE_FORBIDDEN_COMMAND",
                "Passed",
                "EXEC RESPIPE_FORBIDDEN_COMMAND",
            ],
        ),
        (
            "MULTI\nMONITOR\nDISCARD\n",
            &["Passed", "MONITOR RESPIPE_FORBIDDEN_COMMAND", "Passed"],
        ),
        // The server says what is wrong with it.
        ("MULTI\nSET a\nEXEC\n", &["Begin", "SET a", "End"]),
    ] {
        let told = sound(resp(&format!("{plain}{section}{plain}{section}{plain}")));
        let told: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
        let all: Vec<&str> = [&["SET z 0"], expected, &["SET z 0"], expected, &["SET z 0"]].concat();
        assert_eq!(told, all, "{section}");
    }
    let broken = "MULTI\nSET a 1\nSET b \"\nEXEC\nPING\n";
    let told = sound(lines(broken));
    let codes: Vec<_> = told.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        codes,
        [
            "Passed",
            "SET EXECABORT",
            "SET RESPIPE_INVALID_ARGUMENT",
            "Passed",
            "PING"
        ]
    );
}

#[test]
fn a_transaction_that_does_not_end_is_not_begun() {
    let (told, error) = resp("SET a 1\r\nMULTI\r\nSET b 2\r\nSET c 3\r\n");
    assert_eq!(told, ["SET a 1"]);
    let reason = "MULTI without EXEC: the commands behind it are not done";
    assert_eq!(error, Some(format!("cannot read f: row 1, at byte 9: {reason}")));
    // What is wrong in it has its own place.
    let (told, error) = resp("MULTI\nSET b 2\n\n*1\r\n+\r\n");
    assert!(told.is_empty());
    assert_eq!(
        error.unwrap(),
        "cannot read f: row 2, at byte 15: expected '$', got '+'"
    );
}

#[test]
fn with_replies_off_only_a_pipeline_of_transactions_takes_one() {
    let file = b"SET a 1\nMULTI\nSET b 2\nEXEC\n";
    let silent = Config {
        replies: Replies::Off,
        ..config(1)
    };
    let (told, error) = read_in_pieces(file, Format::Resp, &silent);
    assert_eq!(told, ["SET a 1"]);
    let reason = "row 1, at byte 8: with replies: 'off', MULTI needs the option transaction: true";
    assert_eq!(error.as_deref(), Some(reason));
    let whole = Config {
        transaction: Transaction::EachBatch,
        ..silent
    };
    assert_eq!(sound(read_in_pieces(file, Format::Resp, &whole)).len(), 4);
}

/// How a command stands in the file.
#[derive(Debug, Clone, Copy)]
enum Style {
    Encoded,
    Inline,
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(any::<u8>(), 90..110),
        1 => Just(b"*1\r\n$4\r\nPING\r\n".to_vec()),
    ];
    let name = prop::sample::select(vec!["SET", "hset", "JSON.SET", "Rpush", "CONFIG"]);
    (name, prop::collection::vec(word, 0..6)).prop_map(|(name, words)| [vec![name.as_bytes().to_vec()], words].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn commands_come_out_as_they_went_in_whatever_the_pieces(
        commands in prop::collection::vec((command(), prop::sample::select(vec![Style::Encoded, Style::Inline])), 0..30),
        blanks in prop::sample::select(vec!["", "\n", " \r\n", "*0\r\n"]),
        sizes in prop::collection::vec(1..90_usize, 1..6),
        format in prop::sample::select(vec![Format::Resp, Format::Commands]),
    ) {
        let blanks = if format == Format::Resp { blanks } else { "# note\n" };
        let mut file = Vec::new();
        for (words, style) in &commands {
            match style {
                Style::Encoded if format == Format::Resp => file.extend(encoded(words)),
                _ => {
                    let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
                    file.extend(format!("{}\n", line.join("\t ")).into_bytes());
                }
            }
            file.extend_from_slice(blanks.as_bytes());
        }
        let mut script = Script::new(Pieces::new(&file, &sizes), format, &config(1));
        let mut pipeline = pipeline();
        for (expected, _) in &commands {
            let record = script.next().unwrap().unwrap();
            let found = words(&mut pipeline, &record);
            prop_assert_eq!(found.as_ref(), Some(expected));
        }
        prop_assert!(script.next().unwrap().is_none());
        prop_assert!(script.next().unwrap().is_none());
    }

    #[test]
    fn whatever_the_bytes_it_ends_and_the_pieces_do_not_matter(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "*1\r\n", "$4\r\n", "PING\r\n", "*2\r\n", "$0\r\n\r\n", "MULTI\n", "EXEC\r\n", "DISCARD\n", "SELECT 0\n", "\"",
                    "*1\r\n$4\r\nEXEC\r\n", "*1\r\n$5\r\nMULTI\r\n", "MONITOR\n", "GET a\n", "\r", "\n", "-1", "*",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 1..4),
            ],
            0..20,
        ),
        sizes in prop::collection::vec(1..9_usize, 1..4),
        format in prop::sample::select(vec![Format::Resp, Format::Commands]),
    ) {
        let file = pieces.concat();
        let whole = read(&file, &[usize::MAX], format, &config(1));
        prop_assert_eq!(&read(&file, &sizes, format, &config(1)), &whole);
        // No transaction is begun that does not end.
        let mut depth = 0;
        for line in &whole.0 {
            depth += i32::from(line.ends_with("Begin")) - i32::from(line.ends_with("End"));
            prop_assert!(depth == 0 || depth == 1);
        }
        prop_assert_eq!(depth, 0);
    }
}
