use proptest::prelude::*;

use super::*;
use crate::resp::compose::{encode_header, encode_word};

fn one(text: &str) -> Template {
    compile(&[text]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    compile(&[text]).expect_err(text).to_string()
}

/// The command that values make of a template, by the words and by the parts: both must be the same.
fn filled(shape: &Shape, values: &[&str], left_out: &[bool]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_header(&mut bytes, shape.words.len());
    for (word, out) in shape.words.iter().zip(left_out) {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value { input, .. } => values[*input].as_bytes().to_vec(),
        };
        if !out {
            encode_word(&mut bytes, &word.pieces.iter().flat_map(piece).collect::<Vec<_>>());
        }
    }
    bytes
}

fn filled_by_parts(shape: &Shape, values: &[&str]) -> Vec<u8> {
    let mut bytes = shape.head.clone();
    for part in &shape.parts {
        let word = match &part.open {
            Open::Value { input, .. } => values[*input].as_bytes().to_vec(),
            Open::Around { prefix, input, suffix } => [prefix, values[*input].as_bytes(), suffix].concat(),
            Open::Pieces(at) => {
                let pieces = shape.words[*at].pieces.iter();
                pieces
                    .flat_map(|piece| match piece {
                        Piece::Text(text) => text.clone(),
                        Piece::Value { input, .. } => values[*input].as_bytes().to_vec(),
                    })
                    .collect()
            }
        };
        encode_word(&mut bytes, &word);
        bytes.extend_from_slice(&part.then);
    }
    bytes
}

#[test]
fn a_command_is_encoded_around_its_values() {
    let template = one("hset user:{id} name {name} email '{email}' kind \"a b\"");
    assert_eq!(template.holes, ["id", "name", "email"]);
    let shape = &template.commands[0];
    assert_eq!((shape.name.as_str(), shape.words.len()), ("hset", 8));
    let bytes = filled_by_parts(shape, &["7", "Ada", ""]);
    assert_eq!(
        String::from_utf8(bytes).expect("text"),
        "*8\r\n$4\r\nHSET\r\n$6\r\nuser:7\r\n$4\r\nname\r\n$3\r\nAda\r\n$5\r\nemail\r\n$0\r\n\r\n$4\r\nkind\r\n$3\r\na b\r\n"
    );
}

#[test]
fn a_hole_that_comes_twice_is_one() {
    let template = compile(&[
        "HSET user:{id} at {at|ms} raw {at}",
        "PEXPIREAT user:{id} {at|ms}",
        "SADD users:{country} {id}",
    ])
    .expect("three commands");
    assert_eq!(template.holes, ["id", "at", "country"]);
    let inputs: Vec<_> = template
        .inputs
        .iter()
        .map(|input| (input.hole, input.conversion, input.command.as_str()))
        .collect();
    assert_eq!(
        inputs,
        [
            (Some(0), None, "hset"),
            (Some(1), Some(Conversion::Milliseconds), "hset"),
            (Some(1), None, "hset"),
            (Some(2), None, "sadd"),
        ]
    );
}

#[test]
fn errors_say_the_column() {
    for (text, expected) in [
        ("", "template, column 1: there is no command"),
        ("  ", "template, column 1: there is no command"),
        ("{cmd} k", "template, column 1: the name of a command has no holes"),
        (" H{x} k", "template, column 3: the name of a command has no holes"),
        ("\"\" k", "template, column 1: the name of a command must be a word"),
        ("1x k", "template, column 1: the name of a command must be a word"),
        ("SET é {id v", "template, column 7: this brace is never closed"),
        ("SET 😀 }", "template, column 8: this brace closes nothing"),
        ("HSET k f", "template, column 1: hset needs at least 3 arguments, got 2"),
        (
            " HSET k f v {x}",
            "template, column 2: hset takes groups of 2 arguments",
        ),
        ("GET k {x}", "template, column 1: get takes 1 argument, got 2"),
        ("SET k v NX XX", "template, column 1: set takes NX or XX, not both"),
        (
            "CLIENT {what}",
            "template, column 8: the subcommand of client must be known",
        ),
        (
            "XREAD {x} 0 STREAMS s 0",
            "template, column 7: the options of xread must be known",
        ),
        ("ZADD k abc {m}", "template, column 8: this is no valid score"),
        ("HSET {*} k", "template, column 6: {*} stands for fields and values"),
        ("HSET k x{*}", "template, column 9: {*} stands for fields and values"),
        ("HSET k {*} f v", "template, column 8: {*} stands for fields and values"),
        ("SET k {*}", "template, column 7: {*} stands for fields and values"),
        ("FT.ADD k {*}", "template, column 10: {*} stands for fields and values"),
        (
            "XADD s MAXLEN 5 {*}",
            "template, column 17: {*} stands for fields and values",
        ),
        ("HSET k f {*}", "template, column 1: hset takes groups of 2 arguments"),
        (
            "SET k {*|ms}",
            "template, column 7: the whole row can be converted to json alone",
        ),
    ] {
        let told = refused(text);
        assert!(told.starts_with(expected), "{text}: {told}");
    }
    let told = compile(&["GET k", "SET k"]).expect_err("too few").to_string();
    assert_eq!(told, "template 2, column 1: set needs at least 2 arguments, got 1");
}

#[test]
fn forbidden_commands_are_refused_with_their_hint() {
    for text in [
        "MULTI",
        "subscribe {channel}",
        "XREAD BLOCK 0 STREAMS {s} 0",
        "CLIENT REPLY OFF",
    ] {
        let error = compile(&[text]).expect_err(text);
        assert_eq!(error.code(), "RESPIPE_FORBIDDEN_COMMAND", "{text}");
        assert!(
            error.to_string().contains("cannot go through a bulk pipeline: "),
            "{error}"
        );
    }
    one("XREAD STREAMS {s} 0");
}

