//! Bytes of a peer made fit for a message to people, and guesses at a peer that is no Redis.
//!
//! In come bytes as the network brought them; out goes text without control characters, so that
//! no peer can steer a terminal or forge lines of a log.

use std::fmt::Write as _;

/// The first 64 bytes, printable: ASCII as it is, all else as `\r`, `\n`, `\x1b`.
pub fn excerpt(bytes: &[u8]) -> String {
    /// Enough to recognise a protocol by, short enough for one line of a message.
    const SHOWN: usize = 64;

    let mut text = String::with_capacity(SHOWN);
    for &byte in bytes.iter().take(SHOWN) {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => push_escaped(&mut text, u32::from(byte)),
        }
    }
    text
}

/// `text` as UTF-8, other bytes replaced by U+FFFD, control characters (C0, DEL, C1) escaped.
/// A backslash stays as it is: error texts are read, not parsed.
pub fn printable(text: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(text);
    if !lossy.contains(char::is_control) {
        return lossy.into_owned();
    }
    let mut printable = String::with_capacity(lossy.len());
    for character in lossy.chars() {
        if character.is_control() {
            push_escaped(&mut printable, u32::from(character));
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Which service the first bytes of a connection come from, if it is a known one and no Redis.
/// Reads on in a sentence: "this looks like …".
pub fn peer_hint(bytes: &[u8]) -> Option<&'static str> {
    let starts = |prefix: &[u8]| {
        bytes
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    match bytes {
        _ if starts(b"HTTP/") || starts(b"<!DOCTYPE") || starts(b"<html") => Some("an HTTP server"),
        _ if starts(b"SSH-") => Some("an SSH server"),
        // Alert and handshake records of TLS 1.x: the answer to plaintext.
        [0x15 | 0x16, 0x03, ..] => Some("a TLS port, spoken to without TLS"),
        // Three bytes of length, packet 0, then protocol 10 and its version, or an error.
        [_, _, 0, 0, 0x0a, b'0'..=b'9', ..] | [_, _, 0, 0, 0xff, ..] => Some("a MySQL server"),
        _ if starts(b"220 ") || starts(b"220-") => Some("an SMTP or FTP server"),
        _ => None,
    }
}

fn push_escaped(text: &mut String, code: u32) {
    match code {
        0x09 => text.push_str("\\t"),
        0x0a => text.push_str("\\n"),
        0x0d => text.push_str("\\r"),
        // Writing to a String cannot fail.
        _ => _ = write!(text, "\\x{code:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_printable_ascii_of_64_bytes_at_most() {
        assert_eq!(excerpt(b"a\\b\r\n\t\x1b[2J\x00\xff"), r"a\\b\r\n\t\x1b[2J\x00\xff");
        assert_eq!(excerpt(&[b'x'; 1000]), "x".repeat(64));
        assert_eq!(excerpt(b""), "");
    }

    #[test]
    fn error_texts_cannot_steer_a_terminal() {
        assert_eq!(printable(b"ERR plain 'x\\y'"), "ERR plain 'x\\y'");
        assert_eq!(printable("ERR größer 😀".as_bytes()), "ERR größer 😀");
        assert_eq!(
            printable(b"ERR \x1b[2J\x1b]0;x\x07\r\n"),
            r"ERR \x1b[2J\x1b]0;x\x07\r\n"
        );
        assert_eq!(printable("a\u{9b}2J\u{7f}".as_bytes()), r"a\x9b2J\x7f");
        assert_eq!(printable(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn wrong_peers_are_recognised() {
        let hint = |bytes: &[u8]| peer_hint(bytes).unwrap_or("none");
        assert_eq!(hint(b"HTTP/1.1 400 Bad Request\r\n"), "an HTTP server");
        assert_eq!(hint(b"<!doctype html>"), "an HTTP server");
        assert_eq!(hint(b"<HTML>"), "an HTTP server");
        assert_eq!(hint(b"SSH-2.0-OpenSSH_9.2\r\n"), "an SSH server");
        assert_eq!(
            hint(b"\x15\x03\x01\x00\x02\x02\x16"),
            "a TLS port, spoken to without TLS"
        );
        assert_eq!(hint(b"\x16\x03\x03\x00"), "a TLS port, spoken to without TLS");
        assert_eq!(hint(b"J\0\0\0\x0a8.0.36\0"), "a MySQL server");
        assert_eq!(hint(b"E\0\0\0\xffj\x04Host is not allowed"), "a MySQL server");
        assert_eq!(hint(b"220 mail.example ESMTP\r\n"), "an SMTP or FTP server");
        for bytes in [&b""[..], b"+OK\r\n", b"-ERR x\r\n", b"HTT", b"\x15", b"$3\r\nabc\r\n"] {
            assert_eq!(peer_hint(bytes), None);
        }
    }
}
