//! Files that follow each other in a folder: their names, and what becomes of those that are closed.
//!
//! Events files and log files are named, rotated, compressed and removed in the same way. A [`FileName`] sorts by age. Whoever
//! writes begins the next file with [`create`]; a closed file is never written again, and a [`Keeper`] compresses and removes it.
//! [`Lines`] reads all of them back, in order.

mod compress;
#[cfg_attr(not(feature = "compress"), path = "encode_absent.rs")]
pub(crate) mod encode;
mod keeper;
mod layer;
mod lines;
#[cfg(test)]
pub(crate) mod memory;
mod name;
mod tidy;

pub use keeper::Keeper;
pub(crate) use layer::{Disk, Entry, Layer, LayerFile};
pub use lines::{Damage, Line, Lines, Piece};
pub use name::{FileKind, FileName};
pub use tidy::Keeping;

use jiff::Timestamp;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the next file of `kind` in `folder`, which sorts after every other there; the folder is made where it is missing.
///
/// The file is locked as long as it is open, so that no other process takes it for closed.
///
/// # Errors
///
/// As the operating system says.
pub fn create(folder: &Path, kind: FileKind) -> io::Result<(FileName, File)> {
    Disk.create_folder(folder)?;
    create_with(|| next_name(&Disk, folder, kind, None), folder, Disk::create_file)
}

/// The same on any file system, with the name on the disk; it sorts after that of `last`, too, whether or not that is still there.
pub(crate) fn create_on(
    layer: &dyn Layer,
    folder: &Path,
    kind: FileKind,
    last: Option<FileName>,
) -> io::Result<(FileName, Box<dyn LayerFile>)> {
    layer.create_folder(folder)?;
    let (name, file) = create_with(|| next_name(layer, folder, kind, last), folder, |path| layer.create(path))?;
    if let Err(error) = layer.sync_folder(folder) {
        // Whoever tries again begins another one.
        let _ = layer.remove(&folder.join(name.to_string()));
        return Err(error);
    }
    Ok((name, file))
}

fn create_with<F>(
    next: impl Fn() -> io::Result<FileName>,
    folder: &Path,
    create: impl Fn(&Path) -> io::Result<F>,
) -> io::Result<(FileName, F)> {
    for _ in 0..CREATE_ATTEMPTS_MAX {
        let name = next()?;
        match create(&folder.join(name.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (name, file)),
        }
    }
    Err(io::Error::other("others begin files in the same folder all the time"))
}

/// Another process may take a name between looking and creating, but not so many times in a row.
const CREATE_ATTEMPTS_MAX: u32 = 10;

/// The name of the next file of `kind`, after all in `folder` and after `last`: a name is used once, as a checkpoint may speak of a file
/// that was removed since.
pub(crate) fn next_name(layer: &dyn Layer, folder: &Path, kind: FileKind, last: Option<FileName>) -> io::Result<FileName> {
    let newest = names(layer, folder, kind)?.into_iter().map(|(name, _)| name).chain(last).max();
    FileName::next(kind, newest, Timestamp::now()).ok_or_else(|| {
        let newest = newest.map_or_else(|| "what the clock shows".to_owned(), |newest| newest.to_string());
        io::Error::other(format!("no name is left after {newest}: move it away, or set the clock"))
    })
}

/// The files of `kind` in `folder`, oldest first.
pub(crate) fn names(layer: &dyn Layer, folder: &Path, kind: FileKind) -> io::Result<Vec<(FileName, Entry)>> {
    let entries = layer.list(folder)?.into_iter();
    let mut names: Vec<_> = entries.filter_map(|entry| Some((FileName::parse(&entry.name)?, entry))).collect();
    names.retain(|(name, _)| name.kind() == kind);
    names.sort_unstable_by_key(|(name, _)| *name);
    Ok(names)
}

/// One pass of a [`Keeper`], here and now, over the events files before `first`.
#[cfg(test)]
pub(crate) fn tidy_before(layer: &dyn Layer, path: &Path, keeping: &Keeping, first: FileName) -> io::Result<()> {
    let work = compress::Work { pulse: crate::health::Pulse::default(), go_on: &|| true };
    let folder = tidy::Folder { layer, path, kind: FileKind::Events };
    folder.tidy(keeping, tidy::Touch::Before(first), std::time::SystemTime::UNIX_EPOCH, &work)
}

/// What a [`Keeper`] of events files does first.
#[cfg(test)]
pub(crate) fn remove_leftovers(layer: &dyn Layer, path: &Path) -> io::Result<()> {
    tidy::Folder { layer, path, kind: FileKind::Events }.remove_leftovers()
}
