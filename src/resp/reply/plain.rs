//! The fast lane of the scanner: plain replies, without a state.
//!
//! In come bytes that begin at the start of a reply; out goes how many whole `+` and `:` replies
//! stand there in a row. Nearly all replies of a load are `+OK` and `:0`, and they arrive by the
//! million. The plain form of [`count`] is [`line`] in a loop, and the tests hold it to that.

use super::grammar::{Type, read};

/// Counts up to `max` plain replies; returns their length and their number.
pub(super) fn count(input: &[u8], max: u64) -> (usize, u64) {
    let mut rest = input;
    let mut count = 0;
    while count < max {
        // The two commonest replies are told by comparing constants: 1 ns instead of 6.
        let length = match rest {
            [b'+', b'O', b'K', b'\r', b'\n', ..] => 5,
            [b':', b'0'..=b'9', b'\r', b'\n', ..] => 4,
            _ => match short_integer(rest).or_else(|| line(rest)) {
                Some(length) => length,
                None => break,
            },
        };
        rest = &rest[length..];
        count += 1;
    }
    (input.len() - rest.len(), count)
}

/// Length of a `:` reply without sign that cannot exceed 64 bits, as of INCR and RPUSH.
fn short_integer(bytes: &[u8]) -> Option<usize> {
    /// Every number of 18 digits is an `i64`.
    const DIGITS: usize = 18;

    let digits = bytes.strip_prefix(b":")?;
    let end = digits.iter().take(DIGITS).position(|byte| !byte.is_ascii_digit())?;
    (end > 0 && digits[end..].starts_with(b"\r\n")).then_some(end + 3)
}

/// Length of the `+` or `:` reply that `bytes` begin with, if it is whole and valid.
fn line(bytes: &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    let kind = match first {
        b'+' => Type::Simple,
        b':' => Type::Integer,
        _ => return None,
    };
    let window = &rest[..rest.len().min(kind.line_limit() + 1)];
    let end = memchr::memchr2(b'\r', b'\n', window)?;
    let whole = rest[end..].starts_with(b"\r\n") && read(kind, &rest[..end]).is_ok();
    whole.then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(mut input: &[u8], max: u64) -> (usize, u64) {
        let (mut consumed, mut count) = (0, 0);
        while count < max
            && let Some(length) = line(input)
        {
            input = &input[length..];
            consumed += length;
            count += 1;
        }
        (consumed, count)
    }

    #[test]
    fn plain_replies_are_counted_up_to_anything_else() {
        assert_eq!(count(b"+OK\r\n:0\r\n:-12\r\n+QUEUED\r\n-ERR\r\n", 9), (24, 4));
        assert_eq!(count(b"+OK\r\n+OK\r\n+OK\r\n", 2), (10, 2));
        assert_eq!(count(b"+OK\r\n", 0), (0, 0));
        for rest in [
            "+O",
            "+OK\r",
            ":1",
            ":12\r",
            ":x\r\n",
            ":\r\n",
            "+a\n",
            ":1\n",
            "+a\rb\r\n",
            "+a\nb\r\n",
            "_\r\n",
            "$1\r\na\r\n",
            ":9223372036854775808\r\n",
            "",
        ] {
            let input = format!("+OK\r\n{rest}");
            assert_eq!(count(input.as_bytes(), 9), (5, 1), "{rest:?}");
        }
        let numbers = b":123456789012345678\r\n:9223372036854775807\r\n:+7\r\n:007\r\n";
        assert_eq!(count(numbers, 9), (numbers.len(), 4));
    }

    proptest! {
        #[test]
        fn counting_equals_its_naive_twin(
            pieces in prop::collection::vec(
                prop_oneof![
                    4 => Just("+OK\r\n".to_owned()),
                    4 => "[:][0-9]{1,20}\r\n",
                    2 => "[:][-+]?[0-9]{0,20}\r?\n",
                    2 => "[+][A-Z \r\n]{0,9}\r\n",
                    1 => "[-+:$*0-9a\r\n]{0,6}",
                ],
                0..20,
            ),
            max in 0_u64..25,
        ) {
            let input = pieces.concat();
            prop_assert_eq!(count(input.as_bytes(), max), naive(input.as_bytes(), max));
        }
    }
}
