//! Connecting as often as it is worth another try: for the load, and for queries.

use tokio::time::{Instant, sleep};

use super::Shared;
use crate::connection::link::{self, Link};
use crate::error::Error;
use crate::retry::{Backoff, Verdict};

/// Tries until a connection is up, or `backoff` allows no other try; `since` is when progress was made last. Where a
/// load goes on, a server that is no place to write to may become one, or be replaced.
///
/// # Errors
/// That of the last try.
pub(super) async fn connect(
    shared: &Shared,
    backoff: &mut Backoff,
    since: Instant,
    before: Before,
) -> Result<Link, Error> {
    let connector = shared.connector()?;
    loop {
        let error = match link::open(&shared.config, connector).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        match Verdict::of(&error) {
            Verdict::GiveUp if before == Before::Never || !matches!(error, Error::Refused { .. }) => return Err(error),
            Verdict::GiveUp | Verdict::Retry => sleep(backoff.next(since.elapsed()).ok_or(error)?).await,
        }
    }
}

/// Whether there was a connection before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Never,
    Once,
}
