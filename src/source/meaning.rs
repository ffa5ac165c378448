//! What a command of a file is to a load: written as it is, part of what frames a transaction, passed over, refused.
//!
//! Commands come in, in words; the rules are those of `bulk.call()`: what would upset the count of replies is refused
//! here, the number of arguments is the server's to judge.

use crate::command::{self, Form, MAX_ARGUMENTS, Words, is_name};
use crate::error::Error;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Command,
    Multi,
    Exec,
    Discard,
    /// Nothing has to be done: the connection is as it asks.
    Passed,
    Refused(Refused),
    /// What follows belongs to this database, which is not the pipeline's.
    OtherDb(String),
}

/// Why a command is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name, for people.
    pub command: String,
    pub code: &'static str,
    pub message: String,
}

/// The rules of one load.
#[derive(Debug)]
pub(super) struct Rules {
    db: u32,
    known: [Known; KNOWN],
}

/// Names that were looked up; a file has few of them. A power of two.
const KNOWN: usize = 16;

/// Options and names are no longer than this.
const LONGEST_WORD: usize = 64;

/// As it was written, a name for which nothing else has to be looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    bytes: [u8; 24],
    length: usize,
}

impl Rules {
    /// The pipeline writes to this database.
    pub(super) fn new(db: u32) -> Self {
        Self {
            db,
            known: [Known::default(); KNOWN],
        }
    }

    pub(super) fn db(&self) -> u32 {
        self.db
    }

    /// What a command of so many words is.
    #[inline]
    pub(super) fn of<'a>(&mut self, name: &[u8], count: usize, words: impl FnOnce() -> Vec<&'a [u8]>) -> Meaning {
        if count <= MAX_ARGUMENTS && self.known[place(name)].is(name) {
            return Meaning::Command;
        }
        self.look(name, &words()).unwrap_or_else(|error| {
            Meaning::Refused(Refused {
                command: shown(name),
                code: error.code(),
                message: error.to_string(),
            })
        })
    }

    #[cold]
    fn look(&mut self, name: &[u8], words: &[&[u8]]) -> Result<Meaning, Error> {
        // A note of the time in an append-only file.
        if name.starts_with(b"#TS:") {
            return Ok(Meaning::Passed);
        }
        let arguments = words.get(1..).unwrap_or_default();
        let given = Given(arguments);
        let upper = upper_case(name).filter(|name| is_name(name)).ok_or_else(|| {
            Error::InvalidArgument("the name of a command must be a word such as 'HSET' or 'JSON.SET'".to_owned())
        })?;
        let frame = match upper.as_str() {
            "MULTI" => Some(Meaning::Multi),
            "EXEC" => Some(Meaning::Exec),
            "DISCARD" => Some(Meaning::Discard),
            "SELECT" => Some(self.select(arguments)?),
            _ => None,
        };
        if let Some(frame) = frame {
            let takes = usize::from(upper == "SELECT");
            return if given.count() == takes {
                Ok(frame)
            } else {
                let (name, count) = (upper.to_ascii_lowercase(), given.count());
                let noun = if takes == 1 { "argument" } else { "arguments" };
                Err(Error::InvalidArgument(format!(
                    "{name} takes {takes} {noun}, got {count}"
                )))
            };
        }
        Form::named(&upper, &given)?;
        let command = command::find(&upper);
        if command.is_none_or(|command| command.forbidden.is_none() && !command.container) {
            self.known[place(name)].keep(name);
        }
        Ok(Meaning::Command)
    }

    fn select(&self, arguments: &[&[u8]]) -> Result<Meaning, Error> {
        let text = arguments.first().and_then(|text| str::from_utf8(text).ok());
        // As servers read it: neither `+1` nor `01`.
        let number = text.and_then(|text| Some((text.parse::<u32>().ok()?, text)));
        match number.filter(|(number, text)| number.to_string() == *text) {
            Some((db, _)) if db == self.db => Ok(Meaning::Passed),
            Some((db, _)) => Ok(Meaning::OtherDb(db.to_string())),
            None => Err(Error::InvalidArgument(
                "select takes the number of a database".to_owned(),
            )),
        }
    }
}

impl Known {
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        self.length == name.len() && self.bytes[..self.length] == *name && self.length > 0
    }

    fn keep(&mut self, name: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(..name.len()) {
            bytes.copy_from_slice(name);
            self.length = name.len();
        }
    }
}

