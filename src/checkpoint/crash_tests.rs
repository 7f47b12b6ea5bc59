//! What is left of a state when its process, its disk or the power fails at any step.

use super::commit::Commit;
use super::database::{Database, OpenError};
use super::sim_disk::{Image, SimDisk};
use super::testing::{Model, held, random_commit};
use super::{StateError, StateStore};
use fastrand::Rng;

const COMMITS: usize = 30;
/// So many where each operation of all of them fails once.
const FAILING_COMMITS: usize = 10;
const CHANGES_MAX: usize = 20;
/// Little enough that the log is cleaned several times in one test.
const SLACK_BYTES: u64 = 2048;
/// Images of one power failure, which differ in what the disk had taken.
const POWER_FAILURES: usize = 1;
/// redb's head and its two commit slots.
const HEAD_BYTES: usize = 320;
const FLIPS: usize = 200;
const CHURN_COMMITS: usize = 400;
/// The objects of the random commits take up to 300 KiB; twice that with what is out of date, doubled as redb grows files, and
/// redb's own pages. One commit after the other without cleaning would take ten times as much.
const FILE_BYTES_MAX: usize = 2560 * 1024;

fn created() -> SimDisk {
    let disk = SimDisk::default();
    Database::create(disk.clone()).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<StateStore, StateError> {
    StateStore::on(disk, SLACK_BYTES)
}

/// The state after each commit, the first one before any.
fn models(commits: &[Commit]) -> Vec<Model> {
    let mut models = vec![Model::default()];
    for commit in commits {
        let mut model = models[models.len() - 1].clone();
        model.apply(commit);
        models.push(model);
    }
    models
}

fn check_holds(bytes: Vec<u8>, expected: &[Model], what: &str) {
    let found = held(&open(&SimDisk::holding(bytes)).unwrap_or_else(|error| panic!("{what}: {error}")));
    assert!(expected.contains(&found), "{what}: found {found:#?}, expected one of {expected:#?}");
}

#[test]
fn a_kill_or_a_power_failure_at_any_step_leaves_the_last_commit_or_the_next() {
    for seed in 0..2 {
        let (mut rng, disk) = (Rng::with_seed(seed), created());
        let mut image = Image::new(disk.bytes());
        let begin = disk.steps();
        let commits: Vec<_> = (0..COMMITS).map(|_| random_commit(&mut rng, CHANGES_MAX)).collect();
        let mut store = open(&disk).unwrap();
        let mut ends = vec![begin];
        for commit in &commits {
            store.commit(commit).unwrap();
            ends.push(disk.steps());
        }
        drop(store);
        let models = models(&commits);
        for (n, step) in disk.history().iter().enumerate().skip(begin) {
            image.step(step);
            let done = ends.iter().rposition(|end| *end <= n + 1).unwrap();
            let expected = &models[done..models.len().min(done + 2)];
            check_holds(image.killed(), expected, &format!("seed {seed}, killed after step {n}, commit {done}"));
            for _ in 0..POWER_FAILURES {
                let bytes = image.unpowered(&mut rng);
                check_holds(bytes, expected, &format!("seed {seed}, power lost after step {n}, commit {done}"));
            }
        }
    }
}

#[test]
fn a_disk_that_fails_once_costs_no_more_than_trying_again() {
    let mut rng = Rng::with_seed(7);
    let commits: Vec<_> = (0..FAILING_COMMITS).map(|_| random_commit(&mut rng, CHANGES_MAX)).collect();
    let expected = models(&commits).pop().unwrap();
    let created = created().bytes();
    let mut failures = 0;
    for n in 1.. {
        let disk = SimDisk::holding(created.clone());
        let mut store = open(&disk).unwrap();
        disk.fail_at(Some(n));
        for commit in &commits {
            while let Err(error) = store.commit(commit) {
                assert!(error.may_pass(), "operation {n}: {error}");
                assert!(matches!(store.position(), Err(StateError::Closed { .. })));
                failures += 1;
            }
        }
        let operations = disk.operations();
        assert_eq!(held(&store), expected, "operation {n}");
        drop(store);
        check_holds(disk.bytes(), std::slice::from_ref(&expected), &format!("operation {n}, opened again"));
        if operations < n {
            assert!(failures > FAILING_COMMITS, "each step of a commit failed once, and {failures} times it showed");
            return;
        }
    }
}

#[test]
fn a_disk_that_fails_while_a_state_is_opened_is_no_damage() {
    let disk = created();
    open(&disk).unwrap().commit(&random_commit(&mut Rng::with_seed(1), CHANGES_MAX)).unwrap();
    let bytes = disk.bytes();
    for n in 1.. {
        let disk = SimDisk::holding(bytes.clone());
        disk.fail_at(Some(n));
        match open(&disk) {
            Ok(_) if disk.operations() < n => return,
            Ok(_) => {}
            Err(error) => assert!(matches!(error, StateError::Open { .. }), "operation {n}: {error}"),
        }
        disk.fail_at(None);
        assert_eq!(held(&open(&disk).unwrap()), held(&open(&SimDisk::holding(bytes.clone())).unwrap()), "operation {n}");
    }
}

/// A small state, closed well, and what it holds after its last commit and the one before.
fn small() -> (Vec<u8>, [Model; 2]) {
    let mut rng = Rng::with_seed(3);
    let commits: Vec<_> = (0..4).map(|_| random_commit(&mut rng, CHANGES_MAX)).collect();
    let disk = created();
    let mut store = open(&disk).unwrap();
    commits.iter().for_each(|commit| store.commit(commit).unwrap());
    drop(store);
    let models = models(&commits);
    (disk.bytes(), [models[3].clone(), models[4].clone()])
}

fn check_refused_or_whole(bytes: Vec<u8>, models: &[Model; 2], what: &str) -> bool {
    match Database::open(SimDisk::holding(bytes.clone()), SLACK_BYTES, crate::api::Keyer::default()) {
        Ok(_) => {
            check_holds(bytes, models, what);
            true
        }
        Err(OpenError::Damaged(reason)) => {
            assert!(!reason.contains("panic"), "{what}: {reason}");
            false
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn flipped_bits_are_found_or_do_not_matter() {
    let (bytes, models) = small();
    let flip = |place: usize, mask: u8| {
        let mut flipped = bytes.clone();
        flipped[place] ^= mask;
        check_refused_or_whole(flipped, &models, &format!("byte {place}, bits {mask:#x}"))
    };
    for place in 0..HEAD_BYTES {
        flip(place, 1 << (place % 8));
    }
    let mut rng = Rng::with_seed(1);
    let places: Vec<_> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
    let refused = (0..FLIPS).filter(|_| !flip(*rng.choice(&places).unwrap(), 1 << rng.u8(0..8))).count();
    assert!((1..FLIPS).contains(&refused), "some of the file is in use, and some is of commits before: {refused}");
}

#[test]
fn no_flipped_bit_of_its_head_makes_a_state_with_one_commit_a_new_one() {
    let disk = created();
    let mut store = open(&disk).unwrap();
    store.commit(&random_commit(&mut Rng::with_seed(3), CHANGES_MAX)).unwrap();
    let expected = held(&store);
    let killed = disk.bytes();
    for (place, bit) in (0..HEAD_BYTES).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut bytes = killed.clone();
        bytes[place] ^= 1 << bit;
        if let Ok(store) = open(&SimDisk::holding(bytes)) {
            assert!(!store.is_new() && held(&store) == expected, "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn a_file_stays_small_however_often_its_objects_change() {
    let (mut rng, disk) = (Rng::with_seed(5), created());
    let mut store = open(&disk).unwrap();
    for round in 0..4 {
        (0..CHURN_COMMITS).for_each(|_| store.commit(&random_commit(&mut rng, CHANGES_MAX)).unwrap());
        let length = disk.bytes().len();
        assert!(length < FILE_BYTES_MAX, "round {round}: {length}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let (bytes, models) = small();
    for length in (0..bytes.len()).step_by(64).skip(1).chain((1..64).map(|n| bytes.len() - n)) {
        let whole = check_refused_or_whole(bytes[..length].to_vec(), &models, &format!("cut at {length}"));
        assert!(!whole, "cut at {length} of {}", bytes.len());
    }
}
