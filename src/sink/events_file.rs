//! The events file that is written now, and the one that comes after it.
//!
//! Takes whole batches, in as many attempts as it needs; gives lines to files of bounded size and age, each of them synced
//! before the next begins. A file that was deleted is replaced; what a sync could not bring to the disk is moved to a new file.

use super::output::Fault;
use super::positions::Positions;
use crate::config::RotateConfig;
use crate::files::{self, FileKind, FileName, Layer, LayerFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Files in a folder, one after the other. Each call is one attempt, and the next one goes on where it stopped.
pub(super) struct EventsFile {
    pub(super) layer: Arc<dyn Layer>,
    pub(super) folder: PathBuf,
    rotate: RotateConfig,
    positions: Arc<Positions>,
    /// Of the file that is written now, or was until it was deleted.
    pub(super) name: FileName,
    path: PathBuf,
    pub(super) file: Box<dyn LayerFile>,
    /// How long the file is.
    pub(super) bytes: u64,
    /// How much of that is on the disk for sure; from there on come `unsynced_lines` whole lines, and the rest of a line.
    pub(super) synced: u64,
    pub(super) unsynced_lines: usize,
    /// When its first line was written.
    begun: Option<Instant>,
    /// How many bytes of lines this run has written to files.
    pub(super) position: u64,
    /// How much of the current batch is written, up to where it goes into this file, and from where.
    written: usize,
    part_end: usize,
    part_begin: usize,
    pub(super) trouble: Trouble,
}

/// What must be dealt with before anything else.
pub(super) enum Trouble {
    None,
    /// The file has no name any more: what this batch has put there is written again, into a new one.
    Deleted,
    /// A sync failed: what it should have brought to the disk may be gone from memory too, though a later one succeeds.
    Unsynced,
    /// The unsynced lines are safe in this file, which is to get its name and take the place of the other.
    Moved {
        name: FileName,
        file: Box<dyn LayerFile>,
        is_named: bool,
    },
}

impl EventsFile {
    /// Begins the first file in `folder`.
    pub(super) fn create(
        layer: Arc<dyn Layer>,
        folder: &Path,
        rotate: RotateConfig,
        positions: Arc<Positions>,
    ) -> io::Result<Self> {
        let (name, file) = files::create_on(layer.as_ref(), folder, FileKind::Events, None)?;
        positions.begin(name, 0);
        Ok(Self {
            layer,
            folder: folder.to_owned(),
            rotate,
            positions,
            name,
            path: folder.join(name.to_string()),
            file,
            bytes: 0,
            synced: 0,
            unsynced_lines: 0,
            begun: None,
            position: 0,
            written: 0,
            part_end: 0,
            part_begin: 0,
            trouble: Trouble::None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When the file will be too old; `None` while it is empty, or where no age is too high.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun?.checked_add(self.rotate.max_age?)
    }

    /// The next batch begins.
    pub(super) fn next_batch(&mut self) {
        (self.written, self.part_begin, self.part_end) = (0, 0, 0);
    }

    /// Writes what of the batch `bytes`, which is whole lines, was not written yet.
    pub(super) fn write_rest(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.settle()?;
        while self.written < bytes.len() {
            if self.written == self.part_end {
                self.plan_part(bytes)?;
            }
            match self.file.write(&bytes[self.written..self.part_end]) {
                Ok(0) => return Err(Fault::Passing(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.wrote(&bytes[self.written..self.written + count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Passing(error)),
            }
        }
        self.check_linked()
    }

    /// Gives the current batch up: what of it is a whole line stays, the rest is cut off. Returns the number of whole lines.
    pub(super) fn give_up(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = &bytes[..self.written];
        let whole = memchr::memrchr(b'\n', written).map_or(0, |newline| newline + 1);
        let torn = (written.len() - whole) as u64;
        if torn > 0 {
            self.file.cut_to(self.bytes - torn)?;
            self.bytes -= torn;
            self.position -= torn;
            self.written = whole;
        }
        Ok(memchr::memchr_iter(b'\n', &written[..whole]).count())
    }

    /// Waits until the disk has everything.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.settle()?;
        self.sync_file()
    }

    /// Begins the next file when this one is too old.
    pub(super) fn rotate_old(&mut self) -> Result<(), Fault> {
        self.settle()?;
        if self.is_old() { self.begin_next() } else { Ok(()) }
    }

    /// Decides how much of the rest of a batch goes into this file, and begins the next one where that is nothing.
    fn plan_part(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.part_that_fits(bytes) == 0 && self.bytes > 0 {
            self.begin_next()?;
        }
        let rest = &bytes[self.written..];
        let fits = match self.part_that_fits(bytes) {
            // A line that is longer than a file may be has one of its own.
            0 => memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1),
            fits => fits,
        };
        self.part_end = self.written + fits;
        Ok(())
    }

    /// How many bytes of whole lines there is room for.
    fn part_that_fits(&self, bytes: &[u8]) -> usize {
        let rest = &bytes[self.written..];
        let room = self.rotate.max_bytes.saturating_sub(self.bytes);
        if self.is_old() {
            return 0;
        }
        match usize::try_from(room) {
            Ok(room) if room < rest.len() => memchr::memrchr(b'\n', &rest[..room]).map_or(0, |newline| newline + 1),
            Ok(_) | Err(_) => rest.len(),
        }
    }

    fn is_old(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.begun.get_or_insert_with(Instant::now);
        self.written += bytes.len();
        self.bytes += bytes.len() as u64;
        self.position += bytes.len() as u64;
        self.unsynced_lines += memchr::memchr_iter(b'\n', bytes).count();
    }

    fn begin_next(&mut self) -> Result<(), Fault> {
        self.check_linked()?;
        self.sync_file()?;
        let (name, file) = self.create_next().map_err(|error| self.cannot_begin(&error))?;
        (self.part_begin, self.part_end) = (self.written, self.written);
        self.go_on_in(name, file, 0);
        Ok(())
    }

    fn create_next(&self) -> io::Result<(FileName, Box<dyn LayerFile>)> {
        files::create_on(self.layer.as_ref(), &self.folder, FileKind::Events, Some(self.name))
    }

    fn cannot_begin(&self, error: &io::Error) -> Fault {
        Fault::Passing(io::Error::new(error.kind(), format!("cannot begin the next file in {}: {error}", self.folder.display())))
    }

    /// Lines go on in `file`, which holds the last `bytes` of those written.
    pub(super) fn go_on_in(&mut self, name: FileName, file: Box<dyn LayerFile>, bytes: u64) {
        self.positions.begin(name, self.position - bytes);
        self.path = self.folder.join(name.to_string());
        (self.name, self.file) = (name, file);
        (self.bytes, self.synced, self.unsynced_lines) = (bytes, bytes, 0);
        self.begun = (bytes > 0).then(Instant::now);
        self.trouble = Trouble::None;
    }

    fn sync_file(&mut self) -> Result<(), Fault> {
        if self.synced == self.bytes {
            return Ok(());
        }
        if let Err(error) = self.file.sync() {
            self.trouble = Trouble::Unsynced;
            return Err(Fault::Passing(error));
        }
        (self.synced, self.unsynced_lines) = (self.bytes, 0);
        Ok(())
    }

    /// A file without a name takes bytes and loses them.
    fn check_linked(&mut self) -> Result<(), Fault> {
        if self.file.is_linked() {
            return Ok(());
        }
        self.trouble = Trouble::Deleted;
        self.position -= (self.written - self.part_begin) as u64;
        (self.written, self.part_end) = (self.part_begin, self.part_begin);
        Err(Fault::Passing(io::Error::new(io::ErrorKind::NotFound, "the file was deleted")))
    }

    /// Deals with trouble; afterwards there is none.
    fn settle(&mut self) -> Result<(), Fault> {
        match &self.trouble {
            Trouble::None => Ok(()),
            Trouble::Deleted => {
                let (name, file) = self.create_next().map_err(Fault::Passing)?;
                self.go_on_in(name, file, 0);
                Ok(())
            }
            Trouble::Unsynced => {
                self.move_unsynced()?;
                self.name_moved()
            }
            Trouble::Moved { .. } => self.name_moved(),
        }
    }
}
