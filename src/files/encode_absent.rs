//! What stands here in a build without the feature `compress`: closed files stay as they are.

use crate::config::{self, Compression};
use std::io::{self, ErrorKind, Read, Write};

/// Refuses to.
pub(super) fn encode(_: Compression, _: impl Read, _: impl Write) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::Unsupported, config::lacks("compress", "say `compress: none`")))
}

/// What is in a file: none is compressed.
#[cfg(test)]
pub(crate) fn decoded(_name: &str, bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}
