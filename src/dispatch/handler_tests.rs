//! Handlers: what they are called for, what happens when they refuse, panic or take long.

use super::contain::is_in_handler;
use super::slow::Desk;
use super::tests::{DEADLINE, event, held, outlet, send, started, watch};
use super::*;
use crate::event::{EventType, MatchedEvent};
use crate::health::Health;
use crossbeam_channel::bounded;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

fn settings() -> Settings {
    let retry = Retry { attempts_max: Some(3), pause_first: Duration::ZERO, pause_max: Duration::ZERO };
    Settings { retry, ..Settings::default() }
}

/// What reached a handler: `pods/a UPDATED`.
type Seen = Arc<Mutex<Vec<String>>>;

fn recording(subscription: Subscription) -> (Registered, Seen) {
    let seen = Seen::default();
    let recorded = Arc::clone(&seen);
    let handler = move |event: &MatchedEvent| {
        let text = format!("{}/{} {}", event.group_version_resource().resource(), event.name(), event.event_type);
        recorded.lock().unwrap().push(text);
        Ok(())
    };
    (Registered::new(subscription, handler), seen)
}

/// Sends an event of each type of pod `a`, and of service `b`, all in namespace `default`.
fn check_subscription(subscription: Subscription, expected: &[&str]) {
    let (registered, seen) = recording(subscription);
    let dispatcher = started(settings(), vec![registered]);
    for (gvr, name) in [("v1/pods", "a"), ("v1/services", "b")] {
        let watch = watch(gvr);
        let mut outlet = outlet(&dispatcher, &watch);
        for (version, event_type) in EventType::ALL.into_iter().enumerate() {
            let mut event = event(&watch, name, version as u64 + 1);
            event.event_type = event_type;
            send(&mut outlet, event);
        }
    }
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|text| text.split(' ').next().map(str::to_owned));
    assert_eq!(seen, expected);
}

#[test]
fn a_handler_is_called_for_what_its_subscription_names_and_for_nothing_else() {
    let (pods, services) = ("v1/pods".parse().unwrap(), "v1/services".parse().unwrap());
    let all =
        ["pods/a ADDED", "pods/a UPDATED", "pods/a DELETED", "services/b ADDED", "services/b UPDATED", "services/b DELETED"];
    let new = Subscription::new;
    check_subscription(new(), &all);
    check_subscription(new().gvrs([services]), &all[3..]);
    check_subscription(new().event_types([EventType::Deleted]).gvrs([pods]), &all[2..3]);
    check_subscription(new().namespaces(["other", "default"]), &all);
    check_subscription(new().namespaces(["other"]), &[]);
    check_subscription(new().namespaces([""; 0]), &[]);
    check_subscription(new().gvrs([]), &[]);
}

/// `none`, `metadata` or `object` for each of pods, nodes and secrets.
fn check_interest(handlers: Vec<Registered>, expected: [&str; 3]) {
    let health = Health::default();
    let dispatcher = Dispatcher::new(&settings(), handlers, None, health.clone()).unwrap();
    let found = ["v1/pods", "v1/nodes", "v1/secrets"].map(|gvr| match dispatcher.interest_in(&gvr.parse().unwrap()) {
        None => "none",
        Some(Interest::Metadata) => "metadata",
        Some(Interest::Object) => "object",
    });
    assert_eq!(found, expected);
    let _pods = outlet(&dispatcher, &watch("v1/pods"));
    assert_eq!(health.liveness().threads > 0, expected[0] != "none", "lanes for whom something is wanted");
}

#[test]
fn no_more_is_asked_of_the_wire_than_a_handler_needs() {
    let whole = || |_: &MatchedEvent| -> Result<(), HandlerError> { Ok(()) };
    let pods = || Subscription::new().gvrs(["v1/pods".parse().unwrap()]);
    let everything = Subscription::new;
    check_interest(vec![], ["none"; 3]);
    check_interest(vec![Registered::new(everything(), whole())], ["object", "object", "metadata"]);
    check_interest(vec![Registered::new(everything(), metadata_only(|_| Ok(())))], ["metadata"; 3]);
    check_interest(vec![Registered::new(everything().event_types([]), whole())], ["none"; 3]);
    check_interest(
        vec![Registered::new(everything(), metadata_only(|_| Ok(()))), Registered::new(pods(), whole())],
        ["object", "metadata", "metadata"],
    );
    check_interest(
        vec![Registered::new(Subscription::new().gvrs(["v1/nodes".parse().unwrap()]), whole())],
        ["none", "object", "none"],
    );
}

