//! What goes over the wire in one piece: a segment of commands, or what frames a batch.

use std::ops::Range;
use std::time::Duration;

use super::fence::Fence;
use crate::batch::Segment;
use crate::command::{self, first_key};
use crate::config::Transaction;
use crate::resp::walk;

#[derive(Debug)]
pub(super) enum Frame {
    /// `CLIENT REPLY OFF`: no reply to what follows.
    Silence,
    /// `CLIENT REPLY ON`: the first to be answered again.
    Speech,
    Multi(u64),
    Data(Data),
    /// The last command of a transaction that stores how far the load is.
    Mark(Mark),
    Exec(u64),
    Fence(Fence),
    Question(Question),
    /// Lets the next connection go: the last word on this one.
    Release(Vec<u8>),
}

/// A command of ours that ends a transaction of the batch.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) batch: u64,
    pub(super) request: Vec<u8>,
}

/// Commands of ours whose replies go to whoever asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) ticket: u32,
    pub(super) request: Vec<u8>,
    /// How many it has.
    pub(super) replies: usize,
    /// So long may pass before the reply comes.
    pub(super) may_take: Duration,
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Silence => b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n",
            Self::Speech => b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n",
            Self::Multi(_) => b"*1\r\n$5\r\nMULTI\r\n",
            Self::Data(data) => data.bytes(),
            Self::Mark(mark) => &mark.request,
            Self::Exec(_) => b"*1\r\n$4\r\nEXEC\r\n",
            Self::Fence(fence) => fence.request(),
            Self::Question(question) => &question.request,
            Self::Release(request) => request,
        }
    }

    /// Bytes of the replies that are still to come, if they are as short as replies can be. Only of what may be many.
    pub(super) fn owed(&self) -> usize {
        const SHORTEST: usize = ":0\r\n".len();
        const QUEUED: usize = "+QUEUED\r\n".len();

        let Self::Data(data) = self else { return 0 };
        let each = match data.transaction {
            Transaction::Off => SHORTEST,
            Transaction::EachBatch => QUEUED + SHORTEST,
        };
        each * data.unanswered() as usize
    }

    /// What it counts for in the window.
    pub(super) fn weight(&self) -> usize {
        match self {
            // Nothing of the load's.
            Self::Release(_) => 0,
            frame => frame.bytes().len(),
        }
    }

    /// About so many of its bytes are answered.
    pub(super) fn answered_bytes(&self) -> usize {
        match self {
            Self::Data(data) if data.answered > 0 => {
                data.bytes().len() / data.commands() as usize * data.answered as usize
            }
            _ => 0,
        }
    }

    /// Within a transaction: once that is begun, it is written to its end.
    pub(super) fn is_within_transaction(&self) -> bool {
        match self {
            Self::Data(data) => data.transaction == Transaction::EachBatch,
            Self::Mark(_) | Self::Exec(_) => true,
            Self::Silence | Self::Speech | Self::Multi(_) | Self::Fence(_) | Self::Question(_) | Self::Release(_) => {
                false
            }
        }
    }

    /// The batch that it is a part of.
    pub(super) fn batch(&self) -> Option<u64> {
        match self {
            Self::Multi(batch) | Self::Exec(batch) => Some(*batch),
            Self::Data(data) => Some(data.batch),
            Self::Mark(mark) => Some(mark.batch),
            Self::Fence(fence) => fence.ends,
            Self::Silence | Self::Speech | Self::Question(_) | Self::Release(_) => None,
        }
    }
}

/// Whether a command may have been done before, over a connection that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is written for the first time.
    None,
    /// It may have been. A refusal that depends on the key alone would have met the first one too.
    Alone,
    /// It may have been, and what came behind it on its key as well: a refusal says nothing of the first one.
    Shared,
}

