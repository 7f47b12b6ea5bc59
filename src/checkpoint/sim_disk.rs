//! Storage in memory that fails where a test says so, and tells what it would hold had it been killed or lost its power.

use fastrand::Rng;
use redb::StorageBackend;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

/// One disk with one file. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    history: Vec<Step>,
    /// How many operations came, reads too.
    operations: usize,
    fails_at: Option<usize>,
}

/// What changed the disk.
#[derive(Clone, Debug)]
pub(super) enum Step {
    SetLen(usize),
    Write(usize, Vec<u8>),
    Sync,
}

/// What a disk holds at some step of its history.
#[derive(Clone, Debug)]
pub(super) struct Image {
    synced: Vec<u8>,
    unsynced: Vec<Step>,
}

/// Disks write whole sectors.
const SECTOR_BYTES: usize = 512;

impl SimDisk {
    /// A disk whose file holds `bytes`.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk { bytes, ..Disk::default() })))
    }

    /// Lets the `n`th operation from here fail, and no other.
    pub(super) fn fail_at(&self, n: Option<usize>) {
        self.with(|disk| (disk.operations, disk.fails_at) = (0, n));
    }

    /// How many operations came since [`fail_at`](Self::fail_at).
    pub(super) fn operations(&self) -> usize {
        self.with(|disk| disk.operations)
    }

    /// What the file holds.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with(|disk| disk.bytes.clone())
    }

    /// What changed the file so far.
    pub(super) fn history(&self) -> Vec<Step> {
        self.with(|disk| disk.history.clone())
    }

    /// How long the history is.
    pub(super) fn steps(&self) -> usize {
        self.with(|disk| disk.history.len())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.lock().expect("no test panics while it holds the disk"))
    }

    fn operate<T>(&self, f: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        self.with(|disk| {
            disk.operations += 1;
            if disk.fails_at == Some(disk.operations) { Err(io::ErrorKind::StorageFull.into()) } else { f(disk) }
        })
    }

    fn step(&self, step: io::Result<Step>) -> io::Result<()> {
        self.operate(|disk| {
            let step = step?;
            step.apply(&mut disk.bytes);
            disk.history.push(step);
            Ok(())
        })
    }
}

impl Image {
    /// A disk that holds `bytes`, all of them synced.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { synced: bytes, unsynced: Vec::new() }
    }

    /// Takes the next step of the history.
    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Sync => {
                for step in self.unsynced.drain(..) {
                    step.apply(&mut self.synced);
                }
            }
            Step::SetLen(_) | Step::Write(..) => self.unsynced.push(step.clone()),
        }
    }

    /// What is found when the process is killed here.
    pub(super) fn killed(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.unsynced.iter().for_each(|step| step.apply(&mut bytes));
        bytes
    }

    /// What may be found when the power fails here: what was synced, and any part of what was written since.
    pub(super) fn unpowered(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let kept = rng.u8(0..=4);
        for step in &self.unsynced {
            if rng.u8(0..4) < kept {
                keep_part(&mut bytes, step, rng);
            }
        }
        bytes
    }
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => {
                // The step that made the file longer may be one that the power failure took.
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
            Self::Sync => {}
        }
    }
}

/// Sectors of one write reach the disk in any order, or not at all.
fn keep_part(bytes: &mut Vec<u8>, step: &Step, rng: &mut Rng) {
    let Step::Write(offset, data) = step else { return step.apply(bytes) };
    let whole = rng.bool();
    for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
        if whole || rng.bool() {
            Step::Write(offset + n * SECTOR_BYTES, sector.to_vec()).apply(bytes);
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} bytes)", self.bytes.len())
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|disk| disk.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.operate(|disk| {
            let bytes = disk.bytes.get(place(offset)?..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(place(len).map(Step::SetLen))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Ok(Step::Sync))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(place(offset).map(|offset| Step::Write(offset, data.to_vec())))
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
