//! What became of commands: counted, with details of the first failures.

use std::collections::BTreeMap;

/// `commands == succeeded + failed + unknown` once the work it tells of is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub commands: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub unknown: u64,
    pub bytes: u64,
    /// Failures by code.
    pub errors: BTreeMap<String, u64>,
    /// The first of them, at most `maxFailures`.
    pub failures: Vec<Failure>,
}

/// A command that certainly was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its place among the commands of its `exec()`, or of its load, from 0.
    pub index: u64,
    /// Of a load: the row that it comes from.
    pub origin: Option<Origin>,
    /// In upper case: `HSET`.
    pub command: String,
    pub key: Option<Vec<u8>>,
    /// First word of the error reply, or a code of respipe.
    pub code: String,
    pub message: String,
}

/// Where a command of a load comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The number of the load.
    pub load: u32,
    /// From 0.
    pub row: u64,
    /// Of a file, from 1.
    pub line: Option<u64>,
}

impl Failure {
    /// Bytes that it occupies, about.
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.command.len()
            + self.key.as_ref().map_or(0, Vec::len)
            + self.code.len()
            + self.message.len()
    }
}

/// Distinct codes that are counted under their own name. A server has a few dozen; only a hostile one has more,
/// and those are counted together as `OTHER`.
const MAX_CODES: usize = 128;

impl Outcome {
    /// Counts `count` failures under `code`.
    pub fn count_failures(&mut self, code: &str, count: u64) {
        if count == 0 {
            return;
        }
        self.failed += count;
        self.count_code(code, count);
    }

    /// A command that was never made: counted, and kept where fewer than `max_failures` are.
    pub fn fail(&mut self, failure: Failure, max_failures: usize) {
        self.commands += 1;
        self.count_failures(&failure.code, 1);
        if self.failures.len() < max_failures {
            self.failures.push(failure);
        }
    }

    /// Adds what another outcome counted, and its failures up to `max_failures`.
    pub fn add(&mut self, other: Self, max_failures: usize) {
        self.commands += other.commands;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.bytes += other.bytes;
        for (code, count) in other.errors {
            self.count_code(&code, count);
        }
        let room = max_failures.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }

    fn count_code(&mut self, code: &str, count: u64) {
        if let Some(counted) = self.errors.get_mut(code) {
            *counted += count;
        } else {
            let code = if self.errors.len() < MAX_CODES { code } else { "OTHER" };
            *self.errors.entry(code.to_owned()).or_default() += count;
        }
    }
}