/// Sends one event to a handler that always fails with `failure`, and to one that comes after it.
fn check_gave_up(failure: fn() -> Result<(), HandlerError>, expected: &str) {
    let (told, tellings) = bounded(10);
    let subscription = Subscription::new().on_gave_up(move |event, error| {
        assert!(is_in_handler());
        told.send(format!("{} {error} {}", event.key(), error.is::<HandlerPanicked>())).unwrap();
        resume_unwind(Box::new("on_gave_up fails, too"));
    });
    let attempts = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&attempts);
    let failing = move |_: &MatchedEvent| {
        *counted.lock().unwrap() += 1;
        failure()
    };
    let (next, seen) = recording(Subscription::new());
    let handlers = vec![Registered::new(subscription, failing), next];
    let dispatcher = started(settings(), handlers);
    let watch = watch("v1/pods");
    send(&mut outlet(&dispatcher, &watch), event(&watch, "a", 1));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    assert_eq!((tellings.try_iter().collect::<Vec<_>>(), *attempts.lock().unwrap()), (vec![expected.to_owned()], 3));
    assert_eq!((seen.lock().unwrap().len(), dispatcher.given_up()), (1, 1));
    assert!(!is_in_handler());
}

#[test]
fn what_a_handler_refuses_to_the_end_is_told_once_and_accepted() {
    check_gave_up(|| Err("the database is away".into()), "default/a the database is away false");
    // Without the hook that prints.
    check_gave_up(|| resume_unwind(Box::new("index out of bounds")), "default/a panic: index out of bounds true");
}

/// An error that does harm wherever it is looked at: its text, its cause, and its end.
#[derive(Debug)]
struct Harmful;

impl std::fmt::Display for Harmful {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        assert!(is_in_handler(), "its text is made outside");
        resume_unwind(Box::new(Harmful))
    }
}

impl std::error::Error for Harmful {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        resume_unwind(Box::new("no cause"))
    }
}

impl Drop for Harmful {
    fn drop(&mut self) {
        if !std::thread::panicking() && is_in_handler() {
            resume_unwind(Box::new("no end"));
        }
    }
}

#[test]
fn an_error_whose_text_cause_and_end_panic_costs_its_event_and_nothing_else() {
    let (all, seen) = recording(Subscription::new());
    let failing = |event: &MatchedEvent| if event.name() == "a" { Err(Harmful.into()) } else { Ok(()) };
    let handlers = vec![Registered::new(Subscription::new(), failing), all];
    let dispatcher = started(settings(), handlers);
    let watch = watch("v1/pods");
    let mut outlet = outlet(&dispatcher, &watch);
    for (name, version) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
        send(&mut outlet, event(&watch, name, version));
    }
    drop(outlet);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    assert_eq!((seen.lock().unwrap().len(), dispatcher.given_up()), (4, 2));
    assert!(!is_in_handler());
}

/// Keeps what this station logs.
struct Logbook(Mutex<Vec<String>>);

static LOGBOOK: Logbook = Logbook(Mutex::new(Vec::new()));

impl log::Log for Logbook {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("faro::dispatch")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// The lines so far that hold `part`.
fn logged(part: &str) -> Vec<String> {
    LOGBOOK.0.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
}

fn keep_logs() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        log::set_logger(&LOGBOOK).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
}

