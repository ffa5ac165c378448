//! Replies that are off: nothing is said before a fence, and nobody knows what became of the commands before it.

use std::collections::VecDeque;

use super::fence::Fence;
use super::frame::Frame;
use super::replies::{Expected, is_passing};
use super::{Broken, Exchange, open};
use crate::config::Replies;
use crate::resp::reply::{Kind, excerpt};

impl Exchange {
    /// Whether a batch needs a fence before the next frame, so that no more is in doubt than the window holds.
    /// Within a transaction there can be none.
    pub(super) fn needs_fence(&self, unfenced: usize, next: &Frame) -> bool {
        self.settings.replies == Replies::Off
            && !next.is_within_transaction()
            && unfenced > 0
            // Half of it, so that the other half is on its way meanwhile.
            && unfenced + next.bytes().len() > self.settings.max_in_flight / 2
    }

    /// Whether the frame at `at` may be written: what begins in silence goes on up to its fence.
    pub(super) fn may_begin_silently(&self, at: usize, in_flight: usize) -> bool {
        if in_flight == 0 || !matches!(self.frames[at], Frame::Silence) {
            return true;
        }
        let part = self.frames.iter().skip(at);
        let mut bytes = in_flight;
        for frame in part {
            bytes += frame.bytes().len();
            if bytes > self.settings.max_in_flight {
                return false;
            }
            if matches!(frame, Frame::Fence(_)) {
                break;
            }
        }
        true
    }

    /// Frames for a new connection: silence where it belongs, and no more in doubt than the window holds.
    pub(super) fn silenced(&self, frames: VecDeque<Frame>) -> VecDeque<Frame> {
        if self.settings.replies != Replies::Off {
            return frames;
        }
        let mut silenced = VecDeque::with_capacity(frames.len());
        let mut unfenced = None;
        for frame in frames {
            match &frame {
                Frame::Fence(_) | Frame::Question(_) => {
                    silenced.extend(unfenced.map(|_| Frame::Speech));
                    unfenced = None;
                }
                _ => {
                    let bytes = frame.bytes().len();
                    if unfenced.is_some_and(|unfenced| self.needs_fence(unfenced, &frame)) {
                        silenced.extend([Frame::Speech, Frame::Fence(Fence::new(None))]);
                        unfenced = None;
                    }
                    if unfenced.is_none() {
                        silenced.push_back(Frame::Silence);
                    }
                    unfenced = Some(unfenced.unwrap_or_default() + bytes);
                }
            }
            silenced.push_back(frame);
        }
        silenced
    }

    /// Nothing is answered before the speech.
    pub(super) fn silent_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let written = self.frames.iter().take(self.sent);
        let Some(at) = written.into_iter().position(|frame| matches!(frame, Frame::Speech)) else {
            return self.broken_silence(input);
        };
        match self.reader.expect(input, b"+OK\r\n")? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                self.replies += 1;
                self.pass(at);
                Ok(consumed)
            }
            Expected::Refused(_) => Err(self.refusal_in_silence()),
        }
    }

    /// Nothing may be said now: or the server did not take the order to be silent.
    fn broken_silence(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let may_be_refusal = matches!(input, [b'-' | b'!', ..]) || !self.reader.at_boundary();
        if !may_be_refusal || (self.sent == 0 && self.offset == 0) {
            return self.unasked(input);
        }
        match self.reader.scan(input)? {
            (consumed, None | Some(Kind::Push | Kind::Attribute)) => Ok(consumed),
            (_, Some(Kind::Error)) => Err(self.refusal_in_silence()),
            _ => Err(Broken::Violation(format!(
                "a reply, though replies are off: {}",
                excerpt(input)
            ))),
        }
    }

    fn refusal_in_silence(&self) -> Broken {
        let text = self.reader.error_text();
        match self.reader.refusal() {
            Ok((code, _)) if is_passing(&code) => Broken::Unavailable(format!("the server is not available: {text}")),
            _ => Broken::Violation(format!("an error, though replies are off: {text}")),
        }
    }

    /// Everything up to the speech at `at` was read by the server.
    fn pass(&mut self, at: usize) {
        for _ in 0..=at {
            if let Some(Frame::Data(data)) = self.pop_answered() {
                self.answered += u64::from(data.commands());
                if let Some(batch) = open(&mut self.batches, data.batch) {
                    batch.outcome.unknown += u64::from(data.commands());
                }
                self.release(data);
            }
        }
    }
}
