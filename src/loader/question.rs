//! What JavaScript asks about the load, on the load's own connection and behind all that was executed.

use std::time::Duration;

use super::checkpoint::Progress;
use super::work::Loader;
use super::{Notice, lock};
use crate::config::WaitReplicas;
use crate::connection::handshake::Peer;
use crate::connection::question::encode;
use crate::error::Error;
use crate::resp::reply::printable;
use crate::resp::value::{Value, parse};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Do as many replicas as `waitReplicas` says hold everything?
    Replicas,
    /// How many error replies has the server counted since the load began?
    ErrorReplies,
    /// What is the last batch that the server holds?
    Checkpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They do.
    Held,
    /// `None`: the server will not say, or it was started anew meanwhile.
    ErrorReplies(Option<u64>),
    Checkpoint(Option<Progress>),
}

/// The count of error replies when the load began.
#[derive(Debug, Default)]
pub(super) struct Audit {
    began: Option<(Option<String>, u64)>,
}

impl Audit {
    /// The first connection of the load is up.
    pub(super) fn begin(&mut self, peer: &Peer) {
        if self.began.is_none()
            && let Some(replies) = peer.error_replies
        {
            self.began = Some((peer.run_id.clone(), replies));
        }
    }

    fn since(&self, peer: Option<&Peer>, now: Option<u64>) -> Option<u64> {
        let (run, began) = self.began.as_ref()?;
        let same = run.is_some() && peer.is_some_and(|peer| peer.run_id == *run);
        now?.checked_sub(*began).filter(|_| same)
    }
}

impl Loader {
    /// Takes on a question; what it is about is known by the ticket.
    pub(super) fn ask(&mut self, ticket: u32, question: Question) {
        let (requests, may_take) = match question {
            Question::Replicas => match self.shared.config.wait_replicas {
                Some(wait) => (wait_requests(wait), wait.timeout),
                None => return self.tell_answer(ticket, Ok(Answer::Held)),
            },
            Question::ErrorReplies => (vec![encode(&[b"INFO", b"stats"])], Duration::ZERO),
            Question::Checkpoint => match &mut self.checkpoint {
                Some(checkpoint) => {
                    checkpoint.adopt();
                    (vec![checkpoint.question()], Duration::ZERO)
                }
                None => return self.tell_answer(ticket, Ok(Answer::Checkpoint(None))),
            },
        };
        self.asked.insert(ticket, question);
        self.exchange.ask(ticket, &requests, may_take);
    }

    /// Passes on what was answered, and what never will be.
    pub(super) fn tell_answers(&mut self) {
        for (ticket, reply) in self.exchange.take_told() {
            let Some(question) = self.asked.remove(&ticket) else {
                continue;
            };
            let answer = self.answer(question, &values(&reply));
            self.tell_answer(ticket, answer);
        }
        for (ticket, error) in self.exchange.take_unanswered() {
            self.asked.remove(&ticket);
            self.tell_answer(ticket, Err(error));
        }
    }

    fn answer(&self, question: Question, replies: &[Value]) -> Result<Answer, Error> {
        let last = replies.last().unwrap_or(&Value::Null);
        match (question, &self.checkpoint) {
            (Question::Replicas, _) => self.replicas(replies, last).map(|()| Answer::Held),
            (Question::ErrorReplies, _) => {
                let now = error_replies(last);
                Ok(Answer::ErrorReplies(self.audit.since(self.peer.as_ref(), now)))
            }
            (Question::Checkpoint, Some(checkpoint)) => match last {
                Value::Error(text) => Err(self.refused(format!("HGETALL of the checkpoint: {}", printable(text)))),
                reply => Ok(Answer::Checkpoint(checkpoint.answer(reply))),
            },
            (Question::Checkpoint, None) => Ok(Answer::Checkpoint(None)),
        }
    }

