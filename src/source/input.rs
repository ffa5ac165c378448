//! Opens a file or standard input, and unpacks it on the way: what comes out are the bytes that the rows are made of.
//!
//! Whoever shows progress reads how far it is from another thread: in bytes of the file as it lies on the disk.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::script::Bytes;
use super::unpack::{self, Packing};
use crate::error::Error;

/// Standard input goes by this path.
pub const STANDARD_INPUT: &str = "-";

/// A file that is open, or standard input.
pub struct Input {
    about: Arc<About>,
    reader: Box<dyn Read + Send>,
}

/// What is known of a file, for whoever does not read it.
#[derive(Debug)]
pub struct About {
    name: String,
    packing: Option<Packing>,
    progress: Arc<Progress>,
}

/// How far a file is read.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read, packed as they are.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes to read in all, by what the file had when it was opened; `None` for a pipe.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl Input {
    /// Opens the file at `path`. Packed is what is called `.gz` or `.zst`; of any other name, what begins as such files do.
    ///
    /// # Errors
    /// `Io`, where there is none, it may not be read, or it is a directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_standard = path == Path::new(STANDARD_INPUT);
        let name = if is_standard {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let opened = if is_standard { standard_input() } else { by_path(path) };
        opened
            .and_then(|(source, total)| Self::of(&name, source, total))
            .map_err(|error| failed(&name, None, &error))
    }

    /// Reads what `source` gives; `name` is what messages call it, and may tell how it is packed.
    ///
    /// # Errors
    /// Where its first bytes cannot be read.
    pub fn of(name: &str, source: Box<dyn Read + Send>, total: Option<u64>) -> io::Result<Self> {
        let progress = Arc::new(Progress {
            read: AtomicU64::new(0),
            total,
        });
        let counted = Counted {
            source,
            progress: Arc::clone(&progress),
        };
        let (packing, reader) = unpack::unpacked(name, counted)?;
        let about = Arc::new(About {
            name: name.to_owned(),
            packing,
            progress,
        });
        Ok(Self { about, reader })
    }

    pub fn about(&self) -> &Arc<About> {
        &self.about
    }
}

impl About {
    /// What messages call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What is to be said where reading failed.
    pub fn error(&self, error: &io::Error) -> Error {
        failed(&self.name, self.packing, error)
    }

    /// Something else is wrong with the file.
    pub fn because(&self, reason: impl Into<String>) -> Error {
        Error::Io {
            path: self.name.clone(),
            reason: reason.into(),
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl Bytes for Input {
    fn error(&self, error: &io::Error) -> Error {
        self.about.error(error)
    }

    fn because(&self, reason: String) -> Error {
        self.about.because(reason)
    }
}

/// Counts what is read of a file.
struct Counted {
    source: Box<dyn Read + Send>,
    progress: Arc<Progress>,
}

/// How long to wait where a terminal or a pipe was left in a state in which reads do not wait by themselves.
const NOT_YET: Duration = Duration::from_millis(5);

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.source.read(into) {
                Ok(count) => {
                    self.progress.read.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(NOT_YET),
                Err(error) => return Err(error),
            }
        }
    }
}

type Opened = (Box<dyn Read + Send>, Option<u64>);

fn by_path(path: &Path) -> io::Result<Opened> {
    opened(File::open(path)?, 0)
}

/// Of a file, how much there is.
fn opened(file: File, from: u64) -> io::Result<Opened> {
    let about = file.metadata()?;
    if about.is_dir() {
        // On Linux only the first read would tell.
        return Err(ErrorKind::IsADirectory.into());
    }
    let total = about.is_file().then(|| about.len().saturating_sub(from));
    Ok((Box::new(file), total))
}

/// Past the buffer of the standard library, which would copy everything once more; a file put there has a length.
#[cfg(unix)]
fn standard_input() -> io::Result<Opened> {
    use std::io::Seek;
    use std::os::fd::AsFd;

    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let from = file.stream_position().unwrap_or(0);
    opened(file, from)
}

#[cfg(not(unix))]
fn standard_input() -> io::Result<Opened> {
    Ok((Box::new(io::stdin()), None))
}

fn failed(name: &str, packing: Option<Packing>, error: &io::Error) -> Error {
    let reason = match (packing, error.raw_os_error(), error.kind()) {
        (_, _, ErrorKind::NotFound) => "there is no such file".to_owned(),
        (_, _, ErrorKind::PermissionDenied) => "permission denied".to_owned(),
        (_, _, ErrorKind::IsADirectory) => "it is a directory".to_owned(),
        (Some(packing), None, kind) => unpack::told(packing, kind),
        _ => error.to_string(),
    };
    Error::Io {
        path: name.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("respipe-input-{}-{name}", std::process::id()))
    }

    fn refused(path: &Path) -> String {
        let error = Input::open(path).err().expect("an error");
        assert_eq!(error.code(), "RESPIPE_IO");
        error.to_string().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn what_cannot_be_opened_is_named_with_the_reason() {
        assert_eq!(refused(&path("missing")), "cannot read FILE: there is no such file");
        assert_eq!(refused(&std::env::temp_dir()), "cannot read FILE: it is a directory");
    }

    #[test]
    fn bytes_are_counted_as_they_lie_on_the_disk() {
        let path = path("plain.csv");
        fs::write(&path, vec![b'x'; 100_000]).expect("written");
        let mut input = Input::open(&path).expect("a file");
        let progress = Arc::clone(input.about().progress());
        assert_eq!(progress.total(), Some(100_000));
        let mut content = Vec::new();
        input.read_to_end(&mut content).expect("read");
        assert_eq!((content.len(), progress.read()), (100_000, 100_000));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_source_that_is_not_ready_is_asked_again() {
        struct Hesitant(u8);
        impl Read for Hesitant {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(ErrorKind::WouldBlock.into()),
                    2 => Err(ErrorKind::Interrupted.into()),
                    3 => {
                        into[0] = b'x';
                        Ok(1)
                    }
                    _ => Ok(0),
                }
            }
        }
        let mut input = Input::of("pipe", Box::new(Hesitant(0)), None).expect("open");
        let mut content = Vec::new();
        input.read_to_end(&mut content).expect("read");
        assert_eq!(content, b"x");
    }
}
