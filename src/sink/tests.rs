//! The writer on disks and pipes that fail: nothing lost, nothing doubled, nothing torn.

use super::record::Record;
use super::writer::Destination;
use super::writing::Pace;
use super::*;
use crate::config::RotateConfig;
use crate::dispatch::tests::{DEADLINE, completion, event, ledger, watch};
use crate::dispatch::{Export, Ledger};
use crate::event::MatchedEvent;
use crate::files::memory::{MemoryDisk, Step, everything};
use crate::files::{FileName, Keeping, Layer};
use crate::health::{Health, STUCK_AFTER, ThreadFailure};
use crate::lifecycle::Stop;
use crate::metrics::Metrics;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FOLDER: &str = "memory";

pub(super) fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

/// A disk whose writes take what `plan` says, from the bytes in the file and the bytes offered.
fn disk(mut plan: impl FnMut(usize, usize) -> io::Result<usize> + Send + 'static) -> MemoryDisk {
    let disk = MemoryDisk::default();
    disk.set_plan(move |step| if let Step::Write { held, offered } = step { plan(held, offered) } else { Ok(0) });
    disk
}

/// All lines on `disk`, the oldest first; every file is whole and synced when `synced` says so.
pub(super) fn content(disk: &MemoryDisk, synced: bool) -> String {
    let text = |path: &PathBuf| {
        assert!(FileName::parse(path.file_name().unwrap().to_str().unwrap()).is_some(), "{}", path.display());
        assert!(!synced || disk.is_synced(path), "{}", path.display());
        String::from_utf8(disk.content(path).unwrap()).unwrap()
    };
    disk.paths().iter().map(text).collect()
}

/// Standard output as a test reads it.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Vec<u8>>>);

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe takes what there is room for.
        let taken = bytes.len().min(7);
        self.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output whose reader has gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer, and all around it that a test looks at.
pub(super) struct Bench {
    pub(super) writer: Arc<Writer>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) health: Health,
    pub(super) stop: Stop,
    pub(super) expected: String,
}

impl Bench {
    pub(super) fn on(disk: &MemoryDisk) -> Self {
        Self::with(Some(disk), RotateConfig::default(), None)
    }

    pub(super) fn with(disk: Option<&MemoryDisk>, rotate: RotateConfig, stdout: Option<Box<dyn Write + Send>>) -> Self {
        let folder = disk.map(|disk| (FOLDER.into(), Arc::new(disk.clone()) as Arc<dyn Layer>));
        Self::open(|metrics, health, stop| {
            let pace = Pace { first: Duration::ZERO, max: Duration::from_millis(1) };
            Writer::open_on(
                Destination {
                    folder,
                    rotate,
                    keep: Keeping::default(),
                    hold_until_committed: true,
                    stdout,
                    middleware: Vec::new(),
                },
                pace,
                metrics,
                health,
                stop,
            )
        })
    }

    pub(super) fn open(open: impl FnOnce(Metrics, Health, Stop) -> Result<Arc<Writer>, SinkError>) -> Self {
        let (health, stop) = (Health::default(), Stop::new());
        let writer = open(Metrics::default(), health.clone(), stop.clone()).unwrap();
        Self { writer, ledger: ledger(), health, stop, expected: String::new() }
    }

    pub(super) fn export(&mut self, version: u64) {
        let event: MatchedEvent = event(&watch("v1/pods"), &format!("pod-{}", version % 10), version);
        self.writer.export(&event, completion(&self.ledger, &event));
        self.writer.flush();
        let mut line = Vec::new();
        Record::default().append(&event, None, false, &mut line);
        self.expected.push_str(std::str::from_utf8(&line).unwrap());
    }

    pub(super) fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not in time: {:?}", self.health.readiness().sink_failure);
            std::thread::yield_now();
        }
    }
}

#[test]
fn lines_are_whole_wherever_a_write_was_cut_short() {
    let mut cut = 0;
    loop {
        let mut failures = 1;
        let disk = disk(move |held, offered| match cut - held.min(cut) {
            0 if failures > 0 => {
                failures -= 1;
                Err(full())
            }
            0 => Ok(offered),
            room => Ok(offered.min(room)),
        });
        let mut bench = Bench::on(&disk);
        (0..3).for_each(|version| bench.export(version));
        assert!(bench.writer.stop(Instant::now() + DEADLINE), "cut at {cut}");
        assert_eq!(content(&disk, true), bench.expected, "cut at {cut}");
        assert_eq!(bench.ledger.unfinished(), 0, "cut at {cut}");
        cut += 1;
        if cut > bench.expected.len() {
            return;
        }
    }
}

#[test]
fn a_disk_that_fails_at_random_loses_and_doubles_nothing() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = disk(move |_, offered| match random.u8(..8) {
            0 => Err(full()),
            1 => Err(ErrorKind::Interrupted.into()),
            2 => Ok(0),
            3..6 => Ok(random.usize(..=offered)),
            6.. => Ok(offered),
        });
        let mut bench = Bench::on(&disk);
        (0..500).for_each(|version| bench.export(version));
        assert!(bench.writer.stop(Instant::now() + DEADLINE), "seed {seed}");
        assert_eq!(content(&disk, true), bench.expected, "seed {seed}");
        assert_eq!(bench.ledger.accepted().version.unwrap().as_str(), "499", "seed {seed}");
    }
}

