//! What is read of a file and not parsed yet: one buffer, which grows for a record that does not fit, and shrinks again.
//!
//! Bytes come in from whoever reads the file; a parser looks at them, and says how many it is done with, or needs.

use std::io::{self, ErrorKind, Read};

/// What is usually held: few system calls, much more than a record, and little enough to stay in the processor's cache.
const USUAL: usize = 256 * 1024;

/// The longest record: far more than anybody writes, and what one mistake in a file may cost in memory.
pub(super) const MAX_RECORD: usize = 64 * 1024 * 1024;

/// Behind a beginning that is longer than this, as much again is read before it is looked at once more. Otherwise a long
/// record that comes in little pieces would be parsed from its start for each.
const SHORT: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Window<R> {
    reader: R,
    /// Filled from `start` to `end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the file `start` is.
    offset: u64,
    has_ended: bool,
    usual: usize,
    most: usize,
}

/// What came of reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Read,
    /// Nothing: this is all.
    End,
    /// Nothing: it would be more than may be held.
    Full,
}

impl<R: Read> Window<R> {
    /// For rows, each at most [`MAX_RECORD`] long.
    pub(super) fn new(reader: R) -> Self {
        Self::of(reader, USUAL, MAX_RECORD)
    }

    /// Holds at most so many bytes at once, or as many as is usual.
    pub(super) fn up_to(reader: R, most: usize) -> Self {
        Self::of(reader, USUAL, most)
    }

    pub(super) fn of(reader: R, usual: usize, most: usize) -> Self {
        Self {
            reader,
            bytes: vec![0; usual],
            start: 0,
            end: 0,
            offset: 0,
            has_ended: false,
            usual,
            most,
        }
    }

    pub(super) fn reader(&self) -> &R {
        &self.reader
    }

    /// What is read and not consumed.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where in the file that begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Nothing follows.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start, "only what is there");
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads on behind a record that has to be looked at from its start again. What is there may move.
    pub(super) fn more(&mut self) -> io::Result<More> {
        let held = self.end - self.start;
        let wanted = if held > SHORT { 2 * held } else { held + 1 };
        self.more_up_to(wanted.min(self.most).max(held + 1))
    }

    /// Reads on until `needed` bytes are there, or the file ends. What is there may move.
    pub(super) fn more_up_to(&mut self, needed: usize) -> io::Result<More> {
        if self.has_ended {
            return Ok(More::End);
        }
        if needed > self.most {
            return Ok(More::Full);
        }
        let before = self.end - self.start;
        while self.end - self.start < needed && !self.has_ended {
            self.make_room();
            self.read()?;
        }
        Ok(if self.end - self.start > before {
            More::Read
        } else {
            More::End
        })
    }

    /// At the end of the file: what was left out there.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(bytes);
        self.end = self.bytes.len();
    }

    fn read(&mut self) -> io::Result<()> {
        loop {
            match self.reader.read(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    self.has_ended = count == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The buffer grows only for what has really come.
    fn make_room(&mut self) {
        let held = self.end - self.start;
        if self.bytes.len() > 4 * self.usual && held < self.usual {
            let mut bytes = vec![0; self.usual];
            bytes[..held].copy_from_slice(&self.bytes[self.start..self.end]);
            self.bytes = bytes;
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
        }
        (self.start, self.end) = (0, held);
        if held == self.bytes.len() {
            self.bytes.resize((2 * held).min(self.most), 0);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives what it has in pieces of these lengths, over and over; some reads are interrupted.
    pub(in crate::source) struct Pieces {
        content: Vec<u8>,
        lengths: Vec<usize>,
        reads: usize,
    }

    impl Pieces {
        pub(in crate::source) fn new(content: &[u8], lengths: &[usize]) -> Self {
            Self {
                content: content.to_vec(),
                lengths: lengths.to_vec(),
                reads: 0,
            }
        }
    }

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.lengths[self.reads % self.lengths.len()];
            self.reads += 1;
            if self.reads.is_multiple_of(7) {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = length.max(1).min(into.len()).min(self.content.len());
            into[..count].copy_from_slice(&self.content[..count]);
            self.content.drain(..count);
            Ok(count)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn all_bytes_come_in_their_order(
            length in 0..200_000_usize,
            usual in 1..50_000_usize,
            lengths in prop::collection::vec(1..70_000_usize, 1..6),
            steps in prop::collection::vec(1..60_000_usize, 1..6),
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut window = Window::of(Pieces::new(&bytes, &lengths), usual, usize::MAX);
            let (mut seen, mut at) = (Vec::new(), 0);
            while !(window.has_ended() && window.bytes().is_empty()) {
                let step = steps[at % steps.len()];
                let more = if at % 2 == 0 { window.more_up_to(step) } else { window.more() };
                more.expect("read");
                prop_assert!(at % 2 == 1 || window.bytes().len() >= step || window.has_ended());
                prop_assert_eq!(window.offset(), seen.len() as u64);
                let taken = step.min(window.bytes().len());
                seen.extend_from_slice(&window.bytes()[..taken]);
                window.consume(taken);
                at += 1;
            }
            prop_assert!(seen == bytes);
        }
    }

    #[test]
    fn it_grows_up_to_a_limit_and_shrinks_again() {
        let content: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut window = Window::of(Pieces::new(&content, &[7, 100]), 16, 4_096);
        while window.more().expect("read") == More::Read {}
        assert_eq!(window.bytes(), &content[..4_096]);
        assert_eq!(window.more().expect("read"), More::Full);
        assert_eq!(window.more_up_to(4_097).expect("read"), More::Full);
        window.consume(4_090);
        assert_eq!(window.more().expect("read"), More::Read);
        assert_eq!(window.bytes.len(), 16);
        window.consume(window.bytes().len());
        assert_eq!(window.more_up_to(10).expect("read"), More::Read);
        window.add(b"end");
        assert!(window.bytes().ends_with(b"end"));
    }

    #[test]
    fn it_grows_only_for_what_has_come() {
        let mut window = Window::of(Pieces::new(&[7; 2_000], &[100]), 1_024, 1 << 30);
        // Announced is far more than there will be.
        assert_eq!(window.more_up_to(1 << 29).expect("read"), More::Read);
        assert_eq!(window.bytes().len(), 2_000);
        assert!(window.bytes.len() <= 4_096);
        assert_eq!(window.more().expect("read"), More::End);
    }

    #[test]
    fn a_long_record_in_little_pieces_is_not_looked_at_for_each() {
        let mut window = Window::of(Pieces::new(&vec![b'x'; 1 << 20], &[100]), 1 << 10, 1 << 22);
        let mut looks = 0;
        while window.more().expect("read") == More::Read {
            looks += 1;
        }
        assert!(looks < 200, "{looks}");
    }
}
