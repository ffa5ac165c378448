//! How much may be written where the pipeline is throttled: handed out a little at a time, by whoever has the clock.

use super::Exchange;
use super::frame::Frame;
use crate::config::Replies;

/// What was allowed: no more than there is to be written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Those that end within the bytes. What frames them is not counted.
    pub commands: u64,
    pub bytes: usize,
}

impl Exchange {
    /// Nothing more may be written, and there is something to be.
    pub fn wants_allowance(&self) -> bool {
        self.allowance == Some(0) && self.has_unwritten()
    }

    /// From here on what follows may be written: so many commands, so many bytes with all that frames them.
    pub fn allow(&mut self, commands: u64, bytes: usize) -> Allowed {
        let mut allowed = Allowed::default();
        let mut offset = self.offset;
        for frame in self.frames.iter_mut().skip(self.sent) {
            let room = bytes - allowed.bytes;
            let rest = frame.bytes().len() - offset;
            let step = match frame {
                Frame::Data(data) if commands != u64::MAX => {
                    let (count, step) = data.within(offset, commands - allowed.commands, room);
                    allowed.commands += count;
                    step
                }
                _ => rest.min(room),
            };
            allowed.bytes += step;
            if step < rest || allowed.bytes == bytes {
                break;
            }
            offset = 0;
        }
        self.allowance = Some(allowed.bytes);
        allowed
    }

    /// The throttle holds back what there is to be written, and all that the server could answer is answered.
    pub fn is_held_back(&mut self) -> bool {
        self.wants_allowance() && !self.is_owed_a_reply()
    }

