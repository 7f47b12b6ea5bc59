//! The dispatcher as a whole: order, isolation, bounds and the end.

use super::*;
use crate::api::{Object, ObjectRef, Watch, WatchTarget};
use crate::event::{Credit, EventType, MatchedEvent, Outlet};
use crate::health::{Health, STUCK_AFTER};
use crate::metrics::Metrics;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for any machine; reached only by a failing test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn watch(gvr: &str) -> Arc<Watch> {
    Arc::new(Watch::new(WatchTarget::all(gvr.parse().unwrap()), "test", None))
}

fn object(name: &str, version: u64) -> Object {
    let json = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"default","uid":"u","resourceVersion":"{version}"}}}}"#
    );
    ObjectRef::scan(json.as_bytes()).unwrap().to_object()
}

pub(crate) fn event(watch: &Arc<Watch>, name: &str, version: u64) -> MatchedEvent {
    MatchedEvent::new(EventType::Updated, Arc::clone(watch), object(name, version))
}

/// The ticket of `event`, as the export has it.
pub(crate) fn completion(ledger: &Arc<Ledger>, event: &MatchedEvent) -> Completion {
    assert_eq!(ledger.take_credit(DEADLINE), Credit::Granted);
    let sequence = ledger.register(event, Receivers::EXPORT);
    ledger.completion(sequence, Receivers::EXPORT, event.raw().len(), event.received)
}

pub(super) fn outlet(dispatcher: &Dispatcher, watch: &Arc<Watch>) -> LaneOutlet {
    dispatcher.outlet(Arc::clone(watch), Metrics::default().watch(watch)).unwrap()
}

pub(crate) fn ledger() -> Arc<Ledger> {
    let watch = watch("v1/pods");
    let metrics = Metrics::default().watch(&watch);
    Arc::new(Ledger::new(watch, metrics, Arc::default()))
}

/// While it is held no event of this ledger is accepted, nor any that comes behind one in the same batch.
pub(crate) fn hold(ledger: &Ledger) -> impl Sized {
    ledger.book()
}

pub(super) fn send(outlet: &mut LaneOutlet, event: MatchedEvent) {
    assert_eq!(outlet.wait_for_credit(DEADLINE), Credit::Granted);
    outlet.send(event);
}

pub(super) fn handler(body: impl Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync + 'static) -> Registered {
    Registered::new(Subscription::new(), body)
}

/// Tries again after so long, and gives up in the end.
pub(super) fn retry(pause: Duration) -> Retry {
    Retry { pause_first: pause, pause_max: pause, ..Retry::give_up_after(5) }
}

#[expect(clippy::needless_pass_by_value, reason = "tests make their settings where they start")]
pub(super) fn started(settings: Settings, handlers: Vec<Registered>) -> Dispatcher {
    Dispatcher::new(&settings, handlers, None, Health::default()).unwrap()
}

fn dispatcher(retry_pause: Duration, handlers: Vec<Registered>) -> Dispatcher {
    started(Settings { retry: retry(retry_pause), ..Settings::default() }, handlers)
}

pub(super) fn name_and_version(event: &MatchedEvent) -> (String, u64) {
    let metadata = event.metadata();
    (metadata.name().into_owned(), metadata.resource_version().as_str().parse().unwrap())
}

/// A handler that reports each call, and returns only when told to.
pub(super) fn held() -> (Registered, Receiver<String>, Sender<()>) {
    let (called, calls) = bounded(1024);
    let (release, released) = bounded::<()>(1024);
    let held = handler(move |event| {
        called.send(name_and_version(event).0).expect("the test listens");
        released.recv().ok();
        Ok(())
    });
    (held, calls, release)
}

/// Accepted events, by object.
type Seen = Arc<Mutex<HashMap<String, Vec<u64>>>>;

/// Marks what is at work on an object; two at once are told as version zero, which no order allows.
struct AtWork<'a>(&'a Mutex<HashSet<String>>, String);

