//! JSON middleware through a whole writer: order, drops, panics, and what is read back of what it changed.

use super::recover::recover_on;
use super::tests::content;
use super::writer::Destination;
use super::writing::Pace;
use super::*;
use crate::api::{FilePosition, ObjectRef, Watch};
use crate::config::RotateConfig;
use crate::dispatch::tests::{DEADLINE, completion, event, ledger, watch};
use crate::dispatch::{Export, Interest, Ledger};
use crate::event::{EventType, MatchedEvent};
use crate::files::memory::MemoryDisk;
use crate::files::{Keeping, Layer};
use crate::health::Health;
use crate::lifecycle::Stop;
use crate::metrics::Metrics;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

type Middleware = Vec<Arc<dyn JsonMiddleware>>;

fn middleware(body: impl Fn(&MatchedEvent, &mut JsonRecord) -> Verdict + Send + Sync + 'static) -> Arc<dyn JsonMiddleware> {
    Arc::new(body)
}

fn rich_event(watch: &Arc<Watch>) -> MatchedEvent {
    let object = br#"{"kind":"Pod","metadata":{"name":"web-0","namespace":"shop","uid":"0a-1","resourceVersion":"7","labels":{"app":"web","tier":"front"},"annotations":{"k":"v \"w\""}}}"#;
    let mut event = MatchedEvent::new(EventType::Added, Arc::clone(watch), ObjectRef::scan(object).unwrap().to_object());
    (event.initial, event.inferred) = (true, true);
    event
}

/// A writer with middleware, on a disk in memory.
struct Bench {
    disk: MemoryDisk,
    writer: Arc<Writer>,
    ledger: Arc<Ledger>,
}

impl Bench {
    fn with(middleware: Middleware) -> Self {
        let disk = MemoryDisk::default();
        let destination = Destination {
            folder: Some(("memory".into(), Arc::new(disk.clone()) as Arc<dyn Layer>)),
            rotate: RotateConfig::default(),
            keep: Keeping::default(),
            hold_until_committed: true,
            stdout: None,
            middleware,
        };
        let pace = Pace { first: Duration::ZERO, max: Duration::from_millis(1) };
        let writer = Writer::open_on(destination, pace, Metrics::default(), Health::default(), Stop::new()).unwrap();
        Self { disk, writer, ledger: ledger() }
    }

    fn export(&self, event: &MatchedEvent) {
        self.writer.export(event, completion(&self.ledger, event));
        self.writer.flush();
    }

    /// All lines; every event is complete.
    fn end(self) -> Vec<String> {
        assert!(self.writer.stop(Instant::now() + DEADLINE));
        assert_eq!(self.ledger.unfinished(), 0);
        content(&self.disk, true).lines().map(str::to_owned).collect()
    }
}

fn written(middleware: Middleware, events: &[MatchedEvent]) -> Vec<Value> {
    let bench = Bench::with(middleware);
    events.iter().for_each(|event| bench.export(event));
    bench.end().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_sees_what_the_one_before_it_did_and_the_line_is_what_the_last_one_left() {
    let first = middleware(|_, record| {
        record.insert_label("team", "a").unwrap();
        record.insert_label("app", "shop \"web\"\n").unwrap();
        record.set_field("seen", &json!([1])).unwrap();
        assert!(record.remove_annotation("k") && !record.remove_annotation("k"));
        Verdict::Write
    });
    let second = middleware(|_, record| {
        let labels: Vec<_> = record.labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["app=shop \"web\"\n", "tier=front", "team=a"]);
        assert!(record.annotations().is_empty() && record.remove_label("tier"));
        let fields: Vec<_> = record.fields().collect();
        assert_eq!(fields, [("seen".into(), json!([1]))]);
        record.set_field("first \"of\" all", &json!({"deep": null})).unwrap();
        record.set_field("seen", &json!(2)).unwrap();
        Verdict::Write
    });
    let watch = watch("v1/pods");
    let bench = Bench::with(vec![first, second]);
    bench.export(&rich_event(&watch));
    let line = bench.end().remove(0);
    let expected = format!(
        r#","eventType":"ADDED","gvr":"v1/pods","namespace":"shop","name":"web-0","uid":"0a-1","resourceVersion":"7","labels":{{"app":"shop \"web\"\n","team":"a"}},"initial":true,"inferred":true,"watch":"{}","first \"of\" all":{{"deep":null}},"seen":2}}"#,
        watch.id
    );
    assert!(line.ends_with(&expected), "{line}");
}

