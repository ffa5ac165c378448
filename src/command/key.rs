//! Where a command's keys are: a failure names the first, a cluster is routed by it, and commands in doubt that
//! have one in common are judged together.
//!
//! Follows the server's key specifications (`KeySpec`) through the words of one command, which may
//! come from outside: whatever they say, the answer is a word that is there, or none.

use super::{BeginSearch, Command, FindKeys, KeySpec, OtherKeys};

/// The first key among the words of a command; `args[0]` is the first word of its name.
///
/// For a subcommand, `command` is the subcommand's own entry. None where the command has no key, or where its
/// words do not fit its specification (`EVAL script x`).
pub fn first_key<'a>(command: &Command, args: &[&'a [u8]]) -> Option<&'a [u8]> {
    command.keys.iter().find_map(|spec| spec.first(args)).map(|at| args[at])
}

/// What a command may touch.
#[derive(Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    These(Vec<&'a [u8]>),
    /// Every key of the server: `FLUSHALL`.
    All,
}

/// All keys that a command may touch, in words from the first of its name on.
///
/// All its arguments where the table does not know it, where its words do not fit its specification, or where only
/// the server's own code finds them (`SORT … STORE key`): each of them may be a key.
pub fn keys<'a>(words: &[&'a [u8]]) -> Keys<'a> {
    if let Some(command) = super::of(words) {
        match command.other_keys {
            OtherKeys::Everywhere => return Keys::All,
            OtherKeys::Anywhere => {}
            OtherKeys::None => {
                let mut found = Vec::new();
                if command
                    .keys
                    .iter()
                    .all(|spec| spec.collect(words, &mut found).is_some())
                {
                    return Keys::These(found);
                }
            }
        }
    }
    Keys::These(words.get(1..).unwrap_or_default().to_vec())
}

impl KeySpec {
    /// Adds the keys that this specification finds; `None` where the words do not fit it.
    fn collect<'a>(&self, args: &[&'a [u8]], found: &mut Vec<&'a [u8]>) -> Option<()> {
        let begin = match self.begin {
            BeginSearch::Index(at) => usize::from(at),
            BeginSearch::Keyword { word, from } => match keyword(args, word, from) {
                // Where the word comes twice, the server may take either.
                Some(at)
                    if args[at + 1..]
                        .iter()
                        .any(|arg| arg.eq_ignore_ascii_case(word.as_bytes())) =>
                {
                    return None;
                }
                Some(at) => at + 1,
                None => return Some(()),
            },
        };
        let (first, end, step) = match self.find {
            FindKeys::Range { last, step, limit } => (begin, range_end(begin, last, limit, args.len())? + 1, step),
            FindKeys::Counted { number, first, step } => {
                let count = usize::try_from(integer(args.get(begin + usize::from(number))?)?).ok()?;
                let first = begin + usize::from(first);
                // Behind the last of them there may be no more, not even the rest of a step.
                let length = match count {
                    0 => 0,
                    _ => (count - 1).checked_mul(usize::from(step))?.checked_add(1)?,
                };
                (first, first.checked_add(length)?, step)
            }
        };
        found.extend(args.get(first..end)?.iter().step_by(usize::from(step).max(1)));
        Some(())
    }

    /// The position of the first key that this specification finds: below `args.len()`.
    fn first(&self, args: &[&[u8]]) -> Option<usize> {
        let begin = match self.begin {
            BeginSearch::Index(at) => usize::from(at),
            BeginSearch::Keyword { word, from } => keyword(args, word, from)? + 1,
        };
        let key = match self.find {
            FindKeys::Range { last, limit, .. } => {
                // Where the range ends before it begins, there is no key: `BLPOP` without keys.
                (begin <= range_end(begin, last, limit, args.len())?).then_some(begin)?
            }
            FindKeys::Counted { number, first, .. } => {
                let count = integer(args.get(begin + usize::from(number))?)?;
                (count > 0).then_some(begin + usize::from(first))?
            }
        };
        (key < args.len()).then_some(key)
    }
}

/// Where `word` stands, looked for from position `from`; from the end backwards where that is negative.
fn keyword(args: &[&[u8]], word: &str, from: i8) -> Option<usize> {
    let is_word = |at: &usize| args[*at].eq_ignore_ascii_case(word.as_bytes());
    let distance = usize::from(from.unsigned_abs());
    if from >= 0 {
        (distance..args.len()).find(is_word)
    } else {
        // Position 0 is the command's name.
        (1..=args.len().checked_sub(distance)?).rev().find(is_word)
    }
}

