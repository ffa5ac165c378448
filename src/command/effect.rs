//! What a command does to its keys, as far as sending it again goes.
//!
//! After a lost connection, commands in doubt come in with their words; out goes which of them leave the same state
//! when repeated. What several of them on one key leave is for [`Chain`](super::Chain) to say.

use super::Command;

/// What a command does to each of its keys; a greater one is harder to repeat.
///
/// It speaks of the state that is left, not of replies: SETNX answers otherwise the second time, GET and SET … GET
/// with what the first time left. A time to live counts from the repetition.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub enum Effect {
    /// None: it reads, or has no key and no effect elsewhere.
    Nothing,
    /// Leaves the key the same whatever was there: SET, DEL.
    Replaces,
    /// Gives parts of a key a value, or creates them; the key is there afterwards: HSET, SADD, SETNX.
    Adds,
    /// Gives a key that is there a time to live, or takes it: EXPIRE.
    Expires,
    /// Changes or removes what is there, and creates nothing: HDEL, LSET, SET … XX.
    Changes,
    /// Can be repeated where nothing else changes the key: EXPIRE … GT.
    Alone,
    /// Twice is not once, or the second time is refused: INCR, LPUSH, XADD; and all that is not known.
    Once,
}

/// The effect of a command in words.
pub fn effect(words: &[&[u8]]) -> Effect {
    super::of(words).map_or(Effect::Once, |command| command.effect_of(words))
}

/// Whether a command in words can be repeated without leaving another state than once, nothing else being changed
/// in between. Among others on the same key, [`Chain`](super::Chain) tells.
pub fn is_repeatable(words: &[&[u8]]) -> bool {
    effect(words) != Effect::Once
}

