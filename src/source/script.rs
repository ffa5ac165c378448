//! A file of commands, one by one, as `redis-cli --pipe` or redis-cli takes it.
//!
//! Bytes come in from whoever reads the file; out goes for each command what it is to a load. MULTI … EXEC is looked at
//! as a whole beforehand, so that nothing is begun that cannot end:
//!
//! ```text
//!   MULTI  SET a 1  EXEC              begin, command, end
//!   MULTI  SET a 1  DISCARD           passed over, all three
//!   MULTI  SET a 1  MONITOR  EXEC     passed, failed (EXECABORT), failed (for its own reason), passed
//!   MULTI  SET a 1                    an error: nothing of it is done
//! ```

use std::io::{self, Read};
use std::mem;

use super::commands;
pub use super::meaning::Refused;
use super::meaning::{Meaning, Rules, shown};
use super::resp::{self, Found};
use super::split::Split;
use super::window::{More, Window};
use crate::config::{Config, Replies, Transaction};
use crate::error::Error;
use crate::pipeline::{Committed, Pipeline};
use crate::resp::walk;

/// What is read of a file, and how messages call that.
pub trait Bytes: Read {
    /// What is to be said where reading failed.
    fn error(&self, error: &io::Error) -> Error;

    /// Something else is wrong with it.
    fn because(&self, reason: String) -> Error;
}

/// How commands stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RESP and inline commands.
    Resp,
    /// One command a line.
    Commands,
}

/// One command of a file.
#[derive(Debug)]
pub struct Record<'a> {
    /// From 0. Every command counts, whatever it is: so many replies a server would give.
    pub row: u64,
    /// From 1, where commands are lines.
    pub line: Option<u64>,
    pub what: What<'a>,
}

#[derive(Debug)]
pub enum What<'a> {
    Command(Command<'a>),
    /// MULTI: the commands up to [`Self::End`] are a transaction. Only commands and what is passed over come between.
    Begin,
    End,
    /// Nothing is to be done.
    Passed,
    /// It counts as a command that has failed.
    Failed(Refused),
}

/// A command as it stands in a file.
#[derive(Debug)]
pub struct Command<'a>(Body<'a>);

#[derive(Debug)]
enum Body<'a> {
    Encoded(&'a [u8]),
    Words(&'a Split),
}

impl Command<'_> {
    /// Appends it; may be tried again.
    ///
    /// # Errors
    /// `BufferFull` where it finds no room; nothing is appended then.
    #[inline]
    pub fn append(&self, pipeline: &mut Pipeline) -> Result<Committed, Error> {
        match self.0 {
            Body::Encoded(bytes) => {
                if bytes.len() > LARGE {
                    pipeline.expect_room(bytes.len())?;
                }
                pipeline.request.begin_encoded(bytes);
            }
            Body::Words(split) => {
                pipeline.request.begin(split.count(), b"");
                split.words().for_each(|word| pipeline.request.bytes(word));
            }
        }
        pipeline.commit()
    }
}

/// Of what is larger it is asked beforehand whether it can find room.
const LARGE: usize = 64 * 1024;

/// Reads a file of commands.
#[derive(Debug)]
pub struct Script<R> {
    window: Window<R>,
    syntax: Syntax,
    rules: Rules,
    /// The words of the line that was looked at last.
    split: Split,
    /// The next command's, with what is skipped before it.
    place: Place,
    /// Bytes of the one that was handed out.
    taken: usize,
    section: Option<Section>,
    transactions: Transactions,
    /// Why no more comes.
    stopped: Option<Error>,
    limit: usize,
}

#[derive(Debug)]
enum Syntax {
    Resp(resp::Scanner),
    Commands(commands::Scanner),
}

#[derive(Debug, Clone, Copy)]
struct Place {
    row: u64,
    /// In bytes of the file.
    at: u64,
    line: Option<u64>,
}

/// What becomes of the MULTI … EXEC that is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Run,
    /// It ends in DISCARD.
    Discarded,
    /// Something of it is refused.
    Aborted,
}

