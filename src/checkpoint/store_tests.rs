//! The state as its user sees it: folders, locks, files, and what is read back.

use super::lock::FORK_LIMIT;
use super::testing::{Model, held, identity};
use super::*;
use crate::api::{Change, FilePosition, HISTORY_FIRST, ResourceVersion, ToldId, WatchId};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

fn watch(id: u64, changes: Vec<Change>) -> WatchCommit {
    let version = ResourceVersion::new("7");
    let (id, target, anchor, history) = (WatchId::from_bits(id), "v1/pods".to_owned(), None, HISTORY_FIRST);
    WatchCommit { id, target, version, listing: false, anchor, history, sequence: 12, changes, clear_told: false }
}

fn commit(watches: Vec<WatchCommit>) -> Commit {
    Commit { cluster: None, position: None, watches }
}

#[test]
fn a_state_is_new_until_the_first_commit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("made/here");
    for _ in 0..2 {
        let store = StateStore::open(&path).unwrap();
        assert!(store.is_new());
        assert_eq!(held(&store), Model::default());
    }
    let mut store = StateStore::open(&path).unwrap();
    let position = Some(FilePosition { file: "events-1.json".to_owned(), offset: 7 });
    store.commit(&Commit { position: position.clone(), ..Commit::default() }).unwrap();
    assert!(!store.is_new());
    drop(store);
    let store = StateStore::open(&path).unwrap();
    assert!(!store.is_new());
    assert_eq!(store.position().unwrap(), position);
}

#[test]
fn a_watch_says_what_it_was_and_when_it_was_last_committed() {
    let folder = TempDir::new().unwrap();
    let mut store = StateStore::open(folder.path()).unwrap();
    let before = SystemTime::now() - Duration::from_secs(2);
    store.commit(&commit(vec![WatchCommit { listing: true, version: None, ..watch(0xc0_ffee, Vec::new()) }])).unwrap();
    let [stored] = &store.watches().unwrap()[..] else { panic!("one watch was committed") };
    let (id, target) = (WatchId::from_text("0000000000c0ffee").unwrap(), "v1/pods".to_owned());
    assert!(stored.seen > before && stored.seen <= SystemTime::now());
    assert_eq!(
        stored,
        &StoredWatch {
            id,
            target,
            version: None,
            listing: true,
            anchor: None,
            history: HISTORY_FIRST,
            sequence: 12,
            seen: stored.seen
        }
    );
}

#[test]
fn what_was_forgotten_does_not_come_back_with_the_same_watch() {
    let folder = TempDir::new().unwrap();
    let mut store = StateStore::open(folder.path()).unwrap();
    let told = Change::Told(ToldId::new("u", "7", false));
    let changes = vec![Change::Known(identity("n", "a", 7, 0)), told];
    store.commit(&commit(vec![watch(1, changes.clone()), watch(2, changes)])).unwrap();
    store.forget(WatchId::from_bits(1)).unwrap();
    store.commit(&commit(vec![watch(1, Vec::new())])).unwrap();
    drop(store);
    let store = StateStore::open(folder.path()).unwrap();
    let sizes = [1, 2].map(|id| {
        let progress = store.load(WatchId::from_bits(id)).unwrap().unwrap();
        (progress.known.len(), progress.told.len())
    });
    assert_eq!(sizes, [(0, 0), (1, 1)]);
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let folder = TempDir::new().unwrap();
    let store = StateStore::open(folder.path()).unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for attempt in [|folder: &Path| StateStore::open(folder).err(), |folder: &Path| reset(folder).err()] {
        let begin = Instant::now();
        let error = attempt(folder.path());
        assert!(begin.elapsed() >= FORK_LIMIT, "its own lock may be a child's that is about to let go of it");
        let text = error.unwrap().to_string();
        let start = format!("state folder {} is in use by faro on {}", folder.path().display(), host.trim());
        assert!(text.starts_with(&format!("{start}, pid {}, since 2", std::process::id())), "{text}");
        assert!(text.ends_with("Z; stop it, or give this one its own state.dir"), "{text}");
    }
    // One who has the lock and has not yet said who it is.
    File::create(folder.path().join("lock")).unwrap();
    let text = StateStore::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("in use by another process that has not yet said who it is;"), "{text}");
    drop(store);
    StateStore::open(folder.path()).unwrap();
}

