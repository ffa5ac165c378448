//! Owns the socket while it is up: always reads while it writes, and watches that something moves.
//!
//! Bytes go between the socket and the [`Exchange`]; new work and results go through the [`Driver`]. Where one connection takes
//! over from another, there are two sockets for a while: the old one is read to its end, the next one is written to.

use std::future::{poll_fn, ready};
use std::io::{self, IoSlice};
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::gulp::{Gulp, LowWater};
use super::state::{Broken, Exchange};

/// The loader, as the task sees it.
pub trait Driver<S> {
    fn exchange(&mut self) -> &mut Exchange;
    /// Takes on new work, where there is any.
    fn refill(&mut self) -> Flow;
    /// Passes on what the last bytes have settled.
    fn settle(&mut self);
    /// When [`Self::resume`] is wanted, if it is.
    fn paused_until(&self) -> Option<Instant>;
    /// What the server refused for now may be sent again.
    fn resume(&mut self) -> Flow;
    /// Lets the exchange write what the throttle leaves. Until when it holds back the rest, where it does.
    fn allow(&mut self) -> Option<Instant>;
    /// The connection that goes on where this one has written its share, where the server holds one back.
    fn successor(&mut self) -> Option<Successor<S>> {
        None
    }
    /// There is not, but it will not be long.
    fn awaits_successor(&self) -> bool {
        false
    }
    /// It has taken over: nothing is left to be read on this one.
    fn succeeded(&mut self, _old: S) {}
}

/// A connection on which the server does nothing before another one lets it go.
pub struct Successor<S> {
    pub stream: S,
    /// What that one has to say.
    pub release: Vec<u8>,
}

/// The connection at work, and for a while the one behind it.
struct Line<'a, S> {
    stream: &'a mut S,
    next: Option<S>,
    /// What it has taken over from.
    before: Option<S>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    GoOn,
    Stop,
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub enum Ended {
    /// The driver said stop.
    Stopped,
    /// It has had its share of batches, and has answered them all.
    Spent,
    Lost {
        reason: String,
        end: End,
    },
    /// The server may have moved to where it is looked for.
    Moved,
    /// Work was outstanding, and nothing moved for too long.
    Stalled,
    Violated(String),
    /// The server cannot read a command: it closes the connection, and executes nothing behind that command.
    Unreadable(String),
    /// The server refuses what the work depends on.
    Refused(String),
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server, or what stands before it: it reads no more of it.
    Theirs,
    /// This side: the server may still run what it has received.
    Ours,
}

impl Ended {
    fn lost(error: &io::Error) -> Self {
        use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};

        let end = match error.kind() {
            // The system has given it up; the server has not heard of that.
            TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown => End::Ours,
            _ => End::Theirs,
        };
        let reason = error.to_string();
        Self::Lost { reason, end }
    }
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Violation(reason) => Self::Violated(reason),
            Broken::Refused(reason) => Self::Refused(reason),
            Broken::Unreadable(reason) => Self::Unreadable(reason),
            Broken::Unavailable(reason) => Self::Lost { reason, end: End::Ours },
        }
    }
}

/// Replies are small; 128 KiB take in those to several MiB of commands.
const READ_BYTES: usize = 128 * 1024;

/// Slices offered to one write. Full segments fill the window with 16; more only spare system calls where many
/// batches are tiny.
const WRITE_SLICES: usize = 64;

/// What a server that has nothing to do gets first: it works on that while the rest is copied, which for a window
/// takes longer than waking it. As much as Redis reads at once.
const START_BYTES: usize = 16 * 1024;

/// Reads before it is the writer's turn, so that neither starves.
const READS_IN_A_ROW: usize = 4;

/// How long the peer's last words are waited for when writing has failed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until the connection ends; returns when something moved last, and why it ended.
pub async fn serve<S>(stream: &mut S, driver: &mut impl Driver<S>, wake: &Notify, stall: Duration) -> (Instant, Ended)
where
    S: AsyncRead + AsyncWrite + LowWater + Unpin,
{
    let mut gulp = Gulp::default();
    let line = Line {
        stream: &mut *stream,
        next: None,
        before: None,
    };
    let served = serve_in(line, driver, wake, stall, &mut gulp).await;
    // Whoever uses the stream after this waits for single replies.
    gulp.end(stream);
    served
}

