//! Holds writing back, so that a server which others use is sent no more than the user wants, and that evenly.
//!
//! Two limits and the clock come in, an allowance for the exchange goes out, and when there will be more. What was
//! allowed is paid for at once, whether or not the stream takes it; so each connection of a pipeline goes on at the same pace.

use std::mem;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

use super::state::Exchange;
use crate::config::Throttle;

/// What a limit leaves unused is made up for up to so much later, and no more: as long as a busy machine may keep the
/// runtime's thread from its turn, and short enough that no server sees it as a burst.
const BURST: Duration = Duration::from_millis(20);

/// So much is written at once, or a command or byte where that takes longer: each write wakes the thread and the server.
const GRAIN: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub struct Pace {
    commands: Option<Limit>,
    bytes: Option<Limit>,
    /// When holding back began, and when it ends.
    hold: Option<(Instant, Instant)>,
    held: Duration,
}

impl Pace {
    /// None where nothing is limited.
    pub fn of(throttle: Throttle) -> Option<Self> {
        let Throttle {
            commands_per_second,
            bytes_per_second,
        } = throttle;
        (commands_per_second.is_some() || bytes_per_second.is_some()).then(|| Self {
            commands: commands_per_second.map(Limit::new),
            bytes: bytes_per_second.map(Limit::new),
            hold: None,
            held: Duration::ZERO,
        })
    }

    /// Lets the exchange write what the limits leave by now. Where that is nothing: when to come again.
    pub fn allow(&mut self, exchange: &mut Exchange) -> Option<Instant> {
        if !exchange.wants_allowance() {
            return None;
        }
        let now = Instant::now();
        let commands = self.commands.as_mut().map_or(u64::MAX, |limit| limit.left(now));
        let bytes = self.bytes.as_mut().map_or(u64::MAX, |limit| limit.left(now));
        let taken = exchange.allow(commands, usize::try_from(bytes).unwrap_or(usize::MAX));
        if taken.bytes == 0 {
            let limits = self.commands.iter().chain(&self.bytes);
            let until = limits.map(Limit::ready_at).filter(|at| *at > now).min()?;
            let (since, _) = self.hold.unwrap_or((now, until));
            self.hold = Some((since, until));
            return Some(until);
        }
        if let Some(limit) = &mut self.commands {
            limit.take(taken.commands);
        }
        if let Some(limit) = &mut self.bytes {
            limit.take(taken.bytes as u64);
        }
        if let Some((since, until)) = self.hold.take() {
            self.held += until.min(now) - since;
        }
        None
    }

    /// For how long writing was held back, since the last look.
    pub fn take_held(&mut self) -> Duration {
        mem::take(&mut self.held)
    }
}

/// So many of something in a second.
#[derive(Debug)]
struct Limit {
    per_second: NonZeroU64,
    /// Time that is not used yet.
    credit: Duration,
    /// When that was so.
    at: Instant,
}

impl Limit {
    fn new(per_second: NonZeroU64) -> Self {
        let mut limit = Self {
            per_second,
            credit: Duration::ZERO,
            at: Instant::now(),
        };
        limit.credit = limit.most();
        limit
    }

    /// How many there may be now; none where they are fewer than what is written at once.
    fn left(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at);
        self.credit = (self.credit + passed).min(self.most());
        self.at = now;
        let left = self.within(self.credit);
        if left < self.grain() { 0 } else { left }
    }

    fn take(&mut self, count: u64) {
        self.credit = self.credit.saturating_sub(self.cost(count));
    }

    /// When there is enough for a write.
    fn ready_at(&self) -> Instant {
        self.at + self.cost(self.grain()).saturating_sub(self.credit)
    }

    /// One that takes longer than the burst has to fit as well.
    fn most(&self) -> Duration {
        BURST + self.cost(1)
    }

    fn grain(&self) -> u64 {
        self.within(GRAIN).max(1)
    }

    fn within(&self, time: Duration) -> u64 {
        let count = time.as_nanos() * u128::from(self.per_second.get()) / NANOS;
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Rounded up, so that the count is there once that time has passed.
    fn cost(&self, count: u64) -> Duration {
        let nanos = (u128::from(count) * NANOS).div_ceil(u128::from(self.per_second.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests;
