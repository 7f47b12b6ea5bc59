//! What is left of a journal when its process, its disk or the power fails at any byte.

use super::frames::{FILE_HEAD_BYTES, FrameFile};
use super::journal::{Batch, JOURNAL_FILE, Journal, MAGIC};
use super::sim_disk::{Image, SimDisk};
use super::testing::identity;
use super::{Handed, Record, StateError, reset};
use crate::api::{Change, ToldId, WatchId};
use fastrand::Rng;
use redb::StorageBackend;
use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::tempdir;

fn watch() -> WatchId {
    WatchId::from_bits(0x00c0_ffee)
}

/// The records that [`batch`] makes of these numbers, as texts.
fn texts(sequences: impl IntoIterator<Item = u64>) -> Vec<String> {
    sequences.into_iter().flat_map(|sequence| [format!("emitted {sequence}"), format!("accepted {sequence}")]).collect()
}

/// Not every event has one.
fn hash(sequence: u64) -> Option<u64> {
    (!sequence.is_multiple_of(3)).then_some(!sequence)
}

/// An event that has this number, and that it was accepted.
fn add(batch: &mut Batch, sequence: u64) {
    let told = ToldId::new("uid", &(sequence + 1).to_string(), sequence % 2 == 1);
    let change = match sequence % 2 {
        0 => Change::Known(identity("default", &format!("name-{sequence}"), 7, 40)),
        _ => Change::Gone(format!("default\0name-{sequence}").into()),
    };
    let (told, change, receivers, flags, metadata_hash) =
        (told.as_text(), &change, 1 << (sequence % 64), sequence as u8, hash(sequence));
    batch.emitted(Handed { watch: watch(), sequence, told, change, receivers, flags, metadata_hash });
    batch.accepted(watch(), sequence, (sequence % 64) as u8);
}

fn append(journal: &Journal, sequences: impl IntoIterator<Item = u64>) {
    let mut batch = Batch::default();
    sequences.into_iter().for_each(|sequence| add(&mut batch, sequence));
    journal.append(&mut batch).unwrap();
}

/// The record in a word; checks that it is what [`add`] wrote.
fn text(record: Record) -> String {
    match record {
        Record::Receivers(names) => format!("receivers {}", names.join(" ")),
        Record::Accepted { watch: of, sequence, receiver } => {
            assert_eq!((of, receiver), (watch(), (sequence % 64) as u8));
            format!("accepted {sequence}")
        }
        Record::Emitted { watch: of, sequence, told, change, receivers, flags, metadata_hash } => {
            assert_eq!((of, receivers, flags), (watch(), 1 << (sequence % 64), sequence as u8));
            assert_eq!(metadata_hash, hash(sequence));
            assert_eq!(told, ToldId::new("uid", &(sequence + 1).to_string(), sequence % 2 == 1));
            let key = match &change {
                Change::Known(identity) => identity.key(),
                Change::Gone(key) => key,
                Change::Told(_) | Change::Replayed(_) => panic!("{change:?}"),
            };
            assert_eq!((key, matches!(change, Change::Known(_))), (&*format!("default\0name-{sequence}"), sequence % 2 == 0));
            format!("emitted {sequence}")
        }
    }
}

fn open(folder: &Path) -> (Journal, Vec<String>) {
    let mut found = Vec::new();
    let journal = Journal::open(folder, |record| found.push(text(record))).unwrap();
    (journal, found)
}

/// What is found in a file with these bytes.
fn found_in(bytes: &[u8]) -> Result<Vec<String>, StateError> {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(JOURNAL_FILE), bytes).unwrap();
    let mut found = Vec::new();
    Journal::open(folder.path(), |record| found.push(text(record))).map(|_| found)
}

