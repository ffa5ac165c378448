//! One run: a plan comes in, the product's own loader goes through it in paused time, and a log of all that was said
//! and done goes out.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::data::Data;
use super::network::Network;
use super::plan::{Asks, Plan};
use super::server::Applied;
use crate::batch::Batch;
use crate::connection::state::peer::batch_within;
use crate::error::Error;
use crate::loader::{Listener, Notice, Reason, Report, Shared, Stats, run as load};
use crate::outcome::Failure;

/// Longer than all faults of a plan together take, with everything that is tried again between them.
const PATIENCE: Duration = Duration::from_secs(600);

/// After the load: whatever is still on its way anywhere arrives.
const AFTERMATH: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Log {
    /// In the order of the batches that asked.
    pub(super) reports: Vec<Report>,
    /// As they were told one by one.
    pub(super) failures: Vec<Failure>,
    /// What did not come to an end, though it had to.
    pub(super) pending: Option<&'static str>,
    /// By the server, in order.
    pub(super) applied: Vec<Applied>,
    /// When the load was over, as many of them were done.
    pub(super) applied_in_time: usize,
    /// At the end of all.
    pub(super) data: Data,
    pub(super) most_unanswered: usize,
    /// No single write is larger.
    pub(super) largest_frame: usize,
    /// Bytes that the pipeline still counts.
    pub(super) held: usize,
    pub(super) stats: Stats,
    /// What really happened, faults and their consequences.
    pub(super) seen: BTreeSet<&'static str>,
    pub(super) trace: Vec<String>,
}

/// # Panics
/// Where the product does.
pub(super) fn run(plan: &Plan) -> Log {
    // Nonces and the jitter of delays.
    fastrand::seed(plan.seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play(plan))
}

async fn play(plan: &Plan) -> Log {
    let network = Network::new(plan);
    let driver = tokio::spawn(network.clone().drive());
    let ear = Arc::new(Ear::default());
    let shared = Arc::new(Shared::new(plan.config(network.clone()), ear.clone()));
    ear.shared.get_or_init(|| Arc::downgrade(&shared));
    shared.listen(plan.options.listening);
    let mut task = tokio::spawn(load(Arc::clone(&shared)));
    if let Some(millis) = plan.options.stop_after {
        let (shared, network) = (Arc::clone(&shared), network.clone());
        tokio::spawn(async move {
            sleep(Duration::from_millis(millis)).await;
            network.world().note("a stop");
            shared.stop(Error::Aborted);
        });
    }

    let mut largest_frame = 0;
    let mut tickets = 0;
    for planned in &plan.batches {
        sleep(Duration::from_millis(planned.gap)).await;
        let mut batch = batch_within(plan.options.window, &planned.commands);
        batch.wrap = planned.wrap;
        let frames = batch.segments.iter().map(|segment| segment.bytes().len());
        largest_frame = frames.max().unwrap_or(0).max(largest_frame);
        let ticket = (planned.asks == Asks::Report).then_some(tickets);
        tickets += u32::from(ticket.is_some());
        shared.execute(batch, ticket);
    }
    // Tells of what nobody asked about.
    shared.execute(Batch::default(), Some(tickets));
    let mut pending = None;
    if timeout(PATIENCE, ear.heard(tickets as usize + 1)).await.is_err() {
        pending = Some("a report");
    }
    let applied_in_time = network.world().server.applied.len();
    let stats = shared.stats();
    let held = shared.budget.held();
    shared.stop(Error::Closed);
    match timeout(PATIENCE, &mut task).await {
        Ok(ended) => ended.unwrap(),
        Err(_) => pending = pending.or(Some("the task")),
    }
    sleep(AFTERMATH).await;
    driver.abort();

    let mut world = network.world();
    let heard = mem::take(&mut *ear.notices.lock().unwrap());
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for notice in heard {
        match notice {
            Notice::Executed { ticket, report } => {
                assert_eq!(ticket as usize, reports.len(), "reports come in order");
                reports.push(*report);
            }
            Notice::Reconnected { reason, .. } => world.note(match reason {
                Reason::Rotation => "a rotation",
                Reason::Lost => "a connection replaced",
                Reason::Moved => "a server looked up anew",
            }),
            Notice::GivenUp(_) => world.note("given up"),
            Notice::Failed(failure) => failures.push(failure),
            Notice::Unreported { .. } => {}
            other => panic!("nobody asked for {other:?}"),
        }
    }
    Log {
        reports,
        failures,
        pending,
        applied: mem::take(&mut world.server.applied),
        applied_in_time,
        data: mem::take(&mut world.server.data),
        most_unanswered: world.most_unanswered,
        largest_frame,
        held,
        stats,
        seen: mem::take(&mut world.seen),
        trace: mem::take(&mut world.trace),
    }
}

/// Keeps what JavaScript would be told.
#[derive(Default)]
pub(super) struct Ear {
    pub(super) notices: Mutex<Vec<Notice>>,
    news: Notify,
    pub(super) shared: OnceLock<Weak<Shared>>,
}

impl Ear {
    /// Ends with the last of so many reports.
    async fn heard(&self, reports: usize) {
        loop {
            let count = {
                let notices = self.notices.lock().unwrap();
                notices.iter().filter(|notice| is_report(notice)).count()
            };
            if count >= reports {
                return;
            }
            self.news.notified().await;
        }
    }
}

impl Listener for Ear {
    fn notify(&self, notice: Notice) {
        // As JavaScript takes it: what is not taken stays counted.
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            match &notice {
                Notice::Executed { report, .. } => shared.taken(report.replies.len()),
                Notice::Failed(failure) => shared.heard(failure),
                _ => {}
            }
        }
        self.notices.lock().unwrap().push(notice);
        self.news.notify_one();
    }
}

fn is_report(notice: &Notice) -> bool {
    matches!(notice, Notice::Executed { .. })
}
