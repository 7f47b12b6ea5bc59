//! The writer on disks and pipes that fail: nothing lost, nothing doubled, nothing torn.

use super::file::{Layer, OutputFile, create_events_file};
use super::record::Record;
use super::writer::{Destination, Pace};
use super::*;
use crate::dispatch::tests::{DEADLINE, completion, event, ledger, watch};
use crate::dispatch::{Export, Ledger};
use crate::event::MatchedEvent;
use crate::health::Health;
use crate::lifecycle::Stop;
use crate::metrics::Metrics;
use jiff::Timestamp;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A file in memory. `plan` says for each write how much of it is taken.
#[derive(Clone)]
struct Faulty(Arc<Mutex<Script>>);

struct Script {
    content: Vec<u8>,
    synced: usize,
    plan: Plan,
}

/// From the bytes in the file and the bytes offered to the bytes taken.
type Plan = Box<dyn FnMut(usize, usize) -> io::Result<usize> + Send>;

impl Faulty {
    fn new(plan: impl FnMut(usize, usize) -> io::Result<usize> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Script { content: Vec::new(), synced: 0, plan: Box::new(plan) })))
    }

    fn content(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().content.clone()).unwrap()
    }

    fn set_plan(&self, plan: impl FnMut(usize, usize) -> io::Result<usize> + Send + 'static) {
        self.0.lock().unwrap().plan = Box::new(plan);
    }

    fn is_synced(&self) -> bool {
        let script = self.0.lock().unwrap();
        script.synced == script.content.len()
    }
}

impl Layer for Faulty {
    fn create(&mut self, _path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Ok(Box::new(self.clone()))
    }
}

impl OutputFile for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut script = self.0.lock().unwrap();
        let held = script.content.len();
        let taken = (script.plan)(held, bytes.len())?;
        script.content.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut script = self.0.lock().unwrap();
        script.synced = script.content.len();
        Ok(())
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let mut script = self.0.lock().unwrap();
        let rest = script.content.len() - usize::try_from(bytes).unwrap();
        script.content.truncate(rest);
        Ok(())
    }

    fn is_linked(&self) -> bool {
        true
    }
}

fn whole(_held: usize, offered: usize) -> io::Result<usize> {
    Ok(offered)
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

/// A writer, and all around it that a test looks at.
struct Bench {
    writer: Arc<Writer>,
    ledger: Arc<Ledger>,
    health: Health,
    stop: Stop,
    expected: String,
}

impl Bench {
    fn on(file: Option<&Faulty>, stdout: Option<&Faulty>) -> Self {
        let folder = file.map(|file| ("memory".into(), Box::new(file.clone()) as Box<dyn Layer>));
        let stdout = stdout.map(|file| Box::new(file.clone()) as Box<dyn OutputFile>);
        Self::open(|metrics, health, stop| {
            let pace = Pace { first: Duration::ZERO, max: Duration::from_millis(1) };
            Writer::open_on(Destination { folder, stdout }, pace, metrics, health, stop)
        })
    }

    fn open(open: impl FnOnce(Metrics, Health, Stop) -> Result<Arc<Writer>, SinkError>) -> Self {
        let (health, stop) = (Health::default(), Stop::new());
        let writer = open(Metrics::default(), health.clone(), stop.clone()).unwrap();
        Self { writer, ledger: ledger(), health, stop, expected: String::new() }
    }

    fn export(&mut self, version: u64) {
        let event: MatchedEvent = event(&watch("v1/pods"), &format!("pod-{}", version % 10), version);
        self.writer.export(&event, completion(&self.ledger, &event));
        self.writer.flush();
        let mut line = Vec::new();
        Record::default().append(&event, &mut line);
        self.expected.push_str(std::str::from_utf8(&line).unwrap());
    }

    fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
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
        let file = Faulty::new(move |held, offered| match cut - held.min(cut) {
            0 if failures > 0 => {
                failures -= 1;
                Err(full())
            }
            0 => Ok(offered),
            room => Ok(offered.min(room)),
        });
        let mut bench = Bench::on(Some(&file), None);
        (0..3).for_each(|version| bench.export(version));
        assert!(bench.writer.stop(Instant::now() + DEADLINE), "cut at {cut}");
        assert_eq!(file.content(), bench.expected, "cut at {cut}");
        assert_eq!(bench.ledger.unfinished(), 0, "cut at {cut}");
        assert!(file.is_synced(), "cut at {cut}");
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
        let file = Faulty::new(move |_, offered| match random.u8(..8) {
            0 => Err(full()),
            1 => Err(ErrorKind::Interrupted.into()),
            2 => Ok(0),
            3..6 => Ok(random.usize(..=offered)),
            6.. => Ok(offered),
        });
        let mut bench = Bench::on(Some(&file), None);
        (0..500).for_each(|version| bench.export(version));
        assert!(bench.writer.stop(Instant::now() + DEADLINE), "seed {seed}");
        assert_eq!(file.content(), bench.expected, "seed {seed}");
        assert_eq!(bench.ledger.accepted().version.unwrap().as_str(), "499", "seed {seed}");
    }
}