#[test]
fn the_first_drop_ends_it_and_the_event_is_complete_without_a_line() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let drops = middleware(|event, _| match event.metadata().resource_version().as_str() {
        "2" | "3" => Verdict::Drop,
        _ => Verdict::Write,
    });
    let asks = Arc::clone(&asked);
    let last = middleware(move |event, _| {
        asks.lock().unwrap().push(event.metadata().resource_version().as_str().to_owned());
        Verdict::Write
    });
    let watch = watch("v1/pods");
    let bench = Bench::with(vec![drops, last]);
    (1..=4).for_each(|version| bench.export(&event(&watch, "web-0", version)));
    let ledger = Arc::clone(&bench.ledger);
    let lines = bench.end();
    assert_eq!(*asked.lock().unwrap(), ["1", "4"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(ledger.accepted().version.unwrap().as_str(), "4");
}

/// Middleware whose panics cost no line.
struct FailsOpen(Arc<dyn JsonMiddleware>);

impl JsonMiddleware for FailsOpen {
    fn on_panic(&self) -> Verdict {
        Verdict::Write
    }

    fn process(&self, event: &MatchedEvent, record: &mut JsonRecord) -> Verdict {
        self.0.process(event, record)
    }
}

#[test]
fn a_panic_drops_the_line_as_it_may_be_what_keeps_a_secret_out() {
    let redacts = middleware(|event, record| {
        assert!(event.metadata().name() != "web-0", "a panic of this test");
        record.insert_label("redacted", "1").unwrap();
        Verdict::Write
    });
    let watch = watch("v1/pods");
    let lines = written(vec![redacts], &[rich_event(&watch), event(&watch, "web-1", 8)]);
    let told: Vec<_> = lines.iter().map(|line| (&line["name"], &line["labels"])).collect();
    assert_eq!(told, [(&json!("web-1"), &json!({"redacted": "1"}))]);
}

#[test]
fn where_it_is_asked_for_a_panic_undoes_what_that_one_did_and_nothing_else() {
    let adds = middleware(|_, record| {
        record.insert_label("added", "1").unwrap();
        record.set_field("kept", &json!(true)).unwrap();
        Verdict::Write
    });
    let panics = middleware(|event, record| {
        record.retain_labels(|_, _| false);
        record.insert_annotation("half", "done").unwrap();
        record.remove_field("kept");
        record.set_field("lost", &json!(true)).unwrap();
        assert!(event.metadata().name() != "web-0", "a panic of this test");
        Verdict::Write
    });
    let panics: Arc<dyn JsonMiddleware> = Arc::new(FailsOpen(panics));
    let goes_on = middleware(|_, record| {
        record.insert_label("last", "1").unwrap();
        Verdict::Write
    });
    let watch = watch("v1/pods");
    let lines = written(vec![adds, panics, goes_on], &[rich_event(&watch), event(&watch, "web-1", 8)]);
    assert_eq!(lines[0]["labels"], json!({"app": "web", "tier": "front", "added": "1", "last": "1"}));
    assert_eq!(lines[0]["annotations"], json!({"k": "v \"w\""}));
    assert_eq!((&lines[0]["kept"], lines[0].get("lost")), (&json!(true), None));
    assert_eq!((&lines[1]["labels"], &lines[1]["annotations"]), (&json!({"last": "1"}), &json!({"half": "done"})));
    assert_eq!((lines[1].get("kept"), &lines[1]["lost"]), (None, &json!(true)));
}

#[cfg(feature = "metrics")]
#[test]
fn drops_and_panics_are_counted() {
    let middleware = middleware(|event, _| {
        assert!(event.metadata().resource_version().as_str() != "1", "a panic of this test");
        Verdict::Drop
    });
    let chain = super::middleware::Chain::new(vec![middleware]);
    let (metrics, watch) = (Metrics::default(), watch("v1/pods"));
    let of_watch = metrics.watch(&watch);
    for version in [1, 2, 3] {
        assert!(chain.process(&event(&watch, "web-0", version), &of_watch).is_none());
    }
    let text = metrics.text(&Health::default());
    for (series, count) in [("faro_middleware_panics_total", 1), ("faro_records_dropped_total", 3)] {
        assert!(text.contains(&format!("{series}{{gvr=\"v1/pods\"}} {count}\n")), "{series} is not {count}: {text}");
    }
}

#[test]
fn no_lock_is_held_while_it_runs() {
    let writer: Arc<OnceLock<Weak<Writer>>> = Arc::default();
    let inside = Arc::clone(&writer);
    let uses_the_writer = middleware(move |event, _| {
        let writer = inside.get().unwrap().upgrade().unwrap();
        writer.flush();
        writer.sync(Duration::ZERO);
        assert!(writer.path().is_some() && writer.locate(writer.position()).is_some());
        if event.metadata().resource_version().as_str() == "1" { Verdict::Drop } else { Verdict::Write }
    });
    let bench = Bench::with(vec![uses_the_writer]);
    writer.set(Arc::downgrade(&bench.writer)).unwrap();
    let watch = watch("v1/pods");
    (1..=3).for_each(|version| bench.export(&event(&watch, "web-0", version)));
    assert_eq!(bench.end().len(), 2);
}

#[test]
fn whole_objects_are_wanted_when_one_wants_them() {
    let plain = || middleware(|_, _| Verdict::Write);
    let whole: Arc<dyn JsonMiddleware> = Arc::new(with_objects(|_: &MatchedEvent, _: &mut JsonRecord| Verdict::Write));
    let shared: Arc<dyn JsonMiddleware> = Arc::new(Arc::clone(&whole));
    assert_eq!((plain().interest(), shared.interest()), (Interest::Metadata, Interest::Object));
    for (middleware, expected) in
        [(vec![], false), (vec![plain()], false), (vec![plain(), whole], true), (vec![shared, plain()], true)]
    {
        let settings = SinkSettings { middleware, ..SinkSettings::default() };
        let writer = Writer::open(settings.clone(), Metrics::default(), Health::default(), Stop::new()).unwrap();
        assert_eq!(writer.wants_objects(), expected, "{settings:?}");
    }
}

#[test]
fn changed_lines_are_read_back_and_a_line_after_a_dropped_one_of_its_watch_says_so() {
    let changes = middleware(|event, record| {
        record.insert_label("team", "a \"b\"").unwrap();
        record.set_field("deep", &json!({"watch": [1, {"eventType": null}], "text": "}\n{"})).unwrap();
        if event.metadata().resource_version().as_str().ends_with('0') { Verdict::Drop } else { Verdict::Write }
    });
    let bench = Bench::with(vec![changes]);
    let (pods, services) = (watch("v1/pods"), watch("v1/services"));
    for (watch, version) in [(&pods, 9), (&pods, 10), (&services, 11), (&pods, 12), (&pods, 13), (&pods, 20), (&services, 20)] {
        bench.export(&event(watch, "web-0", version));
    }
    let disk = bench.disk.clone();
    assert_eq!(bench.end().len(), 4);
    let mut told = Vec::new();
    recover_on(&disk, Path::new("memory"), Some(&FilePosition::default()), &mut |line| {
        let labels = line.identity.to_object().as_ref().labels().as_json().to_owned();
        assert_eq!(labels, r#"{"team":"a \"b\""}"#);
        told.push((line.watch, line.identity.version().to_owned(), line.after_drop));
    })
    .unwrap();
    let expected = [(pods.id, "9", false), (services.id, "11", false), (pods.id, "12", true), (pods.id, "13", false)];
    assert_eq!(told, expected.map(|(watch, version, after_drop)| (watch, version.to_owned(), after_drop)));
}

/// The mark is read back for as long as the dropped event may be told again.
#[test]
fn the_mark_of_a_dropped_event_stays_uncommitted_until_the_prefix_is_past_it() {
    let bench = Bench::with(vec![middleware(|event, _| {
        if event.metadata().resource_version().as_str() == "3" { Verdict::Drop } else { Verdict::Write }
    })]);
    let watch = watch("v1/pods");
    let events = [1, 2, 3, 4].map(|version| event(&watch, "web-0", version));
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|index| completion(&bench.ledger, &events[index]));
    bench.writer.export(&events[0], first);
    assert!(bench.writer.sync(DEADLINE));
    // The second is with a handler while the third is dropped, and the fourth is marked and written.
    let before = bench.writer.position();
    bench.writer.export(&events[2], third);
    assert_eq!(bench.ledger.progress().written_beyond, Some(before.0));
    bench.writer.export(&events[3], fourth);
    assert!(bench.writer.sync(DEADLINE));
    assert!(bench.ledger.progress().written_beyond.unwrap() <= before.0);
    bench.writer.export(&events[1], second);
    assert!(bench.writer.sync(DEADLINE));
    assert_eq!(bench.ledger.progress().written_beyond, None);
    assert_eq!(bench.end().iter().map(|line| line.ends_with(" }")).collect::<Vec<_>>(), [false, true, false]);
}
