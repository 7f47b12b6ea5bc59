//! Watches that are added while a controller runs.

use super::*;
use crate::support::wait::eventually_some;
use faro::controller::ControllerError;
use faro::dispatch::{CREDITS_PER_WATCH, Subscription};
use faro::lifecycle::{Joined, Stop};
use faro::sim::{Fault, Faults};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use std::sync::atomic::{AtomicUsize, Ordering};

const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

/// The configured watches and the dynamic ones that are at work.
fn active(controller: &Controller) -> (usize, usize) {
    let active = controller.active_informers();
    (active.configured, active.dynamic)
}

#[test]
fn a_handler_that_sees_a_definition_may_watch_its_kind() {
    let stage = Stage::new();
    let controller = stage.controller(&[DEFINITIONS]);
    let (heard, adding, started) = (Heard::default(), controller.clone(), Arc::new(Mutex::new(Vec::new())));
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let counted = Arc::clone(&started);
    _ = controller
        .subscribe(
            Subscription::new().gvrs([DEFINITIONS.parse().unwrap()]),
            move |event: &MatchedEvent| -> Result<(), HandlerError> {
                let definition: CustomResourceDefinition = event.object()?;
                let spec = definition.spec;
                let kind = format!("{}/{}/{}", spec.group, spec.versions[0].name, spec.names.plural);
                adding.add_resources(&resource(&kind))?;
                counted.lock().unwrap().push(adding.start_informers()?);
                Ok(())
            },
        )
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    assert_eq!(active(&controller), (1, 0));
    stage.define("seen.test");
    stage.create_widget("seen.test", "a");
    heard.wait_for("ADDED seen.test/v1/widgets default/a");
    stage.touch("seen.test/v1/widgets", "a", "1");
    heard.wait_for("UPDATED seen.test/v1/widgets default/a");
    assert_eq!(active(&controller), (1, 1));
    // A change to the definition adds it once more, which does nothing.
    stage.cluster.label(DEFINITIONS, "widgets.seen.test", &[("touched", Some("1"))]).unwrap();
    eventually(SOON, "it is added again", || started.lock().unwrap().len() == 2);
    assert_eq!(*started.lock().unwrap(), [1, 0]);
    assert_eq!(active(&controller), (1, 1));
    stage.create_widget("seen.test", "b");
    heard.wait_for("ADDED seen.test/v1/widgets default/b");
    assert_eq!(stop(running).unfinished, 0);
    assert_eq!(active(&controller), (0, 0));
    let told = stage.briefs_of("seen.test/v1/widgets");
    let told: Vec<_> = told.iter().map(|brief| brief.trim_end_matches(" initial")).collect();
    assert_eq!(told, ["ADDED default/a", "UPDATED default/a", "ADDED default/b"]);
}

#[test]
fn what_is_added_before_the_start_is_started_with_it_and_what_is_watched_is_not_watched_twice() {
    let stage = Stage::new();
    stage.create_map("a");
    let controller = stage.controller(&["v1/configmaps"]);
    let heard = Heard::default();
    _ = controller.add_event_handler(heard.handler()).unwrap();
    controller.add_resources(&[ResourceConfig::new("v1/configmaps"), ResourceConfig::new("v1/namespaces")]).unwrap();
    assert_eq!(controller.start_informers().unwrap(), 0, "nothing runs yet");
    let running = controller.spawn().unwrap();
    heard.wait_for("ADDED v1/namespaces /default");
    heard.wait_for("ADDED v1/configmaps default/a");
    assert_eq!(active(&controller), (1, 1));
    stop(running);
    assert_eq!(stage.briefs_of("v1/configmaps"), ["ADDED default/a initial"]);
}

#[test]
fn one_mistake_among_what_is_added_has_its_place_and_nothing_is_added() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    let selector = ResourceConfig { label_selector: Some("a in".to_owned()), ..ResourceConfig::new("v1/pods") };
    let wrong = [
        (ResourceConfig::new("pods"), r#"resources[1].gvr: expected `version/resource`"#),
        (selector, "resources[1].label_selector: "),
    ];
    for (wrong, place) in wrong {
        let mixed = [ResourceConfig::new("v1/services"), wrong];
        for error in [controller.add_resources(&mixed).unwrap_err(), controller.remove_resources(&mixed).unwrap_err()] {
            assert!(matches!(error, ControllerError::Resources(_)) && error.to_string().contains(place), "{error}");
        }
        assert_eq!(controller.start_informers().unwrap(), 0);
    }
    assert_eq!(active(&controller), (1, 0));
    stop(running);
}

