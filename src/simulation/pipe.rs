//! One connection as the world sees it: two lanes, the server's session, and how much of the commands is answered.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use memchr::memmem;

use super::lane::Lane;
use super::plan::{Hazards, Jam};
use super::server::Session;

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) up: Lane,
    pub(super) down: Lane,
    /// Until the server has ended it.
    pub(super) session: Option<Session>,
    pub(super) client: Client,
    pub(super) heard: Heard,
    /// As in its hazards.
    pub(super) tail: u64,
    pub(super) hang_up: Option<u64>,
    jam: Option<(usize, Jam)>,
    /// The server does not look before.
    pub(super) asleep_until: u64,
    /// Fewer unread bytes are not readable.
    pub(super) low_water: usize,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    answers: Answers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    There,
    Gone,
    /// With replies unread: the server's next one is answered by a reset, and it reads no further.
    GoneWithReset,
}

/// How the client learnt that a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    End,
}

/// Bytes since the start.
#[derive(Debug, Default)]
struct Answers {
    /// Taken from the client.
    sent: usize,
    /// Of whole commands, executed.
    executed: usize,
    /// Of replies to them.
    replied: usize,
    /// By the client.
    read: usize,
    /// Of each command that has a reply; those without one are answered with the next that has.
    marks: VecDeque<Mark>,
    /// The last of them that the client has read.
    reached: Mark,
}

/// Who has read `replied` bytes has the answer to `sent` bytes.
#[derive(Debug, Default)]
struct Mark {
    sent: usize,
    replied: usize,
}

impl Pipe {
    pub(super) fn new(hazards: &Hazards, session: Session) -> Self {
        Self {
            up: Lane::new(&hazards.up),
            down: Lane::new(&hazards.down),
            session: Some(session),
            client: Client::There,
            heard: Heard::Nothing,
            tail: hazards.tail,
            hang_up: hazards.hang_up,
            jam: hazards.jam,
            asleep_until: 0,
            low_water: 1,
            reader: None,
            writer: None,
            answers: Answers::default(),
        }
    }

    /// How many of these bytes the client's end takes before it is jammed, if it ever is.
    pub(super) fn before_jam(&self, bytes: &[u8]) -> Option<usize> {
        let (at, jam) = self.jam?;
        let at = at.saturating_sub(self.answers.sent);
        let rest = bytes.get(at..)?;
        match jam {
            Jam::Anywhere => Some(at),
            // Where nothing was taken yet, or the last write ended with a command, this is such a place.
            Jam::BetweenCommands if at == 0 && rest.starts_with(b"*") => Some(0),
            Jam::BetweenCommands => memmem::find(rest, b"\r\n*").map(|end| at + end + 2),
        }
    }

    /// The client writes. Returns how many bytes are not answered.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        self.up.push(bytes.iter().copied());
        self.answers.sent += bytes.len();
        self.answers.sent - self.answers.reached.sent
    }

    /// A command of `length` bytes was executed.
    pub(super) fn reply(&mut self, length: usize, reply: &str) {
        let answers = &mut self.answers;
        answers.executed += length;
        answers.replied += reply.len();
        if !reply.is_empty() {
            answers.marks.push_back(Mark {
                sent: answers.executed,
                replied: answers.replied,
            });
        }
        self.down.push(reply.bytes());
    }

    /// The client reads `count` bytes that have arrived.
    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        let answers = &mut self.answers;
        answers.read += count;
        while let Some(mark) = answers.marks.front()
            && mark.replied <= answers.read
        {
            answers.reached = answers.marks.pop_front().unwrap_or_default();
        }
        self.down.arrived.drain(..count).collect()
    }

    pub(super) fn is_within_a_reply(&self) -> bool {
        self.answers.reached.replied < self.answers.read
    }

    /// Bytes that the server has got, or will get, and has not executed.
    pub(super) fn unexecuted(&self) -> usize {
        let received = self.session.as_ref().map_or(0, |session| session.received.len());
        self.up.held() + received
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = mem::take(waker) {
        waker.wake();
    }
}
