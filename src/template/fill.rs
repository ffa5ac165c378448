//! Fills a template: appends its commands with the values of a call or of a row, all of them or none.
//!
//! A value for each hole is the usual case, and goes straight between what was encoded beforehand. Where one is missing,
//! words are counted first, and written one by one. Where values come from is the caller's: JavaScript, or a file.

use super::{Missing, OnNull, Open, Piece, Shape, Star, Template, Word};
use crate::command::{MAX_ARGUMENTS, Role};
use crate::error::Error;
use crate::pipeline::{Committed, Pipeline};
use crate::resp::request::BadText;

/// What a template is filled with.
pub trait Values {
    /// How many there are.
    fn inputs(&self) -> usize;

    /// For `{*}`: the names and values of the fields of a row, both counted.
    fn fields(&self) -> usize;

    /// What it is called where there is no value.
    fn missing(&self, input: usize) -> Option<&'static str>;

    /// Appends a value as a word.
    ///
    /// # Errors
    /// Where it has no form on the wire; a missing one has none.
    fn word(&self, pipeline: &mut Pipeline, input: usize, role: Role) -> Result<(), Refusal>;

    /// Appends a word that is a value with text around it.
    ///
    /// # Errors
    /// As with `word`.
    fn around(&self, pipeline: &mut Pipeline, prefix: &[u8], input: usize, suffix: &[u8]) -> Result<(), Refusal>;

    /// Appends a value to the word begun.
    ///
    /// # Errors
    /// As with `word`.
    fn piece(&self, pipeline: &mut Pipeline, input: usize) -> Result<(), Refusal>;

    /// Appends a name or a value of the row's fields as a word: names have even numbers, and each its value behind it.
    ///
    /// # Errors
    /// As with `word`.
    fn field(&self, pipeline: &mut Pipeline, at: usize, role: Role) -> Result<(), Refusal>;
}

/// Why a value has no form on the wire.
#[derive(Debug)]
pub enum Refusal {
    /// It is missing, or of a type that no command takes: who brought it knows best what to call it.
    WrongType,
    /// What is wrong with it: behind "hole name of hset ".
    Because(&'static str),
    Full(Error),
}

impl From<BadText> for Refusal {
    #[cold]
    fn from(bad: BadText) -> Self {
        match bad {
            BadText::LoneSurrogate => Self::Because(HALF_PAIR),
            BadText::TooLong => Self::Because(TOO_LONG),
        }
    }
}

/// What is said of text that UTF-8 cannot express.
pub const HALF_PAIR: &str =
    "has half of a surrogate pair, which UTF-8 cannot express (see String.prototype.isWellFormed)";

pub const TOO_LONG: &str = "is longer than 512 MiB, which no server takes";

/// Nothing was appended.
#[derive(Debug)]
pub struct Stop {
    /// The command that cannot be made, by its place in the template.
    pub command: usize,
    pub why: Why,
}

#[derive(Debug)]
pub enum Why {
    Error(Error),
    /// Behind `what`, it is to be said what it is. Inputs count first, then names and values of fields.
    WrongType {
        input: usize,
        what: String,
    },
}

impl Why {
    fn argument(text: String) -> Self {
        Self::Error(Error::InvalidArgument(text))
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// After so many words of fields it is asked whether the command can still find room; large ones ask by themselves.
const LOOK_EVERY: usize = 2048;

/// A template, and what it is to be filled with.
pub struct Filling<'a, V> {
    pub template: &'a Template,
    pub on_null: OnNull,
    pub values: V,
}

/// A value that was refused, by its number.
struct Bad {
    input: usize,
    refusal: Refusal,
}

impl<V: Values> Filling<'_, V> {
    /// Appends the commands of the template: all of them, or none.
    ///
    /// # Errors
    /// Where a value cannot be sent, or is missing where it must not be; where there are too few or too many; where the
    /// commands find no room.
    #[inline]
    pub fn append(&self, pipeline: &mut Pipeline) -> Result<Committed, Stop> {
        if self.values.inputs() != self.template.inputs.len() {
            return Err(self.wrong_number());
        }
        // By far the most: no need to remember what was there before.
        if let [shape] = &self.template.commands[..] {
            if self.quickly(pipeline, shape).is_ok() {
                return pipeline.commit().map_err(|error| stopped(0, error));
            }
            pipeline.request.rollback();
        }
        self.together(pipeline)
    }

