//! Logins, step by step.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::question::encode;
use super::script::*;
use super::*;

async fn refusal(login: &Login, script: Script<'_>) -> (&'static str, String) {
    told(&outcome(login, script).await.unwrap_err())
}

async fn is_refused(login: &Login, script: Script<'_>, variant: &str, text: &str) {
    let (found, message) = refusal(login, script).await;
    assert_eq!(found, variant, "{message}");
    assert!(message.contains(text), "{message}");
    assert!(message.contains("localhost:6379"), "{message}");
}

#[tokio::test]
async fn a_master_without_password_is_greeted() {
    let peer = outcome(&plain(), &[("HELLO 2", &greeting()), PONG, ECHO])
        .await
        .unwrap();
    assert_eq!(peer.client_id, Some(42));
    assert_eq!(peer.version.as_deref(), Some("7.0.15"));
}

#[tokio::test]
async fn all_steps_come_in_order() {
    let login = Login {
        db: 3,
        client_name: Some("etl".into()),
        ..with_user()
    };
    let auth = format!("HELLO 2 AUTH loader {PASSWORD}");
    let script = [
        (auth.as_str(), &*greeting()),
        ("CLIENT SETNAME etl", "+OK\r\n"),
        ("SELECT 3", "+OK\r\n"),
        PONG,
        ("CLIENT INFO", "$27\r\nid=42 addr=10.0.0.1:4711 a\n\r\n"),
        ("INFO server", "$29\r\n# Server\r\nrun_id:0123456789ab\r\n"),
        ECHO,
    ];
    let peer = outcome(&login, &script).await.unwrap();
    assert_eq!(peer.client_address.as_deref(), Some("10.0.0.1:4711"));
    assert_eq!(peer.run_id.as_deref(), Some("0123456789ab"));
    assert_eq!(peer.error_replies, None);
}

#[tokio::test]
async fn the_default_user_is_named_to_hello() {
    let auth = format!("HELLO 2 AUTH default {PASSWORD}");
    let script = [(auth.as_str(), &*greeting()), PONG, ECHO];
    outcome(&with_password(), &script).await.unwrap();
}

#[tokio::test]
async fn a_map_greets_as_well() {
    let map = greeting().replacen("*14", "%7", 1);
    outcome(&plain(), &[("HELLO 2", &map), PONG, ECHO]).await.unwrap();
}

#[tokio::test]
async fn pushes_and_attributes_are_no_replies() {
    let noisy = format!(">2\r\n+a\r\n+b\r\n|1\r\n+ttl\r\n:1\r\n{}", greeting());
    outcome(&plain(), &[("HELLO 2", &noisy), PONG, ECHO]).await.unwrap();
}

