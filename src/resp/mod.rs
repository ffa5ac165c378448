//! The wire format, both ways: the only producer and the only consumer of RESP.

pub mod compose;
pub mod reply;
pub mod request;
pub mod text;
pub mod value;
pub mod walk;
