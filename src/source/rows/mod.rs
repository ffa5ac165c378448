//! Rows of a file to commands: a record is read, and a template is filled with it.
//!
//! What is needed of a row is settled before the first: which column a hole means, which member of an object.

mod row;

use std::sync::Arc;

use self::row::{CsvRow, Inputs, JsonRow, Row};
use super::convert::convert;
use super::csv::{Columns, Csv, Fields, Settings};
use super::input::{About, Input};
use super::json::{All, Ndjson, Object};
use super::text;
use super::window::Window;
use super::{Halt, KEPT};
use crate::error::Error;
use crate::pipeline::{Committed, Pipeline};
use crate::resp::compose::encode_word;
use crate::template::fill::{Filling, Stop, Values, Why};
use crate::template::{OnNull, Template};

/// How a file of rows is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Csv(Settings),
    Ndjson,
}

/// The rows of a file, one after the other.
pub struct Reader {
    about: Arc<About>,
    source: Source,
    plan: Plan,
    scratch: Scratch,
    /// The number of the next row.
    row: u64,
}

/// A row: what there is of it, and where.
pub struct Record<'a> {
    /// From 0; broken rows count.
    pub row: u64,
    /// The line in which it begins, from 1.
    pub line: u64,
    /// Or why it is broken.
    pub content: Result<Content<'a>, String>,
}

/// A row that is not broken.
pub struct Content<'a> {
    kind: Kind<'a>,
    plan: &'a Plan,
    scratch: &'a mut Scratch,
}

/// A row makes no command.
#[derive(Debug)]
pub struct Failed {
    /// The command that it does not make: `HSET`.
    pub command: String,
    pub error: Error,
}

enum Source {
    Csv(Csv<Input>),
    Ndjson(Ndjson<Input>),
}

enum Kind<'a> {
    Csv(Fields<'a>),
    Ndjson(Object<'a>),
}

/// What is done with each row.
struct Plan {
    template: Template,
    on_null: OnNull,
    /// The command with `{*}`, as messages call it.
    star: Option<String>,
    converts: bool,
    /// The whole row is wanted.
    takes_row: bool,
    /// Of a csv file, the column of each hole.
    columns: Vec<usize>,
    /// … how many columns are known to be there,
    known: usize,
    /// … and their names, where all are wanted.
    names: Vec<Name>,
}

/// The name of a column.
struct Name {
    /// As a word.
    word: Vec<u8>,
    /// As the name of a member: `"id":`.
    member: Vec<u8>,
}

/// What conversions make of a row's values.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    /// Where in `bytes` an input is, if it is there.
    inputs: Vec<Option<(usize, usize)>>,
}

impl Reader {
    /// Begins to read rows of `input` for `template`: of a csv file the header row is read, and columns are looked up.
    ///
    /// # Errors
    /// `Io`, where the file cannot be read or is not what it should be; `InvalidArgument`, where it has no such column, or
    /// several; `InvalidOption`.
    pub fn new(input: Input, format: Format, template: Template, on_null: OnNull) -> Result<Self, Error> {
        let about = Arc::clone(input.about());
        let mut plan = Plan::new(template, on_null);
        let window = Window::new(input);
        let source = match format {
            Format::Csv(Settings { delimiter, header }) => {
                let mut csv = Csv::new(window, delimiter);
                csv.begin(header).map_err(|halt| told(halt, &about))?;
                plan.look_up(csv.columns())
                    .map_err(|error| told(error.into(), &about))?;
                Source::Csv(csv)
            }
            Format::Ndjson => {
                let all = if plan.star.is_some() {
                    All::Wanted
                } else {
                    All::Unwanted
                };
                let mut ndjson = Ndjson::new(window, &plan.template.holes, all);
                ndjson.begin().map_err(|halt| told(halt, &about))?;
                Source::Ndjson(ndjson)
            }
        };
        Ok(Self {
            about,
            source,
            scratch: Scratch {
                bytes: Vec::new(),
                inputs: vec![None; plan.template.inputs.len()],
            },
            plan,
            row: 0,
        })
    }

    /// The file, and how far it is read.
    pub fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// What a broken row would have made first: `HSET`.
    pub fn command(&self) -> String {
        let first = self.plan.template.commands.first();
        first.map_or_else(String::new, |shape| wire_name(&shape.name))
    }

    /// The next row; `None` behind the last one.
    ///
    /// # Errors
    /// Where reading cannot go on: broken rows are no errors.
    #[expect(clippy::should_implement_trait, reason = "a record is lent, which no iterator can")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        let Self {
            about,
            source,
            plan,
            scratch,
            row,
        } = self;
        let line = match source {
            Source::Csv(csv) => {
                let line = csv.next().map_err(|halt| told(halt, about))?;
                line.map(|(line, fields)| (line, fields.map(Kind::Csv)))
            }
            Source::Ndjson(ndjson) => {
                let line = ndjson.next().map_err(|halt| told(halt, about))?;
                line.map(|(line, object)| (line, object.map(Kind::Ndjson)))
            }
        };
        let Some((line, kind)) = line else { return Ok(None) };
        if let Ok(Kind::Csv(fields)) = &kind
            && fields.count() > plan.known
        {
            plan.count(fields.count()).map_err(|error| told(error.into(), about))?;
        }
        let number = *row;
        *row += 1;
        let content = kind.map(|kind| Content { kind, plan, scratch });
        Ok(Some(Record {
            row: number,
            line,
            content,
        }))
    }
}

impl Plan {
    fn new(template: Template, on_null: OnNull) -> Self {
        let star = template.commands.iter().find(|shape| shape.star.is_some());
        Self {
            on_null,
            star: star.map(|shape| shape.name.clone()),
            converts: template.inputs.iter().any(|input| input.conversion.is_some()),
            takes_row: star.is_some() || template.inputs.iter().any(|input| input.hole.is_none()),
            columns: Vec::new(),
            known: 0,
            names: Vec::new(),
            template,
        }
    }

