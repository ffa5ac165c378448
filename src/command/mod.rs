//! What is known of each Redis command.
//!
//! The table comes from a server's own `COMMAND DOCS` and `COMMAND INFO` (`scripts/generate-commands.js`).
//! Appending asks it how many arguments a command takes and which are special; a failure asks it for
//! the command's key; after a lost connection it tells which commands may be sent again.

mod chain;
mod effect;
mod key;
mod rules;
mod table;

pub use self::chain::Chain;
pub use self::effect::{Effect, effect, is_repeatable};
pub use self::key::{Keys, first_key, keys};
pub use self::rules::{Form, MAX_ARGUMENTS, Role, Words, is_name, is_score};
pub use self::table::COMMANDS;

/// One command, or one subcommand of a container such as `CONFIG`.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Upper case; subcommands after a blank: `"HSET"`, `"CONFIG SET"`.
    pub name: &'static str,
    /// Arguments behind the name's words, at least.
    pub min_arguments: u16,
    /// Arguments behind the name's words, at most; `None` where the list is open.
    pub max_arguments: Option<u16>,
    /// Has subcommands: the first argument names one of them.
    pub container: bool,
    /// Bit `i` is set where argument `i` (from 0, behind the name) is a 64-bit integer in every form of the command.
    pub integers: u32,
    pub trailing: Trailing,
    pub options: Option<Options>,
    pub keys: &'static [KeySpec],
    pub other_keys: OtherKeys,
    pub forbidden: Option<Forbidden>,
    /// With none of the words of `stronger`.
    pub effect: Effect,
    pub stronger: Option<Stronger>,
}

impl Command {
    /// It runs code that somebody else has written, which chooses the text of its errors too.
    pub fn is_script(&self) -> bool {
        ["EVAL", "FCALL"].iter().any(|name| self.name.starts_with(name))
    }
}

/// What the open end of a command's argument list holds.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Trailing {
    /// The list is not open, or nothing more is known: `SET`.
    Plain,
    /// Something that repeats: `DEL key …`, `SADD key member …`, `GEOADD … longitude latitude member …`.
    Values,
    /// Groups of `size` arguments from argument `from` to the end: `HSET` (1, 2), `MSET` (0, 2).
    /// Groups of two may be given as an object or a Map.
    Groups { from: u8, size: u8 },
    /// Options, then score and member in turn: `ZADD`. An object or a Map gives member → score.
    Scores,
    /// Options, then fields and values in turn, whose place only the server can tell: `XADD`, `HSETEX`.
    /// They may be given as an object or a Map.
    Fields,
}

/// The options that end a command (with [`Trailing::Scores`]: that precede the scores), of which some
/// exclude each other. All words are in upper case; the server takes them in either.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The first argument that can be an option.
    pub from: u8,
    /// Words that stand alone.
    pub flags: &'static [&'static str],
    /// Words with a value behind them, which is no option whatever it says: `SET key value IFEQ NX`.
    /// Behind any other word, of a newer server, nothing is known any more.
    pub valued: &'static [&'static str],
    /// Of each group, only one word may be given. A word may come twice: the server takes `NX NX`.
    pub exclusive: &'static [&'static [&'static str]],
}

/// Where a command's keys are, as in the server's own key specifications
/// (<https://redis.io/docs/latest/develop/reference/key-specs/>). Positions count the name's first word as 0.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub begin: BeginSearch,
    pub find: FindKeys,
}

#[derive(Debug, PartialEq, Eq)]
pub enum BeginSearch {
    Index(u8),
    /// Behind the word, looked for from position `from` (from the end where negative).
    Keyword {
        word: &'static str,
        from: i8,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// Keys up to `last` (relative to the beginning; from the end where negative), one in `step` arguments;
    /// `limit` 2 or more: only the first `1/limit` of what is left.
    Range { last: i8, step: u8, limit: u8 },
    /// The argument `number` (relative to the beginning) says how many keys follow from `first` on.
    Counted { number: u8, first: u8, step: u8 },
}

/// Keys that the specifications do not lead to.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum OtherKeys {
    None,
    /// Any argument may be one: `SORT … STORE key`.
    Anywhere,
    /// All keys there are: `FLUSHALL`.
    Everywhere,
}

