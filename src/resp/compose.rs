//! Appends what templates are made of: words encoded beforehand, words put together from pieces, and several
//! commands that count together or not at all.

use super::request::{BadText, FEW, FRAMING, MAX_ARGUMENT, Request};
use super::text;
use crate::batch::Segment;

/// Appends the beginning of a command of so many words: `*4\r\n`.
pub fn encode_header(into: &mut Vec<u8>, words: usize) {
    into.extend_from_slice(format!("*{words}\r\n").as_bytes());
}

/// Appends a word as a bulk string: `$4\r\nHSET\r\n`.
pub fn encode_word(into: &mut Vec<u8>, word: &[u8]) {
    into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    into.extend_from_slice(word);
    into.extend_from_slice(b"\r\n");
}

/// Where a word put together from pieces begins, counted from the beginning of the open command: that may move.
#[derive(Debug, Clone, Copy)]
pub struct WordStart(usize);

/// Left free for the header of a word until its length is known: most have two digits.
const HEADER: usize = b"$12\r\n".len();

/// What was committed at some moment.
#[derive(Debug)]
pub struct Mark {
    segments: usize,
    len: usize,
    in_segment: u32,
    /// Committed bytes and commands, by then.
    pub bytes: usize,
    pub commands: u64,
}

impl Request {
    /// Starts a command with `head`: its header and first words, as [`encode_header`] and [`encode_word`] wrote them.
    #[inline]
    pub fn begin_encoded(&mut self, head: &[u8]) {
        self.cursor = self.current.len;
        self.encoded(head);
    }

    /// Appends whole words as [`encode_word`] wrote them.
    #[inline]
    pub fn encoded(&mut self, words: &[u8]) {
        self.reserve(words.len());
        self.copy(words);
    }

    /// Appends a word around text, `prefix` and `suffix` being what is fixed of it.
    ///
    /// # Errors
    /// Where the text is none; nothing is appended then.
    #[inline]
    pub fn around_utf16(&mut self, prefix: &[u8], text: &[u16], suffix: &[u8]) -> Result<(), BadText> {
        if text.len() < FEW {
            let length = prefix.len() + text.len() + suffix.len();
            self.reserve(length + FRAMING);
            let before = self.cursor;
            self.header(b'$', length);
            self.copy(prefix);
            if self.copy_few(text) {
                self.copy(suffix);
                self.copy(b"\r\n");
                return Ok(());
            }
            self.cursor = before;
        }
        let word = self.open_word();
        self.piece(prefix);
        self.piece_utf16(text)?;
        self.piece(suffix);
        self.close_word(word)
    }

    /// Appends a word around bytes, `prefix` and `suffix` being what is fixed of it.
    #[inline]
    pub fn around(&mut self, prefix: &[u8], bytes: &[u8], suffix: &[u8]) {
        let length = prefix.len() + bytes.len() + suffix.len();
        self.reserve(length + FRAMING);
        self.header(b'$', length);
        self.copy(prefix);
        self.copy(bytes);
        self.copy(suffix);
        self.copy(b"\r\n");
    }

    /// Begins a word that consists of pieces.
    #[inline]
    pub fn open_word(&mut self) -> WordStart {
        self.reserve(HEADER);
        let start = WordStart(self.open_bytes());
        self.cursor += HEADER;
        start
    }

    /// Appends bytes to the word begun.
    #[inline]
    pub fn piece(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.copy(bytes);
    }

    /// Appends text to the word begun.
    ///
    /// # Errors
    /// Where it is none; the command must be rolled back then.
    #[inline]
    pub fn piece_utf16(&mut self, text: &[u16]) -> Result<(), BadText> {
        // Room for whatever it is; texts that come this way are not long.
        self.reserve(3 * text.len() + text::MARGIN);
        if text.len() < FEW && self.copy_few(text) {
            return Ok(());
        }
        let place = &mut self.current.bytes[self.cursor..];
        self.cursor += text::convert(text, place).map_err(|_| BadText::LoneSurrogate)?;
        Ok(())
    }

    /// Makes a piece of the argument that was appended last, from `start` on: takes away what frames it.
    pub fn unframe(&mut self, start: usize) {
        let start = self.current.len + start;
        let argument = &mut self.current.bytes[start..self.cursor];
        let header = argument
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let length = argument.len() - header - b"\r\n".len();
        argument.copy_within(header..header + length, 0);
        self.cursor = start + length;
    }

    /// Ends the word begun.
    ///
    /// # Errors
    /// Where it is longer than a server takes; the command must be rolled back then.
    #[inline]
    pub fn close_word(&mut self, WordStart(start): WordStart) -> Result<(), BadText> {
        let length = self.open_bytes() - start - HEADER;
        if length > MAX_ARGUMENT {
            return Err(BadText::TooLong);
        }
        self.reserve(FRAMING);
        let start = self.current.len + start;
        let content = start + HEADER;
        self.cursor = start;
        self.frame(length, content);
        Ok(())
    }

    /// What is committed now.
    pub fn mark(&self) -> Mark {
        Mark {
            segments: self.segments.len(),
            len: self.current.len,
            in_segment: self.current.commands,
            bytes: self.committed_bytes(),
            commands: self.commands(),
        }
    }

