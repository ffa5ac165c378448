//! The fence against a real server, where there is one: the old connection ends, a stranger stays.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::super::link::{self, tests::config};
use super::super::tls::Connector;
use super::*;
use crate::config::{Config, Login, Secret, Server};

/// No test waits so long unless something hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// A server of this test's own, which ends with it.
struct RedisServer {
    program: PathBuf,
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl RedisServer {
    /// `None` where there is no such program: these tests then have nothing to say.
    async fn start() -> Option<Self> {
        let program = std::env::var_os("RESPIPE_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from);
        // Below the range that systems hand out to outgoing connections: still free at a restart.
        let port = loop {
            let port = fastrand::u16(10_240..30_240);
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break port;
            }
        };
        let folder = std::env::temp_dir().join(format!("respipe-fence-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let Some(child) = spawn(&program, port, &folder) else {
            std::fs::remove_dir_all(&folder).unwrap();
            return None;
        };
        let server = Self {
            program,
            port,
            folder,
            child,
        };
        server.answers().await;
        Some(server)
    }

    async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.program, self.port, &self.folder).unwrap();
        self.answers().await;
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill {signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn config(&self) -> Config {
        let host = "127.0.0.1".into();
        config(Server::Tcp { host, port: self.port }, None)
    }

    fn at_the_socket(&self) -> Config {
        Config {
            server: Server::Unix {
                path: self.folder.join("socket"),
            },
            ..self.config()
        }
    }

    async fn answers(&self) {
        let start = Instant::now();
        while try_open(&self.config()).await.is_err() {
            assert!(start.elapsed() < LIMIT, "the server does not answer");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn spawn(program: &Path, port: u16, folder: &Path) -> Option<Child> {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--unixsocket".as_ref(), folder.join("socket").as_os_str()])
        .args(["--dir".as_ref(), folder.as_os_str()])
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

async fn try_open(config: &Config) -> Result<Link, Error> {
    link::open(config, &Connector::new(config)?).await
}

async fn open(config: &Config) -> Link {
    try_open(config).await.unwrap()
}

async fn call(link: &mut Link, words: &str) -> Value {
    let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
    link.ask("a command", &encode(&words), LIMIT).await.unwrap()
}

/// Numbers go up: the connection that has just this one.
async fn with_number(config: &Config, number: Option<i64>) -> Link {
    loop {
        let link = open(config).await;
        if link.peer.client_id >= number {
            assert_eq!(link.peer.client_id, number);
            return link;
        }
    }
}

async fn has_ended(link: &mut Link) -> bool {
    let mut bytes = Vec::new();
    timeout(LIMIT, link.stream.read_to_end(&mut bytes))
        .await
        .expect("no hang")
        .is_ok()
        && bytes.is_empty()
}

#[tokio::test]
async fn an_old_connection_ends_and_no_other() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    for config in [server.config(), server.at_the_socket()] {
        let (mut old, mut bystander, mut new) = (open(&config).await, open(&config).await, open(&config).await);
        assert_eq!(fence(&mut new, &old.peer, LIMIT).await.unwrap(), Fenced::Done);
        assert!(has_ended(&mut old).await);
        // There is nothing any more to end.
        assert_eq!(fence(&mut new, &old.peer, LIMIT).await.unwrap(), Fenced::Done);
        assert_eq!(call(&mut bystander, "PING").await, Value::Text(b"PONG".to_vec()));
    }
}

#[tokio::test]
async fn nothing_of_an_old_connection_runs_behind_the_fence() {
    const COMMANDS: usize = 20_000;

    let Some(server) = RedisServer::start().await else {
        return;
    };
    for _ in 0..3 {
        let mut old = open(&server.config()).await;
        server.signal("-STOP");
        let commands = encode(&[b"INCR", b"counter"]).repeat(COMMANDS);
        // As much of it as the kernel takes.
        let writing = old.stream.write_all(&commands);
        timeout(Duration::from_millis(500), writing).await.ok();
        let config = server.config();
        let opening = tokio::spawn(async move { open(&config).await });
        sleep(Duration::from_millis(20)).await;
        server.signal("-CONT");
        let mut new = opening.await.unwrap();
        assert_eq!(fence(&mut new, &old.peer, LIMIT).await.unwrap(), Fenced::Done);
        let done = call(&mut new, "GET counter").await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(call(&mut new, "GET counter").await, done);
        call(&mut new, "DEL counter").await;
    }
}

#[tokio::test]
async fn a_stranger_with_the_old_number_survives() {
    let Some(mut server) = RedisServer::start().await else {
        return;
    };
    // High enough that the one who waits for the server's start does not have it.
    let mut before = Vec::new();
    while before.last().is_none_or(|link: &Link| link.peer.client_id < Some(50)) {
        before.push(open(&server.config()).await);
    }
    let old = before.pop().unwrap().peer;
    assert!(old.client_address.is_some() && old.run_id.is_some());
    drop(before);
    server.restart().await;

    let mut stranger = with_number(&server.config(), old.client_id).await;
    assert_ne!(stranger.peer.client_address, old.client_address);
    // In each degree of knowledge; the first without a word, the others with the address at most.
    for (address, run) in [(true, true), (true, false), (false, true), (false, false)] {
        let known = Peer {
            client_address: old.client_address.clone().filter(|_| address),
            run_id: old.run_id.clone().filter(|_| run),
            ..old.clone()
        };
        let mut new = open(&server.config()).await;
        let fenced = fence(&mut new, &known, LIMIT).await.unwrap();
        assert_eq!(fenced == Fenced::Done, address || run, "{fenced:?}");
        assert_eq!(call(&mut stranger, "PING").await, Value::Text(b"PONG".to_vec()));
    }
}

#[tokio::test]
async fn strangers_at_a_unix_socket_are_told_by_the_run_alone() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    // They all have one address, which the number of an earlier run would go with.
    let mut stranger = open(&server.at_the_socket()).await;
    let old = Peer {
        run_id: None,
        ..stranger.peer.clone()
    };
    assert_eq!(old.client_address, None);
    let mut new = open(&server.at_the_socket()).await;
    let fenced = fence(&mut new, &old, LIMIT).await.unwrap();
    assert!(matches!(fenced, Fenced::Impossible(_)), "{fenced:?}");
    assert_eq!(call(&mut stranger, "PING").await, Value::Text(b"PONG".to_vec()));
}

#[tokio::test]
async fn a_user_without_the_permission_cannot_fence() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut admin = open(&server.config()).await;
    call(&mut admin, "ACL SETUSER loader on >secret ~* -@all +echo").await;
    let loader = Config {
        login: Login {
            username: Some("loader".into()),
            password: Some(Secret::new("secret".into())),
            ..Default::default()
        },
        ..server.config()
    };
    // HELLO tells the number, and nothing tells the rest.
    let mut old = open(&loader).await;
    assert!(old.peer.client_id.is_some());
    assert_eq!((old.peer.client_address.clone(), old.peer.run_id.clone()), (None, None));
    let mut new = open(&loader).await;
    let fenced = fence(&mut new, &old.peer, LIMIT).await.unwrap();
    assert!(
        matches!(&fenced, Fenced::Impossible(reason) if reason.contains("run_id")),
        "{fenced:?}"
    );

    call(&mut admin, "ACL SETUSER loader +client|info").await;
    let mut old_too = open(&loader).await;
    let fenced = fence(&mut new, &old_too.peer, LIMIT).await.unwrap();
    assert!(
        matches!(&fenced, Fenced::Impossible(reason) if reason.contains("+client|kill")),
        "{fenced:?}"
    );
    call(&mut admin, "ACL SETUSER loader +client|kill").await;
    assert_eq!(fence(&mut new, &old_too.peer, LIMIT).await.unwrap(), Fenced::Done);
    assert!(has_ended(&mut old_too).await);
    assert!(old.is_quiet().await);
}
