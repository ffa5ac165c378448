//! Appends commands in RESP: the only producer of request bytes, and the only form a command ever has.
//!
//! Arguments come from the binding one by one, as UTF-16, bytes or numbers. A command counts once it is
//! committed; until then `rollback` forgets it without a trace.

use std::sync::Arc;

use super::text::{self, utf8_length};
use crate::batch::{Batch, Pool, Segment, Wrap};

/// The longest argument that a server takes (`proto-max-bulk-len`, 512 MiB).
pub const MAX_ARGUMENT: usize = 512 * 1024 * 1024;

/// Why a string is no argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadText {
    /// Half of a surrogate pair, which UTF-8 cannot express.
    LoneSurrogate,
    /// As UTF-8 it exceeds [`MAX_ARGUMENT`].
    TooLong,
}

/// `$<length>\r\n` and the closing `\r\n` of one argument, at most.
pub(super) const FRAMING: usize = 32;

/// A text of fewer units is copied one by one, if it can be.
pub(super) const FEW: usize = 16;

/// Of longer texts the bytes are counted before they are converted.
const MOST_AT_ONCE: usize = 1024;

/// The open batch: committed commands, and the one being written behind them.
#[derive(Debug)]
pub struct Request {
    pub(super) pool: Arc<Pool>,
    /// Full ones; they hold whole committed commands.
    pub(super) segments: Vec<Segment>,
    /// The one being filled: committed up to its `len`, the open command from there to `cursor`.
    pub(super) current: Segment,
    pub(super) cursor: usize,
    /// Up to here the current segment is filled without a further look.
    pub(super) limit: usize,
    /// Committed bytes and commands in `segments`.
    pub(super) sealed_bytes: usize,
    pub(super) sealed_commands: u64,
}

