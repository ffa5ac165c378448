//! UTF-16 to UTF-8 with AVX2: eight units at a time, by way of tables of shuffles.
//!
//! The layout of the steps is that of Lemire and Muła, "Transcoding billions of Unicode characters per second with SIMD
//! instructions" (Software: Practice and Experience, 2022). Units come in, bytes go out into a slice that is long enough
//! for whatever they are.

#[expect(clippy::wildcard_imports, reason = "two dozen of them")]
use std::arch::x86_64::*;

use crate::resp::text::{Convert, Ill};

/// The converter of this machine, if it has one that is faster than the portable one.
pub(super) fn converter() -> Option<Convert> {
    std::arch::is_x86_feature_detected!("avx2").then_some(convert)
}

fn convert(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    // SAFETY: given out by `converter` alone, where the processor has AVX2.
    unsafe { convert_avx2(text, into) }
}

/// Units of one step.
const STEP: usize = 8;

#[target_feature(enable = "avx2")]
fn convert_avx2(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    let (mut at, mut end) = (0, 0);
    while at + STEP <= text.len() {
        let rest = &text[at..];
        // The last store of a step ends less than `MARGIN` bytes behind what counts.
        let place = &mut into[end..];
        if let Some(block) = rest.first_chunk()
            && narrow(block, place)
        {
            at += block.len();
            end += block.len();
            continue;
        }
        let Some(block) = rest.first_chunk() else { break };
        let units = load(block);
        let (taken, written) = if fits(units, 0xff80) {
            store(_mm_packus_epi16(units, units), place);
            (STEP, STEP)
        } else if fits(units, 0xf800) {
            (STEP, two_bytes(units, place))
        } else {
            match surrogates_from(units) {
                STEP => (STEP, three_bytes(units, place).1),
                before => up_to_pair(rest, units, before, place)?,
            }
        };
        at += taken;
        end += written;
    }
    Ok(end + one_by_one(&text[at..], &mut into[end..])?)
}

/// ASCII, which most texts are, or most of each: many units at once. False where it is not, and nothing counts.
#[target_feature(enable = "avx2")]
fn narrow(units: &[u16; 32], into: &mut [u8]) -> bool {
    let (low, high) = (load_wide(units.first_chunk()), load_wide(units.last_chunk()));
    let all = _mm256_or_si256(low, high);
    if _mm256_testz_si256(all, _mm256_set1_epi16(0xff80_u16.cast_signed())) == 0 {
        return false;
    }
    // Packing goes by halves of a register: they are put in order again.
    let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high));
    let Some(into) = into.first_chunk_mut::<32>() else {
        return false;
    };
    // SAFETY: `into` has 32 bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(into.as_mut_ptr().cast(), bytes) };
    true
}

/// None of the bits of `mask` is set in any unit.
#[target_feature(enable = "avx2")]
fn fits(units: __m128i, mask: u16) -> bool {
    _mm_testz_si128(units, _mm_set1_epi16(mask.cast_signed())) == 1
}

/// All ones in each lane whose unit is at most `most`.
#[target_feature(enable = "avx2")]
fn at_most(units: __m128i, most: i16) -> __m128i {
    let most = _mm_set1_epi16(most);
    _mm_cmpeq_epi16(_mm_min_epu16(units, most), units)
}

/// Units below 0x800: one byte or two each.
#[target_feature(enable = "avx2")]
fn two_bytes(units: __m128i, into: &mut [u8]) -> usize {
    // 00000bbb bbcccccc becomes 110bbbbb 10cccccc, the continuation in the low byte.
    let lead = _mm_and_si128(_mm_slli_epi16::<2>(units), _mm_set1_epi16(0x1f00));
    let tail = _mm_and_si128(units, _mm_set1_epi16(0x003f));
    let pairs = _mm_or_si128(_mm_or_si128(lead, tail), _mm_set1_epi16(0xc080_u16.cast_signed()));
    let single = at_most(units, 0x7f);
    let bytes = _mm_blendv_epi8(pairs, units, single);
    let singles = _mm_movemask_epi8(_mm_packs_epi16(single, _mm_setzero_si128()));
    shuffle(bytes, &PAIRS[row(singles)], into)
}

/// One to three bytes each; surrogates are no more than counted as three. Tells two bits a unit, set where it is one byte,
/// and where it is one or two; and how many bytes.
#[target_feature(enable = "avx2")]
fn three_bytes(units: __m128i, into: &mut [u8]) -> (i32, usize) {
    // Each unit becomes four bytes, of which those are picked that its length needs:
    //   0 0ccccccc (alone), 1 10cccccc (the last), 2 1110aaaa (the first of three), 3 110bbbbb or 10bbbbbb (before the last)
    let twice = _mm_shuffle_epi8(
        units,
        _mm_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14),
    );
    let ends = _mm_or_si128(
        _mm_and_si128(twice, _mm_set1_epi16(0x3f7f)),
        _mm_set1_epi16(0x8000_u16.cast_signed()),
    );
    let upper = _mm_and_si128(_mm_srli_epi16::<4>(units), _mm_set1_epi16(0x0ffc));
    let parted = _mm_maddubs_epi16(upper, _mm_set1_epi16(0x0140));
    let marked = _mm_or_si128(parted, _mm_set1_epi16(0xc0e0_u16.cast_signed()));
    let (one, one_or_two) = (at_most(units, 0x7f), at_most(units, 0x7ff));
    let starts = _mm_xor_si128(marked, _mm_andnot_si128(one_or_two, _mm_set1_epi16(0x4000)));

    let lengths = (_mm_movemask_epi8(one) & 0x5555) | (_mm_movemask_epi8(one_or_two) & 0xaaaa);
    let first = shuffle(_mm_unpacklo_epi16(ends, starts), &QUADS[row(lengths)], into);
    let second = shuffle(
        _mm_unpackhi_epi16(ends, starts),
        &QUADS[row(lengths >> 8)],
        &mut into[first..],
    );
    (lengths, first + second)
}

