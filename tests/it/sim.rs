//! The law of capture, held against seeded worlds: writers, faults, restarts and several watches over real sockets.
//!
//! When faults end, what each watch told replays to the server's objects; each object's events are in order; each delete is
//! told once; nothing is told that the server never had or that never matched, or as deleted that never left. `SIM_SEED=n`
//! repeats one world, `SIM_FATE` and `SIM_FAULT` name what befalls it and every other one, `make soak` runs new ones until it is
//! stopped. Informers that are broken on purpose do not obey it; `SIM_MUTATION` names one of them.

mod mutation;
mod told;
mod watching;
mod world;
mod writer;

use faro::lifecycle::Joined;
use faro::sim::{Fault, Faults};
use mutation::Mutation;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use world::{Fate, World};

/// In each test run.
const SEEDS: u64 = 200;

/// In so many each mutation is caught.
const SEEDS_TO_CATCH: u64 = 300;

/// How often each fault strikes in them at least. Each does several times as often, however fast the machine.
const STRIKES_MIN: u64 = 5;

/// Worlds at once. Most of a world's time goes by waiting.
const THREADS: usize = 6;

/// How often a soak says how far it is.
const SOAK_REPORT: u64 = 100;

#[test]
fn whatever_goes_wrong_every_watch_replays_to_the_objects_of_the_server() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        World::new(seed.parse().expect("SIM_SEED is a number")).obeys();
        return;
    }
    if let Ok(first) = std::env::var("SIM_SOAK") {
        let first = if first.is_empty() { fastrand::u64(..1 << 48) } else { first.parse().expect("SIM_SOAK is a number") };
        run(first, u64::MAX);
    }
    let struck = run(0, SEEDS);
    report_struck(&struck);
    let strikes = |fault: &Fault| struck.get(fault).copied().unwrap_or_default();
    let rare: Vec<_> = Fault::ALL.into_iter().filter(|fault| strikes(fault) < STRIKES_MIN).collect();
    assert!(rare.is_empty(), "these faults struck less than {STRIKES_MIN} times in {SEEDS} seeds: {rare:?}");
}

#[test]
fn an_informer_that_is_broken_in_any_one_way_is_caught() {
    let mutations = world::asked_for("SIM_MUTATION", &Mutation::ALL).map_or(Mutation::ALL.to_vec(), |asked| vec![asked]);
    let (sender, escaped) = crossbeam_channel::bounded(mutations.len());
    let catchers = mutations.into_iter().map(|mutation| {
        let sender = sender.clone();
        // A world in which a whole informer fails as well, for want of time, catches nobody.
        let broken = move |seed, mutant| broken_law(seed, mutant, mutation.faults(seed), mutation.fate());
        let catches = move |seed| broken(seed, Some(mutation)).filter(|_| broken(seed, None).is_none());
        let work = move || match (0..SEEDS_TO_CATCH).find_map(|seed| Some((seed, catches(seed)?))) {
            Some((seed, why)) => report_caught(mutation, seed, &why),
            None => sender.send(mutation).unwrap(),
        };
        Joined::spawn("catcher", work).unwrap()
    });
    drop((catchers.collect::<Vec<_>>(), sender));
    let escaped: Vec<_> = escaped.iter().collect();
    assert!(escaped.is_empty(), "no world of {SEEDS_TO_CATCH} seeds caught these: {escaped:?}");
}

/// How the law was broken, if it was.
fn broken_law(seed: u64, mutation: Option<Mutation>, faults: Faults, fate: Option<Fate>) -> Option<String> {
    let failure = std::panic::catch_unwind(|| World::hurried(seed, mutation, faults, fate).obeys()).err()?;
    let why = failure.downcast::<String>().expect("what a world asserts says what it saw");
    assert!(why.starts_with("seed "), "{mutation:?}: {why}");
    Some(why.lines().next().unwrap_or_default().to_owned())
}

#[expect(clippy::print_stderr, reason = "shown where somebody asks for it")]
fn report_caught(mutation: Mutation, seed: u64, why: &str) {
    eprintln!("{mutation:?} is caught by seed {seed}: {why}");
}

#[expect(clippy::print_stderr, reason = "shown where somebody asks for it")]
fn report_struck(struck: &BTreeMap<Fault, u64>) {
    eprintln!("so often each fault struck: {struck:?}");
}

/// Runs so many seeds. Gives how often each fault struck.
fn run(first: u64, count: u64) -> BTreeMap<Fault, u64> {
    let next = Arc::new(AtomicU64::new(0));
    let struck = Arc::new(Mutex::new(BTreeMap::new()));
    let failed = Arc::new(Mutex::new(Vec::new()));
    let workers = (0..THREADS).map(|number| {
        let (next, struck, failed) = (Arc::clone(&next), Arc::clone(&struck), Arc::clone(&failed));
        let work = move || {
            loop {
                let done = next.fetch_add(1, Ordering::Relaxed);
                if done >= count || !failed.lock().unwrap().is_empty() {
                    return;
                }
                report(first, done);
                let seed = first + done;
                match std::panic::catch_unwind(|| World::new(seed).obeys()) {
                    Ok(faults) => faults.into_iter().for_each(|(fault, times)| {
                        *struck.lock().unwrap().entry(fault).or_default() += times;
                    }),
                    Err(_) => failed.lock().unwrap().push(seed),
                }
            }
        };
        Joined::spawn(format!("worlds-{number}"), work).unwrap()
    });
    drop(workers.collect::<Vec<_>>());
    let failed = failed.lock().unwrap();
    assert!(failed.is_empty(), "seeds {failed:?} failed: run `SIM_SEED={} make test-integration`", failed[0]);
    std::mem::take(&mut *struck.lock().unwrap())
}

#[expect(clippy::print_stderr, reason = "whoever started a soak watches it")]
fn report(first: u64, done: u64) {
    if done > 0 && done.is_multiple_of(SOAK_REPORT) {
        eprintln!("seeds {first} to {} hold", first + done);
    }
}
