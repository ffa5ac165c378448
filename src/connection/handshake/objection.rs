//! Why a login ends: what a server's error means, and the words for it.
//!
//! Error texts of the peer come in; errors for people go out, without what is secret.

use super::dialogue::Secrets;
use crate::error::Error;

/// Errors that mean the same at every step.
pub(super) enum Reading {
    ComeBack,
    KeepOut,
    BadLogin,
    /// The server could not read the request, and hangs up next.
    Misunderstood,
}

pub(super) fn reading_of(text: &[u8]) -> Option<Reading> {
    const READINGS: [(&str, Reading); 14] = [
        ("LOADING", Reading::ComeBack),
        ("MASTERDOWN", Reading::ComeBack),
        ("BUSY", Reading::ComeBack),
        ("CLUSTERDOWN", Reading::ComeBack),
        ("TRYAGAIN", Reading::ComeBack),
        ("ERR max number of clients", Reading::ComeBack),
        ("DENIED", Reading::KeepOut),
        ("NOAUTH", Reading::BadLogin),
        ("WRONGPASS", Reading::BadLogin),
        ("ERR invalid password", Reading::BadLogin),
        ("ERR invalid username-password", Reading::BadLogin),
        ("ERR AUTH <password> called without", Reading::BadLogin),
        // The same, before Redis 6.
        ("ERR Client sent AUTH, but no password", Reading::BadLogin),
        ("ERR Protocol error", Reading::Misunderstood),
    ];
    READINGS
        .into_iter()
        .find(|(start, _)| text.starts_with(start.as_bytes()))
        .map(|(_, reading)| reading)
}

/// Whether the server only has no time now.
pub fn asks_to_come_back(text: &[u8]) -> bool {
    matches!(reading_of(text), Some(Reading::ComeBack))
}

/// Why a login ends, before it is put into words fit for people.
pub(super) enum Objection {
    Later(Vec<u8>),
    Denied(Vec<u8>),
    Login(&'static str, Vec<u8>),
    /// This one is missing.
    Permission(&'static str, Vec<u8>),
    /// This one is missing, and only replies that are off need it.
    PermissionOff(&'static str, Vec<u8>),
    Refused(String),
    /// Not the one of a master.
    Role(Vec<u8>),
    /// Not one in which replies can be off.
    Mode(Vec<u8>),
    /// Not what can be answered to the command of this name.
    Unexpected(&'static str),
}

impl Objection {
    pub(super) fn into_error(self, address: &str, reply: &[u8], secrets: &Secrets) -> Error {
        let address = address.to_owned();
        let auth = |what: String, text: &[u8]| Error::Auth {
            address: address.clone(),
            reason: format!("{what}: {}", secrets.quote(text)),
        };
        match self {
            Self::Later(text) => Error::Connect {
                address,
                reason: secrets.quote(&text),
            },
            Self::Denied(text) => Error::Denied {
                address,
                reason: secrets.quote(&text),
            },
            Self::Login(name, text) => auth(name.into(), &text),
            Self::Permission(permission, text) => auth(format!("the user needs the permission {permission}"), &text),
            Self::PermissionOff(permission, text) => auth(
                format!("with replies: 'off' the user needs the permission {permission}"),
                &text,
            ),
            Self::Refused(reason) => Error::Refused { address, reason },
            Self::Role(role) => Error::Refused {
                address,
                reason: format!("its role is \"{}\", not master", secrets.excerpt(&role)),
            },
            Self::Mode(mode) => Error::Refused {
                address,
                reason: format!(
                    "its mode is \"{}\", and replies can only be off in standalone",
                    secrets.excerpt(&mode)
                ),
            },
            Self::Unexpected(name) => Error::Protocol {
                address,
                reason: format!("unexpected reply to {name}: {}", secrets.excerpt(reply)),
            },
        }
    }
}
