//! One pass over a folder: closed files are compressed, and those that are too many or too old removed.
//!
//! Takes what may be touched; promises to touch nothing else: neither the newest file, nor one that somebody writes.

use super::compress::{Work, compress, remove_if_there};
use super::layer::{Entry, Layer};
use super::name::{FileKind, FileName};
use crate::config::{Compression, RetainConfig};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

/// What is done with closed files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeping {
    /// How they are compressed. Defaults to not at all.
    pub compress: Compression,
    /// Which are removed. Defaults to those beyond 1 GiB.
    pub retain: RetainConfig,
}

/// Which files may be touched, of those that are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    None,
    Before(FileName),
    All,
}

/// A folder, and what is in it.
pub(super) struct Folder<'a> {
    pub(super) layer: &'a dyn Layer,
    pub(super) path: &'a Path,
    pub(super) kind: FileKind,
}

impl Folder<'_> {
    /// Removes what a killed run left: files that were not completed, and the compressed twins of files that are still there.
    /// Those are whole, or they would not be there, but the originals are whole for sure.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        for entry in self.layer.list(self.path)? {
            let is_ours = FileName::parse_temporary(&entry.name).is_some_and(|name| name.kind() == self.kind);
            if is_ours && !self.is_open(&entry.name)? {
                self.remove(&entry.name)?;
            }
        }
        let names = super::names(self.layer, self.path, self.kind)?;
        for (name, entry) in &names {
            let plain = name.compressed(Compression::None);
            if *name != plain && names.iter().any(|(other, _)| *other == plain) {
                self.remove(&entry.name)?;
            }
        }
        Ok(())
    }

    /// Compresses and removes. What fails does not keep the rest from being done; the first failure is returned.
    pub(super) fn tidy(&self, keeping: &Keeping, touch: Touch, now: SystemTime, work: &Work<'_>) -> io::Result<()> {
        if self.layer.list(self.path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            // Whoever writes makes the folder again, when there is something to write.
            return Ok(());
        }
        let compressed = self.compress_closed(keeping.compress, touch, work);
        let removed = self.remove_old(&keeping.retain, touch, now);
        compressed.and(removed)
    }

    fn compress_closed(&self, compression: Compression, touch: Touch, work: &Work<'_>) -> io::Result<()> {
        for (name, entry) in self.closed(touch)? {
            let is_plain = name.compression() == Compression::None;
            if entry.bytes == 0 {
                // Each start begins a file; those in which nothing was written tell nothing.
                self.remove(&entry.name)?;
            } else if is_plain && compression != Compression::None && !self.is_open(&entry.name)? {
                compress(self.layer, self.path, name, entry.modified, compression, work)?;
            }
        }
        Ok(())
    }

    fn remove_old(&self, retain: &RetainConfig, touch: Touch, now: SystemTime) -> io::Result<()> {
        let mut total: u64 = super::names(self.layer, self.path, self.kind)?.iter().map(|(_, entry)| entry.bytes).sum();
        let (mut count, mut bytes) = (0, 0);
        for (_, entry) in self.closed(touch)? {
            let age = now.duration_since(entry.modified).unwrap_or_default();
            let is_old = retain.max_age.is_some_and(|max_age| age > max_age);
            let is_too_much = retain.total_bytes.is_some_and(|limit| total > limit);
            if (is_old || is_too_much) && !self.is_open(&entry.name)? {
                self.remove(&entry.name)?;
                total -= entry.bytes;
                (count, bytes) = (count + 1, bytes + entry.bytes);
            }
        }
        if count > 0 {
            log::info!(files = count, bytes = bytes; "removed the oldest files in {}, as `retain` says", self.path.display());
        }
        Ok(())
    }

    /// The files that may be touched, oldest first.
    fn closed(&self, touch: Touch) -> io::Result<Vec<(FileName, Entry)>> {
        let mut names = super::names(self.layer, self.path, self.kind)?;
        let newest = names.last().map(|(name, _)| *name);
        names.retain(|(name, _)| {
            let is_allowed = match touch {
                Touch::None => false,
                Touch::Before(first) => name.is_before(&first),
                Touch::All => true,
            };
            is_allowed && newest.is_some_and(|newest| name.is_before(&newest))
        });
        Ok(names)
    }

    fn is_open(&self, name: &str) -> io::Result<bool> {
        self.layer.is_open(&self.path.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_if_there(self.layer, &self.path.join(name))
    }
}