/// Words among the arguments from `from` on (0: the first behind the name) with which a command has another
/// effect; of several, the greatest. All are in upper case; the server takes them in either. A value may be
/// spelled like one: the command is then judged more strictly than need be.
#[derive(Debug, PartialEq, Eq)]
pub struct Stronger {
    pub from: u8,
    pub words: &'static [(&'static str, Effect)],
}

/// Why a command cannot go through a pipeline whose replies are counted.
#[derive(Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// In every form. The text says what to use instead.
    Always(&'static str),
    /// With this word among its arguments before another, behind which it can be a key:
    /// `XREAD BLOCK … STREAMS …`.
    With {
        word: &'static str,
        before: &'static str,
        text: &'static str,
    },
}

/// The command of this name, in upper case.
pub fn find(name: &str) -> Option<&'static Command> {
    named(name.as_bytes())
}

/// The entry of a command in words, whose name may be in either case; of a container's subcommand, its own.
pub fn of(words: &[&[u8]]) -> Option<&'static Command> {
    let (name, arguments) = words.split_first()?;
    // Otherwise the one word `CONFIG SET` would be taken for two.
    if name.contains(&b' ') {
        return None;
    }
    let mut upper = Upper::default();
    let command = named(upper.push(name)?)?;
    match arguments.first() {
        Some(subcommand) if command.container => {
            upper.push(b" ")?;
            named(upper.push(subcommand)?)
        }
        _ => Some(command),
    }
}

fn named(name: &[u8]) -> Option<&'static Command> {
    COMMANDS
        .binary_search_by(|command| command.name.as_bytes().cmp(name))
        .ok()
        .map(|at| &COMMANDS[at])
}

/// A name in upper case, without an allocation: a window of commands is looked up in one go.
struct Upper {
    bytes: [u8; LONGEST],
    length: usize,
}

/// The longest name of the table has 29 bytes.
const LONGEST: usize = 32;

impl Default for Upper {
    fn default() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
        }
    }
}

