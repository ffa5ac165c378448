//! Conversions of a template: a value of a row to text, by the rules that `lib/template.js` has for rows of JavaScript.

use super::text;
use super::value::Value;
use crate::template::Conversion;

/// Appends what a conversion makes of a value that is there; `name` is what messages call it.
///
/// # Errors
/// What is wrong with the value.
pub(super) fn convert(
    conversion: Conversion,
    value: Value<'_>,
    name: impl Fn() -> String,
    into: &mut Vec<u8>,
) -> Result<(), String> {
    let refused = |reason: String| Err(format!("{} {reason}", name()));
    match conversion {
        Conversion::Milliseconds | Conversion::Seconds => {
            if !matches!(value, Value::Text(_) | Value::Escaped(_)) {
                let takes = format!("|{} takes a Date or an ISO string", conversion.name());
                return refused(format!("is {}: {takes}", value.described()));
            }
            // Half a surrogate pair is no part of a date.
            match milliseconds(&value.plain().unwrap_or_default()) {
                Ok(time) => {
                    let time = if conversion == Conversion::Seconds {
                        time.div_euclid(1_000)
                    } else {
                        time
                    };
                    into.extend_from_slice(itoa::Buffer::new().format(time).as_bytes());
                    Ok(())
                }
                Err(reason) => refused(reason.to_owned()),
            }
        }
        Conversion::Boolean => {
            let boolean = match value {
                Value::Boolean(boolean) => Some(boolean),
                _ => value.plain().and_then(|text| match &text[..] {
                    b"true" => Some(true),
                    b"false" => Some(false),
                    _ => None,
                }),
            };
            match boolean {
                Some(boolean) => into.push(b'0' + u8::from(boolean)),
                None => return refused(format!("is {}: |bool takes true and false", value.described())),
            }
            Ok(())
        }
        Conversion::Json => json(value, into).or_else(|reason| refused(reason.to_owned())),
    }
}

