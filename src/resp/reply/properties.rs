//! Properties of the scanner: random replies cut everywhere, random bytes, and a slow, recursive
//! reference reader that must agree with it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Kind, Scanner};
use crate::resp::value::{Value, parse};

/// A reply and what should be read from it.
#[derive(Debug, Clone)]
struct Sample {
    bytes: Vec<u8>,
    kind: Kind,
    value: Value,
}

/// How scans differ if at all: items with their ends, then what ended the scan.
type Scan = (Vec<(Kind, usize)>, Result<bool, super::Malformed>);

enum Plain {
    Never,
    First,
}

/// Feeds `bytes` cut at `cuts` (sorted).
fn scan(bytes: &[u8], cuts: &[usize], plain: Plain) -> Scan {
    let mut scanner = Scanner::new();
    let (mut items, mut at) = (Vec::new(), 0);
    for &end in cuts.iter().chain([&bytes.len()]) {
        while at < end {
            if let Plain::First = plain {
                let (consumed, count) = scanner.count_plain(&bytes[at..end], u64::MAX);
                let ends = (at..at + consumed).filter(|&place| bytes[place] == b'\n');
                let before = items.len();
                items.extend(ends.map(|place| (Kind::Value, place + 1)));
                assert_eq!((items.len() - before) as u64, count);
                at += consumed;
            }
            match scanner.next(&bytes[at..end]) {
                Ok(step) => {
                    assert!(step.consumed > 0 || at == end, "no progress at {at}");
                    assert!(step.consumed <= end - at, "read beyond the input");
                    at += step.consumed;
                    items.extend(step.done.map(|kind| (kind, at)));
                }
                Err(malformed) => return (items, Err(malformed)),
            }
        }
    }
    (items, Ok(scanner.at_boundary()))
}

/// What the reference says of the first item of some bytes.
#[derive(Debug, PartialEq)]
enum Verdict {
    Item(Kind, usize),
    Incomplete,
    Malformed,
}

