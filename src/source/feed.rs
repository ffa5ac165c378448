//! The bytes of a file in one buffer that is used again: what was looked at leaves it in front, what is read comes in
//! behind.
//!
//! It grows only by what has really come, for a command that does not fit, up to a limit.

use std::io::{self, ErrorKind, Read};

/// Most reads fill a quarter of a MiB: few system calls, and what was read is still in the cache when it is looked at.
const USUAL: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Feed<R> {
    source: R,
    buffer: Vec<u8>,
    /// What counts of the buffer.
    start: usize,
    end: usize,
    /// Where in the file that starts.
    offset: u64,
    state: State,
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// All of it was read.
    Ended,
}

/// Why there is no more.
#[derive(Debug)]
pub(super) enum NoMore {
    /// It is over.
    End,
    /// More is asked for than there may be at once.
    TooMuch,
    Failed(io::Error),
}

impl<R: Read> Feed<R> {
    /// Holds at most `limit` bytes at once, or as many as it usually does.
    pub(super) fn new(source: R, limit: usize) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            state: State::Open,
            limit,
        }
    }

    /// What was read and not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where in the file that begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// So many bytes in front are done with.
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start, "only what is there");
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads more, waiting for it. `needed`: with fewer bytes nothing can be made of those in front.
    ///
    /// # Errors
    /// Where there is no more.
    pub(super) fn more(&mut self, needed: usize) -> Result<(), NoMore> {
        if self.state == State::Ended {
            return Err(NoMore::End);
        }
        if needed > self.limit {
            return Err(NoMore::TooMuch);
        }
        self.make_room();
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.state = State::Ended;
                    return Err(NoMore::End);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(NoMore::Failed(error)),
            }
        }
    }

    /// At the end of the file: what was left out there.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(bytes);
        self.end = self.buffer.len();
    }

    fn make_room(&mut self) {
        let held = self.end - self.start;
        if self.buffer.len() > USUAL && held < USUAL / 2 {
            // It had grown for one command.
            self.buffer = [&self.buffer[self.start..self.end], &vec![0; USUAL - held]].concat();
        } else if self.start > 0 && held < self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
        } else if self.end == self.buffer.len() {
            let length = self.buffer.len();
            self.buffer.resize((2 * length).max(USUAL), 0);
            return;
        } else {
            return;
        }
        self.start = 0;
        self.end = held;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives pieces of the sizes that it is told, over and over.
    pub(crate) struct Pieces {
        pub(crate) bytes: Vec<u8>,
        pub(crate) sizes: Vec<usize>,
        pub(crate) reads: usize,
    }

    impl Pieces {
        pub(crate) fn new(bytes: &[u8], sizes: &[usize]) -> Self {
            Self {
                bytes: bytes.to_vec(),
                sizes: sizes.to_vec(),
                reads: 0,
            }
        }
    }

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.reads % self.sizes.len()];
            self.reads += 1;
            if self.reads.is_multiple_of(7) {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = size.min(into.len()).min(self.bytes.len());
            into[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes.drain(..count);
            Ok(count)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn all_bytes_come_in_their_order(
            length in 0..2_000_000_usize,
            sizes in prop::collection::vec(1..700_000_usize, 1..6),
            steps in prop::collection::vec(1..600_000_usize, 1..6),
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut feed = Feed::new(Pieces::new(&bytes, &sizes), usize::MAX);
            let (mut seen, mut at) = (Vec::new(), 0);
            loop {
                let step = steps[at % steps.len()];
                if feed.bytes().len() < step && feed.more(step).is_ok() {
                    continue;
                }
                let taken = step.min(feed.bytes().len());
                prop_assert_eq!(feed.offset(), seen.len() as u64);
                seen.extend_from_slice(&feed.bytes()[..taken]);
                feed.consume(taken);
                at += 1;
                if feed.is_ended() && feed.bytes().is_empty() {
                    break;
                }
            }
            prop_assert!(seen == bytes);
        }
    }

    #[test]
    fn the_buffer_grows_for_what_has_come_and_shrinks_again() {
        let mut feed = Feed::new(Pieces::new(&[7; 9_000_000], &[100_000]), 8_000_000);
        // Announced is far more than there will be.
        feed.more(8_000_000).unwrap();
        assert_eq!(feed.buffer.len(), USUAL);
        while feed.bytes().len() < 7_000_000 {
            feed.more(7_000_000).unwrap();
        }
        assert!(feed.buffer.len() < 16_000_000);
        assert!(matches!(feed.more(8_000_001), Err(NoMore::TooMuch)));
        feed.consume(feed.bytes().len() - 10);
        feed.more(20).unwrap();
        assert_eq!(feed.buffer.len(), USUAL);
        feed.add(b"end");
        assert!(feed.bytes().ends_with(b"\x07end"));
    }
}
