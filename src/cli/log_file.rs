//! The log file: bounded in size and age, and never in the way.
//!
//! Takes whole lines; writes them to `faro-YYYYMMDD-HHMMSS.log` and begins a new file when one is full or old; those that are
//! closed are compressed and removed as events files are, by a thread of their own. When the disk is full or gone, lines are
//! counted instead, stderr is told once, and the file is tried again later. A file that was deleted or moved away is followed by
//! another at the next line, which is in that one.

use crate::config::RotateConfig;
use crate::files::{self, FileKind, Keeper, Keeping};
use crate::health::Pulse;
use crate::named::{Named, named};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a file that cannot be written is left alone, so that a broken disk does not slow every log line down.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// The file being written, and what there is to know about its folder.
pub(crate) struct LogFile {
    folder: PathBuf,
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// When its first line was written.
    begun: Option<Instant>,
    rotate: RotateConfig,
    /// Lines that did not get into the file since it last took one.
    lost_lines: u64,
    failed_at: Option<Instant>,
    retry_pause: Duration,
    keeper: Keeper,
}

impl LogFile {
    /// Creates the folder and the first file, and tidies the folder from now on.
    ///
    /// # Errors
    ///
    /// When either cannot be created.
    pub(crate) fn create(folder: &Path, rotate: RotateConfig, keeping: Keeping) -> io::Result<Self> {
        let (name, file) = files::create(folder, FileKind::Log)?;
        // Nobody serves health before there is a log.
        let keeper = Keeper::start("log-keeper", folder, FileKind::Log, keeping, Pulse::default())?;
        Ok(Self {
            folder: folder.to_owned(),
            path: folder.join(name.to_string()),
            file: Some(file),
            bytes: 0,
            begun: None,
            rotate,
            lost_lines: 0,
            failed_at: None,
            retry_pause: RETRY_PAUSE,
            keeper,
        })
    }

    /// The file being written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line, or counts it as lost.
    pub(crate) fn write_line(&mut self, line: &[u8]) {
        if self.failed_at.is_some_and(|since| since.elapsed() < self.retry_pause) {
            self.lost_lines += 1;
            return;
        }
        match self.try_write(line) {
            Ok(()) => self.failed_at = None,
            Err(error) => self.fail(&error),
        }
    }

    /// Looks at the file now, and tries one at once that could not be written.
    pub(crate) fn reopen(&mut self) {
        self.failed_at = None;
        if (self.file.is_none() || !self.is_in_place())
            && let Err(error) = self.begin_next()
        {
            self.fail(&error);
        }
    }

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_once(line)?;
        // It may have been deleted after it was looked at: what was written to it then is nowhere.
        if self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)) {
            self.write_once(line)?;
        }
        Ok(())
    }

    fn write_once(&mut self, line: &[u8]) -> io::Result<()> {
        let is_full = self.bytes > 0 && self.bytes + line.len() as u64 > self.rotate.max_bytes;
        let age = self.begun.map(|begun| begun.elapsed());
        let is_old = age.zip(self.rotate.max_age).is_some_and(|(age, max_age)| age >= max_age);
        if self.file.is_none() || is_full || is_old {
            self.begin_next()?;
        } else if !self.is_in_place() {
            let path = self.path.display().to_string();
            self.begin_next()?;
            self.append(format!("({path} was deleted or moved away, its lines with it)\n").as_bytes())?;
        }
        if self.lost_lines > 0 {
            let note = format!("({} log lines are missing here: the file could not be written)\n", self.lost_lines);
            self.append(note.as_bytes())?;
            self.lost_lines = 0;
        }
        self.append(line)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().expect("a file was begun where there was none");
        file.write_all(line)?;
        self.begun.get_or_insert_with(Instant::now);
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Whether the file is still the one that its name means.
    fn is_in_place(&self) -> bool {
        self.file.as_ref().is_some_and(|file| named(file, &self.path).is_ok_and(|named| named == Named::Itself))
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let (name, file) = files::create(&self.folder, FileKind::Log)?;
        (self.path, self.file) = (self.folder.join(name.to_string()), Some(file));
        (self.bytes, self.begun) = (0, None);
        self.keeper.wake();
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        // A line may have been cut; what comes next begins in a file of its own.
        self.file = None;
        self.lost_lines += 1;
        if self.lost_lines == 1 {
            let path = self.path.display();
            // Not through the logger, which is what calls this.
            let _ = writeln!(
                io::stderr(),
                "faro: cannot write the log file {path}: {error}; log lines go to stderr only until it can be written"
            );
        }
        self.failed_at = Some(Instant::now());
    }
}

#[cfg(test)]
#[cfg(feature = "compress")]
mod tests {
    use super::*;
    use crate::config::{Compression, RetainConfig};
    use std::fs::{self, OpenOptions};

    fn log_file(folder: &Path) -> LogFile {
        LogFile::create(folder, RotateConfig::default(), Keeping::default()).unwrap()
    }

