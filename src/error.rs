//! Everything that can go wrong, apart from commands that the server refuses: those are data in an outcome.

use std::time::Duration;

/// An error of respipe. `code()` is public API; the text is for people.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bad argument of a call.
    #[error("{0}")]
    InvalidArgument(String),
    /// A bad option.
    #[error("{0}")]
    InvalidOption(String),
    /// A command that would upset the accounting of replies.
    #[error("{0}")]
    ForbiddenCommand(String),
    /// `maxBufferedBytes` is reached.
    #[error("{0}")]
    BufferFull(String),
    #[error("the pipeline is closed")]
    Closed,
    #[error("the pipeline was aborted by its signal")]
    Aborted,
    /// An option or a call that this build does not have.
    #[error("{0}")]
    Unsupported(String),
    /// No connection came about.
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    /// No connection came about, and another try would end the same way.
    #[error("cannot connect to {address}: {reason}")]
    Denied { address: String, reason: String },
    /// TLS was refused, by either side.
    #[error("no TLS with {address}: {reason}")]
    Tls { address: String, reason: String },
    /// The TLS handshake broke off or took too long; another try may succeed.
    #[error("no TLS with {address}: {reason}")]
    TlsInterrupted { address: String, reason: String },
    /// The login was refused.
    #[error("login refused by {address}: {reason}")]
    Auth { address: String, reason: String },
    /// An established connection ended.
    #[error("connection to {address} lost: {reason}")]
    ConnectionLost { address: String, reason: String },
    /// Nothing moved for `stallTimeoutMs`.
    #[error("connection to {address} stalled: no progress for {} ms", after.as_millis())]
    Stalled { address: String, after: Duration },
    /// The peer does not speak RESP, or not as it should.
    #[error("protocol error of {address}: {reason}")]
    Protocol { address: String, reason: String },
    /// The server is no place to write to.
    #[error("{address} is no place to write to: {reason}")]
    Refused { address: String, reason: String },
    /// A file cannot be read, or not be made sense of.
    #[error("cannot read {path}: {reason}")]
    Io { path: String, reason: String },
    /// A defect of respipe.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The code that JavaScript sees as `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidArgument(_) => "RESPIPE_INVALID_ARGUMENT",
            Self::InvalidOption(_) => "RESPIPE_INVALID_OPTION",
            Self::ForbiddenCommand(_) => "RESPIPE_FORBIDDEN_COMMAND",
            Self::BufferFull(_) => "RESPIPE_BUFFER_FULL",
            Self::Closed => "RESPIPE_CLOSED",
            Self::Aborted => "RESPIPE_ABORTED",
            Self::Unsupported(_) => "RESPIPE_UNSUPPORTED",
            Self::Connect { .. } | Self::Denied { .. } => "RESPIPE_CONNECT",
            Self::Tls { .. } | Self::TlsInterrupted { .. } => "RESPIPE_TLS",
            Self::Auth { .. } => "RESPIPE_AUTH",
            Self::ConnectionLost { .. } => "RESPIPE_CONNECTION_LOST",
            Self::Stalled { .. } => "RESPIPE_STALLED",
            Self::Protocol { .. } => "RESPIPE_PROTOCOL",
            Self::Refused { .. } => "RESPIPE_REFUSED",
            Self::Io { .. } => "RESPIPE_IO",
            Self::Internal(_) => "RESPIPE_INTERNAL",
        }
    }
}
