//! The checkpoint thread when it dies or hangs in its own work.

use super::*;
use crate::checkpoint::{Batch, Journal, OwedEvent, Spill};
use crate::dispatch::tests::{DEADLINE, event, hold, watch};
use crate::dispatch::{Export, Settings};
use crate::event::{Credit, Outlet};
use crate::health::{STUCK_AFTER, ThreadFailure};
use crate::sink::SinkSettings;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::SystemTime;
use tempfile::TempDir;

fn surroundings(folder: &Path, health: &Health) -> Surroundings {
    let recorder = Recorder::new(Journal::open(folder, |_| {}).unwrap(), Spill::open(folder).unwrap());
    let (recorder, subscriptions, emissions) = (Arc::new(recorder), Vec::new(), HashMap::new());
    let (metrics, health, stop) = (Metrics::default(), health.clone(), Stop::new());
    Surroundings { writer: None, metrics, health, stop, recorder, subscriptions, emissions }
}

/// What a probe says that comes when nothing may last any longer.
fn failures(health: &Health) -> Vec<(String, ThreadFailure)> {
    let liveness = health.liveness_at(Instant::now() + STUCK_AFTER + Duration::from_secs(1));
    liveness.failing.into_iter().map(|thread| (thread.thread, thread.failure)).collect()
}

fn wait_for_failures(health: &Health, expected: &[(String, ThreadFailure)]) {
    let deadline = Instant::now() + DEADLINE;
    while failures(health) != expected {
        assert!(Instant::now() < deadline, "{:?} and not {expected:?}", failures(health));
        std::thread::yield_now();
    }
}

#[test]
fn a_checkpoint_that_hangs_in_its_own_work_is_named_until_it_goes_on() {
    let (folder, health) = (TempDir::new().unwrap(), Health::default());
    let keeper = Keeper::start(StateStore::open(folder.path()).unwrap(), surroundings(folder.path(), &health)).unwrap();
    let held = keeper.shared.watches();
    wait_for_failures(&health, &[(THREAD_NAME.to_owned(), ThreadFailure::Stuck)]);
    drop(held);
    wait_for_failures(&health, &[]);
    keeper.stop(Instant::now() + DEADLINE);
    assert_eq!((failures(&health), health.liveness().threads), (Vec::new(), 0));
}

#[test]
fn a_checkpoint_that_panics_is_named() {
    let (folder, health) = (TempDir::new().unwrap(), Health::default());
    let (shared, (_orders, received)) = (Arc::<Shared>::default(), bounded(1));
    let store = StateStore::open(folder.path()).unwrap();
    let keeping = Keeping::new(store, surroundings(folder.path(), &health), Arc::clone(&shared), received);
    assert_eq!(failures(&health), []);
    let thread = move || {
        let _keeping = keeping;
        panic!("injected");
    };
    assert!(catch_unwind(AssertUnwindSafe(thread)).is_err());
    assert_eq!(failures(&health), [(THREAD_NAME.to_owned(), ThreadFailure::Dead)]);
}

/// The writer says how far it is after the events of its lines are accepted, and a stop may come between the two.
#[test]
fn a_stop_right_behind_the_last_line_commits_the_place_behind_it() {
    let (state, output, health) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Health::default());
    let settings = SinkSettings { folder: Some(output.path().to_owned()), hold_until_committed: true, ..Default::default() };
    let writer = Writer::open(settings, Metrics::default(), health.clone(), Stop::new()).unwrap();
    let export = Some(Arc::clone(&writer) as Arc<dyn Export>);
    let dispatcher = Dispatcher::new(&Settings::default(), Vec::new(), export, health.clone()).unwrap();
    let surroundings = Surroundings { writer: Some(Arc::clone(&writer)), ..surroundings(state.path(), &health) };
    let keeper = Keeper::start(StateStore::open(state.path()).unwrap(), surroundings).unwrap();
    let [pods, other] = ["v1/pods", "v1/services"].map(watch);
    let metrics = |watch| Metrics::default().watch(watch);
    let mut stored = keeper.outlet(&dispatcher, &pods, metrics(&pods), Resumed::default()).unwrap();
    let mut last = dispatcher.outlet(Arc::clone(&other), metrics(&other)).unwrap();
    for (outlet, watch) in [(&mut stored, &pods), (&mut last, &other)] {
        assert_eq!(outlet.wait_for_credit(DEADLINE), Credit::Granted);
        outlet.send(event(watch, "web-0", 1));
    }
    // Of the one batch the first event is accepted, and the writer waits with the second.
    let other = Arc::clone(last.ledger());
    let held = hold(&other);
    last.flush();
    assert!(stored.ledger().wait_until_settled(Instant::now() + DEADLINE));
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| keeper.stop(Instant::now() + DEADLINE));
        while keeper.shared.backlog.waiting() > 0 {
            std::thread::yield_now();
        }
        drop(held);
        stopping.join().unwrap();
    });
    let path = writer.path().unwrap();
    assert!(writer.stop(Instant::now() + DEADLINE));
    let (file, offset) = (path.file_name().unwrap().to_str().unwrap().to_owned(), path.metadata().unwrap().len());
    let committed = StateStore::open(state.path()).unwrap().position().unwrap();
    assert_eq!(committed, Some(FilePosition { file, offset }));
}

