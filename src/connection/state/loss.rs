//! A connection is lost, or the work given up: what was done, what may be sent again, what nobody knows.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::doubt::{Fate, Unit, decide, written_keys};
use super::fence::Fence;
use super::frame::{Data, Doubt, Frame};
use super::replies::Reader;
use super::transaction_loss::Whole;
use super::{Exchange, Trust, open};
use crate::config::{Resend, Transaction};
use crate::error::Error;

impl Exchange {
    /// The peer broke the protocol: no reply since the last fence counts. [`Self::give_up`] has to follow.
    pub fn distrust(&mut self, cause: &Error) {
        self.trust = Trust::Broken;
        // With it goes a reply that is half read.
        self.reader = Reader::new();
        self.take_back_front(cause);
    }

    /// The connection is gone. What was written and not answered is sent again over the next one where that may be,
    /// else it is unknown; the rest waits for the next one.
    pub fn disconnected(&mut self, cause: &Error) {
        self.settle_in_flight(cause, self.settings.resend);
        self.forget_connection();
        self.held.forget_fence();
        // What was refused for now goes first.
        self.retry();
        self.finish_settled();
    }

    /// Nobody could see to it that the connection before runs nothing any more: nothing of it is sent again.
    pub fn unfenced(&mut self, cause: &Error) {
        debug_assert_eq!((self.sent, self.offset), (0, 0), "nothing is written before");
        for frame in std::mem::take(&mut self.frames) {
            match frame {
                Frame::Data(mut data) if data.doubt != Doubt::None && data.transaction == Transaction::Off => {
                    self.unknown_rest(&mut data, cause);
                    self.release(data);
                }
                frame => self.frames.push_back(frame),
            }
        }
        let mut doubtful = HashSet::new();
        for batch in self.batches.iter_mut().filter(|batch| batch.in_doubt) {
            batch.start_over();
            batch.in_doubt = false;
            batch.undone = 0;
            batch.rest_unknown(batch.outcome.commands - batch.outcome.failed, cause);
            doubtful.insert(batch.serial);
        }
        self.drop_frames(&doubtful);
        self.drop_needless_fences();
        self.finish_settled();
    }

