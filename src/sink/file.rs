//! The few file operations that the sink needs, behind a trait, so that tests can make each of them fail.

use jiff::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes files.
pub(super) trait Layer: Send {
    /// Makes the file `path`, and its folder where that is missing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] when there is such a file; anything else as the operating system says.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn OutputFile>>;
}

/// One file that is written from its beginning to its end.
pub(super) trait OutputFile: Send {
    /// Writes some of `bytes` at the end, and says how many.
    ///
    /// # Errors
    ///
    /// As the operating system says; nothing was written then.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts `bytes` off the end.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Whether the file still has a name. What is written to one without is lost.
    fn is_linked(&self) -> bool;
}

/// The file system.
#[derive(Debug, Default)]
pub(super) struct Disk;

impl Layer for Disk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path)?;
        // A new name is on the disk when its folder is.
        File::open(folder)?.sync_all()?;
        Ok(Box::new(file))
    }
}

/// Readable for the group, as log collectors often are in it; labels and annotations are nobody else's business.
const FILE_MODE: u32 = 0o640;

impl OutputFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(self.metadata()?.len().saturating_sub(bytes))
    }

    fn is_linked(&self) -> bool {
        self.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }
}

/// Standard output, unbuffered: nothing to sync, nothing to cut.
#[derive(Debug)]
pub(super) struct StandardOutput(File);

impl StandardOutput {
    /// # Errors
    ///
    /// When standard output is closed.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl OutputFile for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.0, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn is_linked(&self) -> bool {
        true
    }
}

/// `events-YYYYMMDD-HHMMSS.json` of now, in UTC, with `-1` and so on where that name is taken.
///
/// # Errors
///
/// As `layer` says.
pub(super) fn create_events_file(
    layer: &mut dyn Layer,
    folder: &Path,
    now: Timestamp,
) -> io::Result<(PathBuf, Box<dyn OutputFile>)> {
    let stem = now.strftime("events-%Y%m%d-%H%M%S").to_string();
    for counter in 0..NAMES_MAX {
        let name = if counter == 0 { format!("{stem}.json") } else { format!("{stem}-{counter}.json") };
        let path = folder.join(name);
        match layer.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (path, file)),
        }
    }
    Err(io::Error::other(format!("{NAMES_MAX} files named {stem} are there already")))
}

/// More files of one second than any number of Faros in one folder makes.
const NAMES_MAX: u32 = 1000;