/// A thread's own work, on a state whose folder also has the journal, in which one event is, and what is owed, which is one.
fn keeping_in(folder: &Path) -> Keeping {
    let store = StateStore::open(folder).unwrap();
    let surroundings = surroundings(folder, &Health::default());
    let pods = watch("v1/pods");
    let mut batch = Batch::default();
    batch.accepted(pods.id, 7, 0);
    surroundings.recorder.emitted(&mut batch).unwrap();
    let (key, uid, raw, received) = ("default\0web-0", "u", b"{}".as_slice(), SystemTime::UNIX_EPOCH);
    let owed = OwedEvent { watch: pods.id, key, uid, is_deleted: false, flags: 0, received, raw };
    surroundings.recorder.owed("audit").push(&owed, u64::MAX).unwrap();
    Keeping::new(store, surroundings, Arc::default(), bounded(1).1)
}

/// Tries to commit nothing: at once, and once more.
fn commit_twice(keeping: &mut Keeping) -> bool {
    let (orders, received) = bounded(1);
    // The one order is one more attempt, and then nobody is left to wait for.
    orders.send(Order::Look).unwrap();
    keeping.orders = received;
    drop(orders);
    keeping.commit(&Commit::default())
}

/// What the next start finds: how many events are in the journal, and how many are owed.
fn found_in(folder: &Path) -> (usize, usize) {
    let mut records = 0;
    Journal::open(folder, |_| records += 1).unwrap();
    (records, Spill::open(folder).unwrap().of("audit").events())
}

fn files(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_state_that_is_made_again_is_never_there_without_the_journal_and_what_is_owed() {
    for missing in ["journal", "owed-"] {
        let parent = TempDir::new().unwrap();
        let folder = parent.path().join("state");
        let mut keeping = keeping_in(&folder);
        let obstacle = files(&folder).into_iter().find(|name| name.starts_with(missing)).unwrap() + ".new";
        fs::remove_dir_all(&folder).unwrap();
        // No file can be made in the place of a folder.
        fs::create_dir_all(folder.join(&obstacle)).unwrap();
        for _ in 0..3 {
            assert!(!commit_twice(&mut keeping));
            assert!(!files(&folder).contains(&"state.redb".to_owned()), "{missing}: {:?}", files(&folder));
        }
        fs::remove_dir(folder.join(&obstacle)).unwrap();
        assert!(commit_twice(&mut keeping) || commit_twice(&mut keeping));
        drop(keeping);
        assert_eq!(found_in(&folder), (1, 1), "{missing}");
    }
}

#[test]
fn what_is_owed_is_not_committed_as_accepted_while_its_file_is_missing() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("state");
    let mut keeping = keeping_in(&folder);
    let owed = files(&folder).into_iter().find(|name| name.starts_with("owed-")).unwrap();
    fs::remove_file(folder.join(&owed)).unwrap();
    fs::create_dir(folder.join(format!("{owed}.new"))).unwrap();
    assert!(!commit_twice(&mut keeping));
    fs::remove_dir(folder.join(format!("{owed}.new"))).unwrap();
    assert!(commit_twice(&mut keeping));
    drop(keeping);
    assert_eq!(found_in(&folder), (1, 1));
}

