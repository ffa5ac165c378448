//! The words of a line, as a server (for inline commands) and redis-cli part it: `sdssplitargs`.
//!
//! Blanks part words. `"…"` knows `\n \r \t \b \a`, `\xHH`, and a backslash before anything else stands for that; `'…'`
//! knows only `\'`. A quote may begin within a word; behind a closing one the word ends.

use memchr::memchr;

/// Why a line has no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
    /// It ends the texts of C: a server waits for ever for the rest of such a line, and redis-cli drops it.
    #[error("a zero byte, which can only stand within quotes, as \\x00")]
    ZeroByte,
}

/// Words of one line at a time, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Split {
    text: Vec<u8>,
    /// Where each word ends in it.
    ends: Vec<usize>,
}

impl Split {
    /// Takes a line apart, in place of the one before.
    ///
    /// # Errors
    /// Where it cannot be.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), BadLine> {
        self.text.clear();
        self.ends.clear();
        if memchr(0, line).is_some() {
            return Err(BadLine::ZeroByte);
        }
        let mut rest = line;
        loop {
            let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
            rest = &rest[blank..];
            if rest.is_empty() {
                return Ok(());
            }
            rest = self.word(rest)?;
            self.ends.push(self.text.len());
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn words(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let word = &self.text[start..*end];
            start = *end;
            word
        })
    }

    /// Gives back what one long line has needed.
    pub(super) fn give_back_above(&mut self, usual: usize) {
        if self.text.capacity() > usual {
            self.text = Vec::new();
            self.ends = Vec::new();
        }
    }

    /// The word in front, up to a blank; returns what follows.
    fn word<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8], BadLine> {
        // `isspace` has two more, which stand between words and do not end one.
        let plain = line
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\''));
        let (plain, rest) = line.split_at(plain.unwrap_or(line.len()));
        self.text.extend_from_slice(plain);
        let behind = match rest {
            [b'"', inner @ ..] => self.double_quoted(inner)?,
            [b'\'', inner @ ..] => self.single_quoted(inner)?,
            _ => return Ok(rest),
        };
        match behind.first() {
            Some(byte) if !is_blank(*byte) => Err(BadLine::UnbalancedQuotes),
            _ => Ok(behind),
        }
    }

    fn double_quoted<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], BadLine> {
        loop {
            rest = match rest {
                [] => return Err(BadLine::UnbalancedQuotes),
                [b'"', behind @ ..] => return Ok(behind),
                [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    self.text.push(hexadecimal(*high) << 4 | hexadecimal(*low));
                    behind
                }
                [b'\\', escaped, behind @ ..] => {
                    self.text.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 0x08,
                        b'a' => 0x07,
                        other => *other,
                    });
                    behind
                }
                [byte, behind @ ..] => {
                    self.text.push(*byte);
                    behind
                }
            };
        }
    }

    fn single_quoted<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], BadLine> {
        loop {
            rest = match rest {
                [] => return Err(BadLine::UnbalancedQuotes),
                [b'\'', behind @ ..] => return Ok(behind),
                [b'\\', b'\'', behind @ ..] => {
                    self.text.push(b'\'');
                    behind
                }
                [byte, behind @ ..] => {
                    self.text.push(*byte);
                    behind
                }
            };
        }
    }
}

/// `isspace` of C.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin: `sdssplitargs` of Redis 7.0, line by line.
    pub(crate) fn sdssplitargs(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        // As C sees it.
        let p = |at: usize| line.get(at).copied().unwrap_or(0);
        let is_space = |byte: u8| b" \t\n\x0b\x0c\r".contains(&byte);
        let is_hex = |byte: u8| byte.is_ascii_hexdigit();
        let hex = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
        let (mut at, mut vector) = (0, Vec::new());
        loop {
            while p(at) != 0 && is_space(p(at)) {
                at += 1;
            }
            if p(at) == 0 {
                return Some(vector);
            }
            let (mut inq, mut insq, mut done, mut current) = (false, false, false, Vec::new());
            while !done {
                if inq {
                    if p(at) == b'\\' && p(at + 1) == b'x' && is_hex(p(at + 2)) && is_hex(p(at + 3)) {
                        current.push(hex(p(at + 2)) * 16 + hex(p(at + 3)));
                        at += 3;
                    } else if p(at) == b'\\' && p(at + 1) != 0 {
                        at += 1;
                        current.push(match p(at) {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            b't' => b'\t',
                            b'b' => 8,
                            b'a' => 7,
                            other => other,
                        });
                    } else if p(at) == b'"' {
                        if p(at + 1) != 0 && !is_space(p(at + 1)) {
                            return None;
                        }
                        done = true;
                    } else if p(at) == 0 {
                        return None;
                    } else {
                        current.push(p(at));
                    }
                } else if insq {
                    if p(at) == b'\\' && p(at + 1) == b'\'' {
                        at += 1;
                        current.push(b'\'');
                    } else if p(at) == b'\'' {
                        if p(at + 1) != 0 && !is_space(p(at + 1)) {
                            return None;
                        }
                        done = true;
                    } else if p(at) == 0 {
                        return None;
                    } else {
                        current.push(p(at));
                    }
                } else {
                    match p(at) {
                        b' ' | b'\n' | b'\r' | b'\t' | 0 => done = true,
                        b'"' => inq = true,
                        b'\'' => insq = true,
                        other => current.push(other),
                    }
                }
                if p(at) != 0 {
                    at += 1;
                }
            }
            vector.push(current);
        }
    }

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, BadLine> {
        let mut split = Split::default();
        split.line(b"what was there before")?;
        split.line(line)?;
        assert_eq!(split.count(), split.words().len());
        Ok(split.words().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_are_parted_and_quoted_as_the_server_does() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t\r", &[]),
            ("SET k v\r", &["SET", "k", "v"]),
            (r#"SET k "a b" 'c d' "" ''"#, &["SET", "k", "a b", "c d", "", ""]),
            (r#""\n\t\x41\xzz\"\\\q""#, &["\n\tAxzz\"\\q"]),
            (r"'\n \' \\ '", &[r"\n ' \\ "]),
            (r#"a"b c" d"#, &["ab c", "d"]),
            (r"a\nb", &[r"a\nb"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(split(line.as_bytes()), Ok(expected), "{line}");
        }
        for line in [r#""a"#, r#""a"b"#, "'a", "'a'b", r#""a\"#, r#""a\""#, r#"a"b"c"#] {
            assert_eq!(split(line.as_bytes()), Err(BadLine::UnbalancedQuotes), "{line}");
        }
        assert_eq!(split(b"GET a\0b"), Err(BadLine::ZeroByte));
        assert_eq!(split(br#"GET "a\x00b""#), Ok(vec![b"GET".to_vec(), b"a\0b".to_vec()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn lines_are_split_as_sdssplitargs_does(
            line in prop::collection::vec(
                prop_oneof![
                    4 => prop::sample::select(b"\"'\\xn \ta1Ff\r\x0b\x0c".to_vec()),
                    1 => 1_u8..,
                ],
                0..24,
            ),
        ) {
            prop_assert_eq!(split(&line).ok(), sdssplitargs(&line));
        }

        #[test]
        fn what_is_quoted_comes_back(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..6)) {
            let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split(quoted.join(" ").as_bytes()), Ok(words));
        }
    }

    /// As `sdscatrepr` writes it.
    pub(crate) fn quote(word: &[u8]) -> String {
        let byte = |byte: &u8| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(*byte)),
            b'\n' => "\\n".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        };
        format!("\"{}\"", word.iter().map(byte).collect::<String>())
    }
}
