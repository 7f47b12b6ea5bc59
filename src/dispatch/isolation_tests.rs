//! What one receiver does, or one object, holds back no other.

use super::book::WINDOW;
use super::tests::{DEADLINE, event, handler, held, name_and_version, outlet, retry, send, started, watch};
use super::*;
use crate::api::{Watch, WatchTarget};
use crate::event::{Credit, MatchedEvent, Outlet};
use crate::health::Health;
use crate::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Events of names that begin with `bad` are refused until the switch is on; the others, and then all, are reported.
fn picky(accepts_all: &Arc<AtomicBool>) -> (Registered, Receiver<(String, u64)>) {
    let ((accepted, acceptances), accepts_all) = (bounded(100_000), Arc::clone(accepts_all));
    let picky = handler(move |event| {
        let (name, version) = name_and_version(event);
        if name.starts_with("bad") && !accepts_all.load(Ordering::SeqCst) {
            return Err("refused".into());
        }
        Ok(accepted.send((name, version))?)
    });
    (picky, acceptances)
}

/// Refused events wait for longer than any test, and for ever.
fn patient() -> Settings {
    let retry = Retry { pause_first: DEADLINE * 60, pause_max: DEADLINE * 60, ..Retry::default() };
    Settings { retry, owed_after: DEADLINE * 60, ..Settings::default() }
}

/// Refused events are tried again at once, and for ever.
fn eager() -> Settings {
    let retry = Retry { pause_first: Duration::ZERO, pause_max: Duration::ZERO, ..Retry::default() };
    Settings { retry, ..Settings::default() }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        thread::yield_now();
    }
}

fn accepted_version(ledger: &Ledger) -> u64 {
    ledger.accepted().version.map_or(0, |version| version.as_str().parse().unwrap())
}

#[test]
fn a_hundred_and_sixty_objects_that_are_refused_stop_neither_their_own_watch_nor_another() {
    let (picky, acceptances) = picky(&Arc::default());
    let dispatcher = started(patient(), vec![picky]);
    let (pods, services) = (watch("v1/pods"), watch("v1/services"));
    let (mut pods_out, mut services_out) = (outlet(&dispatcher, &pods), outlet(&dispatcher, &services));
    let mut version = 0;
    for round in 0..80 {
        for number in 0..160 {
            version += 1;
            send(&mut pods_out, event(&pods, &format!("bad-{number}"), version));
            if number < 100 {
                send(&mut pods_out, event(&pods, &format!("pod-{number}"), version));
                send(&mut services_out, event(&services, &format!("service-{number}"), version));
            }
        }
        for _ in 0..200 {
            acceptances.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("in round {round} others are delivered"));
        }
    }
}

#[test]
fn an_object_that_is_always_tried_again_holds_back_its_watch_no_longer_than_one_that_waits() {
    let (picky, acceptances) = picky(&Arc::default());
    let settings = Settings { lanes: 16, owed_after: DEADLINE * 60, ..eager() };
    let dispatcher = started(settings, vec![picky]);
    let pods = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &pods);
    // Its lane gets nothing else.
    send(&mut outlet, event(&pods, "bad", 1));
    let last = WINDOW as u64;
    for version in 2..=last {
        send(&mut outlet, event(&pods, "pod", version));
        assert_eq!(acceptances.recv_timeout(DEADLINE).unwrap(), ("pod".to_owned(), version));
    }
    wait_until("nothing but its worker knows of it", || accepted_version(outlet.ledger()) == last);
}

