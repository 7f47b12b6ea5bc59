//! What a subscription is owed, through crashes, full disks and more than there is room for.

use super::*;
use crate::checkpoint::frames::FRAME_HEAD_BYTES;
use crate::checkpoint::{Journal, reset};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;
use tempfile::tempdir;

const NAME: &str = "my_app::Handler";
/// More than any of these tests pushes.
const NO_LIMIT: u64 = u64::MAX;

fn watch() -> WatchId {
    WatchId::from_bits(0xc0ff_ee00_c0ff_ee00)
}

/// An event whose object is `text`; `D` at its begin makes it a delete, and what stands before a `/` is the uid.
fn event<'a>(key: &'a str, text: &'a str) -> OwedEvent<'a> {
    let received = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let uid = text.trim_start_matches('D').split('/').next().unwrap();
    OwedEvent { watch: watch(), key, uid, is_deleted: text.starts_with('D'), flags: 5, received, raw: text.as_bytes() }
}

fn push(owed: &Owed, key: &str, text: &str) {
    assert_eq!(owed.push(&event(key, text), NO_LIMIT).unwrap(), []);
}

/// Takes all that is owed of an object.
fn drain(owed: &Owed, key: &str) -> Vec<String> {
    let mut drained = Vec::new();
    let mut buffer = Vec::new();
    while let Some(front) = owed.front(watch(), key, &mut buffer).unwrap() {
        let text = String::from_utf8(front.raw.to_vec()).unwrap();
        assert_eq!(front, event(key, &text));
        drained.push(text);
        owed.pop(watch(), key).unwrap();
    }
    drained
}

/// What is owed, object by object, without taking it.
fn held(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let copy = tempdir().unwrap();
    for file in files_in(folder).unwrap() {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let owed = Spill::open(copy.path()).unwrap().of(NAME);
    let objects = owed.objects();
    objects.iter().map(|(_, key, _)| (key.to_string(), drain(&owed, key))).collect()
}

fn file_of(folder: &Path) -> PathBuf {
    folder.join(file_name(NAME))
}

#[test]
fn each_object_gets_its_events_in_order_also_after_restarts() {
    let folder = tempdir().unwrap();
    for n in 0..3 {
        let spill = Spill::open(folder.path()).unwrap();
        let owed = spill.of(NAME);
        push(&owed, "a", &format!("u/a{n}"));
        push(&owed, "b", &format!("u/b{n}"));
        assert_eq!((owed.name(), owed.events(), owed.events_of(watch(), "a")), (NAME, 2 * (n + 1), n + 1));
        owed.sync().unwrap();
    }
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    let mut buffer = Vec::new();
    owed.pop(watch(), "a").unwrap();
    let front = owed.front(watch(), "a", &mut buffer).unwrap();
    assert_eq!(front, Some(event("a", "u/a1")));
    drop(owed);
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    assert_eq!(
        (drain(&owed, "a"), drain(&owed, "b")),
        (vec!["u/a1".into(), "u/a2".into()], vec!["u/b0".into(), "u/b1".into(), "u/b2".into()])
    );
    assert_eq!((owed.events(), owed.bytes(), owed.objects().len()), (0, 0, 0));
    assert!(fs::metadata(file_of(folder.path())).unwrap().len() < 100, "nothing is left of what is done");
    assert_eq!(held(folder.path()), BTreeMap::new());
}

#[test]
fn subscriptions_have_files_of_their_own_that_nobody_else_may_read() {
    let folder = tempdir().unwrap();
    let spill = Spill::open(folder.path()).unwrap();
    let names = ["../../etc/passwd", "a b", "a_b", "ä", "", &"x".repeat(300)];
    for name in names {
        push(&spill.of(name), "k", &format!("u/{name}"));
    }
    drop(spill);
    let files = files_in(folder.path()).unwrap();
    assert_eq!(files.len(), names.len());
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        assert!(file.file_name().unwrap().len() < 200);
    }
    let spill = Spill::open(folder.path()).unwrap();
    let mut found = spill.names();
    found.sort_unstable();
    let mut expected = names.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(found, expected);
    for name in names {
        assert_eq!(drain(&spill.of(name), "k"), [format!("u/{name}")]);
    }
    push(&spill.of("a b"), "k", "u/1");
    spill.remove("a b").unwrap();
    spill.remove("nobody").unwrap();
    assert!(!Spill::open(folder.path()).unwrap().names().contains(&"a b".to_owned()));
}