    fn is_owed_a_reply(&mut self) -> bool {
        if self.settings.replies == Replies::Off {
            let mut written = self.frames.iter().take(self.sent);
            return written.any(|frame| matches!(frame, Frame::Speech | Frame::Fence(_) | Frame::Question(_)));
        }
        match self.frames.front_mut() {
            Some(Frame::Data(data)) if self.sent == 0 => data.commands_within(self.offset) > data.answered,
            _ => self.sent > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Transaction;
    use crate::connection::state::Settings;
    use crate::connection::state::peer::{Model, Session, batch, batch_within, commands, plain, settings, wire, write};

    const ALL: usize = usize::MAX;

    fn throttled(settings: Settings) -> Exchange {
        Exchange::new(Settings {
            throttled: true,
            ..settings
        })
    }

    #[test]
    fn nothing_is_written_that_is_not_allowed() {
        let mut exchange = throttled(plain());
        assert!(!exchange.wants_allowance(), "there is nothing to write");
        exchange.push(batch(&["SET a 1", "SET b 2", "SET c 3"]), 0);
        assert!(exchange.wants_allowance());
        assert_eq!(write(&mut exchange, ALL), b"");

        let two = Allowed {
            commands: 2,
            bytes: 2 * wire("SET a 1").len(),
        };
        assert_eq!(exchange.allow(2, ALL), two);
        assert!(!exchange.wants_allowance());
        assert_eq!(write(&mut exchange, ALL), [wire("SET a 1"), wire("SET b 2")].concat());
        assert_eq!(write(&mut exchange, ALL), b"");
        assert_eq!(exchange.allow(0, ALL), Allowed::default());
    }

    #[test]
    fn what_frames_the_commands_is_no_command() {
        let mut exchange = throttled(settings(Replies::Off, Transaction::EachBatch));
        exchange.push(batch(&["SET a 1"]), 0);
        exchange.push(batch(&["SET b 2"]), 1);
        exchange.allow(0, ALL);
        let (before, _) = commands(&write(&mut exchange, ALL));
        assert_eq!(
            before.iter().map(|words| words[0].as_str()).collect::<Vec<_>>(),
            ["CLIENT", "MULTI"]
        );
        exchange.allow(1, ALL);
        let (first, _) = commands(&write(&mut exchange, ALL));
        let names: Vec<&str> = first.iter().map(|words| words[0].as_str()).collect();
        assert_eq!(names, ["SET", "EXEC", "CLIENT", "ECHO", "CLIENT", "MULTI"]);
    }

    #[test]
    fn it_is_held_back_while_nothing_can_be_answered() {
        let mut exchange = throttled(plain());
        assert!(!exchange.is_held_back());
        exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
        assert!(exchange.is_held_back());
        // Not even one is written whole.
        exchange.allow(u64::MAX, 10);
        assert!(!exchange.is_held_back(), "the stream is");
        write(&mut exchange, ALL);
        assert!(exchange.is_held_back());
        exchange.allow(1, ALL);
        write(&mut exchange, ALL);
        assert!(!exchange.is_held_back(), "the server is");
        exchange.received(b"+OK\r\n").unwrap();
        assert!(exchange.is_held_back());
        exchange.allow(1, ALL);
        write(&mut exchange, ALL);
        assert!(!exchange.is_held_back());
    }

    #[test]
    fn with_replies_off_only_a_fence_is_answered() {
        let mut exchange = throttled(settings(Replies::Off, Transaction::Off));
        exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
        exchange.allow(1, ALL);
        write(&mut exchange, ALL);
        assert!(exchange.is_held_back());
        exchange.allow(1, ALL);
        write(&mut exchange, ALL);
        exchange.push(batch(&["SET c 3"]), 2);
        assert!(exchange.wants_allowance() && !exchange.is_held_back());
    }

    #[test]
    fn a_new_connection_has_no_allowance_of_the_old_one() {
        let mut exchange = throttled(plain());
        exchange.push(batch(&["SET a 1", "SET b 2"]), 0);
        exchange.allow(2, ALL);
        exchange.disconnected(&crate::error::Error::Closed);
        assert_eq!(write(&mut exchange, ALL), b"");
    }

    proptest! {
        #[test]
        fn in_pieces_it_is_the_same_and_never_more_than_allowed(
            sizes in prop::collection::vec(prop::collection::vec(0..60_usize, 1..30), 1..4),
            turns in prop::collection::vec((prop_oneof![0..4_u64, Just(u64::MAX)], prop_oneof![1..90_usize, Just(ALL)], 1..200_usize), 1..60),
            window in prop_oneof![Just(1_usize), Just(300), Just(1 << 20)],
            transaction in prop_oneof![Just(Transaction::Off), Just(Transaction::EachBatch)],
        ) {
            let batches: Vec<Vec<String>> = sizes
                .iter()
                .map(|sizes| sizes.iter().map(|size| format!("SET k{} 1", "x".repeat(*size))).collect())
                .collect();
            let mut exchange = throttled(Settings { max_in_flight: window, ..settings(Replies::Check, transaction) });
            for batch in &batches {
                exchange.push(batch_within(window, batch), 0);
            }
            let (mut model, mut session) = (Model::default(), Session::default());
            let (mut sent, mut paid) = (Vec::new(), 0);
            // In the end without limits, so that it ends.
            for (most, bytes, accepted) in turns.into_iter().chain([(u64::MAX, ALL, ALL); 400]) {
                if exchange.is_idle() {
                    break;
                }
                if exchange.wants_allowance() {
                    let allowed = exchange.allow(most, bytes);
                    prop_assert!(allowed.commands <= most && allowed.bytes <= bytes);
                    paid += allowed.commands;
                    if most == u64::MAX {
                        // Not counted where they are not limited.
                        paid = 1_000_000;
                    }
                }
                let piece = write(&mut exchange, accepted);
                let replies = session.feed(&mut model, &piece);
                sent.extend(piece);
                exchange.received(&replies).unwrap();
                let whole = commands(&sent).0.iter().filter(|words| words[0] == "SET").count();
                prop_assert!(whole as u64 <= paid, "{whole} of {paid}");
            }
            prop_assert!(exchange.is_idle());
            let expected: Vec<&String> = batches.iter().flatten().collect();
            let (words, _) = commands(&sent);
            let sets: Vec<String> = words.iter().filter(|words| words[0] == "SET").map(|words| words.join(" ")).collect();
            prop_assert_eq!(sets.iter().collect::<Vec<_>>(), expected);
        }
    }
}
