//! Folders that survive a loss of power.
//!
//! Takes a path; gives the folder, and those it lies in where they are missing, each synced into the one it lies in. Used by whoever
//! keeps files: events, logs, state.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes `folder` with `mode`, which the umask narrows, and those it lies in with the usual one. What is there is left as it is.
///
/// # Errors
///
/// As the operating system says. What was made and could not be synced is removed again, so that another attempt syncs it.
pub(crate) fn make(folder: &Path, mode: u32) -> io::Result<()> {
    make_on(&Real, folder, mode)
}

/// What others may do is nothing, whatever the umask says: whoever may write a folder may put links into it.
pub(crate) const USUAL_MODE: u32 = 0o750;

/// The parent of a bare name is the empty path, which means: here.
pub(crate) fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The steps on a disk, so that tests can count and fail them.
trait Steps {
    fn is_there(&self, folder: &Path) -> bool;
    fn create(&self, folder: &Path, mode: u32) -> io::Result<()>;
    fn sync(&self, folder: &Path) -> io::Result<()>;
    fn remove(&self, folder: &Path);
}

fn make_on(disk: &dyn Steps, folder: &Path, mode: u32) -> io::Result<()> {
    if disk.is_there(or_here(folder)) {
        return Ok(());
    }
    let parent = folder.parent().map(or_here);
    if let Some(parent) = parent {
        make_on(disk, parent, USUAL_MODE)?;
    }
    match disk.create(folder, mode) {
        // Another thread or process was quicker, and syncs it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && disk.is_there(folder) => return Ok(()),
        made => made?,
    }
    let synced = parent.map_or(Ok(()), |parent| disk.sync(parent));
    if synced.is_err() {
        disk.remove(folder);
    }
    synced
}

struct Real;

impl Steps for Real {
    fn is_there(&self, folder: &Path) -> bool {
        folder.is_dir()
    }

    fn create(&self, folder: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(folder)
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, folder: &Path) {
        // One that stays, as it is no longer empty, is somebody else's by now.
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// A disk with the folder `/` and `here`; of each folder, whether its name is on the disk. It fails at one step.
    struct Model {
        folders: RefCell<BTreeMap<PathBuf, bool>>,
        steps_left: Cell<usize>,
    }

    impl Model {
        fn new(steps_left: usize) -> Self {
            let there = ["/", "."].map(|folder| (PathBuf::from(folder), true));
            Self { folders: RefCell::new(there.into()), steps_left: Cell::new(steps_left) }
        }

        fn step(&self) -> io::Result<()> {
            let left = self.steps_left.get().checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            self.steps_left.set(left);
            Ok(())
        }
    }

    impl Steps for Model {
        fn is_there(&self, folder: &Path) -> bool {
            self.folders.borrow().contains_key(folder)
        }

        fn create(&self, folder: &Path, _mode: u32) -> io::Result<()> {
            self.step()?;
            self.folders.borrow_mut().insert(folder.to_owned(), false);
            Ok(())
        }

        fn sync(&self, folder: &Path) -> io::Result<()> {
            self.step()?;
            let mut folders = self.folders.borrow_mut();
            folders
                .iter_mut()
                .filter(|(path, _)| path.parent().map(or_here) == Some(folder))
                .for_each(|(_, synced)| *synced = true);
            Ok(())
        }

        fn remove(&self, folder: &Path) {
            self.folders.borrow_mut().remove(folder);
        }
    }

    #[test]
    fn every_level_that_is_made_is_on_the_disk_also_when_an_attempt_failed_before() {
        for path in ["/a/b/c", "a/b", "a", "/a"] {
            for failing_after in 0..8 {
                let disk = Model::new(failing_after);
                let first = make_on(&disk, Path::new(path), 0o700);
                disk.steps_left.set(usize::MAX);
                make_on(&disk, Path::new(path), 0o700).unwrap();
                let folders = disk.folders.into_inner();
                assert!(folders.contains_key(Path::new(path)));
                assert!(folders.values().all(|synced| *synced), "{path} {failing_after} {first:?}: {folders:?}");
            }
        }
    }

    #[test]
    fn only_the_folder_itself_has_the_mode_and_what_is_there_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        make(&folder, 0o700).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert_ne!(mode(folder.parent().unwrap()), 0o700, "others may read the folder that it lies in");
        make(&folder, 0o755).unwrap();
        assert_eq!(mode(&folder), 0o700);
        fs::write(folder.join("file"), "").unwrap();
        assert!(make(&folder.join("file"), 0o700).is_err() && make(&folder.join("file/below"), 0o700).is_err());
    }
}
