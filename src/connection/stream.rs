//! A byte stream to a server: TCP, TLS over TCP, or a unix socket.
//!
//! `connect` takes the address from the configuration and gives an open stream, without TLS: that
//! is put on top by `tls`. Everything behind `link` reads and writes a `Stream` and knows no more.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::gulp::LowWater;
use crate::config::{Config, Server};
use crate::error::Error;

/// An open connection, as bytes.
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Simulated(crate::simulation::Socket),
}

/// Whether the bytes of a stream are encrypted: a peer that hangs up on plain bytes may want TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Plain,
    Encrypted,
}

/// Opens a connection to the server of `config`, trying each address that its name stands for.
///
/// # Errors
///
/// `Error::Connect`, with the reason of each address; `Error::Unsupported` for a unix socket where
/// the platform has none. The caller sets the time limit: only where a name has several addresses,
/// each gets its share of `connect_timeout`, so that a dead one does not use up all of it.
pub async fn connect(config: &Config) -> Result<Stream, Error> {
    let connected = match &config.server {
        Server::Tcp { host, port } => connect_tcp(host, *port, config).await,
        #[cfg(unix)]
        Server::Unix { path } => UnixStream::connect(path)
            .await
            .map(Stream::Unix)
            .map_err(|error| unix_reason(path, &error)),
        #[cfg(not(unix))]
        Server::Unix { .. } => {
            let text = "unix sockets are not available on this platform";
            return Err(Error::Unsupported(text.into()));
        }
        #[cfg(test)]
        Server::Simulated(network) => network
            .connect()
            .await
            .map(Stream::Simulated)
            .map_err(|error| plain_reason(&error)),
    };
    connected.map_err(|reason| Error::Connect {
        address: config.server.to_string(),
        reason,
    })
}

impl Stream {
    pub fn channel(&self) -> Channel {
        match self {
            Self::Tls(_) => Channel::Encrypted,
            _ => Channel::Plain,
        }
    }
}

impl Stream {
    /// What the system still holds to be sent is dropped when the stream is, rather than sent on.
    pub fn reset_on_close(&self) {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            #[cfg(unix)]
            Self::Unix(_) => return,
            #[cfg(test)]
            Self::Simulated(_) => return,
        };
        // Best effort: the fence is what counts.
        SockRef::from(tcp).set_linger(Some(Duration::ZERO)).ok();
    }
}

/// Sets `SO_RCVLOWAT` on a socket; tells whether that worked. A system call that no library offers: lent by the binding,
/// the only place for calls that the compiler cannot check.
#[cfg(target_os = "linux")]
pub type SetLowWater = fn(BorrowedFd<'_>, usize) -> bool;

#[cfg(target_os = "linux")]
static SET_LOW_WATER: OnceLock<SetLowWater> = OnceLock::new();

/// From here on streams of TCP can be read in gulps.
#[cfg(target_os = "linux")]
pub fn lend_low_water(set: SetLowWater) {
    SET_LOW_WATER.get_or_init(|| set);
}

impl LowWater for Stream {
    #[cfg(target_os = "linux")]
    fn wake_from(&mut self, bytes: usize) -> bool {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return false,
            #[cfg(test)]
            Self::Simulated(stream) => return stream.wake_from(bytes),
        };
        SET_LOW_WATER.get().is_some_and(|set| set(tcp.as_fd(), bytes))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Stream::Tcp",
            #[cfg(unix)]
            Self::Unix(_) => "Stream::Unix",
            Self::Tls(_) => "Stream::Tls",
            #[cfg(test)]
            Self::Simulated(_) => "Stream::Simulated",
        })
    }
}

/// The same call on whichever stream it is.
macro_rules! forward {
    ($stream:expr, $method:ident ( $($argument:expr),* )) => {
        match $stream {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(test)]
            Stream::Simulated(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        forward!(self, is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), poll_shutdown(cx))
    }
}

async fn connect_tcp(host: &str, port: u16, config: &Config) -> Result<Stream, String> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("the name cannot be resolved: {error}"))?
        .collect();
    let share = config.connect_timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut reasons = Vec::new();
    for address in &addresses {
        let reason = match tokio::time::timeout(share, connect_address(*address, config.stall_timeout)).await {
            Ok(Ok(stream)) => return Ok(Stream::Tcp(stream)),
            Ok(Err(error)) => plain_reason(&error),
            Err(_) => format!("no answer within {} ms", share.as_millis()),
        };
        reasons.push(match addresses.len() {
            1 => reason,
            _ => format!("{address}: {reason}"),
        });
    }
    if reasons.is_empty() {
        return Err("the name stands for no address".into());
    }
    Err(reasons.join("; "))
}

async fn connect_address(address: SocketAddr, stall: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    watch(&stream, stall);
    Ok(stream)
}

/// Has the kernel notice a peer that vanished. Some sandboxes know nothing of it: then it is noticed
/// later, by the stall timeout, which is no reason to refuse a connection.
fn watch(stream: &TcpStream, stall: Duration) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME);
    #[cfg(any(
        target_vendor = "apple",
        windows,
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd"
    ))]
    let keepalive = keepalive
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive).ok();
    // With data in flight, keep-alive says nothing, and a kernel tries for a quarter of an hour: also
    // where we have given up long since, so that old writes arrive as late as that.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket
        .set_tcp_user_timeout(Some(stall.saturating_add(AFTER_STALL)))
        .ok();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stall;
}

/// The kernel counts from the moment at which the peer takes no more, which may be before our last
/// write: with no room behind the stall timeout, it would be chance which of them speaks.
#[cfg(any(target_os = "linux", target_os = "android"))]
const AFTER_STALL: Duration = Duration::from_secs(1);

/// An idle connection to a server that vanished ends after 15 + 3 × 5 seconds, and seldom enough to
/// cost nothing. Linux waits as long as for data in flight.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

fn plain_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".into(),
        io::ErrorKind::TimedOut => "no answer".into(),
        io::ErrorKind::HostUnreachable => "the host cannot be reached".into(),
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached".into(),
        _ => error.to_string(),
    }
}

#[cfg(unix)]
fn unix_reason(path: &std::path::Path, error: &io::Error) -> String {
    use std::os::unix::fs::FileTypeExt;

    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::InvalidInput => "the path is too long for a unix socket".into(),
        io::ErrorKind::ConnectionRefused => match std::fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => "it is not a socket".into(),
            _ => "connection refused: nothing listens on it".into(),
        },
        _ => error.to_string(),
    }
}
