//! Lives that end at each single step of the file system, and what the next life finds.
//!
//! A life reads back what the last one left, then writes, rotates, syncs, commits and compresses, until it is killed or loses
//! its power. The committed state stands for the database: it changes at once or not at all.

use super::events_file::EventsFile;
use super::output::Fault;
use super::positions::Positions;
use super::recover::recover_on;
use super::recover_tests::line;
use crate::api::FilePosition;
use crate::config::{Compression, RetainConfig, RotateConfig};
use crate::files::encode::decoded;
use crate::files::memory::{MemoryDisk, Step, everything};
use crate::files::{FileName, Keeping, remove_leftovers, tidy_before};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const FOLDER: &str = "memory";

/// Enough lines for several files of five, several syncs in a file, and files that end inside a batch.
const LINES: u64 = 26;
const LINES_PER_FILE: u64 = 5;
const LINES_PER_BATCH: u64 = 2;
const BATCHES_PER_SYNC: u64 = 2;

/// What the database holds.
#[derive(Clone, Debug, Default)]
struct State {
    place: FilePosition,
    lines: u64,
}

/// A run of lives on one disk after the other.
struct World {
    state: State,
    /// So many lines were told to be on the disk.
    synced: u64,
    compression: Compression,
    /// Which sync of each life fails.
    failing_sync: Option<usize>,
    context: String,
}

/// The disk does nothing more.
struct Killed;

impl World {
    fn new(compression: Compression, failing_sync: Option<usize>, context: String) -> Self {
        Self { state: State::default(), synced: 0, compression, failing_sync, context }
    }

    fn live(&mut self, disk: &MemoryDisk) -> Result<(), Killed> {
        let mut next = self.read_back(disk)?;
        fail_sync(disk, self.failing_sync);
        let (mut files, positions) = self.begin(disk)?;
        for batch in 1.. {
            let end = (next + LINES_PER_BATCH).min(LINES);
            let bytes: String = (next..end).map(line).collect();
            files.next_batch();
            persist(disk, || files.write_rest(bytes.as_bytes()))?;
            positions.publish(files.position);
            next = end;
            if batch % BATCHES_PER_SYNC == 0 || next == LINES {
                persist(disk, || files.sync())?;
                self.synced = next;
                let place = positions.locate(positions.written()).expect("a file is written");
                self.commit(disk, State { place, lines: next })?;
            }
            if next == LINES {
                break;
            }
        }
        Ok(())
    }

    /// Every line that is there is told once and in order, and none is missing that was told to be on the disk.
    fn read_back(&mut self, disk: &MemoryDisk) -> Result<u64, Killed> {
        let mut told = Vec::new();
        let since = &self.state.place;
        let end = recover_on(disk, Path::new(FOLDER), Some(since), &mut |line| told.push(line.identity.version().to_owned()));
        let end = end.map_err(|error| {
            assert!(disk.is_dead(), "{}: {error}", self.context);
            Killed
        })?;
        let lines = self.state.lines + told.len() as u64;
        let expected: Vec<String> = (self.state.lines..lines).map(|version| version.to_string()).collect();
        assert_eq!(told, expected, "{}", self.context);
        assert!(lines >= self.synced, "{}: {lines} of {} are there", self.context, self.synced);
        if let Some(place) = end {
            self.state = State { place, lines };
        }
        Ok(lines)
    }

    fn begin(&self, disk: &MemoryDisk) -> Result<(EventsFile, Arc<Positions>), Killed> {
        let rotate = RotateConfig { max_bytes: LINES_PER_FILE * line(10).len() as u64, ..RotateConfig::default() };
        let positions = Arc::new(Positions::new(true));
        let layer = Arc::new(disk.clone());
        let cleared = remove_leftovers(disk, Path::new(FOLDER));
        assert!(cleared.is_ok() || disk.is_dead(), "{}: {cleared:?}", self.context);
        let files = EventsFile::create(layer, Path::new(FOLDER), rotate, Arc::clone(&positions));
        files.map(|files| (files, positions)).map_err(|error| {
            assert!(disk.is_dead(), "{}: {error}", self.context);
            Killed
        })
    }

