//! When new work wakes the task.

use std::future::ready;

use super::server::{Deaf, config};
use super::*;

async fn is_woken(shared: &Shared) -> bool {
    tokio::select! {
        biased;
        () = shared.wake.notified() => true,
        () = ready(()) => false,
    }
}

#[tokio::test]
async fn new_work_wakes_the_task_where_it_is_awaited_and_once() {
    let shared = Shared::new(config(1), Arc::new(Deaf));
    let execute = || shared.execute(Batch::default(), Some(1));
    assert!(shared.take_work(false).is_empty());
    execute();
    assert!(!is_woken(&shared).await);
    // It is there as soon as anybody looks.
    assert_eq!(shared.take_work(true).len(), 1);
    execute();
    assert!(is_woken(&shared).await);
    execute();
    assert!(!is_woken(&shared).await);
    assert_eq!(shared.take_work(false).len(), 2);
    shared.stop(Error::Closed);
    assert!(is_woken(&shared).await);
}

#[tokio::test]
async fn nobody_sleeps_over_work_that_came_unannounced() {
    let shared = Shared::new(config(1), Arc::new(Deaf));
    shared.take_work(false);
    shared.execute(Batch::default(), Some(1));
    shared.wait_for_work().await;
    assert_eq!(shared.take_work(true).len(), 1);
}