impl Request {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            segments: Vec::new(),
            current: Segment::default(),
            cursor: 0,
            limit: 0,
            sealed_bytes: 0,
            sealed_commands: 0,
        }
    }

    /// Starts a command of `words` words in all; `name` is its first words as bulk strings (`$4\r\nHSET\r\n`).
    #[inline]
    pub fn begin(&mut self, words: usize, name: &[u8]) {
        self.cursor = self.current.len;
        self.reserve(name.len() + FRAMING);
        self.header(b'*', words);
        self.copy(name);
    }

    /// Appends an argument as it is.
    #[inline]
    pub fn bytes(&mut self, argument: &[u8]) {
        self.reserve(argument.len() + FRAMING);
        self.header(b'$', argument.len());
        self.copy(argument);
        self.copy(b"\r\n");
    }

    /// Appends text, as UTF-8.
    #[inline]
    pub fn utf16(&mut self, text: &[u16]) -> Result<(), BadText> {
        if text.len() < FEW && self.few(text) {
            return Ok(());
        }
        self.many(text)
    }

    /// Appends a short text, where that is ASCII.
    #[inline]
    fn few(&mut self, text: &[u16]) -> bool {
        self.reserve(text.len() + FRAMING);
        let before = self.cursor;
        self.header(b'$', text.len());
        if !self.copy_few(text) {
            self.cursor = before;
            return false;
        }
        self.copy(b"\r\n");
        true
    }

    /// Copies a short text, where that is ASCII; tells whether it is.
    #[inline]
    pub(super) fn copy_few(&mut self, text: &[u16]) -> bool {
        // Unit by unit, as they were written a moment ago: a wider load would have to wait until they are in the cache.
        for (byte, &unit) in self.current.bytes[self.cursor..].iter_mut().zip(text) {
            if unit >= 0x80 {
                return false;
            }
            #[expect(clippy::cast_possible_truncation, reason = "ASCII")]
            let low = unit as u8;
            *byte = low;
        }
        self.cursor += text.len();
        true
    }

    /// Appends any text.
    fn many(&mut self, text: &[u16]) -> Result<(), BadText> {
        let (guess, most) = if text.len() <= MOST_AT_ONCE {
            // Nearly always of as many digits as it has units; room for the worst is soon found.
            (text.len(), 3 * text.len())
        } else {
            let length = utf8_length(text);
            (length, length)
        };
        if guess > MAX_ARGUMENT {
            return Err(BadText::TooLong);
        }
        self.reserve(most + text::MARGIN + FRAMING);
        let start = self.cursor + header_length(guess);
        let length = text::convert(text, &mut self.current.bytes[start..]).map_err(|_| BadText::LoneSurrogate)?;
        self.frame(length, start);
        Ok(())
    }

    /// Makes an argument of the `length` bytes that stand at `content`: its header goes before them, and they move to where
    /// that ends.
    #[inline]
    pub(super) fn frame(&mut self, length: usize, content: usize) {
        let to = self.cursor + header_length(length);
        if to != content {
            self.current.bytes.copy_within(content..content + length, to);
        }
        self.header(b'$', length);
        self.cursor += length;
        self.copy(b"\r\n");
    }

    /// Appends a number as JavaScript prints it. NaN and the infinities are the caller's to refuse.
    #[inline]
    pub fn number(&mut self, number: f64) {
        // 2^53: up to here every integer is exact, and prints without an exponent.
        if number.abs() <= 9_007_199_254_740_992.0 && number.trunc() == number {
            #[expect(clippy::cast_possible_truncation, reason = "an integer of at most 2^53")]
            self.bytes(itoa::Buffer::new().format(number as i64).as_bytes());
        } else {
            self.bytes(ryu_js::Buffer::new().format(number).as_bytes());
        }
    }

    #[inline]
    pub fn integer(&mut self, number: i64) {
        self.bytes(itoa::Buffer::new().format(number).as_bytes());
    }

    /// The open command becomes part of the batch.
    #[inline]
    pub fn commit(&mut self) {
        self.current.len = self.cursor;
        self.current.commands += 1;
    }

    /// Forgets the open command.
    #[inline]
    pub fn rollback(&mut self) {
        self.cursor = self.current.len;
    }

    /// Bytes of the open command.
    #[inline]
    pub fn open_bytes(&self) -> usize {
        self.cursor - self.current.len
    }

    /// Committed bytes and those of the open command.
    #[inline]
    pub fn total_bytes(&self) -> usize {
        self.sealed_bytes + self.cursor
    }

    /// Committed bytes.
    pub fn committed_bytes(&self) -> usize {
        self.sealed_bytes + self.current.len
    }

    /// Committed commands.
    #[inline]
    pub fn commands(&self) -> u64 {
        self.sealed_commands + u64::from(self.current.commands)
    }

    /// Takes the committed commands as a batch; leaves an empty one behind.
    pub fn seal(&mut self) -> Batch {
        let (bytes, commands) = (self.committed_bytes(), self.commands());
        let mut segments = std::mem::take(&mut self.segments);
        if self.current.commands > 0 {
            segments.push(self.pool.seal(&mut self.current));
        } else if self.current.capacity() > self.pool.segment_bytes() {
            // It grew for a command that was refused: no batch may fill it.
            self.current = Segment::default();
        }
        self.cursor = 0;
        self.limit = self.current.capacity();
        self.sealed_bytes = 0;
        self.sealed_commands = 0;
        Batch {
            segments,
            commands,
            bytes,
            part: None,
            wrap: Wrap::AsConfigured,
        }
    }

    /// Makes room for `more` bytes behind the cursor. A command never straddles two segments.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize) {
        if self.cursor + more > self.limit {
            self.reserve_elsewhere(more);
        }
    }

    #[cold]
    fn reserve_elsewhere(&mut self, more: usize) {
        let open = self.open_bytes();
        let usual = self.pool.segment_bytes();
        if self.current.len > 0 || self.current.capacity() < usual {
            // Committed commands stay where they are; the open one moves to a new segment.
            let mut next = self.pool.take(open + more);
            next.bytes[..open].copy_from_slice(&self.current.bytes[self.current.len..self.cursor]);
            let mut full = std::mem::replace(&mut self.current, next);
            self.cursor = open;
            // Of a larger segment no more than usual: behind its one large command no other may follow.
            self.limit = usual;
            if full.commands > 0 {
                full.give_back_above(usual);
                self.sealed_bytes += full.len;
                self.sealed_commands += u64::from(full.commands);
                self.segments.push(full);
            }
        } else if self.current.capacity() < self.cursor + more {
            // One command larger than a segment: it has this one for itself, which doubles.
            let capacity = (self.cursor + more).max(2 * self.current.capacity());
            self.current.bytes.resize(capacity, 0);
        }
    }

    #[inline]
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        let end = self.cursor + bytes.len();
        self.current.bytes[self.cursor..end].copy_from_slice(bytes);
        self.cursor = end;
    }

    /// `<mark><number>\r\n`
    // Left to itself the compiler makes a call of it, which costs a template 3 ns.
    #[inline(always)]
    pub(super) fn header(&mut self, mark: u8, number: usize) {
        if number < 100 {
            // Nearly every length; two digits are cheaper than the general way.
            #[expect(clippy::cast_possible_truncation, reason = "below 100")]
            let number = number as u8;
            if number < 10 {
                self.copy(&[mark, b'0' + number, b'\r', b'\n']);
            } else {
                self.copy(&[mark, b'0' + number / 10, b'0' + number % 10, b'\r', b'\n']);
            }
        } else {
            self.copy(&[mark]);
            self.copy(itoa::Buffer::new().format(number).as_bytes());
            self.copy(b"\r\n");
        }
    }
}

