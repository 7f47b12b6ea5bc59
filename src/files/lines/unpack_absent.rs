//! In the place of the decoders, in a build without the feature `compress`.

use crate::config::{self, Compression};
use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// Refuses a file that is compressed.
///
/// # Errors
///
/// Always, with the cure.
pub(super) fn unpack(_: File, _: Compression) -> io::Result<Box<dyn Read + Send>> {
    Err(io::Error::new(ErrorKind::Unsupported, config::lacks("compress", "unpack the file first")))
}
