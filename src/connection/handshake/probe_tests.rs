//! What a login asks beside: who we are to the server; and what replies that are off take.

use super::script::*;
use super::*;

const CLIENT_INFO: (&str, &str) = ("CLIENT INFO", "+id=42 addr=10.0.0.1:4711 fd=8\r\n");
const SERVER: (&str, &str) = (
    "INFO server",
    "$58\r\n# Server\r\nredis_mode:standalone\r\nrun_id:b239e4522dddfe26\r\n\r\n",
);
const STATS: (&str, &str) = ("INFO stats", "$33\r\n# Stats\r\ntotal_error_replies:12\r\n\r\n");
const SILENCE: &str = "CLIENT REPLY OFF, CLIENT REPLY ON, ECHO <nonce>";
const SILENT: (&str, &str) = (SILENCE, "+OK\r\n$32\r\n<nonce>\r\n");
const OLD: (&str, &str) = ("HELLO 2", "-ERR unknown command 'HELLO'\r\n");
const MASTER: (&str, &str) = ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");

async fn peer_of(script: Script<'_>) -> Peer {
    outcome(&plain(), script).await.unwrap()
}

async fn off(script: Script<'_>) -> Result<Peer, Error> {
    outcome_with(Probe::RepliesOff, &plain(), script).await
}

async fn is_refused_off(script: Script<'_>, variant: &str, text: &str) {
    let (found, message) = told(&off(script).await.unwrap_err());
    assert_eq!(found, variant, "{message}");
    assert!(message.contains(text), "{message}");
}

#[tokio::test]
async fn a_server_tells_who_we_are_to_it() {
    let greeting = greeting();
    let peer = peer_of(&[("HELLO 2", &greeting), PONG, CLIENT_INFO, SERVER, ECHO]).await;
    assert_eq!(peer.client_id, Some(42));
    assert_eq!(peer.client_address.as_deref(), Some("10.0.0.1:4711"));
    assert_eq!(peer.run_id.as_deref(), Some("b239e4522dddfe26"));
}

#[tokio::test]
async fn what_a_server_does_not_tell_is_not_known() {
    let greeting = greeting();
    for refused in [
        "-NOPERM no\r\n",
        "-ERR unknown command\r\n",
        "+OK\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
    ] {
        let script = [
            ("HELLO 2", &*greeting),
            PONG,
            ("CLIENT INFO", refused),
            ("INFO server", refused),
            ECHO,
        ];
        let peer = peer_of(&script).await;
        assert_eq!(
            (peer.client_id, peer.client_address, peer.run_id),
            (Some(42), None, None)
        );
    }
    // Two numbers: connections are shared behind the peer.
    let other = ("CLIENT INFO", "+id=43 addr=10.0.0.1:4711\r\n");
    let peer = peer_of(&[("HELLO 2", &greeting), PONG, other, SERVER, ECHO]).await;
    assert_eq!((peer.client_id, peer.client_address), (None, None));
}

#[tokio::test]
async fn without_hello_the_number_is_asked_for() {
    let peer = peer_of(&[OLD, MASTER, ("CLIENT ID", ":9\r\n"), PONG, SERVER, ECHO]).await;
    assert_eq!((peer.client_id, peer.client_address), (Some(9), None));
    assert!(peer.run_id.is_some());
    for refused in ["-ERR unknown subcommand\r\n", ":0\r\n", "$-1\r\n"] {
        let peer = peer_of(&[OLD, MASTER, ("CLIENT ID", refused), PONG, CLIENT_INFO, ECHO]).await;
        assert_eq!(peer.client_id, Some(42));
    }
}

#[tokio::test]
async fn replies_to_something_else_are_protocol_errors() {
    let greeting = greeting();
    for asked in ["CLIENT INFO", "INFO server"] {
        let script = [("HELLO 2", &*greeting), PONG, (asked, ":1\r\n")];
        let (variant, message) = told(&outcome(&plain(), &script).await.unwrap_err());
        assert_eq!(variant, "protocol");
        assert!(message.contains("unexpected reply to"), "{message}");
    }
}

