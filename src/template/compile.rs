//! From the words of a text to what a call needs: names are looked up, rules are applied, fixed words encoded.

use super::parse::{self, Bad, Hole, ROW};
use super::{Input, Null, Open, Part, Piece, Shape, Star, Template, Word};
use crate::command::{self, Command, Forbidden, Form, Keys, Role, Trailing, Words, is_name, is_score};
use crate::error::Error;
use crate::resp::compose::{encode_header, encode_word};

/// Each row makes so many commands at most: far more than anybody writes, and few enough to stay in one batch.
const MAX_COMMANDS: usize = 100;

/// The longest text, in bytes: room for a thousand fields; more would be a mistake.
const MAX_TEXT: usize = 64 * 1024;

/// Makes a template of one text for each command.
///
/// # Errors
/// Where a text is no command, with the column; or its command is forbidden.
pub fn compile(texts: &[&str]) -> Result<Template, Error> {
    if texts.is_empty() {
        return Err(Error::InvalidArgument("a template needs a command".to_owned()));
    }
    if texts.len() > MAX_COMMANDS {
        return Err(Error::InvalidArgument(format!(
            "a template has at most {MAX_COMMANDS} commands, not {}",
            texts.len()
        )));
    }
    let mut template = Template {
        commands: Vec::new(),
        holes: Vec::new(),
        inputs: Vec::new(),
    };
    for (number, text) in texts.iter().enumerate() {
        let place = match texts.len() {
            1 => "template".to_owned(),
            _ => format!("template {}", number + 1),
        };
        if text.len() > MAX_TEXT {
            return Err(Error::InvalidArgument(format!(
                "{place} is longer than {MAX_TEXT} bytes"
            )));
        }
        let shape = Compiler {
            template: &mut template,
        }
        .shape(text);
        let shape = shape.map_err(|wrong| wrong.told(&place, text))?;
        template.commands.push(shape);
    }
    Ok(template)
}

/// What is wrong with a template, and where, in bytes.
enum Wrong {
    Text(Bad),
    Command(usize, Error),
}

impl Wrong {
    fn told(self, place: &str, text: &str) -> Error {
        // As JavaScript counts: `text[column - 1]` is the character.
        let told = |at: usize, reason: &str| {
            let column = text[..at].encode_utf16().count() + 1;
            format!("{place}, column {column}: {reason}")
        };
        match self {
            Self::Text(Bad { at, reason }) => Error::InvalidArgument(told(at, &reason)),
            Self::Command(at, Error::ForbiddenCommand(reason)) => Error::ForbiddenCommand(told(at, &reason)),
            Self::Command(at, error) => Error::InvalidArgument(told(at, &error.to_string())),
        }
    }
}

impl From<Bad> for Wrong {
    fn from(bad: Bad) -> Self {
        Self::Text(bad)
    }
}

struct Compiler<'a> {
    template: &'a mut Template,
}

impl Compiler<'_> {
    fn shape(self, text: &str) -> Result<Shape, Wrong> {
        let mut words = parse::words(text)?;
        let Some(first) = words.first() else {
            return Err(Bad::new(0, "there is no command").into());
        };
        let start = first.at;
        let name = name(first)?;
        let star = words.pop_if(|word| is_star(word)).map(|word| word.at);
        check_holes(&words)?;

        let arguments = Arguments {
            words: words.get(1..).unwrap_or_default(),
            more: if star.is_some() { 2 } else { 0 },
        };
        let rules = |error| Wrong::Command(start, error);
        let form = match command::find(&name) {
            Some(command) => Form::of(command, &arguments),
            None => Form::named(&name, &arguments),
        };
        let form = form.map_err(rules)?;
        let pairs = Pairs::of(&form, &arguments);
        if let Some(command) = form.command() {
            check_known(command, &form, &words)?;
        }
        let star = match (star, &pairs) {
            (None, _) => None,
            (Some(_), Some(pairs)) if pairs.end_at(words.len() - 1) => Some(pairs.star),
            (Some(at), _) => return Err(misplaced(at).into()),
        };
        Ok(self.put_together(&name, &form, words, pairs.as_ref(), star))
    }

    fn put_together(
        mut self,
        name: &str,
        form: &Form,
        words: Vec<parse::Word>,
        pairs: Option<&Pairs>,
        star: Option<Star>,
    ) -> Shape {
        let keys = keys(name, &words, star);
        let words: Vec<Word> = words
            .into_iter()
            .enumerate()
            .map(|(at, word)| {
                if at == 0 {
                    return Word {
                        pieces: vec![Piece::Text(name.as_bytes().to_vec())],
                        null: Null::Refused,
                    };
                }
                let argument = at - 1;
                let role = match word.pieces.len() {
                    1 => form.role(argument),
                    _ => Role::Any,
                };
                let null = match pairs.and_then(|pairs| pairs.null(argument)) {
                    _ if keys[at] => Null::Refused,
                    None => Null::Empty,
                    // Behind the name.
                    Some(Null::Paired { with }) => Null::Paired { with: with + 1 },
                    Some(null) => null,
                };
                let pieces = word.pieces.into_iter();
                Word {
                    pieces: pieces.map(|piece| self.piece(piece, role, &form.name())).collect(),
                    null,
                }
            })
            .collect();
        let (head, header, parts) = encoded(&words);
        // Of a command that is not known the server judges.
        let known = form.command();
        let least = known.map_or(1, |command| 1 + form.words() + usize::from(command.min_arguments));
        Shape {
            name: form.name(),
            words,
            star,
            least,
            head,
            header,
            parts,
        }
    }

    fn piece(&mut self, piece: parse::Piece, role: Role, command: &str) -> Piece {
        match piece {
            parse::Piece::Text(text) => Piece::Text(text),
            parse::Piece::Hole(hole) => Piece::Value {
                input: self.input(hole, command),
                role,
            },
        }
    }

    /// The number of a hole's value among those that a call passes.
    fn input(&mut self, hole: Hole, command: &str) -> usize {
        let Template { holes, inputs, .. } = &mut *self.template;
        let place = (hole.name != ROW).then(|| {
            holes.iter().position(|name| *name == hole.name).unwrap_or_else(|| {
                holes.push(hole.name);
                holes.len() - 1
            })
        });
        let same = |input: &Input| input.hole == place && input.conversion == hole.conversion;
        inputs.iter().position(same).unwrap_or_else(|| {
            inputs.push(Input {
                hole: place,
                conversion: hole.conversion,
                command: command.to_owned(),
            });
            inputs.len() - 1
        })
    }
}

