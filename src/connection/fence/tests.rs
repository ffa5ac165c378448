//! The fence against a scripted peer: each form of reply, each thing that is not known.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::stream::Stream;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const RUN: &str = "b239e4522dddfe262a4eb4b966c13e2ac2b3eebe";
const OTHER_RUN: &str = "0123456789012345678901234567890123456789";

fn peer(id: Option<i64>, address: Option<&str>, run: Option<&str>) -> Peer {
    Peer {
        client_id: id,
        client_address: address.map(Into::into),
        run_id: run.map(Into::into),
        ..Peer::default()
    }
}

fn old() -> Peer {
    peer(Some(7), Some("10.0.0.1:4711"), Some(RUN))
}

fn new() -> Peer {
    peer(Some(8), Some("10.0.0.1:4712"), Some(RUN))
}

/// What the fence says where the peer answers `reply`, and what that was asked. An empty reply
/// hangs up.
async fn fence_with(new: Peer, old: &Peer, reply: &str) -> (Result<Fenced, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    let mut link = Link {
        stream: Stream::Tcp(stream),
        peer: new,
        address: "h:1".into(),
    };
    let answering = async {
        let mut asked = Vec::new();
        theirs.read_buf(&mut asked).await.unwrap();
        theirs.write_all(reply.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        // Until the link is dropped: nothing is said behind the question.
        theirs.read_to_end(&mut asked).await.unwrap();
        asked
    };
    let (fenced, asked) = tokio::join!(
        async {
            let fenced = fence(&mut link, old, LIMIT).await;
            drop(link);
            fenced
        },
        answering
    );
    (fenced, String::from_utf8(asked).unwrap())
}

async fn verdict(new: Peer, old: &Peer, reply: &str) -> Fenced {
    fence_with(new, old, reply).await.0.unwrap()
}

/// Asks nothing.
async fn hopeless(new: Peer, old: &Peer) -> String {
    let (fenced, asked) = fence_with(new, old, ":1\r\n").await;
    assert_eq!(asked, "");
    match fenced.unwrap() {
        Fenced::Impossible(reason) => reason,
        Fenced::Done => panic!("done"),
    }
}

fn wire(words: &str) -> String {
    let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
    String::from_utf8(encode(&words)).unwrap()
}

#[tokio::test]
async fn the_old_connection_is_killed_by_number_and_address() {
    for reply in [":1\r\n", ":0\r\n", "-ERR No such client\r\n", ">1\r\n+x\r\n:1\r\n"] {
        let (fenced, asked) = fence_with(new(), &old(), reply).await;
        assert_eq!(fenced.unwrap(), Fenced::Done);
        assert_eq!(asked, wire("CLIENT KILL ID 7 ADDR 10.0.0.1:4711"));
    }
}

#[tokio::test]
async fn the_number_alone_will_do_in_the_same_run() {
    let (fenced, asked) = fence_with(new(), &peer(Some(7), None, Some(RUN)), ":1\r\n").await;
    assert_eq!(fenced.unwrap(), Fenced::Done);
    assert_eq!(asked, wire("CLIENT KILL ID 7"));
}

#[tokio::test]
async fn the_address_will_do_where_no_run_is_known() {
    for (new_run, old_run) in [(None, Some(RUN)), (Some(RUN), None), (None, None)] {
        let old = peer(Some(7), Some("10.0.0.1:4711"), old_run);
        // The new one may have the old number, after a restart.
        for id in [None, Some(7), Some(8)] {
            let new = peer(id, Some("10.0.0.1:4712"), new_run);
            let (fenced, asked) = fence_with(new, &old, ":0\r\n").await;
            assert_eq!(fenced.unwrap(), Fenced::Done);
            assert_eq!(asked, wire("CLIENT KILL ID 7 ADDR 10.0.0.1:4711"));
        }
    }
}

#[tokio::test]
async fn of_another_run_nothing_is_left() {
    let new = peer(Some(7), Some("10.0.0.1:4711"), Some(OTHER_RUN));
    for old in [old(), peer(None, None, Some(RUN))] {
        let (fenced, asked) = fence_with(new.clone(), &old, ":1\r\n").await;
        assert_eq!((fenced.unwrap(), asked.as_str()), (Fenced::Done, ""));
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_told_from_others_is_not_killed() {
    let reason = hopeless(new(), &peer(None, Some("10.0.0.1:4711"), Some(RUN))).await;
    assert!(reason.contains("CLIENT ID"), "{reason}");
    for (new_run, old_run) in [(None, Some(RUN)), (Some(RUN), None), (None, None)] {
        let reason = hopeless(peer(Some(8), None, new_run), &peer(Some(7), None, old_run)).await;
        assert!(reason.contains("run_id"), "{reason}");
    }
}

#[tokio::test]
async fn nobody_can_fence_himself() {
    let shared = peer(Some(7), Some("10.0.0.1:9"), Some(RUN));
    for (new, old) in [
        (old(), old()),
        (shared, old()),
        (peer(Some(7), None, Some(RUN)), peer(Some(7), None, Some(RUN))),
        (peer(Some(7), Some("a:1"), None), peer(Some(7), Some("a:1"), Some(RUN))),
    ] {
        let reason = hopeless(new, &old).await;
        assert!(reason.contains("proxy"), "{reason}");
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_told() {
    for (reply, text) in [
        (
            "-NOPERM this user has no permissions to run the 'client|kill' command\r\n",
            "the user needs the permission +client|kill: NOPERM this user",
        ),
        (
            "-ERR unknown command 'CLIENT', with args\r\n",
            "the server refuses CLIENT KILL: ERR unknown command",
        ),
        (
            "-ERR syntax error \x1b[2J\r\n",
            r"CLIENT KILL: ERR syntax error \x1b[2J",
        ),
        ("+OK\r\n", "does not say how many"),
        (":-1\r\n", "does not say how many"),
        (":2\r\n", "does not say how many"),
        ("$-1\r\n", "does not say how many"),
    ] {
        match verdict(new(), &old(), reply).await {
            Fenced::Impossible(reason) => assert!(reason.contains(text), "{reason}"),
            Fenced::Done => panic!("done, by {reply}"),
        }
    }
    let long = format!("-ERR {}\r\n", "x".repeat(5000));
    assert!(matches!(verdict(new(), &old(), &long).await, Fenced::Impossible(reason) if reason.len() < 1100));
}

#[tokio::test]
async fn a_fence_that_breaks_off_is_an_error() {
    for (reply, code) in [
        ("", "RESPIPE_CONNECTION_LOST"),
        (":", "RESPIPE_CONNECTION_LOST"),
        (":1\r\n:1\r\n", "RESPIPE_PROTOCOL"),
        ("HTTP/1.1 400\r\n", "RESPIPE_PROTOCOL"),
        (
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL\r\n",
            "RESPIPE_CONNECT",
        ),
    ] {
        let (fenced, _) = fence_with(new(), &old(), reply).await;
        assert_eq!(fenced.unwrap_err().code(), code, "{reply}");
    }
}

#[tokio::test]
async fn a_silent_server_costs_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut link = Link {
        stream: Stream::Tcp(stream),
        peer: new(),
        address: "h:1".into(),
    };
    let error = fence(&mut link, &old(), Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
}