/// Appends a value as JSON.
fn json(value: Value<'_>, into: &mut Vec<u8>) -> Result<(), &'static str> {
    match value {
        Value::Text(text) => {
            return text::quote(text, into).map_err(|_| "cannot be written as JSON: it is not UTF-8");
        }
        Value::Escaped(inside) => return text::compact(&format!("\"{inside}\""), into),
        Value::Integer(number) => into.extend_from_slice(number.as_bytes()),
        Value::Float(number) => into.extend_from_slice(ryu_js::Buffer::new().format(number).as_bytes()),
        Value::Array(json) | Value::Object(json) => return text::compact(json, into),
        Value::Boolean(true) => into.extend_from_slice(b"true"),
        Value::Boolean(false) => into.extend_from_slice(b"false"),
        Value::Null | Value::Undefined => into.extend_from_slice(b"null"),
    }
    Ok(())
}

/// Of an ISO 8601 date as databases write it, too: a blank for the `T`, hours alone for the zone. Milliseconds since 1970.
fn milliseconds(text: &[u8]) -> Result<i64, &'static str> {
    let form = "is no date in ISO form, such as 2026-01-31 or 2026-01-31T12:00:00Z";
    let exists = "is no date that exists";
    let Parts { date, time, zone } = Parts::of(text).ok_or(form)?;
    if time.is_some() && zone.is_none() {
        return Err("is a time without a zone, which each machine would take for another: add Z or +01:00");
    }
    let day = days(date).ok_or(exists)?;
    let within = match time {
        Some(time) => time.milliseconds().ok_or(exists)?,
        None => 0,
    };
    let zone = match zone {
        Some(zone) => zone.milliseconds().ok_or(exists)?,
        None => 0,
    };
    Ok(day * DAY + within - zone)
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What an ISO date consists of; nothing is said of whether it exists.
struct Parts {
    date: Date,
    time: Option<Time>,
    zone: Option<Zone>,
}

#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

struct Time {
    hours: i64,
    minutes: i64,
    seconds: i64,
    thousandths: i64,
    /// Anything behind the seconds, however little.
    has_fraction: bool,
}

struct Zone {
    sign: i64,
    hours: i64,
    minutes: i64,
}

impl Parts {
    /// `^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?)?$`, in either case.
    fn of(text: &[u8]) -> Option<Self> {
        let mut rest = Digits(text);
        let year = rest.number(4)?;
        rest.take(b"-")?;
        let month = rest.number(2)?;
        rest.take(b"-")?;
        let day = rest.number(2)?;
        let (mut time, mut zone) = (None, None);
        if rest.take(b"Tt ").is_some() {
            time = Some(rest.time()?);
            let _ = rest.take(b" ");
            zone = rest.zone()?;
        }
        rest.0.is_empty().then_some(Self {
            date: Date { year, month, day },
            time,
            zone,
        })
    }
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// One of these bytes.
    fn take(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// A number of so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let number = self.0.get(..digits)?;
        self.0 = &self.0[digits..];
        number.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    fn time(&mut self) -> Option<Time> {
        let hours = self.number(2)?;
        self.take(b":")?;
        let minutes = self.number(2)?;
        let (mut seconds, mut thousandths, mut has_fraction) = (0, 0, false);
        if self.take(b":").is_some() {
            seconds = self.number(2)?;
            if self.take(b".,").is_some() {
                (thousandths, has_fraction) = self.fraction()?;
            }
        }
        Some(Time {
            hours,
            minutes,
            seconds,
            thousandths,
            has_fraction,
        })
    }

    /// Any number of digits, of which three count.
    fn fraction(&mut self) -> Option<(i64, bool)> {
        let length = self.0.iter().take_while(|digit| digit.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let weighted = |(digit, weight): (&u8, i64)| i64::from(digit - b'0') * weight;
        let thousandths = digits.iter().zip([100, 10, 1]).map(weighted).sum();
        (length > 0).then(|| (thousandths, digits.iter().any(|digit| *digit != b'0')))
    }

    /// A zone that may be missing.
    #[expect(clippy::option_option, reason = "what is no zone differs from none")]
    fn zone(&mut self) -> Option<Option<Zone>> {
        let Some(mark) = self.take(b"Zz+-") else {
            return Some(None);
        };
        let mut zone = Zone {
            sign: if mark == b'-' { -1 } else { 1 },
            hours: 0,
            minutes: 0,
        };
        if mark.is_ascii_alphabetic() {
            return Some(Some(zone));
        }
        zone.hours = self.number(2)?;
        if self.take(b":").is_some() || !self.0.is_empty() {
            zone.minutes = self.number(2)?;
        }
        Some(Some(zone))
    }
}

impl Time {
    /// Since midnight; 24:00 is the next one.
    fn milliseconds(&self) -> Option<i64> {
        let whole = self.hours * HOUR + self.minutes * MINUTE + self.seconds * 1_000 + self.thousandths;
        let is_late = self.hours == 24 && (whole > DAY || self.has_fraction);
        (self.hours <= 24 && self.minutes < 60 && self.seconds < 60 && !is_late).then_some(whole)
    }
}

impl Zone {
    fn milliseconds(&self) -> Option<i64> {
        (self.hours < 24 && self.minutes < 60).then_some(self.sign * (self.hours * HOUR + self.minutes * MINUTE))
    }
}

/// Days since 1970, of a day that exists.
fn days(Date { year, month, day }: Date) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        // What JavaScript looks up for the year 0 is 1900, which had no leap day.
        2 if is_leap && year != 0 => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March, so that a leap day is the last one (Howard Hinnant, "chrono-compatible low-level date
    // algorithms").
    let year = if month < 3 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn converted(conversion: Conversion, value: Value<'_>) -> String {
        let mut into = Vec::new();
        match convert(conversion, value, || "it".to_owned(), &mut into) {
            Ok(()) => String::from_utf8(into).expect("text"),
            Err(reason) => reason,
        }
    }

    fn date(text: &str) -> String {
        converted(Conversion::Milliseconds, Value::Text(text.as_bytes()))
    }

    #[test]
    fn dates_are_those_of_javascript() {
        for (text, expected) in [
            ("1970-01-01", "0"),
            ("2026-01-31T12:00:00Z", "1769860800000"),
            ("2026-01-31 12:00:00+01", "1769857200000"),
            ("2026-01-31 12:00:00 +0100", "1769857200000"),
            ("2026-01-31t12:00z", "1769860800000"),
            ("2026-01-31T12:00:00,5-05:30", "1769880600500"),
            ("2026-01-31T12:00:00.123999999999Z", "1769860800123"),
            ("2026-01-31T24:00:00.000Z", "1769904000000"),
            ("2024-02-29", "1709164800000"),
            ("0000-01-01", "-62167219200000"),
            ("9999-12-31", "253402214400000"),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
        for text in [
            "2026-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1900-02-29",
            "0000-02-29",
            "2026-01-01T25:00Z",
            "2026-01-01T24:01Z",
            "2026-01-01T24:00:00.0001Z",
            "2026-01-01T12:60Z",
            "2026-01-01T12:00:60Z",
            "2026-01-01T12:00+24",
            "2026-01-01T12:00+01:60",
        ] {
            assert_eq!(date(text), "it is no date that exists", "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T12",
            "2026-01-01T12:00:00.Z",
            "2026-01-01Z",
            "2026-01-01T12:00+1",
            "2026-01-01T12:00+01:",
            "2026-01-01T12:00Z ",
            " 2026-01-01",
            "2026-01-01T12:00  Z",
            "2026-01-01T12:00z1",
        ] {
            assert!(date(text).starts_with("it is no date in ISO form"), "{text}");
        }
        for text in ["2026-01-01T12:00:00", "2026-01-01 12:00", "2026-02-31T12:00 "] {
            assert!(date(text).starts_with("it is a time without a zone"), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_named() {
        let milliseconds = |value| converted(Conversion::Milliseconds, value);
        assert_eq!(
            milliseconds(Value::Integer("5")),
            "it is a number: |ms takes a Date or an ISO string"
        );
        assert_eq!(
            milliseconds(Value::Array("[]")),
            "it is an array: |ms takes a Date or an ISO string"
        );
        assert_eq!(
            milliseconds(Value::Escaped("1970-01-01T00:00:00\\u002b00\\u003A00")),
            "0"
        );
        assert!(milliseconds(Value::Escaped("\\ud800")).starts_with("it is no date in ISO form"));
        assert_eq!(
            converted(Conversion::Seconds, Value::Text(b"1969-12-31T23:59:59.999Z")),
            "-1"
        );
        assert_eq!(
            converted(Conversion::Seconds, Value::Boolean(true)),
            "it is a boolean (true): pass 1 and 0, or text: |s takes a Date or an ISO string"
        );
    }

    #[test]
    fn booleans_and_json() {
        let boolean = |value| converted(Conversion::Boolean, value);
        assert_eq!(boolean(Value::Boolean(true)), "1");
        assert_eq!(boolean(Value::Text(b"false")), "0");
        assert_eq!(
            boolean(Value::Text(b"yes")),
            "it is a string: |bool takes true and false"
        );
        assert_eq!(
            boolean(Value::Integer("1")),
            "it is a number: |bool takes true and false"
        );
        let json = |value| converted(Conversion::Json, value);
        assert_eq!(json(Value::Text("é\"\\\n\u{1}".as_bytes())), "\"é\\\"\\\\\\n\\u0001\"");
        assert_eq!(
            json(Value::Text(b"\xff")),
            "it cannot be written as JSON: it is not UTF-8"
        );
        assert_eq!(json(Value::Float(1.5)), "1.5");
        assert_eq!(json(Value::Escaped("\\u00e9\\ud800")), "\"é\\ud800\"");
        assert_eq!(json(Value::Object("{ \"a\" : 1.0 }")), "{\"a\":1}");
    }

    proptest! {
        /// The naive twin: a calendar that is counted through.
        #[test]
        fn days_are_counted(year in 1..3000_i64, month in 1..=12_i64, day in 1..=31_i64) {
            let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            let length = |year, month| match month {
                2 => 28 + i64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let before_year = |year: i64| -> i64 { (1..year).map(|year| 365 + i64::from(is_leap(year))).sum() };
            let of_year: i64 = (1..month).map(|month| length(year, month)).sum();
            let expected = before_year(year) - before_year(1970) + of_year + day - 1;
            let exists = day <= length(year, month);
            prop_assert_eq!(days(Date { year, month, day }), exists.then_some(expected));
        }

        #[test]
        fn any_text_is_a_date_or_refused(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?[0-9:.,+Z -]{0,20}") {
            let _ = milliseconds(text.as_bytes());
        }
    }
}
