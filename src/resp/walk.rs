//! Reads commands back out of retained request bytes: where each ends, and what its words are.
//!
//! The bytes are respipe's own, so that a mistake here is a defect; still nothing panics.

/// Where the command at `at` ends; `None` where the bytes end before it does.
pub fn end_of_command(bytes: &[u8], at: usize) -> Option<usize> {
    let (words, mut at) = header(bytes, at, b'*')?;
    for _ in 0..words {
        let (length, start) = header(bytes, at, b'$')?;
        at = start.checked_add(length)?.checked_add(2)?;
        if at > bytes.len() {
            return None;
        }
    }
    Some(at)
}

/// The words of the command at `at`.
pub fn words(bytes: &[u8], at: usize) -> Option<Vec<&[u8]>> {
    let (count, mut at) = header(bytes, at, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = header(bytes, at, b'$')?;
        words.push(bytes.get(start..start.checked_add(length)?)?);
        at = start + length + 2;
    }
    Some(words)
}

/// A `<mark><number>\r\n`: the number, and where what follows starts.
fn header(bytes: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    if *bytes.get(at)? != mark {
        return None;
    }
    let mut number = 0_usize;
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            digit @ b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?,
            b'\r' if bytes.get(at + 1)? == &b'\n' => return Some((number, at + 2)),
            _ => return None,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::Pool;
    use crate::resp::request::Request;

    proptest! {
        #[test]
        fn what_was_appended_is_read_back(
            commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6), 1..20),
        ) {
            let mut request = Request::new(Arc::new(Pool::for_window(1 << 20)));
            for arguments in &commands {
                request.begin(arguments.len() + 1, b"$4\r\nHSET\r\n");
                arguments.iter().for_each(|argument| request.bytes(argument));
                request.commit();
            }
            let batch = request.seal();
            let mut at = 0;
            for arguments in &commands {
                let bytes = batch.segments[0].bytes();
                let found = words(bytes, at).expect("a command");
                prop_assert_eq!(found[0], b"HSET");
                prop_assert_eq!(&found[1..], arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let end = end_of_command(bytes, at).expect("its end");
                for cut in at..end {
                    prop_assert_eq!(end_of_command(&bytes[..cut], at), None);
                }
                at = end;
            }
            prop_assert_eq!(at, batch.bytes);
        }

        #[test]
        fn garbage_is_no_command_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(end) = end_of_command(&bytes, 0) {
                prop_assert!(end <= bytes.len());
            }
            let _ = words(&bytes, 0);
        }
    }
}
