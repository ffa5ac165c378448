//! What servers tell of themselves and of a connection, in the texts of INFO and CLIENT INFO.
//!
//! Texts of the peer come in; fields go out where they are what they should be, and nothing
//! otherwise: none of them is worth a login.

use super::Peer;

/// Longest address and run id that are believed: an IPv6 address with its zone and port takes some
/// 65 bytes, a run id has 40.
const MAX_FIELD: usize = 128;

/// Numbers of connections begin at 1.
pub(super) fn valid_id(id: i64) -> Option<i64> {
    (id > 0).then_some(id)
}

/// Reads `id=3 addr=127.0.0.1:6379 …`.
pub(super) fn client(text: &[u8], peer: &mut Peer) {
    let field = |name: &[u8]| {
        text.split(u8::is_ascii_whitespace)
            .find_map(|field| field.strip_prefix(name))
    };
    let told = field(b"id=").and_then(number).and_then(valid_id);
    peer.client_address = field(b"addr=").and_then(address);
    match (peer.client_id, told) {
        (Some(id), Some(told)) if id != told => {
            // A pool of connections answers behind the peer: none of them is ours.
            peer.client_id = None;
            peer.client_address = None;
        }
        (_, told) => peer.client_id = peer.client_id.or(told),
    }
}

/// Of a process that is told by itself, and not by what fills the place of an unknown one.
pub(super) fn run_id(text: &[u8]) -> Option<String> {
    let id = line(text, b"run_id:")?;
    let is_one = id.len() <= MAX_FIELD && id.iter().all(u8::is_ascii_alphanumeric);
    let is_filler = id.iter().all(|byte| Some(byte) == id.first());
    (is_one && !is_filler)
        .then(|| String::from_utf8(id.to_vec()).ok())
        .flatten()
}

/// `standalone`, `cluster` or `sentinel`.
pub(super) fn mode(text: &[u8]) -> Option<&[u8]> {
    // The second is Valkey's word.
    line(text, b"redis_mode:").or_else(|| line(text, b"server_mode:"))
}

pub(super) fn error_replies(text: &[u8]) -> Option<u64> {
    line(text, b"total_error_replies:").and_then(number)
}

/// Of TCP. Unix sockets have the socket's path and port 0, each the same.
fn address(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let printable = text.len() <= MAX_FIELD && text.bytes().all(|byte| byte.is_ascii_graphic());
    (printable && !host.is_empty() && port > 0).then(|| text.to_owned())
}

fn line<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name))
        .map(<[u8]>::trim_ascii)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(known: Option<i64>, text: &str) -> (Option<i64>, Option<String>) {
        let mut peer = Peer {
            client_id: known,
            ..Peer::default()
        };
        client(text.as_bytes(), &mut peer);
        (peer.client_id, peer.client_address)
    }

    #[test]
    fn a_connection_is_told_by_number_and_address() {
        let line = "id=14 addr=127.0.0.1:51380 laddr=127.0.0.1:6379 fd=9 name= age=0 db=0 user=default\n";
        let known = (Some(14), Some("127.0.0.1:51380".to_owned()));
        assert_eq!(read(None, line), known);
        assert_eq!(read(Some(14), line), known);
        assert_eq!(
            read(Some(3), "id=3 addr=[fe80::1%eth0]:7 laddr=x"),
            (Some(3), Some("[fe80::1%eth0]:7".into()))
        );
        assert_eq!(read(Some(3), "fd=9"), (Some(3), None));
    }

    #[test]
    fn who_has_two_numbers_has_none() {
        assert_eq!(read(Some(3), "id=4 addr=127.0.0.1:51380"), (None, None));
    }

    #[test]
    fn addresses_that_many_share_are_none() {
        for address in [
            "/tmp/redis.sock:0",
            "?:0",
            "127.0.0.1",
            ":7",
            "a:70000",
            "a:x",
            "é:7",
            "",
        ] {
            assert_eq!(
                read(None, &format!("id=3 addr={address} fd=1")),
                (Some(3), None),
                "{address}"
            );
        }
        let long = "x".repeat(MAX_FIELD);
        assert_eq!(read(None, &format!("id=3 addr={long}:1")), (Some(3), None));
    }

    #[test]
    fn texts_of_others_tell_nothing() {
        for text in ["", "PONG", "OK", "id= addr=", "id=x addr=x", "id=-1", "id=0"] {
            assert_eq!(read(None, text), (None, None), "{text}");
            assert_eq!(read(Some(3), text), (Some(3), None), "{text}");
            assert_eq!((run_id(text.as_bytes()), error_replies(text.as_bytes())), (None, None));
        }
    }

    #[test]
    fn info_is_read_by_lines() {
        let info = b"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\
            run_id:b239e4522dddfe262a4eb4b966c13e2ac2b3eebe\r\ntcp_port:1\r\n";
        assert_eq!(
            run_id(info).as_deref(),
            Some("b239e4522dddfe262a4eb4b966c13e2ac2b3eebe")
        );
        assert_eq!(mode(info), Some(&b"standalone"[..]));
        assert_eq!(mode(b"# Server\nserver_mode:cluster\n"), Some(&b"cluster"[..]));
        let stats = b"# Stats\r\nunexpected_error_replies:7\r\ntotal_error_replies:12\r\n";
        assert_eq!(error_replies(stats), Some(12));
        assert_eq!(error_replies(b"total_error_replies:-1\r\n"), None);
    }

    #[test]
    fn fillers_are_no_run_id() {
        for id in ["", "0000000000000000000000000000000000000000", "a b", "\x1b[2J"] {
            assert_eq!(run_id(format!("run_id:{id}\r\n").as_bytes()), None, "{id}");
        }
        assert_eq!(run_id(format!("run_id:{}\r\n", "ab".repeat(100)).as_bytes()), None);
    }
}
