use proptest::prelude::*;

use super::super::text::compact;
use super::super::window::tests::Pieces;
use super::*;

/// All rows of a file, read in pieces; of each what holes stand for, or the reason why there is none.
fn read_in(content: &[u8], holes: &[&str], lengths: &[usize], most: usize) -> Result<Vec<(u64, String)>, String> {
    let holes: Vec<String> = holes.iter().map(|&hole| hole.to_owned()).collect();
    let told = |halt| match halt {
        Halt::Read(error) => error.to_string(),
        Halt::Because(reason) => reason,
        Halt::Error(error) => error.to_string(),
    };
    let mut ndjson = Ndjson::new(Window::of(Pieces::new(content, lengths), 16, most), &holes, All::Wanted);
    ndjson.begin().map_err(told)?;
    let mut rows = Vec::new();
    while let Some((line, object)) = ndjson.next().map_err(told)? {
        let told = match object {
            Ok(object) => (0..holes.len())
                .map(|hole| shown(object.hole(hole)))
                .collect::<Vec<_>>()
                .join(" "),
            Err(reason) => format!("!{reason}"),
        };
        rows.push((line, told));
    }
    Ok(rows)
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Text(_) | Value::Escaped(_) => match value.plain() {
            Some(text) => format!("'{}'", String::from_utf8_lossy(&text)),
            None => "half".to_owned(),
        },
        Value::Integer(digits) => digits.to_owned(),
        Value::Float(number) => format!("{number:e}"),
        Value::Array(json) | Value::Object(json) => json.to_owned(),
        _ => value.described().split(':').next().unwrap_or_default().to_owned(),
    }
}

fn read(line: &str, holes: &[&str]) -> String {
    let rows = read_in(line.as_bytes(), holes, &[3], 1 << 20).expect("rows");
    rows.into_iter().map(|(_, told)| told).collect::<Vec<_>>().join("; ")
}