    /// Forgets what was committed since, and the open command. Nothing may have been sealed meanwhile.
    pub fn undo(&mut self, mark: &Mark) {
        if self.segments.len() > mark.segments {
            // What was the current one then stands first behind those that were full by then.
            let later = self.segments.drain(mark.segments..).collect::<Vec<Segment>>();
            let unused = std::mem::take(&mut self.current);
            let mut later = later.into_iter();
            self.current = later.next().unwrap_or_default();
            later.chain([unused]).for_each(|segment| self.pool.put_back(segment));
            self.limit = self.current.capacity().min(self.pool.segment_bytes());
            self.sealed_bytes = self.segments.iter().map(|segment| segment.len).sum();
            self.sealed_commands = self.segments.iter().map(|segment| u64::from(segment.commands)).sum();
        }
        self.current.len = mark.len;
        self.current.commands = mark.in_segment;
        self.cursor = mark.len;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::Pool;

    fn request(window: usize) -> Request {
        Request::new(Arc::new(Pool::for_window(window)))
    }

    fn naive(words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        words.iter().for_each(|word| encode_word(&mut bytes, word));
        bytes
    }

    fn joined(request: &mut Request) -> Vec<u8> {
        let batch = request.seal();
        assert_eq!(
            batch.bytes,
            batch.segments.iter().map(|segment| segment.len).sum::<usize>()
        );
        let commands: u64 = batch.segments.iter().map(|segment| u64::from(segment.commands())).sum();
        assert_eq!(batch.commands, commands);
        batch
            .segments
            .iter()
            .flat_map(|segment| segment.bytes().to_vec())
            .collect()
    }

    /// One command of words, each put together from its pieces in another way.
    fn append(request: &mut Request, words: &[Vec<String>]) {
        request.begin(words.len(), b"");
        for (at, pieces) in words.iter().enumerate() {
            if let ([prefix, text, suffix], 0) = (&pieces[..], at % 2) {
                let units: Vec<u16> = text.encode_utf16().collect();
                if units.len().is_multiple_of(2) {
                    request.around(prefix.as_bytes(), text.as_bytes(), suffix.as_bytes());
                } else {
                    request
                        .around_utf16(prefix.as_bytes(), &units, suffix.as_bytes())
                        .expect("text");
                }
                continue;
            }
            let word = request.open_word();
            for (at, piece) in pieces.iter().enumerate() {
                let start = request.open_bytes();
                match at % 3 {
                    0 => request
                        .piece_utf16(&piece.encode_utf16().collect::<Vec<_>>())
                        .expect("text"),
                    1 => request.piece(piece.as_bytes()),
                    _ => {
                        request.bytes(piece.as_bytes());
                        request.unframe(start);
                    }
                }
            }
            request.close_word(word).expect("short");
        }
    }

    fn plain(words: &[Vec<String>]) -> Vec<u8> {
        naive(
            &words
                .iter()
                .map(|pieces| pieces.concat().into_bytes())
                .collect::<Vec<_>>(),
        )
    }

    fn words() -> impl Strategy<Value = Vec<Vec<String>>> {
        let piece = prop_oneof![
            any::<String>(),
            "[a-z]{0,12}",
            (0..400_usize).prop_map(|length| "x".repeat(length)),
        ];
        prop::collection::vec(prop::collection::vec(piece, 0..5), 1..6)
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        let mut request = request(1 << 20);
        request.begin(1, b"");
        assert_eq!(request.around_utf16(b"a", &[0xd800], b"b"), Err(BadText::LoneSurrogate));
        request.rollback();
        assert!(joined(&mut request).is_empty());
    }

    proptest! {
        #[test]
        fn words_of_pieces_are_what_the_naive_twin_writes(
            commands in prop::collection::vec(words(), 1..20),
            window in prop_oneof![Just(1_usize), Just(64), Just(1000), Just(1 << 20)],
        ) {
            let mut request = request(window);
            let mut expected = Vec::new();
            for words in &commands {
                append(&mut request, words);
                request.commit();
                expected.extend(plain(words));
            }
            prop_assert_eq!(joined(&mut request), expected);
        }

        #[test]
        fn what_is_undone_leaves_no_trace(
            groups in prop::collection::vec((prop::collection::vec(words(), 1..5), any::<bool>(), any::<bool>()), 1..12),
            window in prop_oneof![Just(1_usize), Just(64), Just(1000), Just(1 << 20)],
        ) {
            let mut request = request(window);
            let mut expected = Vec::new();
            for (group, kept, open) in &groups {
                let mark = request.mark();
                for words in group {
                    append(&mut request, words);
                    request.commit();
                }
                if *open {
                    append(&mut request, &group[0]);
                }
                if *kept {
                    request.rollback();
                    group.iter().for_each(|words| expected.extend(plain(words)));
                } else {
                    request.undo(&mark);
                    prop_assert_eq!((request.committed_bytes(), request.commands()), (mark.bytes, mark.commands));
                }
            }
            prop_assert_eq!(request.committed_bytes(), expected.len());
            prop_assert_eq!(joined(&mut request), expected);
        }
    }
}
