//! Sealed commands on their way to a server: bytes that nobody changes any more, and how many commands they are.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rows::Part;

/// Room in a segment beyond the 64 KiB at which a batch executes by itself, so that the command that
/// reaches the threshold still fits.
const SLACK: usize = 4 * 1024;

/// Larger writes than 64 KiB did not load faster; smaller ones cost system calls.
const SEGMENT_BYTES: usize = 64 * 1024 + SLACK;

/// Spare segments kept for reuse: 2 MiB, more than a window holds.
const MAX_SPARE: usize = 32;

/// Whole commands in RESP. The unit of writing, of the window and of freeing.
#[derive(Debug, Default)]
pub struct Segment {
    /// All of it initialised, so that appending writes by plain copies.
    pub(crate) bytes: Vec<u8>,
    pub(crate) len: usize,
    pub(crate) commands: u32,
}

impl Segment {
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            len: 0,
            commands: 0,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn commands(&self) -> u32 {
        self.commands
    }

    /// Memory that it occupies.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// A segment that grew above `usual` bytes for one command keeps no more than that needs.
    pub(crate) fn give_back_above(&mut self, usual: usize) {
        if self.bytes.len() > usual {
            self.bytes.truncate(self.len);
            self.bytes.shrink_to_fit();
        }
    }

    fn copied(&self) -> Self {
        Self {
            bytes: self.bytes().to_vec(),
            len: self.len,
            commands: self.commands,
        }
    }
}

/// The commands of one `exec()`, in order, or of some rows of a load.
#[derive(Debug, Default)]
pub struct Batch {
    pub segments: Vec<Segment>,
    pub commands: u64,
    pub bytes: usize,
    /// Of a load of rows.
    pub part: Option<Part>,
    pub wrap: Wrap,
}

/// Whether MULTI … EXEC goes around a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wrap {
    /// As the option `transaction` says.
    #[default]
    AsConfigured,
    /// Whatever it says: its commands are a transaction where they come from.
    Always,
}

/// Gives out empty segments, and takes back those whose commands were answered.
#[derive(Debug)]
pub struct Pool {
    segment_bytes: usize,
    spare: Mutex<Spare>,
}

#[derive(Debug)]
struct Spare {
    segments: Vec<Segment>,
    /// How many are kept.
    max: usize,
}

impl Pool {
    /// Segments that suit a window of `max_in_flight` bytes: several of them in flight, none larger than the window.
    pub fn for_window(max_in_flight: usize) -> Self {
        let segment_bytes = SEGMENT_BYTES.min((max_in_flight / 4).max(max_in_flight.min(SLACK)));
        Self {
            segment_bytes,
            spare: Mutex::new(Spare {
                segments: Vec::new(),
                max: MAX_SPARE,
            }),
        }
    }

    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// An empty segment for a command of at least `bytes`.
    pub fn take(&self, bytes: usize) -> Segment {
        if bytes <= self.segment_bytes {
            let spare = self.spare().segments.pop();
            return spare.unwrap_or_else(|| Segment::with_capacity(self.segment_bytes));
        }
        Segment::with_capacity(bytes)
    }

    /// Keeps a segment for reuse, where it is of the usual size and there are few.
    pub fn put_back(&self, mut segment: Segment) {
        if segment.capacity() != self.segment_bytes {
            return;
        }
        let mut spare = self.spare();
        if spare.segments.len() < spare.max {
            segment.len = 0;
            segment.commands = 0;
            spare.segments.push(segment);
        }
    }

    /// Keeps none from here on.
    pub fn retire(&self) {
        *self.spare() = Spare {
            segments: Vec::new(),
            max: 0,
        };
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what `segment` holds; leaves it empty. A segment less than half full is copied out rather than
    /// handed over, so that many small batches do not occupy a whole segment each.
    pub fn seal(&self, segment: &mut Segment) -> Segment {
        if segment.capacity() == self.segment_bytes && segment.len < self.segment_bytes / 2 {
            let sealed = segment.copied();
            segment.len = 0;
            segment.commands = 0;
            return sealed;
        }
        let mut sealed = std::mem::replace(segment, self.take(0));
        sealed.give_back_above(self.segment_bytes);
        sealed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: usize, len: usize) -> Segment {
        Segment {
            len,
            commands: 1,
            ..Segment::with_capacity(capacity)
        }
    }

    #[test]
    fn segments_are_never_larger_than_the_window() {
        for window in [1, 100, 4096, 10_000, 65_536, 1 << 20, 1 << 30] {
            let pool = Pool::for_window(window);
            assert!(pool.segment_bytes() <= window.min(SEGMENT_BYTES), "window {window}");
            assert!(pool.segment_bytes() > 0);
        }
    }

    #[test]
    fn a_small_batch_is_copied_out_and_a_large_one_handed_over() {
        let pool = Pool::for_window(1 << 20);
        let mut small = filled(pool.segment_bytes(), 40);
        assert_eq!(pool.seal(&mut small).capacity(), 40);
        assert_eq!(
            (small.len, small.commands, small.capacity()),
            (0, 0, pool.segment_bytes())
        );

        let mut large = filled(pool.segment_bytes(), 60_000);
        assert_eq!(pool.seal(&mut large).capacity(), pool.segment_bytes());
        assert_eq!((large.len, large.commands), (0, 0));
    }

    #[test]
    fn only_a_few_segments_of_the_usual_size_are_kept() {
        let pool = Pool::for_window(1 << 20);
        pool.put_back(Segment::with_capacity(1 << 20));
        assert_eq!(pool.spare().segments.len(), 0);
        for _ in 0..2 * MAX_SPARE {
            pool.put_back(filled(pool.segment_bytes(), 7));
        }
        assert_eq!(pool.spare().segments.len(), MAX_SPARE);
        assert_eq!(pool.take(0).bytes(), b"");
    }
}
