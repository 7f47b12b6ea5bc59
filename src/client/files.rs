//! Reading small configuration files, with limits of size and time.

use super::SetupError;
use super::interrupt::Ending;
use crate::reading::{Apart, Contents, FIRST_LIMIT, Which, no_end};
use std::io;
use std::path::Path;

/// How the files of one client are read: each within [`FIRST_LIMIT`], on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    apart: Apart<Contents>,
    /// Ends a read that is not the first; what is no regular file was read by then.
    again: Option<Ending>,
}

impl Files {
    /// For the first read.
    pub(crate) fn new() -> Self {
        Self { apart: Apart::new(FIRST_LIMIT), again: None }
    }

    /// For reads after the first, until the end comes.
    pub(crate) fn again(&self, ending: &Ending) -> Self {
        Self { apart: self.apart.clone(), again: Some(ending.clone()) }
    }

    /// Reads a whole file of at most [`FILE_BYTES_MAX`]. `what` names its contents in errors.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or not within its limits; [`SetupError::Interrupted`] when the end comes.
    pub(crate) fn read(&self, what: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
        let which = if self.again.is_some() { Which::Regular } else { Which::Any };
        self.contents(what, path, which).map(Option::unwrap_or_default)
    }

    /// As [`read`](Self::read), and says whether the file can be read only once, as a pipe.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(crate) fn read_at_first(&self, what: &'static str, path: &Path) -> Result<(Vec<u8>, bool), SetupError> {
        match self.read_once(what, path)? {
            Some(bytes) => Ok((bytes, true)),
            None => self.read(what, path).map(|bytes| (bytes, false)),
        }
    }

    /// What a file gives that can be read only once; `None` for any other, and after the first time for all.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(crate) fn read_once(&self, what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, SetupError> {
        if self.again.is_some() {
            return Ok(None);
        }
        let bytes = self.contents(what, path, Which::Once)?;
        if bytes.is_some() {
            log::info!("{what} {} is no regular file: it is read once, and no change to it is seen", path.display());
        }
        Ok(bytes)
    }

    fn contents(&self, what: &'static str, path: &Path, which: Which) -> Result<Option<Vec<u8>>, SetupError> {
        let end = self.again.as_ref().map_or_else(no_end, |ending| ending.signal().clone());
        self.apart.read(path, FILE_BYTES_MAX, which, &end).map_err(|source| {
            let is_ended = source.kind() == io::ErrorKind::Interrupted;
            if is_ended { SetupError::Interrupted } else { SetupError::read(what, path, source) }
        })
    }
}

/// Longest accepted kubeconfig, certificate or token file. A kubeconfig of 200 clusters with inline certificates has 1 MiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