/// The name of the command, in upper case.
fn name(word: &parse::Word) -> Result<String, Bad> {
    if let Some(hole) = word.first_hole() {
        return Err(Bad::new(hole.at, "the name of a command has no holes"));
    }
    word.text()
        .and_then(|text| str::from_utf8(text).ok())
        .map(str::to_ascii_uppercase)
        .filter(|name| is_name(name))
        .ok_or_else(|| Bad::new(word.at, "the name of a command must be a word such as HSET or JSON.SET"))
}

fn is_star(word: &parse::Word) -> bool {
    matches!(&word.pieces[..], [parse::Piece::Hole(hole)] if hole.name == ROW && hole.conversion.is_none())
}

fn misplaced(at: usize) -> Bad {
    Bad::new(
        at,
        "{*} stands for fields and values: it must be the last word, alone, of a command that takes them, such as HSET",
    )
}

/// The whole row is JSON, or the last word.
fn check_holes(words: &[parse::Word]) -> Result<(), Bad> {
    for hole in words
        .iter()
        .flat_map(parse::Word::holes)
        .filter(|hole| hole.name == ROW)
    {
        match hole.conversion {
            Some(parse::Conversion::Json) => {}
            None => return Err(misplaced(hole.at)),
            Some(_) => return Err(Bad::new(hole.at, "the whole row can be converted to json alone")),
        }
    }
    Ok(())
}

/// What only the words of a known command show.
fn check_known(command: &Command, form: &Form, words: &[parse::Word]) -> Result<(), Wrong> {
    let arguments = &words[1..];
    // A subcommand, or a word that forbids the command, must not come by a hole.
    let container = usize::from(command.container);
    let closed = match command.forbidden {
        Some(Forbidden::With { before, .. }) => {
            let is_it = |word: &parse::Word| word.upper_case().is_some_and(|word| word == before);
            arguments.iter().rposition(is_it).unwrap_or(arguments.len())
        }
        _ => container.min(arguments.len()),
    };
    if let Some(hole) = arguments[..closed].iter().find_map(parse::Word::first_hole) {
        let what = if closed == container { "subcommand" } else { "options" };
        let reason = format!("the {what} of {} must be known: a hole cannot stand here", form.name());
        return Err(Bad::new(hole.at, reason).into());
    }
    for (at, word) in arguments.iter().enumerate() {
        if form.role(at) == Role::Score
            && let Some(text) = word.text()
            && !str::from_utf8(text).is_ok_and(is_score)
        {
            return Err(Bad::new(word.at, "this is no valid score").into());
        }
    }
    Ok(())
}

/// Where a command's fields and values are, or scores and members.
struct Pairs {
    /// The first argument of them.
    from: usize,
    star: Star,
    /// A pair of holes can be left out.
    can_shrink: bool,
}

impl Pairs {
    fn of(form: &Form, arguments: &Arguments<'_>) -> Option<Self> {
        let command = form.command()?;
        let known = |from, star| Self {
            from,
            star,
            can_shrink: true,
        };
        match command.trailing {
            Trailing::Groups { from, size: 2 } => Some(known(form.words() + usize::from(from), Star::Fields)),
            Trailing::Scores => Some(known(form.scores()?, Star::Scores)),
            Trailing::Fields if command.name == "XADD" => Some(known(behind_id(arguments), Star::Fields)),
            // Their number stands in front of them.
            Trailing::Fields => Some(Self {
                can_shrink: false,
                ..known(arguments.words.len(), Star::Fields)
            }),
            _ => None,
        }
    }

