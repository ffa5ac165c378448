//! What is read of a file and not parsed yet: one buffer, which grows for a record that does not fit, and shrinks again.

use std::io::{self, Read};

/// What is usually held: much more than a record, and little enough to stay in the processor's cache.
const USUAL: usize = 256 * 1024;

/// The longest record: far more than anybody writes, and what one mistake in a file may cost in memory.
pub(super) const MAX_RECORD: usize = 64 * 1024 * 1024;

/// Behind a beginning that is longer than this, as much again is read before it is looked at once more. Otherwise a long
/// record that comes in little pieces would be parsed from its start for each.
const SHORT: usize = 16 * 1024;

pub(super) struct Window<R> {
    reader: R,
    /// Filled from `start` to `end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
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
    /// Nothing: what is there is longer than a record may be.
    Full,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self::of(reader, USUAL, MAX_RECORD)
    }

    pub(super) fn of(reader: R, usual: usize, most: usize) -> Self {
        Self {
            reader,
            bytes: vec![0; usual],
            start: 0,
            end: 0,
            has_ended: false,
            usual,
            most,
        }
    }

    /// What is read and not consumed.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Nothing follows.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Reads on, behind what is there. What is there may move.
    pub(super) fn more(&mut self) -> io::Result<More> {
        let held = self.end - self.start;
        if self.has_ended {
            return Ok(More::End);
        }
        if held >= self.most {
            return Ok(More::Full);
        }
        self.make_room(held);
        let wanted = if held > SHORT { 2 * held } else { held + 1 }.min(self.bytes.len());
        while self.end < wanted {
            let count = self.reader.read(&mut self.bytes[self.end..])?;
            if count == 0 {
                self.has_ended = true;
                break;
            }
            self.end += count;
        }
        Ok(if self.end > held { More::Read } else { More::End })
    }

    fn make_room(&mut self, held: usize) {
        if self.bytes.len() > 4 * self.usual && held < self.usual {
            let mut bytes = vec![0; self.usual];
            bytes[..held].copy_from_slice(&self.bytes[self.start..self.end]);
            self.bytes = bytes;
        } else {
            self.bytes.copy_within(self.start..self.end, 0);
            if held == self.bytes.len() {
                self.bytes.resize((2 * held).min(self.most), 0);
            }
        }
        (self.start, self.end) = (0, held);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Gives what it has in pieces of these lengths, over and over.
    pub(in crate::source) struct Pieces {
        content: Vec<u8>,
        lengths: Vec<usize>,
        turn: usize,
    }

    impl Pieces {
        pub(in crate::source) fn new(content: &[u8], lengths: &[usize]) -> Self {
            Self {
                content: content.to_vec(),
                lengths: lengths.to_vec(),
                turn: 0,
            }
        }
    }

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.lengths[self.turn % self.lengths.len()];
            self.turn += 1;
            let count = length.max(1).min(into.len()).min(self.content.len());
            into[..count].copy_from_slice(&self.content[..count]);
            self.content.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn it_grows_up_to_a_limit_and_shrinks_again() {
        let content: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut window = Window::of(Pieces::new(&content, &[7, 100]), 16, 4_096);
        while window.more().expect("read") == More::Read {}
        assert_eq!(window.bytes(), &content[..4_096]);
        assert_eq!(window.more().expect("read"), More::Full);
        window.consume(4_090);
        assert_eq!(window.more().expect("read"), More::Read);
        assert_eq!(window.bytes.len(), 16);
        let mut seen = 4_090;
        loop {
            let held = window.bytes().len();
            assert_eq!(window.bytes(), &content[seen..seen + held]);
            seen += held;
            window.consume(held);
            if window.more().expect("read") == More::End {
                break;
            }
        }
        assert_eq!(seen, content.len());
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