#[test]
fn a_file_cut_at_any_byte_owes_what_was_whole_and_takes_more() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    let mut images = Vec::new();
    let mut image = || images.push((fs::metadata(file_of(folder.path())).unwrap().len() as usize, held(folder.path())));
    for text in ["u/1", "u/2", "Du/3", "v/4"] {
        push(&owed, "a", text);
        push(&owed, "b", text);
        image();
    }
    owed.pop(watch(), "a").unwrap();
    image();
    push(&owed, "a", "v/5");
    image();
    let bytes = fs::read(file_of(folder.path())).unwrap();
    for cut in images[0].0..=bytes.len() {
        let other = tempdir().unwrap();
        fs::write(file_of(other.path()), &bytes[..cut]).unwrap();
        let last = images.iter().rposition(|(end, _)| *end <= cut).unwrap();
        let found = held(other.path());
        // Two events were pushed for most of the images.
        let between: Vec<_> = images[last..images.len().min(last + 2)].iter().map(|(_, held)| held).collect();
        assert!(
            between.contains(&&found) || found["a"] != found["b"] && found["b"] == between[0]["b"],
            "cut at {cut}: {found:?}"
        );
        let owed = Spill::open(other.path()).unwrap().of(NAME);
        push(&owed, "a", "w/9");
        drop(owed);
        assert_eq!(held(other.path())["a"].last().unwrap(), "w/9", "cut at {cut}");
    }
}

#[test]
fn beyond_its_bytes_the_middle_states_of_whoever_has_most_are_skipped_and_said() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    push(&owed, "b", "u/1");
    push(&owed, "b", "u/2");
    push(&owed, "b", "u/3");
    for n in 0..20 {
        push(&owed, "a", &format!("u/{n}"));
    }
    let limit = owed.bytes();
    let skipped = owed.push(&event("b", "u/4"), limit).unwrap();
    assert_eq!(skipped, [Skipped { watch: watch(), key: "a".into(), events: 18 }], "those of the object that has most");
    assert!(owed.bytes() < limit);
    owed.sync().unwrap();
    assert_eq!(held(folder.path())["a"], ["u/0", "u/19"]);
    assert_eq!(held(folder.path())["b"], ["u/1", "u/2", "u/3", "u/4"]);
    let skipped = owed.push(&event("a", "u/20"), 0).unwrap();
    assert_eq!(skipped.iter().map(|skipped| (&*skipped.key, skipped.events)).collect::<Vec<_>>(), [("b", 2), ("a", 1)]);
    assert_eq!(owed.push(&event("c", "u/1"), 0).unwrap(), [], "what is left is never skipped");
    assert_eq!((drain(&owed, "a"), drain(&owed, "b")), (vec!["u/0".into(), "u/20".into()], vec!["u/1".into(), "u/4".into()]));
}

#[test]
fn the_latest_state_and_the_delete_of_what_the_receiver_may_know_are_never_skipped() {
    let check = |pushed: &[&str], expected: &[&str]| {
        let folder = tempdir().unwrap();
        let owed = Spill::open(folder.path()).unwrap().of(NAME);
        for text in pushed {
            owed.push(&event("a", text), 0).unwrap();
        }
        assert_eq!(drain(&owed, "a"), expected, "of {pushed:?}");
    };
    check(&["u/1"], &["u/1"]);
    check(&["u/1", "u/2"], &["u/1", "u/2"]);
    check(&["u/1", "u/2", "u/3"], &["u/1", "u/3"]);
    check(&["u/1", "u/2", "Du/3"], &["u/1", "Du/3"]);
    check(&["u/1", "u/2", "Du/3", "v/4"], &["u/1", "Du/3", "v/4"]);
    check(&["u/1", "Du/2", "v/3", "Dv/4", "w/5", "w/6"], &["u/1", "Du/2", "w/6"]);
    check(&["Du/1", "v/2", "v/3"], &["Du/1", "v/3"]);
    check(&["Du/1", "v/2", "Dv/3", "w/4"], &["Du/1", "w/4"]);
}

#[test]
fn once_the_first_is_done_the_delete_of_the_next_is_kept() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    for text in ["u/1", "Du/2", "v/3", "v/4", "Dv/5", "w/6"] {
        push(&owed, "a", text);
    }
    owed.pop(watch(), "a").unwrap();
    owed.pop(watch(), "a").unwrap();
    owed.push(&event("a", "w/7"), 0).unwrap();
    assert_eq!(drain(&owed, "a"), ["v/3", "Dv/5", "w/7"]);
}

