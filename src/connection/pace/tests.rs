//! The pace in paused time: what is written, and when, where the stream takes everything and the server answers at once.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep, sleep_until};

use super::{BURST, Pace};
use crate::batch::Batch;
use crate::config::{Replies, Throttle, Transaction};
use crate::connection::state::peer::{Model, Session, batch_within, commands, plain, settings, write};
use crate::connection::state::{Exchange, Settings};

fn pace(commands: Option<u64>, bytes: Option<u64>) -> Pace {
    Pace::of(Throttle {
        commands_per_second: commands.and_then(NonZeroU64::new),
        bytes_per_second: bytes.and_then(NonZeroU64::new),
    })
    .expect("a limit")
}

fn exchange(settings: Settings) -> Exchange {
    Exchange::new(Settings {
        throttled: true,
        ..settings
    })
}

/// Commands of 32 bytes and more.
fn sets(count: u64, extra: impl Fn(u64) -> u64) -> Batch {
    let sets: Vec<String> = (0..count)
        .map(|tag| format!("SET k{} {tag:06}", "x".repeat(usize::try_from(extra(tag)).unwrap())))
        .collect();
    batch_within(1 << 20, &sets)
}

/// One write: when, and how many commands and bytes.
struct Written {
    at: Instant,
    bytes: Vec<u8>,
}

impl Written {
    fn commands(&self) -> usize {
        let (commands, _) = commands(&self.bytes);
        commands.iter().filter(|words| words[0] == "SET").count()
    }
}

/// Until everything is answered.
async fn send(pace: &mut Pace, exchange: &mut Exchange) -> Vec<Written> {
    let (mut model, mut session, mut written) = (Model::default(), Session::default(), Vec::new());
    while !exchange.is_idle() {
        if let Some(until) = pace.allow(exchange) {
            sleep_until(until).await;
            continue;
        }
        let bytes = write(exchange, usize::MAX);
        let replies = session.feed(&mut model, &bytes);
        exchange.received(&replies).expect("a sound server");
        written.push(Written {
            at: Instant::now(),
            bytes,
        });
    }
    written
}