    /// Appends one command, which has a value for each of its holes.
    #[inline]
    fn quickly(&self, pipeline: &mut Pipeline, shape: &Shape) -> Result<(), Bad> {
        match shape.star {
            None => pipeline.request.begin_encoded(&shape.head),
            Some(_) => self.begin_with_fields(pipeline, shape)?,
        }
        for part in &shape.parts {
            match &part.open {
                Open::Value { input, role } => {
                    let appended = self.values.word(pipeline, *input, *role);
                    appended.map_err(|refusal| Bad { input: *input, refusal })?;
                }
                Open::Around { prefix, input, suffix } => {
                    let appended = self.values.around(pipeline, prefix, *input, suffix);
                    appended.map_err(|refusal| Bad { input: *input, refusal })?;
                }
                Open::Pieces(at) => self.pieces(pipeline, shape.words[*at].pieces.iter())?,
            }
            pipeline.request.encoded(&part.then);
        }
        match shape.star {
            None => Ok(()),
            Some(star) => self.fields(pipeline, star),
        }
    }

    /// Begins a command whose number of words the row tells.
    fn begin_with_fields(&self, pipeline: &mut Pipeline, shape: &Shape) -> Result<(), Bad> {
        let words = shape.words.len() + self.values.fields();
        if words < shape.least || words > MAX_ARGUMENTS {
            // As if a value were missing: then words are counted.
            return Err(Bad {
                input: 0,
                refusal: Refusal::WrongType,
            });
        }
        pipeline.request.begin(words, &shape.head[shape.header..]);
        Ok(())
    }

    fn together(&self, pipeline: &mut Pipeline) -> Result<Committed, Stop> {
        let mark = pipeline.request.mark();
        for (command, shape) in self.template.commands.iter().enumerate() {
            let appended = match self.quickly(pipeline, shape) {
                // Where a value is missing, the words have to be counted first.
                Err(Bad {
                    refusal: Refusal::WrongType,
                    ..
                }) => {
                    pipeline.request.rollback();
                    self.counted(pipeline, shape)
                }
                appended => appended.map_err(|bad| self.told(shape, bad)),
            };
            if let Err(why) = appended {
                pipeline.request.undo(&mark);
                return Err(Stop { command, why });
            }
            pipeline.request.commit();
        }
        pipeline.keep(&mark).map_err(|error| stopped(0, error))
    }

    fn counted(&self, pipeline: &mut Pipeline, shape: &Shape) -> Result<(), Why> {
        let left_out = self.left_out(shape)?;
        let appended = self.carefully(pipeline, shape, &left_out);
        appended.map_err(|bad| self.told(shape, bad))
    }

    /// Which words a command does without, for want of values.
    fn left_out(&self, shape: &Shape) -> Result<Vec<bool>, Why> {
        let is_null: Vec<bool> = (0..self.values.inputs()).map(|input| !self.is_there(input)).collect();
        let fields = if shape.star.is_some() { self.values.fields() } else { 0 };
        if shape.words.len() + fields > MAX_ARGUMENTS {
            return Err(Why::argument(format!(
                "{} has {} arguments, of which a server takes at most {MAX_ARGUMENTS}: split them",
                shape.name,
                shape.words.len() - 1 + fields
            )));
        }
        shape
            .left_out(&is_null, self.on_null, fields)
            .map_err(|missing| match missing {
                Missing::Value { input, hint } => Why::argument(format!(
                    "{} is {}{hint}",
                    self.called(shape, input),
                    self.values.missing(input).unwrap_or("missing")
                )),
                Missing::Words => Why::argument(format!("{} has no fields left: it needs at least one", shape.name)),
            })
    }