#[test]
fn an_object_with_sixty_four_parked_events_is_owed_and_then_nothing_waits_for_it() {
    let accepts_all = Arc::<AtomicBool>::default();
    let (picky, acceptances) = picky(&accepts_all);
    let dispatcher = started(eager(), vec![picky]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    let ledger = Arc::clone(outlet.ledger());
    for version in 1..=PARKED_EVENTS_MAX as u64 {
        send(&mut outlet, event(&watch, "bad", version));
    }
    wait_until("the prefix goes on", || accepted_version(&ledger) == PARKED_EVENTS_MAX as u64);
    assert_eq!(ledger.unfinished(), 0);
    accepts_all.store(true, Ordering::SeqCst);
    let versions: Vec<u64> = (0..PARKED_EVENTS_MAX).map(|_| acceptances.recv_timeout(DEADLINE).unwrap().1).collect();
    assert!(versions.iter().copied().eq(1..=PARKED_EVENTS_MAX as u64), "all of them, in order: {versions:?}");
    send(&mut outlet, event(&watch, "bad", 1000));
    assert_eq!(acceptances.recv_timeout(DEADLINE).unwrap().1, 1000);
    drop(outlet);
    assert_eq!((dispatcher.drain(DEADLINE), dispatcher.given_up()), (Drained { unfinished: 0 }, 0));
}

#[test]
fn an_object_that_has_been_parked_for_too_long_is_owed() {
    let (picky, _acceptances) = picky(&Arc::default());
    let dispatcher = started(Settings { owed_after: Duration::from_millis(1), ..patient() }, vec![picky]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    send(&mut outlet, event(&watch, "bad", 7));
    wait_until("the prefix goes on", || accepted_version(outlet.ledger()) == 7);
    drop(outlet);
    assert_eq!(dispatcher.drain(Duration::ZERO), Drained { unfinished: 1 }, "it was not accepted all the same");
}

#[test]
fn a_parked_object_that_would_hold_back_its_watch_is_owed() {
    let (picky, _acceptances) = picky(&Arc::default());
    // The others are for somebody else.
    let one = Subscription::new().namespaces(["default"]);
    let picky = Registered::new(one, move |event: &MatchedEvent| picky.call(event));
    let dispatcher = started(patient(), vec![picky, handler(|_| Ok(()))]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 1..=2 * WINDOW as u64 {
        let name = if version == 1 { "bad" } else { "good" };
        send(&mut outlet, event(&watch, name, version));
    }
    let ledger = Arc::clone(outlet.ledger());
    wait_until("the prefix goes on", || accepted_version(&ledger) == 2 * WINDOW as u64);
}

#[test]
fn what_is_owed_leaves_out_states_in_between_beyond_its_bytes_and_never_the_latest() {
    let accepts_all = Arc::<AtomicBool>::default();
    let (picky, acceptances) = picky(&accepts_all);
    let settings = Settings { owed_after: Duration::ZERO, parked_max_bytes: 0, ..eager() };
    let dispatcher = started(settings, vec![picky]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 1..=1000 {
        send(&mut outlet, event(&watch, "bad", version));
    }
    wait_until("nothing waits for it", || outlet.ledger().unfinished() == 0);
    accepts_all.store(true, Ordering::SeqCst);
    drop(outlet);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    let versions: Vec<u64> = acceptances.try_iter().map(|(_, version)| version).collect();
    assert!(versions.len() < 10 && versions.last() == Some(&1000), "{versions:?}");
}

#[test]
fn a_refused_event_is_given_again_for_ever_where_nothing_else_is_said() {
    let (refusals, accepted) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
    let (counted, done) = (Arc::clone(&refusals), Arc::clone(&accepted));
    let away = handler(move |_| {
        if counted.fetch_add(1, Ordering::SeqCst) < 500 {
            return Err("the receiver is away".into());
        }
        done.store(true, Ordering::SeqCst);
        Ok(())
    });
    let dispatcher = started(eager(), vec![away]);
    let watch = watch("v1/pods");
    send(&mut outlet(&dispatcher, &watch), event(&watch, "a", 1));
    assert_eq!((dispatcher.drain(DEADLINE), dispatcher.given_up()), (Drained { unfinished: 0 }, 0));
    assert!(accepted.load(Ordering::SeqCst));
    assert_eq!(Retry::default().attempts_max, None);
    assert_eq!(Retry::give_up_after(3).attempts_max, Some(3));
}

/// Takes the names of what it is given, and accepts all.
struct Names(crossbeam_channel::Sender<u64>);

impl Export for Names {
    fn export(&self, event: &MatchedEvent, completion: Completion) {
        self.0.send(name_and_version(event).1).expect("the test listens");
        completion.complete();
    }
}

#[test]
fn the_export_waits_for_no_handler_and_an_event_is_accepted_when_all_have_accepted_it() {
    let (exported, exports) = bounded(1000);
    let (held, calls, release) = held();
    let export: Arc<dyn Export> = Arc::new(Names(exported));
    let handlers = vec![handler(|_| Ok(())), held];
    let dispatcher = Dispatcher::new(&patient(), handlers, Some(export), Health::default()).unwrap();
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 1..=10 {
        send(&mut outlet, event(&watch, "a", version));
        assert_eq!(exports.recv_timeout(DEADLINE).unwrap(), version);
    }
    let ledger = Arc::clone(outlet.ledger());
    for version in 1..=10 {
        calls.recv_timeout(DEADLINE).unwrap();
        assert_eq!(accepted_version(&ledger), version - 1);
        release.send(()).unwrap();
        wait_until("it is accepted", || accepted_version(&ledger) == version);
    }
    drop(outlet);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

#[test]
fn two_hundred_watches_of_fifty_resources_have_no_more_threads_than_their_subscriptions_have_lanes() {
    let health = Health::default();
    let deletes = Registered::new(Subscription::new().lanes(2), |_: &MatchedEvent| Ok(()));
    let dispatcher = Dispatcher::new(&Settings::default(), vec![handler(|_| Ok(())), deletes], None, health.clone()).unwrap();
    let watch_of = |number: usize| {
        let gvr = format!("v1/kind{}s", number % 50).parse().unwrap();
        let namespace = Some(format!("n-{number}"));
        Arc::new(Watch::new(WatchTarget { namespace, ..WatchTarget::all(gvr) }, "test", None))
    };
    let outlets: Vec<_> = (0..200).map(|number| outlet(&dispatcher, &watch_of(number))).collect();
    // Four lanes of the one, two of the other, and who looks for slow calls.
    assert_eq!(health.liveness().threads, 4 + 2 + 1);
    drop(outlets);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

#[test]
fn a_subscription_has_the_lanes_and_the_queue_that_it_asks_for() {
    let (held, calls, release) = held();
    let small = Registered::new(Subscription::new().lanes(1).queue(8, 1 << 20), move |event: &MatchedEvent| held.call(event));
    let dispatcher = started(Settings { retry: retry(Duration::ZERO), ..Settings::default() }, vec![small]);
    let watch = watch("v1/pods");
    let mut outlets = [(); 5].map(|()| outlet(&dispatcher, &watch));
    let mut sent = HashMap::new();
    for (number, outlet) in outlets.iter_mut().enumerate() {
        while outlet.wait_for_credit(Duration::ZERO) == Credit::Granted {
            outlet.send(event(&watch, "a", 1));
            *sent.entry(number).or_insert(0) += 1;
        }
    }
    assert_eq!(sent, HashMap::from([(0, 2), (1, 2), (2, 2), (3, 2)]));
    calls.recv_timeout(DEADLINE).unwrap();
    drop((release, outlets));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
}

/// What a dispatcher says to such subscriptions.
fn check_refused(subscriptions: Vec<Subscription>, expected: &str) {
    let handlers = subscriptions.into_iter().map(|subscription| Registered::new(subscription, accept)).collect();
    let refused = Dispatcher::new(&Settings::default(), handlers, None, Health::default()).map(drop);
    let text = refused.unwrap_err().to_string();
    assert!(text.starts_with(expected), "{text}");
}

#[expect(clippy::unnecessary_wraps)]
fn accept(_: &MatchedEvent) -> Result<(), HandlerError> {
    Ok(())
}

#[test]
fn subscriptions_that_cannot_be_are_refused_with_the_reason() {
    let new = Subscription::new;
    check_refused(vec![new().name("audit").lanes(0)], "subscription audit: 0 lanes; it needs 1 to 64");
    check_refused(vec![new().name("audit").lanes(65)], "subscription audit: 65 lanes");
    check_refused(vec![new().name("audit").queue(0, 1)], "subscription audit: a queue of 0 events and 1 bytes has no room");
    check_refused(vec![new().name("audit").queue(1, 0)], "subscription audit: a queue of 1 events and 0 bytes has no room");
    check_refused(vec![new().name("audit"), new().name("audit")], "two subscriptions are named \"audit\"");
    check_refused(vec![new(); 64], "64 subscriptions are more than the 63");
    let handlers = (0..63).map(|_| Registered::new(new(), accept)).collect();
    let metrics = Metrics::default().watch(&watch("v1/pods"));
    assert!(started(Settings { lanes: 1, ..Settings::default() }, handlers).outlet(watch("v1/pods"), metrics).is_ok());
    let none = Settings { lanes: 0, ..Settings::default() };
    assert!(Dispatcher::new(&none, vec![handler(|_| Ok(()))], None, Health::default()).is_err());
}

#[test]
fn a_slow_handler_that_is_given_many_objects_loses_none_and_keeps_their_order() {
    let seen = Arc::<Mutex<HashMap<String, Vec<u64>>>>::default();
    let kept = Arc::clone(&seen);
    let slow = handler(move |event| {
        let (name, version) = name_and_version(event);
        (0..20).for_each(|_| thread::yield_now());
        kept.lock().unwrap().entry(name).or_default().push(version);
        Ok(())
    });
    let dispatcher = started(Settings::default(), vec![slow]);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for version in 1..=3000 {
        send(&mut outlet, event(&watch, &format!("web-{}", version % 7), version));
    }
    drop(outlet);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 3000);
    assert!(seen.values().all(|versions| versions.is_sorted()));
}
