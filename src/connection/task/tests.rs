//! The task against scripted peers, on paused time: a clock that only moves when everything waits.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{Driver, Ended, Flow, START_BYTES, WRITE_SLICES, head, serve};
use crate::batch::Batch;
use crate::connection::gulp::LowWater;
use crate::connection::pace::Pace;
use crate::connection::state::peer::{Model, Session, batch, batch_within, counts, echoed, lost, plain, wire};
use crate::connection::state::{Exchange, Finished};

const STALL: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Inbox {
    batches: VecDeque<Batch>,
    stop: bool,
}

/// Where the tests put work, and what the task then made of it.
#[derive(Clone, Default)]
struct Desk {
    inbox: Arc<Mutex<Inbox>>,
    finished: Arc<Mutex<Vec<Finished>>>,
    wake: Arc<Notify>,
}

impl Desk {
    fn push(&self, batch: Batch) {
        self.inbox.lock().unwrap().batches.push_back(batch);
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.inbox.lock().unwrap().stop = true;
        self.wake.notify_one();
    }

    fn counts(&self) -> Vec<(u64, u64, u64)> {
        self.finished.lock().unwrap().iter().map(counts).collect()
    }
}

struct Worker {
    exchange: Exchange,
    desk: Desk,
    pace: Option<Pace>,
}

impl<S> Driver<S> for Worker {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn refill(&mut self) -> Flow {
        let mut inbox = self.desk.inbox.lock().unwrap();
        while let Some(batch) = inbox.batches.pop_front() {
            self.exchange.push(batch, 0);
        }
        if inbox.stop { Flow::Stop } else { Flow::GoOn }
    }

    fn settle(&mut self) {
        self.desk.finished.lock().unwrap().extend(self.exchange.take_finished());
    }

    fn paused_until(&self) -> Option<Instant> {
        None
    }

    fn resume(&mut self) -> Flow {
        Flow::GoOn
    }

    fn allow(&mut self) -> Option<Instant> {
        self.pace.as_mut()?.allow(&mut self.exchange)
    }
}

/// Serves until it ends; tells why, and the worker with what is left.
async fn run<S: AsyncRead + AsyncWrite + LowWater + Unpin>(
    mut stream: S,
    desk: &Desk,
    stall: Duration,
) -> (Ended, Worker) {
    let mut worker = Worker {
        exchange: Exchange::new(plain()),
        desk: desk.clone(),
        pace: None,
    };
    let served = serve(&mut stream, &mut worker, &desk.wake, stall);
    // Far beyond every deadline: what hangs fails.
    let (_, ended) = timeout(Duration::from_secs(1_000_000), served).await.expect("no hang");
    Driver::<S>::settle(&mut worker);
    (ended, worker)
}

/// A sound server at the other end of `stream`.
async fn answer(mut stream: DuplexStream) -> DuplexStream {
    let (mut model, mut session, mut buffer) = (Model::default(), Session::default(), vec![0; 64 * 1024]);
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        let replies = session.feed(&mut model, &buffer[..bytes]);
        if stream.write_all(&replies).await.is_err() {
            break;
        }
    }
    stream
}

fn sets(count: u64) -> Batch {
    let commands: Vec<String> = (0..count).map(|tag| format!("SET key {tag}")).collect();
    batch_within(1 << 20, &commands)
}

#[tokio::test(start_paused = true)]
async fn batches_go_through_until_it_is_told_to_stop() {
    let (ours, theirs) = duplex(1000);
    let desk = Desk::default();
    desk.push(sets(300));
    tokio::spawn(answer(theirs));
    let user = async {
        while desk.counts().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        desk.push(sets(5));
        while desk.counts().len() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        desk.stop();
    };
    let ((ended, worker), ()) = tokio::join!(run(ours, &desk, STALL), user);
    assert!(matches!(ended, Ended::Stopped), "{ended:?}");
    assert_eq!(desk.counts(), [(300, 0, 0), (5, 0, 0)]);
    assert!(worker.exchange.is_idle());
}

