//! Rows of files: read, unpacked, parsed and encoded on a thread that JavaScript has no part in.
//!
//! ```text
//!   feed            the bytes of a file, as many as a command needs
//!   resp, commands  where commands end: RESP as for `redis-cli --pipe`, or one command a line
//!   split           the words of a line
//!   meaning         what a command is to a load: written, passed over, refused, part of a transaction
//!   script          all of that together: a file of commands, one by one
//! ```
//!
//! A source has `next() -> Result<Option<Record>, Error>`: errors end a load, broken rows are part of it.

mod commands;
mod feed;
mod meaning;
mod resp;
pub mod script;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
#[cfg(unix)]
mod server_tests;
mod split;