    /// Whether `count` arguments end with a whole pair, or in front of the first.
    fn end_at(&self, count: usize) -> bool {
        count.checked_sub(self.from).is_some_and(|rest| rest.is_multiple_of(2))
    }

    /// What can become of this argument where it has no value; `None` where it is in no pair.
    fn null(&self, argument: usize) -> Option<Null> {
        let offset = argument.checked_sub(self.from).filter(|_| self.can_shrink)?;
        Some(match (self.star, offset % 2) {
            (Star::Fields, 1) => Null::Paired { with: argument - 1 },
            (Star::Scores, 0) => Null::Paired { with: argument + 1 },
            _ => Null::Refused,
        })
    }
}

/// `XADD key [NOMKSTREAM] [KEEPREF …] [MAXLEN|MINID [=|~] threshold [LIMIT count]] id field value …`: the first field.
fn behind_id(arguments: &Arguments<'_>) -> usize {
    let is = |at: usize, words: &[&str]| arguments.word(at).is_some_and(|word| words.contains(&word.as_str()));
    let mut at = 1;
    loop {
        if is(at, &["MAXLEN", "MINID"]) {
            at += if is(at + 1, &["=", "~"]) { 3 } else { 2 };
        } else if is(at, &["LIMIT"]) {
            at += 2;
        } else if is(at, &["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"]) {
            at += 1;
        } else {
            return at + 1;
        }
    }
}

/// Which words are keys, or may be: they cannot be empty.
fn keys(name: &str, words: &[parse::Word], star: Option<Star>) -> Vec<bool> {
    if command::find(name).is_none() {
        // Of a module's command nothing is known; nearly all have their key in front.
        return (0..words.len()).map(|at| at == 1).collect();
    }
    // Memory of its own for each word, by which it is told apart from its like.
    let known: Vec<Vec<u8>> = words
        .iter()
        .map(|word| match word.text() {
            Some(b"") | None => b"?".to_vec(),
            Some(text) => text.to_vec(),
        })
        .collect();
    let mut texts: Vec<&[u8]> = known.iter().map(Vec::as_slice).collect();
    if star.is_some() {
        texts.extend([&b"field"[..], b"value"]);
    }
    let Keys::These(keys) = command::keys(&texts) else {
        return vec![true; words.len()];
    };
    let is_key = |text: &&[u8]| keys.iter().any(|key| key.as_ptr() == text.as_ptr());
    texts[..words.len()].iter().map(is_key).collect()
}

/// Header and fixed words in front, of which the header is so long, and each open one with the fixed ones behind it.
fn encoded(words: &[Word]) -> (Vec<u8>, usize, Vec<Part>) {
    let mut head = Vec::new();
    encode_header(&mut head, words.len());
    let header = head.len();
    let mut parts: Vec<Part> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let open = match &word.pieces[..] {
            [] => None,
            [Piece::Text(_)] => None,
            [Piece::Value { input, role }] => Some(Open::Value {
                input: *input,
                role: *role,
            }),
            pieces => Some(around(pieces).unwrap_or(Open::Pieces(at))),
        };
        match open {
            Some(open) => parts.push(Part { open, then: Vec::new() }),
            None => {
                let text = match word.pieces.first() {
                    Some(Piece::Text(text)) => &text[..],
                    _ => b"",
                };
                encode_word(parts.last_mut().map_or(&mut head, |part| &mut part.then), text);
            }
        }
    }
    (head, header, parts)
}

/// One value with text on one side of it, or both.
fn around(pieces: &[Piece]) -> Option<Open> {
    let (prefix, input, suffix) = match pieces {
        [Piece::Text(prefix), Piece::Value { input, .. }] => (&prefix[..], input, &b""[..]),
        [Piece::Value { input, .. }, Piece::Text(suffix)] => (&b""[..], input, &suffix[..]),
        [Piece::Text(prefix), Piece::Value { input, .. }, Piece::Text(suffix)] => (&prefix[..], input, &suffix[..]),
        _ => return None,
    };
    Some(Open::Around {
        prefix: prefix.to_vec(),
        input: *input,
        suffix: suffix.to_vec(),
    })
}

/// The words behind the name, and how many more there will be.
struct Arguments<'a> {
    words: &'a [parse::Word],
    more: usize,
}

impl Words for Arguments<'_> {
    fn count(&self) -> usize {
        self.words.len() + self.more
    }

    fn word(&self, at: usize) -> Option<String> {
        self.words.get(at)?.upper_case()
    }
}

impl parse::Word {
    /// What it says, where it has no holes.
    fn text(&self) -> Option<&[u8]> {
        match &self.pieces[..] {
            [] => Some(b""),
            [parse::Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn upper_case(&self) -> Option<String> {
        Some(str::from_utf8(self.text()?).ok()?.to_ascii_uppercase())
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().filter_map(|piece| match piece {
            parse::Piece::Hole(hole) => Some(hole),
            parse::Piece::Text(_) => None,
        })
    }

    fn first_hole(&self) -> Option<&Hole> {
        self.holes().next()
    }
}