#[tokio::test(start_paused = true)]
async fn it_reads_while_it_writes() {
    const LARGE: usize = 40_000;
    let (ours, mut theirs) = duplex(4096);
    let desk = Desk::default();
    let batch = sets(20_000);
    let total = batch.bytes + 53;
    desk.push(batch);
    let peer = async move {
        // Has read 100 commands, and reads no more before 4 MB of replies are out.
        let mut head = vec![0; wire("SET key 0").len() * 100];
        theirs.read_exact(&mut head).await.unwrap();
        let reply = [format!("${LARGE}\r\n").as_bytes(), &[b'x'; LARGE], b"\r\n"].concat();
        for _ in 0..90 {
            theirs.write_all(&reply).await.unwrap();
        }
        let mut rest = vec![0; total - head.len()];
        theirs.read_exact(&mut rest).await.unwrap();
        theirs.write_all(&b"+OK\r\n".repeat(20_000 - 90)).await.unwrap();
        theirs.write_all(&echoed(&rest[rest.len() - 53..])).await.unwrap();
    };
    let ((ended, _), ()) = tokio::join!(run(ours, &desk, STALL), peer);
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
    assert_eq!(desk.counts(), [(20_000, 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn no_progress_is_a_stall_and_half_a_reply_is_no_progress() {
    for says in [b"".as_slice(), b"$1000\r\n", b">1\r\n+push\r\n", b"|1\r\n+a\r\n+b\r\n"] {
        let (ours, mut theirs) = duplex(1 << 20);
        let desk = Desk::default();
        desk.push(batch(&["SET a 1", "SET b 2"]));
        let start = Instant::now();
        let peer = tokio::spawn(async move {
            sleep(STALL / 2).await;
            theirs.write_all(b"+OK\r\n").await.unwrap();
            loop {
                sleep(STALL / 3).await;
                if says.is_empty() || theirs.write_all(says).await.is_err() {
                    break;
                }
                if says.starts_with(b"$") {
                    theirs.write_all(b"x").await.unwrap();
                    sleep(STALL / 3).await;
                    theirs.write_all(b"x").await.unwrap();
                    break;
                }
            }
            std::future::pending::<()>().await;
        });
        let (ended, _) = run(ours, &desk, STALL).await;
        assert!(matches!(ended, Ended::Stalled), "{ended:?}");
        assert_eq!(start.elapsed().as_secs(), (STALL + STALL / 2).as_secs());
        peer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn accepted_bytes_are_progress() {
    let (ours, mut theirs) = duplex(16);
    let desk = Desk::default();
    desk.push(sets(10));
    let start = Instant::now();
    let peer = async {
        let mut bytes = [0; 160];
        for piece in bytes.chunks_mut(16) {
            sleep(STALL - Duration::from_secs(1)).await;
            theirs.read_exact(piece).await.unwrap();
        }
        answer(theirs).await
    };
    tokio::pin!(peer);
    let served = run(ours, &desk, STALL);
    tokio::pin!(served);
    // The peer has then swallowed commands whose replies never come.
    let (ended, _) = tokio::select! {
        served = &mut served => served,
        _ = &mut peer => panic!("the peer ended first"),
    };
    assert!(!matches!(ended, Ended::Lost { .. }), "{ended:?}");
    assert!(start.elapsed() > STALL * 9, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn idleness_is_no_stall_and_new_work_starts_the_clock_anew() {
    let (ours, theirs) = duplex(1 << 16);
    let desk = Desk::default();
    let start = Instant::now();
    let peer = tokio::spawn(async move {
        let (mut theirs, mut buffer) = (theirs, vec![0; 1024]);
        let (mut model, mut session) = (Model::default(), Session::default());
        // Slow, but not too slow; then never again.
        let bytes = theirs.read(&mut buffer).await.unwrap();
        sleep(STALL - Duration::from_secs(1)).await;
        let replies = session.feed(&mut model, &buffer[..bytes]);
        theirs.write_all(&replies).await.unwrap();
        std::future::pending::<()>().await;
    });
    let user = async {
        sleep(STALL * 20).await;
        desk.push(sets(3));
        while desk.counts().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(STALL * 20 + STALL / 2).await;
        desk.push(sets(3));
        Instant::now()
    };
    let ((ended, _), last) = tokio::join!(run(ours, &desk, STALL), user);
    assert!(matches!(ended, Ended::Stalled), "{ended:?}");
    assert!(start.elapsed() > STALL * 40);
    assert_eq!(last.elapsed().as_secs(), STALL.as_secs());
    peer.abort();
}

#[tokio::test(start_paused = true)]
async fn the_clock_starts_anew_though_nothing_can_be_written() {
    let desk = Desk::default();
    let user = async {
        sleep(STALL * 20).await;
        desk.push(sets(3));
        Instant::now()
    };
    let ((ended, _), pushed) = tokio::join!(run(Scripted::new(Says::Nothing, BLOCKED), &desk, STALL), user);
    assert!(matches!(ended, Ended::Stalled), "{ended:?}");
    assert_eq!(pushed.elapsed().as_secs(), STALL.as_secs());
}

#[tokio::test]
async fn a_peer_that_never_pauses_stalls_all_the_same() {
    let desk = Desk::default();
    desk.push(batch(&["SET a 1"]));
    let endless = Scripted::new(Says::Endlessly(b">1\r\n+x\r\n"), usize::MAX);
    let (ended, _) = run(endless, &desk, Duration::from_millis(20)).await;
    assert!(matches!(ended, Ended::Stalled), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_idle_or_not() {
    for work in [false, true] {
        let (ours, mut theirs) = duplex(1 << 16);
        let desk = Desk::default();
        if work {
            desk.push(batch(&["SET a 1", "SET b 2", "SET c 3"]));
        }
        let peer = async move {
            sleep(STALL / 2).await;
            if work {
                theirs.write_all(b"+OK\r\n+O").await.unwrap();
            }
            drop(theirs);
        };
        let ((ended, mut worker), ()) = tokio::join!(run(ours, &desk, STALL), peer);
        assert!(
            matches!(&ended, Ended::Lost { reason, .. } if reason == "the server closed it"),
            "{ended:?}"
        );
        worker.exchange.disconnected(&lost());
        Driver::<DuplexStream>::settle(&mut worker);
        let expected: &[_] = if work { &[(1, 0, 2)] } else { &[] };
        assert_eq!(desk.counts(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_violation_ends_it() {
    let (ours, mut theirs) = duplex(1 << 16);
    let desk = Desk::default();
    theirs.write_all(b"+hello\r\n").await.unwrap();
    let (ended, _) = run(ours, &desk, STALL).await;
    assert!(matches!(ended, Ended::Violated(_)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn when_writing_fails_the_last_words_are_heard() {
    let length = wire("SET a 1").len();
    for (says, expected, counted) in [
        (Says::Once(b"+OK\r\n"), "Lost", (1, 0, 0)),
        (Says::Once(b""), "Lost", (0, 0, 1)),
        (Says::Once(b"-ERR Protocol error: x\r\n"), "Violated", (0, 0, 1)),
        // Nothing, and no end either.
        (Says::Nothing, "Lost", (0, 0, 1)),
    ] {
        let desk = Desk::default();
        desk.push(batch(&["SET a 1", "SET b 2"]));
        let start = Instant::now();
        let (ended, mut worker) = run(Scripted::new(says, length + 3), &desk, STALL).await;
        assert!(format!("{ended:?}").starts_with(expected), "{ended:?}");
        if let Ended::Lost { reason, .. } = &ended {
            assert_eq!(reason, "broken pipe");
        }
        assert!(start.elapsed() <= Duration::from_millis(1_001));
        worker.exchange.disconnected(&lost());
        let (succeeded, failed, unknown) = worker.exchange.progress();
        assert_eq!((succeeded, failed, unknown), counted);
    }
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_whatever_it_is_doing() {
    // Waiting for work, for replies, for room to write, for last words.
    for (work, takes) in [(0, usize::MAX), (3, usize::MAX), (3, 10)] {
        let desk = Desk::default();
        if work > 0 {
            desk.push(sets(work));
        }
        let start = Instant::now();
        let stopper = async {
            sleep(Duration::from_millis(10)).await;
            // New work alone ends nothing.
            desk.push(sets(1));
            sleep(Duration::from_millis(10)).await;
            desk.stop();
        };
        let ((ended, _), ()) = tokio::join!(run(Scripted::new(Says::Nothing, takes), &desk, STALL), stopper);
        assert!(matches!(ended, Ended::Stopped), "{ended:?}");
        assert!(start.elapsed() < Duration::from_millis(30));
    }
    let (ours, _theirs) = duplex(8);
    let desk = Desk::default();
    desk.push(sets(100));
    let stopper = async {
        sleep(Duration::from_millis(10)).await;
        desk.stop();
    };
    let ((ended, _), ()) = tokio::join!(run(ours, &desk, STALL), stopper);
    assert!(matches!(ended, Ended::Stopped), "{ended:?}");
}

/// Takes so many bytes, then breaks; says what it says at once.
struct Scripted {
    says: Says,
    takes: usize,
    broken: bool,
}

impl Scripted {
    fn new(says: Says, takes: usize) -> Self {
        Self {
            says,
            takes,
            broken: false,
        }
    }
}

/// Takes nothing, and does not break.
const BLOCKED: usize = usize::MAX - 1;

#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    /// Once writing has failed, and then it ends.
    Once(&'static [u8]),
    Endlessly(&'static [u8]),
}

impl LowWater for Scripted {}

impl LowWater for DuplexStream {}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.says {
            Says::Endlessly(bytes) => buffer.put_slice(bytes),
            Says::Once(bytes) if self.broken => {
                buffer.put_slice(bytes);
                self.says = Says::Once(b"");
            }
            Says::Once(_) | Says::Nothing => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.takes == BLOCKED {
            return Poll::Pending;
        }
        if self.takes == 0 {
            self.broken = true;
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let taken = bytes.len().min(self.takes);
        if self.takes < BLOCKED {
            self.takes -= taken;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn an_idle_server_gets_a_first_piece() {
    let bytes = vec![7; 3 * START_BYTES];
    for (sizes, expected) in [
        (&[10][..], &[10][..]),
        (&[10, 3 * START_BYTES, 5], &[10, START_BYTES - 10]),
        (&[START_BYTES, 5], &[START_BYTES]),
        (&[1, 2, 3], &[1, 2, 3]),
    ] {
        let slices: Vec<_> = sizes.iter().map(|&size| IoSlice::new(&bytes[..size])).collect();
        let mut start = [IoSlice::new(&[]); WRITE_SLICES];
        let filled = head(&slices, &mut start);
        let found: Vec<usize> = start[..filled].iter().map(|slice| slice.len()).collect();
        assert_eq!(found, expected);
    }
}
