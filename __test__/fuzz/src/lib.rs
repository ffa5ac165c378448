//! What the targets of files share: a reader that gives its bytes in pieces, and a pipeline that nobody works for.
//!
//! Of the data, the first byte chooses among the ways in which a target reads, the second is how many bytes of cuts
//! follow, and the rest is the file.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use respipe::config::{Config, Login, Replies, Resend, Retry, Server, Throttle, Transaction, WhenFull};
use respipe::error::Error;
use respipe::loader::{Listener, Notice, Shared};
use respipe::pipeline::Pipeline;
use respipe::resp::walk;
use respipe::source::csv::Settings;
use respipe::source::input::Input;
use respipe::source::rows::{Format, Reader};
use respipe::source::script::{self, Bytes, Script, What};
use respipe::template::{OnNull, compile};

/// Choice, cuts, and file.
pub fn parts(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [choice, count, data @ ..] = data else { return None };
    let (cuts, file) = data.split_at(usize::from(*count).min(data.len()));
    Some((*choice, cuts, file))
}

/// Gives pieces whose lengths are those of the cuts in turn; without cuts, all there is.
pub struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    cuts: Vec<u8>,
    reads: usize,
}

impl Pieces {
    pub fn new(bytes: &[u8], cuts: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            at: 0,
            cuts: cuts.to_vec(),
            reads: 0,
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let cut = self.cuts.get(self.reads % self.cuts.len().max(1));
        self.reads += 1;
        let length = cut.map_or(usize::MAX, |cut| usize::from(*cut).max(1));
        let rest = &self.bytes[self.at..];
        let count = length.min(into.len()).min(rest.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Bytes for Pieces {
    fn error(&self, error: &io::Error) -> Error {
        self.because(error.to_string())
    }

    fn because(&self, reason: String) -> Error {
        Error::Io {
            path: "pieces".to_owned(),
            reason,
        }
    }
}

/// What there is of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// In RESP, and the row and line that it is from.
    Command(Vec<u8>, u64, Option<u64>),
    /// A row that makes none, or what else is told of it.
    Told(String, u64, Option<u64>),
    /// The end of it all, before the file's.
    End(String),
}

impl Item {
    /// The words of a command.
    pub fn words(&self) -> Option<Vec<Vec<u8>>> {
        let Self::Command(bytes, ..) = self else { return None };
        let words = walk::words(bytes, 0).expect("a whole command");
        Some(words.into_iter().map(<[u8]>::to_vec).collect())
    }
}

/// The rows of a csv file.
pub fn csv(settings: Settings, template: &str, on_null: OnNull, file: &[u8], cuts: &[u8]) -> Vec<Item> {
    rows(Format::Csv(settings), template, on_null, file, cuts)
}

/// The rows of an ndjson file.
pub fn ndjson(template: &str, on_null: OnNull, file: &[u8], cuts: &[u8]) -> Vec<Item> {
    rows(Format::Ndjson, template, on_null, file, cuts)
}

fn rows(format: Format, template: &str, on_null: OnNull, file: &[u8], cuts: &[u8]) -> Vec<Item> {
    // Its name says that it is not packed.
    let input = Input::of("rows", Box::new(Pieces::new(file, cuts)), None).expect("bytes");
    let template = compile(&[template]).expect("a template");
    let mut reader = match Reader::new(input, format, template, on_null) {
        Ok(reader) => reader,
        Err(error) => return vec![Item::End(error.to_string())],
    };
    let mut items = Vec::new();
    let mut seen = (0, 0);
    loop {
        let record = match reader.next() {
            Ok(None) => return items,
            Ok(Some(record)) => record,
            Err(error) => {
                items.push(Item::End(error.to_string()));
                return items;
            }
        };
        let (row, line) = (record.row, record.line);
        assert!(row == items.len() as u64 && line > seen.1, "rows are in order");
        seen = (row, line);
        items.push(match record.content {
            Err(reason) => Item::Told(reason, row, Some(line)),
            Ok(mut content) => match appended(|pipeline| content.append(pipeline).map(drop)) {
                Ok(bytes) => Item::Command(bytes, row, Some(line)),
                Err(failed) => Item::Told(failed.error.to_string(), row, Some(line)),
            },
        });
    }
}

/// The commands of a file.
pub fn commands(format: script::Format, file: &[u8], cuts: &[u8]) -> Vec<Item> {
    let mut script = Script::new(Pieces::new(file, cuts), format, &config());
    let mut items = Vec::new();
    loop {
        let record = match script.next() {
            Ok(None) => return items,
            Ok(Some(record)) => record,
            Err(error) => {
                items.push(Item::End(error.to_string()));
                return items;
            }
        };
        let (row, line) = (record.row, record.line);
        assert_eq!(row, items.len() as u64, "rows are in order");
        items.push(match record.what {
            What::Command(command) => {
                let bytes = appended(|pipeline| command.append(pipeline).map(drop)).expect("room");
                Item::Command(bytes, row, line)
            }
            What::Failed(refused) => Item::Told(refused.message, row, line),
            other => Item::Told(format!("{other:?}"), row, line),
        });
    }
}

thread_local! {
    static PIPELINE: RefCell<Pipeline> = RefCell::new(Pipeline::new(Arc::new(Shared::new(config(), Arc::new(Deaf)))));
}

/// What was appended: one command, whole.
fn appended<E>(append: impl FnOnce(&mut Pipeline) -> Result<(), E>) -> Result<Vec<u8>, E> {
    PIPELINE.with_borrow_mut(|pipeline| {
        let result = append(pipeline);
        let mut bytes = Vec::new();
        let commands = pipeline.take_back(|batch| {
            for segment in &batch.segments {
                bytes.extend_from_slice(segment.bytes());
            }
        });
        assert_eq!(commands, u64::from(result.is_ok()), "what failed appends nothing");
        if result.is_ok() {
            assert_eq!(walk::end_of_command(&bytes, 0), Some(bytes.len()), "one command");
        }
        result.map(|()| bytes)
    })
}

struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _: Notice) {}
}

/// Nothing is ever sent.
fn config() -> Config {
    Config {
        server: Server::Tcp {
            host: String::new(),
            port: 0,
        },
        tls: None,
        login: Login::default(),
        connect_timeout: Duration::ZERO,
        stall_timeout: Duration::ZERO,
        retry: Retry {
            first_connect: 0,
            attempts: None,
            max_elapsed: Duration::ZERO,
            min_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
        },
        replies: Replies::Check,
        transaction: Transaction::Off,
        auto_exec: None,
        max_buffered: 1 << 20,
        when_full: WhenFull::Throw,
        max_in_flight: 1 << 16,
        reconnect_every: 0,
        resend: Resend::Idempotent,
        checkpoint: None,
        wait_replicas: None,
        max_failures: 100,
        throttle: Throttle::default(),
    }
}