async fn serve_in<S>(
    mut line: Line<'_, S>,
    driver: &mut impl Driver<S>,
    wake: &Notify,
    stall: Duration,
    gulp: &mut Gulp,
) -> (Instant, Ended)
where
    S: AsyncRead + AsyncWrite + LowWater + Unpin,
{
    // Made once this connection has something to do, as what came before it may have settled something, and is told so.
    let mut buffer = Vec::new();
    let mut moved_at = Instant::now();
    let mut watchdog = pin!(sleep(stall));
    let mut pause = pin!(sleep(Duration::ZERO));
    let mut linger = pin!(sleep(Duration::ZERO));
    let mut turn = pin!(sleep(Duration::ZERO));
    let (mut started, mut told) = (false, false);
    loop {
        if told && buffer.is_empty() {
            buffer = vec![0; READ_BYTES];
        }
        let was_idle = is_idle(driver);
        if driver.refill() == Flow::Stop {
            return (moved_at, Ended::Stopped);
        }
        if driver.exchange().may_hand_over() {
            if let Some(Successor { stream, release }) = driver.successor() {
                driver.exchange().hand_over(release);
                line.next = Some(stream);
            } else if is_spent(driver) {
                return (moved_at, Ended::Spent);
            }
        }
        let held_back = driver.allow();
        if let Some(until) = held_back
            && until != turn.deadline()
        {
            turn.as_mut().reset(until);
        }
        let idle = is_idle(driver);
        if was_idle && !idle {
            moved_at = Instant::now();
        }
        let paused = driver.paused_until();
        if let Some(until) = paused
            && until != pause.deadline()
        {
            pause.as_mut().reset(until);
        }
        gulp.plan(line.stream, driver.exchange());
        let lingering = gulp.until();
        if let Some(until) = lingering
            && until != linger.deadline()
        {
            linger.as_mut().reset(until);
        }
        let stall = stall + driver.exchange().may_take();
        let replies = driver.exchange().replies();
        tokio::select! {
            biased;
            moved = poll_fn(|cx| poll_io(&mut line, driver.exchange(), &mut buffer, cx)) => {
                // A reply that is only half there is no progress: else one byte a minute would do.
                let written = matches!(moved, Ok(Moved { written, .. }) if written > 0);
                if matches!(moved, Ok(Moved { read: true, .. })) {
                    gulp.has_read(line.stream);
                }
                if written || driver.exchange().replies() > replies {
                    moved_at = Instant::now();
                }
                if let Some(old) = line.before.take() {
                    driver.succeeded(old);
                }
                match moved {
                    // A peer that never pauses leaves the watchdog no turn.
                    Ok(_) if !idle && moved_at.elapsed() >= stall => return (moved_at, Ended::Stalled),
                    Ok(_) => {
                        // Who takes over from a connection passes on what it has settled.
                        if is_spent(driver) {
                            return (moved_at, Ended::Spent);
                        }
                        // The rest of the window before anybody is told.
                        if told || started {
                            driver.settle();
                            told = true;
                        }
                        started = true;
                    }
                    Err(Failed::Read(ended)) => return (moved_at, ended),
                    Err(Failed::Broken(broken)) => return (moved_at, broken.into()),
                    Err(Failed::Write(ended)) => {
                        buffer.resize(READ_BYTES, 0);
                        return (moved_at, last_words(line.stream, driver, wake, &mut buffer, ended).await);
                    }
                }
            }
            () = ready(()), if !told => {
                driver.settle();
                told = true;
            }
            () = wake.notified() => {}
            () = &mut turn, if held_back.is_some() => {}
            () = &mut linger, if lingering.is_some() => gulp.lift(line.stream),
            () = &mut pause, if paused.is_some() => {
                if driver.resume() == Flow::Stop {
                    return (moved_at, Ended::Moved);
                }
                moved_at = Instant::now();
            }
            () = &mut watchdog, if !idle => {
                if moved_at.elapsed() >= stall {
                    return (moved_at, Ended::Stalled);
                }
                watchdog.as_mut().reset(moved_at + stall);
            }
        }
    }
}

/// The connection has had its share, and none goes on that the server holds back.
fn is_spent<S>(driver: &mut impl Driver<S>) -> bool {
    driver.exchange().is_spent() && !driver.awaits_successor()
}

