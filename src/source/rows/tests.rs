use proptest::prelude::*;

use super::super::csv::Header;
use super::super::tests::pipeline;
use super::*;
use crate::resp::walk;
use crate::template::compile;

fn csv(delimiter: u8, header: Header) -> Format {
    Format::Csv(Settings { delimiter, header })
}

fn reader(content: &str, format: Format, texts: &[&str], on_null: OnNull) -> Result<Reader, String> {
    let content = std::io::Cursor::new(content.as_bytes().to_vec());
    let input = Input::of("FILE", Box::new(content), None).expect("open");
    let template = compile(texts).unwrap_or_else(|error| panic!("{texts:?}: {error}"));
    Reader::new(input, format, template, on_null).map_err(|error| error.to_string())
}

/// What becomes of each row: `SET k v; …`, `!COMMAND reason` or `!reason`, with lines in front.
fn loaded(content: &str, format: Format, texts: &[&str], on_null: OnNull) -> Vec<String> {
    let mut pipeline = pipeline(usize::MAX);
    let mut reader = match reader(content, format, texts, on_null) {
        Ok(reader) => reader,
        Err(reason) => return vec![reason],
    };
    let mut told = Vec::new();
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => return told,
            Err(error) => {
                told.push(error.to_string());
                return told;
            }
        };
        assert_eq!(record.row, told.len() as u64);
        let line = record.line;
        let commands = match record.content {
            Err(reason) => format!("!{reason}"),
            Ok(mut content) => match content.append(&mut pipeline) {
                Ok(_) => sent(&mut pipeline),
                Err(Failed { command, error }) => {
                    assert_eq!(pipeline.request.commands(), 0);
                    assert_eq!(pipeline.request.open_bytes(), 0);
                    format!("!{command} {error}")
                }
            },
        };
        told.push(format!("{line}: {commands}"));
    }
}

/// What is appended, and forgets it.
fn sent(pipeline: &mut Pipeline) -> String {
    let batch = pipeline.request.seal();
    let mut commands = Vec::new();
    for segment in &batch.segments {
        let mut at = 0;
        while let Some(end) = walk::end_of_command(segment.bytes(), at) {
            let mut lines = segment.bytes()[at..end].split(|&byte| byte == b'\n').skip(1);
            let mut words = Vec::new();
            while let (Some(_), Some(word)) = (lines.next(), lines.next()) {
                words.push(String::from_utf8_lossy(word).trim_end_matches('\r').to_owned());
            }
            commands.push(words.join(" "));
            at = end;
        }
    }
    commands.join("; ")
}

fn of_csv(content: &str, text: &str) -> Vec<String> {
    loaded(content, csv(b',', Header::Row), &[text], OnNull::Throw)
}

fn of_json(line: &str, text: &str) -> String {
    of_json_with(line, text, OnNull::Throw)
}

fn of_json_with(line: &str, text: &str, on_null: OnNull) -> String {
    let told = loaded(line, Format::Ndjson, &[text], on_null);
    told.join(" | ").trim_start_matches("1: ").to_owned()
}

#[test]
fn rows_of_a_csv_file_make_commands() {
    let content = "id,name,\"a.b\"\n1,Ada,x\n2\n3,\"B \"\"b\"\"\",\n";
    assert_eq!(
        of_csv(content, "HSET user:{id} name {name} x {a.b}"),
        [
            "2: HSET user:1 name Ada x x",
            "3: !1 field for 3 columns",
            "4: HSET user:3 name B \"b\" x "
        ]
    );
    assert_eq!(of_csv(content, "HSET u:{id} {*}")[0], "2: HSET u:1 id 1 name Ada a.b x");
    assert_eq!(
        of_csv(content, "HSET u:{id}:{name}! k v {*}")[0],
        "2: HSET u:1:Ada! k v id 1 name Ada a.b x"
    );
    assert_eq!(
        of_csv(content, "JSON.SET u:{id} $ {*|json}")[2],
        "4: JSON.SET u:3 $ {\"id\":\"3\",\"name\":\"B \\\"b\\\"\",\"a.b\":\"\"}"
    );
    assert_eq!(of_csv(content, "SET {id} {name|json}")[2], "4: SET 3 \"B \\\"b\\\"\"");
    assert_eq!(of_csv("m,s\n1,2\n", "ZADD z GT {*}"), ["2: ZADD z GT 1 m 2 s"]);
    let several = ["SET a:{id} {name}", "SADD ids {id}"];
    assert_eq!(
        loaded(content, csv(b',', Header::Row), &several, OnNull::Throw)[0],
        "2: SET a:1 Ada; SADD ids 1"
    );
}

