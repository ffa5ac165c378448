//! What goes over the wire in one piece: a segment of commands, or what frames a batch.

use std::ops::Range;

use crate::batch::Segment;
use crate::command::{self, first_key};
use crate::resp::walk;

#[derive(Debug)]
pub(super) enum Frame {
    Multi,
    Data(Data),
    Exec,
    Fence(Fence),
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Multi => b"*1\r\n$5\r\nMULTI\r\n",
            Self::Data(data) => data.bytes(),
            Self::Exec => b"*1\r\n$4\r\nEXEC\r\n",
            Self::Fence(fence) => &fence.request,
        }
    }
}

/// `ECHO` of a nonce: the end of a batch. That it comes exactly where the count of replies says proves that
/// every reply before it was this batch's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    request: [u8; FENCE.len()],
}

/// The nonce is in place of the zeros.
const FENCE: &[u8; 53] = b"*2\r\n$4\r\nECHO\r\n$32\r\n00000000000000000000000000000000\r\n";
const NONCE: Range<usize> = 19..51;

/// Echoed as it was sent: the last word of the request is the reply.
const FENCE_REPLY: Range<usize> = 14..53;

impl Fence {
    pub(super) fn new() -> Self {
        let mut request = *FENCE;
        let mut random = fastrand::u128(..);
        for digit in &mut request[NONCE] {
            *digit = b"0123456789abcdef"[(random & 15) as usize];
            random >>= 4;
        }
        Self { request }
    }

    /// The bytes that answer it.
    pub(super) fn reply(&self) -> &[u8] {
        &self.request[FENCE_REPLY]
    }
}

/// Watches for a fence's reply among those of the commands before it: then some of these are missing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lookout {
    /// Bytes of the reply that is being read, as far as they are the fence's; `None` once they are not.
    matched: Option<usize>,
}

impl Lookout {
    /// A reply begins.
    pub(super) fn begin(&mut self) {
        self.matched = Some(0);
    }

    /// More of it has come. Tells whether the whole fence has.
    pub(super) fn sees(&mut self, bytes: &[u8], fence: &Fence) -> bool {
        let Some(matched) = self.matched else { return false };
        let matched = matched + bytes.len();
        let expected = fence.reply().get(..matched).unwrap_or_default();
        self.matched = expected
            .ends_with(bytes)
            .then_some(matched)
            .filter(|_| !expected.is_empty());
        self.matched == Some(fence.reply().len())
    }
}

/// A segment, or what is left of it behind a cut.
#[derive(Debug)]
pub(super) struct Data {
    segment: Segment,
    /// Where the first command that counts starts, and how many lie before it.
    from: usize,
    skipped: u32,
    /// The first one's place among the commands of its `exec()`.
    index: u64,
    /// How many of them were answered.
    pub(super) answered: u32,
    /// Where a command starts that was looked up before: errors come in order, so that all look-ups in a
    /// segment walk it once.
    looked_up: Place,
    /// The last command known to be wholly written ends here.
    written: Place,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    command: u32,
}

impl Data {
    pub(super) fn new(segment: Segment, index: u64) -> Self {
        let start = Place { at: 0, command: 0 };
        Self {
            segment,
            from: 0,
            skipped: 0,
            index,
            answered: 0,
            looked_up: start,
            written: start,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.segment.bytes()[self.from..]
    }

    pub(super) fn commands(&self) -> u32 {
        self.segment.commands() - self.skipped
    }

    pub(super) fn unanswered(&self) -> u32 {
        self.commands() - self.answered
    }

    /// The place of the next command to be answered.
    pub(super) fn next_index(&self) -> u64 {
        self.index + u64::from(self.answered)
    }

    /// Name and key of the next command to be answered.
    pub(super) fn next_command(&mut self) -> (String, Option<Vec<u8>>) {
        let wanted = self.skipped + self.answered;
        let mut place = if self.looked_up.command <= wanted {
            self.looked_up
        } else {
            Place { at: 0, command: 0 }
        };
        while place.command < wanted {
            let Some(end) = walk::end_of_command(self.segment.bytes(), place.at) else {
                break;
            };
            place = Place {
                at: end,
                command: place.command + 1,
            };
        }
        self.looked_up = place;
        describe(&walk::words(self.segment.bytes(), place.at).unwrap_or_default())
    }

    /// How many commands lie wholly within the first `offset` bytes.
    pub(super) fn commands_within(&mut self, offset: usize) -> u32 {
        let end = self.from + offset;
        if self.written.at < self.from {
            self.written = Place {
                at: self.from,
                command: self.skipped,
            };
        }
        while let Some(at) = walk::end_of_command(&self.segment.bytes()[..end], self.written.at) {
            self.written = Place {
                at,
                command: self.written.command + 1,
            };
        }
        self.written.command - self.skipped
    }

    /// Drops the commands that lie wholly within the first `offset` bytes.
    pub(super) fn cut(&mut self, offset: usize) {
        let commands = self.commands_within(offset);
        self.from = self.written.at;
        self.skipped += commands;
        self.index += u64::from(commands);
        self.answered = 0;
    }

    /// As if nothing of it had been written.
    pub(super) fn restart(&mut self) {
        self.answered = 0;
        self.written = Place {
            at: self.from,
            command: self.skipped,
        };
    }

    pub(super) fn into_segment(self) -> Segment {
        self.segment
    }
}

/// Name and first key of a command, for people.
fn describe(words: &[&[u8]]) -> (String, Option<Vec<u8>>) {
    let upper = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_uppercase();
    let name = words.first().map(|word| upper(word)).unwrap_or_default();
    let mut known = command::find(&name);
    if known.is_some_and(|command| command.container)
        && let Some(word) = words.get(1)
    {
        known = command::find(&format!("{name} {}", upper(word)));
    }
    let key = known.and_then(|command| first_key(command, words)).map(<[u8]>::to_vec);
    (name, key)
}