    fn replicas(&self, replies: &[Value], last: &Value) -> Result<(), Error> {
        let wanted = self.shared.config.wait_replicas.map_or(0, |wait| wait.count);
        let address = || self.shared.config.server.to_string();
        // The connection that has written everything needs no PUBLISH.
        let changed = lock(&self.shared.known).totals.reconnects > 0 && self.checkpoint.is_none();
        let refused = replies.iter().find_map(|reply| match reply {
            Value::Error(text) if changed || std::ptr::eq(reply, last) => Some(text),
            _ => None,
        });
        match (refused, last) {
            (Some(text), _) if text.starts_with(b"NOPERM") => Err(Error::Auth {
                address: address(),
                reason: format!("waitReplicas needs {}: {}", needed(text), printable(text)),
            }),
            (Some(text), _) => Err(self.refused(format!("WAIT was refused: {}", printable(text)))),
            (None, Value::Integer(held)) if *held >= i64::from(wanted) => Ok(()),
            (None, Value::Integer(held)) => {
                Err(self.refused(format!("only {held} of {wanted} replicas hold the data (waitReplicas)")))
            }
            _ => Err(Error::Protocol {
                address: address(),
                reason: "WAIT was not answered by a number".to_owned(),
            }),
        }
    }

    fn tell_answer(&mut self, ticket: u32, answer: Result<Answer, Error>) {
        self.tell(Notice::Answered { ticket, answer });
    }

    fn refused(&self, reason: String) -> Error {
        Error::Refused {
            address: self.shared.config.server.to_string(),
            reason,
        }
    }
}

/// WAIT speaks of what its own connection has written. By something that goes to the replicas and changes nothing,
/// it is first put behind all writes before it, be they of another connection.
fn wait_requests(wait: WaitReplicas) -> Vec<Vec<u8>> {
    let (count, timeout) = (wait.count.to_string(), wait.timeout.as_millis().to_string());
    vec![
        encode(&[b"PUBLISH", b"respipe:wait", b""]),
        encode(&[b"WAIT", count.as_bytes(), timeout.as_bytes()]),
    ]
}

fn values(mut replies: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some((value, length)) = parse(replies) {
        values.push(value);
        replies = &replies[length..];
    }
    values
}

/// What a user may not do, as the server says.
fn needed(text: &[u8]) -> &'static str {
    if text.windows(6).any(|word| word == b"'wait'") {
        "WAIT"
    } else {
        "PUBLISH to respipe:wait, once the connection has changed"
    }
}

/// `total_error_replies` of `INFO stats`; servers before Redis 6.2 do not count.
fn error_replies(reply: &Value) -> Option<u64> {
    let Value::Text(text) = reply else { return None };
    let text = str::from_utf8(text).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("total_error_replies:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(run: &str, replies: Option<u64>) -> Peer {
        Peer {
            run_id: Some(run.to_owned()),
            error_replies: replies,
            ..Peer::default()
        }
    }

    #[test]
    fn error_replies_are_counted_within_one_run_of_the_server() {
        let mut audit = Audit::default();
        audit.begin(&peer("a", Some(5)));
        audit.begin(&peer("a", Some(9)));
        assert_eq!(audit.since(Some(&peer("a", None)), Some(12)), Some(7));
        assert_eq!(audit.since(Some(&peer("b", None)), Some(12)), None);
        assert_eq!(audit.since(Some(&peer("a", None)), None), None);
        // Somebody has reset the count.
        assert_eq!(audit.since(Some(&peer("a", None)), Some(1)), None);
        assert_eq!(Audit::default().since(Some(&peer("a", None)), Some(1)), None);
    }

    #[test]
    fn the_count_is_read_from_info() {
        let info = Value::Text(b"# Stats\r\ntotal_error_replies:42\r\nx:1\r\n".to_vec());
        assert_eq!(error_replies(&info), Some(42));
        assert_eq!(error_replies(&Value::Text(b"# Stats\r\n".to_vec())), None);
        assert_eq!(error_replies(&Value::Error(b"NOPERM".to_vec())), None);
    }
}
