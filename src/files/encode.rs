//! What closed files are compressed with.

use crate::config::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, FrameCompressor};
use std::io::{self, Read, Write};

/// Writes what `source` gives to `target`, compressed. The zstd encoder panics when either of them fails.
pub(super) fn encode(compression: Compression, mut source: impl Read, mut target: impl Write) -> io::Result<()> {
    match compression {
        Compression::None => {
            io::copy(&mut source, &mut target)?;
        }
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(&mut target, flate2::Compression::default());
            io::copy(&mut source, &mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = FrameCompressor::new(CompressionLevel::Fastest);
            encoder.set_source(source);
            encoder.set_drain(target);
            encoder.compress();
        }
    }
    Ok(())
}

/// What is in a file called `name`, whether it is compressed or not.
#[cfg(test)]
pub(crate) fn decoded(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    } else if name.ends_with(".zst") {
        ruzstd::decoding::StreamingDecoder::new(bytes).unwrap().read_to_end(&mut plain).unwrap();
    } else {
        plain.extend_from_slice(bytes);
    }
    plain
}
