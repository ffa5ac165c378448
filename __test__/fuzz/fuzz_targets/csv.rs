//! Fuzzes the reader of csv files: arbitrary bytes, cut in arbitrary places.
//!
//! In pieces the rows must be the same as whole. The fields of each sound row, written anew with each of them in quotes,
//! must be the same row again. Between rows and broken lines no bytes are lost but those of blank lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use respipe::source::csv::{Header, Settings};
use respipe::template::OnNull;
use respipe_fuzz::{Item, csv, parts};

fuzz_target!(|data: &[u8]| {
    let Some((choice, cuts, file)) = parts(data) else {
        return;
    };
    let header = match choice % 3 {
        0 => Header::Row,
        1 => Header::None,
        _ => Header::Given(vec!["0".to_owned(), "b".to_owned(), "c".to_owned()]),
    };
    let settings = Settings {
        delimiter: if choice & 64 == 0 { b',' } else { b'\t' },
        header,
    };
    let template = match choice / 3 % 4 {
        0 => "HSET key {*}",
        1 => "SET key {*|json}",
        2 => "HSET k:{0}:{0} a {0|ms} b {0|bool} c {0|json} d {0}",
        _ => "ZADD z {0} {0}x",
    };
    let whole = csv(settings.clone(), template, OnNull::Throw, file, &[]);
    assert_eq!(
        whole,
        csv(settings.clone(), template, OnNull::Throw, file, cuts),
        "in pieces"
    );
    assert_eq!(
        whole,
        csv(settings.clone(), template, OnNull::Throw, file, &[1]),
        "byte by byte"
    );
    if settings.header == Header::None && template == "HSET key {*}" {
        is_the_same_in_quotes(&settings, &whole);
    }
});

fn is_the_same_in_quotes(settings: &Settings, whole: &[Item]) {
    let rows: Vec<_> = whole.iter().filter_map(Item::words).collect();
    let mut quoted = Vec::new();
    for words in &rows {
        // HSET, the key, and names and values by turns.
        for (at, value) in words[2..].chunks(2).map(|pair| &pair[1]).enumerate() {
            if at > 0 {
                quoted.push(settings.delimiter);
            }
            quoted.push(b'"');
            for byte in value {
                quoted.extend_from_slice(if *byte == b'"' {
                    b"\"\""
                } else {
                    std::slice::from_ref(byte)
                });
            }
            quoted.push(b'"');
        }
        quoted.extend_from_slice(b"\r\n");
    }
    let again = csv(settings.clone(), "HSET key {*}", OnNull::Throw, &quoted, &[]);
    assert_eq!(
        again.iter().map(Item::words).collect::<Vec<_>>(),
        rows.into_iter().map(Some).collect::<Vec<_>>()
    );
}