#[test]
fn the_journal_of_a_watch_that_was_forgotten_is_dropped_and_that_of_one_at_work_is_not() {
    let folder = TempDir::new().unwrap();
    let keeping = keeping_in(folder.path());
    let [pods, nodes, services] = ["v1/pods", "v1/nodes", "v1/services"].map(|gvr| watch(gvr).id);
    assert_eq!(keeping.shared.unforgotten(), HashSet::new());
    keeping.shared.emissions().insert(nodes, Vec::new());
    let keeping = Keeping { sequences: HashMap::from([(services, 5)]), ..keeping };
    let counts = keeping.is_beyond_checkpoint();
    let found = [(pods, 9), (nodes, 9), (services, 4), (services, 5)].map(|(watch, sequence)| counts(watch, sequence));
    assert_eq!(found, [false, true, false, true]);
}

/// The versions of what is remembered of pods of these names.
fn recalled(keeping: &mut Keeping, watch: &Watch, names: &[&str]) -> Vec<String> {
    let keys: Vec<TextKey> = names.iter().map(|name| keeping.store.keyer().key(&format!("default\0{name}"))).collect();
    let (reply, answer) = bounded(1);
    keeping.recall(watch.id, &keys, &reply);
    let mut found: Vec<String> =
        answer.try_recv().unwrap().iter().map(|identity| identity.to_object().as_ref().resource_version().to_string()).collect();
    found.sort();
    found
}

#[test]
fn what_is_remembered_of_an_object_is_found_on_its_way_taken_committed_and_after_a_commit_that_failed() {
    let folder = TempDir::new().unwrap();
    let mut keeping = keeping_in(folder.path());
    let dispatcher = Dispatcher::new(&Settings::default(), Vec::new(), None, Health::default()).unwrap();
    let (pods, nodes) = (watch("v1/pods"), watch("v1/nodes"));
    let backlog = Arc::clone(&keeping.shared.backlog);
    let metrics = Metrics::default().watch(&pods);
    let mut outlet = dispatcher.resumed_outlet(Arc::clone(&pods), metrics, Resumed::default(), backlog).unwrap();
    let ledger = Arc::clone(outlet.ledger());
    keeping.shared.watches().push(Kept { watch: Arc::clone(&pods), ledger, taken: Accepted::default(), ended: false });
    let mut send = |name: &str, version| {
        assert_eq!(outlet.wait_for_credit(DEADLINE), Credit::Granted);
        outlet.send(event(&pods, name, version));
    };
    let both = ["web-0", "web-1"];
    assert!(recalled(&mut keeping, &pods, &both).is_empty());
    send("web-0", 1);
    send("web-1", 2);
    assert_eq!(recalled(&mut keeping, &pods, &both), ["1", "2"], "on its way");
    assert!(recalled(&mut keeping, &nodes, &both).is_empty());
    keeping.take();
    assert_eq!(recalled(&mut keeping, &pods, &both), ["1", "2"], "taken");
    send("web-0", 3);
    assert_eq!(recalled(&mut keeping, &pods, &both), ["2", "3"], "taken, and newer on its way");
    assert!(keeping.checkpoint() && keeping.committing.is_none());
    assert_eq!(recalled(&mut keeping, &pods, &both), ["2", "3"], "committed, and newer on its way");
    keeping.take();
    keeping.committing =
        Some(Arc::new(Commit { watches: mem::take(&mut keeping.due).into_values().collect(), ..Commit::default() }));
    assert_eq!(recalled(&mut keeping, &pods, &both), ["2", "3"], "while it is committed");
    fs::remove_file(folder.path().join("state.redb")).unwrap();
    assert!(keeping.store.commit(&Commit::default()).is_err());
    assert!(keeping.store.cluster().is_err(), "a commit that fails closes the file");
    assert_eq!(recalled(&mut keeping, &pods, &both), ["2", "3"], "after a commit that failed");
    keeping.store.commit(&keeping.committing.take().unwrap()).unwrap();
    assert_eq!(recalled(&mut keeping, &pods, &both), ["2", "3"], "committed");
}
