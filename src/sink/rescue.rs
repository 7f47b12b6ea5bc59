//! What happens to lines that a sync could not bring to the disk.
//!
//! After a failed sync the pages count as written: a later sync succeeds without them, and memory may drop them at any time
//! (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So they are read back while they are there, and written to a new file.
//! At each step the lines are in one file with a name of ours, or in none; nobody was told that they are on the disk.

use super::events_file::{EventsFile, Trouble};
use super::output::Fault;
use crate::files::{self, FileKind, LayerFile};
use std::io;

/// How much is read back at once.
const CHUNK_BYTES: usize = 64 * 1024;

impl EventsFile {
    /// Copies the unsynced lines to a new file and syncs it, then cuts them off the old one.
    pub(super) fn move_unsynced(&mut self) -> Result<(), Fault> {
        self.layer.create_folder(&self.folder).map_err(Fault::Passing)?;
        let next = files::next_name(self.layer.as_ref(), &self.folder, FileKind::Events, Some(self.name));
        let name = next.map_err(Fault::Passing)?;
        let path = self.folder.join(name.temporary());
        match self.layer.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::Passing(error)),
            Ok(()) | Err(_) => {}
        }
        let mut file = self.layer.create(&path).map_err(Fault::Passing)?;
        self.copy_unsynced(file.as_mut())?;
        file.sync().map_err(Fault::Passing)?;
        self.file.cut_to(self.synced).map_err(Fault::Passing)?;
        self.trouble = Trouble::Moved { name, file, is_named: false };
        Ok(())
    }

    /// Gives the new file its name, once the old one holds the lines no more, and goes on in it.
    pub(super) fn name_moved(&mut self) -> Result<(), Fault> {
        // The end of the old file must be on the disk first: else its lines might come back beside the new ones.
        self.file.sync().map_err(Fault::Passing)?;
        let Trouble::Moved { name, is_named, .. } = &mut self.trouble else { return Ok(()) };
        if !*is_named {
            let (from, to) = (self.folder.join(name.temporary()), self.folder.join(name.to_string()));
            self.layer.rename(&from, &to).map_err(Fault::Passing)?;
            *is_named = true;
        }
        self.layer.sync_folder(&self.folder).map_err(Fault::Passing)?;
        if let Trouble::Moved { name, file, .. } = std::mem::replace(&mut self.trouble, Trouble::None) {
            self.go_on_in(name, file, self.bytes - self.synced);
        }
        Ok(())
    }

    fn copy_unsynced(&self, file: &mut dyn LayerFile) -> Result<(), Fault> {
        let (mut offset, mut lines, mut last) = (self.synced, 0, b'\n');
        let mut chunk = vec![0; CHUNK_BYTES];
        while offset < self.bytes {
            let room = usize::try_from(self.bytes - offset).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES));
            let count = self.file.read_at(&mut chunk[..room], offset).map_err(Fault::Lost)?;
            let read = &chunk[..count];
            last = *read.last().ok_or_else(|| lost("the file is shorter than what was written to it"))?;
            if memchr::memchr(0, read).is_some() {
                return Err(lost("a part of the file is blank"));
            }
            lines += memchr::memchr_iter(b'\n', read).count();
            write_all(file, read).map_err(Fault::Passing)?;
            offset += count as u64;
        }
        if lines != self.unsynced_lines || last != b'\n' {
            return Err(lost("the lines in the file are not those that were written to it"));
        }
        Ok(())
    }
}

fn lost(what: &str) -> Fault {
    Fault::Lost(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn write_all(file: &mut dyn LayerFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
