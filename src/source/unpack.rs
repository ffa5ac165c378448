//! Unpacks gzip and Zstandard, of as many members or frames as there are.
//!
//! Packed bytes come in from a file; what was packed goes out. What is corrupt or cut off is an error, never an end.

use std::error::Error as _;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::BlockDecodingStrategy;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstandard,
}

/// Packed bytes are read in pieces of this size: a few system calls for each MiB that comes out.
const PIECE: usize = 64 * 1024;

/// The widest window of a frame: what `zstd -d` takes without being asked for more. So much memory is used.
const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// Reads what was packed; a name that does not tell leaves it to the first bytes.
pub(super) fn unpacked(
    name: &str,
    mut source: impl Read + Send + 'static,
) -> io::Result<(Option<Packing>, Box<dyn Read + Send>)> {
    let mut first = Vec::new();
    let packing = match by_name(name) {
        Some(packing) => Some(packing),
        None => {
            source.by_ref().take(4).read_to_end(&mut first)?;
            by_magic(&first)
        }
    };
    let whole = Cursor::new(first).chain(source);
    let reader: Box<dyn Read + Send> = match packing {
        None => Box::new(whole),
        Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, whole))),
        Some(Packing::Zstandard) => Box::new(Frames::new(BufReader::with_capacity(PIECE, whole))),
    };
    Ok((packing, reader))
}

/// What is to be said where unpacking failed.
pub(super) fn told(packing: Packing, kind: ErrorKind) -> String {
    let packing = match packing {
        Packing::Gzip => "gzip",
        Packing::Zstandard => "Zstandard",
    };
    match kind {
        ErrorKind::UnexpectedEof => format!("its {packing} data is cut off"),
        _ => format!("its {packing} data is corrupt"),
    }
}

fn by_name(name: &str) -> Option<Packing> {
    let (_, ending) = name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "gz" => Some(Packing::Gzip),
        "zst" => Some(Packing::Zstandard),
        _ => None,
    }
}

/// No text begins like this.
fn by_magic(first: &[u8]) -> Option<Packing> {
    match first {
        [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
        // A frame, or one to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Packing::Zstandard),
        _ => None,
    }
}

/// Zstandard, frame by frame.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// In front of the very first frame, which there must be.
    Start,
    Within,
    Between,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self {
            source,
            decoder,
            state: State::Start,
        }
    }

    /// Begins the next frame; tells whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return match self.state {
                State::Start => Err(ErrorKind::UnexpectedEof.into()),
                _ => Ok(false),
            };
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.state = State::Within,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.state = State::Between;
            }
            Err(error) => return Err(cause(error)),
        }
        Ok(true)
    }

    /// The frame is read; its checksum must be right.
    fn end(&mut self) -> io::Result<()> {
        self.state = State::Between;
        match self.decoder.get_checksum_from_data() {
            Some(expected) if self.decoder.get_calculated_checksum() != Some(expected) => {
                Err(ErrorKind::InvalidData.into())
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.state != State::Within {
                if !self.begin()? {
                    return Ok(0);
                }
                continue;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(cause)?;
            }
            match self.decoder.read(into)? {
                0 => self.end()?,
                count => return Ok(count),
            }
        }
    }
}

/// What reading failed for, where that is why; else what was read is corrupt.
fn cause(error: FrameDecoderError) -> io::Error {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
        }
        source = inner.source();
    }
    ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("packed");
        encoder.finish().expect("packed")
    }

    fn zstandard(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn unpack(name: &str, packed: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        let mut content = Vec::new();
        let (_, mut reader) = unpacked(name, Cursor::new(packed.to_vec())).map_err(|error| error.kind())?;
        reader.read_to_end(&mut content).map_err(|error| error.kind())?;
        Ok(content)
    }

    /// Some text that packs, and is longer than a piece.
    fn text() -> Vec<u8> {
        (0..30_000_u32)
            .flat_map(|number| format!("{number},{}\n", number % 7).into_bytes())
            .collect()
    }

    #[test]
    fn names_and_first_bytes_tell_how_a_file_is_packed() {
        let text = text();
        for name in ["a.csv.gz", "a.GZ", "a.csv", "standard input"] {
            assert_eq!(unpack(name, &gzip(&text)).as_ref(), Ok(&text), "{name}");
        }
        for name in ["a.csv.zst", "a.csv", "standard input"] {
            assert_eq!(unpack(name, &zstandard(&text)).as_ref(), Ok(&text), "{name}");
        }
        for name in ["a.csv", "gz", "a.gz.csv"] {
            assert_eq!(unpack(name, &text).as_ref(), Ok(&text), "{name}");
        }
        assert_eq!(unpack("a.csv", b""), Ok(vec![]));
        assert_eq!(unpack("a.csv", b"\x1f"), Ok(b"\x1f".to_vec()));
    }

    #[test]
    fn several_members_and_frames_are_one_file() {
        let text = text();
        let twice = [&text[..], &text].concat();
        assert_eq!(
            unpack("a.gz", &[gzip(&text), gzip(b""), gzip(&text)].concat()).as_ref(),
            Ok(&twice)
        );
        let skipped = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
        let frames = [&skipped[..], &zstandard(&text), skipped, &zstandard(&text)].concat();
        assert_eq!(unpack("a.zst", &frames).as_ref(), Ok(&twice));
        assert_eq!(unpack("a", &frames).as_ref(), Ok(&twice));
        assert_eq!(unpack("a.zst", &skipped[..9]), Err(ErrorKind::UnexpectedEof));
    }

    #[test]
    fn what_is_cut_off_or_corrupt_is_no_end() {
        let text = text();
        for (name, packed) in [("a.gz", gzip(&text)), ("a.zst", zstandard(&text))] {
            for cut in [0, 1, 3, 10, packed.len() / 2, packed.len() - 1] {
                assert_eq!(
                    unpack(name, &packed[..cut]),
                    Err(ErrorKind::UnexpectedEof),
                    "{name} {cut}"
                );
            }
            let mut corrupt = packed.clone();
            let last = corrupt.len() - 3;
            corrupt[last] ^= 1;
            unpack(name, &corrupt).expect_err("a wrong checksum");
            unpack(name, &[&packed[..], b"more"].concat()).expect_err("something behind it");
            unpack(name, &text).expect_err("not packed at all");
        }
    }

    proptest! {
        #[test]
        fn corrupt_bytes_never_panic_nor_pass_for_others(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let text: Vec<u8> = text()[..5_000].to_vec();
            for (name, mut packed) in [("a.gz", gzip(&text)), ("a.zst", zstandard(&text))] {
                let at = at.index(packed.len());
                packed[at] ^= 1 << bit;
                if let Ok(content) = unpack(name, &packed) {
                    prop_assert_eq!(content, text.clone());
                }
            }
        }
    }
}
