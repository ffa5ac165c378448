//! The scanner on the bytes of `reliability.md` 4.3, whole and byte by byte.

use super::*;

/// Kinds of the complete items in `bytes`, then what ended the scan. Fed whole and byte by
/// byte, which must not differ.
#[track_caller]
fn scan(bytes: &[u8]) -> (Vec<Kind>, Result<bool, Malformed>) {
    let whole = scan_with(Scanner::new(), bytes, bytes.len());
    assert_eq!(whole, scan_with(Scanner::new(), bytes, 1));
    whole
}

fn scan_with(mut scanner: Scanner, bytes: &[u8], piece: usize) -> (Vec<Kind>, Result<bool, Malformed>) {
    let mut kinds = Vec::new();
    for mut input in bytes.chunks(piece.max(1)) {
        while !input.is_empty() {
            match scanner.next(input) {
                Ok(step) => {
                    assert!(step.consumed > 0);
                    input = &input[step.consumed..];
                    kinds.extend(step.done);
                }
                Err(malformed) => {
                    assert_eq!(scanner.next(b"+OK\r\n"), Err(malformed));
                    assert_eq!(scanner.count_plain(b"+OK\r\n", 1), (0, 0));
                    assert!(!scanner.at_boundary());
                    return (kinds, Err(malformed));
                }
            }
        }
    }
    (kinds, Ok(scanner.at_boundary()))
}

#[track_caller]
fn gives(bytes: &[u8], kinds: &[Kind]) {
    assert_eq!(scan(bytes), (kinds.to_vec(), Ok(true)), "{}", excerpt(bytes));
}

#[track_caller]
fn waits(bytes: &[u8]) {
    assert_eq!(scan(bytes), (vec![], Ok(false)), "{}", excerpt(bytes));
}

#[track_caller]
fn refuses(bytes: &[u8], offset: u64, reason: &'static str) {
    let malformed = Malformed { offset, reason };
    assert_eq!(scan(bytes), (vec![], Err(malformed)), "{}", excerpt(bytes));
}

#[test]
fn every_type_is_one_reply() {
    for value in [
        "+OK\r\n",
        "+\r\n",
        ":0\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nb\0\r\n",
        "*1\r\n$1\r\na\r\n",
        "%1\r\n+k\r\n:1\r\n",
        "~2\r\n:1\r\n:2\r\n",
        ",1.5\r\n",
        ",-inf\r\n",
        "(123\r\n",
        "#t\r\n",
        "#f\r\n",
        "=5\r\ntxt:x\r\n",
        "*0\r\n",
        "%0\r\n",
        "~0\r\n",
        "*1\r\n*-1\r\n",
        "*3\r\n*0\r\n%0\r\n_\r\n",
        "*2\r\n-ERR inner\r\n!1\r\nx\r\n",
    ] {
        gives(value.as_bytes(), &[Kind::Value]);
    }
    for null in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
        gives(null.as_bytes(), &[Kind::Null]);
    }
    for error in ["-ERR x\r\n", "-\r\n", "!5\r\nERR x\r\n", "!0\r\n\r\n"] {
        gives(error.as_bytes(), &[Kind::Error]);
    }
}

#[test]
fn pushes_and_attributes_are_no_replies() {
    let push = b">3\r\n+message\r\n+c\r\n*1\r\n:1\r\n";
    let attribute = b"|1\r\n+ttl\r\n:3600\r\n";
    let bytes = [b"+OK\r\n", &push[..], attribute, b":1\r\n>0\r\n|0\r\n"].concat();
    let kinds = [Kind::Value, Kind::Push, Kind::Attribute, Kind::Value];
    gives(&bytes, &[&kinds[..], &[Kind::Push, Kind::Attribute]].concat());
    gives(b"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n|0\r\n:2\r\n", &[Kind::Value]);
    waits(b"*1\r\n|1\r\n+a\r\n+b\r\n");
    refuses(b"*1\r\n>0\r\n", 4, "push within a reply");
}

