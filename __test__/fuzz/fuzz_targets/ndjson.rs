//! Fuzzes the reader of ndjson files: arbitrary bytes, cut in arbitrary places.
//!
//! In pieces the rows must be the same as whole. Each line is an object where serde_json has one for it, and the same value
//! when it is written anew.

#![no_main]

use libfuzzer_sys::fuzz_target;
use respipe::template::OnNull;
use respipe_fuzz::{Item, ndjson, parts};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((choice, cuts, file)) = parts(data) else {
        return;
    };
    let on_null = match choice % 3 {
        0 => OnNull::Throw,
        1 => OnNull::Skip,
        _ => OnNull::Empty,
    };
    let template = match choice / 3 % 5 {
        0 => "SET key {*|json}",
        1 => "HSET key {*}",
        2 => "HSET k:{a} a {a} b {a.b} c {a.0} d {b.a.c} e {b.a.1}",
        3 => "HSET k a {a|ms} b {a|bool} c {a|json} d {a|s}",
        _ => "ZADD z {a} {b}x",
    };
    let whole = ndjson(template, on_null, file, &[]);
    assert_eq!(whole, ndjson(template, on_null, file, cuts), "in pieces");
    assert_eq!(whole, ndjson(template, on_null, file, &[1]), "byte by byte");
    if template == "SET key {*|json}" {
        let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        whole.iter().for_each(|item| is_the_same_value(item, &lines));
    }
});

fn is_the_same_value(item: &Item, lines: &[&[u8]]) {
    let (Item::Command(.., line) | Item::Told(.., line)) = item else {
        return;
    };
    let line = lines[usize::try_from(line.expect("a line")).expect("few") - 1];
    let value = serde_json::from_slice::<Value>(line);
    match (item.words(), value) {
        (Some(words), Ok(value)) => {
            let written = serde_json::from_slice(&words[2]).expect("JSON");
            assert!(is_same(&written, &value), "{written} of {value}");
        }
        // What it does not know how to hold, though it is JSON.
        (Some(_), Err(error)) => {
            let told = error.to_string();
            let known = ["recursion limit", "number out of range", "surrogate", "hex escape"];
            assert!(known.iter().any(|known| told.contains(known)), "{told}");
        }
        (None, Ok(value)) => assert!(!value.is_object(), "{value}"),
        (None, Err(_)) => {}
    }
}

/// Numbers are written as JavaScript has them.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, one)| other.get(name).is_some_and(|other| is_same(one, other)))
        }
        _ => one == other,
    }
}
