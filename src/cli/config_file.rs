//! The file that `--config` names, while the program runs: read again with the same flags, and looked at for changes.
//!
//! Takes a path and the flags that were laid over the file; gives a [`Config`], and says when there is another one to read.

use crate::config::{Config, ConfigError, Overrides};
use crate::reading::{Apart, Contents, FIRST_LIMIT, Which, no_end};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration's file, with the flags that outrank it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("config.yaml");
/// std::fs::write(&path, "output_dir: events\nresources: [{gvr: v1/pods}]\n")?;
/// let settings = faro::cli::load_config_from(["--config".into(), path.clone().into_os_string()])?;
/// let mut file = settings.file;
/// assert!(!file.has_changed());
///
/// std::fs::write(&path, "output_dir: events\nresources: [{gvr: v1/services}]\n")?;
/// assert!(!file.has_changed(), "it may still be being written");
/// assert!(file.has_changed(), "it has stayed the same since the last look");
/// assert_eq!(file.load()?.watches()[0].target.to_string(), "v1/services");
/// assert!(!file.has_changed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    overrides: Overrides,
    /// What was there when it was last told to have changed.
    known: Seen,
    /// What was there at the last look.
    last: Seen,
    /// Whether the last look took too long.
    is_stuck: bool,
    looks: Apart<Seen>,
    loads: Apart<Contents>,
}

/// A file at one look; `None` where there is none, or nothing to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    identity: Option<Identity>,
    bytes: Option<Vec<u8>>,
}

/// Which file a path leads to, and in which shape: another of these, and its bytes may be others. Through all symlinks, as
/// Kubernetes swaps a mounted `ConfigMap` by a symlink to the folder that the file lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// In seconds and nanoseconds.
    modified: (i64, i64),
    /// The same of its inode, which no program can set back.
    changed: (i64, i64),
}

impl ConfigFile {
    pub(super) fn new(path: PathBuf, overrides: Overrides) -> Self {
        let (looks, of) = (Apart::new(LIMIT), path.clone());
        // Whatever is wrong with it shows when it is loaded.
        let seen = looks.run(&path, &no_end(), move || Seen::at(&of, None)).unwrap_or(Seen { identity: None, bytes: None });
        Self { path, overrides, known: seen.clone(), last: seen, is_stuck: false, looks, loads: Apart::new(LIMIT) }
    }

    /// Where it is, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it as it is now, lays the flags over it and checks the whole.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or anything in it is wrong. A pipe cannot be read again.
    ///
    /// # Blocking
    ///
    /// While the file is read, at most 2 seconds.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load_file(&self.path, &self.overrides, &self.loads, Which::Regular)
    }

    /// The same at the start, when a pipe may be read, too, and its writer is waited for.
    pub(super) fn load_first(&self) -> Result<Config, ConfigError> {
        Config::load_file(&self.path, &self.overrides, &Apart::new(FIRST_LIMIT), Which::Any)
    }

    /// Whether its bytes are others than when this was last true, or it was first read. Said once, and only when two looks in
    /// turn find the same file: one that is being written is left until it is whole. Call it every few seconds.
    ///
    /// # Blocking
    ///
    /// While the file is read, where its inode, size or times have changed; at most 2 seconds. What takes longer is no change yet.
    pub fn has_changed(&mut self) -> bool {
        let (path, last) = (self.path.clone(), self.last.clone());
        let seen = match self.looks.run(&self.path, &no_end(), move || Seen::at(&path, Some(&last))) {
            Ok(seen) => seen,
            Err(error) => {
                if !std::mem::replace(&mut self.is_stuck, true) {
                    log::warn!("cannot look at {}: {error}; the configuration that was read before stays", self.path.display());
                }
                return false;
            }
        };
        self.is_stuck = false;
        let is_settled = seen.identity == self.last.identity;
        self.last = seen;
        if !is_settled || self.last.bytes == self.known.bytes {
            return false;
        }
        self.known.clone_from(&self.last);
        true
    }
}