/// A segment, or what is left of it behind a cut.
#[derive(Debug)]
pub(super) struct Data {
    segment: Segment,
    pub(super) batch: u64,
    /// Of the batch.
    pub(super) transaction: Transaction,
    /// Where the first command that counts starts, and how many lie before it.
    from: usize,
    skipped: u32,
    /// The first one's place among the commands of its `exec()`.
    index: u64,
    /// How many of them were answered.
    pub(super) answered: u32,
    pub(super) doubt: Doubt,
    /// So many of its first commands were written before, and certainly not executed.
    undone: u32,
    /// Where the replies belong, if not behind all others: the first of as many holes among the batch's.
    pub(super) holes: Option<u32>,
    /// Bytes of commands that live on in pieces of their own.
    copied: usize,
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

const START: Place = Place { at: 0, command: 0 };

impl Data {
    pub(super) fn new(segment: Segment, batch: u64, index: u64, transaction: Transaction) -> Self {
        Self {
            segment,
            batch,
            transaction,
            from: 0,
            skipped: 0,
            index,
            answered: 0,
            doubt: Doubt::None,
            undone: 0,
            holes: None,
            copied: 0,
            looked_up: START,
            written: START,
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

    /// The hole that the next reply belongs into.
    pub(super) fn next_hole(&self) -> Option<u32> {
        self.holes.map(|first| first + self.answered)
    }

    /// Name and key of the next command to be answered.
    pub(super) fn next_command(&mut self) -> (String, Option<Vec<u8>>) {
        describe(&self.words(self.answered))
    }

    /// The words of the command at `at`, from 0.
    pub(super) fn words(&mut self, at: u32) -> Vec<&[u8]> {
        let start = self.locate(at);
        walk::words(self.segment.bytes(), start).unwrap_or_default()
    }

    /// The words of several commands, from 0.
    pub(super) fn all_words(&self, commands: Range<u32>) -> Vec<Vec<&[u8]>> {
        let bytes = self.segment.bytes();
        let ends = std::iter::successors(Some(self.from), |at| walk::end_of_command(bytes, *at));
        ends.skip(commands.start as usize)
            .take(commands.len())
            .map(|at| walk::words(bytes, at).unwrap_or_default())
            .collect()
    }

    /// Of how many commands something lies within the first `offset` bytes.
    pub(super) fn begun_within(&mut self, offset: usize) -> u32 {
        let whole = self.commands_within(offset);
        whole + u32::from(self.written.at < self.from + offset)
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

    /// How many bytes behind `offset` hold at most so many ends of commands, of which there are so many: up to such an
    /// end, unless `room` is less.
    pub(super) fn within(&mut self, offset: usize, commands: u64, room: usize) -> (u64, usize) {
        let left = u64::from(self.commands() - self.commands_within(offset));
        let bytes = self.segment.bytes();
        let (start, end) = (self.from + offset, bytes.len());
        if left <= commands && end - start <= room {
            return (left, end - start);
        }
        let (mut count, mut at) = (0, self.written.at);
        while count < commands
            && let Some(next) = walk::end_of_command(bytes, at)
        {
            if next - start > room {
                return (count, room);
            }
            at = next;
            count += 1;
        }
        (count, at.saturating_sub(start))
    }

    /// Drops the commands that lie wholly within the first `offset` bytes.
    pub(super) fn cut(&mut self, offset: usize) {
        let commands = self.commands_within(offset);
        self.skip(commands);
        self.answered = 0;
    }

    /// Drops those that were answered. Of all of them the first `written` were written; the others were not executed.
    pub(super) fn rewind(&mut self, written: u32) {
        let answered = self.answered;
        self.skip(answered);
        self.undone = written.saturating_sub(answered);
        self.restart();
    }

    /// Drops the first `commands`.
    fn skip(&mut self, commands: u32) {
        self.from = self.locate(commands);
        self.skipped += commands;
        self.index += u64::from(commands);
        self.holes = self.holes.map(|first| first + commands);
        self.undone = self.undone.saturating_sub(commands);
    }

    /// How many of its commands were written before.
    pub(super) fn written_before(&self) -> u32 {
        match self.doubt {
            Doubt::None => self.undone,
            Doubt::Alone | Doubt::Shared => self.commands(),
        }
    }

    /// Some of its commands, to be written again; they leave this one.
    pub(super) fn piece(&mut self, commands: Range<u32>) -> Self {
        let (start, end) = (self.locate(commands.start), self.locate(commands.end));
        let bytes = self.segment.bytes()[start..end].to_vec();
        self.copied += bytes.len();
        let segment = Segment {
            len: bytes.len(),
            bytes,
            commands: commands.end - commands.start,
        };
        Self {
            doubt: self.doubt,
            holes: self.holes.map(|first| first + commands.start),
            ..Self::new(
                segment,
                self.batch,
                self.index + u64::from(commands.start),
                self.transaction,
            )
        }
    }

    /// Takes in what follows it directly, where it is of the same kind; else gives it back.
    pub(super) fn join(&mut self, next: Self) -> Option<Self> {
        let follows = self.batch == next.batch
            && self.doubt == next.doubt
            && self.index + u64::from(self.commands()) == next.index
            && self.holes.map(|first| first + self.commands()) == next.holes
            && self.segment.bytes.len() == self.segment.len
            && next.from == 0;
        if !follows {
            return Some(next);
        }
        self.segment.bytes.extend_from_slice(next.segment.bytes());
        self.segment.len = self.segment.bytes.len();
        self.segment.commands += next.segment.commands;
        None
    }

    /// As if nothing of it had been written.
    pub(super) fn restart(&mut self) {
        self.answered = 0;
        self.written = Place {
            at: self.from,
            command: self.skipped,
        };
    }

    /// What was its memory, and for how many bytes of commands that were settled in here it counts.
    pub(super) fn into_segment(self) -> (Segment, usize) {
        let bytes = self.segment.bytes().len() - self.copied;
        (self.segment, bytes)
    }

    /// Where the command at `at` starts, from 0 at the first one that counts.
    fn locate(&mut self, at: u32) -> usize {
        let wanted = self.skipped + at;
        let mut place = if self.looked_up.command <= wanted {
            self.looked_up
        } else {
            START
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
        place.at
    }
}

/// Name and first key of a command, for people.
fn describe(words: &[&[u8]]) -> (String, Option<Vec<u8>>) {
    let name = words.first().copied().unwrap_or_default();
    let key = command::of(words).and_then(|command| first_key(command, words));
    (
        String::from_utf8_lossy(name).to_ascii_uppercase(),
        key.map(<[u8]>::to_vec),
    )
}