#[test]
fn columns_are_looked_up_before_the_first_row() {
    assert_eq!(
        of_csv("id,name\n", "SET {id} {email}"),
        ["FILE: there is no column email, only id, name"]
    );
    assert_eq!(
        of_csv("id,id\n", "SET k {id}"),
        ["FILE: column id is there twice, as field 1 and 2"]
    );
    assert_eq!(of_csv("id,x,x\n1,2,3\n", "SET k {id}"), ["2: SET k 1"]);
    for text in ["HSET k {*}", "SET k {*|json}"] {
        assert_eq!(
            of_csv("id,x,x\n", text),
            ["FILE: column x is there twice: {*} needs names that differ"]
        );
    }
    assert_eq!(
        of_csv("", "SET k {id}"),
        ["cannot read FILE: it is empty: there is no header row"]
    );
    assert_eq!(
        of_csv("id,\"x", "SET k {id}"),
        ["cannot read FILE: its header row, line 1: field 2 has a quote in line 1 that is never closed"]
    );
    let refused = loaded("", csv(b'"', Header::Row), &["SET k v"], OnNull::Throw);
    assert_eq!(refused, ["delimiter must not be a quote, nor the end of a line"]);
}

#[test]
fn columns_may_have_given_names_or_numbers() {
    let given = |names: &[&str]| {
        csv(
            b'\t',
            Header::Given(names.iter().map(|&name| name.to_owned()).collect()),
        )
    };
    assert_eq!(
        loaded("1\ta\n", given(&["id", "n"]), &["SET {id} {n}"], OnNull::Throw),
        ["1: SET 1 a"]
    );
    let numbered = |content: &str, text: &str| loaded(content, csv(b',', Header::None), &[text], OnNull::Throw);
    assert_eq!(
        numbered("1,a\n2\n", "SET {0} {1}"),
        ["1: SET 1 a", "2: !1 field, where the first row has 2"]
    );
    assert_eq!(
        numbered("\"x\n1,a\n", "HSET {1} {*}"),
        [
            "1: !field 1 has a quote in line 1 that is never closed",
            "2: HSET a 0 1 1 a"
        ]
    );
    assert_eq!(
        numbered("1,a\n", "SET {0} {2}"),
        ["FILE: there is no column 2, only 0 to 1"]
    );
    assert_eq!(numbered("", "SET {0} {2}"), [""; 0]);
    assert_eq!(
        numbered("1,a\n", "SET {0} {name}"),
        ["FILE: there is no column name: without a header row they are called 0, 1, 2 and so on"]
    );
}

#[test]
fn values_of_a_csv_file_are_text_and_never_null() {
    let of = |value: &str, text: &str| of_csv(&format!("v\n{value}\n"), text).join(" | ");
    assert_eq!(of("\"\"", "SET k {v}"), "2: SET k ");
    assert_eq!(of("true", "SET k {v|bool}"), "2: SET k 1");
    assert_eq!(
        of("1", "SET k {v|bool}"),
        "2: !SET hole v of set is a string: |bool takes true and false"
    );
    assert_eq!(of("1970-01-02", "PEXPIREAT k {v|ms}"), "2: PEXPIREAT k 86400000");
    assert_eq!(of("1970-01-02", "SET a:{v|s}:{v} x"), "2: SET a:86400:1970-01-02 x");
    assert_eq!(
        of("tomorrow", "SET k {v|ms}"),
        "2: !SET hole v of set is no date in ISO form, such as 2026-01-31 or 2026-01-31T12:00:00Z"
    );
    assert_eq!(of("x", "ZADD z {v} m"), "2: !ZADD hole v of zadd is no valid score");
    assert_eq!(of("-inf", "ZADD z {v} m"), "2: ZADD z -inf m");
    assert_eq!(
        of("x", "ZADD z {*}"),
        "2: !ZADD a field of the row for zadd is no valid score"
    );
}

