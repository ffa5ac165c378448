//! What is on its way over one connection, and what every reply means: a pure machine.
//!
//! Batches come in from the loader and become frames; the task asks for bytes to write, tells how many were
//! written, and hands over what it read. Finished batches go back to the loader. No clock, no socket.
//!
//! ```text
//!              push                wrote                   received
//!   batch ──▶ [frames, unsent] ──▶ [frames, in flight] ──▶ outcome ──▶ finished (at its fence)
//!                    ▲  ▲                  │       │ refused for now: `held`
//!                    │  └──────────────────┼───────┘
//!                    │                     │ disconnected: `loss`
//!                    └── not yet written ──┤
//!                    └── may be repeated ──┴── else, written and not answered: unknown
//!
//!   a batch:           data … data fence
//!   a transaction:     multi data … data [mark] exec fence; both kinds may take turns
//!   with replies off:  silence … speech fence; nothing is said before the speech
//!   a connection:      batches … [release, and what follows goes over the next one]
//!
//!   what the frame in front awaits:
//!     multi  +OK             data   a reply each; in a transaction +QUEUED each
//!     exec   an array of as many replies, or EXECABORT
//!     fence  its own nonce, and nothing else
//!     release  :1, the last word of its connection
//! ```

mod allowance;
#[cfg(test)]
mod culprit_tests;
mod doubt;
mod fence;
mod frame;
mod gathered;
mod handover;
#[cfg(test)]
mod handover_tests;
mod held;
#[cfg(test)]
mod held_tests;
mod loss;
#[cfg(test)]
mod mixed_tests;
mod open_batch;
#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod properties;
mod replies;
mod silent;
#[cfg(test)]
mod silent_tests;
#[cfg(test)]
mod tests;
mod transaction;
mod transaction_loss;
#[cfg(test)]
mod transaction_tests;
mod unreadable;
mod writing;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::allowance::Allowed;
use self::fence::Fence;
use self::frame::{Data, Frame, Mark, Question};
use self::handover::Handover;
use self::held::Held;
use self::open_batch::OpenBatch;
pub use self::open_batch::{Finished, Listening, Settings};
use self::replies::Reader;
use self::transaction::Queued;
use crate::batch::{Batch, Segment};
use crate::config::{Replies, Transaction};
use crate::error::Error;
use crate::outcome::Failure;

/// Why a connection is of no more use, as its replies tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The peer broke the protocol: nothing it said since the last fence can be trusted.
    #[error("{0}")]
    Violation(String),
    /// The server refuses what the work depends on.
    #[error("{0}")]
    Refused(String),
    /// The server refuses everything for now, the fence too. Its other replies count.
    #[error("{0}")]
    Unavailable(String),
    /// The server cannot read a command, which has failed, and closes the connection: it executes nothing behind that.
    #[error("{0}")]
    Unreadable(String),
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
    /// Bytes that may be written, where the pipeline is throttled.
    allowance: Option<usize>,
    /// Batches wholly written to this connection.
    written_batches: u32,
    /// Where the next connection goes on before this one has answered.
    handover: Option<Handover>,
    reader: Reader,
    /// Those that are not over, in order; their serials are consecutive.
    batches: VecDeque<OpenBatch>,
    /// Of the next batch.
    serial: u64,
    /// Refused for now.
    held: Held,
    /// What is refused for now is held; else it has failed.
    patient: bool,
    transaction: Queued,
    /// A MULTI was accepted on this connection. Before, nothing is sent behind one: a server that refuses it
    /// would run the commands one by one.
    multi_accepted: bool,
    finished: Vec<Finished>,
    released: Released,
    /// Failures for those who listen to each.
    overheard: Vec<Failure>,
    /// Replies to questions, by ticket.
    told: Vec<(u32, Vec<u8>)>,
    /// Questions that nobody will answer, and why.
    unanswered: Vec<(u32, Error)>,
    /// What is held is sent again at once: it was mended.
    redo: bool,
    replies: u64,
    answered: u64,
    resent: u64,
    trust: Trust,
}