/// The slow twin: recursive, and on whole input.
fn reference(bytes: &[u8], depth: usize) -> Verdict {
    use Verdict::{Incomplete, Item, Malformed};

    let Some(&first) = bytes.first() else {
        return Incomplete;
    };
    if !b"+-:$*_#,(!=%~|>".contains(&first) || (first == b'>' && depth > 0) {
        return Malformed;
    }
    let text: Vec<u8> = (bytes[1..].iter().copied())
        .take_while(|byte| !b"\r\n".contains(byte))
        .collect();
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unsigned = |text: &[u8]| match text.first() {
        Some(b'+' | b'-') => text[1..].to_vec(),
        _ => text.to_vec(),
    };
    // Big numbers are refused as they pass, all else at the end of the line.
    let number_part = unsigned(&text);
    if first == b'(' && !number_part.is_empty() && !digits(&number_part) {
        return Malformed;
    }
    // The other limits are beyond the bytes that are made up here.
    if text.len() > 32 && !b"+-:,(".contains(&first) {
        return Malformed;
    }
    let start = 1 + text.len() + 2;
    match (bytes.get(start - 2), bytes.get(start - 1)) {
        (None, _) | (Some(b'\r'), None) => return Incomplete,
        (Some(b'\r'), Some(b'\n')) => {}
        _ => return Malformed,
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let count = match text.parse::<u64>() {
        Ok(count) if count.to_string() == text => count,
        _ => u64::MAX,
    };
    let whole = |valid: bool| {
        if valid { Item(Kind::Value, start) } else { Malformed }
    };
    match (first, text.as_str()) {
        (b'_', "") | (b'$' | b'*', "-1") => Item(Kind::Null, start),
        (b'+', _) => Item(Kind::Value, start),
        (b'-', _) => Item(Kind::Error, start),
        (b':', _) => whole(text.parse::<i64>().is_ok()),
        (b'#', _) => whole(text == "t" || text == "f"),
        (b'(', _) => whole(digits(&number_part)),
        (b',', "inf" | "-inf" | "nan" | "-nan") => whole(true),
        // Of what Rust takes for a double, the words and a dot without digits are not RESP.
        (b',', _) => {
            let lower = format!("{}e", text.to_lowercase());
            let dots = [".e", "+.", "-."].iter().any(|dot| lower.contains(dot));
            let words = lower.contains(['i', 'n']) || lower.starts_with('.');
            whole(text.parse::<f64>().is_ok() && !dots && !words)
        }
        (b'$' | b'!' | b'=', _) => {
            let Ok(length) = usize::try_from(count) else {
                return Malformed;
            };
            if length > 512 << 20 || (first == b'=' && length < 4) {
                return Malformed;
            }
            let body = &bytes[start..bytes.len().min(start.saturating_add(length))];
            let colon = if first == b'=' { body.get(3) } else { None };
            let end = bytes.get(start + length..).unwrap_or_default();
            let kind = if first == b'!' { Kind::Error } else { Kind::Value };
            match (colon, end) {
                (Some(byte), _) if *byte != b':' => Malformed,
                (_, [] | [b'\r']) => Incomplete,
                (_, [b'\r', b'\n', ..]) => Item(kind, start + length + 2),
                _ => Malformed,
            }
        }
        (b'*' | b'%' | b'~' | b'|' | b'>', _) if count <= 2_147_483_647 && depth < 128 => {
            let mut left = if b"%|".contains(&first) { 2 * count } else { count };
            let mut end = start;
            while left > 0 {
                match reference(&bytes[end..], depth + 1) {
                    Item(kind, length) => {
                        end += length;
                        left -= u64::from(kind != Kind::Attribute);
                    }
                    other => return other,
                }
            }
            let kind = match first {
                b'|' => Kind::Attribute,
                b'>' => Kind::Push,
                _ => Kind::Value,
            };
            Item(kind, end)
        }
        _ => Malformed,
    }
}

fn scan_by_reference(bytes: &[u8]) -> (Vec<(Kind, usize)>, Verdict) {
    let (mut items, mut at) = (Vec::new(), 0);
    loop {
        match reference(&bytes[at..], 0) {
            Verdict::Item(kind, length) => {
                at += length;
                items.push((kind, at));
            }
            Verdict::Incomplete if at == bytes.len() => {
                return (items, Verdict::Item(Kind::Value, 0));
            }
            verdict => return (items, verdict),
        }
    }
}

fn sample(bytes: impl Into<Vec<u8>>, kind: Kind, value: Value) -> Sample {
    let bytes = bytes.into();
    Sample { bytes, kind, value }
}

fn with_length(first: char, body: &[u8]) -> Vec<u8> {
    [format!("{first}{}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

fn scalars() -> impl Strategy<Value = Sample> {
    let body = || prop::collection::vec(any::<u8>(), 0..40);
    let text = |text: &str| Value::Text(text.into());
    prop_oneof![
        "[^\r\n]{0,12}".prop_map(move |s| sample(format!("+{s}\r\n"), Kind::Value, text(&s))),
        "[A-Z]{0,9} [^\r\n]{0,12}".prop_map(|s| { sample(format!("-{s}\r\n"), Kind::Error, Value::Error(s.into())) }),
        any::<i64>().prop_map(|n| sample(format!(":{n}\r\n"), Kind::Value, Value::Integer(n))),
        body().prop_map(|b| sample(with_length('$', &b), Kind::Value, Value::Text(b))),
        body().prop_map(|b| sample(with_length('!', &b), Kind::Error, Value::Error(b))),
        body().prop_map(|b| {
            let bytes = with_length('=', &[b"txt:", &b[..]].concat());
            sample(bytes, Kind::Value, Value::Text(b))
        }),
        prop::sample::select(vec!["$-1\r\n", "*-1\r\n", "_\r\n"]).prop_map(|null| sample(
            null,
            Kind::Null,
            Value::Null
        )),
        any::<bool>().prop_map(|b| {
            let letter = if b { 't' } else { 'f' };
            sample(format!("#{letter}\r\n"), Kind::Value, Value::Integer(b.into()))
        }),
        any::<f64>().prop_map(move |n| {
            let n = n.to_string().to_lowercase();
            sample(format!(",{n}\r\n"), Kind::Value, text(&n))
        }),
        "[-+]?[0-9]{1,50}".prop_map(move |n| sample(format!("({n}\r\n"), Kind::Value, text(&n))),
    ]
}

fn aggregate(first: char, elements: &[Sample]) -> Sample {
    let count = if first == '%' {
        elements.len() / 2
    } else {
        elements.len()
    };
    let elements = &elements[..if first == '%' { 2 * count } else { count }];
    let mut bytes = format!("{first}{count}\r\n").into_bytes();
    bytes.extend(elements.iter().flat_map(|element| &element.bytes));
    let kind = if first == '>' { Kind::Push } else { Kind::Value };
    let values = elements.iter().map(|element| element.value.clone());
    sample(bytes, kind, Value::Array(values.collect()))
}

fn attribute(content: &[Sample]) -> Vec<u8> {
    let mut attribute = aggregate('%', content).bytes;
    attribute[0] = b'|';
    attribute
}

/// Any reply, with attributes inside but none in front.
fn replies() -> impl Strategy<Value = Sample> {
    scalars().prop_recursive(4, 24, 5, |inner| {
        let described =
            (inner.clone(), prop::collection::vec(inner, 0..3), 0..4_u8).prop_map(|(element, content, chance)| {
                match chance {
                    0 => Sample {
                        bytes: [attribute(&content), element.bytes].concat(),
                        ..element
                    },
                    _ => element,
                }
            });
        let first = prop::sample::select(vec!['*', '~', '%']);
        (first, prop::collection::vec(described, 0..5)).prop_map(|(first, elements)| aggregate(first, &elements))
    })
}

/// Replies with pushes and attributes between them.
fn streams() -> impl Strategy<Value = Vec<Sample>> {
    let item = prop_oneof![
        6 => replies(),
        1 => prop::collection::vec(replies(), 0..3).prop_map(|elements| aggregate('>', &elements)),
        1 => prop::collection::vec(replies(), 0..3)
            .prop_map(|content| sample(attribute(&content), Kind::Attribute, Value::Null)),
    ];
    prop::collection::vec(item, 0..4)
}

/// Bytes that look like replies more often than chance would have it.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => "[-+:$*_#,(!=%~|>][-+0-9]{0,2}\r\n",
        3 => prop::sample::select(vec!["+OK\r\n", ":0\r\n", "$1\r\na\r\n", "*1\r\n", "=4\r\ntxt:\r\n"])
            .prop_map(str::to_owned),
        1 => "[,][-+]?[0-9]{0,3}[.]?[0-9]{0,3}(e[-+]?[0-9]{0,2})?\r\n",
        1 => "[-+][a\r\n]{0,3}\r\n",
        1 => "[-+:$*_#,(!=%~|>;.?0-9a-z\r\n]{0,4}",
        1 => prop::sample::select(vec![",inf\r\n", ",-nan\r\n", ",infinity\r\n", ",5.\r\n", ",.5\r\n"])
            .prop_map(str::to_owned),
    ];
    prop_oneof![
        4 => prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn cuts(bytes: &[u8], at: &[Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn replies_are_the_same_however_they_are_cut(
        stream in streams(),
        at in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let bytes: Vec<u8> = stream.iter().flat_map(|item| item.bytes.clone()).collect();
        let mut end = 0;
        let items = stream.iter().map(|item| {
            end += item.bytes.len();
            (item.kind, end)
        });
        let expected = (items.collect(), Ok(true));
        prop_assert_eq!(&scan(&bytes, &[], Plain::Never), &expected);
        for cut in 0..=bytes.len() {
            prop_assert_eq!(&scan(&bytes, &[cut], Plain::Never), &expected, "cut at {}", cut);
        }
        let everywhere: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(&scan(&bytes, &everywhere, Plain::Never), &expected);
        prop_assert_eq!(&scan(&bytes, &cuts(&bytes, &at), Plain::Never), &expected);
        prop_assert_eq!(&scan(&bytes, &cuts(&bytes, &at), Plain::First), &expected);
    }

    #[test]
    fn values_come_out_as_they_went_in(reply in replies(), content in prop::collection::vec(replies(), 0..3)) {
        prop_assert_eq!(parse(&reply.bytes), Some((reply.value.clone(), reply.bytes.len())));
        let described = [attribute(&content), reply.bytes, b"+NEXT".to_vec()].concat();
        prop_assert_eq!(parse(&described), Some((reply.value, described.len() - 5)));
    }

    #[test]
    fn garbage_is_judged_as_by_the_reference_and_in_every_cut(
        bytes in garbage(),
        at in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let whole = scan(&bytes, &[], Plain::Never);
        let (items, verdict) = scan_by_reference(&bytes);
        prop_assert_eq!(&whole.0, &items);
        prop_assert_eq!(whole.1.is_err(), verdict == Verdict::Malformed);
        prop_assert_eq!(whole.1 == Ok(false), verdict == Verdict::Incomplete);
        let everywhere: Vec<_> = (0..bytes.len()).collect();
        for cuts in [&everywhere, &cuts(&bytes, &at)] {
            prop_assert_eq!(&scan(&bytes, cuts, Plain::Never), &whole);
            prop_assert_eq!(&scan(&bytes, cuts, Plain::First), &whole);
        }
    }

    #[test]
    fn changed_replies_never_confuse_the_readers(
        stream in streams(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes: Vec<u8> = stream.iter().flat_map(|item| item.bytes.clone()).collect();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = scan(&bytes, &[], Plain::Never);
        prop_assert_eq!(&whole.0, &scan_by_reference(&bytes).0);
        let first_reply = whole.0.iter().find(|(kind, _)| *kind != Kind::Attribute);
        let value = parse(&bytes).map(|(_, length)| length);
        prop_assert_eq!(value, first_reply.map(|&(_, end)| end));
    }
}
