//! Whole loads that are throttled, in paused time: when the server has what, with each way of sending, and what the time
//! that the throttle takes does to stalls and to retries.
//!
//! A plan by hand goes in; the log of its run is looked at, which has the time of each command that was done.

use std::num::NonZeroU64;

use super::check::check;
use super::plan::{Asks, End, Hazards, Options, Patience, Perils, Plan, Planned, Weather};
use super::run::{Log, run};
use crate::batch::Wrap;
use crate::config::{Replies, Resend, Throttle, Transaction};
use crate::connection::state::Listening;

/// What is not used is made up for so much later: as in `pace`.
const BURST: u64 = 20;

/// Longer than any run, and not so long that a run with it takes time.
const LONG: u64 = 10_000_000;

/// No limit of time is met by accident.
pub(super) fn options(commands: u64, bytes: u64) -> Options {
    Options {
        replies: Replies::Check,
        transaction: Transaction::Off,
        resend: Resend::Idempotent,
        checkpoint: None,
        window: 1 << 16,
        reconnect_every: 0,
        max_failures: 100,
        stall_timeout: 30_000,
        connect_timeout: 10_000,
        patience: Patience::Plenty,
        max_elapsed: 600_000,
        listening: Listening::No,
        throttle: Throttle {
            commands_per_second: NonZeroU64::new(commands),
            bytes_per_second: NonZeroU64::new(bytes),
        },
        stop_after: None,
    }
}

/// A calm network, and `batches` of so many commands with values of so many bytes, one so long after the other.
pub(super) fn plan(options: Options, batches: usize, commands: usize, value: usize, gap: u64) -> Plan {
    let value = "v".repeat(value);
    let batch = |first: usize| Planned {
        gap,
        commands: (first..first + commands)
            .map(|tag| format!("SET s0 {value} {tag}"))
            .collect(),
        wrap: Wrap::AsConfigured,
        asks: Asks::Report,
    };
    Plan {
        seed: 0,
        options,
        batches: (0..batches).map(|number| batch(number * commands)).collect(),
        weather: Weather {
            latency: 0,
            grain: 1 << 20,
            capacity: 1 << 20,
            turn: 1 << 20,
        },
        hazards: Vec::new(),
        troubles: Vec::new(),
    }
}

/// Runs it; whatever a load promises holds, and all of it was done.
fn complete(plan: &Plan) -> Log {
    let log = run(plan);
    check(plan, &log).unwrap();
    let commands: usize = plan.batches.iter().map(|batch| batch.commands.len()).sum();
    let outcome = &log.stats.totals.outcome;
    let known = match plan.options.replies {
        Replies::Off => outcome.unknown,
        Replies::Check | Replies::Collect => outcome.succeeded,
    };
    assert_eq!(known, commands as u64, "{}", log.trace.join("\n"));
    log
}

/// When the last command was done.
fn took(log: &Log) -> u64 {
    log.applied.last().expect("a command").at
}

#[test]
fn each_way_of_sending_is_as_fast_as_allowed_and_no_faster() {
    const RATE: u64 = 2_000;
    let off = Replies::Off;
    let whole = Transaction::EachBatch;
    let plain = || options(RATE, 0);
    let modes = [
        plain(),
        Options {
            transaction: whole,
            ..plain()
        },
        Options {
            transaction: whole,
            checkpoint: Some("checkpoint"),
            ..plain()
        },
        Options {
            replies: Replies::Collect,
            ..plain()
        },
        Options {
            replies: off,
            ..plain()
        },
        Options {
            replies: off,
            transaction: whole,
            ..plain()
        },
        Options {
            reconnect_every: 1,
            ..plain()
        },
        Options {
            reconnect_every: 3,
            transaction: whole,
            ..plain()
        },
        Options {
            reconnect_every: 2,
            replies: off,
            ..plain()
        },
        Options { window: 100, ..plain() },
    ];
    for options in modes {
        let plan = plan(options, 10, 100, 0, 0);
        let log = complete(&plan);
        let what = format!("{:?}", plan.options);
        for (before, applied) in log.applied.iter().enumerate() {
            let most = (applied.at + BURST + 1) * RATE / 1_000;
            assert!(before as u64 <= most, "{before} at {} ms: {what}", applied.at);
        }
        assert!((475..=505).contains(&took(&log)), "{} ms: {what}", took(&log));
        let every = plan.options.reconnect_every;
        // The last share may be followed by a connection that nothing is left for.
        let [least, most] = [9_u32, 10].map(|batches| batches.checked_div(every).unwrap_or(0));
        let reconnects = log.stats.totals.reconnects;
        assert!(
            (u64::from(least)..=u64::from(most)).contains(&reconnects),
            "{reconnects}: {what}"
        );
    }
}

