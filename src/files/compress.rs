//! Compressing one closed file, so that at each moment one whole file with its lines is there.
//!
//! The compressed file has its name only when all of it is on the disk; then the original goes. Memory does not grow with
//! the file.

use super::encode::encode;
use super::layer::{Layer, LayerFile};
use super::name::FileName;
use crate::config::Compression;
use crate::health::Pulse;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::SystemTime;

/// Who compresses, and how long.
pub(super) struct Work<'a> {
    pub(super) pulse: Pulse,
    /// Asked now and then; where it says no, the work ends.
    pub(super) go_on: &'a dyn Fn() -> bool,
}

/// Compresses `folder/name`, and removes it.
///
/// # Errors
///
/// As the file system says, and [`ErrorKind::Interrupted`] where the work was ended; the original is there then.
pub(super) fn compress(
    layer: &dyn Layer,
    folder: &Path,
    name: FileName,
    modified: SystemTime,
    compression: Compression,
    work: &Work<'_>,
) -> io::Result<()> {
    let target = name.compressed(compression);
    let (from, to, temporary) = (folder.join(name.to_string()), folder.join(target.to_string()), folder.join(target.temporary()));
    let source = layer.open(&from)?;
    remove_if_there(layer, &temporary)?;
    let mut file = layer.create(&temporary)?;
    let copied = copy(&*source, &mut *file, compression, work).and_then(|()| {
        work.pulse.waiting();
        file.set_modified(modified)?;
        file.sync()
    });
    if let Err(error) = copied {
        // What is left of it would only take room; at the next start it is removed anyway.
        let _ = layer.remove(&temporary);
        return Err(error);
    }
    layer.rename(&temporary, &to)?;
    // The original may go only when the new name is on the disk.
    layer.sync_folder(folder)?;
    layer.remove(&from)
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove_if_there(layer: &dyn Layer, path: &Path) -> io::Result<()> {
    match layer.remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn copy(source: &dyn LayerFile, file: &mut dyn LayerFile, compression: Compression, work: &Work<'_>) -> io::Result<()> {
    let mut source = Source { file: source, offset: 0, work, error: None };
    let mut target = Target { file, work, error: None };
    encode(compression, &mut source, &mut target)?;
    source.error.or(target.error).map_or(Ok(()), Err)
}

/// A file as a reader. An error ends it, and is kept: the zstd encoder panics when it meets one.
struct Source<'a> {
    file: &'a dyn LayerFile,
    offset: u64,
    work: &'a Work<'a>,
    error: Option<io::Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let goes_on = (self.work.go_on)();
        self.work.pulse.waiting();
        let read = if goes_on {
            self.file.read_at(buffer, self.offset)
        } else {
            Err(io::Error::new(ErrorKind::Interrupted, "faro is stopping"))
        };
        let count = read.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            0
        });
        self.offset += count as u64;
        self.work.pulse.working();
        Ok(count)
    }
}

/// A file as a writer. After an error it takes everything and keeps nothing but the error, for the same reason.
struct Target<'a> {
    file: &'a mut dyn LayerFile,
    work: &'a Work<'a>,
    error: Option<io::Error>,
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.error.is_some() || bytes.is_empty() {
            return Ok(bytes.len());
        }
        self.work.pulse.waiting();
        let written = self.file.write(bytes);
        self.work.pulse.working();
        match written {
            Ok(0) => self.error = Some(ErrorKind::WriteZero.into()),
            Ok(count) => return Ok(count),
            Err(error) => self.error = Some(error),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "compress")]
mod tests {
    use super::*;
    use crate::files::Disk;
    use crate::files::encode::decoded;
    use crate::files::memory::{MemoryDisk, Step, everything};
    use crate::health::{Health, STUCK_AFTER};
    use std::fs;
    use std::time::Instant;

    const NAME: &str = "events-20251110-143302.json";

    fn lines(count: usize) -> Vec<u8> {
        let line =
            |n| format!("{{\"timestamp\":\"2025-11-10T14:33:02.{n:06}Z\",\"name\":\"web-{n}\",\"labels\":{{\"app\":\"x\"}}}}\n");
        (0..count).map(line).collect::<String>().into_bytes()
    }

