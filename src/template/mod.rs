//! Commands with holes: `HSET user:{id} name {name}`.
//!
//! A text comes in once, when the template is made; out goes what a call needs: fixed words encoded beforehand, and
//! between them the places of the values. Nothing of JavaScript is known here: values are numbered inputs, which whoever
//! brings them reads ([`fill::Values`]).

mod compile;
pub mod fill;
mod parse;

pub use self::compile::compile;
pub use self::parse::Conversion;
use crate::command::Role;

/// One or several commands, written anew with each row.
#[derive(Debug)]
pub struct Template {
    pub commands: Vec<Shape>,
    /// Their distinct names, in order of first appearance.
    pub holes: Vec<String>,
    /// What a call passes: the value of each hole, once for each conversion of it.
    pub inputs: Vec<Input>,
}

/// A value that a call passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The hole's place among the holes; `None` for the whole row.
    pub hole: Option<usize>,
    pub conversion: Option<Conversion>,
    /// The command that it is first used in, as messages call it.
    pub command: String,
}

/// One command of a template.
#[derive(Debug)]
pub struct Shape {
    /// As messages call it.
    pub name: String,
    /// All its words, those of its name first; without `{*}`.
    pub words: Vec<Word>,
    /// `{*}`: behind the words, all fields of the row.
    pub star: Option<Star>,
    /// Words at least, those of its name among them.
    pub least: usize,
    /// The whole once more, for calls that have a value for each hole: what is fixed in front of the first open word …
    pub head: Vec<u8>,
    /// Of which so many bytes say how many words there are: with `{*}` the row tells that.
    pub header: usize,
    /// … and each open one with what is fixed behind it.
    pub parts: Vec<Part>,
}

#[derive(Debug)]
pub struct Word {
    pub pieces: Vec<Piece>,
    pub null: Null,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    /// The value of an input. The role is that of the word where it is all of it.
    Value {
        input: usize,
        role: Role,
    },
}

/// What can become of a word for which there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// Nothing: it is a key, or the name of a field.
    Refused,
    /// It can be sent empty.
    Empty,
    /// It can be sent empty, or be left out together with another word: the field of its value.
    Paired { with: usize },
}

/// How the fields of a row are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Star {
    /// Field, value.
    Fields,
    /// Score, member: the value in front of the field.
    Scores,
}

/// A word with holes, and the fixed words behind it.
#[derive(Debug)]
pub struct Part {
    pub open: Open,
    pub then: Vec<u8>,
}

#[derive(Debug)]
pub enum Open {
    /// The word is one value.
    Value { input: usize, role: Role },
    /// The word is one value with text around it.
    Around {
        prefix: Vec<u8>,
        input: usize,
        suffix: Vec<u8>,
    },
    /// Anything else: the pieces of the word of this number.
    Pieces(usize),
}

/// What is done about a missing value: the option `onNull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNull {
    Throw,
    Skip,
    Empty,
}

impl OnNull {
    /// By the name of the option's value.
    pub fn of(name: &str) -> Self {
        match name {
            "skip" => Self::Skip,
            "empty" => Self::Empty,
            _ => Self::Throw,
        }
    }
}

/// Why a row makes no command.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// An input has no value; what there is to say about it, behind "hole name of hset is null".
    Value { input: usize, hint: &'static str },
    /// Nothing is left of what the command needs.
    Words,
}

impl Shape {
    /// Which words are left out, where some inputs have no value and the row brings `fields` words of its own.
    ///
    /// # Errors
    /// Where that makes no command.
    pub fn left_out(&self, is_null: &[bool], on_null: OnNull, fields: usize) -> Result<Vec<bool>, Missing> {
        let mut left_out = vec![false; self.words.len()];
        for (at, word) in self.words.iter().enumerate() {
            let Some(input) = word.inputs().find(|input| is_null[*input]) else {
                continue;
            };
            let refused = |hint| Err(Missing::Value { input, hint });
            match (word.null, on_null) {
                (Null::Refused, _) => return refused(", and it must not be: a key, or the name of a field"),
                (_, OnNull::Throw) => return refused(" (see the option onNull)"),
                (Null::Empty, OnNull::Skip) => return refused(": only fields of pairs can be left out"),
                (_, OnNull::Empty) => {}
                (Null::Paired { with }, OnNull::Skip) => {
                    left_out[at] = true;
                    left_out[with] = true;
                }
            }
        }
        let kept = left_out.iter().filter(|out| !**out).count();
        if kept + fields < self.least {
            return Err(Missing::Words);
        }
        Ok(left_out)
    }
}

impl Word {
    fn inputs(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { input, .. } => Some(*input),
            Piece::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests;