#[test]
fn sizes_are_bounded() {
    assert!(compile(&[]).is_err());
    assert!(compile(&vec!["PING"; MAX_COMMANDS + 1]).is_err());
    assert!(compile(&vec!["PING"; MAX_COMMANDS]).is_ok());
    assert!(compile(&[&format!("SET k {}", "x".repeat(MAX_TEXT))]).is_err());
}

const MAX_COMMANDS: usize = 100;
const MAX_TEXT: usize = 64 * 1024;

#[test]
fn fields_of_a_row_end_a_command_that_takes_them() {
    for (text, star) in [
        ("HSET user:{id} {*}", Star::Fields),
        ("HSET user:{id} kind u {*}", Star::Fields),
        ("MSET {*}", Star::Fields),
        ("XADD s * {*}", Star::Fields),
        ("XADD s MAXLEN ~ 100 LIMIT 5 {id} {*}", Star::Fields),
        ("HSETEX k EX 5 FIELDS 3 {*}", Star::Fields),
        ("ZADD board {*}", Star::Scores),
        ("ZADD board GT CH {*}", Star::Scores),
    ] {
        assert_eq!(one(text).commands[0].star, Some(star), "{text}");
    }
    assert_eq!(one("JSON.SET doc:{id} $ {*|json}").inputs[1].hole, None);
}

#[test]
fn places_of_values_have_roles() {
    let roles = |text: &str| -> Vec<Role> {
        let words = &one(text).commands[0].words;
        let pieces = words.iter().flat_map(|word| &word.pieces);
        pieces
            .filter_map(|piece| match piece {
                Piece::Value { role, .. } => Some(*role),
                Piece::Text(_) => None,
            })
            .collect()
    };
    assert_eq!(roles("INCRBY {k} {by}"), [Role::Any, Role::Integer]);
    assert_eq!(
        roles("ZADD {k} {s} {m} 1 {n}"),
        [Role::Any, Role::Score, Role::Any, Role::Any]
    );
    assert_eq!(roles("ZADD k 1{s} m"), [Role::Any]);
}

/// What becomes of a null in each hole in turn, with `skip` and with `empty`.
fn nulls(text: &str) -> String {
    let template = one(text);
    let shape = &template.commands[0];
    let outcome = |input: usize, on_null| {
        let mut is_null = vec![false; template.inputs.len()];
        is_null[input] = true;
        match shape.left_out(&is_null, on_null, 0) {
            Ok(left_out) if left_out.contains(&true) => 's',
            Ok(_) => 'e',
            Err(Missing::Value { .. }) => '-',
            Err(Missing::Words) => '0',
        }
    };
    (0..template.inputs.len())
        .map(|input| {
            assert_eq!(outcome(input, OnNull::Throw), '-');
            format!("{}{}", outcome(input, OnNull::Skip), outcome(input, OnNull::Empty))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_null_is_left_out_where_it_is_a_field_and_never_in_a_key() {
    for (text, expected) in [
        ("HSET u:{id} a {a} b {b}", "-- se se"),
        ("HSET u:{id} a {a}", "-- 0e"),
        ("HSET u {f} {v} g w", "-- se"),
        ("HSET u a x{a}y b {b}", "se se"),
        ("SET {k} {v}", "-- -e"),
        ("MSET {k} {v} l w", "-- se"),
        ("SADD tags:{t} {a} b", "-- -e"),
        ("ZADD z {s} {m} 1 n", "se --"),
        ("XADD {s} {id} a {a} b c", "-- -e se"),
        ("XADD s MAXLEN ~ {n} {id} a {a} b {b}", "-e -e se se"),
        ("HSETEX k FIELDS 1 a {a}", "-e"),
        ("ZUNIONSTORE {to} 2 {a} {b}", "-- -- --"),
        ("JSON.SET {k} $ {v}", "-- -e"),
        ("CONFIG SET a {a} b {b}", "se se"),
    ] {
        assert_eq!(nulls(text), expected, "{text}");
    }
}

#[test]
fn fields_of_a_row_count_for_what_a_command_needs() {
    let template = one("HSET u:{id} a {a} {*}");
    let left_out = template.commands[0].left_out(&[false, true], OnNull::Skip, 2);
    assert_eq!(left_out, Ok(vec![false, false, true, true]));
}

proptest! {
    #[test]
    fn words_and_parts_write_the_same(
        words in prop::collection::vec("(a|x y|é|\\{h0\\}|\\{h1\\}|\\{h2\\|ms\\}|\\{\\{|p:|){0,5}", 1..8),
        values in prop::collection::vec("[a-z]{0,12}", 4),
    ) {
        let text = words.iter().map(|word| format!(" '{word}'")).collect::<String>();
        let template = one(&format!("NEW.COMMAND{text}"));
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let shape = &template.commands[0];
        let all = vec![false; shape.words.len()];
        prop_assert_eq!(filled(shape, &values, &all), filled_by_parts(shape, &values));
        prop_assert_eq!(shape.words.len(), words.len() + 1);
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text in "(HSET|SET|ZADD|XADD|CLIENT|FOO)[ a-z{}|.*'\"\\\\é0-9]{0,40}") {
        if let Ok(template) = compile(&[&text]) {
            for shape in &template.commands {
                let nulls = vec![true; template.inputs.len()];
                for on_null in [OnNull::Throw, OnNull::Skip, OnNull::Empty] {
                    let _ = shape.left_out(&nulls, on_null, 0);
                }
            }
        }
    }
}