/// Whether what the peer has said on this connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Whole,
    /// It does, and the server reads no further: what it has not answered by then, it did not execute.
    ReadsNoFurther,
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
            allowance: settings.throttled.then_some(0),
            written_batches: 0,
            handover: None,
            reader: Reader::new(),
            batches: VecDeque::new(),
            serial: 0,
            held: Held::default(),
            patient: settings.waits,
            transaction: Queued::default(),
            multi_accepted: false,
            finished: Vec::new(),
            released: Released::default(),
            overheard: Vec::new(),
            told: Vec::new(),
            unanswered: Vec::new(),
            redo: false,
            replies: 0,
            answered: 0,
            resent: 0,
            trust: Trust::Whole,
        }
    }

    /// Takes on a batch; `index` is the place of its first command among those of its `exec()`.
    pub fn push(&mut self, batch: Batch, index: u64) {
        self.push_marked(batch, index, None);
    }

    /// The same with a mark: a request that its transaction ends in.
    pub fn push_marked(&mut self, mut batch: Batch, index: u64, mark: Option<Vec<u8>>) {
        let serial = self.serial;
        self.serial += 1;
        let silent = self.settings.replies == Replies::Off;
        let fence = Fence::new(Some(serial));
        let settings = self.settings.of(batch.wrap);
        let open = OpenBatch::new(serial, index, &mut batch, fence.reply().to_vec(), settings);
        self.batches.push_back(open);
        // An empty EXEC has no element that would end it.
        let wrap = settings.transaction == Transaction::EachBatch && batch.commands > 0;
        if silent {
            self.frames.push_back(Frame::Silence);
        }
        if wrap {
            self.frames.push_back(Frame::Multi(serial));
        }
        self.push_data(batch, serial, index, settings.transaction);
        if wrap {
            self.frames
                .extend(mark.map(|request| Frame::Mark(Mark { batch: serial, request })));
            self.frames.push_back(Frame::Exec(serial));
        }
        if silent {
            self.frames.push_back(Frame::Speech);
        }
        self.frames.push_back(Frame::Fence(fence));
    }

    fn push_data(&mut self, batch: Batch, serial: u64, mut index: u64, transaction: Transaction) {
        let mut unfenced = 0;
        for segment in batch.segments {
            if segment.commands() == 0 {
                // Nothing would be answered to it.
                continue;
            }
            let commands = u64::from(segment.commands());
            let frame = Frame::Data(Data::new(segment, serial, index, transaction));
            let bytes = frame.bytes().len();
            if self.needs_fence(unfenced, &frame) {
                self.frames
                    .extend([Frame::Speech, Frame::Fence(Fence::new(None)), Frame::Silence]);
                unfenced = 0;
            }
            unfenced += bytes;
            self.frames.push_back(frame);
            index += commands;
        }
    }

    /// Asks something of our own, behind everything that is under way; the replies come under `ticket`. The server may
    /// think about it for so long without a sign of life.
    pub fn ask(&mut self, ticket: u32, requests: &[Vec<u8>], may_take: Duration) {
        self.frames.push_back(Frame::Question(Question {
            ticket,
            replies: requests.len(),
            request: requests.concat(),
            may_take,
        }));
    }

    /// How long the server may be silent because of what it was asked.
    pub fn may_take(&self) -> Duration {
        match self.frames.front() {
            Some(Frame::Question(question)) => question.may_take,
            _ => Duration::ZERO,
        }
    }

    /// Batches that are not over.
    pub fn open_batches(&self) -> u64 {
        self.batches.len() as u64
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
        self.frames.is_empty() && self.held.is_empty() && self.handover.is_none()
    }

    /// This connection has had its share of batches, and has answered them all.
    pub fn is_spent(&self) -> bool {
        self.has_written_all() && self.sent == 0 && self.handover.is_none()
    }

    /// The connection is at work, and half of its share is there: time to open the next one.
    pub fn is_half_spent(&self) -> bool {
        let every = u64::from(self.settings.reconnect_every);
        let written = u64::from(self.written_batches);
        let at_work = written > 0 || self.in_flight > 0;
        every > 0 && at_work && written + self.unwritten_batches() >= every.div_ceil(2)
    }

    /// From the first whose end is not written to the last.
    fn unwritten_batches(&self) -> u64 {
        let mut unwritten = self.frames.range(self.sent..);
        let first = unwritten.find_map(|frame| match frame {
            Frame::Fence(fence) => fence.ends,
            _ => None,
        });
        first.map_or(0, |first| self.serial - first)
    }

    /// A spent connection is replaced by one to the same server.
    pub fn replaced(&mut self) {
        let multi_accepted = self.multi_accepted;
        self.forget_connection();
        self.multi_accepted = multi_accepted;
        self.retry();
    }

    fn is_quota(&self, batches: u32) -> bool {
        self.settings.reconnect_every > 0 && batches >= self.settings.reconnect_every
    }

    /// Bytes written and not yet answered, in whole frames.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Of this connection's share of batches nothing is left to be written.
    pub fn has_written_all(&self) -> bool {
        self.is_quota(self.written_batches)
    }

    /// At most so many bytes may be in flight, or one frame.
    pub fn window(&self) -> usize {
        self.settings.max_in_flight
    }

    /// Bytes of the replies to what was written to the connection that is read, if they are as short as replies can be.
    pub fn owed(&self) -> usize {
        if self.is_silent() {
            return 0;
        }
        self.frames.iter().take(self.worth_waiting_for()).map(Frame::owed).sum()
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
        self.under_way().fold((0, 0, 0), |(succeeded, failed, unknown), batch| {
            let outcome = &batch.outcome;
            (
                succeeded + outcome.succeeded,
                failed + outcome.failed,
                unknown + outcome.unknown,
            )
        })
    }

    /// Reply bytes kept for JavaScript of the batches under way.
    pub fn collected(&self) -> usize {
        self.under_way().map(|batch| batch.replies.len()).sum()
    }

    /// Batches of which something is known. Replies come in order: of those behind the one in front it is nothing.
    fn under_way(&self) -> impl Iterator<Item = &OpenBatch> {
        let front = self.frames.iter().find_map(Frame::batch);
        self.batches
            .iter()
            .take_while(move |batch| front.is_none_or(|front| batch.serial <= front))
    }

    /// Replies to questions, by ticket.
    pub fn take_told(&mut self) -> Vec<(u32, Vec<u8>)> {
        std::mem::take(&mut self.told)
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

    /// The peer said `input`.
    ///
    /// # Errors
    /// Where it breaks the protocol. The connection is then of no use; see [`Self::distrust`].
    pub fn received(&mut self, mut input: &[u8]) -> Result<(), Broken> {
        while !input.is_empty() {
            let consumed = match self.frames.front() {
                _ if self.handover.is_some() && self.reads_from_next() => self.released(input)?,
                Some(Frame::Release(_)) => self.release_reply(input)?,
                None => self.unasked(input)?,
                Some(Frame::Question(_)) => self.question_reply(input)?,
                Some(Frame::Fence(_)) => self.fence_reply(input)?,
                Some(_) if self.settings.replies == Replies::Off => self.silent_reply(input)?,
                Some(Frame::Data(data)) if data.transaction == Transaction::Off => self.data_replies(input)?,
                Some(Frame::Data(_) | Frame::Mark(_)) => self.queued_replies(input)?,
                Some(Frame::Multi(_)) => self.multi_reply(input)?,
                Some(Frame::Exec(_)) => self.exec_reply(input)?,
                Some(Frame::Silence | Frame::Speech) => self.unasked(input)?,
            };
            input = &input[consumed..];
        }
        if self.redo && self.is_waiting() {
            self.retry();
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        self.settings.replies == Replies::Off
    }

    fn forget_connection(&mut self) {
        self.sent = 0;
        self.offset = 0;
        self.in_flight = 0;
        self.allowance = self.settings.throttled.then_some(0);
        self.written_batches = 0;
        self.handover = None;
        self.reader = Reader::new();
        self.multi_accepted = false;
        self.trust = Trust::Whole;
    }

    /// The frame in front is answered; it leaves the window.
    fn pop_answered(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        let bytes = frame.weight();
        self.in_flight -= bytes;
        self.sent -= 1;
        self.answered_before(bytes);
        Some(frame)
    }

    /// The commands of `data` are settled, or live on elsewhere.
    fn release(&mut self, data: Data) {
        let (segment, bytes) = data.into_segment();
        self.released.bytes += bytes;
        self.released.segments.push(segment);
    }

    /// A fence was answered.
    fn fenced(&mut self, ends: Option<u64>) {
        if let Some(batch) = ends.and_then(|serial| open(&mut self.batches, serial)) {
            batch.fenced = true;
        }
        self.finish_settled();
    }

    /// Batches that are over, in order.
    fn finish_settled(&mut self) {
        let is_over = |batch: &OpenBatch| batch.fenced && batch.is_settled();
        while self.batches.front().is_some_and(is_over)
            && let Some(batch) = self.batches.pop_front()
        {
            self.finished.push(batch.finish(None));
        }
    }
}

/// The batch of this serial, unless it is over.
fn open(batches: &mut VecDeque<OpenBatch>, serial: u64) -> Option<&mut OpenBatch> {
    let first = batches.front()?.serial;
    let at = usize::try_from(serial.checked_sub(first)?).ok()?;
    batches.get_mut(at)
}