#[test]
fn the_file_stays_in_proportion_to_what_is_owed() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    let object = format!("u/{}", "x".repeat(10_000));
    push(&owed, "stuck", &object);
    let mut expected = VecDeque::new();
    for n in 0..2_000 {
        let text = format!("{object}{n}");
        push(&owed, "moving", &text);
        expected.push_back(text);
        if expected.len() > 50 {
            owed.pop(watch(), "moving").unwrap();
            expected.pop_front();
        }
        let (length, live) = (fs::metadata(file_of(folder.path())).unwrap().len(), owed.bytes());
        assert!(length <= 2 * live.max(SLACK_BYTES) + 20_000, "{length} for {live}");
    }
    drop(owed);
    let held = held(folder.path());
    assert_eq!((&held["stuck"], &held["moving"]), (&vec![object], &expected.into()));
}

#[test]
fn what_was_removed_with_its_folder_is_made_again_with_all_that_is_owed() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("state");
    fs::create_dir(&folder).unwrap();
    let spill = Spill::open(&folder).unwrap();
    push(&spill.of(NAME), "a", "1");
    push(&spill.of("two"), "b", "2");
    _ = spill.of("nothing owed");
    let owed = held(&folder);
    spill.restore().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(spill.restore().is_err(), "without its folder");
    fs::create_dir(&folder).unwrap();
    spill.restore().unwrap();
    assert_eq!(held(&folder), owed);
    push(&spill.of(NAME), "a", "3");
    assert_eq!((held(&folder)["a"].len(), files_in(&folder).unwrap().len()), (2, 2));
}

#[test]
fn a_disk_that_takes_nothing_costs_no_event_that_was_taken_before() {
    let folder = tempdir().unwrap();
    let spill = Spill::open(&folder.path().join("gone")).unwrap_err();
    assert!(spill.may_pass(), "{spill}");
    fs::create_dir(folder.path().join("gone")).unwrap();
    let spill = Spill::open(&folder.path().join("gone")).unwrap();
    fs::remove_dir(folder.path().join("gone")).unwrap();
    let owed = spill.of(NAME);
    let error = owed.push(&event("a", "u/1"), NO_LIMIT).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(owed.events(), 0);
    fs::create_dir(folder.path().join("gone")).unwrap();
    push(&owed, "a", "u/1");
    assert_eq!(held(&folder.path().join("gone"))["a"], ["u/1"]);
}

#[test]
fn a_watch_that_is_forgotten_is_owed_nothing() {
    let folder = tempdir().unwrap();
    let spill = Spill::open(folder.path()).unwrap();
    let owed = spill.of(NAME);
    let other = WatchId::from_bits(7);
    push(&owed, "a", "u/1");
    push(&owed, "b", "u/1");
    owed.push(&OwedEvent { watch: other, ..event("a", "u/2") }, NO_LIMIT).unwrap();
    owed.forget(watch()).unwrap();
    spill.sync().unwrap();
    assert_eq!(owed.objects(), [(other, "a".into(), 1)]);
    drop((owed, spill));
    assert_eq!(Spill::open(folder.path()).unwrap().of(NAME).objects(), [(other, "a".into(), 1)]);
}

#[test]
fn what_changed_in_the_file_is_said_and_never_given() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    push(&owed, "a", "u/1");
    let path = file_of(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() - 1;
    bytes[place] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = owed.front(watch(), "a", &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
    bytes[FILE_HEAD_BYTES + FRAME_HEAD_BYTES + 1] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Spill::open(folder.path()), Err(StateError::Damaged { .. })));
}

#[test]
fn a_reset_forgets_what_is_owed_and_nothing_else() {
    let folder = tempdir().unwrap();
    push(&Spill::open(folder.path()).unwrap().of(NAME), "a", "u/1");
    drop(Journal::open(folder.path(), |_| {}).unwrap());
    fs::write(folder.path().join("owed-x.log.new"), "left over").unwrap();
    fs::write(folder.path().join("notes.log"), "mine").unwrap();
    reset(folder.path()).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2 && left.iter().all(|name| name == "lock" || name == "notes.log"), "{left:?}");
}

#[test]
fn times_are_kept_to_the_microsecond() {
    let folder = tempdir().unwrap();
    let owed = Spill::open(folder.path()).unwrap().of(NAME);
    for received in [UNIX_EPOCH, UNIX_EPOCH + Duration::from_micros(1), SystemTime::now()] {
        owed.push(&OwedEvent { received, ..event("a", "u/1") }, NO_LIMIT).unwrap();
        let mut buffer = Vec::new();
        let front = owed.front(watch(), "a", &mut buffer).unwrap().unwrap();
        assert!(received.duration_since(front.received).unwrap() < Duration::from_micros(1));
        owed.pop(watch(), "a").unwrap();
    }
}
