//! Which error of a connection is worth another try, and when.
//!
//! Errors and elapsed times come in from the loader, verdicts and delays go back. No clock in here.

use std::time::Duration;

use crate::config::Retry;
use crate::error::Error;

/// What to do after an error of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass by itself: connect again, as `Backoff` says.
    Retry,
    /// Somebody has to change something first.
    GiveUp,
}

impl Verdict {
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Connect { .. }
            | Error::TlsInterrupted { .. }
            | Error::ConnectionLost { .. }
            | Error::Stalled { .. } => Self::Retry,
            Error::InvalidArgument(_)
            | Error::InvalidOption(_)
            | Error::ForbiddenCommand(_)
            | Error::BufferFull(_)
            | Error::Closed
            | Error::Aborted
            | Error::Unsupported(_)
            | Error::Denied { .. }
            | Error::Tls { .. }
            | Error::Auth { .. }
            | Error::Protocol { .. }
            | Error::Refused { .. }
            | Error::Io { .. }
            | Error::Internal(_) => Self::GiveUp,
        }
    }
}

/// The delays between tries: from `min_delay`, doubling up to `max_delay`, each shortened by up to
/// half at random, so that many clients of one restarted server do not come back in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// Tries allowed without progress; `None`: no limit.
    allowed: Option<u32>,
    used: u32,
    delay: Duration,
    min_delay: Duration,
    max_delay: Duration,
    max_elapsed: Duration,
}

impl Backoff {
    /// For the very first connection: `first_connect` further tries, none where `attempts` is 0.
    pub fn first_connect(retry: &Retry) -> Self {
        let allowed = match retry.attempts {
            Some(0) => 0,
            _ => retry.first_connect,
        };
        Self::new(Some(allowed), retry)
    }

    /// For every later connection, and for work that the server refuses for now.
    pub fn reconnect(retry: &Retry) -> Self {
        Self::new(retry.attempts, retry)
    }

    fn new(allowed: Option<u32>, retry: &Retry) -> Self {
        Self {
            allowed,
            used: 0,
            delay: retry.min_delay,
            min_delay: retry.min_delay,
            max_delay: retry.max_delay,
            max_elapsed: retry.max_elapsed,
        }
    }

    /// How long to wait before the next try, `None` if there is to be none.
    ///
    /// `elapsed` counts from the last progress. The wait never goes beyond `max_elapsed`, so that
    /// the last try is made when the time is up.
    pub fn next(&mut self, elapsed: Duration) -> Option<Duration> {
        if self.is_used_up(elapsed) {
            return None;
        }
        let left = self.max_elapsed.saturating_sub(elapsed);
        self.used = self.used.saturating_add(1);
        let delay = self.delay.min(self.max_delay);
        self.delay = delay.saturating_mul(2);
        Some(delay.mul_f64(0.5 + fastrand::f64() / 2.0).min(left))
    }

    /// There will be no further try, unless something goes through.
    pub fn is_used_up(&self, elapsed: Duration) -> bool {
        elapsed >= self.max_elapsed || self.allowed.is_some_and(|allowed| self.used >= allowed)
    }

    /// Something went through: counts and delays start anew.
    pub fn progress(&mut self) {
        self.used = 0;
        self.delay = self.min_delay;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> Retry {
        Retry {
            first_connect: 3,
            attempts: None,
            max_elapsed: Duration::from_secs(600),
            min_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(2),
        }
    }

    fn named(make: impl Fn(String, String) -> Error) -> Error {
        make("h:1".into(), "x".into())
    }

    #[test]
    fn every_error_has_its_verdict() {
        let passing = [
            named(|address, reason| Error::Connect { address, reason }),
            named(|address, reason| Error::TlsInterrupted { address, reason }),
            named(|address, reason| Error::ConnectionLost { address, reason }),
            named(|address, _| Error::Stalled {
                address,
                after: Duration::from_millis(1),
            }),
        ];
        let lasting = [
            Error::InvalidArgument("x".into()),
            Error::InvalidOption("x".into()),
            Error::ForbiddenCommand("x".into()),
            Error::BufferFull("x".into()),
            Error::Closed,
            Error::Aborted,
            Error::Unsupported("x".into()),
            named(|address, reason| Error::Denied { address, reason }),
            named(|address, reason| Error::Tls { address, reason }),
            named(|address, reason| Error::Auth { address, reason }),
            named(|address, reason| Error::Protocol { address, reason }),
            named(|address, reason| Error::Refused { address, reason }),
            Error::Internal("x".into()),
        ];
        for error in passing {
            assert_eq!(Verdict::of(&error), Verdict::Retry, "{error}");
        }
        for error in lasting {
            assert_eq!(Verdict::of(&error), Verdict::GiveUp, "{error}");
        }
    }

    #[test]
    fn delays_double_up_to_the_ceiling_within_the_jitter() {
        for _ in 0..100 {
            let mut backoff = Backoff::reconnect(&retry());
            for full in [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000] {
                let delay = backoff.next(Duration::ZERO).unwrap();
                let full = Duration::from_millis(full);
                assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            }
        }
    }

    #[test]
    fn jitter_uses_its_whole_range() {
        let delays: Vec<_> = (0..1000)
            .map(|_| Backoff::reconnect(&retry()).next(Duration::ZERO).unwrap())
            .collect();
        assert!(delays.iter().any(|delay| delay.as_micros() < 26_000));
        assert!(delays.iter().any(|delay| delay.as_micros() > 49_000));
    }

    #[test]
    fn the_first_connection_has_its_own_count() {
        let mut backoff = Backoff::first_connect(&retry());
        for _ in 0..3 {
            assert!(backoff.next(Duration::ZERO).is_some());
        }
        assert_eq!(backoff.next(Duration::ZERO), None);
    }

    #[test]
    fn no_attempts_means_no_repeats_at_all() {
        let none = Retry {
            attempts: Some(0),
            ..retry()
        };
        assert_eq!(Backoff::first_connect(&none).next(Duration::ZERO), None);
        assert_eq!(Backoff::reconnect(&none).next(Duration::ZERO), None);
    }

    #[test]
    fn progress_starts_anew() {
        let mut backoff = Backoff::reconnect(&Retry {
            attempts: Some(2),
            ..retry()
        });
        for _ in 0..2 {
            assert!(backoff.next(Duration::ZERO).is_some());
        }
        assert_eq!(backoff.next(Duration::ZERO), None);
        backoff.progress();
        assert!(backoff.next(Duration::ZERO).unwrap() <= Duration::from_millis(50));
    }

    #[test]
    fn the_wait_ends_with_the_time_allowed() {
        let mut backoff = Backoff::reconnect(&retry());
        let almost = Duration::from_millis(599_999);
        assert_eq!(backoff.next(almost), Some(Duration::from_millis(1)));
        assert_eq!(backoff.next(Duration::from_secs(600)), None);
        assert_eq!(backoff.next(Duration::from_secs(700)), None);
    }

    #[test]
    fn a_floor_above_the_ceiling_does_no_harm() {
        let mut backoff = Backoff::reconnect(&Retry {
            min_delay: Duration::from_secs(9),
            ..retry()
        });
        assert!(backoff.next(Duration::ZERO).unwrap() <= Duration::from_secs(2));
    }
}