/// Whether a transaction in the file can be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transactions {
    Possible,
    /// With replies off nobody would hear that a server refuses MULTI, and runs the rest one by one.
    NobodyWouldHear,
}

/// What becomes of a command.
enum Turn {
    Command,
    Begin,
    End,
    Passed,
    Failed(Refused),
}

impl<R: Bytes> Script<R> {
    pub fn new(source: R, format: Format, config: &Config) -> Self {
        let unheard = config.replies == Replies::Off && config.transaction == Transaction::Off;
        Self {
            window: Window::up_to(source, config.max_buffered),
            syntax: match format {
                Format::Resp => Syntax::Resp(resp::Scanner::default()),
                Format::Commands => Syntax::Commands(commands::Scanner::default()),
            },
            rules: Rules::new(config.login.db),
            split: Split::default(),
            place: Place {
                row: 0,
                at: 0,
                line: (format == Format::Commands).then_some(1),
            },
            taken: 0,
            section: None,
            transactions: if unheard {
                Transactions::NobodyWouldHear
            } else {
                Transactions::Possible
            },
            stopped: None,
            limit: config.max_buffered,
        }
    }

    /// The next command; `None` behind the last.
    ///
    /// # Errors
    /// Where the file cannot be read any further, or must not: the load ends. What came before stands.
    #[expect(clippy::should_implement_trait, reason = "what it gives is lent")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        let (found, turn) = match self.step() {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.stopped = Some(error.clone());
                return Err(error);
            }
        };
        let Place { row, line, .. } = self.place;
        let length = found.length();
        self.place = self.place.behind(length);
        self.place.row += 1;
        self.taken = length;
        let what = match turn {
            Turn::Command => What::Command(Command(match found {
                Found::Encoded { length, .. } => Body::Encoded(&self.window.bytes()[..length]),
                _ => Body::Words(&self.split),
            })),
            Turn::Begin => What::Begin,
            Turn::End => What::End,
            Turn::Passed => What::Passed,
            Turn::Failed(refused) => What::Failed(refused),
        };
        Ok(Some(Record { row, line, what }))
    }

    /// The next command, and what becomes of it.
    #[inline]
    fn step(&mut self) -> Result<Option<(Found, Turn)>, Error> {
        self.window.consume(mem::take(&mut self.taken));
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        loop {
            match self.find(0, self.place)? {
                None => return Ok(None),
                Some(Found::Nothing { length }) => {
                    self.window.consume(length);
                    self.place = self.place.behind(length);
                }
                Some(found) => {
                    let meaning = self.meaning(0, &found, self.place)?;
                    let turn = match (self.section, meaning) {
                        (None | Some(Section::Run), Meaning::Command) => Turn::Command,
                        (section, meaning) => self.turn(section, meaning, found.length())?,
                    };
                    return Ok(Some((found, turn)));
                }
            }
        }
    }

    /// What becomes of what is not simply a command to be written.
    fn turn(&mut self, section: Option<Section>, meaning: Meaning, length: usize) -> Result<Turn, Error> {
        let refused = |command: &str, message: &str| {
            Ok(Turn::Failed(Refused {
                command: command.to_owned(),
                code: Error::ForbiddenCommand(String::new()).code(),
                message: message.to_owned(),
            }))
        };
        match (section, meaning) {
            (_, Meaning::Refused(refused)) => Ok(Turn::Failed(refused)),
            (_, Meaning::OtherDb(db)) => {
                let reason = format!(
                    "SELECT {db}, but the pipeline writes to db {}: what follows belongs elsewhere (see the option db)",
                    self.rules.db()
                );
                self.stopped = Some(self.broken(self.place, &reason));
                refused("SELECT", &reason)
            }
            (Some(_), Meaning::Multi) => refused("MULTI", "MULTI within MULTI: the transaction is discarded"),
            (None, Meaning::Exec) => refused("EXEC", "EXEC without MULTI"),
            (None, Meaning::Discard) => refused("DISCARD", "DISCARD without MULTI"),
            (None, Meaning::Multi) => {
                let section = self.look_ahead(length)?;
                self.section = Some(section);
                Ok(match section {
                    Section::Run => Turn::Begin,
                    Section::Discarded | Section::Aborted => Turn::Passed,
                })
            }
            (Some(section), Meaning::Exec | Meaning::Discard) => {
                self.section = None;
                Ok(match section {
                    Section::Run => Turn::End,
                    Section::Discarded | Section::Aborted => Turn::Passed,
                })
            }
            (_, Meaning::Passed) | (Some(Section::Discarded), Meaning::Command) => Ok(Turn::Passed),
            (Some(Section::Aborted), Meaning::Command) => Ok(Turn::Failed(Refused {
                command: self.name(length),
                code: "EXECABORT",
                message: "EXECABORT Transaction discarded because of previous errors.".to_owned(),
            })),
            (None | Some(Section::Run), Meaning::Command) => Ok(Turn::Command),
        }
    }

    /// What becomes of the commands behind a MULTI of so many bytes.
    fn look_ahead(&mut self, length: usize) -> Result<Section, Error> {
        let begin = self.place;
        if self.transactions == Transactions::NobodyWouldHear {
            return Err(Error::InvalidOption(format!(
                "{begin}: with replies: 'off', MULTI needs the option transaction: true"
            )));
        }
        let mut section = Section::Run;
        let (mut at, mut place) = (length, begin.behind(length));
        place.row += 1;
        loop {
            let Some(found) = self.find(at, place)? else {
                return Err(self.broken(begin, "MULTI without EXEC: the commands behind it are not done"));
            };
            if !matches!(found, Found::Nothing { .. }) {
                match self.meaning(at, &found, place)? {
                    Meaning::Exec => return Ok(section),
                    Meaning::Discard => return Ok(Section::Discarded),
                    // The load ends there.
                    Meaning::OtherDb(_) => return Ok(Section::Aborted),
                    Meaning::Multi | Meaning::Refused(_) => section = Section::Aborted,
                    Meaning::Command | Meaning::Passed => {}
                }
                place.row += 1;
            }
            place = place.behind(found.length());
            at += found.length();
        }
    }

    /// What stands `at` bytes behind the front, whole; `None` at the end of the file.
    #[inline]
    fn find(&mut self, at: usize, place: Place) -> Result<Option<Found>, Error> {
        loop {
            let bytes = &self.window.bytes()[at..];
            let found = self.syntax.find(bytes, self.window.has_ended());
            let needed = match found {
                Ok(Found::More { needed }) => needed,
                Ok(found) => return Ok(Some(found)),
                Err(malformed) => return Err(self.broken(place, &malformed.to_string())),
            };
            if self.window.has_ended() && self.window.bytes().len() == at {
                return Ok(None);
            }
            self.read(at, needed, place)?;
        }
    }

    /// Reads on, as `needed` bytes are not there behind the first `at`.
    #[cold]
    fn read(&mut self, at: usize, needed: usize, place: Place) -> Result<(), Error> {
        if self.window.has_ended() {
            let missing = self.syntax.missing_end(&self.window.bytes()[at..]);
            let missing = missing.ok_or_else(|| self.broken(place, "the file ends within a command"))?;
            self.window.add(missing);
            return Ok(());
        }
        match self.window.more_up_to(at + needed) {
            Ok(More::Read | More::End) => {}
            Ok(More::Full) => {
                let what = if at == 0 { "a command" } else { "MULTI … EXEC" };
                let reason = format!("{what} of more than maxBufferedBytes ({} bytes)", self.limit);
                return Err(self.broken(place, &reason));
            }
            Err(error) => return Err(self.window.reader().error(&error)),
        }
        if self.window.offset() == 0 {
            self.look_at_beginning()?;
        }
        Ok(())
    }

    /// Of a file that is no file of commands, or begins with what is none.
    fn look_at_beginning(&mut self) -> Result<(), Error> {
        let bytes = self.window.bytes();
        if bytes.starts_with(b"REDIS0") {
            let reason =
                "it is an RDB file, or begins with one, as append-only files may: only what is in RESP can be loaded";
            return Err(self.window.reader().because(reason.to_owned()));
        }
        if let Syntax::Commands(scanner) = &mut self.syntax {
            let length = super::mark(bytes).map_err(|reason| self.window.reader().because(reason.to_owned()))?;
            // What it has looked at begins elsewhere now.
            *scanner = commands::Scanner::default();
            self.window.consume(length);
        }
        Ok(())
    }

    /// What the command `at` bytes behind the front is. Leaves the words of a line behind.
    #[inline]
    fn meaning(&mut self, at: usize, found: &Found, place: Place) -> Result<Meaning, Error> {
        match found {
            Found::Encoded { length, words, name } => {
                let bytes = &self.window.bytes()[at..at + length];
                let all_words = || walk::words(bytes, 0).unwrap_or_default();
                Ok(self.rules.of(&bytes[name.clone()], *words, all_words))
            }
            Found::Line { line, .. } => self.meaning_of_line(at, *line, place),
            Found::Nothing { .. } | Found::More { .. } => Ok(Meaning::Passed),
        }
    }

    fn meaning_of_line(&mut self, at: usize, length: usize, place: Place) -> Result<Meaning, Error> {
        /// Of the memory for words; a line is seldom longer.
        const USUAL: usize = 64 * 1024;

        self.split.give_back_above(USUAL);
        let line = &self.window.bytes()[at..at + length];
        match (self.split.line(line), &self.syntax) {
            (Ok(()), _) => {
                let name = self.split.words().next().unwrap_or_default();
                let all_words = || self.split.words().collect();
                Ok(self.rules.of(name, self.split.count(), all_words))
            }
            // The next line is a command again.
            (Err(bad), Syntax::Commands(_)) => {
                let first = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty());
                Ok(Meaning::Refused(Refused {
                    command: shown(first.unwrap_or_default()),
                    code: Error::InvalidArgument(String::new()).code(),
                    message: bad.to_string(),
                }))
            }
            (Err(bad), Syntax::Resp(_)) => Err(self.broken(place, &bad.to_string())),
        }
    }

    /// The name of the command in front, of so many bytes.
    fn name(&self, length: usize) -> String {
        let bytes = &self.window.bytes()[..length];
        let encoded = walk::words(bytes, 0).and_then(|words| words.first().copied());
        let name = encoded.or_else(|| self.split.words().next());
        shown(name.unwrap_or_default())
    }

    #[cold]
    fn broken(&self, place: Place, reason: &str) -> Error {
        self.window.reader().because(format!("{place}: {reason}"))
    }
}

impl Place {
    /// Behind a command or a line of so many bytes.
    #[inline]
    fn behind(self, length: usize) -> Self {
        Self {
            row: self.row,
            at: self.at + length as u64,
            line: self.line.map(|line| line + 1),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "row {}, line {line}", self.row),
            None => write!(f, "row {}, at byte {}", self.row, self.at),
        }
    }
}

impl Syntax {
    #[inline]
    fn find(&mut self, bytes: &[u8], is_last: bool) -> Result<Found, resp::Malformed> {
        match (self, is_last) {
            (Self::Resp(scanner), false) => scanner.find(bytes),
            (Self::Resp(scanner), true) => scanner.find_last(bytes),
            (Self::Commands(scanner), false) => Ok(scanner.find(bytes)),
            (Self::Commands(scanner), true) => Ok(scanner.find_last(bytes)),
        }
    }

    fn missing_end(&self, bytes: &[u8]) -> Option<&'static [u8]> {
        match self {
            Self::Resp(scanner) => scanner.missing_end(bytes),
            Self::Commands(_) => None,
        }
    }
}