/// The most of something in any 100 ms.
fn most(written: &[Written], count: impl Fn(&Written) -> usize) -> usize {
    let window = Duration::from_millis(100);
    let counts: Vec<(Instant, usize)> = written.iter().map(|written| (written.at, count(written))).collect();
    let windows = counts.iter().enumerate().map(|(first, (start, _))| {
        let within = counts[first..].iter().take_while(|(at, _)| *at < *start + window);
        within.map(|(_, count)| count).sum()
    });
    windows.max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn commands_go_out_evenly_and_end_where_a_write_does() {
    for rate in [1_000, 7_777, 50_000] {
        let mut exchange = exchange(plain());
        exchange.push(sets(3 * rate, |tag| tag % 50), 0);
        let start = Instant::now();
        let written = send(&mut pace(Some(rate), None), &mut exchange).await;
        let took = start.elapsed();
        assert!((2_970..3_010).contains(&took.as_millis()), "{took:?} at {rate}");
        let most = most(&written, Written::commands);
        assert!(most as u64 <= rate / 10 + rate * 3 / 100, "{most} at {rate}");
        for written in &written {
            assert_eq!(commands(&written.bytes).1, written.bytes.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_out_evenly_whatever_the_commands_are() {
    for (count, extra) in [(100_000, 0), (3_000, 1_000), (30, 100_000), (3, 1_000_000)] {
        let mut exchange = exchange(plain());
        let batch = sets(count, |tag| (tag * 7919) % (2 * extra + 1));
        let expected = batch.bytes as u128 / 1_000;
        exchange.push(batch, 0);
        let start = Instant::now();
        let written = send(&mut pace(None, Some(1_000_000)), &mut exchange).await;
        let took = start.elapsed().as_millis();
        assert!(took <= expected + 5 && took + 25 >= expected, "{took} ms of {expected}");
        assert!(most(&written, |written| written.bytes.len()) <= 123_000);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_limits_each_holds() {
    let mut exchange = exchange(plain());
    exchange.push(sets(5_000, |_| 0), 0);
    exchange.push(sets(1_000, |_| 970), 5_000);
    let start = Instant::now();
    let written = send(&mut pace(Some(5_000), Some(1_000_000)), &mut exchange).await;
    // A second for the small ones, which are few enough bytes, and a second for the large.
    let took = start.elapsed();
    assert!((1_950..2_010).contains(&took.as_millis()), "{took:?}");
    assert!(most(&written, Written::commands) <= 650);
    assert!(most(&written, |written| written.bytes.len()) <= 123_000);
}

#[tokio::test(start_paused = true)]
async fn one_command_in_a_second_goes_at_once_and_each_further_one_after_a_second() {
    let mut exchange = exchange(plain());
    exchange.push(sets(4, |_| 0), 0);
    let start = Instant::now();
    let written = send(&mut pace(Some(1), None), &mut exchange).await;
    let at: Vec<u128> = written.iter().map(|written| (written.at - start).as_millis()).collect();
    assert_eq!(written.iter().map(Written::commands).collect::<Vec<_>>(), [1; 4]);
    // The burst's 20 ms are to its favour.
    assert_eq!(at, [0, 980, 1_980, 2_980]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_is_made_up_for_as_long_as_a_burst_and_no_longer() {
    for (late, burst) in [(Duration::from_millis(10), 10), (Duration::from_secs(5), 21)] {
        let (mut pace, mut exchange) = (pace(Some(1_000), None), exchange(plain()));
        exchange.push(sets(21, |_| 0), 0);
        send(&mut pace, &mut exchange).await;
        advance(late).await;
        exchange.push(sets(100, |_| 0), 21);
        assert_eq!(pace.allow(&mut exchange), None);
        let bytes = write(&mut exchange, usize::MAX);
        assert_eq!(commands(&bytes).0.len(), burst, "after {late:?}");
    }
    assert_eq!(BURST.as_millis(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_was_allowed_and_not_taken_is_not_allowed_twice() {
    let (mut pace, mut exchange) = (pace(Some(1_000), None), exchange(plain()));
    exchange.push(sets(100, |_| 0), 0);
    assert_eq!(pace.allow(&mut exchange), None);
    // The stream is full for a second.
    for _ in 0..100 {
        assert_eq!(write(&mut exchange, 5).len(), 5);
        assert_eq!(pace.allow(&mut exchange), None);
        sleep(Duration::from_millis(10)).await;
    }
    let rest = write(&mut exchange, usize::MAX);
    assert_eq!(500 + rest.len(), 21 * 32);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_it_takes_is_told_once() {
    let (mut pace, mut exchange) = (pace(Some(1_000), None), exchange(plain()));
    exchange.push(sets(521, |_| 0), 0);
    send(&mut pace, &mut exchange).await;
    assert_eq!(pace.take_held(), Duration::from_millis(500));
    assert_eq!(pace.take_held(), Duration::ZERO);

    // Where the connection is lost meanwhile, what is waited for after that is not its doing.
    exchange.push(sets(100, |_| 0), 521);
    let until = pace.allow(&mut exchange).expect("nothing is left");
    let wait = until - Instant::now();
    advance(Duration::from_secs(600)).await;
    assert_eq!(pace.allow(&mut exchange), None);
    assert_eq!(pace.take_held(), wait);
}

#[tokio::test(start_paused = true)]
async fn all_ways_of_sending_keep_the_pace() {
    let modes = [
        (Replies::Check, Transaction::EachBatch),
        (Replies::Collect, Transaction::Off),
        (Replies::Collect, Transaction::EachBatch),
    ];
    for (replies, transaction) in modes {
        for max_in_flight in [1, 100, 1 << 20] {
            let mut exchange = exchange(Settings {
                max_in_flight,
                ..settings(replies, transaction)
            });
            for batch in 0..10 {
                exchange.push(sets(100, |_| 0), batch * 100);
            }
            let start = Instant::now();
            let written = send(&mut pace(Some(1_000), None), &mut exchange).await;
            let took = start.elapsed();
            assert!((970..1_005).contains(&took.as_millis()), "{took:?}");
            assert!(most(&written, Written::commands) <= 123);
            let succeeded: u64 = exchange
                .take_finished()
                .iter()
                .map(|finished| finished.outcome.succeeded)
                .sum();
            assert_eq!(succeeded, 1_000);
        }
    }
}
