//! One connection goes on where another ends, without a pause: the server has the next commands before it has answered the last.
//!
//! The next connection was made to wait by the server itself, in a `WAIT` without end. Behind its last fence the old one
//! says `CLIENT UNBLOCK`, so that nothing of the next one is done before everything of the old one is.
//!
//! ```text
//!   old    … data … fence UNBLOCK ──────────▶ … fence :1
//!                 ╎ TAIL bytes are left          ▼ from here on the next one is read
//!   next   (WAIT) data data data … ───────────▶ :0 (of WAIT) replies …
//! ```

use super::frame::Frame;
use super::replies::{Expected, Reader};
use super::{Broken, Exchange};
use crate::resp::reply::{Kind, excerpt};

/// The next connection is written to once the old one has so little left, which keeps a server at work for some hundred
/// microseconds: it takes less to hear of that. Not earlier: what Redis has read of a connection that is held back it does in one go when
/// that is let go, before any reply goes out and anybody else is served; it reads 16 KiB each time that it has done as much.
pub(super) const TAIL: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Handover {
    /// So many frames in front are for the old connection, of so many bytes. None: its last word has come.
    frames: usize,
    bytes: usize,
}

impl Exchange {
    /// Of this connection's share nothing is left to be written: another one may go on, if it is held back by the server.
    pub fn may_hand_over(&self) -> bool {
        // What is refused for now waits until all is answered, and then goes over the next one.
        self.has_written_all() && self.handover.is_none() && (self.held.is_empty() || self.sent == 0)
    }

    /// Whether others follow this connection, and could go on before it has answered. Not where each batch waits for the one
    /// before, or is written slowly.
    pub fn rotates(&self) -> bool {
        self.settings.reconnect_every > 0 && !self.settings.one_at_a_time && !self.settings.throttled
    }

    /// What comes is for the next connection. `release` is said behind everything on this one: it lets the next one go.
    pub fn hand_over(&mut self, release: Vec<u8>) {
        debug_assert!(
            self.may_hand_over() && self.offset == 0,
            "the share is written to its end"
        );
        self.handover = Some(Handover {
            frames: self.sent + 1,
            bytes: self.in_flight,
        });
        self.frames.insert(self.sent, Frame::Release(release));
    }

    /// The next connection is written to.
    pub fn writes_to_next(&self) -> bool {
        self.handover
            .as_ref()
            .is_some_and(|handover| self.sent >= handover.frames)
    }

    /// The old connection has said its last word.
    pub fn reads_from_next(&self) -> bool {
        self.handover.as_ref().is_none_or(|handover| handover.frames == 0)
    }

    /// Of the frames in front, so many are worth waiting for in one go: on the connection that is read, and up to where the
    /// next one is written to.
    pub(super) fn worth_waiting_for(&self) -> usize {
        let Some(handover) = self.handover.as_ref().filter(|handover| handover.frames > 0) else {
            return self.sent;
        };
        let written = self.sent.min(handover.frames);
        if !self.is_early() {
            return written;
        }
        let mut tail = 0;
        let small = self.frames.range(..written).rev().take_while(|frame| {
            tail += frame.bytes().len();
            tail <= TAIL
        });
        written - small.count()
    }

    /// The next connection is not written to yet.
    pub(super) fn is_early(&self) -> bool {
        self.writes_to_next() && self.left_before() > TAIL
    }

    /// Of what was written to the old connection, about so many bytes are not answered.
    fn left_before(&self) -> usize {
        let Some(handover) = &self.handover else { return 0 };
        let answered = self.frames.front().map_or(0, Frame::answered_bytes);
        handover.bytes.saturating_sub(answered)
    }

    pub(super) fn answered_before(&mut self, bytes: usize) {
        if let Some(handover) = &mut self.handover
            && handover.frames > 0
        {
            handover.frames -= 1;
            handover.bytes -= bytes;
        }
    }

    /// The old connection's last word.
    pub(super) fn release_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        self.not_too_early(input)?;
        match self.reader.expect(input, b":1\r\n") {
            Ok(Expected::NotYet(consumed)) => Ok(consumed),
            Ok(Expected::Came(consumed)) if consumed < input.len() => Err(Broken::Violation(format!(
                "more than the last word of a connection: {}",
                excerpt(&input[consumed..])
            ))),
            Ok(Expected::Came(consumed)) => {
                self.replies += 1;
                self.pop_answered();
                self.reader = Reader::new();
                Ok(consumed)
            }
            // Whatever became of the next one: it goes by the ordinary way.
            Ok(Expected::Refused(_)) | Err(_) => Err(not_held("CLIENT UNBLOCK")),
        }
    }

    /// The first word of the next connection, which is of the command that held it back.
    pub(super) fn released(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let (consumed, done) = self.reader.scan(input)?;
        match done {
            None | Some(Kind::Push | Kind::Attribute) => {}
            Some(Kind::Value) => {
                self.replies += 1;
                self.handover = None;
            }
            Some(Kind::Null | Kind::Error | Kind::Header(_)) => return Err(not_held("WAIT")),
        }
        Ok(consumed)
    }
}

fn not_held(command: &str) -> Broken {
    Broken::Unavailable(format!(
        "the next connection was not held back as it should be, says {command}"
    ))
}
