//! A model of a server: sessions that take commands one by one, in words, and data that outlives them.
//!
//! It knows no bytes and no time of its own: the world tells when it is, and carries out what a command does to
//! other connections.

use std::collections::BTreeMap;

use super::data::{Data, array, bulk};
use super::plan::{Refusal, tag};

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) data: Data,
    /// Data commands that were done, in order.
    pub(super) applied: Vec<Applied>,
    /// Commands of any kind that were looked at.
    pub(super) executed: u64,
    clients: BTreeMap<i64, Client>,
    last_id: i64,
    /// How often it was started again.
    restarts: u64,
    errors: u64,
    /// All that it refuses, until then.
    refusing: Option<(Refusal, u64)>,
    now: u64,
}

/// A data command that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// Of commands of the load, what they end with.
    pub(super) tag: usize,
    /// The connection, by its place among all that were ever made.
    pub(super) connection: usize,
    pub(super) at: u64,
    pub(super) reply: String,
}

#[derive(Debug)]
struct Client {
    connection: usize,
    address: String,
    /// Within a WAIT without end.
    blocked: bool,
}

/// One connection, as the server sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: i64,
    connection: usize,
    /// Read, and not yet executed.
    pub(super) received: Vec<u8>,
    /// Since MULTI.
    queued: Option<Vec<Vec<String>>>,
    /// A command was not even queued.
    aborted: Aborted,
    replies: Replies,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Aborted {
    #[default]
    No,
    Yes,
}

/// As by `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    On,
    Off,
}

/// What a command leads to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) reply: String,
    /// Connections that it ends.
    pub(super) kills: Vec<usize>,
    /// A connection that goes on.
    pub(super) unblocks: Option<usize>,
}

impl Session {
    pub(super) fn is_queueing(&self) -> bool {
        self.queued.is_some()
    }
}

impl Server {
    pub(super) fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    pub(super) fn accept(&mut self, connection: usize) -> Session {
        self.last_id += 1;
        let client = Client {
            connection,
            address: format!("10.0.0.1:{}", 40_000 + connection),
            blocked: false,
        };
        self.clients.insert(self.last_id, client);
        Session {
            id: self.last_id,
            connection,
            received: Vec::new(),
            queued: None,
            aborted: Aborted::No,
            replies: Replies::On,
        }
    }

    /// The session is over; what it had queued is forgotten with it.
    pub(super) fn close(&mut self, id: i64) {
        self.clients.remove(&id);
    }

    /// Whether a session is still the server's: it may have ended meanwhile.
    pub(super) fn knows(&self, session: &Session) -> bool {
        let client = self.clients.get(&session.id);
        client.is_some_and(|client| client.connection == session.connection)
    }

    /// Nothing of it is executed for now.
    pub(super) fn holds_back(&self, session: &Session) -> bool {
        self.clients.get(&session.id).is_some_and(|client| client.blocked)
    }

    /// Comes back with all its data, and without its connections.
    pub(super) fn restart(&mut self) {
        self.clients.clear();
        self.last_id = 0;
        self.restarts += 1;
        self.errors = 0;
        self.refusing = None;
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, until: u64) {
        self.refusing = Some((refusal, until));
    }

    pub(super) fn execute(&mut self, session: &mut Session, words: Vec<String>) -> Answer {
        self.executed += 1;
        let mut answer = Answer::default();
        let name = words[0].as_str();
        let refusal = self.refusal(session, name);
        answer.reply = match (name, &mut session.queued, refusal) {
            ("EXEC", Some(_), refusal) => self.exec(session, refusal),
            (_, queued, Some(error)) => {
                if queued.is_some() {
                    session.aborted = Aborted::Yes;
                }
                format!("-{error}\r\n")
            }
            ("MULTI", None, None) => {
                session.queued = Some(Vec::new());
                "+OK\r\n".to_owned()
            }
            ("MULTI", Some(_), None) => "-ERR MULTI calls can not be nested\r\n".to_owned(),
            ("DISCARD", Some(_), None) => {
                session.queued = None;
                session.aborted = Aborted::No;
                "+OK\r\n".to_owned()
            }
            ("EXEC" | "DISCARD", None, None) => format!("-ERR {name} without MULTI\r\n"),
            (_, Some(queued), None) => {
                queued.push(words);
                "+QUEUED\r\n".to_owned()
            }
            (_, None, None) => self.run(session, &words, &mut answer),
        };
        self.errors += answer
            .reply
            .split_inclusive("\r\n")
            .filter(|line| line.starts_with('-'))
            .count() as u64;
        if session.replies == Replies::Off {
            answer.reply.clear();
        }
        answer
    }

    fn exec(&mut self, session: &mut Session, refusal: Option<String>) -> String {
        let queued = session.queued.take().unwrap_or_default();
        if let Some(error) = refusal {
            session.aborted = Aborted::No;
            return format!("-EXECABORT Transaction discarded because of: {error}\r\n");
        }
        if std::mem::take(&mut session.aborted) == Aborted::Yes {
            return "-EXECABORT Transaction discarded because of previous errors.\r\n".to_owned();
        }
        let mut answer = Answer::default();
        array(queued.iter().map(|words| self.run(session, words, &mut answer)))
    }