#[cfg(test)]
#[cfg(feature = "compress")]
mod tests {
    use super::*;
    use crate::files::memory::{MemoryDisk, Step, everything};
    use crate::health::Pulse;
    use std::time::Duration;

    const FOLDER: &str = "memory";

    fn name(number: u32) -> FileName {
        FileName::parse(&format!("events-20251110-1433{number:02}.json")).unwrap()
    }

    /// Files of a hundred bytes each, but for the one that was begun last; files of others lie beside them.
    fn disk(count: u32) -> MemoryDisk {
        let disk = MemoryDisk::default();
        (0..count).for_each(|number| disk.put(&Path::new(FOLDER).join(name(number).to_string()), &[b'x'; 100]));
        disk.put(&Path::new(FOLDER).join(name(count).to_string()), b"");
        disk.put(&Path::new(FOLDER).join("faro-20251110-143300.log"), &[b'x'; 100]);
        disk.put(&Path::new(FOLDER).join("notes.txt"), &[b'x'; 100]);
        disk
    }

    fn tidy(disk: &MemoryDisk, compress: Compression, total_bytes: Option<u64>, touch: Touch) -> io::Result<()> {
        let retain = RetainConfig { total_bytes, ..RetainConfig::default() };
        let work = Work { pulse: Pulse::default(), go_on: &|| true };
        let folder = Folder { layer: disk, path: Path::new(FOLDER), kind: FileKind::Events };
        folder.tidy(&Keeping { compress, retain }, touch, SystemTime::UNIX_EPOCH, &work)
    }

    /// What is left, as `0 1z 2`: the numbers of the files, and how they are compressed.
    fn left(disk: &MemoryDisk) -> String {
        let mut left = Vec::new();
        for path in disk.paths() {
            let text = path.file_name().unwrap().to_str().unwrap();
            let Some(name) = FileName::parse(text).filter(|name| name.kind() == FileKind::Events) else { continue };
            let mark = match name.compression() {
                Compression::None => "",
                Compression::Gzip => "g",
                Compression::Zstd => "z",
            };
            left.push(format!("{}{mark}", &text[21..22]));
        }
        assert!(disk.content(&Path::new(FOLDER).join("notes.txt")).is_some());
        assert!(disk.content(&Path::new(FOLDER).join("faro-20251110-143300.log")).is_some());
        left.join(" ")
    }

    fn check(compress: Compression, total_bytes: Option<u64>, touch: Touch, expected: &str) {
        let disk = disk(5);
        tidy(&disk, compress, total_bytes, touch).unwrap();
        assert_eq!(left(&disk), expected, "{compress:?} {total_bytes:?} {touch:?}");
    }

    #[test]
    fn closed_files_are_compressed_and_the_oldest_removed() {
        check(Compression::None, None, Touch::All, "0 1 2 3 4 5");
        check(Compression::Gzip, None, Touch::All, "0g 1g 2g 3g 4g 5");
        check(Compression::Zstd, None, Touch::All, "0z 1z 2z 3z 4z 5");
        check(Compression::None, Some(499), Touch::All, "1 2 3 4 5");
        check(Compression::None, Some(300), Touch::All, "2 3 4 5");
        check(Compression::None, Some(0), Touch::All, "5");
        check(Compression::Gzip, Some(300), Touch::All, "0g 1g 2g 3g 4g 5");
    }