#[test]
fn a_full_disk_shows_in_the_readiness_and_is_waited_for() {
    let file = Faulty::new(|_, _| Err(full()));
    let mut bench = Bench::on(Some(&file), None);
    (0..200).for_each(|version| bench.export(version));
    bench.wait_until(|bench| bench.health.readiness().sink_failure.is_some());
    let reason = bench.health.readiness().sink_failure.unwrap();
    assert!(reason.starts_with("cannot write to memory/events-") && reason.ends_with("no storage space"), "{reason}");
    assert_eq!(bench.ledger.unfinished(), 200);
    assert!(!bench.writer.sync(Duration::ZERO));

    file.set_plan(whole);
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(bench.health.readiness().sink_failure, None);
    assert_eq!(file.content(), bench.expected);
    bench.wait_until(|bench| bench.ledger.unfinished() == 0);
}

#[test]
fn what_cannot_be_written_by_the_deadline_stays_unacknowledged_and_leaves_no_torn_line() {
    let file = Faulty::new(|held, offered| match 400 - held {
        0 => Err(full()),
        room => Ok(offered.min(room)),
    });
    let mut bench = Bench::on(Some(&file), None);
    (0..100).for_each(|version| bench.export(version));
    assert!(!bench.writer.stop(Instant::now()));
    let lines = file.content().lines().count();
    assert!(lines > 0 && file.content().ends_with('\n') && bench.expected.starts_with(&file.content()), "{}", file.content());
    assert_eq!(bench.ledger.unfinished(), 100 - lines as u64);
    bench.export(100);
    assert_eq!(bench.ledger.abandoned(), 101 - lines as u64);
}

#[test]
fn a_broken_pipe_stops_faro_and_the_file_still_gets_its_lines() {
    let (file, pipe) = (Faulty::new(whole), Faulty::new(|_, _| Err(ErrorKind::BrokenPipe.into())));
    let mut bench = Bench::on(Some(&file), Some(&pipe));
    bench.export(1);
    bench.wait_until(|bench| bench.stop.is_requested());
    bench.export(2);
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!(file.content(), bench.expected);
    assert_eq!(bench.ledger.unfinished(), 0);
    assert_eq!(
        bench.writer.failure().unwrap().to_string(),
        "cannot write events to standard output; its reader must live as long as faro does"
    );
}

#[test]
fn a_broken_pipe_alone_ends_the_writer_and_blocks_nobody() {
    let pipe = Faulty::new(|_, _| Err(ErrorKind::BrokenPipe.into()));
    let mut bench = Bench::on(None, Some(&pipe));
    (0..200).for_each(|version| bench.export(version));
    bench.wait_until(|bench| bench.ledger.abandoned() == 200);
    assert!(bench.stop.is_requested() && bench.writer.failure().is_some());
    assert!(!bench.writer.stop(Instant::now() + DEADLINE));
}

#[test]
fn both_outputs_get_the_same_lines() {
    let (file, pipe) = (Faulty::new(whole), Faulty::new(|_, offered| Ok(offered.min(7))));
    let mut bench = Bench::on(Some(&file), Some(&pipe));
    (0..100).for_each(|version| bench.export(version));
    assert!(bench.writer.stop(Instant::now() + DEADLINE));
    assert_eq!((file.content(), pipe.content()), (bench.expected.clone(), bench.expected.clone()));
}

#[test]
fn a_deleted_folder_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let output_dir = folder.path().join("events");
    let settings = SinkSettings { folder: Some(output_dir.clone()), stdout: false };
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
fn files_of_one_second_get_a_counter_and_a_private_mode() {
    let folder = tempfile::tempdir().unwrap();
    let now: Timestamp = "2025-11-10T14:33:02Z".parse().unwrap();
    let names = [(); 3].map(|()| {
        let (path, _) = create_events_file(&mut super::file::Disk, folder.path(), now).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        path.file_name().unwrap().to_str().unwrap().to_owned()
    });
    assert_eq!(names, ["events-20251110-143302.json", "events-20251110-143302-1.json", "events-20251110-143302-2.json"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_at_start_with_its_cure() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("events");
    let settings = SinkSettings { folder: Some(folder.clone()), stdout: false };
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