#[test]
fn batches_that_come_one_by_one_keep_the_rate_together() {
    let log = complete(&plan(options(2_000, 0), 100, 20, 0, 5));
    assert!((975..=1_005).contains(&took(&log)), "{} ms", took(&log));
}

#[test]
fn what_is_sent_again_is_paid_for_again() {
    let mut plan = plan(options(1_000, 0), 1, 600, 0, 0);
    let reset = |bytes| Perils {
        cut: Some((bytes, End::Reset)),
        hold: None,
    };
    // No reply comes through, and then the connection is reset in mid-load.
    plan.hazards = vec![Hazards {
        up: reset(10_000),
        down: Perils {
            cut: None,
            hold: Some((600, LONG)),
        },
        ..Hazards::default()
    }];
    let log = complete(&plan);
    let resent = log.stats.totals.resent;
    assert!((150..600).contains(&resent), "{resent} sent again");
    let expected = 600 + resent;
    let took = took(&log);
    // A lost connection may take what was allowed on it along.
    assert!(
        (expected - BURST - 1..expected + 50).contains(&took),
        "{took} ms in place of {expected}"
    );
    assert_eq!(log.stats.totals.reconnects, 1);
}

#[test]
fn who_is_held_back_by_the_throttle_is_not_stalled() {
    let off = Replies::Off;
    for (options, commands, value, least) in [
        (options(4, 0), 4, 0, 700),
        (options(0, 100_000), 1, 60_000, 550),
        (options(0, 10), 1, 0, 2_000),
        (
            Options {
                replies: off,
                ..options(5, 0)
            },
            3,
            0,
            350,
        ),
        (
            Options {
                transaction: Transaction::EachBatch,
                ..options(5, 0)
            },
            3,
            0,
            350,
        ),
    ] {
        let options = Options {
            stall_timeout: 60,
            ..options
        };
        let what = format!("{options:?}");
        let log = complete(&plan(options, 1, commands, value, 0));
        assert!(took(&log) >= least, "{} ms: {what}", took(&log));
        assert_eq!(log.stats.totals.reconnects, 0, "{what}");
    }
}

#[test]
fn the_time_that_the_throttle_takes_does_not_use_up_retry() {
    let mut plan = plan(
        Options {
            transaction: Transaction::EachBatch,
            max_elapsed: 250,
            ..options(100, 0)
        },
        1,
        60,
        0,
        0,
    );
    plan.hazards = vec![Hazards {
        up: Perils {
            cut: Some((2_000, End::Reset)),
            hold: None,
        },
        ..Hazards::default()
    }];
    let log = complete(&plan);
    assert_eq!(log.stats.totals.reconnects, 1);
    // It was lost only after longer than that, and then all of the transaction came again.
    assert!(took(&log) >= 250 + 570, "{} ms", took(&log));
}

#[test]
fn a_server_that_does_not_answer_is_stalled_all_the_same() {
    let options = Options {
        stall_timeout: 150,
        patience: Patience::Tries(0),
        window: 60,
        ..options(100, 0)
    };
    let mut plan = plan(options, 1, 50, 0, 0);
    plan.hazards = vec![Hazards {
        down: Perils {
            cut: None,
            hold: Some((600, LONG)),
        },
        ..Hazards::default()
    }];
    let log = run(&plan);
    check(&plan, &log).unwrap();
    let code = log.reports[0].error.as_ref().map(crate::error::Error::code);
    assert_eq!(code, Some("RESPIPE_STALLED"), "{}", log.trace.join("\n"));
}

#[test]
fn a_stop_does_not_wait_for_the_throttle() {
    let options = Options {
        stop_after: Some(450),
        ..options(5, 0)
    };
    let plan = plan(options, 1, 100, 0, 0);
    let log = run(&plan);
    check(&plan, &log).unwrap();
    // One at once, and one after each 200 ms, less the burst.
    assert_eq!(log.applied.len(), 3);
}