/// A state of one object in a folder, to be removed.
fn state_in(folder: &Path) -> StateStore {
    let mut store = StateStore::open(folder).unwrap();
    store.commit(&commit(vec![watch(1, vec![Change::Known(identity("n", "a", 7, 0))])])).unwrap();
    store
}

#[test]
fn a_state_that_is_removed_while_it_is_open_is_noticed_and_made_again_with_all_that_was_committed() {
    for (what, remove) in [
        ("all", (|folder| fs::remove_dir_all(folder.parent().unwrap()).unwrap()) as fn(&Path)),
        ("moved", |folder| fs::rename(folder, folder.with_extension("moved")).unwrap()),
        ("file", |folder| fs::remove_file(folder.join("state.redb")).unwrap()),
        ("lock", |folder| fs::remove_file(folder.join("lock")).unwrap()),
    ] {
        let parent = TempDir::new().unwrap();
        let folder = parent.path().join("a/state");
        let mut store = state_in(&folder);
        store.check().unwrap();
        remove(&folder);
        assert!(matches!(store.check(), Err(StateError::Removed { .. })), "{what}");
        let next = commit(vec![watch(2, vec![Change::Known(identity("n", "b", 8, 0))])]);
        let error = store.commit(&next).unwrap_err();
        assert!(matches!(error, StateError::Removed { .. }) && error.may_pass(), "{what}: {error}");
        store.commit(&next).unwrap();
        store.check().unwrap();
        let model = held(&store);
        assert_eq!(model.watches.len(), 2, "{what}");
        let error = StateStore::open(&folder).unwrap_err();
        assert!(matches!(error, StateError::InUse { .. }), "{what}: {error}");
        drop(store);
        assert_eq!(held(&StateStore::open(&folder).unwrap()), model, "{what}");
    }
}

#[test]
fn a_state_that_cannot_be_made_again_waits_until_it_can() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("a/state");
    let mut store = state_in(&folder);
    let model = held(&store);
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    fs::write(folder.parent().unwrap(), "a file in the place of the folder").unwrap();
    for _ in 0..3 {
        assert!(store.commit(&Commit::default()).unwrap_err().may_pass());
    }
    fs::remove_file(folder.parent().unwrap()).unwrap();
    store.commit(&Commit::default()).unwrap();
    assert_eq!(held(&store), model);
}

#[test]
fn two_processes_never_have_one_folder_also_when_it_was_removed_under_the_first() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("state");
    let mut first = state_in(&folder);
    fs::remove_dir_all(&folder).unwrap();
    let mut second = StateStore::open(&folder).unwrap();
    assert!(second.is_new());
    assert!(first.commit(&Commit::default()).unwrap_err().may_pass());
    let error = first.commit(&Commit::default()).unwrap_err();
    assert!(matches!(error, StateError::InUse { .. }) && !error.may_pass(), "{error}");
    second.commit(&commit(vec![watch(3, Vec::new())])).unwrap();
    assert_eq!(second.watches().unwrap().len(), 1);
    // Only the lock was removed: the file is the same, and its second user is refused by the first one's hold of it.
    let folder = parent.path().join("other");
    let mut first = state_in(&folder);
    fs::remove_file(folder.join("lock")).unwrap();
    assert!(StateStore::open(&folder).is_err());
    assert!(first.commit(&Commit::default()).is_err());
    first.commit(&Commit::default()).unwrap();
}