impl<'a> AtWork<'a> {
    fn begin(busy: &'a Mutex<HashSet<String>>, name: &str, seen: &Seen) -> Self {
        if !busy.lock().unwrap().insert(name.to_owned()) {
            seen.lock().unwrap().entry(name.to_owned()).or_default().push(0);
        }
        Self(busy, name.to_owned())
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

/// Fails or panics about every third time, and sometimes takes long; takes what it accepts into `seen`.
fn flaky(seed: u64, seen: Seen) -> Registered {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    let busy = Mutex::<HashSet<String>>::default();
    handler(move |event| {
        let (name, version) = name_and_version(event);
        let _at_work = AtWork::begin(&busy, &name, &seen);
        let roll = random.lock().unwrap().u8(..120);
        match roll {
            0..30 => return Err("refused".into()),
            // Without the hook that prints.
            30..40 => std::panic::resume_unwind(Box::new("this handler panics on purpose")),
            40 => (0..50).for_each(|_| std::thread::yield_now()),
            41.. => {}
        }
        seen.lock().unwrap().entry(name).or_default().push(version);
        Ok(())
    })
}

#[test]
fn a_slow_handler_is_no_stuck_thread() {
    let (held, calls, release) = held();
    let health = Health::default();
    let dispatcher = Dispatcher::new(&Settings::default(), vec![held], None, health.clone()).unwrap();
    let watch = watch("v1/pods");
    send(&mut outlet(&dispatcher, &watch), event(&watch, "a", 1));
    calls.recv_timeout(DEADLINE).unwrap();
    let liveness = health.liveness_at(Instant::now() + STUCK_AFTER * 2);
    release.send(()).unwrap();
    assert!(liveness.alive && liveness.threads > 0, "{liveness:?}");
}

#[test]
fn a_lane_that_hangs_outside_of_handlers_is_stuck_and_named() {
    let (handler, calls, release) = held();
    let health = Health::default();
    let dispatcher = Dispatcher::new(&Settings::default(), vec![handler], None, health.clone()).unwrap();
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    send(&mut outlet, event(&watch, "a", 1));
    calls.recv_timeout(DEADLINE).unwrap();
    let ledger = Arc::clone(outlet.ledger());
    let held = hold(&ledger);
    release.send(()).unwrap();
    let begin = Instant::now();
    let liveness = loop {
        let liveness = health.liveness_at(Instant::now() + STUCK_AFTER + Duration::from_secs(1));
        if !liveness.alive {
            break liveness;
        }
        assert!(begin.elapsed() < DEADLINE, "the lane waits for the ledger");
        std::thread::yield_now();
    };
    drop(held);
    assert!(liveness.failing[0].thread.starts_with("lane-0-"), "{liveness:?}");
}

#[test]
fn a_lane_that_panics_outside_of_handlers_is_named_at_once() {
    let (held, calls, release) = held();
    let health = Health::default();
    let dispatcher = Dispatcher::new(&Settings::default(), vec![held], None, health.clone()).unwrap();
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    send(&mut outlet, event(&watch, "a", 1));
    calls.recv_timeout(DEADLINE).unwrap();
    // A promise of the book is broken: the same acceptance comes twice.
    let ledger = Arc::clone(outlet.ledger());
    ledger.book().accept(0, Receivers::of(0), None, 1);
    release.send(()).unwrap();
    let begin = Instant::now();
    while health.liveness().alive {
        assert!(begin.elapsed() < DEADLINE, "it is named");
        std::thread::yield_now();
    }
    let failing = health.liveness().failing;
    assert!(failing[0].thread.starts_with("lane-0-"), "{failing:?}");
    drop(release);
}

#[test]
fn events_of_each_object_stay_in_order_whatever_handlers_do() {
    for seed in 0..2 {
        let (seen_first, seen_second) = (Seen::default(), Seen::default());
        let handlers = vec![flaky(seed, Arc::clone(&seen_first)), flaky(seed + 1000, Arc::clone(&seen_second))];
        let settings = Settings { retry: retry(Duration::ZERO), lanes: 8, ..Settings::default() };
        let dispatcher = started(settings, handlers);
        let watch = watch("v1/pods");
        let mut outlet = outlet(&dispatcher, &watch);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut sent: HashMap<String, Vec<u64>> = HashMap::new();
        for version in 1..=10_000 {
            let name = format!("pod-{}", random.u8(..40));
            send(&mut outlet, event(&watch, &name, version));
            sent.entry(name).or_default().push(version);
        }
        let ledger = Arc::clone(outlet.ledger());
        drop(outlet);
        assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 }, "seed {seed}");
        assert_eq!(ledger.accepted().version.unwrap().as_str(), "10000", "seed {seed}");
        let mut missing = 0;
        for seen in [seen_first, seen_second] {
            for (name, versions) in seen.lock().unwrap().iter() {
                assert!(versions.is_sorted_by(|a, b| a < b), "seed {seed}: {name} in order, one at a time, once: {versions:?}");
                missing += sent[name].len() - versions.len();
            }
        }
        assert_eq!(missing as u64, dispatcher.given_up(), "seed {seed}: only what was given up on is missing");
    }
}

