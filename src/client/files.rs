//! Reading small configuration files, with a limit.

use super::SetupError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a whole file of at most [`FILE_BYTES_MAX`]. `what` names its contents in errors.
pub(crate) fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    read_bounded(path).map_err(|source| SetupError::read(what, path, source))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Longest accepted kubeconfig, certificate or token file. A kubeconfig of 200 clusters with inline certificates takes half of it.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
