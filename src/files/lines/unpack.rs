//! From a compressed file to its text, in a stream of bounded memory.
//!
//! Takes an open file; gives a reader, whose errors say what does not fit: a torn end, a wrong checksum, another format.

use crate::config::Compression;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// The text of a file that is compressed in this way.
///
/// # Errors
///
/// None yet: what the file holds is looked at by the first read.
pub(super) fn unpack(file: File, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    let source = BufReader::with_capacity(PACKED_BYTES, file);
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(Zstd { source, decoder: FrameDecoder::new(), is_in_frame: false }),
    })
}

/// How much of a compressed file is read at once.
const PACKED_BYTES: usize = 64 * 1024;

/// Frames, one after the other, each with its checksum where it has one.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_in_frame {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.decoder.init(&mut self.source).map_err(damaged)?;
                self.is_in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).map_err(damaged)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.end_frame()?;
        }
    }
}

impl<R> Zstd<R> {
    fn end_frame(&mut self) -> io::Result<()> {
        self.is_in_frame = false;
        let expected = self.decoder.get_checksum_from_data();
        if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(ErrorKind::InvalidData, "the checksum does not fit"));
        }
        Ok(())
    }
}

fn damaged(error: FrameDecoderError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// The text, and whether an error ended it.
    fn unpacked(packed: &[u8], compression: Compression) -> (Vec<u8>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(packed).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut text = Vec::new();
        let is_damaged = unpack(file, compression).unwrap().read_to_end(&mut text).is_err();
        (text, is_damaged)
    }

    #[test]
    fn every_part_of_a_file_is_read_and_a_damaged_one_is_an_error() {
        let plain: Vec<u8> =
            (0..40_000).flat_map(|n: u32| format!("line {n} {}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
        for (compression, pack) in [(Compression::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Compression::Zstd, zstd)] {
            let packed = pack(&plain);
            assert!(unpacked(&packed, compression) == (plain.clone(), false), "{compression:?}");
            let twice = [packed.clone(), packed.clone()].concat();
            assert!(
                unpacked(&twice, compression) == ([plain.clone(), plain.clone()].concat(), false),
                "{compression:?}: two parts"
            );
            let (text, is_damaged) = unpacked(&packed[..packed.len() / 2], compression);
            assert!(is_damaged && !text.is_empty() && plain.starts_with(&text), "{compression:?}: torn");
            let mut wrong = packed;
            // In the checksum: the text is as it was, but nobody can know.
            let last = wrong.len() - if compression == Compression::Gzip { 6 } else { 2 };
            wrong[last] ^= 1;
            assert!(unpacked(&wrong, compression).1, "{compression:?}: checksum");
            assert_eq!(unpacked(b"plain text", compression), (Vec::new(), true), "{compression:?}: another format");
            assert_eq!(unpacked(b"", compression).0, b"", "{compression:?}: empty");
        }
    }
}