#[test]
fn a_slow_call_is_named_once_with_its_event_and_its_duration() {
    keep_logs();
    let gvr = "slow.example.com/v1/once";
    let event = event(&watch(gvr), "a", 7);
    let desk = Desk::new(Duration::from_secs(10));
    let call = |since: Duration| desk.begin("my::handler", &event, Instant::now() - since);
    call(Duration::from_secs(9));
    desk.check();
    desk.end(Duration::from_secs(9));
    assert_eq!(logged(gvr), [""; 0], "not slow");

    call(Duration::from_secs(30));
    desk.check();
    desk.check();
    desk.end(Duration::from_secs(31));
    desk.check();
    call(Duration::from_secs(9));
    desk.end(Duration::from_secs(12));
    let expected = [
        format!("WARN {gvr}: handler my::handler has not returned for 30.0s, with event {}", event.id()),
        format!("INFO {gvr}: handler my::handler has returned after 31.0s, with event {}", event.id()),
        format!("WARN {gvr}: handler my::handler took 12.0s for event {}", event.id()),
    ];
    assert_eq!(logged(gvr), expected);
}

#[test]
fn a_handler_that_hangs_is_named_while_it_hangs() {
    keep_logs();
    let gvr = "slow.example.com/v1/hangs";
    let (held, calls, release) = held();
    let settings = Settings { handler_warn_after: Duration::from_millis(1), ..settings() };
    let health = Health::default();
    let dispatcher = Dispatcher::new(&settings, vec![held], None, health.clone()).unwrap();
    let watch = watch(gvr);
    let event = event(&watch, "a", 7);
    let id = event.id();
    send(&mut outlet(&dispatcher, &watch), event);
    calls.recv_timeout(DEADLINE).unwrap();
    let begin = Instant::now();
    while logged(gvr).is_empty() {
        assert!(begin.elapsed() < DEADLINE, "it is named");
        std::thread::yield_now();
    }
    let line = logged(gvr).remove(0);
    assert!(line.starts_with("WARN") && line.contains("has not returned") && line.ends_with(&id), "{line}");
    drop(release);
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    assert_eq!(logged(gvr).len(), 2, "and once more when it has returned");
    assert_eq!(health.liveness().threads, 0);
}

#[test]
fn an_object_that_waits_is_named_once_and_once_more_when_nothing_of_it_waits() {
    keep_logs();
    let gvr = "waits.example.com/v1/once";
    let refusals = Arc::<Mutex<u32>>::default();
    let counted = Arc::clone(&refusals);
    let failing = move |_: &MatchedEvent| {
        let mut refusals = counted.lock().unwrap();
        *refusals += 1;
        if *refusals <= 3 { Err("the mailbox is full".into()) } else { Ok(()) }
    };
    let settings = Settings { retry: Retry { attempts_max: None, ..settings().retry }, ..settings() };
    let dispatcher = started(settings, vec![Registered::new(Subscription::new().name("mail"), failing)]);
    let watch = watch(gvr);
    send(&mut outlet(&dispatcher, &watch), event(&watch, "a", 1));
    assert_eq!(dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    let lines = logged(gvr);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("WARN {gvr} default/a: subscription mail refuses an event")), "{}", lines[0]);
    assert!(lines[0].ends_with("the mailbox is full"), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("INFO {gvr} default/a: subscription mail has accepted all")), "{}", lines[1]);
}

#[test]
fn a_thousand_objects_that_wait_are_ten_lines() {
    keep_logs();
    let gvr = "waits.example.com/v1/many";
    let (seen, calls) = bounded(10_000);
    let failing = move |event: &MatchedEvent| -> Result<(), HandlerError> {
        seen.send(event.name().into_owned())?;
        Err("refused".into())
    };
    let retry = Retry { pause_first: DEADLINE * 60, pause_max: DEADLINE * 60, ..Retry::default() };
    let dispatcher = started(Settings { retry, ..settings() }, vec![Registered::new(Subscription::new(), failing)]);
    let watch = watch(gvr);
    let mut outlet = outlet(&dispatcher, &watch);
    for number in 0..1000 {
        send(&mut outlet, event(&watch, &format!("a-{number}"), number));
        calls.recv_timeout(DEADLINE).unwrap();
    }
    drop(outlet);
    dispatcher.drain(Duration::ZERO);
    assert_eq!(logged(gvr).len(), 10);
}
