//! What may be written now: within the window and the allowance, and nothing before its turn.

use std::io::IoSlice;

use super::Exchange;
use super::fence::Fence;
use super::frame::Frame;
use crate::config::{Replies, Transaction};

impl Exchange {
    /// Something is to be written, now or when something else has moved.
    pub fn has_unwritten(&self) -> bool {
        self.sent < self.frames.len()
    }

    /// Fills `slices` with what may be written now; returns how many were filled.
    pub fn writable<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.awaits_first_multi() || self.is_early() {
            return 0;
        }
        let mut in_flight = self.in_flight;
        let mut offset = self.offset;
        let mut batches = self.written_batches;
        let mut room = self.allowance.unwrap_or(usize::MAX);
        let mut filled = 0;
        for (at, slice) in (self.sent..self.frames.len()).zip(slices) {
            let frame = &self.frames[at];
            let bytes = frame.bytes();
            if room == 0 {
                break;
            }
            if offset == 0 {
                // What was begun is always finished.
                if !self.may_begin(at, in_flight, batches) {
                    break;
                }
                in_flight += bytes.len();
            }
            let end = bytes.len().min(offset.saturating_add(room));
            *slice = IoSlice::new(&bytes[offset..end]);
            filled += 1;
            room -= end - offset;
            if end < bytes.len() {
                break;
            }
            offset = 0;
            match frame {
                Frame::Multi(_) if !self.multi_accepted && self.settings.replies != Replies::Off => break,
                Frame::Fence(Fence { ends: Some(_), .. }) => batches += 1,
                // What follows goes elsewhere.
                Frame::Release(_) => break,
                // What was sent again is answered before anything newer is sent.
                Frame::Fence(_) if self.settings.replies != Replies::Off => break,
                _ => {}
            }
        }
        filled
    }

    /// Whether the frame at `at` may be written, with so many bytes and batches written before it.
    fn may_begin(&self, at: usize, in_flight: usize, batches: u32) -> bool {
        let frame = &self.frames[at];
        if matches!(frame, Frame::Release(_)) {
            return true;
        }
        if self.is_quota(batches) {
            return false;
        }
        if self.settings.replies == Replies::Off {
            return self.may_begin_silently(at, in_flight);
        }
        let begins = match frame {
            Frame::Fence(_) => self.settings.transaction == Transaction::Off,
            frame => !frame.is_within_transaction(),
        };
        if begins && (!self.held.is_empty() || self.is_behind_fence_within()) {
            return false;
        }
        if self.settings.one_at_a_time && matches!(frame, Frame::Multi(_)) && at > 0 {
            return false;
        }
        // What is larger than the window goes alone.
        in_flight == 0 || in_flight + frame.bytes().len() <= self.settings.max_in_flight
    }

    /// Something is sent again, and its fence is not answered.
    fn is_behind_fence_within(&self) -> bool {
        let last = self.sent.checked_sub(1).and_then(|last| self.frames.get(last));
        matches!(last, Some(Frame::Fence(Fence { ends: None, .. })))
    }

    /// The socket accepted `bytes` of what [`Self::writable`] offered.
    pub fn wrote(&mut self, mut bytes: usize) {
        if let Some(allowance) = &mut self.allowance {
            *allowance = allowance.saturating_sub(bytes);
        }
        let silent = self.is_silent();
        while bytes > 0 {
            let Some(frame) = self.frames.get(self.sent) else {
                debug_assert!(false, "more was written than was offered");
                return;
            };
            let length = frame.bytes().len();
            if self.offset == 0 {
                self.in_flight += frame.weight();
            }
            let step = bytes.min(length - self.offset);
            self.offset += step;
            bytes -= step;
            if self.offset == length {
                match frame {
                    Frame::Fence(Fence { ends: Some(_), .. }) => self.written_batches += 1,
                    Frame::Release(_) => self.written_batches = 0,
                    // A transaction counts once the server takes it.
                    Frame::Data(data) if silent || data.transaction == Transaction::Off => {
                        self.resent += u64::from(data.written_before());
                    }
                    _ => {}
                }
                self.sent += 1;
                self.offset = 0;
            }
        }
    }
}
