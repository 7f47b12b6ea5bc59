//! Watches that are removed at run time: nothing more of them is told, nothing is left of them, and others go on.

use super::tests::{DEADLINE, event, handler, held, outlet, retry, send, watch};
use super::*;
use crate::api::{Watch, WatchTarget};
use crate::event::{Credit, MatchedEvent, Outlet};
use crate::health::Health;
use crate::metrics::Metrics;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

#[expect(clippy::needless_pass_by_value, reason = "tests make their settings where they start")]
fn dispatcher(settings: Settings, handlers: Vec<Registered>) -> (Dispatcher, Health) {
    let health = Health::default();
    (Dispatcher::new(&settings, handlers, None, health.clone()).unwrap(), health)
}

/// Refused events wait for longer than any test.
fn patient() -> Settings {
    Settings { lanes: 1, retry: retry(DEADLINE * 60), ..Settings::default() }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        thread::yield_now();
    }
}

/// Which watches were removed, by the namespace in their target: none is used twice.
#[derive(Default)]
struct Gone(Mutex<HashMap<String, Arc<AtomicBool>>>);

impl Gone {
    fn of(&self, watch: &Watch) -> Arc<AtomicBool> {
        let name = watch.target.namespace.clone().unwrap();
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }
}

/// Counts what is told, and what is told of watches that were removed before.
#[derive(Default)]
struct Witness {
    gone: Gone,
    told: AtomicU64,
    told_too_late: AtomicU64,
}