#[test]
fn a_kind_that_no_server_of_this_release_has_is_refused_with_what_is_near_it_and_harms_no_other() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&[ResourceConfig::new("v1/services"), ResourceConfig::new("v1/podz")]).unwrap();
    // Somebody else's.
    controller.add_resources(&resource("v1/secrets")).unwrap();
    let error = controller.start_informers().unwrap_err();
    assert!(matches!(error, ControllerError::Plan(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("resources[1]: ") && text.contains(r#"did you mean "v1/pods"?"#), "{text}");
    assert_eq!(active(&controller), (1, 2), "the others are started");
    assert_eq!(controller.start_informers().unwrap(), 0, "it is forgotten");
    stop(running);
}

#[test]
fn what_could_not_be_started_is_started_by_the_next_call_whoever_added_it() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&resource("v1/services")).unwrap();
    stage.cluster.down();
    // Tried again, as a handler is that fails: nothing piles up.
    for _ in 0..3 {
        controller.add_resources(&resource("v1/secrets")).unwrap();
        let error = controller.start_informers().unwrap_err();
        assert!(matches!(error, ControllerError::Server { .. }), "{error:?}");
    }
    assert_eq!(active(&controller), (1, 0));
    controller.remove_resources(&resource("v1/secrets")).unwrap();
    stage.cluster.up().unwrap();
    assert_eq!(controller.start_informers().unwrap(), 1, "what was removed meanwhile is not started");
    assert_eq!(active(&controller), (1, 1));
    stage.cluster.create("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None}}").unwrap();
    eventually(SOON, "it is told", || stage.briefs_of("v1/services").iter().any(|brief| brief.starts_with("ADDED default/s")));
    stop(running);
}

#[test]
fn whoever_finds_nothing_to_start_finds_it_at_work() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    let finished = Arc::<AtomicUsize>::default();
    let adding = |number: usize| {
        let (controller, finished) = (controller.clone(), Arc::clone(&finished));
        let add = move || {
            // Nothing serves it, so that it is waited for.
            controller.add_resources(&resource(&format!("g{number}.test/v1/widgets"))).unwrap();
            controller.start_informers().unwrap();
            let finished = finished.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(controller.active_informers().dynamic >= finished, "one of {finished} is not at work");
        };
        Joined::spawn("adding", add).unwrap()
    };
    let threads: Vec<_> = (0..16).map(adding).collect();
    eventually(SOON, "all are added", || threads.iter().all(Joined::is_finished));
    assert_eq!((finished.load(Ordering::SeqCst), active(&controller)), (16, (1, 16)));
    stop(running);
}

#[test]
fn a_stop_ends_every_start_that_waits_for_a_server() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stage.cluster.set_faults(Faults::only(&[Fault::HalfOpen]).one_in(1).half_open_limit(10 * SOON));
    let adding = |gvr: &'static str| {
        let controller = controller.clone();
        let add = move || {
            controller.add_resources(&resource(gvr)).unwrap();
            // It ends as stopped, or finds that there is nothing to start any more.
            assert!(!matches!(controller.start_informers(), Ok(1..)), "{gvr}");
        };
        Joined::spawn("adding", add).unwrap()
    };
    let threads = ["v1/services", "v1/secrets", "v1/pods"].map(adding);
    eventually(SOON, "one of them waits for the server", || stage.cluster.faults_struck().contains_key(&Fault::HalfOpen));
    controller.stop();
    eventually(SOON, "all have ended", || threads.iter().all(Joined::is_finished));
    stop(running);
}

