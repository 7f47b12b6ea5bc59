//! One place lines go to, and how much of the current batch it has already: what failed goes on where it stopped.
//!
//! Pure of time and threads: each call is one attempt, and the writer decides when there is another.

use super::file::{Layer, OutputFile, create_events_file};
use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

/// A file in a folder, or standard output.
pub(super) struct Output {
    file: Box<dyn OutputFile>,
    kind: Kind,
    /// How many bytes of the current batch were written.
    written: usize,
}

enum Kind {
    File { layer: Box<dyn Layer>, folder: PathBuf, path: PathBuf, is_lost: bool },
    StandardOutput,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work later.
    Passing(io::Error),
    /// Nobody reads standard output any more.
    Broken(io::Error),
}

impl Output {
    /// Makes a new events file in `folder`.
    pub(super) fn file(mut layer: Box<dyn Layer>, folder: &Path) -> io::Result<Self> {
        let (path, file) = create_events_file(layer.as_mut(), folder, Timestamp::now())?;
        Ok(Self { file, kind: Kind::File { layer, folder: folder.to_owned(), path, is_lost: false }, written: 0 })
    }

    pub(super) fn standard_output(file: Box<dyn OutputFile>) -> Self {
        Self { file, kind: Kind::StandardOutput, written: 0 }
    }

    /// The file; `None` for standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File { path, .. } => Some(path),
            Kind::StandardOutput => None,
        }
    }

    /// What log lines call it.
    pub(super) fn name(&self) -> String {
        self.path().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }

    /// Writes what of the batch `bytes` was not written yet.
    pub(super) fn write_rest(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.replace_lost_file().map_err(Fault::Passing)?;
        while self.written < bytes.len() {
            match self.file.write(&bytes[self.written..]) {
                Ok(0) => return Err(Fault::Passing(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
        self.check_linked().map_err(Fault::Passing)
    }

    /// The next batch begins.
    pub(super) fn next_batch(&mut self) {
        self.written = 0;
    }

    /// Gives the current batch up: what of it is a whole line stays, the rest is cut off. Returns the number of whole lines.
    pub(super) fn give_up(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = &bytes[..std::mem::take(&mut self.written)];
        let whole = memchr::memrchr(b'\n', written).map_or(0, |newline| newline + 1);
        if whole < written.len() {
            self.file.cut((written.len() - whole) as u64)?;
        }
        Ok(memchr::memchr_iter(b'\n', &written[..whole]).count())
    }

    /// Waits until the disk has everything.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.replace_lost_file().map_err(Fault::Passing)?;
        self.file.sync().map_err(Fault::Passing)
    }

    fn fault(&self, error: io::Error) -> Fault {
        match self.kind {
            Kind::StandardOutput if error.kind() == io::ErrorKind::BrokenPipe => Fault::Broken(error),
            Kind::StandardOutput | Kind::File { .. } => Fault::Passing(error),
        }
    }

    /// A file without a name takes bytes and loses them: the batch is written again, whole, into a new one.
    fn check_linked(&mut self) -> io::Result<()> {
        if let Kind::File { is_lost, .. } = &mut self.kind
            && !self.file.is_linked()
        {
            *is_lost = true;
            self.written = 0;
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was deleted"));
        }
        Ok(())
    }

    fn replace_lost_file(&mut self) -> io::Result<()> {
        if let Kind::File { layer, folder, path, is_lost } = &mut self.kind
            && *is_lost
        {
            (*path, self.file) = create_events_file(layer.as_mut(), folder, Timestamp::now())?;
            *is_lost = false;
        }
        Ok(())
    }
}
