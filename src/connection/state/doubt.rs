//! Of what was written and not answered when a connection was lost: what may be sent again, and what nobody knows.
//!
//! Commands that share keys, directly or by way of others, share their fate: else an older one could be done
//! after a newer.

use std::collections::{HashMap, HashSet, VecDeque};

use super::frame::{Data, Doubt};
use crate::command::{self, Chain, Effect, Keys};
use crate::config::Resend;

/// A command, or the commands of a transaction, in words.
pub(super) type Unit<'a> = Vec<Vec<&'a [u8]>>;

/// The commands of one transaction.
pub(super) fn unit_of(data: &VecDeque<Data>) -> Unit<'_> {
    let commands = data.iter().flat_map(|data| data.all_words(0..data.commands()));
    commands.collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Unknown,
    Again(Doubt),
}

/// What is to become of each of `units`.
pub(super) fn decide(units: &[Unit<'_>], resend: Resend) -> Vec<Fate> {
    if resend == Resend::None {
        return vec![Fate::Unknown; units.len()];
    }
    let mut groups = Groups::of(units);
    let is_safe: Vec<bool> = (0..units.len()).map(|at| groups.is_safe(at)).collect();
    let mut members = vec![0_u32; units.len()];
    (0..units.len()).for_each(|at| members[groups.root(at)] += 1);
    (0..units.len())
        .map(|at| {
            if resend == Resend::Idempotent && !is_safe[at] {
                return Fate::Unknown;
            }
            let alone = is_safe[at] && members[groups.root(at)] == 1;
            Fate::Again(if alone { Doubt::Alone } else { Doubt::Shared })
        })
        .collect()
}

/// The keys that units write; `None` where these may be any. What was refused before one of them must not be done
/// after it: the newer value stays.
pub(super) fn written_keys(units: &[Unit<'_>]) -> Option<HashSet<Vec<u8>>> {
    let mut written = HashSet::new();
    for words in units.iter().flatten() {
        if command::effect(words) == Effect::Nothing {
            continue;
        }
        match command::keys(words) {
            Keys::All => return None,
            Keys::These(keys) => written.extend(keys.into_iter().map(<[u8]>::to_vec)),
        }
    }
    Some(written)
}

/// Which units are connected by keys that they write.
struct Groups {
    /// A forest in which each unit points towards the root of its group.
    towards: Vec<usize>,
    /// By root: one of its commands, or what they do to one key in turn, cannot be repeated.
    broken: Vec<bool>,
    /// One that cannot be repeated touches everything.
    everything: bool,
}

impl Groups {
    fn of<'a>(units: &[Unit<'a>]) -> Self {
        let mut groups = Self {
            towards: (0..units.len()).collect(),
            broken: vec![false; units.len()],
            everything: false,
        };
        // By key: the first unit that writes it, and what they all do to it.
        let mut written = HashMap::<&'a [u8], (usize, Chain)>::new();
        let mut broken = Vec::new();
        for (at, unit) in units.iter().enumerate() {
            for words in unit {
                let effect = command::effect(words);
                if effect == Effect::Nothing {
                    continue;
                }
                if effect == Effect::Once {
                    broken.push(at);
                }
                match command::keys(words) {
                    Keys::All => groups.everything = true,
                    Keys::These(keys) => {
                        for key in keys {
                            let (first, chain) = written.entry(key).or_insert((at, Chain::default()));
                            *chain = chain.then(effect);
                            let (one, other) = (groups.root(at), groups.root(*first));
                            groups.towards[one] = other;
                        }
                    }
                }
            }
        }
        let chains = written.into_values().filter(|(_, chain)| !chain.is_repeatable());
        broken.extend(chains.map(|(first, _)| first));
        for at in broken {
            let root = groups.root(at);
            groups.broken[root] = true;
        }
        groups
    }

    fn is_safe(&mut self, at: usize) -> bool {
        let root = self.root(at);
        !self.everything && !self.broken[root]
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.towards[at] != at {
            // Halves the way for the next one.
            self.towards[at] = self.towards[self.towards[at]];
            at = self.towards[at];
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Fate = Fate::Unknown;
    const ALONE: Fate = Fate::Again(Doubt::Alone);
    const SHARED: Fate = Fate::Again(Doubt::Shared);

    /// Transactions are separated by `;` from each other, their commands by `,`.
    fn fates(text: &str, resend: Resend) -> Vec<Fate> {
        let command = |command: &'static str| command.trim().split(' ').map(str::as_bytes).collect();
        let text: &'static str = String::leak(text.to_owned());
        let units: Vec<Unit<'_>> = text
            .split(';')
            .map(|unit| unit.split(',').map(command).collect())
            .collect();
        decide(&units, resend)
    }

    #[test]
    fn only_what_leaves_the_same_state_is_sent_again() {
        assert_eq!(
            fates("SET a 1; INCR b; HSET c f 1; PUBLISH d 1; GET e", Resend::Idempotent),
            [ALONE, UNKNOWN, ALONE, UNKNOWN, ALONE]
        );
        assert_eq!(fates("SET a 1; INCR b", Resend::All), [ALONE, SHARED]);
        assert_eq!(fates("SET a 1; GET b", Resend::None), [UNKNOWN; 2]);
    }

    #[test]
    fn a_key_that_cannot_be_repeated_holds_back_all_commands_that_touch_it() {
        assert_eq!(
            fates("SET a 1; INCR a; SET b 1; SET b 2", Resend::Idempotent),
            [UNKNOWN, UNKNOWN, SHARED, SHARED]
        );
        // By way of others: had the MSET been done, the SET of b would be older than it.
        assert_eq!(
            fates("SET b 2; MSET a 1 b 1; INCR a; SET c 1", Resend::Idempotent),
            [UNKNOWN, UNKNOWN, UNKNOWN, ALONE]
        );
    }

    #[test]
    fn commands_that_can_be_repeated_may_not_be_together() {
        // The hash is new: repeated, it would have the time to live.
        assert_eq!(
            fates("EXPIRE a 100; HSET a f 1; HSET b f 1; EXPIRE b 100", Resend::Idempotent),
            [UNKNOWN, UNKNOWN, SHARED, SHARED]
        );
    }

    #[test]
    fn reads_hold_nothing_back() {
        assert_eq!(
            fates("SET a 1; MGET a b; INCR b", Resend::Idempotent),
            [ALONE, ALONE, UNKNOWN]
        );
    }

    #[test]
    fn what_touches_everything_holds_back_everything() {
        assert_eq!(fates("SET a 1; FLUSHALL; SET b 1", Resend::Idempotent), [UNKNOWN; 3]);
        assert_eq!(fates("SET a 1; FLUSHALL", Resend::All), [SHARED; 2]);
    }

    #[test]
    fn of_an_unknown_command_every_argument_may_be_a_key() {
        assert_eq!(
            fates("MODULE.ADD x a; SET a 1; SET b 1", Resend::Idempotent),
            [UNKNOWN, UNKNOWN, ALONE]
        );
    }

    #[test]
    fn a_transaction_is_sent_again_whole_or_not() {
        assert_eq!(
            fates("SET a 1, SET b 1; SET b 2, INCR c; SET d 1", Resend::Idempotent),
            [UNKNOWN, UNKNOWN, ALONE]
        );
    }
}