#[tokio::test]
async fn an_old_server_is_logged_in_with_auth() {
    let hello = format!("HELLO 2 AUTH default {PASSWORD}");
    let auth = format!("AUTH {PASSWORD}");
    let script = [
        (hello.as_str(), UNKNOWN),
        (&auth, "+OK\r\n"),
        ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        PONG,
        ECHO,
    ];
    let peer = outcome(&with_password(), &script).await.unwrap();
    assert_eq!(peer, Peer::default());

    let hello = format!("HELLO 2 AUTH loader {PASSWORD}");
    let auth = format!("AUTH loader {PASSWORD}");
    let role = (
        "ROLE",
        "-NOPERM this user has no permissions to run the 'role' command\r\n",
    );
    for refused in [UNKNOWN, "-NOPROTO sorry\r\n", "-NOPERM no 'hello'\r\n"] {
        let script = [(hello.as_str(), refused), (&auth, "+OK\r\n"), role, PONG, ECHO];
        outcome(&with_user(), &script).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_tell_its_role_is_asked() {
    let sparse = hello(&[("server", "+kvrocks"), ("proto", ":2"), ("mode", "+standalone")]);
    let role = ("ROLE", "-ERR unknown command 'ROLE'\r\n");
    let peer = outcome(&plain(), &[("HELLO 2", &sparse), role, PONG, ECHO])
        .await
        .unwrap();
    assert_eq!(peer.client_id, None);
    let role = (
        "ROLE",
        "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n",
    );
    is_refused(&plain(), &[("HELLO 2", &sparse), role], "refused", "a replica").await;
}

#[tokio::test]
async fn replicas_and_sentinels_are_refused() {
    let replica = greeting().replace("$6\r\nmaster", "$7\r\nreplica");
    is_refused(&plain(), &[("HELLO 2", &replica)], "refused", "a replica").await;
    let sentinel = greeting().replace("$10\r\nstandalone", "$8\r\nsentinel");
    is_refused(&plain(), &[("HELLO 2", &sentinel)], "refused", "a Sentinel").await;
    let other = greeting().replace("$6\r\nmaster", "$5\r\nclown");
    is_refused(&plain(), &[("HELLO 2", &other)], "refused", "\"clown\"").await;
    for (role, text) in [("slave", "a replica"), ("sentinel", "a Sentinel")] {
        let role = format!("*1\r\n${}\r\n{role}\r\n", role.len());
        let script = [("HELLO 2", "-ERR unknown command\r\n"), ("ROLE", &*role)];
        is_refused(&plain(), &script, "refused", text).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_final() {
    let hello = format!("HELLO 2 AUTH default {PASSWORD}");
    let auth = format!("AUTH {PASSWORD}");
    for refused in [
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOAUTH HELLO must be called with the client already authenticated",
        "ERR invalid password",
        "ERR invalid username-password pair",
        "ERR AUTH <password> called without any password configured for the default user.",
        "ERR Client sent AUTH, but no password is set",
    ] {
        let line = format!("-{refused}\r\n");
        let text = format!("HELLO: {refused}");
        is_refused(&with_password(), &[(&hello, &line)], "auth", &text).await;
        let script = [(hello.as_str(), UNKNOWN), (&auth, &line)];
        is_refused(&with_password(), &script, "auth", &format!("AUTH: {refused}")).await;
    }
    let noauth = "-NOAUTH Authentication required.\r\n";
    is_refused(&plain(), &[("HELLO 2", noauth)], "auth", "NOAUTH").await;
    let script = [("HELLO 2", "-ERR unknown command\r\n"), ("ROLE", noauth)];
    is_refused(&plain(), &script, "auth", "ROLE: NOAUTH").await;
    let script = [(hello.as_str(), UNKNOWN), (&auth, "-NOPERM no 'auth'\r\n")];
    is_refused(&with_password(), &script, "auth", "AUTH: NOPERM").await;
}

#[tokio::test]
async fn quoted_passwords_are_hidden() {
    let hello = format!("HELLO 2 AUTH default {PASSWORD}");
    let auth = format!("AUTH {PASSWORD}");
    for quoted in [
        format!("-ERR bad '{PASSWORD}' and '{PASSWORD}'\r\n"),
        r"-ERR bad 'hunter2-\xc3\xa4\'pass'".to_owned() + "\r\n",
        UNKNOWN.to_owned(),
    ] {
        let script = [(hello.as_str(), UNKNOWN), (&auth, &*quoted)];
        is_refused(&with_password(), &script, "auth", "AUTH: ERR").await;
    }
    let role = greeting().replace("$6\r\nmaster", &format!("+{PASSWORD}"));
    is_refused(&with_password(), &[(&hello, &role)], "refused", "role is \"***\"").await;
    // An echo server, cut off within the password or not.
    let echoed = String::from_utf8(encode(&[b"HELLO", b"2", b"AUTH", b"default", PASSWORD.as_bytes()])).unwrap();
    is_refused(&with_password(), &[(&hello, &echoed)], "protocol", "***").await;
    let cut = &echoed.replacen('*', "?", 1)[..echoed.len() - 6];
    is_refused(&with_password(), &[(&hello, cut)], "protocol", "***").await;
}

#[tokio::test]
async fn a_refused_name_or_database_is_final() {
    let greeting = greeting();
    let named = Login {
        client_name: Some("etl".into()),
        ..plain()
    };
    let script = [("HELLO 2", &*greeting), ("CLIENT SETNAME etl", "-NOPERM no\r\n")];
    is_refused(&named, &script, "auth", "CLIENT SETNAME: NOPERM no").await;
    let numbered = Login { db: 99, ..plain() };
    let script = [
        ("HELLO 2", &*greeting),
        ("SELECT 99", "-ERR DB index is out of range\r\n"),
    ];
    is_refused(&numbered, &script, "auth", "SELECT: ERR DB index is out of range").await;
}

#[tokio::test]
async fn a_server_may_ask_to_come_back_later() {
    let greeting = greeting();
    for text in [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "BUSY Redis is busy running a script",
        "CLUSTERDOWN The cluster is down",
        "ERR max number of clients reached",
    ] {
        let line = format!("-{text}\r\n");
        is_refused(&plain(), &[("HELLO 2", &line)], "connect", text).await;
        let script = [("HELLO 2", &*greeting), ("PING", &*line)];
        is_refused(&plain(), &script, "connect", text).await;
    }
}

#[tokio::test]
async fn ping_is_optional_and_echo_is_not() {
    let greeting = greeting();
    for refused in ["-NOPERM no\r\n", "-MISCONF disk\r\n"] {
        outcome(&plain(), &[("HELLO 2", &greeting), ("PING", refused), ECHO])
            .await
            .unwrap();
    }
    let script = [("HELLO 2", &*greeting), PONG, ("ECHO <nonce>", "-NOPERM no\r\n")];
    is_refused(&plain(), &script, "auth", "needs the permission +echo: NOPERM no").await;
    let script = [("HELLO 2", &*greeting), PONG, ("ECHO <nonce>", "-ERR what?\r\n")];
    is_refused(&plain(), &script, "refused", "refuses ECHO").await;
}

#[tokio::test]
async fn protected_mode_is_told_in_full_and_final() {
    let text = "DENIED Redis is running in protected mode because protected mode is enabled and \
                no password is set for the default user. In this mode connections are only \
                accepted from the loopback interface. If you want to connect from external \
                computers to Redis you may adopt one of the following solutions: 1) …";
    is_refused(&plain(), &[("HELLO 2", &format!("-{text}\r\n"))], "denied", text).await;
}

#[tokio::test]
async fn what_the_server_said_is_read_after_a_failed_write() {
    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"-DENIED protected mode\r\n").await.unwrap();
    drop(theirs);
    let error = login(&mut ours, &plain(), Probe::Nothing, After::Ready, "h:1", Channel::Plain)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

/// Logs in in one write, to a peer that says `greeting` at HELLO; tells what was written too.
async fn in_one_write(greeting: &str) -> (Result<Peer, Error>, String) {
    let (mut ours, mut theirs) = tokio::io::duplex(4096);
    let peer = async {
        let mut request = vec![0; 4096];
        let length = theirs.read(&mut request).await.unwrap();
        let request = String::from_utf8(request[..length].to_vec()).unwrap();
        let (_, echo) = request.split_once("$4\r\nECHO\r\n$32\r\n").unwrap();
        let rest = format!("+PONG\r\n-NOPERM no\r\n-NOPERM no\r\n$32\r\n{}\r\n", &echo[..32]);
        theirs.write_all(format!("{greeting}{rest}").as_bytes()).await.unwrap();
        (request, theirs)
    };
    let data = plain();
    let login = login(&mut ours, &data, Probe::Nothing, After::Held, "h:1", Channel::Plain);
    let (told, (request, _theirs)) = tokio::join!(login, peer);
    (told, request)
}

#[tokio::test]
async fn who_is_held_back_logs_in_in_one_write() {
    let (told, request) = in_one_write(&greeting()).await;
    assert_eq!(told.unwrap().client_id, Some(42));
    assert!(
        request.ends_with("*3\r\n$4\r\nWAIT\r\n$10\r\n2147483647\r\n$1\r\n0\r\n"),
        "{request}"
    );

    // It would have to be asked more, and answers nothing any more.
    for greeting in ["-ERR unknown command 'HELLO'\r\n", "*2\r\n+mode\r\n+standalone\r\n"] {
        let (told, _) = in_one_write(greeting).await;
        assert!(matches!(told, Err(Error::Protocol { .. })), "{told:?}");
    }
}

#[tokio::test]
async fn a_silent_hang_up_may_be_a_tls_port() {
    is_refused(&plain(), &[("HELLO 2", "")], "connect", "at HELLO (is it a TLS port?)").await;
    let (_, text) = refusal(&plain(), &[("HELLO 2", "*14\r\n")]).await;
    assert!(text.ends_with("closed the connection during login, at HELLO"), "{text}");
    let (_, text) = refusal(&plain(), &[("HELLO 2", &greeting()), ("PING", "+PO")]).await;
    assert!(text.ends_with("closed the connection during login, at PING"), "{text}");

    let (mut ours, theirs) = tokio::io::duplex(1024);
    drop(theirs);
    let error = login(
        &mut ours,
        &plain(),
        Probe::Nothing,
        After::Ready,
        "h:1",
        Channel::Encrypted,
    )
    .await
    .unwrap_err();
    assert!(!error.to_string().contains("TLS port"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn peers_of_other_protocols_are_named() {
    for (bytes, text) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "this looks like an HTTP server"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "this looks like an SSH server"),
        ("\x15\x03\x01\x00\x02\x02\x16", "this looks like a TLS port"),
    ] {
        is_refused(&plain(), &[("HELLO 2", bytes)], "protocol", text).await;
    }
    let (_, text) = refusal(&plain(), &[("HELLO 2", &"x".repeat(200))]).await;
    let shown = text.rsplit(' ').next().unwrap();
    assert_eq!(shown, "x".repeat(64), "{text}");

    // One that stays on the line after a few bytes costs a moment.
    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"HTT").await.unwrap();
    let error = login(&mut ours, &plain(), Probe::Nothing, After::Ready, "h:1", Channel::Plain)
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("at byte 0: HTT"), "{error}");
}

#[tokio::test]
async fn replies_that_do_not_belong_are_protocol_errors() {
    let greeting = greeting();
    let twice = hello(&[("role", "+master"), ("role", "+master")]);
    let odd_id = hello(&[("id", "+x"), ("mode", "+standalone"), ("role", "+master")]);
    for reply in [
        "+OK\r\n",
        "$-1\r\n",
        ":1\r\n",
        "*1\r\n+a\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "-ERR Protocol error: unauthenticated bulk length\r\n",
        &twice,
        &odd_id,
    ] {
        is_refused(&plain(), &[("HELLO 2", reply)], "protocol", "unexpected reply to HELLO").await;
    }
    let unknown = ("HELLO 2", "-ERR unknown command\r\n");
    for reply in ["+master\r\n", "*0\r\n", "*1\r\n:1\r\n"] {
        is_refused(&plain(), &[unknown, ("ROLE", reply)], "protocol", "reply to ROLE").await;
    }
    for reply in ["+PING\r\n", "$-1\r\n", ":1\r\n"] {
        let script = [("HELLO 2", &*greeting), ("PING", reply)];
        is_refused(&plain(), &script, "protocol", "reply to PING").await;
    }
    for reply in [
        "$3\r\nfoo\r\n",
        "$-1\r\n",
        "$33\r\n<nonce>x\r\n",
        "*1\r\n$32\r\n<nonce>\r\n",
    ] {
        let script = [("HELLO 2", &*greeting), PONG, ("ECHO <nonce>", reply)];
        let error = outcome_of_changing_nonce(&script).await;
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

/// The text of these errors quotes the nonce, so it is not the same twice.
async fn outcome_of_changing_nonce(script: Script<'_>) -> Error {
    for piece in 1..60 {
        let error = converse(&plain(), script, piece).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
    converse(&plain(), script, usize::MAX).await.unwrap_err()
}

#[tokio::test]
async fn one_reply_too_many_is_a_protocol_error() {
    let greeting = greeting();
    let script = [
        ("HELLO 2", &*greeting),
        PONG,
        ("ECHO <nonce>", "$32\r\n<nonce>\r\n+OK\r\n"),
    ];
    let error = converse(&plain(), &script, usize::MAX).await.unwrap_err();
    assert!(
        error.to_string().contains("more than one reply to ECHO: +OK"),
        "{error}"
    );
    let twice = greeting.repeat(2);
    let error = converse(&plain(), &[("HELLO 2", &twice)], usize::MAX)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than one reply to HELLO"), "{error}");
    // Among the last questions it moves the others from their places.
    let script = [
        ("HELLO 2", &*greeting),
        ("PING", "+PONG\r\n+PONG\r\n"),
        ("CLIENT INFO", "+id=42 addr=10.0.0.1:4711\r\n"),
        ("INFO server", "+run_id:0123456789ab\r\n"),
        ECHO,
    ];
    let error = converse(&plain(), &script, usize::MAX).await.unwrap_err();
    assert!(error.to_string().contains("unexpected reply to ECHO"), "{error}");
}

#[tokio::test]
async fn a_reply_without_end_is_cut_short() {
    let endless = format!("$1000000\r\n{}", "x".repeat(100_000));
    let whole = format!("$70000\r\n{}\r\n", "x".repeat(70_000));
    for reply in [endless, whole] {
        for piece in [997, usize::MAX] {
            let error = converse(&plain(), &[("HELLO 2", &reply)], piece).await.unwrap_err();
            let text = "the reply to HELLO is longer than 65536 bytes";
            assert!(error.to_string().ends_with(text), "{error}");
        }
    }
}

#[tokio::test]
async fn error_texts_are_printable_and_short() {
    let line = format!("-WRONGPASS \x1b[2J{}\r\n", "x".repeat(5000));
    let (_, text) = refusal(&plain(), &[("HELLO 2", &line)]).await;
    assert!(text.contains(r"WRONGPASS \x1b[2J"), "{text}");
    assert!(text.len() < 1200, "{}", text.len());
}

#[test]
fn debug_output_hides_the_password() {
    let text = format!("{:?}", with_user());
    assert!(!text.contains("hunter2"), "{text}");
}