/// The last position of a range that begins at `begin`.
fn range_end(begin: usize, last: i8, limit: u8, len: usize) -> Option<usize> {
    let distance = usize::from(last.unsigned_abs());
    if last >= 0 {
        return Some(begin + distance);
    }
    let end = match limit {
        0 | 1 => len,
        part => begin + len.checked_sub(begin)? / usize::from(part),
    };
    end.checked_sub(distance)
}

/// A count of keys as the server reads it: plain decimal digits.
fn integer(word: &[u8]) -> Option<i64> {
    str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{COMMANDS, find};
    use super::*;

    /// The first key of a command in words; a name of two words has a `|` between them.
    fn key(line: &str) -> Option<&str> {
        let words: Vec<&str> = line.split(' ').flat_map(|word| word.split('|')).collect();
        let name = line.split(' ').next().unwrap().replace('|', " ");
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let found = first_key(find(&name).unwrap(), &args)?;
        // The key is one of the words, not a copy of it.
        words.iter().find(|word| std::ptr::eq(word.as_bytes(), found)).copied()
    }

    #[test]
    fn a_fixed_position_is_found() {
        assert_eq!(key("SET a 1"), Some("a"));
        assert_eq!(key("MSET a 1 b 2"), Some("a"));
        assert_eq!(key("BITOP AND to from"), Some("to"));
        assert_eq!(key("ZUNIONSTORE to 2 a b"), Some("to"));
    }

    #[test]
    fn a_subcommand_has_its_key_behind_both_words() {
        assert_eq!(key("OBJECT|ENCODING a"), Some("a"));
        assert_eq!(key("XGROUP|CREATE s g $"), Some("s"));
        assert_eq!(key("CONFIG|SET maxmemory 0"), None);
    }

    #[test]
    fn counted_keys_begin_behind_their_number() {
        assert_eq!(key("EVAL return 1 a"), Some("a"));
        assert_eq!(key("EVAL return 0 a"), None);
        assert_eq!(key("ZUNION 2 a b"), Some("a"));
        assert_eq!(key("LMPOP 1 a LEFT"), Some("a"));
    }

    #[test]
    fn counts_that_do_not_fit_find_what_is_there_or_nothing() {
        assert_eq!(key("EVAL return 9223372036854775807 a"), Some("a"));
        assert_eq!(key("EVAL return 99999999999999999999 a"), None);
        assert_eq!(key("EVAL return -1 a"), None);
        assert_eq!(key("EVAL return x a"), None);
        assert_eq!(key("EVAL return 1"), None);
        assert_eq!(key("EVAL return"), None);
        assert_eq!(key("EVAL"), None);
    }

    #[test]
    fn a_keyword_is_looked_for_in_either_case() {
        assert_eq!(key("XREAD COUNT 1 STREAMS a b 0 0"), Some("a"));
        assert_eq!(key("XREAD streams a 0"), Some("a"));
        assert_eq!(key("XREADGROUP GROUP STREAMS c STREAMS a >"), Some("a"));
        assert_eq!(key("XREAD COUNT 1"), None);
        assert_eq!(key("XREAD COUNT 1 STREAMS"), None);
        assert_eq!(key("XREAD STREAMS a"), None);
    }

    #[test]
    fn a_keyword_is_looked_for_from_the_end() {
        let spec = KeySpec {
            begin: BeginSearch::Keyword { word: "KEYS", from: -2 },
            find: FindKeys::Range {
                last: -1,
                step: 1,
                limit: 0,
            },
        };
        let first = |line: &str| {
            let args: Vec<&[u8]> = line.split_terminator(' ').map(str::as_bytes).collect();
            spec.first(&args)
        };
        assert_eq!(first("MIGRATE h 1  0 9 KEYS a b"), Some(7));
        assert_eq!(first("KEYS a"), None);
        assert_eq!(first("KEYS"), None);
        assert_eq!(first(""), None);
    }

    #[test]
    fn commands_without_keys_have_none() {
        assert_eq!(key("PING"), None);
        assert_eq!(key("PUBLISH channel message"), None);
    }

    /// All keys of a command in words, with blanks between them.
    fn all(line: &str) -> Vec<&str> {
        let words: Vec<&[u8]> = line.split_terminator(' ').map(str::as_bytes).collect();
        match keys(&words) {
            Keys::These(found) => found.iter().map(|key| str::from_utf8(key).unwrap()).collect(),
            Keys::All => vec!["(all)"],
        }
    }

    #[test]
    fn all_keys_are_found() {
        assert_eq!(all("SET a 1 NX"), ["a"]);
        assert_eq!(all("del a b c"), ["a", "b", "c"]);
        assert_eq!(all("MSET a 1 b 2"), ["a", "b"]);
        assert_eq!(all("BITOP AND to a b"), ["to", "a", "b"]);
        assert_eq!(all("RENAME a b"), ["a", "b"]);
        assert_eq!(all("SUNIONSTORE to a b"), ["to", "a", "b"]);
        assert_eq!(all("ZUNIONSTORE to 2 a b WEIGHTS 1 2"), ["to", "a", "b"]);
        assert_eq!(all("EVAL script 2 a b c"), ["a", "b"]);
        assert_eq!(all("EVAL script 0 a b c"), [""; 0]);
        assert_eq!(all("XREAD COUNT 1 STREAMS a b 0 0"), ["a", "b"]);
        assert_eq!(all("XGROUP CREATE s g $"), ["s"]);
        assert_eq!(all("GEORADIUS a 1 1 1 km"), ["a"]);
        assert_eq!(all("GEORADIUS a 1 1 1 km store b"), ["a", "b"]);
        assert_eq!(all("OBJECT ENCODING a"), ["a"]);
    }

    #[test]
    fn commands_without_keys_touch_none() {
        for line in [
            "PING",
            "PING a",
            "PUBLISH a b",
            "CONFIG SET a b",
            "SCRIPT LOAD a",
            "DBSIZE",
            "MSET",
            "DEL",
        ] {
            assert_eq!(all(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn commands_beyond_all_keys_touch_all() {
        for line in ["FLUSHALL", "flushdb async", "SWAPDB 0 1", "REPLICAOF host 1"] {
            assert_eq!(all(line), ["(all)"], "{line}");
        }
    }

    #[test]
    fn any_argument_may_be_a_key_where_nothing_says_which() {
        assert_eq!(all("JSON.SET a $ 1"), ["a", "$", "1"]);
        assert_eq!(all("XGROUP NEW a"), ["NEW", "a"]);
        assert_eq!(all("SORT a STORE b"), ["a", "STORE", "b"]);
        assert_eq!(all("EVAL script x a"), ["script", "x", "a"]);
        assert_eq!(all("EVAL script 3 a"), ["script", "3", "a"]);
        assert_eq!(all("EVAL script -1 a"), ["script", "-1", "a"]);
        assert_eq!(
            all("EVAL script 9223372036854775807 a"),
            ["script", "9223372036854775807", "a"]
        );
        assert_eq!(
            all("GEORADIUS a 1 1 1 km STORE b STORE c"),
            ["a", "1", "1", "1", "km", "STORE", "b", "STORE", "c"]
        );
        assert_eq!(all("RENAME a"), ["a"]);
        assert_eq!(all("GET"), [""; 0]);
        assert_eq!(all(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn all_keys_are_words_of_the_command_and_the_first_is_among_them(
            command in 0..COMMANDS.len(),
            arguments in prop::collection::vec(prop_oneof![
                prop::sample::select(vec!["", "-1", "0", "1", "2", "9223372036854775807", "STREAMS", "keys", "STORE"])
                    .prop_map(|word| word.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..4),
            ], 0..9),
        ) {
            let command = &COMMANDS[command];
            let name = command.name.split(' ').map(str::as_bytes);
            let words: Vec<&[u8]> = name.chain(arguments.iter().map(Vec::as_slice)).collect();
            let first = super::super::of(&words).and_then(|known| first_key(known, &words));
            match keys(&words) {
                Keys::These(found) => {
                    prop_assert!(found.iter().all(|key| words[1..].iter().any(|word| std::ptr::eq(*word, *key))));
                    if let Some(first) = first {
                        prop_assert!(found.iter().any(|key| std::ptr::eq(*key, first)));
                    }
                }
                Keys::All => prop_assert_eq!(command.other_keys, OtherKeys::Everywhere),
            }
        }
    }

    #[test]
    fn no_words_of_any_command_panic() {
        for command in COMMANDS {
            for length in 0..8 {
                for word in ["", "-1", "0", "1", "9223372036854775807", "STREAMS", "KEYS", "STORE"] {
                    let args = vec![word.as_bytes(); length];
                    let _ = first_key(command, &args);
                }
            }
        }
    }
}
