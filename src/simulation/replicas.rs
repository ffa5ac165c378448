//! How long the server may take to say whether its replicas hold everything, in paused time: `waitReplicas` gives it that
//! time, on top of what is a stall.
//!
//! A server that stops just before it looks at `WAIT` comes in; the answer goes out, with the time at which it came.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use super::network::Network;
use super::plan::{Kind, Options, Patience, Plan, Trouble};
use super::run::Ear;
use super::throttle::{options, plan};
use crate::config::{Config, WaitReplicas};
use crate::connection::state::peer::batch_within;
use crate::error::Error;
use crate::loader::{Answer, Notice, Question, Shared, Stats, run as load};

const STALL: u64 = 30_000;
const WAIT: u64 = 60_000;

struct Asked {
    answer: Result<Answer, Error>,
    /// After the question.
    millis: u128,
    stats: Stats,
    /// Commands that the server looked at.
    executed: u64,
}

/// A load of ten commands, and whether one replica holds it.
fn ask(troubles: Vec<Trouble>) -> Asked {
    fastrand::seed(0);
    let plan = Plan {
        troubles,
        ..plan(
            Options {
                stall_timeout: STALL,
                patience: Patience::Tries(0),
                ..options(0, 0)
            },
            1,
            10,
            0,
            0,
        )
    };
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play(&plan))
}

async fn play(plan: &Plan) -> Asked {
    let network = Network::new(plan);
    let driver = tokio::spawn(network.clone().drive());
    let ear = Arc::new(Ear::default());
    let config = Config {
        wait_replicas: Some(WaitReplicas {
            count: 1,
            timeout: Duration::from_millis(WAIT),
        }),
        ..plan.config(network.clone())
    };
    let shared = Arc::new(Shared::new(config, ear.clone()));
    ear.shared.get_or_init(|| Arc::downgrade(&shared));
    let task = tokio::spawn(load(Arc::clone(&shared)));
    shared.execute(batch_within(plan.options.window, &plan.batches[0].commands), Some(0));
    shared.ask(1, Question::Replicas);
    let start = Instant::now();
    let answer = loop {
        let mut notices = ear.notices.lock().unwrap().drain(..).collect::<Vec<_>>().into_iter();
        let answer = notices.find_map(|notice| match notice {
            Notice::Answered { answer, .. } => Some(answer),
            _ => None,
        });
        match answer {
            Some(answer) => break answer,
            None => sleep(Duration::from_millis(1)).await,
        }
    };
    let asked = Asked {
        answer,
        millis: start.elapsed().as_millis(),
        stats: shared.stats(),
        executed: network.world().server.executed,
    };
    task.abort();
    driver.abort();
    asked
}

/// The server stops for so long when nothing is left but the question.
fn ask_one_that_stops_for(millis: u64) -> Asked {
    let calm = ask(Vec::new());
    assert_eq!(calm.answer.unwrap(), Answer::Held);
    ask(vec![Trouble {
        after: calm.executed - 1,
        kind: Kind::Stall(millis),
    }])
}

#[test]
fn waiting_for_replicas_longer_than_a_stall_is_none() {
    let asked = ask_one_that_stops_for(STALL + WAIT - 1_000);
    assert_eq!(asked.answer.unwrap(), Answer::Held);
    assert!(asked.millis >= u128::from(STALL + WAIT - 1_000), "{} ms", asked.millis);
    let totals = asked.stats.totals;
    assert_eq!((totals.reconnects, totals.outcome.succeeded), (0, 10));
}

#[test]
fn a_server_that_says_nothing_at_all_is_a_stall_some_time_later() {
    let asked = ask_one_that_stops_for(10 * (STALL + WAIT));
    assert_eq!(asked.answer.unwrap_err().code(), "RESPIPE_STALLED");
    let expected = u128::from(STALL + WAIT);
    assert!(
        (expected..expected + 100).contains(&asked.millis),
        "{} ms",
        asked.millis
    );
    // It is the question that has no answer.
    let outcome = asked.stats.totals.outcome;
    assert_eq!((outcome.succeeded, outcome.unknown), (10, 0));
}