#[test]
fn what_was_appended_is_read_back_in_order_however_often_it_is_opened() {
    let folder = tempdir().unwrap();
    for n in 0..3 {
        let (journal, found) = open(folder.path());
        assert_eq!(found, texts(0..n * 10));
        append(&journal, n * 10..n * 10 + 4);
        append(&journal, n * 10 + 4..n * 10 + 10);
    }
    let mode = fs::metadata(folder.path().join(JOURNAL_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "labels are nobody else's business");
}

#[test]
fn a_journal_cut_at_any_byte_keeps_every_whole_batch_and_takes_more() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let path = folder.path().join(JOURNAL_FILE);
    let mut ends = vec![fs::metadata(&path).unwrap().len() as usize];
    for sequences in [0..1, 1..3, 3..6] {
        append(&journal, sequences);
        ends.push(fs::metadata(&path).unwrap().len() as usize);
    }
    let (bytes, lasts) = (fs::read(&path).unwrap(), [0, 1, 3, 6]);
    for cut in FILE_HEAD_BYTES..=bytes.len() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join(JOURNAL_FILE), &bytes[..cut]).unwrap();
        let whole = lasts[ends.iter().rposition(|end| *end <= cut).unwrap()];
        let (journal, found) = open(folder.path());
        assert_eq!(found, texts(0..whole), "cut at {cut}");
        append(&journal, [40]);
        drop(journal);
        assert_eq!(open(folder.path()).1, texts((0..whole).chain([40])), "cut at {cut}, and appended to");
    }
    for cut in 0..FILE_HEAD_BYTES {
        assert!(matches!(found_in(&bytes[..cut]), Err(StateError::Damaged { .. })), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_what_comes_after_it_and_is_never_taken_for_a_record() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    (0..6).for_each(|n| append(&journal, [n]));
    let bytes = fs::read(folder.path().join(JOURNAL_FILE)).unwrap();
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        match found_in(&flipped) {
            Ok(found) => {
                assert!(
                    place >= FILE_HEAD_BYTES && found.len() < 12 && texts(0..6).starts_with(&found),
                    "byte {place}: {found:?}"
                );
            }
            Err(StateError::Damaged { .. } | StateError::Format { .. }) => assert!(place < FILE_HEAD_BYTES, "byte {place}"),
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
}

#[test]
fn a_power_failure_leaves_the_first_batches_and_nothing_else() {
    let mut rng = Rng::with_seed(4);
    for _ in 0..20 {
        let disk = SimDisk::default();
        let journal = Journal::of(FrameFile::begin(Arc::new(disk.clone()), JOURNAL_FILE.as_ref(), MAGIC).unwrap());
        let mut image = Image::new(disk.bytes());
        let begin = disk.steps();
        for n in 0..8 {
            append(&journal, n * 4..n * 4 + 4);
        }
        for (n, step) in disk.history().iter().enumerate().skip(begin) {
            image.step(step);
            let done = texts(0..(n - begin + 1) as u64 * 4);
            assert_eq!(found_in(&image.killed()).unwrap(), done, "killed after write {n}");
            let found = found_in(&image.unpowered(&mut rng)).unwrap();
            assert!(found.len().is_multiple_of(8) && done.starts_with(&found), "power lost after write {n}: {found:?}");
        }
    }
}

/// Storage with room for so many bytes; the write that is too long for it is done in part, as on a full disk.
#[derive(Debug)]
struct FullDisk {
    disk: SimDisk,
    room: AtomicU64,
    /// It takes no cutting either.
    is_stubborn: bool,
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(&self.disk)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.is_stubborn && self.room.load(Ordering::Relaxed) != u64::MAX {
            return Err(io::Error::other("Input/output error"));
        }
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::Relaxed).saturating_sub(offset);
        if room >= bytes.len() as u64 {
            return self.disk.write(offset, bytes);
        }
        self.disk.write(offset, &bytes[..room as usize])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_costs_no_record_and_leaves_no_half_one_however_much_of_a_write_it_took() {
    for is_stubborn in [false, true] {
        for room in (FILE_HEAD_BYTES as u64..600).step_by(if is_stubborn { 7 } else { 5 }) {
            let full = Arc::new(FullDisk { disk: SimDisk::default(), room: AtomicU64::new(room), is_stubborn });
            let journal = Journal::of(FrameFile::begin(full.clone(), JOURNAL_FILE.as_ref(), MAGIC).unwrap());
            let mut batch = Batch::default();
            let mut appended = 0;
            let error = loop {
                add(&mut batch, appended);
                match journal.append(&mut batch) {
                    Ok(()) => appended += 1,
                    Err(error) => break error,
                }
            };
            assert!(error.may_pass() && !batch.is_empty(), "{error}");
            assert!(journal.append(&mut batch).is_err(), "still full");
            assert_eq!(found_in(&full.disk.bytes()).unwrap(), texts(0..appended), "room for {room}");
            full.room.store(u64::MAX, Ordering::Relaxed);
            // Shorter than what failed: nothing of that may come after it.
            let mut short = Batch::default();
            short.accepted(watch(), 1, 1);
            journal.append(&mut short).unwrap();
            journal.append(&mut batch).unwrap();
            let mut expected = texts(0..appended);
            expected.push("accepted 1".to_owned());
            expected.extend(texts([appended]));
            assert_eq!(found_in(&full.disk.bytes()).unwrap(), expected, "room for {room}");
        }
    }
}

#[test]
fn bytes_of_a_payload_are_never_taken_for_a_frame() {
    // A whole frame as a name, at the place where a cut-off frame would make it the next one.
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    append(&journal, [0]);
    let bytes = fs::read(folder.path().join(JOURNAL_FILE)).unwrap();
    let mut moved = bytes.clone();
    moved.extend_from_slice(&bytes[FILE_HEAD_BYTES..]);
    assert_eq!(found_in(&moved).unwrap(), texts([0]), "a frame counts only where it was written");
    let other = tempdir().unwrap();
    let (journal, _) = open(other.path());
    append(&journal, [0]);
    let mut mixed = fs::read(other.path().join(JOURNAL_FILE)).unwrap()[..FILE_HEAD_BYTES].to_vec();
    mixed.extend_from_slice(&bytes[FILE_HEAD_BYTES..]);
    assert_eq!(found_in(&mixed).unwrap(), texts([]), "a frame counts only in its file");
}

#[test]
fn compacted_it_holds_what_counts_and_who_receives_and_what_came_meanwhile() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let mut batch = Batch::default();
    for names in [["a", "b"], ["a", "c"]] {
        batch.receivers(names);
        journal.append(&mut batch).unwrap();
    }
    append(&journal, 0..100);
    batch.receivers(["d"]);
    journal.append(&mut batch).unwrap();
    let meanwhile = Cell::new(100);
    journal
        .compact(|of, sequence| {
            assert_eq!(of, watch());
            if meanwhile.get() < 103 {
                append(&journal, [meanwhile.get()]);
                meanwhile.set(meanwhile.get() + 1);
            }
            sequence >= 98
        })
        .unwrap();
    append(&journal, [103]);
    drop(journal);
    let mut expected = vec!["receivers a c".to_owned()];
    expected.extend(texts(98..100));
    expected.push("receivers d".to_owned());
    expected.extend(texts(100..104));
    let (journal, found) = open(folder.path());
    assert_eq!(found, expected);
    journal.compact(|_, _| false).unwrap();
    assert_eq!(open(folder.path()).1, ["receivers d"]);
}

#[test]
fn compacting_is_due_at_eight_mebibytes_and_then_at_twice_what_was_left() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let path = folder.path().join(JOURNAL_FILE);
    let mut sequence = 0;
    let mut grow = || {
        while !journal.is_long() {
            append(&journal, sequence..sequence + 1000);
            sequence += 1000;
        }
        fs::metadata(&path).unwrap().len()
    };
    let slack = 256 * 1024;
    let first = grow();
    assert!((8 << 20..(8 << 20) + slack).contains(&first), "{first}");
    journal.compact(|_, _| true).unwrap();
    let second = grow();
    assert!((2 * first..2 * first + slack).contains(&second), "{second}, and {first} before");
    journal.compact(|_, _| false).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1024 && !journal.is_long());
}

