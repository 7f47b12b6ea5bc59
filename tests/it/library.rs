//! The library inside another program: whole objects, handlers that fail, panic, block and stop, and what a run returns.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, line, page, refused_streaming_list, watch};
use crate::support::lines;
use crate::support::wait::SOON;
use crossbeam_channel::{Receiver, Sender, bounded};
use faro::client::Client;
use faro::config::Config;
use faro::controller::{Controller, ControllerError, Summary};
use faro::dispatch::{EventHandler, Subscription, metadata_only};
use faro::event::MatchedEvent;
use faro::lifecycle::{Joined, Stop};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A controller that is set up but not started; its folder is the server's.
fn controller(api: &Api, config: &str) -> Controller {
    let output = api.folder().join("out");
    let text = format!("output_dir: {}\nmetrics: {{enabled: false}}\n{config}", output.display());
    let client = Client::from_kubeconfig(&api.kubeconfig(), None).unwrap();
    Controller::new(client, Config::from_yaml(&text, "test").unwrap())
}

/// One at work, until it is stopped.
struct Run {
    controller: Controller,
    result: Receiver<Result<Summary, ControllerError>>,
    // Joined after the stop that dropping asks for.
    _thread: Joined,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.controller.stop();
    }
}

impl Run {
    fn start(controller: Controller) -> Self {
        let (ended, result) = bounded(1);
        let starting = controller.clone();
        let thread = Joined::spawn("controller", move || ended.send(starting.start()).unwrap());
        Self { controller, result, _thread: thread.unwrap() }
    }

    fn end(self) -> Summary {
        self.result.recv_timeout(SOON).expect("the run ends").unwrap()
    }

    fn stop(self) -> Summary {
        self.controller.stop();
        self.end()
    }
}

/// A handler that hands on what `read` makes of each event.
fn collecting<T: Send + 'static>(
    read: impl Fn(&MatchedEvent) -> T + Send + Sync + 'static,
) -> (impl EventHandler + 'static, Receiver<T>) {
    let (sender, receiver): (Sender<T>, _) = bounded(1000);
    (move |event: &MatchedEvent| sender.send(read(event)).map_err(|_| "the test has ended".into()), receiver)
}

/// The next `count` that come.
fn next<T>(receiver: &Receiver<T>, count: usize) -> Vec<T> {
    (0..count).map(|_| receiver.recv_timeout(SOON).expect("one more event comes")).collect()
}

/// `ADDED demo/a 7`.
fn brief(event: &MatchedEvent) -> String {
    let object = event.metadata();
    format!("{} {}/{} {}", event.event_type, object.namespace(), object.name(), object.resource_version())
}

#[test]
fn handler_gets_recorded_objects_whole_and_typed() {
    let api = Api::new(Release::V1_20);
    let last = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"224"},"items":[{"metadata":{"name":"cm-6","namespace":"demo","uid":"u6","resourceVersion":"224"},"data":{"key":"value-6"}}]}"#;
    let token = |page: &str| {
        format!("list {CONFIGMAPS}?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MjI0LCJzdGFydCI6Ii9jbS{page}XHUwMDAwIn0")
    };
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::recorded("list-page-1")]);
    api.server.on(&token("0y"), [Answer::recorded("list-page-2")]);
    api.server.on(&token("01"), [Answer::json(200, last)]);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list(), Answer::recorded("watch-from-rv").left_open()]);
    let controller = controller(&api, &format!("json_export: false\nstate: {{enabled: false}}\n{WATCH_CONFIGMAPS}"));
    let (handler, typed) = collecting(|event| {
        assert!(!event.metadata_only);
        let object: ConfigMap = event.object().unwrap();
        let data = object.data.unwrap_or_default();
        (event.event_type.to_string(), object.metadata.name.unwrap(), data.into_values().next().unwrap_or_default())
    });
    _ = controller.add_event_handler(handler).unwrap();
    let run = Run::start(controller);
    // Events of different objects may overtake each other.
    let (live, mut listed): (Vec<_>, Vec<_>) = next(&typed, 11).into_iter().partition(|(_, name, _)| name == "live");
    listed.sort();
    let expected: Vec<_> = (0..7).map(|n| ("ADDED".to_owned(), format!("cm-{n}"), format!("value-{n}"))).collect();
    assert_eq!(listed, expected);
    let changes = ["ADDED", "UPDATED", "UPDATED", "DELETED"].map(|kind| (kind.to_owned(), "live".to_owned(), "1".to_owned()));
    assert_eq!(live, changes);
    assert_eq!(run.stop().unfinished, 0);
    for request in api.server.requests().iter().filter(|request| request.path == CONFIGMAPS) {
        assert_eq!(request.header("Accept"), Some("application/json"), "{}", request.what());
    }
    assert!(!api.folder().join("out").exists(), "nothing is written where nothing is exported and nothing kept");
}

