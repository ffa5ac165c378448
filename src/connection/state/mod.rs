//! What is on its way over one connection, and what every reply means: a pure machine.
//!
//! Batches come in from the loader and become frames; the task asks for bytes to write, tells how many were
//! written, and hands over what it read. Finished batches go back to the loader. No clock, no socket.
//!
//! ```text
//!              push                wrote                   received
//!   batch ──▶ [frames, unsent] ──▶ [frames, in flight] ──▶ outcome ──▶ finished (at its fence)
//!                    ▲                     │ disconnected
//!                    └── not yet written ──┴── written, not answered: unknown
//!
//!   a batch:        data … data fence
//!   a transaction:  multi data … data exec fence
//!
//!   what the frame in front awaits:
//!     multi  +OK             data   a reply each; in a transaction +QUEUED each
//!     exec   an array of as many replies, or EXECABORT
//!     fence  its own nonce, and nothing else
//! ```

mod frame;
mod open_batch;
#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod properties;
mod replies;
#[cfg(test)]
mod tests;
mod transaction;
#[cfg(test)]
mod transaction_tests;

use std::collections::VecDeque;
use std::io::IoSlice;

use self::frame::{Data, Fence, Frame};
use self::open_batch::OpenBatch;
pub use self::open_batch::{Finished, Listening, Settings};
use self::replies::Reader;
use self::transaction::Queued;
use crate::batch::{Batch, Segment};
use crate::config::Transaction;
use crate::error::Error;
use crate::outcome::Failure;

/// Why a connection is of no more use, as its replies tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The peer broke the protocol: nothing it said since the last fence can be trusted.
    #[error("{0}")]
    Violation(String),
    /// The server refuses everything for now, the fence too. Its other replies count.
    #[error("{0}")]
    Unavailable(String),
}

/// What answers set free.
#[derive(Debug, Default)]
pub struct Released {
    pub bytes: usize,
    pub segments: Vec<Segment>,
}

/// The work of one connection, and of those that replace it.
#[derive(Debug)]
pub struct Exchange {
    settings: Settings,
    frames: VecDeque<Frame>,
    /// How many frames in front are wholly written.
    sent: usize,
    /// Bytes written of the frame behind them.
    offset: usize,
    in_flight: usize,
    /// Batches wholly written to this connection.
    written_batches: u32,
    reader: Reader,
    /// Those that have frames, in order.
    batches: VecDeque<OpenBatch>,
    transaction: Queued,
    /// A MULTI was accepted on this connection. Before, nothing is sent behind one: a server that refuses it
    /// would run the commands one by one.
    multi_accepted: bool,
    finished: Vec<Finished>,
    released: Released,
    /// Failures for those who listen to each.
    overheard: Vec<Failure>,
    replies: u64,
    answered: u64,
    resent: u64,
    trust: Trust,
}

/// Whether what the peer has said on this connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Whole,
    /// Not even that it took a MULTI: what was written may have run command by command.
    Broken,
}

