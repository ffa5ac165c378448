//! Rows of files: read, unpacked, parsed and encoded on a thread that JavaScript has no part in.
//!
//! ```text
//!   input           a file or standard input is opened; `unpack` takes gzip and Zstandard apart
//!   import          the thread: reads, fills the load, waits
//!
//!   rows            rows of csv, tsv and ndjson to commands, by a template
//!   csv, json       records, whole or broken
//!   value, convert  what stands in a place of a row, and what is made of it
//!
//!   script          commands of a file, one by one, and its transactions
//!   resp, commands  where commands end: RESP as for `redis-cli --pipe`, or one a line
//!   split, meaning  the words of a line; what a command is to a load
//!
//!   window          what of a file both look at: as many bytes as a record needs
//! ```
//!
//! A source has `next() -> Result<Option<Record>, Error>`: errors end a load, broken rows are part of it.

mod commands;
mod convert;
pub mod csv;
pub mod import;
pub mod input;
mod json;
mod meaning;
mod resp;
pub mod rows;
pub mod script;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
#[cfg(unix)]
mod server_tests;
mod split;
mod text;
mod unpack;
mod value;
mod window;

use std::collections::HashMap;
use std::io::{self, Read};

use self::window::{MAX_RECORD, Window};
use crate::error::Error;

/// So many bytes are kept from row to row, for what has to be copied.
const KEPT: usize = 256 * 1024;

/// So many fields a row may have: no command takes as many arguments. A line of commas would cost 24 times its length.
const MAX_FIELDS: usize = 1 << 20;

/// A row and the line in which it begins, from 1; or why that is none.
type Line<T> = (u64, Result<T, String>);

/// Why no more rows can be read.
#[derive(Debug)]
enum Halt {
    Read(io::Error),
    /// What is wrong with the file.
    Because(String),
    Error(Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn too_long(line: u64) -> Halt {
    Halt::Because(format!("line {line} is longer than {} MiB", MAX_RECORD / (1024 * 1024)))
}

/// The length of the byte order mark with which the window begins.
fn skip_mark(window: &mut Window<impl Read>) -> Result<usize, Halt> {
    window.more_up_to(3)?;
    mark(window.bytes()).map_err(|reason| Halt::Because(reason.to_owned()))
}

/// The length of the byte order mark with which a file of text begins.
///
/// # Errors
/// Where it is not that of UTF-8.
fn mark(bytes: &[u8]) -> Result<usize, &'static str> {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => Ok(3),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err("it is UTF-16: only UTF-8 is read"),
        _ => Ok(0),
    }
}

/// Of things with names: where each name is first and last, in the order in which they appear first.
fn last_of_each<'a>(count: usize, name: impl Fn(usize) -> &'a [u8]) -> Vec<(usize, usize)> {
    /// Fewer are compared one by one.
    const MANY: usize = 16;
    let mut each: Vec<(usize, usize)> = Vec::with_capacity(count);
    let mut known = HashMap::new();
    for at in 0..count {
        let place = match count {
            0..MANY => each.iter().position(|(first, _)| name(*first) == name(at)),
            _ => known.insert(name(at), each.len()),
        };
        match place {
            None => each.push((at, at)),
            Some(place) => {
                each[place].1 = at;
                if count >= MANY {
                    known.insert(name(at), place);
                }
            }
        }
    }
    each
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::config::Config;
    use crate::loader::server::config;
    use crate::loader::{Listener, Notice, Shared};
    use crate::pipeline::Pipeline;

    struct Deaf;

    impl Listener for Deaf {
        fn notify(&self, _: Notice) {}
    }

    /// Nobody works for it: what it takes stays.
    pub(super) fn pipeline(max_buffered: usize) -> Pipeline {
        let config = Config {
            max_buffered,
            ..config(1)
        };
        Pipeline::new(Arc::new(Shared::new(config, Arc::new(Deaf))))
    }
}
