//! What the product connects to in place of a real network: a socket that is a part of the world.

use std::fmt;
use std::future::pending;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Admission, End, Plan};
use super::world::{Readable, World, Writable};
use crate::connection::gulp::LowWater;

/// A handle to the world.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    start: Instant,
    /// Something may be due earlier than it was.
    news: Notify,
}

impl Network {
    pub(super) fn new(plan: &Plan) -> Self {
        Self(Arc::new(Inner {
            world: Mutex::new(World::new(plan)),
            start: Instant::now(),
            news: Notify::new(),
        }))
    }

    /// Lets things happen in their time, for ever.
    pub(super) async fn drive(self) {
        loop {
            let next = self.world().run();
            let start = self.0.start;
            tokio::select! {
                biased;
                () = self.0.news.notified() => {}
                () = async {
                    match next {
                        Some(at) => sleep_until(start + Duration::from_millis(at)).await,
                        None => pending().await,
                    }
                } => {}
            }
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.world.lock().unwrap();
        world.set_time(self.now());
        world
    }

    /// Milliseconds since the start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap()
    }

    pub(crate) async fn connect(&self) -> io::Result<Socket> {
        let (delay, hazards) = self.world().knock();
        sleep(Duration::from_millis(delay)).await;
        if hazards.admission == Admission::Ignored {
            self.world().note("a connection never answered");
            pending::<()>().await;
        }
        let opened = self.world().open(&hazards);
        let pipe = opened.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Socket {
            network: self.clone(),
            pipe,
        })
    }
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Network {}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// The client's end of a connection. Dropping it closes it.
pub struct Socket {
    network: Network,
    pipe: usize,
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let readable = self.network.world().read(self.pipe, buf.remaining(), cx.waker());
        match readable {
            Readable::Bytes(bytes) => buf.put_slice(&bytes),
            Readable::End(End::Fin) => {}
            Readable::End(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Readable::NotYet => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl LowWater for Socket {
    fn wake_from(&mut self, bytes: usize) -> bool {
        self.network.world().wake_from(self.pipe, bytes);
        true
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<&[u8]> = bufs.iter().map(|slice| &**slice).collect();
        let writable = self.network.world().write(self.pipe, &bytes, cx.waker());
        match writable {
            Writable::Taken(count) => {
                self.network.0.news.notify_one();
                Poll::Ready(Ok(count))
            }
            Writable::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Writable::NotYet => Poll::Pending,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.world().shut(self.pipe);
        self.network.0.news.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A panic elsewhere must not become two.
        if let Ok(mut world) = self.network.0.world.lock() {
            world.set_time(self.network.now());
            world.close(self.pipe);
        }
        self.network.0.news.notify_one();
    }
}