#[test]
fn whole_pod_is_read_by_its_type() {
    let api = Api::new(Release::V1_36);
    let pod = include_str!("../golden/pod.json").trim();
    let text = format!(r#"{{"type":"ADDED","object":{pod}}}"#);
    api.server.on("watch /api/v1/pods", [Answer::watch([text.as_str()]).left_open()]);
    let controller = controller(&api, "json_export: false\nresources: [{gvr: v1/pods}]");
    let (handler, pods) = collecting(|event| event.object::<Pod>().unwrap());
    _ = controller.add_event_handler(handler).unwrap();
    let run = Run::start(controller);
    let told = next(&pods, 1).remove(0);
    assert_eq!(told, serde_json::from_str::<Pod>(pod).unwrap());
    assert!(!told.spec.unwrap().containers.is_empty());
    run.stop();
}

#[test]
fn recorded_list_that_is_compressed_is_told_whole() {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [Answer::recorded("list-gzip-large").in_pieces(100)]);
    let controller = controller(&api, &format!("json_export: false\nstate: {{enabled: false}}\n{WATCH_CONFIGMAPS}"));
    let (handler, sizes) = collecting(|event| event.raw().len());
    _ = controller.add_event_handler(handler).unwrap();
    let run = Run::start(controller);
    let bytes: usize = next(&sizes, 67).iter().sum();
    assert!(bytes > 200_000, "{bytes}");
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(Api::resumed_from(&requests, CONFIGMAPS), ["354"]);
    run.stop();
    for request in requests.iter().filter(|request| request.path == CONFIGMAPS) {
        let expected = if request.what().starts_with("list ") { "gzip" } else { "identity" };
        assert_eq!(request.header("Accept-Encoding"), Some(expected), "{}", request.what());
    }
}

#[test]
fn handler_that_fails_or_panics_gets_its_event_again_before_any_later_one_of_the_object() {
    for panics in [false, true] {
        let api = Api::with_a_and_b();
        api.server.on(&format!("watch {CONFIGMAPS}"), [watch(&[line("MODIFIED", "a", 11)]).left_open()]);
        let controller = controller(&api, WATCH_CONFIGMAPS);
        let attempts = Arc::new(AtomicU32::new(0));
        let (accept, accepted) = collecting(brief);
        let counted = Arc::clone(&attempts);
        _ = controller
            .add_event_handler(move |event: &MatchedEvent| {
                let is_first = event.metadata().name() == "a" && event.metadata().resource_version().as_str() == "7";
                if is_first && counted.fetch_add(1, Ordering::Relaxed) < 2 {
                    if panics {
                        // Without the panic hook, which would print.
                        resume_unwind(Box::new("not yet"));
                    }
                    return Err("not yet".into());
                }
                accept.on_matched(event)
            })
            .unwrap();
        let (second, seen) = collecting(brief);
        _ = controller.add_event_handler(second).unwrap();
        let run = Run::start(controller);
        let told = next(&accepted, 3);
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
        for told in [told, next(&seen, 3)] {
            let of_a: Vec<&String> = told.iter().filter(|brief| brief.contains("/a ")).collect();
            assert_eq!(of_a, ["ADDED demo/a 7", "UPDATED demo/a 11"]);
            assert!(told.contains(&"ADDED demo/b 8".to_owned()));
        }
        assert_eq!(run.stop().unfinished, 0);
        assert_eq!(lines::read(&api.folder().join("out")).len(), 3, "the file has each event once");
    }
}