#[test]
fn values_of_an_ndjson_file_are_sent_as_those_of_javascript() {
    for (line, text, expected) in [
        (r#"{"a":"x","n":{"b":[7]}}"#, "SET k:{a} {n.b.0}", "SET k:x 7"),
        (
            r#"{"a":12345678901234567890}"#,
            "SET k {a}",
            "SET k 12345678901234567890",
        ),
        (
            r#"{"a":9223372036854775807}"#,
            "INCRBY k {a}",
            "INCRBY k 9223372036854775807",
        ),
        (
            r#"{"a":9223372036854775808}"#,
            "INCRBY k {a}",
            "!INCRBY hole a of incrby is beyond 64 bits",
        ),
        (
            r#"{"a":1e300}"#,
            "INCRBY k {a}",
            "!INCRBY hole a of incrby is an integer beyond 2^53, which a number holds only about: write all its digits",
        ),
        (r#"{"a":1.50,"b":1e21}"#, "SET {a} {b}", "SET 1.5 1e+21"),
        (
            r#"{"a":1e400}"#,
            "SET k {a}",
            "!SET hole a of set is infinite, which only a score may be",
        ),
        (r#"{"a":-1e400}"#, "ZADD z {a} m", "ZADD z -inf m"),
        (
            r#"{"a":"1x"}"#,
            "ZADD z {a} m",
            "!ZADD hole a of zadd is no valid score",
        ),
        (r#"{"a":"\u00e9\t"}"#, "SET k <{a}>{a}", "SET k <é\t>é\t"),
        (
            r#"{"a":"\ud800"}"#,
            "SET k {a}",
            "!SET hole a of set has half of a surrogate pair, which UTF-8 cannot express (see String.prototype.isWellFormed)",
        ),
        (
            r#"{"a":true}"#,
            "SET k {a}",
            "!SET hole a of set is a boolean (true): write |bool behind the name, or pass 1 and 0",
        ),
        (r#"{"a":true}"#, "SET k {a|bool}", "SET k 1"),
        (r#"{"a":"false"}"#, "SET k {a|bool}", "SET k 0"),
        (
            r#"{"a":{}}"#,
            "SET k:{a} 1",
            "!SET hole a of set is an object: write |json behind the name, or a path such as {address.city}",
        ),
        (r#"{"a":[1]}"#, "SET k {a}", "!SET hole a of set is an array"),
        (r#"{"a":[ 1 ,"\u0041"]}"#, "SET k {a|json}", r#"SET k [1,"A"]"#),
        (
            r#"{"a":5}"#,
            "SET k {a|ms}",
            "!SET hole a of set is a number: |ms takes a Date or an ISO string",
        ),
        (
            r#"{"a":"1970-01-01T00:00:01\u002b00:00"}"#,
            "SET k {a|ms}",
            "SET k 1000",
        ),
        (
            r#"{ "a" : 1.0, "b" : [ ], "a" : 2 }"#,
            "SET k {*|json}",
            r#"SET k {"a":2,"b":[]}"#,
        ),
        (
            r#"{"a":null}"#,
            "SET k {a}",
            "!SET hole a of set is null (see the option onNull)",
        ),
        (
            r#"{"a":null}"#,
            "SET k {a|json}",
            "!SET hole a of set is null (see the option onNull)",
        ),
        (
            r#"{}"#,
            "HSET k f {a.b}",
            "!HSET hole a.b of hset is undefined (see the option onNull)",
        ),
        (r#"[]"#, "SET k {a}", "!it is no JSON object"),
    ] {
        assert_eq!(of_json(line, text), expected, "{line}");
    }
}

#[test]
fn all_members_of_a_row_are_sent() {
    for (line, expected) in [
        (r#"{"a":1,"b":"x"}"#, "HSET k a 1 b x"),
        (r#"{"b":1,"\u0061":"x","a":2.5,"b":3}"#, "HSET k b 3 a 2.5"),
        (r#"{"10":1,"2":2}"#, "HSET k 10 1 2 2"),
        (r#"{}"#, "!HSET the row has no fields: hset needs at least one"),
        (
            r#"{"a":{}}"#,
            "!HSET field a of the row is an object, in a place that takes none",
        ),
        (
            r#"{"a":false}"#,
            "!HSET field a of the row is a boolean (false): pass 1 and 0, or text",
        ),
        (
            r#"{"a":null}"#,
            "!HSET field a of the row is null (see the option onNull)",
        ),
        (
            r#"{"a":1e400}"#,
            "!HSET a field of the row for hset is infinite, which only a score may be",
        ),
        (
            r#"{"\ud800":1}"#,
            "!HSET the name of a field of the row for hset has half of a surrogate pair, which UTF-8 cannot express (see String.prototype.isWellFormed)",
        ),
    ] {
        assert_eq!(of_json(line, "HSET k {*}"), expected, "{line}");
    }
    assert_eq!(
        of_json(r#"{"a":1,"b":"x"}"#, "ZADD z {*}"),
        "!ZADD a field of the row for zadd is no valid score"
    );
    assert_eq!(of_json(r#"{"a":1,"b":"2"}"#, "ZADD z {*}"), "ZADD z 1 a 2 b");
    let many: Vec<String> = (0..40).map(|at| format!("\"f{}\":{at}", at % 30)).collect();
    let expected: Vec<String> = (0..30)
        .map(|at| format!("f{at} {}", if at < 10 { at + 30 } else { at }))
        .collect();
    assert_eq!(
        of_json(&format!("{{{}}}", many.join(",")), "HSET k {*}"),
        format!("HSET k {}", expected.join(" "))
    );
    for (on_null, expected) in [(OnNull::Skip, "HSET k b 1"), (OnNull::Empty, "HSET k a  b 1")] {
        assert_eq!(of_json_with(r#"{"a":null,"b":1}"#, "HSET k {*}", on_null), expected);
    }
    assert_eq!(
        of_json_with(r#"{"a":null}"#, "HSET k {*}", OnNull::Skip),
        "!HSET the row has no fields: hset needs at least one"
    );
}

#[test]
fn missing_members_are_up_to_the_option_on_null() {
    for (line, text, skipped, empty) in [
        (r#"{"b":1}"#, "HSET u a {a} b {b}", "HSET u b 1", "HSET u a  b 1"),
        (
            r#"{"a":null,"b":1}"#,
            "HSET u a x{a}y b {b}",
            "HSET u b 1",
            "HSET u a xy b 1",
        ),
        (
            "{}",
            "HSET u a {a}",
            "!HSET hset has no fields left: it needs at least one",
            "HSET u a ",
        ),
        (
            "{}",
            "SET k {a|json}",
            "!SET hole a of set is undefined: only fields of pairs can be left out",
            "SET k ",
        ),
        (
            r#"{"a":null,"b":1}"#,
            "HSET u a {a} {*}",
            "HSET u b 1",
            "HSET u a  a  b 1",
        ),
        (
            "{}",
            "SET {a} 1",
            "!SET hole a of set is undefined, and it must not be: a key, or the name of a field",
            "!SET hole a of set is undefined, and it must not be: a key, or the name of a field",
        ),
    ] {
        assert_eq!(of_json_with(line, text, OnNull::Skip), skipped, "{line}");
        assert_eq!(of_json_with(line, text, OnNull::Empty), empty, "{line}");
    }
}

#[test]
fn a_value_that_finds_no_room_is_refused() {
    let mut pipeline = pipeline(10_000);
    let content = format!("a,b\n{},x\n1,2\n", "x".repeat(20_000));
    let mut reader = reader(&content, csv(b',', Header::Row), &["SET k:{a} {b}"], OnNull::Throw).expect("a reader");
    let mut append = || {
        let record = reader.next().expect("read").expect("a row");
        record.content.expect("whole").append(&mut pipeline)
    };
    assert_eq!(append().expect_err("full").error.code(), "RESPIPE_BUFFER_FULL");
    append().expect("room");
}

proptest! {
    /// The naive twin of filling: words put together as text.
    #[test]
    fn csv_rows_are_what_a_naive_twin_makes_of_them(
        rows in prop::collection::vec(prop::collection::vec("[a-z\", é]{0,9}", 3), 1..10),
        star in any::<bool>(),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |fields: &Vec<String>| fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
        let content = format!("a,b,c\n{}", rows.iter().map(line).collect::<String>());
        let text = if star { "HSET k:{a}:{b} f {c} {*}" } else { "HSET k:{a}:{b} f {c} g x{a}" };
        let expected: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(at, fields)| {
                let [a, b, c] = &fields[..] else { unreachable!("three fields") };
                let rest = if star { format!("a {a} b {b} c {c}") } else { format!("g x{a}") };
                format!("{}: HSET k:{a}:{b} f {c} {rest}", at + 2)
            })
            .collect();
        prop_assert_eq!(of_csv(&content, text), expected);
    }
}
