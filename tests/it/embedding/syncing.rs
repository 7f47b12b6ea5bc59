//! When a program may rely on what its handlers were given.

use super::{Stage, stop, wait_until_ready};
use crate::support::wait::{SOON, eventually};
use faro::client::Client;
use faro::config::ResourceConfig;
use faro::controller::Controller;
use faro::dispatch::Subscription;
use faro::event::MatchedEvent;
use faro::health::Reason;
use faro::lifecycle::Stop;
use faro::sim::{Cluster, Rule};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// More than the handler below takes at first, and few enough that all are on their way at once.
const MAPS: usize = 120;

#[test]
fn ready_means_that_the_handlers_have_accepted_the_first_list() {
    let stage = Stage::new();
    (0..MAPS).for_each(|number| stage.create_map(&format!("m-{number}")));
    let controller = stage.controller(&["v1/configmaps", "v1/namespaces"]);
    let (calls, ready, release) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Stop::new());
    let (counted, held) = (Arc::clone(&calls), release.clone());
    let maps = Subscription::new().gvrs(["v1/configmaps".parse().unwrap()]);
    let slow = controller.subscribe(maps, move |_: &MatchedEvent| {
        if counted.fetch_add(1, Ordering::SeqCst) >= 4 {
            held.wait_until_requested();
        }
        Ok(())
    });
    let slow = slow.unwrap();
    let other = Subscription::new().gvrs(["v1/namespaces".parse().unwrap()]);
    let other = controller.subscribe(other, |_: &MatchedEvent| Ok(())).unwrap();
    let quick = Subscription::new().gvrs(["v1/configmaps".parse().unwrap()]);
    let quick = controller.subscribe(quick, |_: &MatchedEvent| Ok(())).unwrap();
    let none = controller.subscribe(Subscription::new().gvrs(["v1/pods".parse().unwrap()]), |_: &MatchedEvent| Ok(())).unwrap();
    let called = Arc::clone(&ready);
    controller.set_ready_callback(move || _ = called.fetch_add(1, Ordering::SeqCst)).unwrap();
    assert!(!other.has_synced(), "nothing runs");
    let running = controller.spawn().unwrap();
    let waiting = || controller.readiness().map(|readiness| readiness.not_synced).unwrap_or_default();
    let is_read = || waiting().iter().any(|watch| watch.reason == Reason::NotAccepted);
    eventually(SOON, "the list is read, and the handlers have not accepted it", is_read);
    eventually(SOON, "the other watch has synced", || other.has_synced());
    eventually(SOON, "the other handler of the same list has it", || quick.has_synced());
    assert!(!controller.is_ready() && !controller.wait_until_synced(Duration::from_millis(50)));
    assert_eq!((slow.has_synced(), ready.load(Ordering::SeqCst)), (false, 0));
    release.request();
    assert!(controller.wait_until_synced(SOON));
    assert_eq!((slow.has_synced(), none.has_synced(), calls.load(Ordering::SeqCst) >= MAPS), (true, false, true));
    eventually(SOON, "the callback is called", || ready.load(Ordering::SeqCst) == 1);
    assert!(controller.is_strictly_ready());
    stop(running);
    assert!(!slow.has_synced() && !controller.wait_until_synced(SOON), "nothing runs any more");
}

#[test]
fn a_forbidden_watch_and_an_absent_kind_are_ready_and_not_strictly_so() {
    let (cluster, stage) = (Cluster::start().unwrap(), Stage::new());
    let user = cluster.add_user("half", &[], ["namespaces", "configmaps"].map(may_list_and_watch)).unwrap();
    let client = Client::from_kubeconfig(&user, None).unwrap();
    for (other, is_strict) in [("v1/namespaces", true), ("v1/services", false), ("absent.test/v1/widgets", false)] {
        let config =
            stage.config().state(false).resource(ResourceConfig::new("v1/configmaps")).resource(ResourceConfig::new(other));
        let controller = Controller::new(client.clone(), config.build().unwrap());
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        eventually(SOON, other, || controller.is_ready() && controller.is_strictly_ready() == is_strict);
        stop(running);
    }
}

fn may_list_and_watch(resource: &str) -> Rule {
    let verbs = ["list", "watch"].map(str::to_owned).to_vec();
    let (resources, namespaces) = (vec![resource.to_owned()], vec!["*".to_owned()]);
    Rule { user: "half".to_owned(), verbs, resources, namespaces, reason: String::new() }
}