    fn commit(&mut self, disk: &MemoryDisk, state: State) -> Result<(), Killed> {
        if disk.is_dead() {
            return Err(Killed);
        }
        self.state = state;
        let first = FileName::parse(&self.state.place.file).expect("a place names a file of ours");
        let retain = RetainConfig { total_bytes: None, ..RetainConfig::default() };
        let tidied = tidy_before(disk, Path::new(FOLDER), &Keeping { compress: self.compression, retain }, first);
        // What fails passingly is done in the next pass.
        if tidied.is_err() && disk.is_dead() { Err(Killed) } else { Ok(()) }
    }

    /// The files hold every line once and in order, and nothing else is left.
    fn check_end(&self, disk: &MemoryDisk) {
        let (mut text, mut names) = (String::new(), BTreeSet::new());
        for path in disk.paths() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let parsed = FileName::parse(name).unwrap_or_else(|| panic!("{}: {name} is left", self.context));
            assert!(names.insert(parsed.compressed(Compression::None)), "{}: {name} is there twice", self.context);
            assert!(disk.is_synced(&path), "{}: {name}", self.context);
            text += std::str::from_utf8(&decoded(name, &disk.content(&path).unwrap())).unwrap();
        }
        assert_eq!(text, (0..LINES).map(line).collect::<String>(), "{}", self.context);
    }
}

/// Tries again, as the writer does, until it works or the disk is dead.
fn persist(disk: &MemoryDisk, mut work: impl FnMut() -> Result<(), Fault>) -> Result<(), Killed> {
    loop {
        match work() {
            Ok(()) => return Ok(()),
            Err(_) if disk.is_dead() => return Err(Killed),
            Err(Fault::Passing(_)) => {}
            Err(fault) => panic!("{fault:?}"),
        }
    }
}

/// One of the syncs of a life fails, and what it should have brought to the disk is moved.
fn fail_sync(disk: &MemoryDisk, failing: Option<usize>) {
    let mut syncs = 0;
    disk.set_plan(move |step| {
        syncs += usize::from(step == Step::Sync);
        if step == Step::Sync && Some(syncs) == failing { Err(std::io::ErrorKind::Other.into()) } else { everything(step) }
    });
}

/// The first life ends at each of its steps in turn, the second at one by chance, the third lives. Returns how many steps a
/// life has.
fn check(compression: Compression, failing_sync: Option<usize>, power_loss: Option<u64>) -> usize {
    for step in 0.. {
        let context = format!("{compression:?}, sync {failing_sync:?} fails, killed at step {step}, power {power_loss:?}");
        let mut random = fastrand::Rng::with_seed(power_loss.unwrap_or_default() + 1000 * step as u64);
        let mut world = World::new(compression, failing_sync, context);
        let mut disk = MemoryDisk::default();
        for (life, last) in [Some(step), Some(random.usize(..100)), None].into_iter().enumerate() {
            disk.set_last_step(last);
            if world.live(&disk).is_ok() {
                world.check_end(&disk);
                if life == 0 {
                    return step;
                }
                break;
            }
            // What a kill left in memory alone may still go with the power.
            let power_goes = power_loss.is_some() && random.u8(..3) > 0;
            disk = if power_goes { disk.after_power_loss(&mut random) } else { disk.after_kill() };
        }
    }
    unreachable!("a life has an end")
}

/// Those of `wanted` that this build knows.
fn compressions(wanted: &[Compression]) -> impl Iterator<Item = Compression> {
    wanted.iter().copied().filter(|compression| cfg!(feature = "compress") || *compression == Compression::None)
}

#[test]
fn whatever_step_a_kill_comes_at_each_line_is_there_once() {
    for failing_sync in [None, Some(1), Some(2), Some(3)] {
        for compression in compressions(&[Compression::None, Compression::Gzip]) {
            let steps = check(compression, failing_sync, None);
            assert!(steps > 30, "a life of {steps} steps is no life");
        }
    }
    compressions(&[Compression::Zstd]).for_each(|compression| _ = check(compression, None, None));
}

#[test]
fn whatever_step_the_power_goes_at_nothing_is_lost_that_was_synced() {
    for seed in 0..3 {
        for failing_sync in [None, Some(1), Some(2), Some(3)] {
            check(Compression::None, failing_sync, Some(seed));
        }
        compressions(&[Compression::Gzip]).for_each(|compression| _ = check(compression, None, Some(seed)));
    }
}