    /// The server shows that of the batches that are not over, it holds the first `count`.
    pub fn proven(&mut self, count: u64, cause: &Error) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut proven = HashSet::new();
        for batch in self.batches.iter_mut().take(count).filter(|batch| batch.in_doubt) {
            batch.proven(cause);
            proven.insert(batch.serial);
        }
        self.drop_frames(&proven);
        self.drop_needless_fences();
        self.finish_settled();
    }

    /// The work is given up: what was not written is certainly not done.
    pub fn give_up(&mut self, cause: &Error) {
        // Those before are over, and have nothing to do with it.
        let over = self.finished.len();
        self.settle_in_flight(cause, Resend::None);
        self.forget_connection();
        self.finish_settled();
        for finished in &mut self.finished[over..] {
            finished.error.get_or_insert_with(|| cause.clone());
        }
        self.held.forget_fence();
        let refused = self.held.take_all();
        self.fail_held(refused);
        for transaction in self.held.take_transactions() {
            self.fail_transaction(transaction);
        }
        while let Some(frame) = self.frames.pop_front() {
            match frame {
                Frame::Data(mut data) => {
                    if let Some(batch) = open(&mut self.batches, data.batch) {
                        if batch.in_doubt || data.doubt != Doubt::None {
                            let rest = data.unanswered();
                            batch.unknown(&mut data, rest, cause);
                        } else {
                            let heard = batch.refused_rest(&mut data, cause.code(), &cause.to_string());
                            self.overheard.extend(heard);
                        }
                    }
                    self.release(data);
                }
                Frame::Question(question) => self.unanswered.push((question.ticket, cause.clone())),
                _ => {}
            }
        }
        for batch in self.batches.drain(..) {
            self.finished.push(batch.finish(Some(cause.clone())));
        }
    }

    /// Questions that nobody will answer, by ticket.
    pub fn take_unanswered(&mut self) -> Vec<(u32, Error)> {
        std::mem::take(&mut self.unanswered)
    }

    fn settle_in_flight(&mut self, cause: &Error, resend: Resend) {
        self.drop_half_read();
        let resend = match self.trust {
            Trust::Whole | Trust::ReadsNoFurther => resend,
            Trust::Broken => Resend::None,
        };
        let items = self.take_items();
        let in_doubt = items.iter().filter(|_| self.trust != Trust::ReadsNoFurther);
        let doubtful: Vec<Unit<'_>> = in_doubt.flat_map(Item::doubtful).collect();
        let mut fates = decide(&doubtful, resend).into_iter();
        let newer = written_keys(&doubtful);
        drop(doubtful);
        self.fail_overtaken(newer.as_ref());
        for item in items {
            match item {
                Item::Other(frame) => self.frames.push_back(frame),
                Item::Commands(written) if self.trust == Trust::ReadsNoFurther => self.put_back(written),
                Item::Commands(written) => self.settle_commands(written, &mut fates, cause),
                Item::Transaction(whole) => self.settle_transaction(whole, &mut fates, newer.as_ref(), cause),
            }
        }
        self.drop_fences_within();
    }

    /// What was written and not answered, as it will be judged: command by command, or a transaction as a whole. Once
    /// the peer cannot be trusted, nobody knows what it took for a transaction.
    fn take_items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut open = self.take_begun();
        for (at, mut frame) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            let (touched, written) = match (at.cmp(&self.sent), &mut frame) {
                (Ordering::Less, Frame::Data(data)) => (true, data.commands()),
                (Ordering::Less, _) => (true, 0),
                (Ordering::Equal, Frame::Data(data)) => (self.offset > 0, data.commands_within(self.offset)),
                (Ordering::Equal, _) => (self.offset > 0, 0),
                (Ordering::Greater, _) => (false, 0),
            };
            let is_part = frame.is_within_transaction() || matches!(frame, Frame::Multi(_));
            let Some(serial) = frame.batch().filter(|_| is_part && self.trust != Trust::Broken) else {
                items.push(match frame {
                    Frame::Data(data) if touched => Item::Commands(Written {
                        data,
                        count: written,
                        cut: (at == self.sent).then_some(self.offset),
                    }),
                    frame => Item::Other(frame),
                });
                continue;
            };
            let whole = open.get_or_insert_with(|| Whole::new(serial));
            whole.touched |= touched;
            match frame {
                Frame::Data(data) => {
                    whole.written += u64::from(written.saturating_sub(data.answered));
                    whole.data.push_back(data);
                }
                Frame::Mark(mark) => whole.mark = Some(mark),
                Frame::Exec(_) => {
                    whole.exec_written = at < self.sent && self.trust == Trust::Whole;
                    items.extend(open.take().map(Item::Transaction));
                }
                _ => {}
            }
        }
        items
    }

    /// A reply of which the end will never come.
    fn drop_half_read(&mut self) {
        let data = match self.frames.front() {
            Some(Frame::Data(data)) => Some(data),
            _ => self.transaction.front(),
        };
        if let Some(data) = data
            && let Some(batch) = open(&mut self.batches, data.batch)
        {
            self.reader.drop_half(data, batch);
        }
    }

    /// What was written whole and not answered is sent again or unknown; what was not stays.
    fn settle_commands(&mut self, written: Written, fates: &mut impl Iterator<Item = Fate>, cause: &Error) {
        let Written { mut data, count, cut } = written;
        let mut from = data.answered;
        let fates: Vec<Fate> = fates.take((count - from) as usize).collect();
        for run in fates.chunk_by(|one, next| one == next) {
            let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
            match run[0] {
                Fate::Unknown => {
                    if let Some(batch) = open(&mut self.batches, data.batch) {
                        batch.unknown(&mut data, count, cause);
                    }
                }
                Fate::Again(doubt) => {
                    let again = self.again(&mut data, from..from + count, doubt);
                    self.frames.push_back(Frame::Data(again));
                    data.answered += count;
                }
            }
            from += count;
        }
        match cut {
            None => self.release(data),
            Some(offset) => {
                data.cut(offset);
                self.frames.push_back(Frame::Data(data));
            }
        }
    }

    /// What was not answered was not executed: it stays to be written.
    fn put_back(&mut self, Written { mut data, count, .. }: Written) {
        data.rewind(count);
        if data.commands() == 0 {
            self.release(data);
        } else {
            self.frames.push_back(Frame::Data(data));
        }
    }

    /// Commands to be sent again.
    fn again(&mut self, data: &mut Data, commands: std::ops::Range<u32>, doubt: Doubt) -> Data {
        let count = commands.end - commands.start;
        let mut piece = data.piece(commands);
        // Once in doubt with others on its key, it stays so.
        if piece.doubt != Doubt::Shared {
            piece.doubt = doubt;
        }
        if piece.holes.is_none()
            && let Some(batch) = open(&mut self.batches, piece.batch)
            && batch.collects()
        {
            piece.holes = Some(batch.replies.leave(count));
        }
        piece
    }

    fn unknown_rest(&mut self, data: &mut Data, cause: &Error) {
        if let Some(batch) = open(&mut self.batches, data.batch) {
            let rest = data.unanswered();
            batch.unknown(data, rest, cause);
        }
    }

    /// Fences within the work, silence and release are for the connection that they were meant for.
    fn drop_fences_within(&mut self) {
        self.frames.retain(|frame| {
            !matches!(
                frame,
                Frame::Silence | Frame::Speech | Frame::Release(_) | Frame::Fence(Fence { ends: None, .. })
            )
        });
        self.drop_needless_fences();
        // What is left of batches whose own fence was answered needs another one, that they may end.
        let open = self.batches.iter().rfind(|batch| batch.fenced && !batch.is_settled());
        let fenced = open.map(|batch| batch.serial);
        let belongs = |frame: &Frame| fenced.is_some() && frame.batch().is_some_and(|serial| Some(serial) <= fenced);
        if let Some(last) = self.frames.iter().rposition(belongs) {
            self.frames.insert(last + 1, Frame::Fence(Fence::new(None)));
        }
        let frames = std::mem::take(&mut self.frames);
        self.frames = self.silenced(frames);
    }

    /// With all its commands settled, a batch needs no fence any more.
    fn drop_needless_fences(&mut self) {
        let batches = &mut self.batches;
        self.frames.retain(|frame| {
            let Frame::Fence(Fence { ends: Some(serial), .. }) = frame else {
                return true;
            };
            let Some(batch) = open(batches, *serial) else {
                return false;
            };
            batch.fenced |= batch.is_settled();
            !batch.fenced
        });
        self.drop_leading_fences();
    }

    /// Those within the work before which nothing is left.
    pub(super) fn drop_leading_fences(&mut self) {
        while matches!(self.frames.front(), Some(Frame::Fence(Fence { ends: None, .. }))) {
            self.frames.pop_front();
        }
    }

    /// The frames of transactions of which it is known what became of them.
    fn drop_frames(&mut self, serials: &HashSet<u64>) {
        for frame in std::mem::take(&mut self.frames) {
            match frame {
                Frame::Fence(fence) => self.frames.push_back(Frame::Fence(fence)),
                frame if !frame.batch().is_some_and(|serial| serials.contains(&serial)) => self.frames.push_back(frame),
                Frame::Data(data) => self.release(data),
                _ => {}
            }
        }
    }
}

/// What is left of the frames of a lost connection.
enum Item {
    Commands(Written),
    Transaction(Whole),
    Other(Frame),
}

/// Commands of which some were written.
struct Written {
    data: Data,
    /// That are whole.
    count: u32,
    /// So many bytes were written of what was not written to its end.
    cut: Option<usize>,
}

impl Item {
    /// What may have been done and nobody knows.
    fn doubtful(&self) -> Vec<Unit<'_>> {
        match self {
            Self::Commands(Written { data, count, .. }) => {
                let commands = data.all_words(data.answered..*count).into_iter();
                commands.map(|words| vec![words]).collect()
            }
            Self::Transaction(whole) => whole.doubtful().into_iter().collect(),
            Self::Other(_) => Vec::new(),
        }
    }
}