    fn work(go_on: &dyn Fn() -> bool) -> Work<'_> {
        Work { pulse: Pulse::default(), go_on }
    }

    fn check(compression: Compression, content: &[u8]) {
        let disk = MemoryDisk::default();
        let folder = Path::new("memory");
        disk.put(&folder.join(NAME), content);
        let name = FileName::parse(NAME).unwrap();
        compress(&disk, folder, name, SystemTime::UNIX_EPOCH, compression, &work(&|| true)).unwrap();
        let target = name.compressed(compression).to_string();
        assert_eq!(disk.paths(), [folder.join(&target)]);
        assert!(disk.is_synced(&folder.join(&target)));
        let compressed = disk.content(&folder.join(&target)).unwrap();
        assert!(decoded(&target, &compressed) == content, "{target}: {} bytes", content.len());
        assert!(content.len() < 10_000 || compressed.len() < content.len() / 4, "{target}: {}", compressed.len());
    }

    #[test]
    fn what_is_compressed_reads_back_as_it_was() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            // Around the sizes of the encoders' blocks, too.
            for content in [Vec::new(), lines(1), lines(20_000), vec![b'x'; 128 * 1024], vec![b'x'; 128 * 1024 + 1]] {
                check(compression, &content);
            }
            let mut random = fastrand::Rng::with_seed(1);
            let noise: Vec<u8> = (0..9_000).map(|_| random.u8(..)).collect();
            check(compression, &noise);
        }
    }

    #[test]
    fn whatever_fails_leaves_the_original_and_no_half_file() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            for failing in [Step::Create, Step::Read, Step::Sync, Step::Write { held: 0, offered: 0 }] {
                let disk = MemoryDisk::default();
                let path = Path::new("memory").join(NAME);
                disk.put(&path, &lines(1000));
                let is_failing = move |step| std::mem::discriminant(&step) == std::mem::discriminant(&failing);
                disk.set_plan(move |step| if is_failing(step) { Err(ErrorKind::StorageFull.into()) } else { everything(step) });
                let name = FileName::parse(NAME).unwrap();
                let attempt = |go_on| {
                    compress(&disk, Path::new("memory"), name, SystemTime::UNIX_EPOCH, compression, &work(&|| go_on))
                        .unwrap_err()
                        .kind()
                };
                assert_eq!(attempt(true), ErrorKind::StorageFull, "{failing:?}");
                assert_eq!(disk.paths(), std::slice::from_ref(&path), "{failing:?}");
                disk.set_plan(everything);
                assert_eq!(attempt(false), ErrorKind::Interrupted);
                assert_eq!(disk.paths(), [path]);
            }
        }
    }

    #[test]
    fn an_encoder_that_hangs_counts_as_stuck_and_a_slow_disk_does_not() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (disk, health) = (MemoryDisk::default(), Health::default());
            disk.put(&Path::new("memory").join(NAME), &lines(20_000));
            let pulse = health.add_thread("json-keeper");
            let is_stuck = move || !health.liveness_at(Instant::now() + STUCK_AFTER * 2).alive;
            let (of_disk, asked) = (is_stuck.clone(), std::cell::Cell::new(0));
            disk.set_plan(move |step| {
                assert!(!of_disk(), "{step:?} waits for the disk");
                everything(step)
            });
            let go_on = || {
                // Before the first read nothing was encoded.
                assert_eq!(is_stuck(), asked.get() > 0, "between two reads it encodes");
                asked.set(asked.get() + 1);
                true
            };
            let name = FileName::parse(NAME).unwrap();
            let work = Work { pulse, go_on: &go_on };
            compress(&disk, Path::new("memory"), name, SystemTime::UNIX_EPOCH, compression, &work).unwrap();
            assert!(asked.get() > 1, "{compression:?}: {}", asked.get());
        }
    }

    #[test]
    fn the_tools_of_the_machine_read_it_where_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        for (compression, tool) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
            let content = lines(20_000);
            fs::write(folder.path().join(NAME), &content).unwrap();
            let name = FileName::parse(NAME).unwrap();
            compress(&Disk, folder.path(), name, SystemTime::UNIX_EPOCH, compression, &work(&|| true)).unwrap();
            let path = folder.path().join(name.compressed(compression).to_string());
            assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);
            match std::process::Command::new(tool).arg("-dc").arg(&path).output() {
                Ok(output) => assert!(output.status.success() && output.stdout == content, "{tool}"),
                Err(_) => assert!(decoded(&path.to_string_lossy(), &fs::read(&path).unwrap()) == content),
            }
        }
    }
}
