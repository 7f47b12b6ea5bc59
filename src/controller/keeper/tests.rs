//! The checkpoint thread when it dies or hangs in its own work.

use super::*;
use crate::checkpoint::{Journal, Spill};
use crate::dispatch::tests::{DEADLINE, event, hold, watch};
use crate::dispatch::{Export, Settings};
use crate::event::{Credit, Outlet};
use crate::health::{STUCK_AFTER, ThreadFailure};
use crate::sink::SinkSettings;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::TempDir;

fn surroundings(health: &Health) -> Surroundings {
    let folder = TempDir::new().unwrap();
    let recorder = Recorder::new(Journal::open(folder.path(), |_| {}).unwrap(), Spill::open(folder.path()).unwrap());
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
    let keeper = Keeper::start(StateStore::open(folder.path()).unwrap(), surroundings(&health)).unwrap();
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
    let keeping = Keeping::new(store, surroundings(&health), Arc::clone(&shared), received);
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
    let surroundings = Surroundings { writer: Some(Arc::clone(&writer)), ..surroundings(&health) };
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