    fn run(&mut self, session: &mut Session, words: &[String], answer: &mut Answer) -> String {
        if let Some(reply) = self.data.run(words) {
            if let Some(tag) = tag(words).filter(|_| !reply.starts_with('-')) {
                self.applied.push(Applied {
                    tag,
                    connection: session.connection,
                    at: self.now,
                    reply: reply.clone(),
                });
            }
            return reply;
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["HELLO", ..] => array([
                bulk("server"),
                bulk("redis"),
                bulk("version"),
                bulk("7.4.0"),
                bulk("proto"),
                ":2\r\n".to_owned(),
                bulk("id"),
                format!(":{}\r\n", session.id),
                bulk("mode"),
                bulk("standalone"),
                bulk("role"),
                bulk("master"),
                bulk("modules"),
                array([]),
            ]),
            ["PING"] => "+PONG\r\n".to_owned(),
            ["ECHO", text] => bulk(text),
            ["ROLE"] => array([bulk("master"), ":0\r\n".to_owned(), array([])]),
            ["INFO", ..] => bulk(&format!(
                "# Server\r\nrun_id:{:x}{:039}\r\n# Stats\r\ntotal_error_replies:{}\r\n",
                // Told from what fills the place of an unknown one.
                10 + self.restarts % 6,
                self.restarts,
                self.errors
            )),
            ["PUBLISH", ..] => ":0\r\n".to_owned(),
            // One replica, which is never behind.
            ["WAIT", "0" | "1", _] => ":1\r\n".to_owned(),
            ["WAIT", _, "0"] => {
                if let Some(client) = self.clients.get_mut(&session.id) {
                    client.blocked = true;
                }
                String::new()
            }
            ["CLIENT", "UNBLOCK", id] => self.unblock(id, answer),
            ["CLIENT", "ID"] => format!(":{}\r\n", session.id),
            ["CLIENT", "INFO"] => bulk(&self.describe(session.id)),
            ["CLIENT", "KILL", filters @ ..] => self.kill(filters, &mut answer.kills),
            ["CLIENT", "REPLY", "OFF"] => {
                session.replies = Replies::Off;
                String::new()
            }
            ["CLIENT", "REPLY", "ON"] => {
                session.replies = Replies::On;
                "+OK\r\n".to_owned()
            }
            ["AUTH" | "SELECT", ..] | ["CLIENT", "SETNAME" | "SETINFO" | "NO-TOUCH" | "NO-EVICT", ..] => {
                "+OK\r\n".to_owned()
            }
            _ => unknown(words[0]),
        }
    }

    fn describe(&self, id: i64) -> String {
        let address = self.clients.get(&id).map_or("?", |client| &client.address);
        format!("id={id} addr={address} laddr=10.0.0.2:6379 fd=8 name= age=0 idle=0 flags=N db=0 cmd=client|info\n")
    }

    fn unblock(&mut self, id: &str, answer: &mut Answer) -> String {
        let client = id.parse().ok().and_then(|id: i64| self.clients.get_mut(&id));
        let Some(client) = client.filter(|client| client.blocked) else {
            return ":0\r\n".to_owned();
        };
        client.blocked = false;
        answer.unblocks = Some(client.connection);
        ":1\r\n".to_owned()
    }

    /// Ends those that all filters fit; tells how many.
    fn kill(&self, filters: &[&str], kills: &mut Vec<usize>) -> String {
        let (filters, odd) = filters.as_chunks::<2>();
        if !odd.is_empty() || filters.is_empty() {
            return "-ERR syntax error\r\n".to_owned();
        }
        let before = kills.len();
        for (id, client) in &self.clients {
            let fits = filters.iter().all(|[name, value]| match *name {
                "ID" => value.parse() == Ok(*id),
                "ADDR" => *value == client.address,
                _ => true,
            });
            if fits {
                kills.push(client.connection);
            }
        }
        format!(":{}\r\n", kills.len() - before)
    }

    /// What a command is refused with before it is looked at any closer.
    fn refusal(&self, session: &Session, name: &str) -> Option<String> {
        const WRITES: [&str; 8] = ["SET", "GETSET", "INCR", "HSET", "LPUSH", "DEL", "HDEL", "UNLINK"];
        /// Those that take no memory.
        const FREES: [&str; 3] = ["DEL", "HDEL", "UNLINK"];
        const WHILE_LOADING: [&str; 9] = [
            "HELLO", "AUTH", "ECHO", "SELECT", "INFO", "CLIENT", "MULTI", "EXEC", "DISCARD",
        ];
        const WHILE_BUSY: [&str; 4] = ["HELLO", "AUTH", "MULTI", "DISCARD"];

        if name == "UNKNOWN" {
            return Some(unknown(name).trim_start_matches('-').trim_end().to_owned());
        }
        let (refusal, until) = self.refusing?;
        if self.now >= until {
            return None;
        }
        // EXEC answers for what it would run.
        let queued = session.queued.iter().flatten().map(|words| words[0].as_str());
        let mut names = std::iter::once(name).chain(queued.filter(|_| name == "EXEC"));
        let (refused, error) = match refusal {
            Refusal::Oom => (
                names.any(|name| WRITES.contains(&name) && !FREES.contains(&name)),
                "OOM command not allowed when used memory > 'maxmemory'.",
            ),
            Refusal::Readonly => (
                names.any(|name| WRITES.contains(&name)),
                "READONLY You can't write against a read only replica.",
            ),
            Refusal::Loading => (
                !WHILE_LOADING.contains(&name),
                "LOADING Redis is loading the dataset in memory",
            ),
            Refusal::Busy => (
                !WHILE_BUSY.contains(&name),
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            ),
        };
        refused.then(|| error.to_owned())
    }
}

fn unknown(name: &str) -> String {
    format!("-ERR unknown command '{name}', with args beginning with: \r\n")
}
