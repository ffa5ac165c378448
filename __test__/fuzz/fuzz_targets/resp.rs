//! Fuzzes files for `redis-cli --pipe`: arbitrary bytes, cut in arbitrary places.
//!
//! In pieces the commands must be the same as whole. What is to be sent, as a file of its own, must be the same commands again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use respipe::source::script::Format;
use respipe_fuzz::{Item, commands, parts};

fuzz_target!(|data: &[u8]| {
    let Some((_, cuts, file)) = parts(data) else { return };
    let whole = commands(Format::Resp, file, &[]);
    assert_eq!(whole, commands(Format::Resp, file, cuts), "in pieces");
    assert_eq!(whole, commands(Format::Resp, file, &[1]), "byte by byte");
    let sent: Vec<_> = whole.iter().filter_map(Item::words).collect();
    let encoded: Vec<u8> = whole
        .iter()
        .filter_map(|item| match item {
            Item::Command(bytes, ..) => Some(&bytes[..]),
            _ => None,
        })
        .collect::<Vec<_>>()
        .concat();
    let again: Vec<_> = commands(Format::Resp, &encoded, &[]).iter().map(Item::words).collect();
    assert_eq!(again, sent.into_iter().map(Some).collect::<Vec<_>>());
});
