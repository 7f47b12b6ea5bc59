//! Five hundred watches of one server that restarts: they come back over seconds, list a few at a time, and lose nothing.

use crate::support::wait::{SOON, eventually};
use faro::config::Config;
use faro::controller::Controller;
use faro::dispatch::HandlerError;
use faro::event::MatchedEvent;
use faro::lifecycle::Joined;
use faro::sim::Cluster;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WATCHES: usize = 500;

/// Slow enough for lists to meet, were they let.
const LIST_TIME: Duration = Duration::from_millis(10);

/// Each namespace's object, and the types of its events in order.
type Told = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

struct Run {
    cluster: Cluster,
    controller: Controller,
    told: Told,
    _thread: Joined,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.controller.stop();
    }
}

impl Run {
    /// A watch of each of many namespaces, with an object in each.
    fn start(max_concurrent_lists: usize) -> Self {
        let cluster = Cluster::builder().tls(false).list_time(LIST_TIME).start().unwrap();
        let namespaces: Vec<_> = (0..WATCHES).map(|n| format!("n-{n}")).collect();
        for namespace in &namespaces {
            cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
            let metadata = format!("{{namespace: {namespace}, name: o}}");
            cluster.create(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}")).unwrap();
        }
        let text = format!(
            "output_dir: unused\njson_export: false\nstate: {{enabled: false}}\nmetrics: {{enabled: false}}\n\
             max_concurrent_lists: {max_concurrent_lists}\n\
             resources: [{{gvr: v1/configmaps, namespace_names: [{}]}}]",
            namespaces.join(", ")
        );
        let controller = Controller::new(cluster.client(), Config::from_yaml(&text, "test").unwrap());
        let told = Told::default();
        let telling = Arc::clone(&told);
        _ = controller
            .add_event_handler(move |event: &MatchedEvent| -> Result<(), HandlerError> {
                let object = event.metadata();
                telling.lock().unwrap().entry(object.namespace().into_owned()).or_default().push(event.event_type.to_string());
                Ok(())
            })
            .unwrap();
        let starting = controller.clone();
        let thread = Joined::spawn("controller", move || drop(starting.start())).unwrap();
        let run = Self { cluster, controller, told, _thread: thread };
        run.wait_until_told(&["ADDED"]);
        run
    }

    fn wait_until_told(&self, expected: &[&str]) {
        eventually(2 * SOON, &format!("{WATCHES} objects told as {expected:?}"), || {
            let told = self.told.lock().unwrap();
            told.len() == WATCHES && told.values().all(|types| types == expected)
        });
    }

    /// So many lists at once were allowed; more than `before` shows that they were let, however busy the machine is.
    fn check_most_lists(&self, before: usize, allowed: usize) {
        let most = self.cluster.most_lists_at_once();
        assert!(before < most && most <= allowed, "{most} lists at once, {allowed} are allowed");
    }

    fn change_all(&self) {
        let turn = fastrand::u64(..).to_string();
        for n in 0..WATCHES {
            self.cluster.label("v1/configmaps", &format!("n-{n}/o"), &[("turn", Some(&turn))]).unwrap();
        }
    }
}

#[test]
fn restart_under_five_hundred_watches_brings_them_back_over_seconds_and_lists_by_fours() {
    let run = Run::start(4);
    run.check_most_lists(1, 4);
    run.cluster.restart().unwrap();
    let restarted = Instant::now();
    run.change_all();
    eventually(SOON, "half of them are back", || run.cluster.connections() >= WATCHES / 2);
    // Half of 5 s at random; a machine that is busy makes it more.
    assert!(restarted.elapsed() > Duration::from_secs(1), "{:?}", restarted.elapsed());
    run.wait_until_told(&["ADDED", "UPDATED"]);
    // Away for longer than history: everything is listed again and compared.
    run.cluster.down();
    run.change_all();
    run.cluster.compact();
    run.cluster.up().unwrap();
    run.wait_until_told(&["ADDED", "UPDATED", "UPDATED"]);
    run.check_most_lists(1, 4);
}

#[test]
fn as_many_lists_as_are_configured_are_under_way_at_once() {
    let run = Run::start(16);
    run.check_most_lists(4, 16);
}
