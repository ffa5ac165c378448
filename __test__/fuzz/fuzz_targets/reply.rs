//! Fuzzes the reply scanner: arbitrary bytes, cut in arbitrary places.
//!
//! The first byte of the data is how many bytes of cuts follow, the rest is the stream. Whole,
//! byte by byte, in the pieces of the cuts, and with `count_plain` in front, the scan must give
//! the same items and the same end; `value::parse` must agree on each reply.

#![no_main]

use libfuzzer_sys::fuzz_target;
use respipe::resp::reply::{Kind, Malformed, Scanner};
use respipe::resp::value::{Value, parse};

/// An item and where it ends.
type Item = (Kind, usize);

/// Items, texts of errors, and what ended the scan: an error, or whether an item is pending.
#[derive(Debug, PartialEq)]
struct Scan {
    items: Vec<Item>,
    errors: Vec<Vec<u8>>,
    end: Result<bool, Malformed>,
}

#[derive(Clone, Copy)]
enum Plain {
    Never,
    First,
}

fuzz_target!(|data: &[u8]| {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (cuts, stream) = data.split_at(usize::from(count).min(data.len()));

    let header_alone = count % 2 == 1;
    let scanner = || {
        let mut scanner = Scanner::new();
        if header_alone {
            scanner.open_array();
        }
        scanner
    };
    let whole = scan(scanner(), stream, &[], Plain::Never);
    assert_eq!(whole, scan(scanner(), stream, cuts, Plain::Never), "in pieces");
    assert_eq!(
        whole,
        scan(scanner(), stream, cuts, Plain::First),
        "in pieces, plain first"
    );
    assert_eq!(whole, scan(scanner(), stream, &[], Plain::First), "plain first");
    assert_eq!(whole, scan(scanner(), stream, &[1], Plain::Never), "byte by byte");
    if !header_alone {
        agrees_with_values(&whole, stream);
    }
});

/// Feeds `stream` in pieces whose lengths are those of `cuts` in turn; whole without cuts.
fn scan(mut scanner: Scanner, stream: &[u8], cuts: &[u8], plain: Plain) -> Scan {
    let mut scan = Scan {
        items: Vec::new(),
        errors: Vec::new(),
        end: Ok(true),
    };
    let mut lengths = cuts.iter().map(|&cut| usize::from(cut).max(1)).cycle();
    let (mut at, mut end) = (0, 0);
    while end < stream.len() {
        end = lengths
            .next()
            .map_or(stream.len(), |length| stream.len().min(end + length));
        while at < end {
            if let Plain::First = plain {
                at += count_plain(&mut scanner, &stream[at..end], at, &mut scan.items);
            }
            match scanner.next(&stream[at..end]) {
                Ok(step) => {
                    assert!(step.consumed > 0 || at == end, "no progress");
                    assert!(step.consumed <= end - at, "consumed more than there is");
                    at += step.consumed;
                    scan.items.extend(step.done.map(|kind| (kind, at)));
                    if step.done == Some(Kind::Error) {
                        assert!(scanner.error_line().len() <= 1024);
                        scan.errors.push(scanner.error_line().to_vec());
                    }
                    assert_eq!(scanner.offset(), at as u64);
                }
                Err(malformed) => {
                    assert!(malformed.offset <= stream.len() as u64);
                    assert_eq!(scanner.next(b"+OK\r\n"), Err(malformed));
                    scan.end = Err(malformed);
                    return scan;
                }
            }
        }
    }
    scan.end = Ok(scanner.at_boundary());
    scan
}

/// Counts plain replies and adds them as items; their places are found by their line ends.
fn count_plain(scanner: &mut Scanner, input: &[u8], start: usize, items: &mut Vec<Item>) -> usize {
    let (consumed, count) = scanner.count_plain(input, 3);
    assert!(count <= 3 && consumed <= input.len());
    let ends = (0..consumed)
        .filter(|&place| input[place] == b'\n')
        .map(|place| place + 1);
    let before = items.len();
    items.extend(ends.map(|end| (Kind::Value, start + end)));
    assert_eq!((items.len() - before) as u64, count);
    consumed
}

/// A run of attributes and the item behind it are one value. What the scanner does not accept is
/// no value either.
fn agrees_with_values(scan: &Scan, stream: &[u8]) {
    let mut start = 0;
    let mut errors = scan.errors.iter();
    for &(kind, end) in &scan.items {
        if kind == Kind::Attribute {
            continue;
        }
        let (value, length) = parse(&stream[start..]).expect("accepted by the scanner");
        assert_eq!(start + length, end);
        assert_eq!(kind == Kind::Null, value == Value::Null);
        assert_eq!(kind == Kind::Error, matches!(value, Value::Error(_)));
        if let Value::Error(text) = &value {
            let kept = errors.next().expect("an error line");
            assert_eq!(kept, &text[..text.len().min(1024)]);
        }
        assert!(kind != Kind::Push || matches!(value, Value::Array(_)));
        assert_eq!(parse(&stream[start..end]), Some((value, length)));
        start = end;
    }
    assert_eq!(parse(&stream[start..]), None);
}
