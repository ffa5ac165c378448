//! What is known of a command before its arguments are appended: is it allowed, are they as many as it takes, do its
//! options exclude each other.
//!
//! Arguments come from a call or from a template, of which some words are known only later: as [`Words`]. Out goes a
//! [`Form`], which tells how each argument is read.

use super::{Command, Forbidden, Options, Trailing, find};
use crate::error::Error;

/// The most arguments of one command: before Redis 7, a server hangs up on more than 1024 × 1024 words.
pub const MAX_ARGUMENTS: usize = 1024 * 1024 - 1;

/// What may stand in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Any,
    /// A 64-bit integer: numbers beyond 2^53 would be wrong without a sign of it.
    Integer,
    /// A score of a sorted set.
    Score,
}

/// Arguments, as far as they are known.
pub trait Words {
    fn count(&self) -> usize;
    /// One of them in upper case; `None` where it is no short text, or not known.
    fn word(&self, at: usize) -> Option<String>;
}

/// A command, and how its arguments are read.
#[derive(Debug)]
pub struct Form {
    command: Option<&'static Command>,
    name: Option<String>,
    /// Arguments that belong to the name: 1 where it is a subcommand's.
    words: usize,
    /// Where scores begin, every second argument from there.
    scores: Option<usize>,
}

impl Form {
    /// The form of a command of which nothing has to be looked at.
    #[inline]
    pub fn plain(command: &'static Command) -> Self {
        Self {
            command: Some(command),
            name: None,
            words: 0,
            scores: None,
        }
    }

    /// How the arguments of a known command are read.
    ///
    /// # Errors
    /// Where it is forbidden, or cannot have these.
    pub fn of(command: &'static Command, arguments: &impl Words) -> Result<Self, Error> {
        let (command, words) = subcommand(command, arguments);
        let own = Behind(arguments, words);
        allowed(command, &own)?;
        let mut form = Self {
            words,
            ..Self::plain(command)
        };
        let (min, max) = (
            usize::from(command.min_arguments),
            command.max_arguments.map(usize::from),
        );
        let count = own.count();
        if count < min || max.is_some_and(|max| count > max) {
            let takes = match max {
                Some(max) if max == min => format!("takes {min}"),
                Some(max) if count > max => format!("takes at most {max}"),
                _ => format!("needs at least {min}"),
            };
            let noun = if takes.ends_with(" 1") { "argument" } else { "arguments" };
            return Err(Error::InvalidArgument(format!(
                "{} {takes} {noun}, got {count}",
                form.name()
            )));
        }
        form.not_too_many(arguments.count())?;
        match command.trailing {
            Trailing::Groups { from, size } if !(count - usize::from(from)).is_multiple_of(usize::from(size)) => {
                return Err(Error::InvalidArgument(format!(
                    "{} takes groups of {size} arguments behind the first {from}, got {} there",
                    form.name(),
                    count - usize::from(from)
                )));
            }
            Trailing::Scores => form.scores = Some(words + scores(&form, command, &own)?),
            _ => {
                if let Some(options) = &command.options {
                    compatible(&form, options, &own)?;
                }
            }
        }
        Ok(form)
    }

    /// The form of any command by its name, in upper case. The number of arguments is the server's to judge.
    ///
    /// # Errors
    /// Where it is forbidden.
    pub fn named(name: &str, arguments: &impl Words) -> Result<Self, Error> {
        let mut form = Self {
            command: None,
            name: Some(name.to_owned()),
            words: 0,
            scores: None,
        };
        if let Some(command) = find(name) {
            let (command, words) = subcommand(command, arguments);
            allowed(command, &Behind(arguments, words))?;
            form.command = Some(command);
            form.words = words;
            if command.trailing == Trailing::Scores {
                // Where they cannot be told, the server judges.
                form.scores = scores(&form, command, arguments).ok();
            }
        }
        form.not_too_many(arguments.count())?;
        Ok(form)
    }

    #[inline]
    pub fn role(&self, at: usize) -> Role {
        let Some(command) = self.command else { return Role::Any };
        if let Some(scores) = self.scores {
            return if at >= scores && (at - scores).is_multiple_of(2) {
                Role::Score
            } else {
                Role::Any
            };
        }
        match at.checked_sub(self.words) {
            Some(at) if at < 32 && command.integers >> at & 1 == 1 => Role::Integer,
            _ => Role::Any,
        }
    }

    /// As messages call it.
    pub fn name(&self) -> String {
        match (&self.name, self.command) {
            (Some(name), _) => name.to_ascii_lowercase(),
            (None, Some(command)) => command.name.to_ascii_lowercase(),
            (None, None) => "the command".to_owned(),
        }
    }

    /// The entry of the command or subcommand.
    pub fn command(&self) -> Option<&'static Command> {
        self.command
    }

    /// Arguments that belong to the name: 1 where it is a subcommand's.
    pub fn words(&self) -> usize {
        self.words
    }

    /// The first argument that is a score.
    pub fn scores(&self) -> Option<usize> {
        self.scores
    }

    /// # Errors
    /// Where `count` arguments are more than a server takes.
    pub fn not_too_many(&self, count: usize) -> Result<(), Error> {
        if count <= MAX_ARGUMENTS {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "{} has {count} arguments, of which a server takes at most {MAX_ARGUMENTS}: split them",
            self.name()
        )))
    }
}

/// `/^[A-Z][A-Z0-9._|-]*$/`: the name of a command, in upper case already.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"._|-".contains(&byte))
}

/// Whether a server takes this text for a score. Hexadecimal ones are left to it.
pub fn is_score(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return false;
    }
    match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => true,
        [b'i' | b'I', ..] => unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity"),
        _ => text.parse::<f64>().is_ok_and(f64::is_finite),
    }
}

