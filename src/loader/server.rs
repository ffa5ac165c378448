//! For the tests: a server in this process whose connections behave as scripted, and what JavaScript would hold.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Listener, Notice, Report, Shared, lock, run};
use crate::config::{Config, Login, Replies, Resend, Retry, Server, Throttle, Transaction, WhenFull};
use crate::connection::state::peer::{Model, Session, commands, wire};
use crate::resp::value::Value;

/// More than any test has.
const NOTICES: usize = 100_000;

/// How a connection behaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    Sound,
    /// Hangs up at once.
    HangsUp,
    /// Never answers the login.
    Silent,
    /// Refuses the login.
    WrongPass,
    /// Logs in, answers so many commands, and hangs up when asked for more.
    Answers(usize),
    /// Logs in, and hangs up with the answer to the last of so many commands.
    Ends(usize),
    /// Logs in, and never answers a command.
    Mute,
    /// Logs in, and answers everything with this.
    Says(&'static [u8]),
}

/// Plays its scripts in turn, the last one for ever.
pub(super) struct ScriptedServer {
    pub(super) port: u16,
    inner: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

struct Inner {
    scripts: VecDeque<Script>,
    model: Model,
    connections: usize,
}

impl ScriptedServer {
    pub(super) async fn start(scripts: &[Script]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Mutex::new(Inner {
            scripts: scripts.iter().copied().collect(),
            model: Model::default(),
            connections: 0,
        }));
        let task = tokio::spawn({
            let inner = Arc::clone(&inner);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let script = {
                        let mut inner = lock(&inner);
                        inner.connections += 1;
                        match inner.scripts.len() {
                            1 => inner.scripts[0],
                            _ => inner.scripts.pop_front().unwrap(),
                        }
                    };
                    tokio::spawn(play(stream, script, Arc::clone(&inner)));
                }
            }
        });
        Self { port, inner, task }
    }

    pub(super) fn connections(&self) -> usize {
        lock(&self.inner).connections
    }

    /// Tags of the commands that were done.
    pub(super) fn applied(&self) -> Vec<u64> {
        lock(&self.inner).model.applied.clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(mut stream: TcpStream, script: Script, inner: Arc<Mutex<Inner>>) {
    let (mut bytes, mut session, mut logged_in, mut answered) = (Vec::new(), Session::default(), false, 0);
    if matches!(script, Script::HangsUp) {
        return;
    }
    stream.set_nodelay(true).unwrap();
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let (found, length) = commands(&bytes);
        bytes.drain(..length);
        let mut replies = Vec::new();
        for words in found {
            if logged_in {
                match script {
                    Script::Answers(count) if answered == count => return hang_up(stream, &replies).await,
                    Script::Says(says) => replies.extend_from_slice(says),
                    Script::Mute => {}
                    _ => {
                        let command = wire(&words.join(" "));
                        replies.extend(session.feed(&mut lock(&inner).model, &command));
                        answered += 1;
                        if matches!(script, Script::Ends(count) if answered == count) {
                            return hang_up(stream, &replies).await;
                        }
                    }
                }
                continue;
            }
            let reply = match (words[0].as_str(), script) {
                (_, Script::Silent) => String::new(),
                ("HELLO", Script::WrongPass) => "-WRONGPASS no\r\n".to_owned(),
                ("HELLO", _) => "*6\r\n+id\r\n:7\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n".to_owned(),
                ("ECHO", _) => {
                    logged_in = true;
                    format!("$32\r\n{}\r\n", words[1])
                }
                _ => "+PONG\r\n".to_owned(),
            };
            replies.extend(reply.into_bytes());
        }
        if stream.write_all(&replies).await.is_err() {
            return;
        }
    }
}

async fn hang_up(mut stream: TcpStream, replies: &[u8]) {
    stream.write_all(replies).await.ok();
    stream.shutdown().await.ok();
    // Read out, so that the replies are not lost to a reset.
    while stream.read_buf(&mut Vec::new()).await.is_ok_and(|read| read > 0) {}
}

pub(crate) fn attempts(attempts: u32, config: Config) -> Config {
    Config {
        retry: Retry {
            attempts: Some(attempts),
            ..config.retry
        },
        ..config
    }
}

pub(crate) fn config(port: u16) -> Config {
    Config {
        server: Server::Tcp {
            host: "127.0.0.1".into(),
            port,
        },
        tls: None,
        login: Login::default(),
        connect_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(30),
        retry: Retry {
            first_connect: 3,
            attempts: None,
            max_elapsed: Duration::from_secs(60),
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
        },
        replies: Replies::Check,
        transaction: Transaction::Off,
        auto_exec: None,
        max_buffered: 1 << 20,
        when_full: WhenFull::Throw,
        max_in_flight: 1 << 16,
        reconnect_every: 0,
        resend: Resend::None,
        checkpoint: None,
        wait_replicas: None,
        max_failures: 100,
        throttle: Throttle::default(),
    }
}

/// A pipeline as JavaScript holds it.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    notices: mpsc::Receiver<Notice>,
    task: JoinHandle<()>,
}

struct Mailbox {
    notices: mpsc::Sender<Notice>,
    shared: OnceLock<Weak<Shared>>,
}

/// Nobody who hears anything.
pub(crate) struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _: Notice) {}
}

impl Listener for Mailbox {
    fn notify(&self, notice: Notice) {
        // Taken as early as JavaScript could: what was not counted by then would stay for ever.
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            match &notice {
                Notice::Executed { report, .. } => shared.taken(report.replies.len()),
                Notice::Queried { reply: Ok(reply), .. } => shared.taken(reply.len()),
                Notice::Failed(failure) => shared.heard(failure),
                _ => {}
            }
        }
        // Nobody may be left to hear it.
        self.notices.try_send(notice).expect("room for all notices of a test");
    }
}

/// No test waits so long unless something hangs.
const HANG: Duration = Duration::from_secs(20);

impl Client {
    pub(super) fn start(config: Config) -> Self {
        let (sender, notices) = mpsc::channel(NOTICES);
        let mailbox = Arc::new(Mailbox {
            notices: sender,
            shared: OnceLock::new(),
        });
        let shared = Arc::new(Shared::new(config, mailbox.clone()));
        mailbox.shared.get_or_init(|| Arc::downgrade(&shared));
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, notices, task }
    }

    pub(super) async fn next(&mut self) -> Notice {
        timeout(HANG, self.notices.recv())
            .await
            .expect("no hang")
            .expect("a notice")
    }

    /// The report under `ticket`, which has to be the next notice of an execution; tells the others before it.
    pub(super) async fn report(&mut self, wanted: u32) -> (Report, Vec<Notice>) {
        let mut others = Vec::new();
        loop {
            match self.next().await {
                Notice::Executed { ticket, report } => {
                    assert_eq!(ticket, wanted);
                    return (*report, others);
                }
                other => others.push(other),
            }
        }
    }

    /// What came and was not looked at.
    pub(super) fn pending(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    /// The task ends soon after a stop.
    pub(super) async fn ended(&mut self) {
        timeout(HANG, &mut self.task).await.expect("no hang").expect("no panic");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// succeeded, failed, unknown
pub(super) fn counts(report: &Report) -> (u64, u64, u64) {
    let outcome = &report.outcome;
    assert_eq!(outcome.commands, outcome.succeeded + outcome.failed + outcome.unknown);
    (outcome.succeeded, outcome.failed, outcome.unknown)
}

pub(super) fn code(report: &Report) -> Option<&'static str> {
    report.error.as_ref().map(crate::error::Error::code)
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}