/// What comes before the first surrogate, and the pair over the rest. Units and bytes.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn up_to_pair(text: &[u16], units: __m128i, before: usize, into: &mut [u8]) -> Result<(usize, usize), Ill> {
    let (lengths, _) = three_bytes(units, into);
    let counted = lengths & ((1 << (2 * before)) - 1);
    let end = 3 * before - counted.count_ones() as usize;
    Ok((before + 2, end + pair(&text[before..], &mut into[end..])?))
}

/// The place of the first surrogate, or how many units there are.
#[target_feature(enable = "avx2")]
fn surrogates_from(units: __m128i) -> usize {
    let kind = _mm_and_si128(units, _mm_set1_epi16(0xf800_u16.cast_signed()));
    let surrogates = _mm_cmpeq_epi16(kind, _mm_set1_epi16(0xd800_u16.cast_signed()));
    // Two bits a unit, and one behind them all.
    (_mm_movemask_epi8(surrogates) | 1 << (2 * STEP)).trailing_zeros() as usize / 2
}

/// A pair of surrogates is four bytes.
fn pair(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    let (Some(&[high, low]), Some(into)) = (text.first_chunk(), into.first_chunk_mut::<4>()) else {
        return Err(Ill);
    };
    if high & 0xfc00 != 0xd800 || low & 0xfc00 != 0xdc00 {
        return Err(Ill);
    }
    let point = 0x1_0000 + ((u32::from(high) & 0x3ff) << 10 | u32::from(low) & 0x3ff);
    let six = |shift: u32| byte(point >> shift & 0x3f | 0x80);
    *into = [byte(point >> 18 | 0xf0), six(12), six(6), six(0)];
    Ok(4)
}

#[expect(clippy::cast_possible_truncation, reason = "what was made fits")]
fn byte(bits: u32) -> u8 {
    bits as u8
}

/// The last of a text.
fn one_by_one(text: &[u16], into: &mut [u8]) -> Result<usize, Ill> {
    let mut end = 0;
    for decoded in char::decode_utf16(text.iter().copied()) {
        end += decoded.map_err(|_| Ill)?.encode_utf8(&mut into[end..]).len();
    }
    Ok(end)
}

/// How many bytes are picked, and which.
type Row = (u8, [u8; 16]);

/// For two bytes a unit: a bit for each of eight units, set where it is a single byte.
static PAIRS: [Row; 256] = rows::<2>();

/// For four bytes a unit: two bits for each of four units, the first where it is one byte, the second where it is one or
/// two.
static QUADS: [Row; 256] = rows::<4>();

/// A register holds 16 / `N` units of `N` bytes.
const fn rows<const N: usize>() -> [Row; 256] {
    let mut rows = [(0, [0x80; 16]); 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut unit, mut count) = (0, 0);
        while unit < 16 / N {
            let picked: &[u8] = match (N, (mask >> (unit * N / 2)) & (N / 2 * 2 - 1)) {
                (2, 0) => &[1, 0],
                (2, _) => &[0],
                (_, 0) => &[2, 3, 1],
                (_, 2) => &[3, 1],
                _ => &[0],
            };
            let mut at = 0;
            while at < picked.len() {
                #[expect(clippy::cast_possible_truncation, reason = "below 16")]
                let place = (unit * N) as u8;
                rows[mask].1[count] = place + picked[at];
                count += 1;
                at += 1;
            }
            unit += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let length = count as u8;
        rows[mask].0 = length;
        mask += 1;
    }
    rows
}

/// The low byte of a mask.
#[expect(clippy::cast_sign_loss, reason = "masked")]
fn row(mask: i32) -> usize {
    (mask & 0xff) as usize
}

/// Writes the bytes that `row` picks; returns how many. Sixteen are overwritten in any case.
#[target_feature(enable = "avx2")]
fn shuffle(bytes: __m128i, row: &Row, into: &mut [u8]) -> usize {
    // SAFETY: 16 bytes, of any alignment.
    let order = unsafe { _mm_loadu_si128(row.1.as_ptr().cast()) };
    store(_mm_shuffle_epi8(bytes, order), into);
    usize::from(row.0)
}

#[target_feature(enable = "avx2")]
fn load(units: &[u16; STEP]) -> __m128i {
    // SAFETY: 16 bytes, of any alignment.
    unsafe { _mm_loadu_si128(units.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_wide(units: Option<&[u16; 16]>) -> __m256i {
    let Some(units) = units else {
        return _mm256_setzero_si256();
    };
    // SAFETY: 32 bytes, of any alignment.
    unsafe { _mm256_loadu_si256(units.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(bytes: __m128i, into: &mut [u8]) {
    let into = &mut into[..16];
    // SAFETY: `into` has 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(into.as_mut_ptr().cast(), bytes) };
}