impl Seen {
    /// Reads it only when it is not as it was `before`.
    fn at(path: &Path, before: Option<&Self>) -> Self {
        let identity = Identity::of(path);
        match before {
            Some(before) if before.identity == identity => before.clone(),
            Some(_) | None => Self { identity, bytes: identity.and_then(|_| read(path)) },
        }
    }
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        // A pipe gives its bytes once, and may wait for a writer.
        let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// A file that cannot be read is told as what it is when it is loaded.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(COMPARED_BYTES_MAX).read_to_end(&mut bytes)).ok()?;
    Some(bytes)
}

/// How long a file that was read before may take: whoever reads it again waits, and so does a stop.
const LIMIT: Duration = Duration::from_secs(2);

/// Longer than any configuration that is accepted.
const COMPARED_BYTES_MAX: u64 = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{feed, make_pipe};
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    const CONFIG: &str = "output_dir: x\nresources: [{gvr: v1/pods}]\n";

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn of(folder: &TempDir) -> (PathBuf, ConfigFile) {
        let path = folder.path().join("config.yaml");
        write(&path, CONFIG);
        (path.clone(), ConfigFile::new(path, Overrides::default()))
    }

    /// What three looks in turn say.
    fn looks(file: &mut ConfigFile) -> [bool; 3] {
        [(); 3].map(|()| file.has_changed())
    }

    const ONCE_SETTLED: [bool; 3] = [false, true, false];
    const NEVER: [bool; 3] = [false; 3];

    #[test]
    fn other_bytes_are_told_once_and_the_same_bytes_never() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut file) = of(&folder);
        assert_eq!(looks(&mut file), NEVER);
        let before = Identity::of(&path);
        // The kernel's times have ticks of some milliseconds: a change within one of the last would look the same.
        while Identity::of(&path) == before {
            write(&path, &CONFIG.replace("pods", "jobs"));
        }
        assert_eq!(looks(&mut file), ONCE_SETTLED, "of the same size");
        let copy = folder.path().join("copy");
        write(&copy, &CONFIG.replace("pods", "jobs"));
        fs::rename(&copy, &path).unwrap();
        assert_eq!(looks(&mut file), NEVER, "another inode with the same bytes");
    }

    #[test]
    fn a_file_that_is_being_written_is_left_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut file) = of(&folder);
        for length in 1..CONFIG.len() {
            write(&path, &CONFIG[..length]);
            assert!(!file.has_changed(), "{length}");
        }
        write(&path, &CONFIG.replace("pods", "nodes"));
        assert_eq!(looks(&mut file), ONCE_SETTLED);
    }

    #[test]
    fn a_swapped_symlink_to_the_files_folder_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| folder.path().join(name);
        for (name, text) in [("..1", CONFIG), ("..2", &CONFIG.replace("pods", "jobs"))] {
            fs::create_dir(in_folder(name)).unwrap();
            write(&in_folder(name).join("config.yaml"), text);
        }
        symlink("..1", in_folder("..data")).unwrap();
        symlink("..data/config.yaml", in_folder("config.yaml")).unwrap();
        let mut file = ConfigFile::new(in_folder("config.yaml"), Overrides::default());
        assert_eq!(looks(&mut file), NEVER);
        symlink("..2", in_folder("..data_tmp")).unwrap();
        fs::rename(in_folder("..data_tmp"), in_folder("..data")).unwrap();
        assert_eq!(looks(&mut file), ONCE_SETTLED);
    }

    #[test]
    fn a_pipe_is_read_at_the_start_and_never_waited_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        make_pipe(&path);
        let mut file = ConfigFile::new(path.clone(), Overrides::default());
        let _writer = feed(&path, CONFIG);
        assert_eq!(file.load_first().unwrap().watches().len(), 1);
        assert_eq!(looks(&mut file), NEVER);
        let error = file.load().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("can be read only once, at the start"), "{cause}");
    }

    #[test]
    fn a_file_that_goes_and_comes_back_is_told_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut file) = of(&folder);
        fs::remove_file(&path).unwrap();
        assert_eq!(looks(&mut file), ONCE_SETTLED);
        write(&path, CONFIG);
        assert_eq!(looks(&mut file), ONCE_SETTLED);
    }
}
