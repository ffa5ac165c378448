//! Entries by number: what JavaScript calls pipelines and templates by. Numbers are small integers, and no two entries of the
//! process have the same one at the same time, whatever tables they are in: a number of another table finds nothing.

use std::sync::{Mutex, PoisonError};

/// A number is so many bits of place, and generations above them: 31 bits in all, which JavaScript holds without an allocation.
const PLACE_BITS: u32 = 20;
const PLACES: u32 = 1 << PLACE_BITS;
const GENERATIONS: u32 = 1 << (31 - PLACE_BITS);

/// Gives out the numbers of all tables of one kind.
pub struct Numbers {
    inner: Mutex<Inner>,
}

struct Inner {
    /// By place. Changes with each entry that has the place, so that an old number finds nothing.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Numbers {
    pub const fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                generations: Vec::new(),
                free: Vec::new(),
            }),
        }
    }

    /// None where a million are taken.
    fn take(&self) -> Option<u32> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match inner.free.pop() {
            Some(place) => place,
            None => {
                let place = u32::try_from(inner.generations.len()).ok();
                let place = place.filter(|place| *place < PLACES)?;
                inner.generations.push(0);
                place
            }
        };
        Some(inner.generations[place as usize] << PLACE_BITS | place)
    }

    fn give_back(&self, number: u32) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = &mut inner.generations[place_of(number)];
        *generation = (*generation + 1) % GENERATIONS;
        inner.free.push(number % PLACES);
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::new()
    }
}

fn place_of(number: u32) -> usize {
    (number % PLACES) as usize
}

/// What one evaluation of the package has. A place that another table uses is empty here: eight bytes.
pub struct Table<T> {
    numbers: &'static Numbers,
    entries: Vec<Option<Box<Entry<T>>>>,
}

struct Entry<T> {
    number: u32,
    value: T,
}

impl<T> Table<T> {
    pub fn new(numbers: &'static Numbers) -> Self {
        Self {
            numbers,
            entries: Vec::new(),
        }
    }

    /// Returns the number; none where the process has a million entries already.
    pub fn add(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        let number = self.numbers.take()?;
        let place = place_of(number);
        if place >= self.entries.len() {
            self.entries.resize_with(place + 1, || None);
        }
        self.entries[place] = Some(Box::new(Entry {
            number,
            value: make(number),
        }));
        Some(number)
    }

    #[inline]
    pub fn get(&self, number: u32) -> Option<&T> {
        let entry = self.entries.get(place_of(number))?.as_deref()?;
        (entry.number == number).then_some(&entry.value)
    }

    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(place_of(number))?.as_deref_mut()?;
        (entry.number == number).then_some(&mut entry.value)
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        self.get(number)?;
        let entry = self.entries.get_mut(place_of(number))?.take()?;
        self.numbers.give_back(number);
        Some(entry.value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten().map(|entry| &mut entry.value)
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        for entry in self.entries.iter().flatten() {
            self.numbers.give_back(entry.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_one_table_finds_nothing_in_another() {
        static NUMBERS: Numbers = Numbers::new();
        let (mut one, mut other) = (Table::new(&NUMBERS), Table::new(&NUMBERS));
        let first = one.add(|_| "first").unwrap();
        let second = other.add(|_| "second").unwrap();
        assert_eq!((one.get(first), one.get(second)), (Some(&"first"), None));
        assert_eq!(other.remove(first), None);
        assert_eq!(other.get(second), Some(&"second"));
        assert_eq!(one.get_mut(first), Some(&mut "first"));
    }

    #[test]
    fn an_old_number_finds_nothing() {
        static NUMBERS: Numbers = Numbers::new();
        let (mut one, mut other) = (Table::new(&NUMBERS), Table::new(&NUMBERS));
        let old = one.add(|_| 1).unwrap();
        assert_eq!(one.remove(old), Some(1));
        let new = other.add(|_| 2).unwrap();
        assert_eq!(place_of(new), place_of(old));
        assert_eq!((other.remove(old), one.remove(old), other.get(old)), (None, None, None));
        assert_eq!(other.get(new), Some(&2));
    }

    #[test]
    fn a_table_gives_its_numbers_back() {
        static NUMBERS: Numbers = Numbers::new();
        let mut one = Table::new(&NUMBERS);
        let places: HashSet<_> = (0..8).map(|_| place_of(one.add(|_| ()).unwrap())).collect();
        drop(one);
        let mut other = Table::new(&NUMBERS);
        assert!((0..8).all(|_| places.contains(&place_of(other.add(|_| ()).unwrap()))));
    }

    #[test]
    fn there_is_an_end_to_numbers() {
        static NUMBERS: Numbers = Numbers::new();
        let mut table = Table::new(&NUMBERS);
        let numbers: Vec<_> = (0..PLACES).map(|_| table.add(|number| number).unwrap()).collect();
        assert_eq!(table.add(|number| number), None);
        assert_eq!(table.remove(numbers[7]), Some(numbers[7]));
        let last = table.add(|number| number).unwrap();
        assert_eq!((table.get(last), table.get(numbers[7])), (Some(&last), None));
    }

    proptest! {
        /// Whatever comes and goes in three tables, each finds its own entries, and nothing else.
        #[test]
        fn tables_of_one_process_share_no_number(steps in vec((0..3_usize, any::<Option<u8>>()), 1..200)) {
            let numbers: &'static Numbers = Box::leak(Box::default());
            let mut tables: [Table<usize>; 3] = std::array::from_fn(|_| Table::new(numbers));
            let mut living: Vec<(usize, u32, usize)> = Vec::new();
            let mut gone = Vec::new();
            for (step, (at, removes)) in steps.into_iter().enumerate() {
                match removes {
                    Some(which) if !living.is_empty() => {
                        let (of, number, value) = living.swap_remove(usize::from(which) % living.len());
                        prop_assert_eq!(tables[of].remove(number), Some(value));
                        gone.push(number);
                    }
                    _ => living.push((at, tables[at].add(|_| step).unwrap(), step)),
                }
                for (at, table) in tables.iter().enumerate() {
                    for (of, number, value) in &living {
                        prop_assert_eq!(table.get(*number), (*of == at).then_some(value));
                    }
                    prop_assert!(gone.iter().all(|number| table.get(*number).is_none()));
                }
            }
        }
    }
}
