use proptest::prelude::*;

use super::super::window::tests::Pieces;
use super::*;

type Rows = Vec<(u64, Result<Vec<String>, String>)>;

fn settings(header: Header) -> Settings {
    Settings {
        delimiter: b',',
        header,
    }
}

/// All rows of a file, read in pieces.
fn read_in(content: &[u8], settings: Settings, lengths: &[usize], usual: usize, most: usize) -> Result<Rows, String> {
    let told = |halt| match halt {
        Halt::Read(error) => error.to_string(),
        Halt::Because(reason) => reason,
        Halt::Error(error) => error.to_string(),
    };
    let window = Window::of(Pieces::new(content, lengths), usual, most);
    let mut csv = Csv::new(window, settings.delimiter);
    csv.begin(settings.header).map_err(told)?;
    let mut rows = Vec::new();
    while let Some((line, row)) = csv.next().map_err(told)? {
        let texts = |fields: Fields<'_>| {
            let text = |at| String::from_utf8_lossy(fields.text(at)).into_owned();
            (0..fields.count()).map(text).collect()
        };
        rows.push((line, row.map(texts)));
    }
    Ok(rows)
}

fn read(content: &str, header: Header) -> Result<Rows, String> {
    read_in(content.as_bytes(), settings(header), &[1 << 20], 1 << 10, 1 << 20)
}

/// Rows as `line:[field|field]` or `line!reason`.
fn shown_rows(content: &str, header: Header) -> String {
    let row = |(line, row): &(u64, Result<Vec<String>, String>)| match row {
        Ok(fields) => format!("{line}:[{}]", fields.join("|")),
        Err(reason) => format!("{line}!{reason}"),
    };
    match read(content, header) {
        Ok(rows) => rows.iter().map(row).collect::<Vec<_>>().join(" "),
        Err(reason) => reason,
    }
}

#[test]
fn fields_are_parted_and_quoted() {
    for (content, expected) in [
        ("", ""),
        ("a,b\n", "1:[a|b]"),
        ("a,b", "1:[a|b]"),
        ("a,b\r\nc,d\r\n", "1:[a|b] 2:[c|d]"),
        ("a,b\nc,d\r\ne,f\r", "1:[a|b] 2:[c|d] 3:[e|f]"),
        (",\n,", "1:[|] 2:[|]"),
        ("\"a\",\"b\"\n", "1:[a|b]"),
        ("\"a\",\"b\"", "1:[a|b]"),
        ("\"a\",\"b\"\r\n", "1:[a|b]"),
        ("\"a\",\"b\"\r", "1:[a|b]"),
        ("\"\",\"\"\n", "1:[|]"),
        ("\"a \"\"b\"\"\",\"\"\"\"\n", "1:[a \"b\"|\"]"),
        ("\"a,\r\nb\",c\nd,e\n", "1:[a,\r\nb|c] 3:[d|e]"),
        (" a , b\n", "1:[ a | b]"),
        ("a\rb,c\r\r\n", "1:[a\rb|c\r]"),
        ("\n\r\na,b\n\n\r\n\nc,d\n\n", "3:[a|b] 7:[c|d]"),
        ("\u{feff}a,b\n", "1:[a|b]"),
        ("\u{feff}\"a\",b\n", "1:[a|b]"),
        ("\u{feff}", ""),
        ("\"\"\n", "1:[]"),
        (" \n", "1:[ ]"),
    ] {
        assert_eq!(shown_rows(content, Header::None), expected, "{content:?}");
    }
}

#[test]
fn what_is_broken_has_its_line_and_its_reason() {
    for (content, expected) in [
        ("a,b\nc\nd,e\n", "1:[a|b] 2!1 field, where the first row has 2 3:[d|e]"),
        (
            "a,b\nc,d,e\nf,g",
            "1:[a|b] 2!3 fields, where the first row has 2 3:[f|g]",
        ),
        (
            "a,b\"c\nd,e\n",
            "1!field 2 has a quote, and does not begin with one 2:[d|e]",
        ),
        ("\"a\"b,c\nd,e\n", "1!field 1 has text behind its closing quote 2:[d|e]"),
        ("\"a\" ,c\nd,e\n", "1!field 1 has text behind its closing quote 2:[d|e]"),
        (
            "\"a\"\rb,c\nd,e\n",
            "1!field 1 has text behind its closing quote 2:[d|e]",
        ),
        (
            "a,\"b\nc,d\ne,f\n",
            "1!field 2 has a quote in line 1 that is never closed 2:[c|d] 3:[e|f]",
        ),
        (
            "a,\"b\nc,\"d\"\ne,f\n",
            "1!field 2 has text behind its closing quote in line 2 2:[c|d] 3:[e|f]",
        ),
        (
            "\"x\ny\",\"b\nc,d",
            "1!field 2 has a quote in line 2 that is never closed 2!field 1 has a quote, and does not begin with one 3:[c|d]",
        ),
        ("a,\"", "1!field 2 has a quote in line 1 that is never closed"),
        ("\"\"\"", "1!field 1 has a quote in line 1 that is never closed"),
    ] {
        assert_eq!(shown_rows(content, Header::None), expected, "{content:?}");
    }
}