    #[test]
    fn nothing_at_or_past_the_committed_place_is_touched() {
        check(Compression::Gzip, Some(0), Touch::None, "0 1 2 3 4 5");
        check(Compression::None, Some(0), Touch::Before(name(0)), "0 1 2 3 4 5");
        check(Compression::None, Some(0), Touch::Before(name(3)), "3 4 5");
        check(Compression::Gzip, None, Touch::Before(name(3)), "0g 1g 2g 3 4 5");
        check(Compression::None, Some(0), Touch::Before(name(59)), "5");
    }

    #[test]
    fn what_somebody_writes_is_left_alone_wherever_it_sorts() {
        let disk = disk(3);
        let path = Path::new(FOLDER).join("events-20251110-143000.json");
        let mut open = disk.create(&path).unwrap();
        open.write(b"{").unwrap();
        tidy(&disk, Compression::Gzip, Some(0), Touch::All).unwrap();
        assert_eq!(disk.content(&path).unwrap(), b"{");
        drop(open);
        tidy(&disk, Compression::None, Some(0), Touch::All).unwrap();
        assert_eq!(disk.content(&path), None);
    }

    #[test]
    fn old_files_go_and_empty_closed_ones_too() {
        let disk = disk(3);
        disk.put(&Path::new(FOLDER).join(name(1).to_string()), b"");
        tidy(&disk, Compression::None, None, Touch::All).unwrap();
        assert_eq!(left(&disk), "0 2 3");
        let retain = RetainConfig { max_age: Some(Duration::from_secs(60)), ..RetainConfig::default() };
        let keeping = Keeping { retain, ..Keeping::default() };
        let work = Work { pulse: Pulse::default(), go_on: &|| true };
        let folder = Folder { layer: &disk, path: Path::new(FOLDER), kind: FileKind::Events };
        folder.tidy(&keeping, Touch::All, SystemTime::UNIX_EPOCH + Duration::from_secs(60), &work).unwrap();
        assert_eq!(left(&disk), "0 2 3");
        folder.tidy(&keeping, Touch::All, SystemTime::UNIX_EPOCH + Duration::from_secs(61), &work).unwrap();
        assert_eq!(left(&disk), "3");
    }

    #[test]
    fn what_cannot_be_compressed_is_removed_all_the_same_when_it_is_too_much() {
        let disk = disk(5);
        disk.set_plan(|step| if step == Step::Create { Err(ErrorKind::StorageFull.into()) } else { everything(step) });
        assert_eq!(tidy(&disk, Compression::Gzip, Some(200), Touch::All).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(left(&disk), "3 4 5");
    }

    #[test]
    fn leftovers_of_a_killed_run_go_and_nothing_else() {
        let disk = disk(2);
        let folder = Path::new(FOLDER);
        for name in ["events-20251110-143300.json.gz", "events-20251110-143300.json.gz.tmp", "events-20251110-143309.json.tmp"] {
            disk.put(&folder.join(name), b"half");
        }
        disk.put(&folder.join("events-20251110-143200.json.gz"), b"whole");
        let open = disk.create(&folder.join("events-20251110-143310.json.tmp")).unwrap();
        let others = ["faro-20251110-143309.log.tmp", "mine.tmp"];
        others.iter().for_each(|name| disk.put(&folder.join(name), b"x"));
        Folder { layer: &disk, path: folder, kind: FileKind::Events }.remove_leftovers().unwrap();
        let names: Vec<String> =
            disk.paths().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            [
                "events-20251110-143200.json.gz",
                "events-20251110-143300.json",
                "events-20251110-143301.json",
                "events-20251110-143302.json",
                "events-20251110-143310.json.tmp",
                "faro-20251110-143300.log",
                "faro-20251110-143309.log.tmp",
                "mine.tmp",
                "notes.txt",
            ]
        );
        drop(open);
    }
}
