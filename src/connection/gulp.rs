//! Reading in gulps: while enough is unanswered, the system is asked to wake this side for many replies, not for each few.
//!
//! A server writes its replies in small pieces, and each would wake the runtime's thread: two thirds of its time.
//! What the exchange expects comes in, a threshold for the stream goes out. It is a wish: whatever becomes of it, the
//! stream is looked at again after [`LINGER`].

use std::time::Duration;

use tokio::time::Instant;

use super::state::Exchange;

/// A stream that can be told from how many unread bytes on it is worth a wake-up (`SO_RCVLOWAT`).
pub trait LowWater {
    /// Sets that threshold. False where it cannot be set.
    fn wake_from(&mut self, _bytes: usize) -> bool {
        false
    }
}

/// So long may replies lie unread, but for the grain of the clock.
const LINGER: Duration = Duration::from_millis(1);

/// With less in flight every reply counts: half of this keeps a server at work for some hundred microseconds, several times
/// as long as it takes to be woken.
const MUCH: usize = 64 * 1024;

/// Fewer bytes are not worth a system call.
const LEAST: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Gulp {
    /// Where a threshold is set: when it is lifted.
    until: Option<Instant>,
    /// Nothing was read since it was lifted: what is there comes first.
    lifted: bool,
}

impl Gulp {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Before the next wait.
    pub(super) fn plan(&mut self, stream: &mut impl LowWater, exchange: &Exchange) {
        let is_last = exchange.has_written_all() || !exchange.reads_from_next();
        if !is_last && exchange.in_flight() < MUCH.min(exchange.window() / 2) {
            return self.end(stream);
        }
        if self.until.is_some() || self.lifted {
            return;
        }
        // Half of the replies: the server has work left when they are read. Or all of them, where there is no more for it.
        let owed = exchange.owed();
        let bytes = if is_last { owed } else { owed / 2 };
        if bytes >= LEAST && stream.wake_from(bytes) {
            self.until = Some(Instant::now() + LINGER);
        }
    }

    /// Something was read: the next threshold may be another.
    pub(super) fn has_read(&mut self, stream: &mut impl LowWater) {
        self.end(stream);
        self.lifted = false;
    }

    /// It took too long: whatever is there is read.
    pub(super) fn lift(&mut self, stream: &mut impl LowWater) {
        self.end(stream);
        self.lifted = true;
    }

    pub(super) fn end(&mut self, stream: &mut impl LowWater) {
        if self.until.take().is_some() {
            stream.wake_from(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::state::peer::{batch_within, plain};

    /// What was asked of it.
    #[derive(Default)]
    struct Asked(Vec<usize>);

    impl LowWater for Asked {
        fn wake_from(&mut self, bytes: usize) -> bool {
            self.0.push(bytes);
            true
        }
    }

    /// So many commands of 32 bytes are written, and a window of 8,192 is half full with 128 of them.
    fn written(commands: u64) -> Exchange {
        let mut exchange = Exchange::new(crate::connection::state::Settings {
            max_in_flight: 8192,
            ..plain()
        });
        let sets: Vec<String> = (0..commands).map(|tag| format!("SET key {:06}", tag)).collect();
        exchange.push(batch_within(1 << 20, &sets), 0);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = exchange.writable(&mut slices);
        let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
        exchange.wrote(bytes);
        exchange
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_replies_are_worth_a_wake_up() {
        let (mut stream, mut gulp, exchange) = (Asked::default(), Gulp::default(), written(150));
        gulp.plan(&mut stream, &exchange);
        gulp.plan(&mut stream, &exchange);
        assert_eq!(stream.0, [300]);
        assert_eq!(gulp.until(), Some(Instant::now() + LINGER));
        gulp.has_read(&mut stream);
        gulp.plan(&mut stream, &exchange);
        assert_eq!(stream.0, [300, 1, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn replies_that_lie_too_long_are_read_before_others_are_waited_for() {
        let (mut stream, mut gulp, exchange) = (Asked::default(), Gulp::default(), written(150));
        gulp.plan(&mut stream, &exchange);
        gulp.lift(&mut stream);
        gulp.plan(&mut stream, &exchange);
        assert_eq!((stream.0.as_slice(), gulp.until()), (&[300, 1][..], None));
        gulp.has_read(&mut stream);
        gulp.plan(&mut stream, &exchange);
        assert_eq!(stream.0, [300, 1, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_little_is_in_flight_every_reply_counts() {
        let (mut stream, mut gulp) = (Asked::default(), Gulp::default());
        gulp.plan(&mut stream, &written(20));
        assert!(stream.0.is_empty());
        gulp.plan(&mut stream, &written(150));
        gulp.plan(&mut stream, &written(20));
        assert_eq!((stream.0.as_slice(), gulp.until()), (&[300, 1][..], None));
    }
}
