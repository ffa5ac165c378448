//! A file on its way into a load, on a thread of its own: it reads, fills the template, and waits where the server is slower.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;

use super::input::{Input, Progress};
use super::rows::{self, Reader};
use super::script::{self, Script, What};
use crate::error::Error;
use crate::load::{Load, Next};
use crate::loader::Shared;
use crate::pipeline::Pipeline;
use crate::rows::Tally;
use crate::template::{OnNull, Template};

/// What is to be read.
#[derive(Debug)]
pub struct File {
    /// `-`: standard input.
    pub path: PathBuf,
    pub content: Content,
    /// Rows in front of this one are passed over.
    pub first_row: u64,
}

#[derive(Debug)]
pub enum Content {
    /// Rows, of which the template makes commands.
    Rows {
        format: rows::Format,
        template: Template,
        on_null: OnNull,
    },
    Commands(script::Format),
}

/// A file on its way.
#[derive(Debug)]
pub struct Import {
    tally: Arc<Tally>,
    feeding: Mutex<Feeding>,
    /// No more rows are wanted.
    stopped: Arc<AtomicBool>,
    /// How far the file is read, once it is open.
    progress: OnceLock<Arc<Progress>>,
    rows: AtomicU64,
}

#[derive(Debug)]
struct Feeding {
    load: Load,
    pipeline: Pipeline,
    /// What the end is reported under, until it is.
    ticket: Option<u32>,
}

/// A row makes no command.
struct Failed {
    command: String,
    code: &'static str,
    message: String,
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

impl Import {
    /// Begins to read. The end is reported under `ticket`, with the reason where it is not that of the file.
    ///
    /// # Errors
    /// Where there can be no further thread.
    pub fn begin(shared: &Arc<Shared>, load: Load, file: File, ticket: u32) -> io::Result<Arc<Self>> {
        let import = Arc::new(Self {
            tally: Arc::clone(load.tally()),
            feeding: Mutex::new(Feeding {
                load,
                pipeline: Pipeline::for_load(Arc::clone(shared)),
                ticket: Some(ticket),
            }),
            stopped: Arc::default(),
            progress: OnceLock::new(),
            rows: AtomicU64::new(0),
        });
        let reader = Arc::clone(&import);
        let shared = Arc::clone(shared);
        let read = move || {
            let read = catch_unwind(AssertUnwindSafe(|| reader.read(&shared, file)));
            let read = read.unwrap_or_else(|_| Err(Error::Internal("reading a file panicked".to_owned())));
            let mut feeding = reader.feeding();
            // Once it is stopped, reading fails for that reason.
            if let Err(cause) = read
                && !reader.is_stopped()
            {
                reader.tally.ended(cause);
            }
            feeding.close();
        };
        thread::Builder::new().name("respipe-import".to_owned()).spawn(read)?;
        Ok(import)
    }

    /// No more rows are taken, and what is not executed is forgotten. Does not wait for a read that waits for its bytes.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
        let mut feeding = self.feeding();
        feeding.pipeline.shared().budget.nudge();
        feeding.pipeline.discard();
        feeding.close();
    }

    /// Executes what has come by now. Does nothing where a row is made commands of: that may take its time, and is no sign of
    /// a slow source.
    pub fn execute(&self) {
        let mut feeding = match self.feeding.try_lock() {
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(feeding) => feeding,
        };
        let Feeding { load, pipeline, .. } = &mut *feeding;
        load.execute(pipeline);
    }

    /// What became of it by now.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// In a rehearsal: the first commands, in RESP.
    pub fn sample(&self) -> Vec<Vec<u8>> {
        self.feeding().load.sample().to_vec()
    }