/// Nothing is expected of the server.
fn is_idle<S>(driver: &mut impl Driver<S>) -> bool {
    let exchange = driver.exchange();
    exchange.is_idle() || exchange.is_waiting() || exchange.is_held_back()
}

struct Moved {
    read: bool,
    written: usize,
}

enum Failed {
    Read(Ended),
    Write(Ended),
    Broken(Broken),
}

/// Reads, where there is a buffer, and writes what is possible now. Ready as soon as anything moved.
fn poll_io<S>(
    line: &mut Line<'_, S>,
    exchange: &mut Exchange,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Result<Moved, Failed>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut has_read = false;
    let reads = if buffer.is_empty() { 0 } else { READS_IN_A_ROW };
    for _ in 0..reads {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut *line.stream).poll_read(cx, &mut read) {
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Read(Ended::lost(&error)))),
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                return Poll::Ready(Err(Failed::Read(Ended::Lost {
                    reason: "the server closed it".to_owned(),
                    end: End::Theirs,
                })));
            }
            Poll::Ready(Ok(())) => {
                has_read = true;
                if let Err(broken) = exchange.received(read.filled()) {
                    return Poll::Ready(Err(Failed::Broken(broken)));
                }
                if exchange.reads_from_next()
                    && let Some(next) = line.next.take()
                {
                    line.before = Some(mem::replace(line.stream, next));
                }
            }
        }
    }
    let written = match poll_write(line, exchange, cx) {
        Poll::Ready(Ok(written)) => written,
        Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Write(Ended::lost(&error)))),
        Poll::Pending => 0,
    };
    if has_read || written > 0 {
        Poll::Ready(Ok(Moved {
            read: has_read,
            written,
        }))
    } else {
        Poll::Pending
    }
}

/// Pending where nothing may or can be written.
fn poll_write<S>(line: &mut Line<'_, S>, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    let mut stream = Pin::new(&mut *line.stream);
    if exchange.writes_to_next()
        && let Some(next) = &mut line.next
    {
        // What TLS holds back of the old one's last words.
        if let Poll::Ready(Err(error)) = stream.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        stream = Pin::new(next);
    }
    let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
    let filled = exchange.writable(&mut slices);
    if filled == 0 {
        // What TLS still holds back must go out all the same.
        return stream.poll_flush(cx).map_ok(|()| 0);
    }
    let mut start = [IoSlice::new(&[]); WRITE_SLICES];
    let offered = if exchange.in_flight() == 0 {
        let count = head(&slices[..filled], &mut start);
        &start[..count]
    } else {
        &slices[..filled]
    };
    let written = std::task::ready!(stream.as_mut().poll_write_vectored(cx, offered))?;
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    exchange.wrote(written);
    // Not awaited: where it is pending, the next turn goes on with it.
    if let Poll::Ready(Err(error)) = stream.poll_flush(cx) {
        return Poll::Ready(Err(error));
    }
    Poll::Ready(Ok(written))
}

/// Fills `start` with the first [`START_BYTES`] of `slices`; returns how many were filled.
fn head<'a>(slices: &'a [IoSlice<'_>], start: &mut [IoSlice<'a>]) -> usize {
    let mut room = START_BYTES;
    let mut filled = 0;
    for (slice, place) in slices.iter().zip(start) {
        if room == 0 {
            break;
        }
        let bytes = &slice[..slice.len().min(room)];
        room -= bytes.len();
        *place = IoSlice::new(bytes);
        filled += 1;
    }
    filled
}

/// Writing has failed. Replies and the reason may still be on their way: reads to the end.
async fn last_words<S>(
    stream: &mut S,
    driver: &mut impl Driver<S>,
    wake: &Notify,
    buffer: &mut [u8],
    ended: Ended,
) -> Ended
where
    S: AsyncRead + Unpin,
{
    let mut time_is_up = pin!(sleep(LAST_WORDS));
    loop {
        tokio::select! {
            biased;
            () = &mut time_is_up => return ended,
            () = wake.notified() => {
                if driver.refill() == Flow::Stop {
                    return Ended::Stopped;
                }
            }
            read = stream.read(buffer) => {
                let Ok(bytes @ 1..) = read else {
                    return ended;
                };
                if let Err(broken) = driver.exchange().received(&buffer[..bytes]) {
                    return broken.into();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
