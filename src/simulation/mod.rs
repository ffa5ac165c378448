//! Whole loads against a model of a server, over a network that breaks, in paused time: the same seed is always the
//! same run. All that is the product's own is real: the loader, the login, the machine, the report.
//!
//! ```text
//!   seed ──▶ plan: options, load, faults        (plan)
//!              │
//!              ▼
//!            loader ══ socket ══ lanes ══ sessions ══ data
//!              │     (network) (pipe, lane) (server)  (data)
//!              │          └─ what comes when: world, service ─┘
//!              ▼
//!            log (run) ──▶ promises kept? (check) ──no──▶ the smallest plan that fails (shrink)
//! ```
//!
//! `cargo test simulation` runs 1,000 seeds; `RESPIPE_SEEDS=100000` more of them; `RESPIPE_SEED=7` one, and tells what
//! happened in it.
//!
//! Faults that were planted, by hand, to see that they are found:
//!
//! - no fence: without CLIENT KILL on the new connection, I7 breaks after a stall
//! - the end of a connection taken for the fence: I7 breaks where somebody in between ended it, and the server reads on
//! - two connections at work, and only the old one ended when they are lost: I7 breaks (seed 3073)
//! - a server that does not hold the next connection back, though it seems so: I7 breaks
//! - everything sent again: I1 breaks at the first INCR that was done and not answered
//!
//! What is new is added as a field of `Options`, drawn in `Options::draw` and passed on in `Plan::config`; what it allows,
//! in `check`; commands of the server in `server`; a line in `EXPECTED` for each way in which it shows.

mod check;
mod culprits;
mod data;
mod lane;
mod network;
mod pipe;
mod plan;
mod replicas;
mod run;
mod server;
mod service;
mod shrink;
mod throttle;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

pub(crate) use self::network::{Network, Socket};
use self::plan::Plan;
use self::run::{Log, run};
use crate::config::Replies;

/// In how many of 1,000 runs something has to happen for the simulation to be worth its time: about half of what was
/// measured.
const EXPECTED: &[(&str, usize)] = &[
    ("no fault", 70),
    ("a command that cannot be read", 100),
    ("a command of which half cannot be read", 30),
    ("batches of both kinds", 150),
    ("BUSY", 60),
    ("LOADING", 45),
    ("OOM", 55),
    ("READONLY", 50),
    ("a stall of the server", 190),
    ("a restart of the server", 65),
    ("a connection refused", 150),
    ("a connection never answered", 120),
    ("a full socket", 180),
    ("replies that lie unread", 15),
    ("a partial read", 500),
    ("a partial write", 500),
    ("a reset among commands", 45),
    ("a reset among replies", 35),
    ("an end among commands", 35),
    ("an end among replies", 35),
    ("commands held up", 70),
    ("replies held up", 60),
    ("hung up on", 30),
    ("a jam", 40),
    ("a reply cut in two", 170),
    ("an end within a transaction", 60),
    ("done after the last report", 8),
    ("a connection replaced", 240),
    ("a rotation", 250),
    ("a connection let go", 120),
    ("given up", 45),
    ("a stop", 35),
    ("something failed", 270),
    ("something unknown", 200),
];

const SEEDS: u64 = 1_000;

