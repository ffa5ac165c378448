//! What the server refused for now, and is sent again once it may take it: `OOM`, `READONLY`, `BUSY` …
//!
//! ```text
//!   refused ──▶ held; nothing new is written ──▶ all in flight is answered: waiting ──▶ sent again, with a fence
//!                │ a later command of its key succeeded
//!                └──▶ failed: the newer value stays
//! ```

use std::collections::{HashMap, HashSet, VecDeque};

use super::doubt::written_keys;
use super::fence::Fence;
use super::frame::{Data, Doubt, Frame, Mark};
use super::open_batch::OpenBatch;
use super::{Exchange, open};
use crate::command::{self, Keys};

/// In the order in which they were refused.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Empty where one is overtaken.
    commands: Vec<Option<Refused>>,
    /// Which of them touch a key.
    by_key: HashMap<Vec<u8>, Vec<usize>>,
    /// They touch keys that nobody can tell.
    anywhere: Vec<usize>,
    left: usize,
    transactions: Vec<Transaction>,
    /// A fence was refused as well, and another has to come.
    fence: bool,
}

/// One command.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) data: Data,
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) batch: u64,
    pub(super) data: VecDeque<Data>,
    pub(super) mark: Option<Mark>,
    pub(super) code: String,
    pub(super) message: String,
}

impl Transaction {
    fn into_frames(self) -> impl Iterator<Item = Frame> {
        let begin = std::iter::once(Frame::Multi(self.batch));
        let data = self.data.into_iter().map(Frame::Data);
        begin
            .chain(data)
            .chain(self.mark.map(Frame::Mark))
            .chain([Frame::Exec(self.batch)])
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.left == 0 && self.transactions.is_empty() && !self.fence
    }

    /// The next command of `data` is to be sent again.
    pub(super) fn hold(&mut self, data: &mut Data, batch: &mut OpenBatch, code: &str, message: &str) {
        let hole = match data.next_hole() {
            None if batch.collects() => Some(batch.replies.leave(1)),
            hole => hole,
        };
        let mut piece = data.piece(data.answered..data.answered + 1);
        piece.holes = hole;
        if piece.doubt == Doubt::Alone {
            // This refusal depends on the hour: it does not say that the first one was refused as well.
            piece.doubt = Doubt::Shared;
        }
        let place = self.commands.len();
        match command::keys(&piece.words(0)) {
            Keys::All => self.anywhere.push(place),
            Keys::These(keys) => {
                for key in keys {
                    self.by_key.entry(key.to_vec()).or_default().push(place);
                }
            }
        }
        self.left += 1;
        self.commands.push(Some(Refused {
            data: piece,
            code: code.to_owned(),
            message: message.to_owned(),
        }));
    }

    pub(super) fn hold_fence(&mut self) {
        self.fence = true;
    }

    /// On a new connection, no fence is owed.
    pub(super) fn forget_fence(&mut self) {
        self.fence = false;
    }

    pub(super) fn hold_transaction(&mut self, transaction: Transaction) {
        self.transactions.push(transaction);
    }

    /// The commands that share a key with others that came behind them and may have been done.
    fn sharing(&mut self, keys: Option<&HashSet<Vec<u8>>>) -> Vec<Refused> {
        match keys {
            None => self.take_all(),
            Some(keys) => keys.iter().flat_map(|key| self.take_key(key)).collect(),
        }
    }

    fn take_key(&mut self, key: &[u8]) -> Vec<Refused> {
        let mut places = self.by_key.remove(key).unwrap_or_default();
        places.append(&mut self.anywhere);
        let commands = &mut self.commands;
        let taken: Vec<Refused> = places.into_iter().filter_map(|place| commands[place].take()).collect();
        self.left -= taken.len();
        if self.left == 0 {
            self.take_all();
        }
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<Refused> {
        let commands = std::mem::take(self);
        self.transactions = commands.transactions;
        self.fence = commands.fence;
        commands.commands.into_iter().flatten().collect()
    }

    pub(super) fn take_transactions(&mut self) -> Vec<Transaction> {
        std::mem::take(&mut self.transactions)
    }
}

impl Exchange {
    /// The server refuses some commands for now: they wait to be sent again, and nothing is in flight or half queued.
    pub fn is_waiting(&self) -> bool {
        let begun = self.frames.front().is_some_and(Frame::is_within_transaction);
        !self.held.is_empty() && self.sent == 0 && self.offset == 0 && !begun && self.handover.is_none()
    }

