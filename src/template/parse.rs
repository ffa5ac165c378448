//! The text of a template: words, each of pieces that are fixed or left open.
//!
//! Words and quotes are as in redis-cli (`sdssplitargs`): blanks part words, `"…"` knows `\n`, `\xHH` and such, `'…'`
//! only `\'`, and behind a closing quote the word ends. Braces make holes within quotes and outside.

/// One word of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// No two texts in a row, none of them empty.
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Hole(Hole),
}

/// `{name}`, `{address.city}`, `{at|ms}`, `{*}`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Where its brace is, in bytes.
    pub(super) at: usize,
    /// As it is written: steps with dots between them, or `*` for the whole row.
    pub(super) name: String,
    pub(super) conversion: Option<Conversion>,
}

/// The whole row.
pub(super) const ROW: &str = "*";

/// What becomes of a value before it is sent. JavaScript does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// A date to milliseconds since 1970.
    Milliseconds,
    /// The same in seconds.
    Seconds,
    Json,
    /// A boolean to 1 or 0.
    Boolean,
}

impl Conversion {
    const ALL: [Self; 4] = [Self::Boolean, Self::Json, Self::Milliseconds, Self::Seconds];

    /// As it is written behind the `|`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Json => "json",
            Self::Boolean => "bool",
        }
    }
}

/// What is wrong with a text, and where in it, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) at: usize,
    pub(super) reason: String,
}

impl Bad {
    pub(super) fn new(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
        }
    }
}

/// The words of a text.
pub(super) fn words(text: &str) -> Result<Vec<Word>, Bad> {
    let mut parser = Parser { text, at: 0 };
    let mut words = Vec::new();
    loop {
        while parser.peek().is_some_and(is_blank) {
            parser.at += 1;
        }
        if parser.peek().is_none() {
            return Ok(words);
        }
        words.push(parser.word()?);
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Always in front of a byte of ASCII, or of a whole character.
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes a byte that is there.
    fn take(&mut self, expected: u8) -> bool {
        let there = self.peek() == Some(expected);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self) -> Result<Word, Bad> {
        let mut word = Word {
            at: self.at,
            pieces: Vec::new(),
        };
        while let Some(byte) = self.peek() {
            match byte {
                _ if is_blank(byte) => break,
                b'"' | b'\'' => {
                    self.quoted(byte, &mut word)?;
                    break;
                }
                _ => self.plain(&mut word)?,
            }
        }
        Ok(word)
    }

    /// The rest of a word, from its opening quote on.
    fn quoted(&mut self, quote: u8, word: &mut Word) -> Result<(), Bad> {
        let open = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(Bad::new(open, "this quote is never closed")),
                Some(byte) if byte == quote => break,
                Some(b'\\') if quote == b'"' => self.escape(word),
                Some(b'\\') if self.text[self.at..].starts_with("\\'") => {
                    self.at += 2;
                    word.push(b'\'');
                }
                Some(_) => self.plain(word)?,
            }
        }
        self.at += 1;
        match self.peek() {
            Some(byte) if !is_blank(byte) => Err(Bad::new(self.at, "a blank must follow a closing quote")),
            _ => Ok(()),
        }
    }

    /// A backslash within `"…"`, and what it stands for together with the next characters.
    fn escape(&mut self, word: &mut Word) {
        self.at += 1;
        let rest = &self.text.as_bytes()[self.at..];
        if let [b'x', high, low, ..] = rest
            && let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low))
        {
            self.at += 3;
            word.push(high << 4 | low);
            return;
        }
        let byte = match rest.first() {
            // The end of the text: the quote is not closed.
            None => return,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'b') => 0x08,
            Some(b'a') => 0x07,
            Some(other) => *other,
        };
        self.at += 1;
        word.push(byte);
    }

    /// A character that means itself, or a brace.
    fn plain(&mut self, word: &mut Word) -> Result<(), Bad> {
        let at = self.at;
        if self.take(b'{') {
            if self.take(b'{') {
                word.push(b'{');
            } else {
                let hole = self.hole(at)?;
                word.pieces.push(Piece::Hole(hole));
            }
        } else if self.take(b'}') {
            if !self.take(b'}') {
                return Err(Bad::new(at, "this brace closes nothing: write }} for a brace"));
            }
            word.push(b'}');
        } else if let Some(byte) = self.peek() {
            self.at += 1;
            word.push(byte);
        }
        Ok(())
    }

    /// A hole, from behind its opening brace at `open` on.
    fn hole(&mut self, open: usize) -> Result<Hole, Bad> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = match rest.find(['{', '}']) {
            Some(length) if rest.as_bytes()[length] == b'}' => length,
            _ => return Err(Bad::new(open, "this brace is never closed: write {{ for a brace")),
        };
        self.at = start + length + 1;
        let content = &rest[..length];
        let (name, conversion) = match content.split_once('|') {
            Some((name, conversion)) => (name, Some((start + name.len() + 1, conversion))),
            None => (content, None),
        };
        if name.is_empty() {
            return Err(Bad::new(open, "a hole needs a name, such as {id}"));
        }
        if name.trim() != name {
            return Err(Bad::new(open, "a hole's name has no blank at either end"));
        }
        if name != ROW && name.split('.').any(|step| step.is_empty() || step == ROW) {
            return Err(Bad::new(
                open,
                format!("{name} is no path: names with dots between them, such as {{address.city}}"),
            ));
        }
        let conversion = conversion.map(|(at, text)| known(at, text)).transpose()?;
        Ok(Hole {
            at: open,
            name: name.to_owned(),
            conversion,
        })
    }
}

