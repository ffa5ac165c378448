//! Whether all that was written to one key in doubt can be written again.
//!
//! In come the effects of the commands in doubt on a key, in order; out goes whether any number of them, run before
//! the connection was lost, and then all of them again leave the key as all of them once. (Once at the time of the
//! repetition: a time to live that has run out since has run out.) Keys do not depend on each other, as no command
//! that reads one key and writes another is ever repeated.
//!
//! That each command can be repeated is not enough: EXPIRE and then HSET leave a new key without a time to live, and
//! both again leave it with one. What holds is
//!
//! - behind a command that replaces the key, everything comes out the same;
//! - commands that add and create can be repeated in any mixture: what the first one created is there;
//! - what changes or removes can be repeated behind these, as nothing comes back behind it;
//! - EXPIRE may stand between those that add, once one of them has made sure of the key.
//!
//! Two things stay outside: what other clients write; and a key that is used as two types without being replaced in
//! between, where the repetition may find another type than the first time.

use super::Effect;

/// The commands in doubt on one key, from the first to the last so far.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
pub enum Chain {
    #[default]
    Untouched,
    /// One replaced the key, whatever others did.
    Replaced,
    /// The key is there since the first; time to live aside, they only added to it.
    Adding,
    /// What the key had, perhaps with additions, was changed or removed.
    Changing,
    /// One that must stay alone.
    Alone,
    /// The repetition may differ, until the key is replaced.
    Mixed,
    /// One cannot be repeated.
    Once,
}

impl Chain {
    /// With one more command behind it.
    #[must_use]
    pub fn then(self, effect: Effect) -> Self {
        match (self, effect) {
            (chain, Effect::Nothing) => chain,
            (Self::Once, _) | (_, Effect::Once) => Self::Once,
            (Self::Replaced, _) | (_, Effect::Replaces) => Self::Replaced,
            (Self::Untouched | Self::Adding, Effect::Adds) | (Self::Adding, Effect::Expires) => Self::Adding,
            (Self::Untouched | Self::Changing, Effect::Expires) => Self::Changing,
            (Self::Untouched | Self::Adding | Self::Changing, Effect::Changes) => Self::Changing,
            (Self::Untouched, Effect::Alone) => Self::Alone,
            (_, Effect::Adds | Effect::Expires | Effect::Changes | Effect::Alone) => Self::Mixed,
        }
    }