    /// Appends a command word by word, some of which are left out, and the fields of the row.
    fn carefully(&self, pipeline: &mut Pipeline, shape: &Shape, left_out: &[bool]) -> Result<(), Bad> {
        let words = left_out.iter().filter(|out| !**out).count();
        let fields = if shape.star.is_some() { self.values.fields() } else { 0 };
        pipeline.request.begin(words + fields, b"");
        let kept = shape.words.iter().zip(left_out).filter(|(_, out)| !**out);
        for (Word { pieces, .. }, _) in kept {
            match &pieces[..] {
                [Piece::Value { input, role }] if self.is_there(*input) => {
                    let appended = self.values.word(pipeline, *input, *role);
                    appended.map_err(|refusal| Bad { input: *input, refusal })?;
                }
                // What is missing there is sent empty.
                pieces => self.pieces(pipeline, pieces.iter().filter(|piece| self.has_value(piece)))?,
            }
        }
        match shape.star {
            None => Ok(()),
            Some(star) => self.fields(pipeline, star),
        }
    }

    /// Appends the fields of the row.
    fn fields(&self, pipeline: &mut Pipeline, star: Star) -> Result<(), Bad> {
        let inputs = self.values.inputs();
        for name in (0..self.values.fields()).step_by(2) {
            let value = name + 1;
            let order = match star {
                Star::Fields => [(name, Role::Any), (value, Role::Any)],
                Star::Scores => [(value, Role::Score), (name, Role::Any)],
            };
            for (at, role) in order {
                let bad = |refusal| Bad {
                    input: inputs + at,
                    refusal,
                };
                self.values.field(pipeline, at, role).map_err(bad)?;
            }
            if value % LOOK_EVERY == LOOK_EVERY - 1 {
                pipeline.expect_room(0).map_err(|error| Bad {
                    input: 0,
                    refusal: Refusal::Full(error),
                })?;
            }
        }
        Ok(())
    }

    /// Appends a word of several pieces.
    fn pieces<'a>(&self, pipeline: &mut Pipeline, pieces: impl Iterator<Item = &'a Piece>) -> Result<(), Bad> {
        let mut last = 0;
        let word = pipeline.request.open_word();
        for piece in pieces {
            match piece {
                Piece::Text(text) => pipeline.request.piece(text),
                Piece::Value { input, .. } => {
                    last = *input;
                    let appended = self.values.piece(pipeline, last);
                    appended.map_err(|refusal| Bad { input: last, refusal })?;
                }
            }
        }
        pipeline.request.close_word(word).map_err(|bad| Bad {
            input: last,
            refusal: bad.into(),
        })
    }

    fn has_value(&self, piece: &Piece) -> bool {
        match piece {
            Piece::Text(_) => true,
            Piece::Value { input, .. } => self.is_there(*input),
        }
    }

    fn is_there(&self, input: usize) -> bool {
        self.values.missing(input).is_none()
    }

    #[cold]
    fn wrong_number(&self) -> Stop {
        let holes = &self.template.holes;
        let noun = if holes.len() == 1 { "value" } else { "values" };
        let text = format!(
            "the template takes {} {noun} ({}) or a row, got {}",
            holes.len(),
            holes.join(", "),
            self.values.inputs()
        );
        stopped(0, Error::InvalidArgument(text))
    }

    /// An input, for a message.
    fn called(&self, shape: &Shape, input: usize) -> String {
        match self.template.inputs[input].hole {
            Some(hole) => format!("hole {} of {}", self.template.holes[hole], shape.name),
            None => format!("the row for {}", shape.name),
        }
    }

    #[cold]
    fn told(&self, shape: &Shape, Bad { input, refusal }: Bad) -> Why {
        let what = || match input.checked_sub(self.values.inputs()) {
            None => self.called(shape, input),
            Some(at) if at % 2 == 1 => format!("a field of the row for {}", shape.name),
            Some(_) => format!("the name of a field of the row for {}", shape.name),
        };
        match refusal {
            Refusal::Full(error) => error.into(),
            Refusal::Because(reason) => Why::argument(format!("{} {reason}", what())),
            Refusal::WrongType => Why::WrongType { input, what: what() },
        }
    }
}

#[cold]
fn stopped(command: usize, error: Error) -> Stop {
    Stop {
        command,
        why: error.into(),
    }
}
