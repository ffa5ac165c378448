//! Opens a file or standard input, and unpacks it on the way: what comes out are the bytes that the rows are made of.
//!
//! Whoever shows progress reads how far it is from another thread: in bytes of the file as it lies on the disk.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    stopped: Arc<AtomicBool>,
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
    /// Once `stopped` is set, reading fails: a file may go on for hours without a row.
    ///
    /// # Errors
    /// `Io`, where there is none, it may not be read, or it is a directory.
    pub fn open(path: &Path, stopped: &Arc<AtomicBool>) -> Result<Self, Error> {
        let is_standard = path == Path::new(STANDARD_INPUT);
        let name = if is_standard {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let opened = if is_standard { standard_input() } else { by_path(path) };
        opened
            .and_then(|(source, total)| Self::until(&name, source, total, stopped))
            .map_err(|error| failed(&name, None, &error))
    }

    /// Reads what `source` gives; `name` is what messages call it, and may tell how it is packed.
    ///
    /// # Errors
    /// Where its first bytes cannot be read.
    pub fn of(name: &str, source: Box<dyn Read + Send>, total: Option<u64>) -> io::Result<Self> {
        Self::until(name, source, total, &Arc::default())
    }

    fn until(
        name: &str,
        source: Box<dyn Read + Send>,
        total: Option<u64>,
        stopped: &Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let progress = Arc::new(Progress {
            read: AtomicU64::new(0),
            total,
        });
        let counted = Counted {
            source,
            progress: Arc::clone(&progress),
            stopped: Arc::clone(stopped),
        };
        let (packing, reader) = unpack::unpacked(name, counted)?;
        let about = Arc::new(About {
            name: name.to_owned(),
            packing,
            progress,
        });
        let stopped = Arc::clone(stopped);
        Ok(Self { about, reader, stopped })
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
        // Of a few packed bytes there may be much to unpack.
        go_on(&self.stopped)?;
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
    stopped: Arc<AtomicBool>,
}

fn go_on(stopped: &AtomicBool) -> io::Result<()> {
    match stopped.load(Ordering::Relaxed) {
        true => Err(io::Error::other("nothing more is wanted of it")),
        false => Ok(()),
    }
}

/// How long to wait where a terminal or a pipe was left in a state in which reads do not wait by themselves.
const NOT_YET: Duration = Duration::from_millis(5);

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            go_on(&self.stopped)?;
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
    if !about.is_file() {
        return Ok((Box::new(file), None));
    }
    let length = about.len();
    Ok((Box::new(OnDisk { file, length }), Some(length.saturating_sub(from))))
}

/// A file that has a length.
struct OnDisk {
    file: File,
    /// When it was opened.
    length: u64,
}

impl Read for OnDisk {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        if count == 0 && !into.is_empty() && self.has_shrunk()? {
            let reason = "it became shorter while it was read";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, reason));
        }
        Ok(count)
    }
}

impl OnDisk {
    /// There is less to read than there was, and not because that is how its file system tells lengths.
    fn has_shrunk(&mut self) -> io::Result<bool> {
        Ok(self.file.stream_position()? < self.length && self.file.metadata()?.len() < self.length)
    }
}

/// Past the buffer of the standard library, which would copy everything once more; a file put there has a length.
#[cfg(unix)]
fn standard_input() -> io::Result<Opened> {
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
        let error = Input::open(path, &Arc::default()).err().expect("an error");
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
        let mut input = Input::open(&path, &Arc::default()).expect("a file");
        let progress = Arc::clone(input.about().progress());
        assert_eq!(progress.total(), Some(100_000));
        let mut content = Vec::new();
        input.read_to_end(&mut content).expect("read");
        assert_eq!((content.len(), progress.read()), (100_000, 100_000));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_file_that_shrinks_is_no_file_that_ends() {
        let path = path("shrinks.csv");
        fs::write(&path, vec![b'x'; 100_000]).expect("written");
        let mut input = Input::open(&path, &Arc::default()).expect("a file");
        input.read_exact(&mut [0; 1_000]).expect("read");
        File::options()
            .write(true)
            .open(&path)
            .expect("a file")
            .set_len(500)
            .expect("shorter");
        let error = input.read(&mut [0; 1_000]).expect_err("an error");
        let told = input
            .about()
            .error(&error)
            .to_string()
            .replace(&path.display().to_string(), "FILE");
        assert_eq!(told, "cannot read FILE: it became shorter while it was read");
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn reading_stops_whatever_there_is() {
        for packing in ["", ".gz", ".zst"] {
            let stopped = Arc::default();
            let endless = Box::new(io::repeat(0x1f));
            let mut input = Input::until(packing, endless, None, &stopped).expect("open");
            stopped.store(true, Ordering::Relaxed);
            input.read(&mut [0; 10]).expect_err("stopped");
        }
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