impl Exchange {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            frames: VecDeque::new(),
            sent: 0,
            offset: 0,
            in_flight: 0,
            written_batches: 0,
            reader: Reader::new(),
            batches: VecDeque::new(),
            transaction: Queued::default(),
            multi_accepted: false,
            finished: Vec::new(),
            released: Released::default(),
            overheard: Vec::new(),
            replies: 0,
            answered: 0,
            resent: 0,
            trust: Trust::Whole,
        }
    }

    /// Takes on a batch; `index` is the place of its first command among those of its `exec()`.
    pub fn push(&mut self, batch: Batch, mut index: u64) {
        // An empty EXEC has no element that would end it.
        let wrap = self.settings.transaction == Transaction::EachBatch && batch.commands > 0;
        let fence = Fence::new();
        self.batches.push_back(OpenBatch::new(&batch, fence, self.settings));
        if wrap {
            self.frames.push_back(Frame::Multi);
        }
        for segment in batch.segments {
            if segment.commands() == 0 {
                // Nothing would be answered to it.
                continue;
            }
            let commands = u64::from(segment.commands());
            self.frames.push_back(Frame::Data(Data::new(segment, index)));
            index += commands;
        }
        if wrap {
            self.frames.push_back(Frame::Exec);
        }
        self.frames.push_back(Frame::Fence(fence));
    }

    /// Whether failures are kept for [`Self::take_overheard`], from here on.
    pub fn overhear(&mut self, listening: Listening) {
        if self.settings.listening != listening {
            self.settings.listening = listening;
            self.batches.iter_mut().for_each(|batch| batch.overhear(listening));
        }
    }

    /// Nothing is left to be written or answered.
    pub fn is_idle(&self) -> bool {
        self.frames.is_empty()
    }

    /// This connection has had its share of batches, and has answered them all.
    pub fn is_spent(&self) -> bool {
        self.is_quota(self.written_batches) && self.sent == 0
    }

    /// Half of that share is written: time to open the next connection.
    pub fn is_half_spent(&self) -> bool {
        let every = self.settings.reconnect_every;
        every > 0 && self.written_batches >= every.div_ceil(2)
    }

    /// A spent connection is replaced by one to the same server.
    pub fn replaced(&mut self) {
        let multi_accepted = self.multi_accepted;
        self.forget_connection();
        self.multi_accepted = multi_accepted;
    }

    fn is_quota(&self, batches: u32) -> bool {
        self.settings.reconnect_every > 0 && batches >= self.settings.reconnect_every
    }

    /// Bytes written and not yet answered, in whole frames.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Grows with every reply that was completed.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// Grows with every command that is settled by a reply: of its own or, in a transaction, of EXEC.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Commands written a second time after a lost connection.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// What is known by now of the batches under way: succeeded, failed, unknown.
    pub fn progress(&self) -> (u64, u64, u64) {
        // Those behind the front have nothing yet: replies come in order.
        self.batches.front().map_or((0, 0, 0), |OpenBatch { outcome, .. }| {
            (outcome.succeeded, outcome.failed, outcome.unknown)
        })
    }

    /// Reply bytes kept for JavaScript of the batches under way.
    pub fn collected(&self) -> usize {
        self.batches.front().map_or(0, |batch| batch.replies.len())
    }

    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    pub fn take_released(&mut self) -> Released {
        std::mem::take(&mut self.released)
    }

    pub fn take_overheard(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.overheard)
    }

    /// Fills `slices` with what may be written now; returns how many were filled.
    pub fn writable<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.awaits_first_multi() {
            return 0;
        }
        let mut in_flight = self.in_flight;
        let mut offset = self.offset;
        let mut batches = self.written_batches;
        let mut filled = 0;
        for (frame, slice) in self.frames.iter().skip(self.sent).zip(slices) {
            if self.is_quota(batches) {
                break;
            }
            let bytes = frame.bytes();
            if offset == 0 {
                // What was begun is always finished; what is larger than the window goes alone.
                if in_flight > 0 && in_flight + bytes.len() > self.settings.max_in_flight {
                    break;
                }
                in_flight += bytes.len();
            }
            *slice = IoSlice::new(&bytes[offset..]);
            offset = 0;
            filled += 1;
            match frame {
                Frame::Multi if !self.multi_accepted => break,
                Frame::Fence(_) => batches += 1,
                _ => {}
            }
        }
        filled
    }

    /// The socket accepted `bytes` of what [`Self::writable`] offered.
    pub fn wrote(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(frame) = self.frames.get(self.sent) else {
                debug_assert!(false, "more was written than was offered");
                return;
            };
            let length = frame.bytes().len();
            if self.offset == 0 {
                self.in_flight += length;
            }
            let step = bytes.min(length - self.offset);
            self.offset += step;
            bytes -= step;
            if self.offset == length {
                self.written_batches += u32::from(matches!(frame, Frame::Fence(_)));
                self.sent += 1;
                self.offset = 0;
            }
        }
    }

    /// The peer said `input`.
    ///
    /// # Errors
    /// Where it breaks the protocol. The connection is then of no use; see [`Self::distrust`].
    pub fn received(&mut self, mut input: &[u8]) -> Result<(), Broken> {
        while !input.is_empty() {
            let consumed = match self.frames.front() {
                None => self.unasked(input)?,
                Some(Frame::Data(_)) if self.settings.transaction == Transaction::Off => self.data_replies(input)?,
                Some(Frame::Data(_)) => self.queued_replies(input)?,
                Some(Frame::Multi) => self.multi_reply(input)?,
                Some(Frame::Exec) => self.exec_reply(input)?,
                Some(Frame::Fence(_)) => self.fence_reply(input)?,
            };
            input = &input[consumed..];
        }
        Ok(())
    }

    /// The peer broke the protocol: no reply since the last fence counts. [`Self::give_up`] has to follow.
    pub fn distrust(&mut self, cause: &Error) {
        self.trust = Trust::Broken;
        // With it goes a reply that is half read.
        self.reader = Reader::new();
        self.take_back_front(cause);
    }

    /// The connection is gone. What was written and not answered is unknown; the rest waits for the next one.
    pub fn disconnected(&mut self, cause: &Error) {
        self.settle_in_flight(cause);
        self.forget_connection();
    }

    /// The work is given up: what was not written is certainly not done.
    pub fn give_up(&mut self, cause: &Error) {
        // Those before are over, and have nothing to do with it.
        let over = self.finished.len();
        self.settle_in_flight(cause);
        self.forget_connection();
        for finished in &mut self.finished[over..] {
            finished.error.get_or_insert_with(|| cause.clone());
        }
        while let Some(frame) = self.frames.pop_front() {
            match frame {
                Frame::Data(mut data) => {
                    if let Some(batch) = self.batches.front_mut() {
                        let heard = batch.refused_rest(&mut data, cause.code(), &cause.to_string());
                        self.overheard.extend(heard);
                    }
                    self.release(data);
                }
                Frame::Fence(_) => self.finish(Some(cause.clone())),
                Frame::Multi | Frame::Exec => {}
            }
        }
    }

    /// Batch by batch: what was written whole is unknown, unless it was answered; what was not stays.
    fn settle_in_flight(&mut self, cause: &Error) {
        if let Some(batch) = self.batches.front_mut() {
            self.reader.drop_half(&mut batch.replies);
        }
        let (mut sent, mut offset) = (self.sent, self.offset);
        let mut frames = std::mem::take(&mut self.frames).into_iter();
        let mut left = VecDeque::new();
        let mut rest_of_batches = VecDeque::new();
        // The one in front may be half answered with nothing of it in flight: a transaction without its EXEC.
        let mut begun = true;
        while begun && let Some(mut batch) = self.batches.pop_front() {
            // Up to its fence.
            let mut batch_frames = Vec::new();
            for frame in frames.by_ref() {
                let last = matches!(frame, Frame::Fence(_));
                batch_frames.push(frame);
                if last {
                    break;
                }
            }
            let written = sent.min(batch_frames.len());
            let partly = if written < batch_frames.len() {
                std::mem::take(&mut offset)
            } else {
                0
            };
            sent -= written;
            begun = sent > 0 || offset > 0;
            let whole = self.settings.transaction == Transaction::EachBatch && self.trust == Trust::Whole;
            let unfinished = if whole {
                self.settle_transaction(&mut batch, batch_frames, written, partly, cause)
            } else {
                self.settle_commands(&mut batch, batch_frames, written, partly, cause)
            };
            if unfinished.is_empty() {
                self.finished.push(batch.finish(None));
            } else {
                left.extend(unfinished);
                rest_of_batches.push_back(batch);
            }
        }
        left.extend(frames);
        self.frames = left;
        rest_of_batches.append(&mut self.batches);
        self.batches = rest_of_batches;
    }

    /// Of one batch, `written` frames were written, and `partly` bytes of the next.
    fn settle_commands(
        &mut self,
        batch: &mut OpenBatch,
        frames: Vec<Frame>,
        written: usize,
        partly: usize,
        cause: &Error,
    ) -> Vec<Frame> {
        let mut left = Vec::new();
        for (at, frame) in frames.into_iter().enumerate() {
            match frame {
                Frame::Data(data) if at < written => {
                    batch.unknown(u64::from(data.unanswered()), cause);
                    self.release(data);
                }
                Frame::Data(mut data) => {
                    if at == written && partly > 0 {
                        let whole = data.commands_within(partly);
                        batch.unknown(u64::from(whole - data.answered), cause);
                        data.cut(partly);
                    }
                    left.push(Frame::Data(data));
                }
                // With all its commands settled, a batch needs no fence any more.
                Frame::Fence(_) if left.is_empty() => {}
                frame => left.push(frame),
            }
        }
        left
    }

    fn forget_connection(&mut self) {
        self.sent = 0;
        self.offset = 0;
        self.in_flight = 0;
        self.written_batches = 0;
        self.reader = Reader::new();
        self.multi_accepted = false;
        self.trust = Trust::Whole;
    }

    /// The frame in front is answered; it leaves the window.
    fn pop_answered(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.in_flight -= frame.bytes().len();
        self.sent -= 1;
        Some(frame)
    }

    /// The commands of `data` are settled.
    fn release(&mut self, data: Data) {
        let segment = data.into_segment();
        self.released.bytes += segment.bytes().len();
        self.released.segments.push(segment);
    }

    /// The batch in front is settled.
    fn finish(&mut self, error: Option<Error>) {
        if let Some(batch) = self.batches.pop_front() {
            self.finished.push(batch.finish(error));
        }
    }
}