    /// The names in a folder, oldest first.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn contents(folder: &Path) -> String {
        names(folder).iter().map(|name| fs::read_to_string(folder.join(name)).unwrap()).collect()
    }

    /// Long enough for any machine; reached only by a failing test.
    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "not in time");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_full_or_old_file_is_followed_by_another_and_a_longer_line_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("a/logs");
        let mut log = log_file(&logs);
        log.rotate.max_bytes = 16;
        for line in ["line 1\n", "line 2\n", "line 3\n", "a line that is longer than that\n", "line 4\n"] {
            log.write_line(line.as_bytes());
        }
        assert_eq!(names(&logs).len(), 4);
        log.rotate.max_age = Some(Duration::ZERO);
        log.write_line(b"line 5\n");
        assert_eq!(names(&logs).len(), 5);
        assert_eq!(contents(&logs), "line 1\nline 2\nline 3\na line that is longer than that\nline 4\nline 5\n");
        assert_eq!(fs::read_to_string(log.path()).unwrap(), "line 5\n");
    }

    #[test]
    fn closed_files_are_compressed_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let retain = RetainConfig { total_bytes: Some(200), ..RetainConfig::default() };
        let keeping = Keeping { compress: Compression::Gzip, retain };
        let mut log = LogFile::create(folder.path(), RotateConfig::default(), keeping).unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        log.rotate.max_bytes = 1;
        (0..50).for_each(|number| log.write_line(format!("line {number}\n").as_bytes()));
        // A file may go between its name and its length.
        let bytes = |name: &String| folder.path().join(name).metadata().map_or(0, |metadata| metadata.len());
        let is_packed = |name: &String| name.ends_with(".log.gz") || name == "notes.txt";
        wait_until(|| {
            let names = names(folder.path());
            let is_small = names.iter().map(bytes).sum::<u64>() <= 200 + "mine".len() as u64;
            is_small && names.iter().filter(|name| !is_packed(name)).count() == 1
        });
        assert_eq!(fs::read_to_string(log.path()).unwrap(), "line 49\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let mut log = log_file(&logs);
        log.write_line(b"one\n");
        // A device that takes nothing, as a full disk does.
        let path = std::mem::replace(&mut log.path, "/dev/full".into());
        log.file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
        log.write_line(b"two\n");
        log.path = path;
        log.write_line(b"three\n");
        assert_eq!(log.lost_lines, 2);
        log.retry_pause = Duration::ZERO;
        log.write_line(b"four\n");
        assert_eq!(log.lost_lines, 0);
        assert_eq!(contents(&logs), "one\n(2 log lines are missing here: the file could not be written)\nfour\n");
    }

    #[test]
    fn a_file_that_was_deleted_or_moved_away_is_followed_by_another_with_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, moved) = (folder.path().join("logs"), folder.path().join("moved.log"));
        let mut log = log_file(&logs);
        log.write_line(b"one\n");
        let first = log.path().to_owned();
        fs::remove_file(&first).unwrap();
        log.write_line(b"two\n");
        let second = log.path().to_owned();
        assert_eq!(contents(&logs), format!("({} was deleted or moved away, its lines with it)\ntwo\n", first.display()));
        fs::rename(&second, &moved).unwrap();
        log.write_line(b"three\n");
        assert_eq!(contents(&logs), format!("({} was deleted or moved away, its lines with it)\nthree\n", second.display()));
        assert!(fs::read_to_string(&moved).unwrap().ends_with("two\n"), "what is moved is not written any more");
        // The whole folder, as `rm -r` takes it, and another file under the same name.
        fs::remove_dir_all(&logs).unwrap();
        log.write_line(b"four\n");
        assert!(contents(&logs).ends_with("\nfour\n"));
        fs::remove_file(log.path()).unwrap();
        fs::write(log.path(), "mine\n").unwrap();
        log.write_line(b"five\n");
        assert!(contents(&logs).starts_with("mine\n(") && contents(&logs).ends_with("\nfive\n"), "{}", contents(&logs));
    }

    #[test]
    fn reopening_replaces_a_file_that_is_gone_and_tries_one_that_failed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log_file(folder.path());
        let first = log.path().to_owned();
        log.reopen();
        assert_eq!(log.path(), first, "what is in its place stays");
        fs::remove_file(&first).unwrap();
        log.reopen();
        assert_eq!(names(folder.path()).len(), 1);
        (log.file, log.failed_at, log.lost_lines) = (None, Some(Instant::now()), 1);
        log.write_line(b"lost\n");
        log.reopen();
        log.write_line(b"one\n");
        assert!(contents(folder.path()).ends_with("(2 log lines are missing here: the file could not be written)\none\n"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(LogFile::create(&folder.path().join("file/logs"), RotateConfig::default(), Keeping::default()).is_err());
    }
}