    /// Whether all of them can be sent again; where not, none of them may be.
    pub fn is_repeatable(self) -> bool {
        !matches!(self, Self::Mixed | Self::Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of two fields or a set with two scores, or in the first part a string; and a time to live.
    #[derive(Debug, PartialEq, Eq, Clone, Copy)]
    struct Key {
        parts: [Option<u8>; 2],
        expires: Option<u8>,
    }

    const MISSING: Key = Key {
        parts: [None; 2],
        expires: None,
    };

    impl Key {
        fn is_there(self) -> bool {
            self.parts != MISSING.parts
        }

        fn part(mut self, at: usize, value: Option<u8>) -> Self {
            self.parts[at] = value;
            if self.is_there() { self } else { MISSING }
        }

        fn expire(self, expires: Option<u8>) -> Self {
            if self.is_there() {
                Self { expires, ..self }
            } else {
                self
            }
        }
    }

    type Step = (&'static str, Effect, fn(Key) -> Key);

    /// Commands on that key, as a server runs them: on any type, on strings, and on what has parts.
    const COMMON: [Step; 9] = [
        ("DEL", Effect::Replaces, |_| MISSING),
        ("SET", Effect::Replaces, |_| MISSING.part(0, Some(1))),
        ("SET EX", Effect::Replaces, |_| MISSING.part(0, Some(2)).expire(Some(5))),
        ("EXPIRE", Effect::Expires, |key| key.expire(Some(3))),
        ("EXPIRE 0", Effect::Expires, |_| MISSING),
        ("PERSIST", Effect::Expires, |key| key.expire(None)),
        ("EXPIRE NX", Effect::Changes, |key| key.expire(key.expires.or(Some(4)))),
        ("EXPIRE LT", Effect::Changes, |key| {
            key.expire(Some(key.expires.map_or(2, |time| time.min(2))))
        }),
        ("EXPIRE GT", Effect::Alone, |key| {
            key.expire(key.expires.map(|time| time.max(6)))
        }),
    ];
    const STRINGS: [Step; 4] = [
        ("SET KEEPTTL", Effect::Adds, |key| key.part(0, Some(4))),
        ("SET NX", Effect::Adds, |key| {
            if key.is_there() { key } else { key.part(0, Some(1)) }
        }),
        ("SET NX EX", Effect::Adds, |key| {
            if key.is_there() {
                key
            } else {
                key.part(0, Some(1)).expire(Some(6))
            }
        }),
        ("SET XX", Effect::Changes, |key| {
            if key.is_there() { MISSING.part(0, Some(3)) } else { key }
        }),
    ];
    const PARTS: [Step; 8] = [
        ("HSET 0", Effect::Adds, |key| key.part(0, Some(3))),
        ("HSET 1", Effect::Adds, |key| key.part(1, Some(3))),
        ("HSETNX 0", Effect::Adds, |key| key.part(0, key.parts[0].or(Some(4)))),
        ("ZADD GT 0", Effect::Adds, |key| key.part(0, key.parts[0].max(Some(5)))),
        ("ZADD LT 0", Effect::Adds, |key| {
            key.part(0, Some(key.parts[0].map_or(2, |score| score.min(2))))
        }),
        ("HDEL 0", Effect::Changes, |key| key.part(0, None)),
        ("HDEL 1", Effect::Changes, |key| key.part(1, None)),
        ("ZADD XX 0", Effect::Changes, |key| key.part(0, key.parts[0].map(|_| 1))),
    ];

    fn states() -> Vec<Key> {
        let mut states = vec![MISSING];
        for parts in [[Some(1), None], [None, Some(3)], [Some(3), Some(1)], [Some(7), Some(7)]] {
            states.extend([None, Some(1), Some(6)].map(|expires| Key { parts, expires }));
        }
        states
    }

    fn run(steps: &[Step], key: Key) -> Key {
        steps.iter().fold(key, |key, (_, _, step)| step(key))
    }

    fn chain(steps: &[Step]) -> Chain {
        steps
            .iter()
            .fold(Chain::default(), |chain, (_, effect, _)| chain.then(*effect))
    }

    fn repeats(steps: &[Step]) -> bool {
        let again = |key, run_before: usize| run(steps, run(&steps[..run_before], key));
        states()
            .into_iter()
            .all(|key| (0..=steps.len()).all(|run_before| again(key, run_before) == run(steps, key)))
    }

    fn named(names: &[&str]) -> Vec<Step> {
        let all = [COMMON.as_slice(), &STRINGS, &PARTS].concat();
        let step = |name: &&str| *all.iter().find(|(other, ..)| other == name).unwrap();
        names.iter().map(step).collect()
    }

    #[test]
    fn every_chain_that_is_called_repeatable_is() {
        for of_a_type in [STRINGS.as_slice(), &PARTS] {
            let all = [COMMON.as_slice(), of_a_type].concat();
            let mut chains: Vec<Vec<Step>> = vec![vec![]];
            // As many as any known mistake needs; of four, which take seconds, none is mistaken either.
            for _ in 0..3 {
                let longer = |steps: &Vec<Step>| all.iter().map(|step| [steps.as_slice(), &[*step]].concat()).collect();
                chains = chains.iter().flat_map::<Vec<_>, _>(longer).collect();
                for steps in &chains {
                    let names = || steps.iter().map(|(name, ..)| *name).collect::<Vec<_>>();
                    assert!(!chain(steps).is_repeatable() || repeats(steps), "{:?}", names());
                }
            }
        }
    }

    #[test]
    fn chains_that_loads_are_made_of_are_repeatable() {
        let chains: [&[&str]; 9] = [
            &[],
            &["HSET 0", "HSET 1", "EXPIRE"],
            &["DEL", "HSET 0", "HSET 1", "EXPIRE NX"],
            &["HSET 0", "EXPIRE", "HSET 1", "EXPIRE"],
            &["SET EX", "SET EX", "EXPIRE GT"],
            &["HSET 0", "HDEL 1", "EXPIRE"],
            &["HDEL 0", "HDEL 1"],
            &["ZADD GT 0", "ZADD LT 0", "HSETNX 0"],
            &["EXPIRE GT"],
        ];
        for names in chains {
            assert!(chain(&named(names)).is_repeatable(), "{names:?}");
        }
    }

    #[test]
    fn commands_that_can_be_repeated_are_not_in_every_order() {
        let chains: [&[&str]; 6] = [
            &["EXPIRE", "HSET 0"],
            &["ZADD XX 0", "HSETNX 0"],
            &["ZADD XX 0", "ZADD LT 0"],
            &["EXPIRE GT", "EXPIRE NX"],
            &["SET XX", "SET NX"],
            &["HDEL 0", "HSET 0", "HDEL 1"],
        ];
        for names in chains {
            let steps = named(names);
            assert!(steps.iter().all(|step| repeats(&[*step])), "{names:?}");
            assert!(!repeats(&steps), "{names:?}");
            assert_eq!(chain(&steps), Chain::Mixed, "{names:?}");
            assert_eq!(chain(&steps).then(Effect::Replaces), Chain::Replaced);
        }
    }

    #[test]
    fn reads_change_nothing_and_what_counts_spoils_all() {
        for effect in [
            Effect::Nothing,
            Effect::Replaces,
            Effect::Adds,
            Effect::Expires,
            Effect::Changes,
            Effect::Alone,
        ] {
            let chain = Chain::default().then(effect);
            assert_eq!(chain.then(Effect::Nothing), chain);
            assert!(chain.is_repeatable());
            let once = chain.then(Effect::Once);
            assert_eq!((once, once.then(effect)), (Chain::Once, Chain::Once));
            assert!(!once.is_repeatable());
        }
    }
}
