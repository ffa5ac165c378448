//! Where commands end in a file of plain commands: one a line, as one would type them into redis-cli. Blank lines, and
//! those that begin with `#`, are none.
//!
//! Bytes of the file come in, as far as they were read; what the line in front is goes out.

use super::resp::{Found, end_of_line, more};
use super::split::is_blank;

/// Goes on where it stopped when more bytes have come.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// So many bytes have no end of line among them.
    searched: usize,
}

impl Scanner {
    /// What the line in front is; after [`Found::More`] the bytes have to be the same, and more.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Found {
        match end_of_line(bytes, &mut self.searched) {
            Some(end) => line(&bytes[..end], end + 1),
            None => more(bytes),
        }
    }

    /// The same at the end of the file: a line needs no end there.
    pub(super) fn find_last(&mut self, bytes: &[u8]) -> Found {
        self.searched = 0;
        match self.find(bytes) {
            Found::More { .. } if !bytes.is_empty() => {
                self.searched = 0;
                line(bytes, bytes.len())
            }
            found => found,
        }
    }
}

fn line(line: &[u8], length: usize) -> Found {
    match line.iter().find(|byte| !is_blank(**byte)) {
        None | Some(b'#') => Found::Nothing { length },
        Some(_) => Found::Line {
            length,
            line: line.len(),
        },
    }
}