impl Word {
    fn push(&mut self, byte: u8) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(byte),
            _ => self.pieces.push(Piece::Text(vec![byte])),
        }
    }
}

fn known(at: usize, text: &str) -> Result<Conversion, Bad> {
    let found = Conversion::ALL.into_iter().find(|conversion| conversion.name() == text);
    found.ok_or_else(|| {
        let names = Conversion::ALL.map(Conversion::name).join(", ");
        Bad::new(at, format!("there is no conversion '{text}', only {names}"))
    })
}

/// `isspace` of C, and the zero that ends its texts is none.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "below 16")]
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words in brackets, holes in braces, as they were understood.
    fn shown(text: &str) -> String {
        let word = |word: &Word| {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.escape_ascii().to_string(),
                Piece::Hole(hole) => match hole.conversion {
                    Some(conversion) => format!("<{}|{}>", hole.name, conversion.name()),
                    None => format!("<{}>", hole.name),
                },
            };
            format!("[{}]", word.pieces.iter().map(piece).collect::<String>())
        };
        match words(text) {
            Ok(words) => words.iter().map(word).collect(),
            Err(Bad { at, reason }) => format!("{at}: {reason}"),
        }
    }

    #[test]
    fn words_are_parted_and_quoted_as_in_redis_cli() {
        for (text, expected) in [
            ("", ""),
            (" \t\n", ""),
            ("SET k v", "[SET][k][v]"),
            ("  SET\tk\r\n v ", "[SET][k][v]"),
            (r#"SET k "a b" 'c d' "" ''"#, "[SET][k][a b][c d][][]"),
            (r#""\n\r\t\b\a\x41\xfF\"\\\q""#, r#"[\n\r\t\x08\x07A\xff\"\\q]"#),
            (r#""\xzz""#, "[xzz]"),
            (r"'\n \' \\ '", r"[\\n \' \\\\ ]"),
            (r"a\nb", r"[a\\nb]"),
            (r#"a"b c""#, "[ab c]"),
            (r#"a'b "c'"#, r#"[ab \"c]"#),
            ("é", r"[\xc3\xa9]"),
            (r#""\é""#, r"[\xc3\xa9]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn braces_make_holes() {
        for (text, expected) in [
            ("{id}", "[<id>]"),
            ("user:{country}:{id}!", "[user:<country>:<id>!]"),
            ("{address.city} {tags.0}", "[<address.city>][<tags.0>]"),
            ("{First Name}", "[<First Name>]"),
            ("'{a} b' \"{a\"b}\"", "[<a> b][<a\"b>]"),
            ("{{id}} {{{id}}}", "[{id}][{<id>}]"),
            ("\"\\x7bid}}\"", "[{id}]"),
            ("{*} {*|json}", "[<*>][<*|json>]"),
            ("{a|ms}{a|s}{a|json}{a|bool}", "[<a|ms><a|s><a|json><a|bool>]"),
            ("{é}", "[<é>]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, at, reason) in [
            ("SET \"k", 4, "this quote is never closed"),
            ("SET k 'v", 6, "this quote is never closed"),
            ("SET k \"v\\", 6, "this quote is never closed"),
            ("SET \"k\"v", 7, "a blank must follow a closing quote"),
            ("SET \"k\"'v'", 7, "a blank must follow a closing quote"),
            ("SET {id v", 4, "this brace is never closed"),
            ("SET k {a {b}", 6, "this brace is never closed"),
            ("SET k a}", 7, "this brace closes nothing"),
            ("SET {}", 4, "a hole needs a name"),
            ("SET {|ms}", 4, "a hole needs a name"),
            ("SET { id }", 4, "no blank at either end"),
            ("SET {a..b}", 4, "no path"),
            ("SET {.a}", 4, "no path"),
            ("SET {a.*}", 4, "no path"),
            ("SET {id|upper}", 8, "no conversion 'upper', only bool, json, ms, s"),
            ("SET {id|ms|json}", 8, "no conversion 'ms|json'"),
            ("SET {id| ms}", 8, "no conversion ' ms'"),
        ] {
            let bad = words(text).expect_err(text);
            assert_eq!(bad.at, at, "{text}");
            assert!(bad.reason.contains(reason), "{text}: {}", bad.reason);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_words_or_wrong_at_a_character_of_it(text in "[a-z{}|.*'\"\\\\ é]{0,40}") {
            if let Err(bad) = words(&text) {
                prop_assert!(text.is_char_boundary(bad.at) && bad.at < text.len());
            }
        }

        #[test]
        fn quoted_words_come_back(given in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let quote = |word: &Vec<u8>| {
                let inside: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                format!("\"{inside}\"")
            };
            let text = given.iter().map(quote).collect::<Vec<_>>().join(" ");
            let expected: Vec<Vec<Piece>> = given
                .into_iter()
                .map(|word| if word.is_empty() { vec![] } else { vec![Piece::Text(word)] })
                .collect();
            let pieces: Vec<_> = words(&text).expect("well formed").into_iter().map(|word| word.pieces).collect();
            prop_assert_eq!(pieces, expected);
        }
    }
}
