//! The options of a pipeline, checked and complete.
//!
//! `options.js` reads and checks what the user gave and fills in the defaults; the binding turns that into this.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// All that the core needs to know about one pipeline.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    /// Sockets to write to it are opened with this.
    pub tls: Option<Tls>,
    pub login: Login,
    /// TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// Work outstanding and no progress for this long: the connection is given up.
    pub stall_timeout: Duration,
    pub retry: Retry,
    pub replies: Replies,
    pub transaction: Transaction,
    pub auto_exec: Option<AutoExec>,
    /// Ceiling for bytes appended and not yet answered.
    pub max_buffered: usize,
    pub when_full: WhenFull,
    /// Ceiling for bytes written and not yet answered.
    pub max_in_flight: usize,
    /// After so many batches a fresh connection takes over; 0: never.
    pub reconnect_every: u32,
    pub resend: Resend,
    /// The key under which each batch, a transaction, stores how far the load is.
    pub checkpoint: Option<Vec<u8>>,
    pub wait_replicas: Option<WaitReplicas>,
    /// How many failures keep their details.
    pub max_failures: usize,
    pub throttle: Throttle,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: PathBuf,
    },
    #[cfg(test)]
    Simulated(crate::simulation::Network),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "{}", path.display()),
            #[cfg(test)]
            Self::Simulated(_) => f.write_str("simulated"),
        }
    }
}

/// PEM texts and names; the defaults are the system's roots, the host as the name, verification on.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    pub ca: Option<Vec<u8>>,
    pub cert: Option<Vec<u8>>,
    pub key: Option<Secret<Vec<u8>>>,
    pub server_name: Option<String>,
    pub verification: Verification,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    #[default]
    Full,
    /// `rejectUnauthorized: false`.
    Off,
}

#[derive(Debug, Clone, Default)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    pub db: u32,
    pub client_name: Option<String>,
}

/// Something that no log and no error may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// How often a connection is tried, and how long between.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Further tries of the very first connection.
    pub first_connect: u32,
    /// Further tries afterwards, without progress; `None`: no limit.
    pub attempts: Option<u32>,
    pub max_elapsed: Duration,
    pub min_delay: Duration,
    pub max_delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    /// Counted; errors kept.
    Check,
    /// Kept whole.
    Collect,
    /// The server is told to send none.
    Off,
}

/// What is sent again after a lost connection, of what nobody knows whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// What leaves the same state when it is done twice.
    Idempotent,
    All,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    Off,
    /// Each batch is wrapped in MULTI … EXEC.
    EachBatch,
}

/// How many replicas are to hold what was written, and how long that may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitReplicas {
    pub count: u32,
    pub timeout: Duration,
}

/// What is written in a second at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttle {
    pub commands_per_second: Option<NonZeroU64>,
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Thresholds at which an open batch is executed by itself. `ms` is kept by JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoExec {
    pub bytes: usize,
    pub commands: u64,
}

/// How bulk strings come back to JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Buffer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    Throw,
    Block,
}