impl Witness {
    fn see(&self, event: &MatchedEvent) {
        self.told.fetch_add(1, Ordering::Relaxed);
        if self.gone.of(&event.watch).load(Ordering::SeqCst) {
            self.told_too_late.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Export for Witness {
    fn export(&self, event: &MatchedEvent, completion: Completion) {
        self.see(event);
        completion.complete();
    }
}

/// Sends until its watch is removed, or for so long that the test has failed.
fn feed(mut outlet: LaneOutlet, watch: &Arc<Watch>, seed: u64) {
    let (mut random, mut sent, begin) = (fastrand::Rng::with_seed(seed), 0, Instant::now());
    while outlet.wait_for_credit(DEADLINE) == Credit::Granted && begin.elapsed() < 2 * DEADLINE {
        sent += 1;
        outlet.send(event(watch, &format!("object-{}", random.u8(..20)), sent));
    }
}

/// One slot of many: adds a watch, lets some of its events through, and removes it, again and again.
fn add_and_remove(dispatcher: &Dispatcher, witness: &Witness, slot: u64, rounds: u64) {
    let mut random = fastrand::Rng::with_seed(slot);
    for round in 0..rounds {
        let gvr = ["v1/pods", "v1/services", "v1/nodes"][random.usize(..3)];
        let target = WatchTarget { namespace: Some(format!("n-{slot}-{round}")), ..WatchTarget::all(gvr.parse().unwrap()) };
        let watch = Arc::new(Watch::new(target, "test", None));
        let outlet = outlet(dispatcher, &watch);
        let ledger = Arc::clone(outlet.ledger());
        let enough = witness.told.load(Ordering::Relaxed) + random.u64(..300);
        thread::scope(|scope| {
            let feeding = scope.spawn(|| feed(outlet, &watch, round));
            wait_until("events flow", || witness.told.load(Ordering::Relaxed) >= enough);
            assert!(dispatcher.remove(&ledger, DEADLINE), "no call lasts");
            witness.gone.of(&watch).store(true, Ordering::SeqCst);
            feeding.join().unwrap();
        });
        assert!(ledger.wait_until_settled(Instant::now() + DEADLINE));
    }
}

fn check_removal(handlers: Vec<Registered>, witness: &Arc<Witness>, rounds: u64) {
    let settings = Settings { retry: retry(Duration::ZERO), ..Settings::default() };
    let health = Health::default();
    let export = Arc::clone(witness) as Arc<dyn Export>;
    let dispatcher = Dispatcher::new(&settings, handlers, Some(export), health.clone()).unwrap();
    thread::scope(|scope| {
        for slot in 0..6 {
            let dispatcher = &dispatcher;
            scope.spawn(move || add_and_remove(dispatcher, witness, slot, rounds));
        }
    });
    assert_eq!(witness.told_too_late.load(Ordering::Relaxed), 0, "of {}", witness.told.load(Ordering::Relaxed));
    assert_eq!((health.liveness().threads, dispatcher.unfinished()), (0, 0), "nothing is left");
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

#[test]
fn nothing_is_told_of_a_watch_after_its_removal_and_no_thread_is_left() {
    let witness = Arc::<Witness>::default();
    let (seen, random) = (Arc::clone(&witness), Mutex::new(fastrand::Rng::with_seed(7)));
    let flaky = handler(move |event| {
        seen.see(event);
        let roll = random.lock().unwrap().u8(..10);
        match roll {
            0..2 => Err("refused".into()),
            // Without the hook that prints.
            2 => resume_unwind(Box::new("this handler panics on purpose")),
            3..5 => {
                thread::yield_now();
                Ok(())
            }
            5.. => Ok(()),
        }
    });
    let seen = Arc::clone(&witness);
    let second = handler(move |event| {
        seen.see(event);
        Ok(())
    });
    check_removal(vec![flaky, second], &witness, 40);
}

#[test]
fn nothing_is_told_of_a_removed_watch_where_no_handler_is_either() {
    check_removal(Vec::new(), &Arc::default(), 40);
}

#[test]
fn removal_waits_for_the_call_under_way_and_drops_what_comes_after_it() {
    let (held, calls, release) = held();
    let (dispatcher, health) = dispatcher(patient(), vec![held]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    let ledger = Arc::clone(outlet.ledger());
    for version in 1..=10 {
        send(&mut outlet, event(&watch, "web-0", version));
    }
    calls.recv_timeout(DEADLINE).unwrap();
    assert!(!dispatcher.remove(&ledger, Duration::ZERO), "the handler has not returned");
    assert_eq!((outlet.wait_for_credit(DEADLINE), dispatcher.unfinished()), (Credit::Closed, 0));
    thread::scope(|scope| {
        let removing = scope.spawn(|| dispatcher.remove(&ledger, DEADLINE));
        release.send(()).unwrap();
        assert!(removing.join().unwrap());
    });
    wait_until("the lane that was left alone ends", || health.liveness().threads == 0);
    assert_eq!((calls.try_iter().count(), ledger.accepted(), ledger.is_settled()), (0, Accepted::default(), true));
}

#[test]
fn a_handler_may_remove_the_watch_whose_event_it_has() {
    let (own, removed) = (Arc::new(OnceLock::<(Arc<Dispatcher>, Arc<Ledger>)>::new()), Arc::new(AtomicU64::new(0)));
    let (known, counted) = (Arc::clone(&own), Arc::clone(&removed));
    let removing = handler(move |_| {
        let (dispatcher, ledger) = known.get().unwrap();
        assert!(dispatcher.remove(ledger, DEADLINE));
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let second = handler(|event| panic!("{} is told to another handler", event.id()));
    let (dispatcher, health) = dispatcher(Settings { lanes: 4, ..patient() }, vec![removing, second]);
    let dispatcher = Arc::new(dispatcher);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    let ledger = Arc::clone(outlet.ledger());
    own.set((Arc::clone(&dispatcher), Arc::clone(&ledger))).ok().unwrap();
    send(&mut outlet, event(&watch, "web-0", 1));
    wait_until("every thread ends", || health.liveness().threads == 0);
    assert_eq!((removed.load(Ordering::Relaxed), dispatcher.given_up(), ledger.unfinished()), (1, 0, 1));
    assert_eq!((ledger.accepted(), ledger.is_settled()), (Accepted::default(), true));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

#[test]
fn the_watches_that_stay_get_the_places_of_the_one_that_is_removed() {
    let (held, calls, release) = held();
    let (dispatcher, _) = dispatcher(patient(), vec![held]);
    let watch = watch("v1/pods");
    let mut outlets = [(); 5].map(|()| outlet(&dispatcher, &watch));
    let fill = |outlet: &mut LaneOutlet| {
        let mut sent = 0;
        while outlet.wait_for_credit(Duration::ZERO) == Credit::Granted {
            sent += 1;
            outlet.send(event(&watch, "web-0", sent));
        }
        sent
    };
    let sent: Vec<u64> = outlets.iter_mut().map(fill).collect();
    let share = QUEUE_EVENTS as u64 / 4;
    assert_eq!(sent, [share, share, share, share, 0]);
    calls.recv_timeout(DEADLINE).unwrap();
    let [first, .., last] = &mut outlets;
    assert!(!dispatcher.remove(first.ledger(), Duration::ZERO), "a handler has one of its events");
    release.send(()).unwrap();
    (0..share).for_each(|version| send(last, event(&watch, "web-0", version)));
    assert_eq!(last.wait_for_credit(Duration::ZERO), Credit::Exhausted);
    assert_eq!(dispatcher.unfinished(), QUEUE_EVENTS as u64);
    drop(release);
}

#[test]
fn a_watch_that_is_added_again_has_lanes_again() {
    let (held, calls, release) = held();
    drop(release);
    let (dispatcher, health) = dispatcher(patient(), vec![held]);
    let watch = watch("v1/pods");
    for version in 1..=3 {
        let mut outlet = outlet(&dispatcher, &watch);
        send(&mut outlet, event(&watch, &format!("web-{version}"), version));
        assert_eq!(calls.recv_timeout(DEADLINE).unwrap(), format!("web-{version}"));
        assert!(dispatcher.remove(outlet.ledger(), DEADLINE));
        assert_eq!(health.liveness().threads, 0);
    }
}

/// What the last checkpoint of a watch is told, in every order of acceptance, against all that was accepted.
#[test]
fn the_last_progress_holds_all_that_was_accepted_and_says_when_that_has_gaps() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let watch = watch("v1/pods");
        let (dispatcher, _) = dispatcher(patient(), Vec::new());
        let (backlog, metrics) = (Arc::<Backlog>::default(), Metrics::default().watch(&watch));
        let outlet = dispatcher.resumed_outlet(Arc::clone(&watch), metrics, Resumed::default(), Arc::clone(&backlog)).unwrap();
        let ledger = outlet.ledger();
        let mut open = Vec::new();
        let mut accepted = Vec::new();
        let mut taken = Vec::new();
        let count = random.u64(1..60);
        for version in 1..=count {
            open.push((version, super::tests::completion(ledger, &event(&watch, "web-0", version))));
            while random.u8(..3) > 0 && !open.is_empty() {
                let (version, completion) = open.swap_remove(random.usize(..open.len()));
                Completion::complete_all([completion], Some(version));
                accepted.push(version);
            }
            if random.u8(..20) == 0 {
                taken.extend(ledger.progress().changes);
            }
        }
        let last = ledger.last_progress();
        accepted.sort_unstable();
        taken.extend(last.changes);
        assert_eq!(taken.iter().map(version_of).collect::<Vec<_>>(), accepted, "seed {seed}: each once, in order");
        assert_eq!(last.accepted.listing, !open.is_empty(), "seed {seed}");
        let prefix = (1..=count).take_while(|version| accepted.binary_search(version).is_ok()).last();
        let version = last.accepted.version.map(|version| version.as_str().parse().unwrap());
        assert_eq!((version, last.written_beyond, backlog.waiting()), (prefix, None, 0), "seed {seed}");
        let is_settled = open.is_empty();
        for (_, completion) in open {
            completion.complete();
        }
        assert!(ledger.progress().changes.is_empty() && backlog.waiting() == 0, "seed {seed}: what comes later is not kept");
        assert!(is_settled || ledger.is_settled());
    }
}

fn version_of(change: &crate::api::Change) -> u64 {
    let crate::api::Change::Known(identity) = change else { panic!("only updates were registered") };
    identity.version().parse().unwrap()
}