    /// Rows gone through, those that were passed over among them.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// How far the file is read, once it is open.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.get().map(Arc::as_ref)
    }

    fn read(&self, shared: &Arc<Shared>, file: File) -> Result<(), Error> {
        let input = Input::open(&file.path, &self.stopped)?;
        let _ = self.progress.set(Arc::clone(input.about().progress()));
        match file.content {
            Content::Rows {
                format,
                template,
                on_null,
            } => self.read_rows(Reader::new(input, format, template, on_null)?, file.first_row),
            Content::Commands(format) => self.read_commands(Script::new(input, format, &shared.config), file.first_row),
        }
    }

    fn read_rows(&self, mut reader: Reader, first_row: u64) -> Result<(), Error> {
        let (about, command) = (Arc::clone(reader.about()), reader.command());
        while let Some(mut record) = reader.next()? {
            let (row, line) = (record.row, Some(record.line));
            let flow = self.row(row, line, first_row, |pipeline| match &mut record.content {
                Ok(content) => content.append(pipeline).map(drop).map_err(|failed| Failed {
                    command: failed.command,
                    code: failed.error.code(),
                    message: failed.error.to_string(),
                }),
                Err(reason) => Err(Failed {
                    command: command.clone(),
                    code: BROKEN,
                    message: format!("{}:{}: {reason}", about.name(), record.line),
                }),
            });
            if flow? == Flow::End {
                break;
            }
        }
        Ok(())
    }

    fn read_commands(&self, mut script: Script<Input>, first_row: u64) -> Result<(), Error> {
        while let Some(record) = script.next()? {
            let what = record.what;
            let counts = record.row >= first_row;
            if matches!(what, What::Begin) && counts && self.transaction(Load::begin_transaction) == Flow::End {
                break;
            }
            let flow = self.row(record.row, record.line, first_row, |pipeline| match &what {
                What::Command(command) => command.append(pipeline).map(drop).map_err(|error| Failed {
                    command: String::new(),
                    code: error.code(),
                    message: error.to_string(),
                }),
                What::Failed(refused) => Err(Failed {
                    command: refused.command.clone(),
                    code: refused.code,
                    message: refused.message.clone(),
                }),
                What::Begin | What::End | What::Passed => Ok(()),
            });
            if flow? == Flow::End {
                break;
            }
            if matches!(what, What::End) && counts && self.transaction(Load::end_transaction) == Flow::End {
                break;
            }
        }
        Ok(())
    }

    /// One row: `append` makes its commands.
    #[inline]
    fn row(
        &self,
        row: u64,
        line: Option<u64>,
        first_row: u64,
        mut append: impl FnMut(&mut Pipeline) -> Result<(), Failed>,
    ) -> Result<Flow, Error> {
        if row < first_row {
            self.rows.store(row + 1, Relaxed);
            return Ok(if self.is_stopped() { Flow::End } else { Flow::GoOn });
        }
        let mut feeding = self.feeding();
        let mut has_waited = false;
        loop {
            let Feeding { load, pipeline, ticket } = &mut *feeding;
            if ticket.is_none() || self.is_stopped() {
                return Ok(Flow::End);
            }
            self.rows.store(row + 1, Relaxed);
            load.begin_row(pipeline, row, line);
            let next = match append(pipeline) {
                Ok(()) => load.end_row(pipeline),
                Err(failed) if failed.code == FULL && !(has_waited && pipeline.shared().budget.is_idle()) => {
                    // What is on its way may be in the way, of this load or another. A row that finds no room then never will.
                    has_waited = true;
                    load.undo_row(pipeline);
                    load.execute(pipeline);
                    let shared = Arc::clone(pipeline.shared());
                    drop(feeding);
                    shared
                        .budget
                        .wait_until_idle(|| self.is_stopped() || self.tally.is_given_up());
                    feeding = self.feeding();
                    continue;
                }
                Err(failed) if failed.code == FULL && load.is_in_transaction() => {
                    pipeline.discard();
                    return Err(Error::BufferFull(format!(
                        "a transaction of the file is too large: {}",
                        failed.message
                    )));
                }
                Err(failed) => load.fail_row(pipeline, &failed.command, failed.code, &failed.message),
            };
            return Ok(self.follow(next, feeding));
        }
    }

    /// The beginning or the end of a transaction.
    fn transaction(&self, turn: impl FnOnce(&mut Load, &mut Pipeline) -> Next) -> Flow {
        let mut feeding = self.feeding();
        let Feeding { load, pipeline, ticket } = &mut *feeding;
        if ticket.is_none() {
            return Flow::End;
        }
        let next = turn(load, pipeline);
        self.follow(next, feeding)
    }

    fn follow(&self, next: Next, mut feeding: MutexGuard<'_, Feeding>) -> Flow {
        match next {
            Next::GoOn => Flow::GoOn,
            Next::Stop => {
                feeding.pipeline.discard();
                Flow::End
            }
            Next::Wait => {
                let shared = Arc::clone(feeding.pipeline.shared());
                drop(feeding);
                shared.budget.wait_until_drained(|| self.is_stopped());
                Flow::GoOn
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn feeding(&self) -> MutexGuard<'_, Feeding> {
        self.feeding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeding {
    fn close(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.load.close(&mut self.pipeline, ticket);
        }
    }
}

/// The code of a row that is broken.
const BROKEN: &str = "RESPIPE_INVALID_ARGUMENT";

/// That of one that finds no room.
const FULL: &str = "RESPIPE_BUFFER_FULL";
