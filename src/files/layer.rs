//! The few file operations that are needed, behind a trait, so that tests can make each of them fail or be the last.

use crate::folders::{self, or_here};
use crate::ours;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

/// A file system, shared by those who write, tidy and recover.
///
/// Errors are those of the operating system, unless said otherwise.
pub(crate) trait Layer: Send + Sync {
    /// Makes `folder` and those it lies in, where they are missing; each is on the disk then.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes an empty file, to be appended to. It counts as open until it is dropped. Its name is on the disk after
    /// [`sync_folder`](Self::sync_folder).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] when there is such a file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LayerFile>>;

    /// Opens a file that is there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LayerFile>>;

    /// Whether someone, also in another process, has the file open who [created](Self::create) it.
    fn is_open(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file another name, in the place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until all names in `folder` are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Every file in `folder` with a name that is text, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
}

/// One file of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// One open file. Errors are those of the operating system.
pub(crate) trait LayerFile: Send {
    /// Writes some of `bytes` at the end, and says how many. On an error nothing was written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads some bytes from `offset` on; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How long the file is.
    fn bytes(&self) -> io::Result<u64>;

    /// Waits until everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to its first `bytes` bytes.
    fn cut_to(&mut self, bytes: u64) -> io::Result<()>;

    /// Sets when the file was last changed.
    fn set_modified(&mut self, time: SystemTime) -> io::Result<()>;

    /// Whether the file still has a name. What is written to one without is lost.
    fn is_linked(&self) -> bool;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk;

/// Readable for the group, as log collectors often are in it; labels and annotations are nobody else's business.
const FILE_MODE: u32 = 0o640;

impl Disk {
    /// Makes an empty file, and locks it so that it is known to be written.
    pub(crate) fn create_file(path: &Path) -> io::Result<File> {
        let file = ours::create_to_append(path, FILE_MODE)?;
        // Where a file system knows no locks, one process a folder is all there may be.
        let _ = file.try_lock();
        Ok(file)
    }
}

impl Layer for Disk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        folders::make(folder, folders::USUAL_MODE)?;
        // Whose it is, is said before anything is written.
        ours::folder(folder).map(drop)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LayerFile>> {
        Ok(Box::new(Self::create_file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LayerFile>> {
        // Read-only files can be read and compressed, though not cut.
        Ok(Box::new(ours::read_or_append(path)?))
    }

    fn is_open(&self, path: &Path) -> io::Result<bool> {
        Ok(matches!(ours::read(path)?.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(or_here(folder))?.sync_all()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(or_here(folder))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    entries.push(Entry { name, bytes: metadata.len(), modified: metadata.modified()? });
                }
                Ok(_) => {}
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

impl LayerFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut_to(&mut self, bytes: u64) -> io::Result<()> {
        ours::check_links(self)?;
        self.set_len(bytes)
    }

    fn set_modified(&mut self, time: SystemTime) -> io::Result<()> {
        File::set_modified(self, time)
    }

    fn is_linked(&self) -> bool {
        self.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }
}