#[test]
fn a_header_row_or_given_names_tell_the_width() {
    assert_eq!(
        shown_rows("\u{feff}\nid,name\n1,a\n2\n", Header::Row),
        "3:[1|a] 4!1 field for 2 columns"
    );
    let given = Header::Given(vec!["id".to_owned(), "name".to_owned()]);
    assert_eq!(
        shown_rows("1,a\n2,\"b\"c\n", given),
        "1:[1|a] 2!field 2 (name) has text behind its closing quote"
    );
    assert_eq!(shown_rows("id\n1,2\n", Header::Row), "2!2 fields for 1 column");
    assert_eq!(shown_rows("", Header::Row), "it is empty: there is no header row");
    assert_eq!(
        shown_rows("id,name\r1,a\r2,b\r", Header::Row),
        "its header row has a carriage return that no newline follows: lines end with \\n or \\r\\n"
    );
    assert_eq!(shown_rows("\"i\r\nd\"\n1\n", Header::Row), "3:[1]");
    assert_eq!(
        shown_rows("id,na\"me\n", Header::Row),
        "its header row, line 1: field 2 has a quote, and does not begin with one"
    );
}

#[test]
fn columns_are_found_by_name() {
    fn csv(content: &str, header: Header) -> Csv<&[u8]> {
        let mut csv = Csv::new(Window::new(content.as_bytes()), b',');
        csv.begin(header).expect("csv");
        csv
    }
    let named = csv("id,a.b,\"id\",x\n", Header::Row);
    let found = |csv: &Csv<&[u8]>, name| csv.columns().find(name).map_err(|error| error.to_string());
    assert_eq!(found(&named, "a.b"), Ok(1));
    assert_eq!(
        found(&named, "id"),
        Err("column id is there twice, as field 1 and 3".to_owned())
    );
    assert_eq!(
        found(&named, "X"),
        Err("there is no column X, only id, a.b, id, x".to_owned())
    );
    assert_eq!(named.columns().duplicate().as_deref(), Some("id"));
    let numbered = csv("1,2\n", Header::None);
    assert_eq!(found(&numbered, "7"), Ok(7));
    for name in ["07", "-1", "+1", "id"] {
        assert!(
            found(&numbered, name)
                .expect_err(name)
                .contains("they are called 0, 1, 2")
        );
    }
}

#[test]
fn a_delimiter_is_what_parts_fields() {
    let tab = Settings {
        delimiter: b'\t',
        header: Header::None,
    };
    let rows = read_in(b"a,b\tc\n\"d\te\"\tf\n", tab, &[3], 4, 100).expect("rows");
    assert_eq!(rows[0].1.as_ref().expect("a row"), &["a,b", "c"]);
    assert_eq!(rows[1].1.as_ref().expect("a row"), &["d\te", "f"]);
    for delimiter in [b'"', b'\n', b'\r'] {
        let refused = Settings {
            delimiter,
            header: Header::None,
        };
        assert!(read_in(b"a", refused, &[1], 4, 100).is_err());
    }
}

#[test]
fn a_line_has_a_limit_and_an_open_quote_too() {
    let long = "x".repeat(200);
    let limited = |content: &str| read_in(content.as_bytes(), settings(Header::None), &[7], 16, 128);
    assert_eq!(
        limited(&format!("a\n{long}\n")),
        Err("line 2 is longer than 64 MiB".to_owned())
    );
    // Cut off where it is full, it would look like a record.
    let several = format!("\"a\n{}\",{}\n", "b\n".repeat(30), "x".repeat(100));
    assert_eq!(
        limited(&several).expect("rows")[0],
        (1, Err("it is longer than 64 MiB".to_owned()))
    );
    let lines = "b\n".repeat(100);
    let rows = limited(&format!("\"a\n{lines}")).expect("rows");
    let reason = "field 1 has a quote in line 1 that is not closed within 64 MiB";
    assert_eq!(rows[0], (1, Err(reason.to_owned())));
    assert_eq!(rows.len(), 101);
    assert!(
        rows[1..]
            .iter()
            .all(|(_, row)| row.as_deref() == Ok(&["b".to_owned()][..]))
    );
}

