//! What is known of a command before its arguments are appended: is it allowed, are they as many as it takes, do its
//! options exclude each other.

use napi::sys::{self, Status, ValueType};

use super::append::{Problem, Stop};
use super::argument::{self, Role};
use super::js::Js;
use crate::command::{self, Command, Forbidden, Options, Trailing};
use crate::error::Error;

/// The most arguments of one command: before Redis 7, a server hangs up on more than 1024 × 1024 words.
pub(super) const MAX_ARGUMENTS: usize = 1024 * 1024 - 1;

/// Options and names are no longer than this.
const LONGEST_WORD: usize = 64;

/// A command, and how its arguments are read.
pub(super) struct Form {
    command: Option<&'static Command>,
    name: Option<String>,
    /// Arguments that belong to the name: 1 where it is a subcommand's.
    words: usize,
    /// Where scores begin, every second argument from there.
    scores: Option<usize>,
}

impl Form {
    #[inline]
    pub(super) fn plain(command: &'static Command) -> Self {
        Self {
            command: Some(command),
            name: None,
            words: 0,
            scores: None,
        }
    }

    #[inline]
    pub(super) fn role(&self, at: usize) -> Role {
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
    pub(super) fn name(&self) -> String {
        match (&self.name, self.command) {
            (Some(name), _) => name.to_ascii_lowercase(),
            (None, Some(command)) => command.name.to_ascii_lowercase(),
            (None, None) => "the command".to_owned(),
        }
    }
}

/// How the arguments of a method are read.
pub(super) fn form(js: Js, command: &'static Command, arguments: &[sys::napi_value]) -> Result<Form, Stop> {
    if arguments.iter().any(|value| is_composite(js, *value)) {
        return Err(Stop::Expand);
    }
    let (command, words) = subcommand(js, command, arguments);
    let own = &arguments[words..];
    allowed(js, command, own)?;
    let mut form = Form {
        words,
        ..Form::plain(command)
    };
    let (min, max) = (
        usize::from(command.min_arguments),
        command.max_arguments.map(usize::from),
    );
    if own.len() < min || max.is_some_and(|max| own.len() > max) {
        let takes = match max {
            Some(max) if max == min => format!("takes {min}"),
            Some(max) if own.len() > max => format!("takes at most {max}"),
            _ => format!("needs at least {min}"),
        };
        let noun = if takes.ends_with(" 1") { "argument" } else { "arguments" };
        return Err(Problem::argument(format!(
            "{} {takes} {noun}, got {}",
            form.name(),
            own.len()
        )));
    }
    not_too_many(&form, arguments)?;
    match command.trailing {
        Trailing::Groups { from, size } if !(own.len() - usize::from(from)).is_multiple_of(usize::from(size)) => {
            return Err(Problem::argument(format!(
                "{} takes groups of {size} arguments behind the first {from}, got {} there",
                form.name(),
                own.len() - usize::from(from)
            )));
        }
        Trailing::Scores => form.scores = Some(words + scores(js, &form, command, own)?),
        _ => {
            if let Some(options) = &command.options {
                compatible(js, &form, options, own)?;
            }
        }
    }
    Ok(form)
}

/// Name and form of `call(name, …)`. The number of arguments is the server's to judge.
pub(super) fn named(js: Js, arguments: &[sys::napi_value]) -> Result<(String, Form), Stop> {
    let name = arguments
        .first()
        .and_then(|value| text_word(js, *value))
        .filter(|name| is_name(name))
        .ok_or_else(|| {
            Problem::argument("the name of a command must be a word such as 'HSET' or 'JSON.SET'".to_owned())
        })?;
    if arguments[1..].iter().any(|value| is_composite(js, *value)) {
        return Err(Stop::Expand);
    }
    let mut form = Form {
        command: None,
        name: Some(name.clone()),
        words: 0,
        scores: None,
    };
    if let Some(command) = command::find(&name) {
        let (command, words) = subcommand(js, command, &arguments[1..]);
        allowed(js, command, &arguments[1 + words..])?;
        form.command = Some(command);
        form.words = words;
        if command.trailing == Trailing::Scores {
            // Where they cannot be told, the server judges.
            form.scores = scores(js, &form, command, &arguments[1..]).ok();
        }
    }
    not_too_many(&form, &arguments[1..])?;
    Ok((name, form))
}

fn not_too_many(form: &Form, arguments: &[sys::napi_value]) -> Result<(), Stop> {
    if arguments.len() <= MAX_ARGUMENTS {
        return Ok(());
    }
    Err(Problem::argument(format!(
        "{} has {} arguments, of which a server takes at most {MAX_ARGUMENTS}: split them",
        form.name(),
        arguments.len()
    )))
}

/// The entry of a container's subcommand, and how many arguments name it.
fn subcommand(js: Js, command: &'static Command, arguments: &[sys::napi_value]) -> (&'static Command, usize) {
    if command.container
        && let Some(word) = arguments.first().and_then(|value| word(js, *value))
        && let Some(found) = command::find(&format!("{} {word}", command.name))
    {
        return (found, 1);
    }
    (command, 0)
}

fn allowed(js: Js, command: &Command, arguments: &[sys::napi_value]) -> Result<(), Stop> {
    let text = match command.forbidden {
        None => return Ok(()),
        Some(Forbidden::Always(text)) => text,
        Some(Forbidden::With {
            word: forbidden,
            before,
            text,
        }) => {
            let words: Vec<_> = arguments.iter().filter_map(|value| word(js, *value)).collect();
            // The last one: a group may have its name too (`XREADGROUP GROUP STREAMS …`).
            let end = words.iter().rposition(|word| word == before).unwrap_or(words.len());
            if words[..end].iter().all(|word| word != forbidden) {
                return Ok(());
            }
            text
        }
    };
    Err(Error::ForbiddenCommand(format!("{} cannot go through a bulk pipeline: {text}", command.name)).into())
}

/// Options first, then scores and members: where the first score is.
fn scores(js: Js, form: &Form, command: &Command, arguments: &[sys::napi_value]) -> Result<usize, Stop> {
    let from = match &command.options {
        Some(options) => compatible(js, form, options, arguments)?,
        None => 1,
    };
    let pairs = arguments.len() - from;
    if pairs == 0 || !pairs.is_multiple_of(2) {
        return Err(Problem::argument(format!(
            "{} takes pairs of score and member, got {pairs} arguments for them",
            form.name()
        )));
    }
    Ok(from)
}

/// Refuses options that exclude each other; returns where they end.
fn compatible(js: Js, form: &Form, options: &Options, arguments: &[sys::napi_value]) -> Result<usize, Stop> {
    let mut given: Vec<&'static str> = Vec::new();
    let mut at = usize::from(options.from).min(arguments.len());
    while let Some(option) = arguments.get(at).and_then(|value| word(js, *value)) {
        let named = |words: &[&'static str]| words.iter().find(|word| **word == option).copied();
        let (option, width) = match (named(options.flags), named(options.valued)) {
            (Some(flag), _) => (flag, 1),
            (None, Some(valued)) => (valued, 2),
            (None, None) => break,
        };
        let together = |group: &&&[&'static str]| group.contains(&option);
        for group in options.exclusive.iter().filter(together) {
            if let Some(other) = given.iter().find(|other| **other != option && group.contains(other)) {
                return Err(Problem::argument(format!(
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

/// `/^[A-Za-z][A-Za-z0-9._|-]*$/`, in upper case already.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"._|-".contains(&byte))
}

/// An option or a subcommand, in upper case. The server does not mind whether it came as text or as bytes:
/// `client(Buffer.from('REPLY'), 'OFF')`.
fn word(js: Js, value: sys::napi_value) -> Option<String> {
    text_word(js, value).or_else(|| argument::with_bytes(js, value, upper_case).ok()?)
}

/// The same, of text alone.
fn text_word(js: Js, value: sys::napi_value) -> Option<String> {
    let mut bytes = [0_u8; LONGEST_WORD + 2];
    let mut length = 0;
    // SAFETY: `value` is live in the current callback; at most `bytes.len()` bytes are written.
    let status = unsafe {
        sys::napi_get_value_string_utf8(js.env(), value, bytes.as_mut_ptr().cast(), bytes.len(), &raw mut length)
    };
    if status != Status::napi_ok {
        return None;
    }
    upper_case(&bytes[..length])
}

fn upper_case(word: &[u8]) -> Option<String> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    Some(std::str::from_utf8(word).ok()?.to_ascii_uppercase())
}

/// An object that is no byte array.
fn is_composite(js: Js, value: sys::napi_value) -> bool {
    let mut kind = ValueType::napi_undefined;
    let mut is_typed_array = false;
    // SAFETY: `value` is live in the current callback; both are written on success.
    unsafe {
        sys::napi_typeof(js.env(), value, &raw mut kind) == Status::napi_ok
            && kind == ValueType::napi_object
            && sys::napi_is_typedarray(js.env(), value, &raw mut is_typed_array) == Status::napi_ok
            && !is_typed_array
    }
}