#[test]
fn another_file_in_the_place_of_the_state_ends_its_use_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let mut store = state_in(folder.path());
    fs::rename(folder.path().join("state.redb"), folder.path().join("copy")).unwrap();
    fs::copy(folder.path().join("copy"), folder.path().join("state.redb")).unwrap();
    let before = fs::read(folder.path().join("state.redb")).unwrap();
    for _ in 0..2 {
        let error = store.commit(&commit(vec![watch(2, Vec::new())])).unwrap_err();
        assert!(matches!(error, StateError::Replaced { .. }) && !error.may_pass(), "{error}");
    }
    assert_eq!(fs::read(folder.path().join("state.redb")).unwrap(), before);
    drop(store);
    assert_eq!(StateStore::open(folder.path()).unwrap().watches().unwrap().len(), 1);
}

#[test]
fn a_reset_leaves_nothing_of_the_state_and_nothing_else_touched() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    fs::write(folder.path().join("state.redb.new"), "half made").unwrap();
    let mut store = StateStore::open(folder.path()).unwrap();
    store.commit(&commit(vec![watch(1, vec![Change::Known(identity("n", "a", 7, 0))])])).unwrap();
    drop(store);
    reset(folder.path()).unwrap();
    reset(folder.path()).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "notes"]);
    assert!(StateStore::open(folder.path()).unwrap().is_new());
}

#[test]
fn nobody_else_can_read_the_state() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("state");
    drop(StateStore::open(&folder).unwrap());
    for (path, expected) in [("", 0o700), ("lock", 0o600), ("state.redb", 0o600)] {
        let mode = fs::metadata(folder.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{path:?}");
    }
}

#[test]
fn a_file_that_is_no_state_of_ours_is_an_error_with_a_way_out() {
    check_refused("it is empty", |_| Vec::new());
    check_refused("Not a redb database", |_| b"not a database, but long enough to be one".to_vec());
    check_refused("is damaged", |bytes| bytes[..bytes.len() / 2].to_vec());
    check_refused("is damaged", |bytes| [bytes, &[0; 512]].concat());
}

fn check_refused(reason: &str, spoil: impl FnOnce(&[u8]) -> Vec<u8>) {
    let folder = TempDir::new().unwrap();
    drop(StateStore::open(folder.path()).unwrap());
    let path = folder.path().join("state.redb");
    let spoilt = spoil(&fs::read(&path).unwrap());
    fs::write(&path, &spoilt).unwrap();
    let text = StateStore::open(folder.path()).unwrap_err().to_string();
    let way_out = "start with --reset-state, which forgets what was told and tells everything anew";
    assert!(text.contains(&path.display().to_string()) && text.contains(reason) && text.ends_with(way_out), "{text}");
    assert_eq!(fs::read(&path).unwrap(), spoilt, "what cannot be read is left as it is");
}

#[test]
fn another_format_is_not_taken_for_damage() {
    let folder = TempDir::new().unwrap();
    drop(StateStore::open(folder.path()).unwrap());
    // Format 1 is that of 0.1.0: its watches have other ids, so that nothing in it would be found again.
    for other in ["1", "3"] {
        write_row(folder.path(), "format", other);
        let error = StateStore::open(folder.path()).unwrap_err();
        let cure = format!(
            "is of format {other}, and this faro knows format 2: run the faro that wrote it, or start with --reset-state"
        );
        assert!(error.to_string().contains(&cure) && !error.may_pass(), "{error}");
    }
    write_row(folder.path(), "program", "other");
    let text = StateStore::open(folder.path()).unwrap_err().to_string();
    assert!(text.contains("is damaged (it is not faro's)"), "{text}");
}

fn write_row(folder: &Path, key: &str, value: &str) {
    let redb = redb::Database::open(folder.join("state.redb")).unwrap();
    let transaction = redb.begin_write().unwrap();
    transaction.open_table(super::rows::STATE).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}