#[test]
fn values_are_found_by_name() {
    for (line, expected) in [
        (r#"{"a":1,"b":"x"}"#, "1 'x'"),
        (r#" { "b" : "x" , "a" : 1 } "#, "1 'x'"),
        (r#"{"a":1,"b":2,"a":3}"#, "3 2"),
        (r#"{}"#, "undefined undefined"),
        (r#"{"a":null,"b":true}"#, "null a boolean (true)"),
        (r#"{"a":[1, 2],"b":{"a":5}}"#, r#"[1, 2] {"a":5}"#),
        (r#"{"\u0061":"\u00e9\ud83d\ude00\n\/\"","b":"é"}"#, "'é😀\n/\"' 'é'"),
        (r#"{"a":"\ud800","b":"\udc00\ud800"}"#, "half half"),
        (r#"{"a":12345678901234567890123,"b":-0}"#, "12345678901234567890123 0"),
        (r#"{"a":1.50,"b":-0.0}"#, "1.5e0 0"),
        (r#"{"a":1e400,"b":1E2}"#, "inf 1e2"),
        (r#"{"a\"":1,"b":2}"#, "undefined 2"),
        (r#"{"":1,"\ud800":{"a":1},"b":2}"#, "undefined 2"),
    ] {
        assert_eq!(read(line, &["a", "b"]), expected, "{line}");
    }
}

#[test]
fn paths_lead_into_objects_and_arrays() {
    let line = r#"{"a":{"b":{"c":1},"l":[0,{"x":"y"}],"b":{"c":2}},"a.b":3,"s":"text","e":"\u0061"}"#;
    for (hole, expected) in [
        ("a.b.c", "2"),
        ("a.l.1.x", "'y'"),
        ("a.l.0", "0"),
        ("a.l.00", "undefined"),
        ("a.l.2", "undefined"),
        ("a.l.length", "undefined"),
        ("s.0", "undefined"),
        ("a.b.c.d", "undefined"),
        ("z.b", "undefined"),
        ("e", "'a'"),
    ] {
        assert_eq!(read(line, &[hole, "s"]), format!("{expected} 'text'"), "{hole}");
    }
}

#[test]
fn lines_are_rows_and_blank_ones_are_none() {
    let content = "\u{feff}{\"a\":1}\r\n\n  \t\r\n{\"a\":2}\n[]\n{\"a\":3}";
    let rows = read_in(content.as_bytes(), &["a"], &[2, 5], 1 << 10).expect("rows");
    let expected = [(1, "1"), (4, "2"), (5, "!it is no JSON object"), (6, "3")];
    assert_eq!(rows, expected.map(|(line, told)| (line, told.to_owned())));
    assert_eq!(read_in(b"", &["a"], &[1], 100), Ok(vec![]));
    let long = format!("{{}}\n{{\"a\":\"{}\"}}\n", "x".repeat(200));
    assert_eq!(
        read_in(long.as_bytes(), &["a"], &[7], 128),
        Err("line 2 is longer than 64 MiB".to_owned())
    );
}

#[test]
fn what_is_no_object_is_broken() {
    for line in ["1", "\"a\"", "null", "[{}]", "true "] {
        assert_eq!(read(line, &["a"]), "!it is no JSON object", "{line}");
    }
    // After JSONTestSuite (https://github.com/nst/JSONTestSuite), the cases that begin with n_.
    for line in [
        "{",
        "}",
        "{]",
        "{}{}",
        "{},",
        "{}x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "{1:1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x1}",
        "{\"a\":Infinity}",
        "{\"a\":NaN}",
        "{\"a\":--1}",
        "{\"a\":1_0}",
        "{\"a\":tru}",
        "{\"a\":True}",
        "{\"a\":nul}",
        "{\"a\":\"x}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\\"}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":1}/**/",
        "{\"a\":1} //",
        "\u{a0}{}",
        "{\u{a0}}",
        "undefined",
        "#",
        "{\"b\":\"\u{1f}\"}",
        "{\"b\":[tru]}",
        "{\"b\":{\"c\":01}}",
        "{\"\t\":1}",
        "{\"a\":\"\0\"}",
    ] {
        assert!(
            read(line, &["a"]).starts_with("!it is no JSON, column "),
            "{line}: {}",
            read(line, &["a"])
        );
    }
    assert_eq!(
        read("{\"a\": tru}", &["a"]),
        "!it is no JSON, column 10: expected ident"
    );
    let bytes = [&b"{\"b\":\""[..], b"\xff", b"\"}"].concat();
    let rows = read_in(&bytes, &["a"], &[1], 100).expect("rows");
    assert_eq!(rows, [(1, "!byte 7 is not UTF-8".to_owned())]);
}

#[test]
fn nesting_may_be_deep() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(read(&deep, &["b"]), "undefined");
    let mut written = Vec::new();
    compact(&deep, &mut written).expect("JSON");
    assert_eq!(written, deep.as_bytes());
    let objects = format!("{}1{}", "{\"a\": ".repeat(50_000), "}".repeat(50_000));
    written.clear();
    compact(&objects, &mut written).expect("JSON");
    assert_eq!(written.len(), objects.len() - 50_000);
    let bottomless = format!("{}{}", "[".repeat((1 << 20) + 1), "]".repeat((1 << 20) + 1));
    assert_eq!(
        compact(&bottomless, &mut written),
        Err("is nested more than 1048576 levels deep")
    );
    // Each level would move all that is within.
    let repeating = format!("{}1{}", "{\"a\":0,\"a\":".repeat(50_000), "}".repeat(50_000));
    assert_eq!(
        compact(&repeating, &mut written),
        Err("has names that repeat on too many levels")
    );
}

/// The naive twin: a parser by the grammar, and a writer.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Word(&'static str),
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

struct Naive<'a>(&'a [u8]);

impl Naive<'_> {
    fn all(text: &str) -> Option<Json> {
        let mut naive = Naive(text.as_bytes());
        let value = naive.value()?;
        naive.blanks();
        naive.0.is_empty().then_some(value)
    }

    fn blanks(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.blanks();
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    fn value(&mut self) -> Option<Json> {
        for word in ["true", "false", "null"] {
            if self.take(word).is_some() {
                return Some(Json::Word(word));
            }
        }
        if self.take("[").is_some() {
            let mut list = Vec::new();
            if self.take("]").is_some() {
                return Some(Json::Array(list));
            }
            loop {
                list.push(self.value()?);
                if self.take("]").is_some() {
                    return Some(Json::Array(list));
                }
                self.take(",")?;
            }
        }
        if self.take("{").is_some() {
            let mut members: Vec<(String, Json)> = Vec::new();
            if self.take("}").is_some() {
                return Some(Json::Object(members));
            }
            loop {
                let name = self.text()?;
                self.take(":")?;
                let value = self.value()?;
                match members.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = value,
                    None => members.push((name, value)),
                }
                if self.take("}").is_some() {
                    return Some(Json::Object(members));
                }
                self.take(",")?;
            }
        }
        if self.0.first() == Some(&b'"') {
            return self.text().map(Json::Text);
        }
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.0.iter().take_while(|byte| is_part(byte)).count();
        let number = str::from_utf8(&self.0[..length]).ok()?;
        self.0 = &self.0[length..];
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
            None => (unsigned, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let sound = digits(whole) && digits(fraction) && digits(exponent) && (whole == "0" || !whole.starts_with('0'));
        sound.then(|| Json::Number(number.to_owned()))
    }

    fn text(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut units = Vec::new();
        loop {
            let rest = str::from_utf8(self.0).ok()?;
            let character = rest.chars().next()?;
            self.0 = &self.0[character.len_utf8()..];
            match character {
                '"' => return String::from_utf16(&units).ok(),
                '\0'..='\x1f' => return None,
                '\\' => {
                    let (escape, rest) = self.0.split_first()?;
                    self.0 = rest;
                    let known = b"bfnrt\"\\/".iter().position(|known| known == escape);
                    if *escape == b'u' {
                        let digits = str::from_utf8(self.0.get(..4)?).ok()?;
                        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                            return None;
                        }
                        units.push(u16::from_str_radix(digits, 16).ok()?);
                        self.0 = &self.0[4..];
                    } else {
                        units.push(u16::from(b"\x08\x0c\n\r\t\"\\/"[known?]));
                    }
                }
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }
}

impl Json {
    fn written(&self) -> String {
        let quoted = |text: &String| {
            let escaped = |character: char| match character {
                '"' | '\\' => format!("\\{character}"),
                '\x08' => "\\b".to_owned(),
                '\x0c' => "\\f".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\0'..='\x1f' => format!("\\u{:04x}", u32::from(character)),
                _ => character.to_string(),
            };
            format!("\"{}\"", text.chars().map(escaped).collect::<String>())
        };
        let list = |items: Vec<String>| items.join(",");
        match self {
            Self::Word(word) => (*word).to_owned(),
            Self::Number(number) if number.contains(['.', 'e', 'E']) => {
                let number: f64 = number.parse().expect("a number");
                ryu_js::Buffer::new().format(number + 0.0).to_owned()
            }
            Self::Number(number) if number == "-0" => "0".to_owned(),
            Self::Number(number) => number.clone(),
            Self::Text(text) => quoted(text),
            Self::Array(items) => format!("[{}]", list(items.iter().map(Self::written).collect())),
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| format!("{}:{}", quoted(name), value.written());
                format!("{{{}}}", list(members.iter().map(member).collect()))
            }
        }
    }
}

/// JSON, perhaps with a fault, in one of the many forms that the same value can have.
fn json() -> impl Strategy<Value = String> {
    let text = "\"([a-cé ]|\\\\u00[0-7][0-9a-fA-F]|\\\\[bfnrt/\"\\\\]|\\\\ud83d\\\\ude00){0,5}\"";
    let leaf = prop_oneof![
        3 => text,
        3 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        2 => "true|false|null",
        1 => "[-+0-9.eEtrufalsn\"\\\\\\[{},:x]{0,4}",
    ];
    let blank = "[ \t]{0,2}";
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (blank, "\"[ab]\"|\"\\\\u006[12]\"|\"[c-z]\"", blank, inner.clone())
            .prop_map(|(before, name, between, value)| format!("{before}{name}{between}:{between}{value}{before}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{} }}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn lines_are_what_the_naive_twin_reads(value in json(), lengths in prop::collection::vec(1..40_usize, 1..5)) {
        let line = format!("{{\"b\":1, \"a\" :{value}}}");
        let naive = Naive::all(&line);
        let rows = read_in(line.as_bytes(), &["a"], &lengths, 1 << 20).expect("rows");
        prop_assert_eq!(naive.is_none(), rows[0].1.starts_with('!'), "{:?}", &rows);
        if let Some(naive) = naive {
            let mut written = Vec::new();
            compact(&line, &mut written).expect("little");
            prop_assert_eq!(String::from_utf8(written).expect("text"), naive.written());
        }
    }

    #[test]
    fn any_line_is_an_object_or_broken(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "\\{[\"a:\\\\u0-9d\\[\\]{},. -]{0,30}\\}") {
        let _ = read_in(&bytes, &["a", "a.b"], &[9], 1 << 10);
        let told = read(&text, &["a"]);
        let half = Naive::all(&text).is_none() && text.contains("\\u");
        prop_assert!(half || told.starts_with('!') == !matches!(Naive::all(&text), Some(Json::Object(_))), "{}", told);
    }
}