#[test]
fn fields_have_a_limit() {
    let most = ",".repeat(MAX_FIELDS - 1);
    let content = format!("{most}\n{most},\n{most}");
    let rows = read_in(content.as_bytes(), settings(Header::None), &[1 << 20], 1 << 10, 1 << 24).expect("rows");
    let told: Vec<_> = rows
        .into_iter()
        .map(|(line, row)| (line, row.map(|row| row.len())))
        .collect();
    let reason = "it has more than 1048576 fields".to_owned();
    assert_eq!(told, [(1, Ok(MAX_FIELDS)), (2, Err(reason)), (3, Ok(MAX_FIELDS))]);
}

/// The naive twin: the same rules, byte by byte, of a file that is there as a whole.
fn naive(content: &[u8], width: Option<usize>) -> Vec<(u64, Option<Vec<Vec<u8>>>)> {
    let mut rest = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let (mut line, mut width, mut rows) = (1, width, Vec::new());
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        if matches!(&rest[..end], b"\n" | b"\r\n" | b"\r") {
            (rest, line) = (&rest[end..], line + 1);
            continue;
        }
        match record(rest) {
            Some((fields, length)) => {
                let is_wide = *width.get_or_insert(fields.len()) == fields.len();
                rows.push((line, is_wide.then_some(fields)));
                line += rest[..length].iter().filter(|&&byte| byte == b'\n').count().max(1) as u64;
                rest = &rest[length..];
            }
            None => {
                rows.push((line, None));
                (rest, line) = (&rest[end..], line + 1);
            }
        }
    }
    rows
}

fn record(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let line_end = |at: usize| match &bytes[at..] {
        [] => Some(at),
        [b'\n', ..] | [b'\r'] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    };
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let mut field = Vec::new();
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            loop {
                match (bytes.get(at)?, bytes.get(at + 1)) {
                    (b'"', Some(b'"')) => at += 1,
                    (b'"', _) => break,
                    _ => {}
                }
                field.push(bytes[at]);
                at += 1;
            }
            at += 1;
            if bytes.get(at) != Some(&b',') && line_end(at).is_none() {
                return None;
            }
        } else {
            while bytes.get(at) != Some(&b',') && line_end(at).is_none() {
                if bytes[at] == b'"' {
                    return None;
                }
                field.push(bytes[at]);
                at += 1;
            }
        }
        fields.push(field);
        match line_end(at) {
            Some(end) => return Some((fields, end)),
            None => at += 1,
        }
    }
}

proptest! {
    #[test]
    fn rows_are_what_the_naive_twin_reads(
        tokens in prop::collection::vec("(\"|,|\n|\r\n|\r|a|bc|\"\"|x,y\n|\"q\"|\"a\nb\",|\u{feff}| ){1}", 0..60),
        lengths in prop::collection::vec(1..40_usize, 1..5),
        usual in 1..64_usize,
    ) {
        let content = tokens.concat();
        let rows = read_in(content.as_bytes(), settings(Header::None), &lengths, usual, 1 << 20).expect("rows");
        let rows: Vec<_> = rows.into_iter().map(|(line, row)| (line, row.ok())).collect();
        let expected: Vec<_> = naive(content.as_bytes(), None)
            .into_iter()
            .map(|(line, row)| {
                let text = |field: &Vec<u8>| String::from_utf8_lossy(field).into_owned();
                (line, row.map(|fields| fields.iter().map(text).collect::<Vec<_>>()))
            })
            .collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn any_fields_come_back(
        given in prop::collection::vec(prop::collection::vec("[a-z\",\r\n é]{0,12}", 3), 0..20),
        lengths in prop::collection::vec(1..40_usize, 1..5),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |fields: &Vec<String>| fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
        let content: String = given.iter().map(line).collect();
        let rows = read_in(content.as_bytes(), settings(Header::None), &lengths, 16, 1 << 20).expect("rows");
        let rows: Vec<_> = rows.into_iter().map(|(_, row)| row.expect("a row")).collect();
        prop_assert_eq!(rows, given);
    }
}