    /// What was refused for now was so because the server is no place to write to: another may be, under its name.
    pub fn is_in_wrong_place(&self) -> bool {
        let codes = self.held.commands.iter().flatten().map(|refused| &refused.code);
        let reasons = self.held.transactions.iter().map(|transaction| &transaction.message);
        codes.chain(reasons).any(|reason| reason.contains("READONLY"))
    }

    /// Whether what is refused for now is sent again later, or has failed.
    pub fn be_patient(&mut self, patient: bool) {
        self.patient = patient && self.settings.waits;
    }

    /// Sends again what was refused for now.
    pub fn retry(&mut self) {
        self.redo = false;
        if self.held.is_empty() {
            return;
        }
        self.held.forget_fence();
        let mut again: VecDeque<Frame> = VecDeque::new();
        // Both kinds are in the order of their batches, in which they go again.
        let mut transactions = self.held.take_transactions().into_iter().peekable();
        for refused in self.held.take_all() {
            while let Some(before) = transactions.next_if(|next| next.batch < refused.data.batch) {
                again.extend(before.into_frames());
            }
            let mut next = Some(refused.data);
            if let Some(Frame::Data(last)) = again.back_mut() {
                next = next.and_then(|data| last.join(data));
            }
            again.extend(next.map(Frame::Data));
        }
        again.extend(transactions.flat_map(Transaction::into_frames));
        again.push_back(Frame::Fence(Fence::new(None)));
        // That of the try before may not have been written yet.
        self.drop_leading_fences();
        again.append(&mut self.frames);
        self.frames = again;
    }

    /// Those are not sent again, after all.
    pub(super) fn fail_held(&mut self, refused: Vec<Refused>) {
        for Refused {
            mut data,
            code,
            message,
        } in refused
        {
            if let Some(batch) = open(&mut self.batches, data.batch) {
                self.overheard.extend(batch.refused_rest(&mut data, &code, &message));
            }
            self.release(data);
        }
    }

    /// What was refused for now must not come after something newer on its keys, which was or may have been done.
    /// `None`: that may be any keys.
    pub(super) fn fail_overtaken(&mut self, newer: Option<&HashSet<Vec<u8>>>) {
        let refused = self.held.sharing(newer);
        self.fail_held(refused);
        for mut transaction in self.held.take_transactions() {
            if shares(&mut transaction.data, newer) {
                self.fail_transaction(transaction);
            } else {
                self.held.hold_transaction(transaction);
            }
        }
    }

    pub(super) fn fail_transaction(&mut self, transaction: Transaction) {
        for mut data in transaction.data {
            data.restart();
            if let Some(batch) = open(&mut self.batches, transaction.batch) {
                if batch.in_doubt {
                    data.doubt = Doubt::Shared;
                }
                self.overheard
                    .extend(batch.refused_rest(&mut data, &transaction.code, &transaction.message));
            }
            self.release(data);
        }
    }
}

/// The keys that the last `count` commands of `data` that were answered write; `None` where these may be any.
pub(super) fn written_by_last(data: &mut Data, count: u32) -> Option<HashSet<Vec<u8>>> {
    let mut written = HashSet::new();
    for at in data.answered - count..data.answered {
        written.extend(written_keys(&[vec![data.words(at)]])?);
    }
    Some(written)
}

/// Whether commands touch one of these keys; `None`: any may be among them.
pub(super) fn shares(data: &mut VecDeque<Data>, keys: Option<&HashSet<Vec<u8>>>) -> bool {
    let Some(keys) = keys else { return true };
    data.iter_mut()
        .any(|data| (0..data.commands()).any(|at| touches(&data.words(at), keys)))
}

fn touches(words: &[&[u8]], keys: &HashSet<Vec<u8>>) -> bool {
    match command::keys(words) {
        Keys::All => true,
        Keys::These(touched) => touched.into_iter().any(|key| keys.contains(key)),
    }
}