/// Of `$<length>\r\n`.
fn header_length(length: usize) -> usize {
    3 + length.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin: RESP as one would write it by hand.
    fn naive(command: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    fn request(window: usize) -> Request {
        Request::new(Arc::new(Pool::for_window(window)))
    }

    fn append(request: &mut Request, arguments: &[&[u8]]) {
        request.begin(arguments.len() + 1, b"$4\r\nHSET\r\n");
        for argument in arguments {
            request.bytes(argument);
        }
        request.commit();
    }

    fn joined(batch: &Batch) -> Vec<u8> {
        batch
            .segments
            .iter()
            .flat_map(|segment| segment.bytes().to_vec())
            .collect()
    }

    fn only_argument(write: impl FnOnce(&mut Request)) -> String {
        let mut request = request(1 << 20);
        request.begin(2, b"$4\r\nHSET\r\n");
        write(&mut request);
        request.commit();
        let bytes = joined(&request.seal());
        let argument = &bytes[b"*2\r\n$4\r\nHSET\r\n".len()..];
        let start = argument.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
        let text = String::from_utf8(argument[start..argument.len() - 2].to_vec()).expect("UTF-8");
        assert_eq!(argument[..start], format!("${}\r\n", text.len()).into_bytes());
        text
    }

    #[test]
    fn numbers_are_written_as_javascript_prints_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1e+21"),
            (1e-7, "1e-7"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(only_argument(|request| request.number(number)), text);
        }
        assert_eq!(
            only_argument(|request| request.integer(i64::MIN)),
            "-9223372036854775808"
        );
    }

    #[test]
    fn a_lone_surrogate_is_refused_and_rolled_back() {
        let mut request = request(1 << 20);
        append(&mut request, &[b"a"]);
        for text in [&[0xd800][..], &[0x61, 0xdc00], &[0xd83d, 0x61], &[0xdc00, 0xd800]] {
            request.begin(2, b"$4\r\nHSET\r\n");
            assert_eq!(request.utf16(text), Err(BadText::LoneSurrogate));
            request.rollback();
        }
        append(&mut request, &[b"b"]);
        let expected = [
            naive(&[b"HSET".to_vec(), b"a".to_vec()]),
            naive(&[b"HSET".to_vec(), b"b".to_vec()]),
        ];
        assert_eq!(joined(&request.seal()), expected.concat());
    }

    #[test]
    fn a_command_larger_than_a_segment_gets_its_own() {
        let mut request = request(4096);
        append(&mut request, &[b"small"]);
        append(&mut request, &[&[b'x'; 100_000], &[b'y'; 50_000]]);
        append(&mut request, &[b"small"]);
        let batch = request.seal();
        assert_eq!(
            batch.segments.iter().map(Segment::commands).collect::<Vec<_>>(),
            [1, 1, 1]
        );
        assert_eq!(batch.bytes, joined(&batch).len());
        assert_eq!(batch.commands, 3);
    }

    #[test]
    fn sealing_leaves_an_empty_batch_behind() {
        let mut request = request(1 << 20);
        append(&mut request, &[b"a"]);
        assert_eq!(request.seal().commands, 1);
        assert_eq!((request.commands(), request.committed_bytes()), (0, 0));
        assert!(request.seal().segments.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_are_what_the_naive_twin_writes(
            commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), 1..60),
            window in prop_oneof![Just(1_usize), Just(64), Just(1000), Just(1 << 20)],
            cancelled in any::<u64>(),
        ) {
            let mut request = request(window);
            let mut expected = Vec::new();
            let mut count = 0;
            for (at, arguments) in commands.iter().enumerate() {
                request.begin(arguments.len() + 1, b"$4\r\nHSET\r\n");
                arguments.iter().for_each(|argument| request.bytes(argument));
                if cancelled >> (at % 64) & 1 == 1 {
                    request.rollback();
                    continue;
                }
                request.commit();
                count += 1;
                let words: Vec<_> = [b"HSET".to_vec()].into_iter().chain(arguments.iter().cloned()).collect();
                expected.extend_from_slice(&naive(&words));
            }
            let batch = request.seal();
            prop_assert_eq!(joined(&batch), expected);
            prop_assert_eq!(batch.commands, count);
            prop_assert_eq!(batch.segments.iter().map(|segment| u64::from(segment.commands())).sum::<u64>(), count);
            prop_assert!(batch.segments.iter().all(|segment| segment.len <= window || segment.commands() == 1));
        }

        #[test]
        fn text_is_what_the_standard_library_makes_of_it(text in any::<String>(), times in 1..200_usize) {
            for text in [text.repeat(times), text] {
                let units: Vec<u16> = text.encode_utf16().collect();
                prop_assert_eq!(only_argument(|request| request.utf16(&units).expect("well formed")), text);
            }
        }
    }
}