#[test]
fn every_load_keeps_its_promises_whatever_happens() {
    if let Some(seed) = number("RESPIPE_SEED") {
        return tell(seed);
    }
    let seeds = number("RESPIPE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let seen = Mutex::new(BTreeMap::<&str, usize>::new());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds || !failed.lock().unwrap().is_empty() {
                        return;
                    }
                    let _watched = Watched::new(seed);
                    let plan = Plan::of(seed);
                    match judge(&plan) {
                        Ok(log) => {
                            let mut seen = seen.lock().unwrap();
                            for what in signs(&plan, &log) {
                                *seen.entry(what).or_default() += 1;
                            }
                        }
                        Err(broken) => failed.lock().unwrap().push((seed, broken)),
                    }
                }
            });
        }
    });
    if let Some((seed, broken)) = failed.into_inner().unwrap().into_iter().next() {
        let (plan, broken) = shrink::shrink(Plan::of(seed), broken);
        panic!(
            "seed {seed}: {broken}\n\nThe smallest plan that fails: {plan:#?}\n\nAgain: RESPIPE_SEED={seed} cargo test simulation -- --nocapture"
        );
    }
    let seen = seen.into_inner().unwrap();
    println!("in {seeds} runs: {}", summary(&seen));
    for (what, least) in EXPECTED {
        let count = seen.get(what).copied().unwrap_or(0);
        assert!(
            count as u64 * SEEDS >= *least as u64 * seeds || seeds < SEEDS,
            "{what}: only in {count} of {seeds} runs"
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..50 {
        let plan = Plan::of(seed);
        let (once, again) = (run(&plan), run(&plan));
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.applied, again.applied, "seed {seed}");
        assert_eq!(once.seen, again.seen, "seed {seed}");
    }
}

/// Runs a plan; tells which promise it breaks, and what happened before.
fn judge(plan: &Plan) -> Result<Log, String> {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let log = run(plan);
        match check::check(plan, &log) {
            Ok(()) => Ok(log),
            Err(broken) => Err(format!("{broken}\n\n{}", log.trace.join("\n"))),
        }
    }));
    judged.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Ends the process where a run does not end by itself: time stands still while somebody is busy, so that no limit
/// within it can.
struct Watched {
    /// Hangs up when dropped.
    _running: SyncSender<()>,
}

/// A thousand times what a run takes.
const HANG: Duration = Duration::from_secs(60);

impl Watched {
    fn new(seed: u64) -> Self {
        let (running, ended) = sync_channel(0);
        thread::spawn(move || {
            if ended.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("seed {seed} does not end: RESPIPE_SEED={seed} cargo test simulation");
                process::abort();
            }
        });
        Self { _running: running }
    }
}

/// One run, in detail.
fn tell(seed: u64) {
    let _watched = Watched::new(seed);
    let plan = Plan::of(seed);
    println!("{plan:#?}");
    match judge(&plan) {
        Ok(log) => println!(
            "{}\n\nseed {seed} keeps its promises: {:?}",
            log.trace.join("\n"),
            signs(&plan, &log)
        ),
        Err(broken) => {
            let (plan, broken) = shrink::shrink(plan, broken);
            panic!("seed {seed}: {broken}\n\nThe smallest plan that fails: {plan:#?}");
        }
    }
}

/// What happened in a run, faults and what they led to.
fn signs(plan: &Plan, log: &Log) -> Vec<&'static str> {
    let mut signs: Vec<&str> = log.seen.iter().copied().collect();
    let any = |part: fn(&crate::outcome::Outcome) -> u64| log.reports.iter().any(|report| part(&report.outcome) > 0);
    if any(|outcome| outcome.unknown) {
        signs.push("something unknown");
    }
    if any(|outcome| outcome.failed) {
        signs.push("something failed");
    }
    if log.stats.totals.resent > 0 {
        signs.push("something sent again");
    }
    if plan.options.replies == Replies::Off {
        signs.push("replies off");
    }
    if plan.options.checkpoint.is_some() {
        signs.push("checkpoints");
    }
    let transactions = plan.batches.iter().filter(|batch| plan.is_transaction(batch)).count();
    if (1..plan.batches.len()).contains(&transactions) {
        signs.push("batches of both kinds");
    }
    if plan.hazards.is_empty() && plan.troubles.is_empty() {
        signs.push("no fault");
    }
    if log.applied_in_time < log.applied.len() {
        signs.push("done after the last report");
    }
    signs
}

fn summary(seen: &BTreeMap<&str, usize>) -> String {
    let parts: Vec<String> = seen.iter().map(|(what, count)| format!("{what} {count}")).collect();
    parts.join(", ")
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
