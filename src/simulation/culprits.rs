//! Commands that end their connection, in the load and at the server.

use fastrand::Rng;

use super::pipe::wake;
use super::plan::{End, Options, Plan, Planned};
use super::run::Log;
use super::server::Session;
use super::world::{Event, World};
use crate::config::Replies;

/// A word that the server cannot read, as if it were longer than `proto-max-bulk-len`.
const UNREADABLE: &str = "unreadable";

/// The end of a connection may have overtaken what was said last.
pub(super) const LOST_REFUSAL: &str = "a refusal that may be lost";

pub(super) const REFUSAL: &str = "-ERR Protocol error: invalid bulk length\r\n";

/// Puts such commands into the load of one run in five, in place of others. Drawn apart, so that all else of a plan is the
/// same with it.
pub(super) fn put_in(batches: &mut [Planned], options: &Options, seed: u64) {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if rng.u8(..5) > 0 || options.replies == Replies::Off {
        return;
    }
    for _ in 0..rng.usize(1..4) {
        let batch = &mut batches[rng.usize(..batches.len())];
        let at = rng.usize(..batch.commands.len());
        let command = &mut batch.commands[at];
        if !command.starts_with("UNKNOWN") {
            let tag = command.rsplit(' ').next().unwrap_or_default();
            // Long enough to be written in parts.
            *command = format!(
                "SET s{} {UNREADABLE} {} {tag}",
                rng.u8(..3),
                "x".repeat(rng.usize(1..80))
            );
        }
    }
}

pub(super) fn is_unreadable(command: &str) -> bool {
    command.split(' ').any(|word| word == UNREADABLE)
}

/// Such a command is named, and costs no other one anything, where nothing else goes wrong.
pub(super) fn check(plan: &Plan, log: &Log) -> Result<(), String> {
    let options = &plan.options;
    let sound = plan.hazards.is_empty() && plan.troubles.is_empty() && options.stop_after.is_none();
    // Where pieces are small, a connection may be told to let the next one go before the server holds that back.
    let rotates = options.reconnect_every > 0;
    if !sound || rotates || options.replies == Replies::Off || log.seen.contains(LOST_REFUSAL) {
        return Ok(());
    }
    let totals = &log.stats.totals.outcome;
    if totals.unknown > 0 {
        return Err(format!("{} are unknown without a reason", totals.unknown));
    }
    let in_batch = |batch: &Planned| {
        let unreadable = batch.commands.iter().filter(|command| is_unreadable(command)).count();
        // Behind the first one the rest of a transaction is not even looked at.
        let only_one = plan.is_transaction(batch) && options.checkpoint.is_none();
        if only_one { unreadable.min(1) } else { unreadable }
    };
    let unreadable: usize = plan.batches.iter().map(in_batch).sum();
    let told = log.reports.iter().flat_map(|report| &report.outcome.failures);
    let named = told
        .filter(|failure| failure.message.contains("Protocol error"))
        .count();
    if named != unreadable && totals.failed <= options.max_failures as u64 {
        return Err(format!(
            "{named} of {unreadable} commands that cannot be read are named"
        ));
    }
    Ok(())
}

impl World {
    /// The server cannot read what is next, of which some may still be missing: it says so, and closes the connection.
    /// Tells whether it does.
    pub(super) fn reads_no_further(&mut self, at: usize, session: &Session, next: &[u8], whole: Option<usize>) -> bool {
        let there = &next[..whole.unwrap_or(next.len())];
        let word = format!("\r\n{UNREADABLE}\r\n");
        if memchr::memmem::find(there, word.as_bytes()).is_none() {
            return false;
        }
        self.note("a command that cannot be read");
        if whole.is_none() {
            self.note("a command of which half cannot be read");
        }
        self.tell(|| format!("connection {at}: a command that cannot be read"));
        self.server.close(session.id);
        self.pipes[at].reply(0, REFUSAL);
        true
    }

    /// Closes a connection behind what was said last. With commands unread that is a reset, which may overtake it.
    pub(super) fn end_behind_refusal(&mut self, at: usize) {
        let end = if self.rng.bool() { End::Fin } else { End::Reset };
        if self.rng.u8(..4) == 0 {
            self.note(LOST_REFUSAL);
            return self.end_by_server(at);
        }
        let pipe = &mut self.pipes[at];
        pipe.up.end_here(End::Fin);
        pipe.up.arrived.clear();
        pipe.down.end(pipe.down.flying(), end);
        wake(&mut pipe.writer);
        let lag = self.lag();
        self.schedule(lag, Event::Down(at, 0));
    }
}