#[test]
fn a_journal_that_was_removed_with_its_folder_is_made_again_with_every_record() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("state");
    fs::create_dir(&folder).unwrap();
    let (journal, _) = open(&folder);
    append(&journal, 1..=3);
    journal.restore().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    append(&journal, 4..=4);
    assert!(journal.restore().is_err(), "without its folder");
    fs::create_dir(&folder).unwrap();
    journal.restore().unwrap();
    append(&journal, 5..=5);
    drop(journal);
    assert_eq!(open(&folder).1, texts(1..=5));
}

#[test]
fn a_crash_while_it_is_compacted_leaves_the_journal_as_it_was() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    append(&journal, 0..3);
    drop(journal);
    let leftover = folder.path().join("journal.log.new");
    fs::write(&leftover, b"half a file").unwrap();
    assert_eq!(open(folder.path()).1, texts(0..3));
    assert!(!leftover.exists());
}

#[test]
fn a_journal_that_cannot_be_compacted_goes_on() {
    let folder = tempdir().unwrap();
    let (journal, _) = open(folder.path());
    append(&journal, 0..3);
    // A folder where the new file would be.
    fs::create_dir(folder.path().join("journal.log.new")).unwrap();
    let error = journal.compact(|_, _| false).unwrap_err();
    assert!(error.may_pass(), "{error}");
    append(&journal, 3..4);
    drop(journal);
    fs::remove_dir(folder.path().join("journal.log.new")).unwrap();
    assert_eq!(open(folder.path()).1, texts(0..4));
}

#[test]
fn a_journal_of_another_format_or_of_something_else_is_refused_with_its_cure() {
    let folder = tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join(JOURNAL_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = b'9';
    let error = found_in(&bytes).unwrap_err();
    assert!(matches!(&error, StateError::Format { found, .. } if found == "09") && !error.may_pass(), "{error}");
    let error = found_in(b"something that somebody else has written").unwrap_err();
    assert!(error.to_string().contains("journal.log is damaged (it is not faro's)"), "{error}");
    reset(folder.path()).unwrap();
    assert!(!path.exists(), "--reset-state is the cure");
}