    /// Finds the columns of a csv file that the template names.
    fn look_up(&mut self, columns: &Columns) -> Result<(), Error> {
        let holes = self.template.holes.iter();
        self.columns = holes.map(|hole| columns.find(hole)).collect::<Result<_, _>>()?;
        if self.takes_row
            && let Some(name) = columns.duplicate()
        {
            return Err(Error::InvalidArgument(format!(
                "column {name} is there twice: {{*}} needs names that differ"
            )));
        }
        match columns {
            Columns::Named(names) => self.name(columns, names.len()),
            Columns::Numbered => Ok(()),
        }
    }

    /// Only the first row tells how many columns there are.
    #[cold]
    fn count(&mut self, count: usize) -> Result<(), Error> {
        if let Some(beyond) = self.columns.iter().find(|column| **column >= count) {
            return Err(Error::InvalidArgument(format!(
                "there is no column {beyond}, only 0 to {}",
                count - 1
            )));
        }
        self.name(&Columns::Numbered, count)
    }

    fn name(&mut self, columns: &Columns, count: usize) -> Result<(), Error> {
        self.known = count;
        if !self.takes_row {
            return Ok(());
        }
        let named = columns.names(count).into_iter().enumerate().map(|(at, name)| {
            let (mut word, mut member) = (Vec::new(), Vec::new());
            encode_word(&mut word, &name);
            text::quote(&name, &mut member)
                .map_err(|_| Error::InvalidArgument(format!("the name of column {} is not UTF-8", at + 1)))?;
            member.push(b':');
            Ok(Name { word, member })
        });
        self.names = named.collect::<Result<_, Error>>()?;
        Ok(())
    }
}

impl Content<'_> {
    /// Appends the commands of the template: all of them, or none.
    ///
    /// # Errors
    /// Where the row makes none: the messages are those of rows in JavaScript; or where they find no room (`BufferFull`).
    pub fn append(&mut self, pipeline: &mut Pipeline) -> Result<Committed, Failed> {
        let Self { kind, plan, scratch } = self;
        match kind {
            Kind::Csv(fields) => plan.append(&CsvRow { fields, plan }, scratch, pipeline),
            Kind::Ndjson(object) => {
                let members = match &plan.star {
                    Some(_) => object.members(),
                    None => Vec::new(),
                };
                let mut row = JsonRow { object, members };
                if let Some(star) = &plan.star {
                    plan.convert(&row, scratch)?;
                    row.check(star, plan.on_null)?;
                }
                plan.append(&row, scratch, pipeline)
            }
        }
    }
}

impl Plan {
    #[inline]
    fn append<R: Row>(&self, row: &R, scratch: &mut Scratch, pipeline: &mut Pipeline) -> Result<Committed, Failed> {
        if self.converts {
            self.convert(row, scratch)?;
        }
        let filling = Filling {
            template: &self.template,
            on_null: self.on_null,
            values: Inputs {
                row,
                template: &self.template,
                scratch,
            },
        };
        filling
            .append(pipeline)
            .map_err(|stop| self.failed(&filling.values, stop))
    }

    /// Converts what is to be converted, all of it before anything is sent, as with rows of JavaScript.
    fn convert<R: Row>(&self, row: &R, Scratch { bytes, inputs }: &mut Scratch) -> Result<(), Failed> {
        bytes.clear();
        bytes.shrink_to(KEPT);
        for (input, place) in self.template.inputs.iter().zip(inputs) {
            let Some(conversion) = input.conversion else { continue };
            *place = None;
            let start = bytes.len();
            let failed = |reason| Failed::because(&input.command, reason);
            match input.hole {
                None => row
                    .json(bytes)
                    .map_err(|reason| failed(format!("the row of {} {reason}", input.command)))?,
                Some(hole) => {
                    let value = row.hole(hole);
                    // What becomes of a missing value is up to the option onNull.
                    if value.missing().is_some() {
                        continue;
                    }
                    let name = || format!("hole {} of {}", self.template.holes[hole], input.command);
                    convert(conversion, value, name, bytes).map_err(failed)?;
                }
            }
            *place = Some((start, bytes.len()));
        }
        Ok(())
    }

    #[cold]
    fn failed<R: Row>(&self, values: &Inputs<'_, R>, Stop { command, why }: Stop) -> Failed {
        let error = match why {
            Why::Error(error) => error,
            Why::WrongType { input, what } => {
                let described = match input.checked_sub(values.inputs()) {
                    None => values.value(input).described_in_hole(),
                    Some(field) => values.row.value(field / 2).described(),
                };
                Error::InvalidArgument(format!("{what} is {described}"))
            }
        };
        let shape = self.template.commands.get(command);
        Failed {
            command: shape.map_or_else(String::new, |shape| wire_name(&shape.name)),
            error,
        }
    }
}

impl Failed {
    fn because(command: &str, reason: String) -> Self {
        Self {
            command: wire_name(command),
            error: Error::InvalidArgument(reason),
        }
    }
}

/// As it is on the wire, without a subcommand.
fn wire_name(name: &str) -> String {
    name.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}

#[cold]
fn told(halt: Halt, about: &About) -> Error {
    match halt {
        Halt::Read(error) => about.error(&error),
        Halt::Because(reason) => about.because(reason),
        Halt::Error(Error::InvalidArgument(reason)) => Error::InvalidArgument(format!("{}: {reason}", about.name())),
        Halt::Error(error) => error,
    }
}

#[cfg(test)]
mod tests;