#[test]
fn it_is_ready_when_what_was_added_has_listed_too() {
    let stage = Stage::new();
    // More than may be on their way, so that the list lasts as long as the handler.
    (0..2 * CREDITS_PER_WATCH).for_each(|number| stage.create_map(&format!("m-{number}")));
    let controller = stage.controller(&["v1/namespaces"]);
    let release = Stop::new();
    let held = release.clone();
    _ = controller
        .add_event_handler(move |event: &MatchedEvent| {
            if event.gvr() == "v1/configmaps" {
                held.wait_until_requested();
            }
            Ok(())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&resource("v1/configmaps")).unwrap();
    assert!(!controller.is_ready(), "from the call on");
    controller.start_informers().unwrap();
    assert!(!controller.is_ready());
    assert_eq!(active(&controller), (1, 1));
    release.request();
    wait_until_ready(&controller);
    stop(running);
    assert!(!controller.is_ready());
}

#[test]
fn of_what_is_added_as_much_is_asked_as_its_own_handlers_need() {
    let stage = Stage::new();
    stage.cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {key: value}}").unwrap();
    stage.cluster.create("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None}}").unwrap();
    let controller = stage.controller(&["v1/configmaps"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (narrow, whole) = (Arc::clone(&seen), Arc::clone(&seen));
    let look = |event: &MatchedEvent, key: &str| event.value().map(|object| object.get(key).is_some());
    _ = controller
        .subscribe(
            Subscription::new().gvrs(["v1/configmaps".parse().unwrap()]),
            faro::dispatch::metadata_only(move |event: &MatchedEvent| {
                narrow.lock().unwrap().push((event.gvr().to_owned(), look(event, "data")?));
                Ok(())
            }),
        )
        .unwrap();
    _ = controller
        .subscribe(Subscription::new().gvrs(["v1/services".parse().unwrap()]), move |event: &MatchedEvent| {
            whole.lock().unwrap().push((event.gvr().to_owned(), look(event, "spec")?));
            Ok(())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&resource("v1/services")).unwrap();
    controller.start_informers().unwrap();
    let mut told = eventually_some(SOON, "both are told", || Some(seen.lock().unwrap().clone()).filter(|told| told.len() == 2));
    told.sort();
    assert_eq!(told, [("v1/configmaps".to_owned(), false), ("v1/services".to_owned(), true)]);
    stop(running);
}

#[test]
fn what_is_added_while_the_server_is_away_is_watched_once_it_is_back() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    stage.cluster.down();
    controller.add_resources(&resource("v1/services")).unwrap();
    assert_eq!((active(&controller), controller.is_ready()), ((1, 0), false));
    stage.cluster.up().unwrap();
    stage.cluster.create("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None}}").unwrap();
    eventually(SOON, "it is told", || stage.briefs_of("v1/services").iter().any(|brief| brief.starts_with("ADDED default/s")));
    wait_until_ready(&controller);
    assert_eq!((active(&controller), controller.start_informers().unwrap()), ((1, 1), 1), "as nobody has asked before");
    assert_eq!(controller.start_informers().unwrap(), 0);
    stop(running);
}

#[test]
fn what_can_never_be_served_is_started_by_nobody_and_harms_nothing() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&resource("v1/podz")).unwrap();
    wait_until_ready(&controller);
    controller.add_resources(&resource("v1/services")).unwrap();
    eventually(SOON, "the other is watched", || active(&controller) == (1, 1));
    assert!(controller.start_informers().unwrap_err().to_string().contains("podz"), "a program that asks is answered");
    stop(running);
}

#[test]
fn a_controller_may_start_with_nothing_to_watch() {
    let stage = Stage::new();
    let controller = stage.controller(&[]);
    let (heard, ready) = (Heard::default(), Arc::<AtomicUsize>::default());
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let called = Arc::clone(&ready);
    controller.set_ready_callback(move || _ = called.fetch_add(1, Ordering::SeqCst)).unwrap();
    let running = controller.spawn().unwrap();
    assert!(controller.wait_until_synced(SOON));
    eventually(SOON, "it is told to be ready", || ready.load(Ordering::SeqCst) == 1);
    controller.add_resources(&resource("v1/configmaps")).unwrap();
    stage.create_map("a");
    heard.wait_for("ADDED v1/configmaps default/a");
    stop(running);
}

#[test]
fn what_earlier_runs_watched_is_watched_again_on_demand_and_the_deletes_are_told_of_what_went_meanwhile() {
    let stage = Stage::new();
    stage.define("shop.test");
    stage.create_widget("shop.test", "w");
    stage.create_map("a");
    let heard = Heard::default();
    let handlers_only = |stage: &Stage| stage.controller_of(stage.config().json_export(false));
    let controller = handlers_only(&stage);
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let wanted = [ResourceConfig::new("shop.test/v1/widgets"), ResourceConfig::new("v1/configmaps")];
    controller.add_resources(&wanted).unwrap();
    let running = controller.spawn().unwrap();
    assert!(controller.wait_until_synced(SOON));
    assert_eq!(controller.remembered().unwrap(), [], "nothing is from earlier runs");
    stop(running);
    assert!(controller.remembered().is_err(), "nothing runs");

    stage.cluster.delete("v1/configmaps", "default/a").unwrap();
    stage.cluster.delete("apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.shop.test").unwrap();
    for resumes_before_the_start in [true, false] {
        let controller = handlers_only(&stage);
        let heard = Heard::default();
        _ = controller.add_event_handler(heard.handler()).unwrap();
        if resumes_before_the_start {
            // Of this run nothing is told, so that the next one has it to tell.
            let running = controller.spawn().unwrap();
            assert!(controller.wait_until_synced(SOON));
            let remembered = controller.remembered().unwrap();
            let targets: Vec<_> = remembered.iter().map(|remembered| remembered.target.to_string()).collect();
            assert_eq!(targets, ["v1/configmaps", "shop.test/v1/widgets"]);
            stop(running);
            assert_eq!(heard.all(), [""; 0], "nobody asked for them");
            continue;
        }
        controller.resume_remembered().unwrap();
        let running = controller.spawn().unwrap();
        heard.wait_for("DELETED v1/configmaps default/a");
        heard.wait_for("DELETED shop.test/v1/widgets default/w");
        stop(running);
        assert!(controller.resume_remembered().is_err(), "it was stopped");
    }
}
