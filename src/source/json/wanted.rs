//! What of an object is looked at, level by level, so that each part of it is gone through once, however many holes lead
//! there.
//!
//! Paths of a template come in; out goes, for each line, where the values of its holes are.

use std::mem;

use super::members::{Span, first_level, next_level};
use super::names::Names;

/// The row first, each level before those within it: paths may be long, and the stack of a thread is not.
#[derive(Debug)]
pub(super) struct Wanted(Vec<Level>);

/// Members of the row, or of an object within it.
#[derive(Debug, Default)]
struct Level {
    names: Names,
    /// For each name.
    uses: Vec<Use>,
    found: Vec<Option<Span>>,
}

#[derive(Debug, Default)]
struct Use {
    holes: Vec<usize>,
    /// What is looked at within it.
    level: Option<usize>,
}

impl Wanted {
    /// By holes, each a path.
    pub(super) fn new(holes: &[String]) -> Self {
        let mut wanted = Self(vec![Level::default()]);
        for (hole, path) in holes.iter().enumerate() {
            let mut steps = path.split('.').peekable();
            let mut level = 0;
            while let Some(step) = steps.next() {
                let end = steps.peek().is_none().then_some(hole);
                level = wanted.add(level, step, end);
            }
        }
        wanted
    }

    /// Adds a name on a level: where a path ends, or on the way to the level that is returned.
    fn add(&mut self, level: usize, name: &str, end: Option<usize>) -> usize {
        let next = self.0.len();
        let Level { names, uses, .. } = &mut self.0[level];
        let at = names.add(name);
        uses.resize_with(names.count(), Use::default);
        if let Some(hole) = end {
            uses[at].holes.push(hole);
            return level;
        }
        let level = *uses[at].level.get_or_insert(next);
        if level == next {
            self.0.push(Level::default());
        }
        level
    }

    /// Finds the values of all holes in a line, and its members where they are wanted.
    ///
    /// # Errors
    /// Where the line is no object.
    pub(super) fn find(
        &mut self,
        line: &str,
        holes: &mut [Option<Span>],
        members: Option<&mut Vec<(Span, Span)>>,
    ) -> Result<(), String> {
        let Level { names, found, .. } = &mut self.0[0];
        first_level(line, names, found, members)?;
        for at in 0..self.0.len() {
            let (levels, within) = self.0.split_at_mut(at + 1);
            let Level { uses, found, .. } = &mut levels[at];
            for (Use { holes: ends, level }, value) in uses.iter().zip(found) {
                for hole in ends {
                    holes[*hole] = *value;
                }
                if let Some(level) = level {
                    let Level { names, found, .. } = &mut within[level - at - 1];
                    match mem::take(value) {
                        Some(value) => next_level(line, value, names, found),
                        None => found.fill(None),
                    }
                }
            }
        }
        Ok(())
    }
}