#[tokio::test]
async fn replies_that_can_be_off_are_proven() {
    let greeting = greeting();
    let script = [("HELLO 2", &*greeting), PONG, CLIENT_INFO, SERVER, SILENT, STATS, ECHO];
    assert_eq!(off(&script).await.unwrap().error_replies, Some(12));
    // The count is worth having, no more.
    for refused in ["-NOPERM no\r\n", "+OK\r\n"] {
        let script = [("HELLO 2", &*greeting), PONG, SILENT, ("INFO stats", refused), ECHO];
        assert_eq!(off(&script).await.unwrap().error_replies, None);
    }
}

#[tokio::test]
async fn replies_that_cannot_be_off_end_the_login() {
    const NONE: &str = "it does not support CLIENT REPLY";

    let greeting = greeting();
    for (replies, variant, text) in [
        // Each of them answered.
        ("+OK\r\n+OK\r\n$32\r\n<nonce>\r\n", "refused", NONE),
        // None of them answered.
        ("$32\r\n<nonce>\r\n", "refused", NONE),
        ("-ERR unknown command 'CLIENT'\r\n", "refused", NONE),
        (
            "-ERR Unknown subcommand or wrong number of arguments\r\n",
            "refused",
            NONE,
        ),
        ("+OK\r\n-ERR no\r\n", "refused", NONE),
        (":1\r\n", "refused", NONE),
        ("$-1\r\n", "refused", NONE),
        (
            "-NOPERM this user has no permissions to run the 'client|reply' command\r\n",
            "auth",
            "with replies: 'off' the user needs the permission +client|reply: NOPERM this user",
        ),
        ("+OK\r\n-NOPERM no\r\n", "auth", "+client|reply"),
        ("-LOADING wait\r\n", "connect", "LOADING wait"),
    ] {
        let script = [("HELLO 2", &*greeting), PONG, (SILENCE, replies)];
        is_refused_off(&script, variant, text).await;
    }
}

#[tokio::test]
async fn with_replies_off_a_server_has_to_say_that_it_is_a_master() {
    const ROLE: &str = "it refuses ROLE, and with replies off";

    let sparse = hello(&[("id", ":42"), ("mode", "+standalone")]);
    for greeting in [("HELLO 2", &*sparse), OLD] {
        for (refused, variant, text) in [
            ("-NOPERM no\r\n", "auth", "needs the permission +role: NOPERM no"),
            ("-ERR unknown command 'ROLE'\r\n", "refused", ROLE),
            ("*1\r\n+slave\r\n", "refused", "it is a replica"),
        ] {
            is_refused_off(&[greeting, ("ROLE", refused)], variant, text).await;
        }
    }
    let script = [("HELLO 2", &*sparse), MASTER, PONG, SERVER, SILENT, STATS, ECHO];
    off(&script).await.unwrap();
}

#[tokio::test]
async fn with_replies_off_a_server_has_to_say_that_it_is_no_cluster() {
    let role = ("role", "+master");
    for (mode, text) in [
        (
            "+cluster",
            "it is a member of a cluster, and with replies off nobody would see",
        ),
        ("+sentinel", "it is a Sentinel"),
        ("+proxy", "its mode is \"proxy\""),
    ] {
        let greeting = hello(&[("mode", mode), role]);
        is_refused_off(&[("HELLO 2", &greeting)], "refused", text).await;
    }
    let cluster = hello(&[("mode", "+cluster"), role]);
    outcome(&plain(), &[("HELLO 2", &cluster), PONG, ECHO]).await.unwrap();

    // Where HELLO does not tell, INFO has to.
    let silent = hello(&[("id", ":42"), role]);
    for greeting in [("HELLO 2", &*silent), OLD] {
        for (told, variant, text) in [
            ("-NOPERM no\r\n", "auth", "needs the permission +info: NOPERM no"),
            ("-ERR unknown command\r\n", "refused", "it refuses INFO"),
            ("+OK\r\n", "refused", "it does not tell its mode"),
            ("+redis_mode:cluster\r\n", "refused", "a member of a cluster"),
            ("+redis_mode:sentinel\r\n", "refused", "a Sentinel"),
        ] {
            is_refused_off(&[greeting, MASTER, ("INFO server", told)], variant, text).await;
        }
        let script = [greeting, MASTER, SERVER, PONG, CLIENT_INFO, SERVER, SILENT, STATS, ECHO];
        assert_eq!(off(&script).await.unwrap().client_id, Some(42));
    }
}