/// Arguments without the first few.
struct Behind<'a, W>(&'a W, usize);

impl<W: Words> Words for Behind<'_, W> {
    fn count(&self) -> usize {
        self.0.count() - self.1
    }

    fn word(&self, at: usize) -> Option<String> {
        self.0.word(at + self.1)
    }
}

/// The entry of a container's subcommand, and how many arguments name it.
fn subcommand(command: &'static Command, arguments: &impl Words) -> (&'static Command, usize) {
    if command.container
        && arguments.count() > 0
        && let Some(word) = arguments.word(0)
        && let Some(found) = find(&format!("{} {word}", command.name))
    {
        return (found, 1);
    }
    (command, 0)
}

fn allowed(command: &Command, arguments: &impl Words) -> Result<(), Error> {
    let text = match command.forbidden {
        None => return Ok(()),
        Some(Forbidden::Always(text)) => text,
        Some(Forbidden::With {
            word: forbidden,
            before,
            text,
        }) => {
            let words: Vec<_> = (0..arguments.count()).filter_map(|at| arguments.word(at)).collect();
            // The last one: a group may have its name too (`XREADGROUP GROUP STREAMS …`).
            let end = words.iter().rposition(|word| word == before).unwrap_or(words.len());
            if words[..end].iter().all(|word| word != forbidden) {
                return Ok(());
            }
            text
        }
    };
    Err(Error::ForbiddenCommand(format!(
        "{} cannot go through a bulk pipeline: {text}",
        command.name
    )))
}

/// Options first, then scores and members: where the first score is.
fn scores(form: &Form, command: &Command, arguments: &impl Words) -> Result<usize, Error> {
    let from = match &command.options {
        Some(options) => compatible(form, options, arguments)?,
        None => 1,
    };
    let pairs = arguments.count().saturating_sub(from);
    if pairs == 0 || !pairs.is_multiple_of(2) {
        return Err(Error::InvalidArgument(format!(
            "{} takes pairs of score and member, got {pairs} arguments for them",
            form.name()
        )));
    }
    Ok(from)
}

/// Refuses options that exclude each other; returns where they end.
fn compatible(form: &Form, options: &Options, arguments: &impl Words) -> Result<usize, Error> {
    let mut given: Vec<&'static str> = Vec::new();
    let mut at = usize::from(options.from).min(arguments.count());
    while at < arguments.count()
        && let Some(option) = arguments.word(at)
    {
        let named = |words: &[&'static str]| words.iter().find(|word| **word == option).copied();
        let (option, width) = match (named(options.flags), named(options.valued)) {
            (Some(flag), _) => (flag, 1),
            (None, Some(valued)) => (valued, 2),
            (None, None) => break,
        };
        let together = |group: &&&[&'static str]| group.contains(&option);
        for group in options.exclusive.iter().filter(together) {
            if let Some(other) = given.iter().find(|other| **other != option && group.contains(other)) {
                return Err(Error::InvalidArgument(format!(
                    "{} takes {other} or {option}, not both",
                    form.name()
                )));
            }
        }
        given.push(option);
        at += width;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a text; `?` stands for one that is not known.
    struct Line(Vec<&'static str>);

    impl Words for Line {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn word(&self, at: usize) -> Option<String> {
            (self.0[at] != "?").then(|| self.0[at].to_ascii_uppercase())
        }
    }

    fn form(line: &'static str) -> Result<Form, String> {
        let mut words: Vec<_> = line.split(' ').collect();
        let name = words.remove(0);
        Form::of(find(name).expect("a command"), &Line(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_counted_known_or_not() {
        for line in ["HSET ? ? ?", "SET k ? NX", "CONFIG SET a ?", "ZADD k ? ? ? ?", "DEL ?"] {
            form(line).expect(line);
        }
        for (line, text) in [
            ("HSET ? ?", "hset needs at least 3 arguments, got 2"),
            (
                "HSET k f v ?",
                "hset takes groups of 2 arguments behind the first 1, got 3 there",
            ),
            (
                "ZADD k NX ? m ?",
                "zadd takes pairs of score and member, got 3 arguments for them",
            ),
            ("ZADD k NX XX ? m", "zadd takes NX or XX, not both"),
            ("GET ? ?", "get takes 1 argument, got 2"),
            ("CONFIG SET a", "config set needs at least 2 arguments, got 1"),
        ] {
            assert_eq!(form(line).expect_err(line), text);
        }
    }

    #[test]
    fn a_word_that_forbids_a_command_counts_before_another_alone() {
        form("XREAD STREAMS BLOCK 0").expect("a stream of that name");
        assert!(
            form("XREAD BLOCK 0 STREAMS s 0")
                .expect_err("forbidden")
                .contains("cannot go through")
        );
    }

    #[test]
    fn places_have_roles() {
        assert_eq!(form("INCRBY k ?").expect("a form").role(1), Role::Integer);
        let scores = form("ZADD k NX ? m ? m").expect("a form");
        let roles: Vec<_> = (0..6).map(|at| scores.role(at)).collect();
        assert_eq!(
            roles,
            [Role::Any, Role::Any, Role::Score, Role::Any, Role::Score, Role::Any]
        );
    }

    #[test]
    fn scores_are_numbers_or_infinite() {
        for text in ["1", "-1.5", "+inf", "-Infinity", "1e300", "0x10"] {
            assert!(is_score(text), "{text}");
        }
        for text in ["", "abc", "nan", "--1", "1e400"] {
            assert!(!is_score(text), "{text}");
        }
    }
}
