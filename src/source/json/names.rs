//! Names of members that are looked for in an object, found among those of a file.

use std::collections::HashMap;

use memchr::memchr;

use crate::source::text::{quote, unescape};

/// Names, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Name>,
    /// Where there are many.
    places: HashMap<Vec<u8>, usize>,
    /// Of those that are places in an array, these, in order, and where the name is in the list.
    indices: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Name {
    plain: String,
    /// As files mostly have it: in quotes, with no more escapes than there must be.
    usual: Vec<u8>,
}

/// Fewer are compared one by one.
const MANY: usize = 16;

impl Names {
    /// The place of a name in the list, where it is put unless it is there.
    pub(super) fn add(&mut self, plain: &str) -> usize {
        let mut usual = Vec::new();
        // A `str` is UTF-8.
        let _ = quote(plain.as_bytes(), &mut usual);
        if let Some(at) = self.places.get(&usual) {
            return *at;
        }
        let at = self.list.len();
        self.places.insert(usual.clone(), at);
        // As JavaScript writes an index; others are names, which no array has.
        if let Ok(index) = plain.parse::<usize>()
            && index.to_string() == plain
        {
            let place = self.indices.partition_point(|(other, _)| *other < index);
            self.indices.insert(place, (index, at));
        }
        let plain = plain.to_owned();
        self.list.push(Name { plain, usual });
        at
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn indices(&self) -> &[(usize, usize)] {
        &self.indices
    }

    /// Compares the name at this place with one in the file, quotes and all.
    #[inline]
    pub(super) fn is_usual(&self, at: usize, quoted: &str) -> bool {
        self.list.get(at).is_some_and(|name| *quoted.as_bytes() == *name.usual)
    }

    /// The place of a name in the file, quotes and all.
    #[inline]
    pub(super) fn find(&self, quoted: &str) -> Option<usize> {
        let usual = match self.list.len() {
            0..MANY => (0..self.list.len()).find(|at| self.is_usual(*at, quoted)),
            _ => self.places.get(quoted.as_bytes()).copied(),
        };
        match usual {
            None if memchr(b'\\', quoted.as_bytes()).is_some() => self.find_unescaped(quoted),
            usual => usual,
        }
    }

    #[cold]
    fn find_unescaped(&self, quoted: &str) -> Option<usize> {
        let mut plain = Vec::new();
        unescape(&quoted[1..quoted.len() - 1], &mut plain).ok()?;
        self.list.iter().position(|name| name.plain.as_bytes() == plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_many_there_are() {
        for count in [3, MANY, 100] {
            let mut names = Names::default();
            let text = |at: usize| format!("a\"{at}");
            for at in (0..count).chain([2]) {
                assert_eq!(names.add(&text(at)), at);
            }
            assert_eq!(names.count(), count);
            for at in 0..count {
                assert_eq!(names.find(&format!("\"a\\\"{at}\"")), Some(at));
                assert_eq!(names.find(&format!("\"\\u0061\\u0022{at}\"")), Some(at));
                assert!(names.is_usual(at, &format!("\"a\\\"{at}\"")));
            }
            assert_eq!(names.find("\"a\""), None);
            assert_eq!(names.find("\"\\ud800\""), None);
        }
    }

    #[test]
    fn places_in_an_array_are_in_order() {
        let mut names = Names::default();
        for name in ["7", "x", "0", "07", "-1", "3"] {
            names.add(name);
        }
        assert_eq!(names.indices(), [(0, 2), (3, 5), (7, 0)]);
    }
}
