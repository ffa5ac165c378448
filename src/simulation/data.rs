//! What a server holds, and what data commands do to it. A plain twin of the real thing: commands in words come in,
//! replies in RESP go out.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data(BTreeMap<String, Thing>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    Text(String),
    Hash(BTreeMap<String, String>),
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

impl Default for Data {
    fn default() -> Self {
        Self(BTreeMap::from([("fixed".to_owned(), Thing::Text("here".to_owned()))]))
    }
}

impl Data {
    /// `None` where there is no such command.
    pub(super) fn run(&mut self, words: &[String]) -> Option<String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["SET", key, value, ..] => {
                self.0.insert((*key).to_owned(), Thing::Text((*value).to_owned()));
                "+OK\r\n".to_owned()
            }
            ["GETSET", key, value] => match self.0.get(*key) {
                Some(Thing::Hash(_)) => WRONG_TYPE.to_owned(),
                _ => match self.0.insert((*key).to_owned(), Thing::Text((*value).to_owned())) {
                    Some(Thing::Text(old)) => bulk(&old),
                    _ => NIL.to_owned(),
                },
            },
            ["GET", key] => match self.0.get(*key) {
                Some(Thing::Text(text)) => bulk(text),
                Some(Thing::Hash(_)) => WRONG_TYPE.to_owned(),
                None => NIL.to_owned(),
            },
            // The tag behind the key is the model's own.
            ["INCR", key, ..] => {
                let thing = self.0.entry((*key).to_owned());
                match thing.or_insert_with(|| Thing::Text("0".to_owned())) {
                    Thing::Text(text) => match text.parse::<i64>() {
                        Ok(number) => {
                            *text = (number + 1).to_string();
                            format!(":{text}\r\n")
                        }
                        Err(_) => "-ERR value is not an integer or out of range\r\n".to_owned(),
                    },
                    Thing::Hash(_) => WRONG_TYPE.to_owned(),
                }
            }
            ["DEL", keys @ ..] => {
                let gone = keys.iter().filter(|key| self.0.remove(**key).is_some()).count();
                format!(":{gone}\r\n")
            }
            ["HSET", key, pairs @ ..] => match self.hash(key) {
                Some(hash) => {
                    let (pairs, _) = pairs.as_chunks::<2>();
                    let new = pairs
                        .iter()
                        .filter(|[field, value]| hash.insert((*field).to_owned(), (*value).to_owned()).is_none());
                    format!(":{}\r\n", new.count())
                }
                None => WRONG_TYPE.to_owned(),
            },
            ["HDEL", key, fields @ ..] => match self.hash(key) {
                Some(hash) => {
                    let gone = fields.iter().filter(|field| hash.remove(**field).is_some()).count();
                    if hash.is_empty() {
                        self.0.remove(*key);
                    }
                    format!(":{gone}\r\n")
                }
                None => WRONG_TYPE.to_owned(),
            },
            ["HGET", key, field] => match self.0.get(*key) {
                Some(Thing::Hash(hash)) => hash.get(*field).map_or(NIL.to_owned(), |value| bulk(value)),
                Some(Thing::Text(_)) => WRONG_TYPE.to_owned(),
                None => NIL.to_owned(),
            },
            ["HGETALL", key] => match self.0.get(*key) {
                Some(Thing::Hash(hash)) => array(hash.iter().flat_map(|(field, value)| [bulk(field), bulk(value)])),
                Some(Thing::Text(_)) => WRONG_TYPE.to_owned(),
                None => "*0\r\n".to_owned(),
            },
            ["LPUSH", ..] => WRONG_TYPE.to_owned(),
            _ => return None,
        })
    }

    fn hash(&mut self, key: &str) -> Option<&mut BTreeMap<String, String>> {
        match self
            .0
            .entry(key.to_owned())
            .or_insert_with(|| Thing::Hash(BTreeMap::new()))
        {
            Thing::Hash(hash) => Some(hash),
            Thing::Text(_) => None,
        }
    }
}

const NIL: &str = "$-1\r\n";

pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(super) fn array(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().collect();
    format!("*{}\r\n{}", elements.len(), elements.concat())
}
