//! How a run ends: from whatever thread it is stopped, with whatever is on its way, and who is told.

use super::*;
use faro::controller::ControllerError;
use faro::dispatch::{CREDITS_PER_WATCH, Retry, Settings, Subscription};
use faro::lifecycle::{Joined, Stop};
use faro::sink::{JsonRecord, Verdict};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// From where a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    AnotherThread,
    Handler,
    /// On the thread of a lane.
    MiddlewareBehindHandler,
    /// On the thread of a watch.
    Middleware,
    ReadyCallback,
    EverywhereAtOnce,
}

fn check_stop(place: Where) {
    let stage = Stage::new();
    (0..20).for_each(|number| stage.create_map(&format!("m-{number}")));
    let controller = stage.controller(&["v1/configmaps", "v1/namespaces"]);
    let is_from = |places: &[Where]| places.contains(&place);
    let stops = |wanted: bool| {
        let controller = controller.clone();
        move || {
            if wanted {
                controller.stop();
                controller.stop();
            }
        }
    };
    let in_handler = stops(is_from(&[Where::Handler, Where::EverywhereAtOnce]));
    if !is_from(&[Where::Middleware]) {
        _ = controller
            .add_event_handler(move |_: &MatchedEvent| {
                in_handler();
                Ok(())
            })
            .unwrap();
    }
    let in_middleware = stops(is_from(&[Where::Middleware, Where::MiddlewareBehindHandler, Where::EverywhereAtOnce]));
    controller
        .add_json_middleware(move |_: &MatchedEvent, _: &mut JsonRecord| {
            in_middleware();
            Verdict::Write
        })
        .unwrap();
    controller.set_ready_callback(stops(is_from(&[Where::ReadyCallback, Where::EverywhereAtOnce]))).unwrap();
    let running = controller.spawn().unwrap();
    let outside = stops(is_from(&[Where::AnotherThread, Where::EverywhereAtOnce]));
    let thread = Joined::spawn("stopping", outside).unwrap();
    let ended = running.join().unwrap();
    drop(thread);
    assert_eq!(ended.unfinished, 0, "{place:?}");
    assert_eq!((controller.is_ready(), controller.active_informers().configured), (false, 0), "{place:?}");
    assert_eq!(controller.start_informers().unwrap(), 0, "{place:?}");
    // What was not told is told by the next run, and nothing twice, which reading the lines holds.
    let controller = stage.controller(&["v1/configmaps", "v1/namespaces"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    eventually(SOON, "every object is told", || stage.lines().len() == 24);
    stop(running);
}

#[test]
fn a_run_may_be_stopped_from_any_thread_and_as_often_as_one_likes() {
    let places = [
        Where::AnotherThread,
        Where::Handler,
        Where::MiddlewareBehindHandler,
        Where::Middleware,
        Where::ReadyCallback,
        Where::EverywhereAtOnce,
    ];
    places.into_iter().for_each(check_stop);
}

#[test]
fn a_controller_runs_once() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let heard = Heard::default();
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    assert!(matches!(controller.start().unwrap_err(), ControllerError::StartedBefore));
    stage.create_map("a");
    heard.wait_for("ADDED v1/configmaps default/a");
    assert_eq!(stop(running).unfinished, 0);
    let again = controller.spawn().unwrap().join().unwrap_err();
    assert!(matches!(again, ControllerError::StartedBefore), "{again}");
}

#[test]
fn a_controller_that_was_stopped_before_its_start_does_not_run() {
    let stage = Stage::new();
    stage.create_map("a");
    let controller = stage.controller(&["v1/configmaps"]);
    controller.stop();
    assert_eq!(controller.start().unwrap().unfinished, 0);
    assert_eq!(stage.lines(), []);
}

#[test]
fn dropping_what_was_spawned_ends_the_run_and_lets_the_handlers_go() {
    let stage = Stage::new();
    stage.define("dropped.test");
    stage.create_widget("dropped.test", "a");
    let controller = stage.controller(&["dropped.test/v1/widgets"]);
    let heard = Heard::default();
    let holding = controller.clone();
    let handler = heard.handler();
    _ = controller
        .add_event_handler(move |event: &MatchedEvent| {
            // It holds the controller that holds it.
            _ = holding.is_ready();
            handler(event)
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(running.controller());
    heard.wait_for("ADDED dropped.test/v1/widgets default/a");
    drop(running);
    assert!(!controller.is_ready());
    eventually(SOON, "its threads are gone", || threads_of("dropped.test").is_empty());
    assert_eq!(Arc::strong_count(&heard.0), 1, "nothing keeps the handler");
    assert_eq!(stage.lines().len(), 1, "all is written when the drop returns");
}

#[test]
fn the_ready_callback_is_called_once_and_not_where_the_run_is_stopped_before() {
    let stage = Stage::new();
    (0..2 * CREDITS_PER_WATCH).for_each(|number| stage.create_map(&format!("m-{number}")));
    let controller = stage.controller(&["v1/configmaps"]);
    let calls = Arc::<AtomicU64>::default();
    let (first, second) = (Arc::clone(&calls), Arc::clone(&calls));
    controller.set_ready_callback(move || _ = first.fetch_add(100, Ordering::SeqCst)).unwrap();
    controller.set_ready_callback(move || _ = second.fetch_add(1, Ordering::SeqCst)).unwrap();
    let release = Stop::new();
    let held = release.clone();
    _ = controller
        .add_event_handler(move |_: &MatchedEvent| {
            held.wait_until_requested();
            Ok(())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    eventually(SOON, "it lists", || controller.active_informers().configured == 1);
    running.stop();
    release.request();
    running.join().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 0, "its list had not ended");
    let controller = stage.controller(&["v1/configmaps"]);
    let counted = Arc::clone(&calls);
    controller.set_ready_callback(move || _ = counted.fetch_add(1, Ordering::SeqCst)).unwrap();
    let running = controller.spawn().unwrap();
    eventually(SOON, "it is called", || calls.load(Ordering::SeqCst) == 1);
    assert!(controller.is_ready());
    stop(running);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// Runs with lanes that are full of what their handler does not let go, until it is stopped.
fn stop_full(stage: &Stage, objects: usize, grace: Duration, returns_on_stop: bool) -> (Summary, Stop) {
    let config = stage.config().shutdown_grace(grace).resource(ResourceConfig::new("v1/configmaps"));
    let controller = stage.controller_of(config);
    let (release, entered) = (Stop::new(), Arc::<AtomicBool>::default());
    let (held, entering) = (release.clone(), Arc::clone(&entered));
    _ = controller
        .subscribe(Subscription::new().name("all"), move |_: &MatchedEvent| {
            entering.store(true, Ordering::SeqCst);
            held.wait_until_requested();
            Ok(())
        })
        .unwrap();
    (0..objects).for_each(|number| stage.create_map(&format!("m-{number}")));
    let running = controller.spawn().unwrap();
    eventually(SOON, "a handler has an event", || entered.load(Ordering::SeqCst));
    running.stop();
    if returns_on_stop {
        release.request();
    }
    (running.join().unwrap(), release)
}

/// The names that the next run tells its handler.
fn told_by_next_run(stage: &Stage, lines: usize) -> Vec<String> {
    let controller = stage.controller(&["v1/configmaps"]);
    let heard = Heard::default();
    _ = controller.subscribe(Subscription::new().name("all"), heard.handler()).unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    eventually(SOON, "every object has its line", || stage.lines().len() >= lines);
    assert_eq!(stop(running).unfinished, 0);
    heard.all()
}

#[test]
fn stop_with_full_lanes_ends_within_the_grace_and_the_next_run_tells_what_was_unfinished() {
    let stage = Stage::new();
    let objects = 2 * CREDITS_PER_WATCH;
    let (ended, release) = stop_full(&stage, objects, Duration::from_secs(1), false);
    assert!(ended.unfinished > 0 && ended.unfinished <= CREDITS_PER_WATCH as u64, "{ended:?}");
    assert_eq!(stage.lines().len() as u64, ended.unfinished, "the files wait for no handler");
    let told = told_by_next_run(&stage, objects);
    release.request();
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), objects);
    assert_eq!((told.len(), stage.lines().len()), (objects, objects), "each once");
}

#[test]
fn what_is_in_full_lanes_is_finished_where_the_handler_returns_in_time() {
    let stage = Stage::new();
    let objects = 2 * CREDITS_PER_WATCH;
    let (ended, _) = stop_full(&stage, objects, SOON, true);
    assert_eq!(ended.unfinished, 0);
    let written = stage.lines().len();
    let told = told_by_next_run(&stage, objects);
    assert_eq!(stage.lines().len(), objects, "reading them holds that none is there twice");
    assert_eq!(told.len(), objects - written, "what was finished is not told again");
}

#[test]
fn a_handler_that_gives_up_is_told_so_once_and_the_object_goes_on() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let (attempts, given_up, heard) = (Arc::<AtomicU64>::default(), Heard::default(), Heard::default());
    let (counted, noting, giving) = (Arc::clone(&attempts), heard.clone(), given_up.clone());
    let subscription = Subscription::new().name("all").retry(Retry::give_up_after(5)).on_gave_up(move |event, error| {
        giving.0.lock().unwrap().push(format!("{}: {error}", brief(event)));
    });
    _ = controller
        .subscribe(subscription, move |event: &MatchedEvent| {
            if event.name() == "a" && event.event_type.as_str() == "ADDED" {
                counted.fetch_add(1, Ordering::SeqCst);
                return Err("not this one".into());
            }
            noting.note(event);
            Ok(())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stage.create_map("a");
    stage.touch("v1/configmaps", "a", "1");
    stage.create_map("b");
    heard.wait_for("ADDED v1/configmaps default/b");
    heard.wait_for("UPDATED v1/configmaps default/a");
    assert_eq!(attempts.load(Ordering::SeqCst), 5, "of five attempts, which it asks for");
    assert_eq!(given_up.all(), ["ADDED v1/configmaps default/a: not this one"]);
    assert_eq!(stop(running).unfinished, 0, "it is acknowledged");
    let mut lines = stage.briefs_of("v1/configmaps");
    lines.sort();
    assert_eq!(lines, ["ADDED default/a", "ADDED default/b", "UPDATED default/a"]);
    assert_eq!(told_by_next_run(&stage, 3), Vec::<String>::new());
}

#[test]
fn how_often_a_handler_is_asked_is_for_the_program_to_say() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let (attempts, given_up) = (Arc::<AtomicU64>::default(), Heard::default());
    let (counted, giving) = (Arc::clone(&attempts), given_up.clone());
    let retry = Retry { pause_first: Duration::ZERO, ..Retry::give_up_after(2) };
    controller.set_handler_settings(Settings { retry, ..Settings::default() }).unwrap();
    let subscription = Subscription::new().on_gave_up(move |event, _| giving.note(event));
    _ = controller
        .subscribe(subscription, move |_: &MatchedEvent| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("never".into())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stage.create_map("a");
    given_up.wait_for("ADDED v1/configmaps default/a");
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    stop(running);
}
