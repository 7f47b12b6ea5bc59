//! The log file: bounded in size and number, and never in the way.
//!
//! Takes whole lines; writes them to `faro-YYYYMMDD-HHMMSS.log`, begins a new file when one is full and removes the oldest. When the disk
//! is full or gone, lines are counted instead, stderr is told once, and the file is tried again later.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file is closed before it grows beyond this: 10 MiB open in any editor.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Files kept in the folder, with the one being written: together at most 50 MiB.
const FILES_KEPT: usize = 5;

/// Files that may begin in the same second, which the number of three digits after it tells apart.
const SAME_SECOND_MAX: u32 = 999;

/// How long a file that cannot be written is left alone, so that a broken disk does not slow every log line down.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// The file being written, and what there is to know about its folder.
pub(crate) struct LogFile {
    folder: PathBuf,
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
    /// Lines that did not get into the file since it last took one.
    lost_lines: u64,
    failed_at: Option<Instant>,
    retry_pause: Duration,
}

impl LogFile {
    /// Creates the folder and the first file.
    ///
    /// # Errors
    ///
    /// When either cannot be created.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (path, file) = open_new(folder)?;
        remove_oldest(folder);
        Ok(Self {
            folder: folder.to_owned(),
            path,
            file: Some(file),
            bytes: 0,
            bytes_max: FILE_BYTES_MAX,
            lost_lines: 0,
            failed_at: None,
            retry_pause: RETRY_PAUSE,
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

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() || self.bytes + line.len() as u64 > self.bytes_max {
            self.begin_next()?;
        }
        let file = self.file.as_mut().expect("a file was begun where there was none");
        if self.lost_lines > 0 {
            let note = format!("({} log lines are missing here: the file could not be written)\n", self.lost_lines);
            file.write_all(note.as_bytes())?;
            self.bytes += note.len() as u64;
            self.lost_lines = 0;
        }
        file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let (path, file) = open_new(&self.folder)?;
        (self.path, self.file, self.bytes) = (path, Some(file), 0);
        remove_oldest(&self.folder);
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

/// Creates a file that sorts after every other, also within one second and after the clock was set back.
fn open_new(folder: &Path) -> io::Result<(PathBuf, File)> {
    let mut stem = jiff::Timestamp::now().strftime("faro-%Y%m%d-%H%M%S").to_string();
    if let Some(newest) = stems(folder)?.pop().filter(|newest| *newest >= stem) {
        let (second, number) = newest.split_at(stem.len());
        let number: u32 = number.trim_start_matches('-').parse().unwrap_or(0);
        if number >= SAME_SECOND_MAX {
            return Err(io::Error::other(format!("there is a newer {newest}.log; was the clock set back?")));
        }
        stem = format!("{second}-{:03}", number + 1);
    }
    let path = folder.join(format!("{stem}.log"));
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    Ok((path, file))
}

/// Removes our oldest files. Failing to is no reason not to log.
fn remove_oldest(folder: &Path) {
    let Ok(stems) = stems(folder) else { return };
    for stem in stems.iter().take(stems.len().saturating_sub(FILES_KEPT)) {
        let _ = fs::remove_file(folder.join(format!("{stem}.log")));
    }
}

/// The names of our files, oldest first, without `.log`.
fn stems(folder: &Path) -> io::Result<Vec<String>> {
    let mut stems = Vec::new();
    for entry in fs::read_dir(folder)? {
        stems.extend(stem(&entry?.file_name().to_string_lossy()));
    }
    stems.sort();
    Ok(stems)
}

/// The name without `.log`, if it is one of ours: these sort by age.
fn stem(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".log")?;
    let digits: String = stem.strip_prefix("faro-")?.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    matches!(digits.as_str(), "00000000-000000" | "00000000-000000-000").then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn contents(folder: &Path) -> String {
        stems(folder).unwrap().iter().map(|stem| fs::read_to_string(folder.join(format!("{stem}.log"))).unwrap()).collect()
    }

    #[test]
    fn a_full_file_is_followed_by_another_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("a/logs");
        fs::create_dir_all(&logs).unwrap();
        for other in ["events.json", "faro-notes.log", "faro-20200101-000000.log"] {
            fs::write(logs.join(other), "old\n").unwrap();
        }
        let mut log = LogFile::create(&logs).unwrap();
        log.bytes_max = 10;
        for number in 0..20 {
            log.write_line(format!("line {number:02}\n").as_bytes());
        }
        let names = names(&logs);
        assert_eq!(names.len(), FILES_KEPT + 2, "{names:?}");
        assert!(names.contains(&"events.json".to_owned()) && names.contains(&"faro-notes.log".to_owned()), "{names:?}");
        assert!(names.contains(&log.path().file_name().unwrap().to_string_lossy().into_owned()), "{names:?}");
        assert_eq!(contents(&logs), "line 15\nline 16\nline 17\nline 18\nline 19\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let mut log = LogFile::create(&logs).unwrap();
        log.write_line(b"one\n");
        // A device that takes nothing, as a full disk does.
        log.file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
        log.write_line(b"two\n");
        log.write_line(b"three\n");
        assert_eq!(log.lost_lines, 2);
        log.retry_pause = Duration::ZERO;
        log.write_line(b"four\n");
        assert_eq!(log.lost_lines, 0);
        assert_eq!(contents(&logs), "one\n(2 log lines are missing here: the file could not be written)\nfour\n");
    }

    #[test]
    fn a_file_sorts_after_those_of_a_clock_that_was_ahead() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("faro-29990101-000000.log"), "").unwrap();
        for expected in ["faro-29990101-000000-001.log", "faro-29990101-000000-002.log"] {
            let log = LogFile::create(folder.path()).unwrap();
            assert_eq!(log.path().file_name().unwrap(), expected);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(LogFile::create(&folder.path().join("file/logs")).is_err());
    }
}