#[test]
fn line_ends_are_cr_and_lf() {
    refuses(b"+OK\n", 3, "line feed without carriage return");
    refuses(b"\n", 0, "unknown type of reply");
    refuses(b"+a\rb\r\n", 3, "carriage return within a line");
    refuses(b"+a\r\r\n", 3, "carriage return within a line");
    refuses(b"$1\r\naXX", 5, "no line end behind a bulk");
    refuses(b"$1\r\na\rX", 6, "no line end behind a bulk");
    refuses(b"$1\r\na\n", 5, "no line end behind a bulk");
    refuses(b"$1\n", 2, "line feed without carriage return");
    waits(b"+OK\r");
    waits(b"$1\r\na\r");
}

#[test]
fn lines_have_a_limit() {
    let line = |first: &[u8], length: usize, end: &[u8]| [first, &b"7".repeat(length), end].concat();
    for first in [b"+", b"-", b"("] {
        assert_eq!(scan(&line(first, 65_536, b"\r\n")).1, Ok(true));
        refuses(&line(first, 65_537, b"\r\n"), 65_537, "line too long");
        refuses(&line(first, 70_000, b""), 65_537, "line too long");
        refuses(&line(first, 70_000, b"\n"), 65_537, "line too long");
    }
    // Beyond what is kept of a line, and with a piece that begins with the sign.
    refuses(&line(b"(", 2000, b"-1\r\n"), 0, "not a big number");
    gives(&line(b",", 1024, b"\r\n"), &[Kind::Value]);
    refuses(&line(b",", 1025, b"\r\n"), 1025, "line too long");
    refuses(&line(b":", 1025, b""), 1025, "line too long");
    refuses(&line(b"$", 33, b""), 33, "line too long");
    let plain = line(b"+", 65_537, b"\r\n");
    assert_eq!(Scanner::new().count_plain(&plain, 1), (0, 0));
}

#[test]
fn wrong_contents_are_refused() {
    for (bytes, reason) in [
        (":\r\n", "not a 64-bit integer"),
        (":9223372036854775808\r\n", "not a 64-bit integer"),
        ("$-2\r\n", "not a length"),
        ("*-2\r\n", "not a length"),
        ("$+5\r\n", "not a length"),
        ("$05\r\n", "not a length"),
        ("$ 5\r\n", "not a length"),
        ("$5a\r\n", "not a length"),
        ("$536870913\r\n", "length above the limit"),
        ("$2147483648\r\n", "length above the limit"),
        ("$9223372036854775807\r\n", "length above the limit"),
        ("*2147483648\r\n", "length above the limit"),
        ("$?\r\n", "streamed replies are not supported"),
        ("*?\r\n", "streamed replies are not supported"),
        (";4\r\n", "unknown type of reply"),
        (".\r\n", "unknown type of reply"),
        ("#x\r\n", "not a boolean"),
        (",abc\r\n", "not a double"),
        ("(12x\r\n", "not a big number"),
        ("(\r\n", "not a big number"),
        ("_x\r\n", "not a null"),
        ("=1\r\nx\r\n", "verbatim string without format"),
        ("=5\r\ntxt-x\r\n", "verbatim string without format"),
        ("HTTP/1.1 400\r\n", "unknown type of reply"),
        ("\x15\x03\x01", "unknown type of reply"),
    ] {
        refuses(bytes.as_bytes(), 0, reason);
    }
}

#[test]
fn offsets_count_from_the_first_byte_of_the_stream() {
    let (kinds, end) = scan(b"+OK\r\n*2\r\n:1\r\n:x\r\n");
    assert_eq!(kinds, [Kind::Value]);
    let malformed = end.expect_err("refused");
    assert_eq!(malformed.to_string(), "not a 64-bit integer at byte 13");
    let mut scanner = Scanner::new();
    assert_eq!(scanner.count_plain(b"+OK\r\n:1\r\n", 9), (9, 2));
    assert_eq!(scanner.next(b"x").expect_err("refused").offset, 9);
}

