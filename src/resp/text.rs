//! Text as JavaScript holds it, UTF-16, into the bytes of a command, UTF-8.

use std::sync::OnceLock;

/// Half of a surrogate pair, which UTF-8 cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ill;

/// Converts all of a text into a slice with [`MARGIN`] bytes more than it needs; returns how many bytes it has.
pub type Convert = fn(&[u16], &mut [u8]) -> Result<usize, Ill>;

/// Behind its last byte a converter may overwrite so many.
pub const MARGIN: usize = 32;

static CONVERT: OnceLock<Convert> = OnceLock::new();

/// From here on text is converted by this one: what processors do best takes calls that the compiler cannot check, and
/// only the binding has those.
pub fn lend(convert: Convert) {
    CONVERT.get_or_init(|| convert);
}

/// # Errors
/// Where the text is ill-formed; something may have been written all the same.
#[inline]
pub fn convert(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    match CONVERT.get() {
        Some(convert) => convert(text, into),
        None => portable(text, into),
    }
}

fn portable(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    if narrow(text, into) {
        return Ok(text.len());
    }
    let (mut at, mut end) = (0, 0);
    while at < text.len() {
        // The converter asks for three bytes a unit, whatever it then needs.
        let most = (into.len() - end) / 3;
        let piece = &text[at..(at + most).min(text.len())];
        let valid = encoding_rs::mem::utf16_valid_up_to(piece);
        if valid == 0 {
            return Err(Ill);
        }
        end += encoding_rs::mem::convert_utf16_to_utf8(&piece[..valid], &mut into[end..]);
        at += valid;
    }
    Ok(end)
}

/// Bytes of the UTF-8 form of well-formed UTF-16: 1 to 3 a unit, 2 for each half of a surrogate pair.
pub fn utf8_length(text: &[u16]) -> usize {
    text.iter()
        .map(|&unit| 1 + usize::from(unit >= 0x80) + usize::from(unit >= 0x800) - usize::from(unit & 0xf800 == 0xd800))
        .sum()
}

/// Copies the low byte of each unit; tells whether that was all, that is whether the text is ASCII.
fn narrow(text: &[u16], into: &mut [u8]) -> bool {
    // A plain loop over both: the compiler makes packing instructions of it.
    let mut all = 0;
    for (byte, &unit) in into.iter_mut().zip(text) {
        all |= unit;
        #[expect(clippy::cast_possible_truncation, reason = "checked by `all`")]
        let low = unit as u8;
        *byte = low;
    }
    all < 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_what_the_standard_library_makes_of_it(text in any::<String>(), spare in 0..100_usize) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let mut bytes = vec![0; text.len() + MARGIN + spare];
            prop_assert_eq!(utf8_length(&units), text.len());
            prop_assert_eq!(portable(&units, &mut bytes), Ok(text.len()));
            prop_assert_eq!(&bytes[..text.len()], text.as_bytes());
        }

        #[test]
        fn ill_formed_text_is_refused(units in prop::collection::vec(prop_oneof![Just(0xd83d), Just(0xde00), any::<u16>()], 0..100)) {
            let mut bytes = vec![0; 3 * units.len() + MARGIN];
            let expected = String::from_utf16(&units).map(|text| text.len()).map_err(|_| Ill);
            prop_assert_eq!(portable(&units, &mut bytes), expected);
        }
    }
}
