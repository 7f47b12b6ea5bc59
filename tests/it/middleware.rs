//! JSON middleware in whole runs against a simulated API server: what it is given, what is written, and what a crash makes of it.

use crate::support::lines;
use crate::support::wait::{SOON, eventually};
use faro::config::Config;
use faro::controller::Controller;
use faro::dispatch::metadata_only;
use faro::event::{EventType, MatchedEvent};
use faro::lifecycle::Joined;
use faro::sim::Cluster;
use faro::sink::{JsonMiddleware, JsonRecord, Verdict, with_objects};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A simulated cluster, and the controllers that run against it one after the other.
struct Stage {
    cluster: Cluster,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { cluster: Cluster::start().unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn create(&self, name: &str) {
        let metadata = format!(r#"{{"name":"{name}","namespace":"default","labels":{{"app":"web"}}}}"#);
        let object = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{metadata},"data":{{"k":"{name}"}}}}"#);
        self.cluster.create(&object).unwrap();
    }

    fn touch(&self, name: &str) {
        self.cluster.label("v1/configmaps", &format!("default/{name}"), &[("touched", Some("1"))]).unwrap();
    }

    fn delete(&self, name: &str) {
        self.cluster.delete("v1/configmaps", &format!("default/{name}")).unwrap();
    }

    /// Runs with one middleware, does `work` once the first list has ended, waits until `name` is in a line, and stops. Returns
    /// what a handler was told, sorted.
    fn run(&self, middleware: impl JsonMiddleware + 'static, work: impl FnOnce(), name: &str) -> Vec<String> {
        let text = format!(
            "output_dir: {}\nmetrics: {{enabled: false}}\nresources: [{{gvr: v1/configmaps}}]",
            self.folder.path().display()
        );
        let controller = Controller::new(self.cluster.client(), Config::from_yaml(&text, "test").unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        _ = controller
            .add_event_handler(metadata_only(move |event: &MatchedEvent| {
                tells.lock().unwrap().push(format!("{} {}", event.event_type, event.metadata().name()));
                Ok(())
            }))
            .unwrap();
        controller.add_json_middleware(middleware).unwrap();
        let running = controller.clone();
        let thread = Joined::spawn("controller", move || assert_eq!(running.start().unwrap().unfinished, 0)).unwrap();
        eventually(SOON, "the first list has ended", || controller.is_ready());
        work();
        eventually(SOON, "the last object is written", || self.text().contains(name));
        controller.stop();
        drop(thread);
        let mut told = std::mem::take(&mut *told.lock().unwrap());
        told.sort();
        told
    }

    /// All that was written.
    fn text(&self) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    fn briefs(&self) -> Vec<String> {
        lines::read(self.folder.path()).iter().map(|line| format!("{} {}", line.event_type, line.name)).collect()
    }

    fn copy_state(&self, from: &str, to: &str) {
        let to = self.folder.path().join(to);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.folder.path().join(from)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn drop_updates(event: &MatchedEvent, _record: &mut JsonRecord) -> Verdict {
    match event.event_type {
        EventType::Added | EventType::Deleted => Verdict::Write,
        EventType::Updated => Verdict::Drop,
    }
}

#[test]
fn middleware_that_wants_objects_gets_them_though_handlers_do_not() {
    let stage = Stage::new();
    let adds_data = with_objects(|event: &MatchedEvent, record: &mut JsonRecord| {
        let object: Value = serde_json::from_slice(event.raw()).unwrap();
        record.set_field("acme.data", &object["data"]).unwrap();
        record.insert_label("team", "a").unwrap();
        Verdict::Write
    });
    stage.run(adds_data, || stage.create("one"), "one");
    let line: Value = serde_json::from_str(stage.text().lines().next().unwrap()).unwrap();
    assert_eq!((&line["acme.data"], &line["labels"]), (&json!({"k": "one"}), &json!({"app": "web", "team": "a"})));
}

/// A crash after lines that the state does not know: a dropped update between two of them must not come back behind them.
#[test]
fn after_a_crash_dropped_events_are_told_to_handlers_and_leave_the_lines_as_they_were() {
    let stage = Stage::new();
    let keep = || {
        stage.create("kept");
        stage.create("first");
    };
    stage.run(drop_updates, keep, "first");
    stage.copy_state("state", "old-state");
    let change = || {
        stage.create("brief");
        stage.touch("brief");
        stage.delete("brief");
        stage.touch("kept");
        stage.create("second");
    };
    let told = stage.run(drop_updates, change, "second");
    assert!(told.contains(&"UPDATED brief".to_owned()) && told.contains(&"UPDATED kept".to_owned()), "{told:?}");
    let before = stage.briefs();

    stage.copy_state("old-state", "state");
    let told = stage.run(drop_updates, || stage.create("third"), "third");
    assert_eq!(told, ["ADDED third", "UPDATED kept"], "what no line tells is told again, once");
    let mut expected = before;
    expected.push("ADDED third".to_owned());
    assert_eq!(stage.briefs(), expected);
    let mut of_brief = expected.iter().filter(|told| told.ends_with("brief"));
    assert!(of_brief.next().unwrap() == "ADDED brief" && of_brief.next().unwrap() == "DELETED brief");
}
