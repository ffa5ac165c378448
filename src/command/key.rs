//! Where a command's key is: a failure names it, and a cluster is routed by it.
//!
//! Follows the server's key specifications (`KeySpec`) through the words of one command, which may
//! come from outside: whatever they say, the answer is a word that is there, or none.

use super::{BeginSearch, Command, FindKeys, KeySpec};

/// The first key among the words of a command; `args[0]` is the first word of its name.
///
/// For a subcommand, `command` is the subcommand's own entry. None where the command has no key, or where its
/// words do not fit its specification (`EVAL script x`).
pub fn first_key<'a>(command: &Command, args: &[&'a [u8]]) -> Option<&'a [u8]> {
    command.keys.iter().find_map(|spec| spec.first(args)).map(|at| args[at])
}

impl KeySpec {
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
    use super::super::find;
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

    #[test]
    fn no_words_of_any_command_panic() {
        for command in super::super::COMMANDS {
            for length in 0..8 {
                for word in ["", "-1", "0", "1", "9223372036854775807", "STREAMS", "KEYS", "STORE"] {
                    let args = vec![word.as_bytes(); length];
                    let _ = first_key(command, &args);
                }
            }
        }
    }
}
