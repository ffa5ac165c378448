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
                Some(wait) => (self.wait_requests(wait), wait.timeout),
                None => return self.tell(ticket, Ok(Answer::Held)),
            },
            Question::ErrorReplies => (vec![encode(&[b"INFO", b"stats"])], Duration::ZERO),
            Question::Checkpoint => match &mut self.checkpoint {
                Some(checkpoint) => {
                    checkpoint.adopt();
                    (vec![checkpoint.question()], Duration::ZERO)
                }
                None => return self.tell(ticket, Ok(Answer::Checkpoint(None))),
            },
        };
        self.asked.insert(ticket, question);
        self.exchange.ask(ticket, &requests, may_take);
    }

    /// WAIT speaks of what its own connection has written. One that has written nothing yet is first put behind all
    /// writes before it, by something that goes to the replicas and changes nothing.
    fn wait_requests(&self, wait: WaitReplicas) -> Vec<Vec<u8>> {
        let (count, timeout) = (wait.count.to_string(), wait.timeout.as_millis().to_string());
        let mut requests = vec![encode(&[b"WAIT", count.as_bytes(), timeout.as_bytes()])];
        // With a checkpoint, each connection begins by writing itself in.
        if lock(&self.shared.known).totals.reconnects > 0 && self.checkpoint.is_none() {
            requests.insert(0, encode(&[b"PUBLISH", b"respipe:wait", b""]));
        }
        requests
    }

    /// Passes on what was answered, and what never will be.
    pub(super) fn tell_answers(&mut self) {
        for (ticket, reply) in self.exchange.take_told() {
            let Some(question) = self.asked.remove(&ticket) else {
                continue;
            };
            let answer = self.answer(question, &last(&reply));
            self.tell(ticket, answer);
        }
        for (ticket, error) in self.exchange.take_unanswered() {
            self.asked.remove(&ticket);
            self.tell(ticket, Err(error));
        }
    }

    fn answer(&self, question: Question, reply: &Value) -> Result<Answer, Error> {
        match question {
            Question::Replicas => self.replicas(reply).map(|()| Answer::Held),
            Question::ErrorReplies => {
                let now = error_replies(reply);
                Ok(Answer::ErrorReplies(self.audit.since(self.peer.as_ref(), now)))
            }
            Question::Checkpoint => Ok(Answer::Checkpoint(
                self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.answer(reply)),
            )),
        }
    }

    fn replicas(&self, reply: &Value) -> Result<(), Error> {
        let wanted = self.shared.config.wait_replicas.map_or(0, |wait| wait.count);
        let address = self.shared.config.server.to_string();
        match reply {
            Value::Integer(held) if *held >= i64::from(wanted) => Ok(()),
            Value::Integer(held) => Err(Error::Refused {
                address,
                reason: format!("only {held} of {wanted} replicas hold the data (waitReplicas)"),
            }),
            Value::Error(text) if text.starts_with(b"NOPERM") => Err(Error::Auth {
                address,
                reason: format!("waitReplicas needs {}: {}", needed(text), printable(text)),
            }),
            Value::Error(text) => Err(Error::Refused {
                address,
                reason: format!("WAIT was refused: {}", printable(text)),
            }),
            _ => Err(Error::Protocol {
                address,
                reason: "WAIT was not answered by a number".to_owned(),
            }),
        }
    }

    fn tell(&self, ticket: u32, answer: Result<Answer, Error>) {
        self.shared.listener.notify(Notice::Answered { ticket, answer });
    }
}

/// The last of several replies, or the first that is an error.
fn last(mut replies: &[u8]) -> Value {
    let mut last = Value::Null;
    while let Some((value, length)) = parse(replies) {
        if matches!(value, Value::Error(_)) {
            return value;
        }
        last = value;
        replies = &replies[length..];
    }
    last
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