/// Where a name is kept: the commands of one load seldom share a length and both ends.
#[inline]
fn place(name: &[u8]) -> usize {
    let (first, last) = (name.first().copied(), name.last().copied());
    let ends = 3 * usize::from(first.unwrap_or_default()) + usize::from(last.unwrap_or_default());
    (ends + name.len()) % KNOWN
}

/// The arguments of a command.
struct Given<'a>(&'a [&'a [u8]]);

impl Words for Given<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn word(&self, at: usize) -> Option<String> {
        upper_case(self.0[at])
    }
}

fn upper_case(word: &[u8]) -> Option<String> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    Some(str::from_utf8(word).ok()?.to_ascii_uppercase())
}

/// A name in messages, whatever it is.
pub(super) fn shown(name: &[u8]) -> String {
    let name = &name[..name.len().min(LONGEST_WORD)];
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(rules: &mut Rules, line: &str) -> Meaning {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        rules.of(words[0], words.len(), || words.clone())
    }

    fn refusal(line: &str) -> String {
        match meaning(&mut Rules::new(3), line) {
            Meaning::Refused(refused) => format!("{} {}: {}", refused.command, refused.code, refused.message),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn names_are_known_in_any_case_and_looked_up_once() {
        let mut rules = Rules::new(0);
        for _ in 0..2 {
            for line in [
                "SET k v",
                "set k v",
                "sEt",
                "json.set k",
                "CONFIG SET a b",
                "XREAD STREAMS s 0",
            ] {
                assert_eq!(meaning(&mut rules, line), Meaning::Command, "{line}");
            }
        }
        assert!(rules.known[place(b"sEt")].is(b"sEt"));
        // Their arguments are looked at each time.
        for name in [&b"CONFIG"[..], b"XREAD"] {
            assert!(!rules.known[place(name)].is(name));
        }
        let long = "A".repeat(60);
        assert_eq!(meaning(&mut rules, &long), Meaning::Command);
    }

    #[test]
    fn what_frames_a_transaction_or_changes_nothing_is_told_apart() {
        let mut rules = Rules::new(3);
        for (line, expected) in [
            ("multi", Meaning::Multi),
            ("Exec", Meaning::Exec),
            ("DISCARD", Meaning::Discard),
            ("SELECT 3", Meaning::Passed),
            ("select 0", Meaning::OtherDb("0".to_owned())),
            ("#TS:1628217470", Meaning::Passed),
        ] {
            assert_eq!(meaning(&mut rules, line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (line, expected) in [
            (
                "SUBSCRIBE a",
                "SUBSCRIBE RESPIPE_FORBIDDEN_COMMAND: SUBSCRIBE cannot go through",
            ),
            (
                "client reply off",
                "CLIENT RESPIPE_FORBIDDEN_COMMAND: CLIENT REPLY cannot go through",
            ),
            (
                "XREAD block 0 STREAMS s 0",
                "XREAD RESPIPE_FORBIDDEN_COMMAND: XREAD cannot",
            ),
            (
                "MULTI 1",
                "MULTI RESPIPE_INVALID_ARGUMENT: multi takes 0 arguments, got 1",
            ),
            (
                "SELECT 03",
                "SELECT RESPIPE_INVALID_ARGUMENT: select takes the number of a database",
            ),
            (
                "SELECT 3 4",
                "SELECT RESPIPE_INVALID_ARGUMENT: select takes 1 argument, got 2",
            ),
            (" ", " RESPIPE_INVALID_ARGUMENT: the name of a command must be a word"),
            ("$4", "$4 RESPIPE_INVALID_ARGUMENT: the name"),
            ("AUTH secret", "AUTH RESPIPE_FORBIDDEN_COMMAND: AUTH cannot go through"),
        ] {
            let told = refusal(line);
            assert!(told.starts_with(expected), "{line}: {told}");
            assert!(!told.contains("secret"));
        }
    }

    #[test]
    fn too_many_arguments_are_refused_though_the_name_is_known() {
        let mut rules = Rules::new(0);
        assert_eq!(meaning(&mut rules, "DEL a"), Meaning::Command);
        let mut words = vec![&b"a"[..]; MAX_ARGUMENTS + 2];
        words[0] = b"DEL";
        let meaning = rules.of(b"DEL", words.len(), || words.clone());
        assert!(matches!(meaning, Meaning::Refused(refused) if refused.message.contains("at most 1048575")));
    }
}