#[test]
fn a_failing_object_holds_back_itself_and_no_other_of_its_lane() {
    let (called, calls) = bounded(1024);
    let failing = handler(move |event| {
        let (name, version) = name_and_version(event);
        called.send(format!("{name}@{version}")).expect("the test listens");
        if name == "bad" { Err("refused".into()) } else { Ok(()) }
    });
    let settings = Settings { lanes: 1, retry: retry(DEADLINE * 60), ..Settings::default() };
    let dispatcher = started(settings, vec![failing]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for (name, version) in [("bad", 1), ("bad", 2), ("good", 3), ("bad", 4), ("good", 5)] {
        send(&mut outlet, event(&watch, name, version));
    }
    let seen: Vec<String> = (0..3).map(|_| calls.recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(seen, ["bad@1", "good@3", "good@5"]);
    drop(outlet);
    assert_eq!(dispatcher.drain(Duration::ZERO), Drained { unfinished: 3 });
    assert_eq!(calls.try_recv().ok(), None);
}

#[test]
fn a_handler_that_blocks_makes_only_the_watches_wait_that_have_filled_their_part_of_its_queue() {
    let (release, released) = bounded::<()>(0);
    let blocking = handler(move |event| {
        if event.watch.gvr == "v1/pods" {
            released.recv().ok();
        }
        Ok(())
    });
    let (called, calls) = bounded(1024);
    let quick = Registered::new(Subscription::new(), move |event: &MatchedEvent| Ok(called.send(event.watch.gvr.clone())?));
    let dispatcher = dispatcher(Duration::ZERO, vec![blocking, quick]);
    let (pods, services) = (watch("v1/pods"), watch("v1/services"));
    let mut pods_outlet = outlet(&dispatcher, &pods);
    let mut services_outlet = outlet(&dispatcher, &services);
    // All of one object: one lane waits.
    for version in 0..QUEUE_EVENTS as u64 / 4 {
        send(&mut pods_outlet, event(&pods, "web-0", version));
        assert_eq!(calls.recv_timeout(DEADLINE).unwrap(), "v1/pods", "the other subscription goes on");
    }
    assert_eq!(pods_outlet.wait_for_credit(Duration::ZERO), Credit::Exhausted);
    for version in 0..200 {
        send(&mut services_outlet, event(&services, &format!("service-{version}"), version));
        assert_eq!(calls.recv_timeout(DEADLINE).unwrap(), "v1/services");
    }
    drop((release, pods_outlet, services_outlet));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

#[test]
fn draining_gives_every_queued_event_to_its_handler() {
    let (held, calls, release) = held();
    let dispatcher = dispatcher(Duration::ZERO, vec![held]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 0..100 {
        send(&mut outlet, event(&watch, "web-0", version));
    }
    calls.recv_timeout(DEADLINE).unwrap();
    drop((outlet, release));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    assert_eq!(calls.len(), 99);
}

#[test]
fn a_handler_that_never_returns_is_left_alone_and_its_events_are_counted() {
    let (held, calls, release) = held();
    let dispatcher = dispatcher(Duration::ZERO, vec![held]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 0..3 {
        send(&mut outlet, event(&watch, "web-0", version));
    }
    calls.recv_timeout(DEADLINE).unwrap();
    drop(outlet);
    assert_eq!(dispatcher.drain(Duration::ZERO), Drained { unfinished: 3 });
    drop(release);
}

#[test]
fn closing_ends_credit_and_refuses_new_watches() {
    let dispatcher = dispatcher(Duration::ZERO, Vec::new());
    let mut outlet = outlet(&dispatcher, &watch("v1/pods"));
    assert_eq!(outlet.wait_for_credit(Duration::ZERO), Credit::Granted);
    dispatcher.close();
    assert_eq!(outlet.wait_for_credit(DEADLINE), Credit::Closed);
    for gvr in ["v1/pods", "v1/nodes"] {
        let refused = dispatcher.outlet(watch(gvr), Metrics::default().watch(&watch(gvr))).map(drop);
        assert_eq!(refused.unwrap_err().to_string(), format!("cannot watch {gvr}: faro is stopping"));
    }
}

#[test]
fn what_was_found_by_comparison_leaves_the_version_where_it_is() {
    let (watch, ledger) = (watch("v1/pods"), ledger());
    completion(&ledger, &event(&watch, "web-0", 7)).complete();
    let mut gone = event(&watch, "web-0", 3);
    gone.inferred = true;
    completion(&ledger, &gone).complete();
    assert_eq!(ledger.accepted().version.unwrap().as_str(), "7");
}

#[test]
fn watches_of_one_gvr_share_lanes_and_keep_their_own_tickets() {
    let dispatcher = dispatcher(Duration::ZERO, Vec::new());
    let all = watch("v1/pods");
    let mut first = outlet(&dispatcher, &all);
    let mut second = outlet(&dispatcher, &all);
    send(&mut first, event(&all, "web-0", 1));
    send(&mut second, event(&all, "web-0", 2));
    let ledgers = [Arc::clone(first.ledger()), Arc::clone(second.ledger())];
    drop((first, second));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    let versions = ledgers.map(|ledger| ledger.accepted().version.unwrap().to_string());
    assert_eq!(versions, ["1", "2"]);
}