impl Command {
    /// `words` begin with the name of this command.
    fn effect_of(&self, words: &[&[u8]]) -> Effect {
        let Some(stronger) = &self.stronger else {
            return self.effect;
        };
        let name = self.name.split(' ').count();
        let options = words.get(name + usize::from(stronger.from)..).unwrap_or_default();
        let effects = options.iter().filter_map(|option| {
            let known = |(word, _): &&(&str, Effect)| option.eq_ignore_ascii_case(word.as_bytes());
            stronger.words.iter().find(known).map(|(_, effect)| *effect)
        });
        effects.fold(self.effect, Effect::max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{COMMANDS, OtherKeys};
    use super::*;

    /// Of a command with blanks between its words; `''` is an empty one.
    fn of(line: &str) -> Effect {
        let words: Vec<&[u8]> = line.split(' ').map(|word| word.trim_matches('\'').as_bytes()).collect();
        assert_eq!(is_repeatable(&words), effect(&words) != Effect::Once);
        effect(&words)
    }

    #[test]
    fn commands_have_the_effect_of_their_family() {
        let families: [(Effect, &[&str]); 7] = [
            (
                Effect::Nothing,
                &[
                    "GET k",
                    "get k",
                    "PING",
                    "ECHO x",
                    "EXISTS k",
                    "TTL k",
                    "DBSIZE",
                    "HGETALL k",
                    "XREAD STREAMS k 0",
                    "EVAL_RO s 0",
                    "PFCOUNT k",
                    "OBJECT ENCODING k",
                    "CONFIG GET x",
                    "COMMAND",
                    "XINFO HELP",
                    "INFO",
                ],
            ),
            (
                Effect::Replaces,
                &[
                    "SET k v",
                    "SET k v EX 10",
                    "SET k v PXAT 10",
                    "SET k v GET",
                    "SET k NX",
                    "SETEX k 1 v",
                    "PSETEX k 1 v",
                    "MSET a 1 b 2",
                    "DEL a b",
                    "UNLINK a",
                    "GETSET k v",
                ],
            ),
            (
                Effect::Adds,
                &[
                    "SET k v NX",
                    "SET k v nx EX 10",
                    "SET k v KEEPTTL",
                    "SETNX k v",
                    "HSET k f v",
                    "HMSET k f v",
                    "HSETNX k f v",
                    "HSETEX k EX 10 FIELDS 1 f v",
                    "SADD k m",
                    "ZADD k 1 m",
                    "ZADD k NX CH 1 m",
                    "ZADD k GT 1 m",
                    "GEOADD k 1 1 m",
                    "PFADD k x",
                    "SETBIT k 1 1",
                    "SETRANGE k 1 x",
                    "BITFIELD k SET u8 0 1",
                    "BITFIELD k OVERFLOW FAIL SET u8 0 1 GET u8 0",
                ],
            ),
            (
                Effect::Expires,
                &[
                    "EXPIRE k 10",
                    "PEXPIRE k 10",
                    "EXPIREAT k 10",
                    "PEXPIREAT k 10",
                    "PERSIST k",
                    "GETEX k EX 10",
                    "GETEX k PERSIST",
                ],
            ),
            (
                Effect::Changes,
                &[
                    "SET k v XX",
                    "SET k v XX KEEPTTL",
                    "ZADD k XX 1 m",
                    "GEOADD k xx 1 1 m",
                    "HDEL k f",
                    "SREM k m",
                    "ZREM k m",
                    "LSET k 0 v",
                    "HEXPIRE k 10 FIELDS 1 f",
                    "HPERSIST k FIELDS 1 f",
                    "EXPIRE k 10 NX",
                    "HGETEX k EX 10 FIELDS 1 f",
                    "XACK k g 1-1",
                    "XDEL k 1-1",
                    "SETRANGE k 0 ''",
                ],
            ),
            (
                Effect::Alone,
                &[
                    "EXPIRE k 10 GT",
                    "PEXPIREAT k 10 XX",
                    "HEXPIRE k 10 GT FIELDS 1 f",
                    "HSETEX k EXAT 10 FIELDS 1 f v",
                ],
            ),
            (
                Effect::Once,
                &[
                    // What is there counts.
                    "INCR k",
                    "DECRBY k 1",
                    "INCRBYFLOAT k 1",
                    "HINCRBY k f 1",
                    "ZINCRBY k 1 m",
                    "ZADD k INCR 1 m",
                    "APPEND k v",
                    "BITFIELD k INCRBY u8 0 1",
                    "BITFIELD k SET u8 0 1 incrby u8 0 1",
                    "SET k v IFEQ w",
                    "SET k v ifdne w",
                    "HSETEX k FNX FIELDS 1 f v",
                    "MSETNX a 1 b 2",
                    // Ends, positions, ranks, scores.
                    "LPUSH k v",
                    "RPUSHX k v",
                    "LPOP k",
                    "LINSERT k BEFORE a b",
                    "LTRIM k 0 1",
                    "LREM k 0 a",
                    "SPOP k",
                    "ZPOPMIN k",
                    "ZMPOP 1 k MIN",
                    "ZREMRANGEBYRANK k 0 1",
                    "ZREMRANGEBYSCORE k 0 1",
                    "ZREMRANGEBYLEX k - +",
                    // From one key to another.
                    "RENAME a b",
                    "COPY a b",
                    "COPY a b REPLACE",
                    "MOVE a 1",
                    "SMOVE a b m",
                    "LMOVE a b LEFT LEFT",
                    "RPOPLPUSH a b",
                    "SUNIONSTORE a b",
                    "ZRANGESTORE a b 0 1",
                    "BITOP NOT a b",
                    "PFMERGE a b",
                    "GEOSEARCHSTORE a b FROMMEMBER m BYRADIUS 1 km",
                    "SORT a STORE b",
                    "GEORADIUS a 1 1 1 km STORE b",
                    "MIGRATE h 1 k 0 1",
                    // The reply is what counts.
                    "GETDEL k",
                    "HGETDEL k FIELDS 1 f",
                    // Streams.
                    "XADD k * f v",
                    "XADD k 1-1 f v",
                    "XTRIM k MAXLEN 1",
                    "XGROUP CREATE k g $",
                    "XCLAIM k g c 1 1-1",
                    "XREADGROUP GROUP g c STREAMS k >",
                    "XSETID k 1-1",
                    // Everything, elsewhere, or not known.
                    "FLUSHALL",
                    "FLUSHDB",
                    "SWAPDB 0 1",
                    "EVAL s 1 k",
                    "FCALL f 1 k",
                    "PUBLISH c m",
                    "SPUBLISH c m",
                    "RESTORE k 0 x REPLACE",
                    "CONFIG SET x 1",
                    "SCRIPT LOAD s",
                    "FUNCTION FLUSH",
                    "CLIENT SETNAME x",
                    "JSON.SET k $ 1",
                    "BF.ADD k x",
                    "CONFIG NO",
                    "CONFIG",
                    "''",
                ],
            ),
        ];
        for (expected, lines) in families {
            for line in lines {
                assert_eq!(of(line), expected, "{line}");
            }
        }
        assert_eq!(effect(&[]), Effect::Once);
    }

    #[test]
    fn commands_that_only_read_unless_told_to_write_do() {
        for line in [
            "SORT k",
            "GEORADIUS k 1 1 1 km",
            "BITFIELD k GET u8 0",
            "GETEX k",
            "HGETEX k FIELDS 1 f",
        ] {
            assert_eq!(of(line), Effect::Nothing, "{line}");
        }
    }

    #[test]
    fn what_reaches_every_key_is_not_repeated() {
        for command in COMMANDS {
            if command.other_keys == OtherKeys::Everywhere {
                assert_eq!(command.effect, Effect::Once, "{}", command.name);
            }
        }
    }

    proptest! {
        #[test]
        fn no_words_panic_and_more_words_are_judged_no_milder(
            command in 0..COMMANDS.len(),
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..6),
            option in prop::sample::select(vec!["NX", "XX", "INCR", "STORE", "IFEQ", "EX", "GT", "SET", "INCRBY", ""]),
        ) {
            let name = COMMANDS[command].name.split(' ').map(str::as_bytes);
            let mut words: Vec<&[u8]> = name.chain(arguments.iter().map(Vec::as_slice)).collect();
            let before = (super::super::of(&words), effect(&words));
            words.push(option.as_bytes());
            if super::super::of(&words) == before.0 {
                prop_assert!(effect(&words) >= before.1);
            }
            let _ = effect(&words[1..]);
        }
    }
}
