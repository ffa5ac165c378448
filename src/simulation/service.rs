//! The server's half of the world: when it looks at which connection, and what befalls it.

use super::culprits;
use super::pipe::{Client, Heard, wake};
use super::plan::{End, Kind, Refusal};
use super::world::{Event, World};
use crate::resp::value::{Value, parse};

impl World {
    /// The server executes some of what it has got.
    pub(super) fn serve(&mut self, at: usize) {
        let lag = self.lag();
        let until = self.stalled_until.max(self.pipes[at].asleep_until);
        if self.now < until {
            return self.schedule(until - self.now + lag, Event::Serve(at));
        }
        let Some(mut session) = self.pipes[at].session.take() else {
            return;
        };
        let turn = self.pipes[at].up.arrived.len().min(self.weather.turn);
        let count = self.some(turn);
        session.received.extend(self.pipes[at].up.arrived.drain(..count));
        let (mut from, mut replied) = (0, 0);
        let mut alive = self.server.knows(&session);
        let mut refused_to_read = false;
        while alive && self.now >= self.stalled_until && !self.server.holds_back(&session) {
            let next = command(&session.received[from..]);
            let whole = next.as_ref().map(|(_, length)| *length);
            if self.reads_no_further(at, &session, &session.received[from..], whole) {
                replied += culprits::REFUSAL.len();
                (alive, refused_to_read) = (false, true);
                break;
            }
            let Some((words, length)) = next else { break };
            from += length;
            let before = self.server.applied.len();
            let answer = self.server.execute(&mut session, words);
            if self.server.applied.len() > before {
                self.applied_over(at);
            }
            replied += answer.reply.len();
            self.pipes[at].reply(length, &answer.reply);
            for killed in answer.kills {
                self.fence(killed);
            }
            if let Some(freed) = answer.unblocks {
                self.go_on(freed);
            }
            self.next_trouble();
            alive = self.server.knows(&session);
        }
        session.received.drain(..from);
        self.send(at, replied, Event::Down);
        if refused_to_read {
            self.end_behind_refusal(at);
        }
        if !alive {
            return;
        }
        let pipe = &mut self.pipes[at];
        let more = !pipe.up.arrived.is_empty() || self.now < self.stalled_until;
        let over = pipe.up.over().is_some() && !more;
        let refused = pipe.client == Client::GoneWithReset && from > 0;
        pipe.session = Some(session);
        wake(&mut pipe.writer);
        if over || refused {
            self.end_by_server(at);
        } else if more {
            self.schedule(lag, Event::Serve(at));
        }
    }

    /// A command of a load was done.
    fn applied_over(&mut self, at: usize) {
        if at < self.newest {
            self.note(match self.pipes[at].heard {
                Heard::Nothing => "a late command after a time-out",
                Heard::End => "a late command after an end",
            });
            self.tell(|| format!("connection {at}: a late command"));
        }
        self.newest = self.newest.max(at);
    }

    /// A connection is ended by CLIENT KILL.
    fn fence(&mut self, at: usize) {
        self.note("ended by CLIENT KILL");
        if self.pipes[at].unexecuted() > 0 {
            self.note(match self.pipes[at].heard {
                Heard::Nothing => "a fence against late commands after a time-out",
                Heard::End => "a fence against late commands after an end",
            });
        }
        self.end_by_server(at);
    }

    /// A connection that was held back is not any more: the reply to what held it, and whatever is behind that.
    fn go_on(&mut self, at: usize) {
        const REPLY: &str = ":1\r\n";

        self.note("a connection let go");
        self.pipes[at].reply(0, REPLY);
        self.send(at, REPLY.len(), Event::Down);
        self.schedule(0, Event::Serve(at));
    }

    fn next_trouble(&mut self) {
        let executed = self.server.executed;
        if self.troubles.front().is_none_or(|trouble| executed < trouble.after) {
            return;
        }
        let Some(trouble) = self.troubles.pop_front() else {
            return;
        };
        self.tell(|| format!("{:?} after {executed} commands", trouble.kind));
        match trouble.kind {
            Kind::Stall(millis) => {
                self.note("a stall of the server");
                self.stalled_until = self.now + millis;
            }
            Kind::Restart(millis) => {
                self.note("a restart of the server");
                self.down_until = self.now + millis;
                self.server.restart();
                for pipe in 0..self.pipes.len() {
                    self.end_by_server(pipe);
                }
            }
            Kind::Refuse(refusal, millis) => {
                self.note(match refusal {
                    Refusal::Oom => "OOM",
                    Refusal::Readonly => "READONLY",
                    Refusal::Loading => "LOADING",
                    Refusal::Busy => "BUSY",
                });
                self.server.refuse(refusal, self.now + millis);
            }
        }
    }

    /// The server's end of a connection is closed: what it had not executed never will be.
    pub(super) fn end_by_server(&mut self, at: usize) {
        let end = if self.rng.bool() { End::Fin } else { End::Reset };
        let pipe = &mut self.pipes[at];
        if let Some(session) = pipe.session.take() {
            self.server.close(session.id);
            if session.is_queueing() {
                self.seen.insert("an end within a transaction");
            }
        }
        pipe.up.end_here(End::Fin);
        pipe.up.arrived.clear();
        let left = self.rng.usize(..=pipe.down.flying());
        pipe.down.end(left, end);
        wake(&mut pipe.writer);
        let lag = self.lag();
        self.tell(|| format!("connection {at} closed by the server"));
        self.schedule(lag, Event::Down(at, 0));
    }
}

/// The first command in `bytes`, in words, and its length.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let (value, length) = parse(bytes)?;
    let Value::Array(words) = value else {
        panic!("not a command: {value:?}");
    };
    let words = words.into_iter().map(|word| match word {
        Value::Text(text) => String::from_utf8(text).expect("text"),
        other => panic!("not a word: {other:?}"),
    });
    Some((words.collect(), length))
}
