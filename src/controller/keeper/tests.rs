//! The checkpoint thread when it dies or hangs in its own work.

use super::*;
use crate::dispatch::tests::DEADLINE;
use crate::health::{STUCK_AFTER, ThreadFailure};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::TempDir;

fn surroundings(health: &Health) -> Surroundings {
    Surroundings { writer: None, metrics: Metrics::default(), health: health.clone(), stop: Stop::new() }
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