impl Upper {
    /// The name so far; `None` where it is longer than any in the table.
    fn push(&mut self, word: &[u8]) -> Option<&[u8]> {
        let end = self.length.checked_add(word.len())?;
        let place = self.bytes.get_mut(self.length..end)?;
        place.copy_from_slice(word);
        place.make_ascii_uppercase();
        self.length = end;
        Some(&self.bytes[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str) -> &'static Command {
        find(name).unwrap()
    }

    #[test]
    fn the_table_is_sorted_by_name() {
        assert!(COMMANDS.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn every_command_is_found_and_nothing_else() {
        for command in COMMANDS {
            assert_eq!(find(command.name), Some(command));
        }
        for name in ["", "hset", "HSET ", "CONFIG NO", "FT.SEARCH"] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn subcommands_stand_beside_their_container() {
        for command in COMMANDS {
            if let Some((container, _)) = command.name.split_once(' ') {
                assert!(find(container).unwrap().container, "{}", command.name);
            }
        }
        assert_eq!(
            (command("CONFIG").min_arguments, command("CONFIG").max_arguments),
            (1, None)
        );
        // COMMAND is a command by itself too.
        assert_eq!(command("COMMAND").min_arguments, 0);
    }

    #[test]
    fn every_command_is_found_by_its_words_in_either_case() {
        for command in COMMANDS {
            let lower = command.name.to_ascii_lowercase();
            for name in [command.name, &lower] {
                let mut words: Vec<&[u8]> = name.split(' ').map(str::as_bytes).collect();
                assert_eq!(of(&words), Some(command));
                if !command.container {
                    words.push(b"argument");
                    assert_eq!(of(&words), Some(command));
                }
            }
            assert!(command.name.len() <= LONGEST, "{}", command.name);
        }
    }

    #[test]
    fn words_that_name_no_command_find_none() {
        let long = [b'A'; LONGEST + 1];
        let unknown: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"HSET "],
            &[b"CONFIG SET"],
            &[b"CONFIG", b""],
            &[b"CONFIG", b"NO"],
            &[b"CONFIG", &long],
            &[&long],
            &[b"\xff\0", b"SET"],
        ];
        for words in unknown {
            assert_eq!(of(words), None, "{words:?}");
        }
    }

    #[test]
    fn arguments_are_counted_behind_all_words_of_the_name() {
        let count = |name| (command(name).min_arguments, command(name).max_arguments);
        assert_eq!(count("HSET"), (3, None));
        assert_eq!(count("INCRBY"), (2, Some(2)));
        assert_eq!(count("LPOP"), (1, Some(2)));
        assert_eq!(count("SET"), (2, None));
        assert_eq!(count("CONFIG SET"), (2, None));
        assert_eq!(count("XGROUP DESTROY"), (2, Some(2)));
    }

    #[test]
    fn integers_are_marked_by_position() {
        assert_eq!(command("INCRBY").integers, 0b10);
        assert_eq!(command("GETRANGE").integers, 0b110);
        // The server's own documentation calls these integers.
        assert_eq!(command("ZINCRBY").integers, 0);
        assert_eq!(command("HSCAN").integers, 0);
    }

    #[test]
    fn open_ends_are_described() {
        assert_eq!(command("HSET").trailing, Trailing::Groups { from: 1, size: 2 });
        assert_eq!(command("MSET").trailing, Trailing::Groups { from: 0, size: 2 });
        assert_eq!(command("CONFIG SET").trailing, Trailing::Groups { from: 0, size: 2 });
        assert_eq!(command("ZADD").trailing, Trailing::Scores);
        assert_eq!(command("XADD").trailing, Trailing::Fields);
        assert_eq!(command("SADD").trailing, Trailing::Values);
        // Options before the members, and three words for each; options behind the keys.
        assert_eq!(command("GEOADD").trailing, Trailing::Values);
        assert_eq!(command("ZUNIONSTORE").trailing, Trailing::Values);
        assert_eq!(command("GET").trailing, Trailing::Plain);
    }

    #[test]
    fn options_that_go_together_do_not_exclude_each_other() {
        let exclude = |name, one, other| {
            let groups = command(name).options.as_ref().unwrap().exclusive;
            groups
                .iter()
                .any(|group| group.contains(&one) && group.contains(&other))
        };
        assert!(exclude("SET", "NX", "XX"));
        assert!(exclude("SET", "EX", "KEEPTTL"));
        assert!(!exclude("SET", "NX", "GET"));
        assert!(exclude("EXPIRE", "NX", "GT"));
        assert!(!exclude("EXPIRE", "XX", "GT"));
        assert!(exclude("ZADD", "GT", "LT"));
        assert!(!exclude("ZADD", "XX", "LT"));
    }

    #[test]
    fn words_of_options_are_known() {
        for options in COMMANDS.iter().filter_map(|command| command.options.as_ref()) {
            let known: Vec<_> = options.flags.iter().chain(options.valued).collect();
            assert!(
                options
                    .exclusive
                    .iter()
                    .flat_map(|group| *group)
                    .all(|word| known.contains(&word))
            );
        }
    }

    #[test]
    fn commands_that_unsettle_the_replies_are_forbidden() {
        for name in ["SUBSCRIBE", "CLIENT REPLY", "MULTI", "SELECT", "BLPOP", "WAIT"] {
            assert!(matches!(command(name).forbidden, Some(Forbidden::Always(_))), "{name}");
        }
        assert!(matches!(
            command("XREAD").forbidden,
            Some(Forbidden::With { word: "BLOCK", .. })
        ));
        for name in ["CLIENT", "CLIENT SETNAME", "SET", "PUBLISH"] {
            assert_eq!(command(name).forbidden, None, "{name}");
        }
    }
}
