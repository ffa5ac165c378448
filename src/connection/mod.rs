//! One connection to one server: opened, logged in, served, fenced once it is lost.

pub mod fence;
pub mod gulp;
pub mod handshake;
pub mod hold;
pub mod link;
pub mod pace;
pub mod question;
pub mod state;
pub mod stream;
pub mod task;
pub mod tls;