#[test]
fn a_full_disk_shows_in_the_readiness_and_is_waited_for() {
    let disk = disk(|_, _| Err(full()));
    let mut bench = Bench::on(&disk);
    (0..200).for_each(|version| bench.export(version));
    bench.wait_until(|bench| bench.health.readiness().sink_failure.is_some());
    let reason = bench.health.readiness().sink_failure.unwrap();
    assert!(reason.starts_with("cannot write to memory/events-") && reason.ends_with("no storage space"), "{reason}");
    assert_eq!(bench.ledger.unfinished(), 200);
    assert!(!bench.writer.sync(Duration::ZERO));

    disk.set_plan(everything);
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(bench.health.readiness().sink_failure, None);
    assert_eq!(content(&disk, true), bench.expected);
    bench.wait_until(|bench| bench.ledger.unfinished() == 0);
}

#[test]
fn what_cannot_be_written_by_the_deadline_stays_unacknowledged_and_leaves_no_torn_line() {
    let disk = disk(|held, offered| match 400 - held {
        0 => Err(full()),
        room => Ok(offered.min(room)),
    });
    let mut bench = Bench::on(&disk);
    (0..100).for_each(|version| bench.export(version));
    assert!(!bench.writer.stop(Instant::now()));
    let content = content(&disk, false);
    let lines = content.lines().count();
    assert!(lines > 0 && content.ends_with('\n') && bench.expected.starts_with(&content), "{content}");
    assert_eq!(bench.ledger.unfinished(), 100 - lines as u64);
    bench.export(100);
    assert_eq!(bench.ledger.abandoned(), 101 - lines as u64);
}

#[test]
fn a_broken_pipe_stops_faro_and_the_file_still_gets_its_lines() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::with(Some(&disk), RotateConfig::default(), Some(Box::new(Broken)));
    bench.export(1);
    bench.wait_until(|bench| bench.stop.is_requested());
    bench.export(2);
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!(content(&disk, true), bench.expected);
    assert_eq!(bench.ledger.unfinished(), 0);
    assert_eq!(
        bench.writer.failure().unwrap().to_string(),
        "cannot write events to standard output; its reader must live as long as faro does"
    );
}

#[test]
fn a_broken_pipe_alone_ends_the_writer_and_blocks_nobody() {
    let mut bench = Bench::with(None, RotateConfig::default(), Some(Box::new(Broken)));
    (0..200).for_each(|version| bench.export(version));
    bench.wait_until(|bench| bench.ledger.abandoned() == 200);
    assert!(bench.stop.is_requested() && bench.writer.failure().is_some());
    assert!(!bench.writer.stop(Instant::now() + DEADLINE));
}

#[test]
fn both_outputs_get_the_same_lines() {
    let (disk, reader) = (MemoryDisk::default(), Reader::default());
    let mut bench = Bench::with(Some(&disk), RotateConfig::default(), Some(Box::new(reader.clone())));
    (0..100).for_each(|version| bench.export(version));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    let read = String::from_utf8(reader.0.lock().unwrap().clone()).unwrap();
    assert_eq!((content(&disk, true), read), (bench.expected.clone(), bench.expected.clone()));
}

#[test]
fn a_deleted_folder_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let output_dir = folder.path().join("events");
    let settings = SinkSettings { folder: Some(output_dir.clone()), ..SinkSettings::default() };
    let mut bench = Bench::open(|metrics, health, stop| Writer::open(settings, metrics, health, stop));
    bench.export(1);
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(std::fs::read_to_string(bench.writer.path().unwrap()).unwrap(), bench.expected);

    std::fs::remove_dir_all(&output_dir).unwrap();
    bench.expected.clear();
    bench.export(2);
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(std::fs::read_to_string(bench.writer.path().unwrap()).unwrap(), bench.expected);
    assert_eq!(bench.health.readiness().sink_failure, None);
}

#[test]
fn files_of_one_second_follow_each_other_and_have_a_private_mode() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [(); 3].map(|()| {
        let settings = SinkSettings { folder: Some(folder.path().to_owned()), ..SinkSettings::default() };
        let bench = Bench::open(|metrics, health, stop| Writer::open(settings, metrics, health, stop));
        let path = bench.writer.path().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        path
    });
    assert!(paths.is_sorted_by(|a, b| a < b), "{paths:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_at_start_with_its_cure() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("events");
    let settings = SinkSettings { folder: Some(folder.clone()), ..SinkSettings::default() };
    let error = Writer::open(settings, Metrics::default(), Health::default(), Stop::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot create an events file in {}; make it writable for the user that runs faro, or choose another output_dir",
            folder.display()
        )
    );
    assert!(std::error::Error::source(&error).is_some());
}

/// Standard output whose every write does as it is told.
struct Told<F>(F);

impl<F: FnMut()> Write for Told<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_panics_is_dead_and_one_that_waits_for_its_reader_is_not_stuck() {
    let on = |write: Box<dyn Write + Send>| Bench::with(None, RotateConfig::default(), Some(write));
    let mut bench = on(Box::new(Told(|| panic!("injected"))));
    bench.export(1);
    bench.wait_until(|bench| !bench.health.liveness().alive);
    let failing = bench.health.liveness().failing;
    assert_eq!((failing[0].thread.as_str(), failing[0].failure), ("json-writer", ThreadFailure::Dead));

    let (entered, hangs) = crossbeam_channel::bounded(1);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let mut bench = on(Box::new(Told(move || {
        entered.send(()).unwrap();
        // Closed when the test lets go.
        released.recv().unwrap_err();
    })));
    bench.export(1);
    hangs.recv_timeout(DEADLINE).unwrap();
    assert!(bench.health.liveness_at(Instant::now() + 2 * STUCK_AFTER).alive);
    drop(release);
    bench.wait_until(|bench| bench.ledger.unfinished() == 0);
}