#[test]
fn handler_may_stop_the_run_it_is_called_from() {
    let api = Api::with_a_and_b();
    let controller = controller(&api, WATCH_CONFIGMAPS);
    let stopping = controller.clone();
    _ = controller
        .add_event_handler(move |_: &MatchedEvent| {
            stopping.stop();
            Ok(())
        })
        .unwrap();
    assert_eq!(Run::start(controller).end().unfinished, 0);
}

#[test]
fn handler_that_does_not_return_stops_no_other_kind_and_is_left_after_the_grace() {
    let api = Api::with_a_and_b();
    let secrets = "/api/v1/namespaces/demo/secrets";
    let changes: Vec<String> = (11..300).map(|version| line("MODIFIED", "s", version)).collect();
    api.server.on(&format!("watch {secrets}"), [refused_streaming_list(), watch(&changes).left_open()]);
    api.server.on(&format!("list {secrets}"), [page(10, &[("s", 9)])]);
    let config = "shutdown_grace_sec: 1\nresources: [{gvr: v1/configmaps, namespace_names: [demo]}, {gvr: v1/secrets, namespace_names: [demo]}]";
    let controller = controller(&api, config);
    let release = Stop::new();
    let held = release.clone();
    let (accept, accepted) = collecting(brief);
    _ = controller
        .add_event_handler(move |event: &MatchedEvent| {
            if event.watch.gvr == "v1/configmaps" {
                held.wait_until_requested();
            }
            accept.on_matched(event)
        })
        .unwrap();
    let run = Run::start(controller);
    let told = next(&accepted, 290);
    assert_eq!(told.last().unwrap(), "UPDATED demo/s 299");
    assert_eq!(run.stop().unfinished, 2);
    release.request();
    assert_eq!(lines::read(&api.folder().join("out")).len(), 292, "the files hold what the handler has not accepted");
}

#[test]
fn without_handlers_metadata_is_enough() {
    let api = Api::with_a_and_b();
    let run = Run::start(controller(&api, WATCH_CONFIGMAPS));
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(run.stop().unfinished, 0);
    for request in requests.iter().filter(|request| request.path == CONFIGMAPS) {
        assert!(request.header("Accept").unwrap().contains(";as=PartialObjectMetadata"), "{}", request.what());
    }
    let told: Vec<String> = lines::read(&api.folder().join("out")).iter().map(lines::Line::brief).collect();
    assert_eq!(told, ["ADDED demo/a initial", "ADDED demo/b initial"]);
}

#[test]
fn handler_that_needs_metadata_is_told_so_and_nothing_more_is_asked() {
    let api = Api::with_a_and_b();
    let controller = controller(&api, WATCH_CONFIGMAPS);
    let (collect, told) = collecting(|event| (brief(event), event.metadata_only));
    let in_demo = Subscription::new().namespaces(["demo"]);
    _ = controller.subscribe(in_demo, metadata_only(move |event| collect.on_matched(event))).unwrap();
    let pods = Subscription::new().gvrs(["v1/pods".parse().unwrap()]);
    _ = controller.subscribe(pods, |event: &MatchedEvent| Err(format!("{} is no pod", event.key()).into())).unwrap();
    let run = Run::start(controller);
    let mut told = next(&told, 2);
    told.sort();
    assert_eq!(told, [("ADDED demo/a 7".to_owned(), true), ("ADDED demo/b 8".to_owned(), true)]);
    let requests = api.server.wait_for("the watch", |requests| !Api::resumed_from(requests, CONFIGMAPS).is_empty());
    assert_eq!(run.stop().unfinished, 0);
    for request in requests.iter().filter(|request| request.path == CONFIGMAPS) {
        assert!(request.header("Accept").unwrap().contains(";as=PartialObjectMetadata"), "{}", request.what());
    }
}

#[test]
fn run_that_cannot_start_says_why_and_leaves_nothing_running() {
    let api = Api::with_a_and_b();
    let error = controller(&api, "resources: [{gvr: v1/podz}]").start().unwrap_err();
    assert!(matches!(error, ControllerError::Plan(_)) && error.to_string().contains(r#"did you mean "v1/pods"?"#), "{error}");
    let api = Api::empty();
    let error = controller(&api, WATCH_CONFIGMAPS).start().unwrap_err();
    assert!(matches!(error, ControllerError::Server { .. }) && error.to_string().contains(&api.server.url()), "{error}");
}