#[test]
fn declared_counts_cost_nothing() {
    let mut scanner = Scanner::new();
    for bytes in [&b"*2147483647\r\n"[..], b"%2147483647\r\n", b"$536870912\r\n", b"abc"] {
        let step = Step {
            consumed: bytes.len(),
            done: None,
        };
        assert_eq!(scanner.next(bytes), Ok(step));
    }
    assert!(!scanner.at_boundary());
    assert!(scanner.open.capacity() <= 8 && scanner.text.capacity() <= 64);
}

#[test]
fn nesting_ends_at_128() {
    let nested = |depth: usize| [&b"*1\r\n".repeat(depth)[..], b":1\r\n"].concat();
    gives(&nested(128), &[Kind::Value]);
    refuses(&nested(129), 512, "reply nested too deeply");
    refuses(&nested(10_000), 512, "reply nested too deeply");
    refuses(&b"|1\r\n".repeat(129), 512, "reply nested too deeply");
}

#[test]
fn errors_keep_their_first_kilobyte() {
    let long = "ERR \x1b[2J ".to_owned() + &"x".repeat(60_000);
    let huge = "ERR ".to_owned() + &"y\r\n".repeat(3_000_000);
    for (text, reply) in [
        ("WRONGTYPE a", "-WRONGTYPE a\r\n".to_owned()),
        ("ERR a\r\nb", "!8\r\nERR a\r\nb\r\n".to_owned()),
        (&long, format!("-{long}\r\n")),
        (&huge, format!("!{}\r\n{huge}\r\n", huge.len())),
    ] {
        for piece in [reply.len(), 7] {
            let mut scanner = Scanner::new();
            let done: Vec<_> = (reply.as_bytes().chunks(piece))
                .filter_map(|input| scanner.next(input).expect("well formed").done)
                .collect();
            assert_eq!(done, [Kind::Error]);
            assert_eq!(scanner.error_line(), &text.as_bytes()[..text.len().min(1024)]);
            assert!(scanner.text.capacity() <= 2048);
        }
    }
}

#[test]
fn open_arrays_give_their_elements_singly() {
    let exec = b">0\r\n|0\r\n*3\r\n+OK\r\n-ERR x\r\n*1\r\n:1\r\n*1\r\n:2\r\n";
    let kinds = [
        Kind::Push,
        Kind::Attribute,
        Kind::Header(3),
        Kind::Value,
        Kind::Error,
        Kind::Value,
        Kind::Value,
    ];
    for piece in [1, exec.len()] {
        let mut scanner = Scanner::new();
        scanner.open_array();
        assert_eq!(scan_with(scanner, exec, piece), (kinds.to_vec(), Ok(true)));
    }
    for (reply, kind) in [
        ("*-1\r\n", Kind::Null),
        ("-EXECABORT x\r\n", Kind::Error),
        ("+OK\r\n", Kind::Value),
        ("*0\r\n", Kind::Header(0)),
    ] {
        let mut scanner = Scanner::new();
        scanner.open_array();
        let bytes = [reply.as_bytes(), b"*1\r\n:1\r\n"].concat();
        let expected = (vec![kind, Kind::Value], Ok(true));
        assert_eq!(scan_with(scanner, &bytes, bytes.len()), expected, "{reply}");
    }
}

#[test]
fn plain_replies_are_counted_at_a_boundary_only() {
    let mut scanner = Scanner::new();
    assert_eq!(scanner.count_plain(b"+OK\r\n:1\r\n$1\r\n", 9), (9, 2));
    assert!(scanner.next(b"*1\r\n").is_ok());
    assert_eq!(scanner.count_plain(b":1\r\n", 9), (0, 0));
    assert!(scanner.next(b":1\r\n").is_ok());
    scanner.open_array();
    assert_eq!(scanner.count_plain(b":1\r\n", 9), (0, 0));
}
