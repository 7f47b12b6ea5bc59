//! What was handed to handlers is known after a stop and after a crash, and each receiver gets what it lacks and nothing else.
//!
//! A crash is played by a copy of what is on the disk, from which the next run goes on.

use super::{Heard, Stage, stop, wait_until_ready};
use crate::support::wait::{SOON, eventually};
use faro::config::{Config, ConfigBuilder, ResourceConfig};
use faro::controller::{Controller, Spawned};
use faro::dispatch::{HandlerError, Retry, Settings, Subscription};
use faro::event::MatchedEvent;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Notes what it accepts, and refuses objects of which `refuses` says so until the switch is on.
fn refusing(
    heard: &Heard,
    accepts: &Arc<AtomicBool>,
    refuses: fn(&str) -> bool,
) -> impl Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync + 'static {
    let (heard, accepts) = (heard.clone(), Arc::clone(accepts));
    move |event: &MatchedEvent| {
        if refuses(&event.name()) && !accepts.load(Ordering::SeqCst) {
            return Err("refused".into());
        }
        heard.note(event);
        Ok(())
    }
}

/// What is on the disk now, as a crash would leave it.
fn crashed(folder: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type().unwrap().is_dir() {
                copy(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    copy(folder, copied.path());
    copied
}

/// Ends soon, though something waits for a handler.
fn config(folder: &Path) -> ConfigBuilder {
    Config::builder(folder)
        .without_metrics()
        .shutdown_grace(Duration::from_secs(1))
        .resource(ResourceConfig::new("v1/configmaps"))
}

/// A subscription's name, what it notes, whether it accepts all, and else which names it refuses.
type Handler<'a> = (&'a str, &'a Heard, &'a Arc<AtomicBool>, fn(&str) -> bool);

fn start(stage: &Stage, config: ConfigBuilder, handlers: &[Handler<'_>]) -> Spawned {
    let controller = stage.controller_of(config);
    let retry = Retry { pause_first: Duration::from_millis(1), pause_max: Duration::from_millis(20), ..Retry::default() };
    controller.set_handler_settings(Settings { retry, ..Settings::default() }).unwrap();
    for (name, heard, accepts, refuses) in handlers {
        _ = controller.subscribe(Subscription::new().name(*name), refusing(heard, accepts, *refuses)).unwrap();
    }
    controller.spawn().unwrap()
}

fn sorted(heard: &Heard) -> Vec<String> {
    let mut all = heard.all();
    all.sort();
    all
}

fn on() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn nothing(_: &str) -> bool {
    false
}

fn everything(_: &str) -> bool {
    true
}

#[test]
fn after_an_orderly_stop_with_one_refused_event_it_is_delivered_and_so_is_a_delete_from_meanwhile() {
    let stage = Stage::new();
    (0..10).for_each(|number| stage.create_map(&format!("m-{number}")));
    let (heard, off) = (Heard::default(), Arc::<AtomicBool>::default());
    let without_files = || config(stage.folder.path()).json_export(false).state(true);
    let running = start(&stage, without_files(), &[("all", &heard, &off, |name| name == "m-0")]);
    eventually(SOON, "nine are accepted", || heard.all().len() == 9);
    assert_eq!(stop(running).unfinished, 1);
    stage.cluster.delete("v1/configmaps", "default/m-3").unwrap();
    let heard = Heard::default();
    let running = start(&stage, without_files(), &[("all", &heard, &on(), nothing)]);
    wait_until_ready(running.controller());
    eventually(SOON, "both are delivered", || heard.all().len() >= 2);
    assert_eq!(stop(running).unfinished, 0);
    assert_eq!(sorted(&heard), ["ADDED v1/configmaps default/m-0", "DELETED v1/configmaps default/m-3"]);
}

#[test]
fn after_a_crash_right_behind_the_first_list_every_delete_is_delivered_without_any_file() {
    let stage = Stage::new();
    (0..5).for_each(|number| stage.create_map(&format!("m-{number}")));
    let heard = Heard::default();
    let running = start(&stage, config(stage.folder.path()).json_export(false).state(true), &[("all", &heard, &on(), nothing)]);
    eventually(SOON, "the list is accepted", || heard.all().len() == 5);
    let copy = crashed(stage.folder.path());
    stop(running);
    (0..5).for_each(|number| stage.cluster.delete("v1/configmaps", &format!("default/m-{number}")).unwrap());
    let heard = Heard::default();
    let running = start(&stage, config(copy.path()).json_export(false).state(true), &[("all", &heard, &on(), nothing)]);
    wait_until_ready(running.controller());
    eventually(SOON, "five deletes", || heard.all().iter().filter(|told| told.starts_with("DELETED")).count() == 5);
    stop(running);
    // An acceptance may be missing at a crash: then the event comes again, before its delete.
    let deletes: BTreeSet<_> = heard.all().into_iter().filter(|told| told.starts_with("DELETED")).collect();
    assert_eq!(deletes.len(), 5);
}

/// Names of the lines in a folder, in order.
fn lines(folder: &Path) -> Vec<String> {
    crate::support::lines::read(folder).iter().map(crate::support::lines::Line::brief).collect()
}

#[test]
fn after_a_crash_a_handler_gets_what_it_refused_and_neither_another_one_nor_the_files_get_it_again() {
    let stage = Stage::new();
    ["a", "b", "c"].into_iter().for_each(|name| stage.create_map(name));
    let (quick, stuck, off) = (Heard::default(), Heard::default(), Arc::<AtomicBool>::default());
    let handlers: [Handler<'_>; 2] = [("quick", &quick, &on(), nothing), ("stuck", &stuck, &off, everything)];
    let running = start(&stage, config(stage.folder.path()), &handlers);
    eventually(SOON, "the list is in the files", || lines(stage.folder.path()).len() == 3 && quick.all().len() == 3);
    // Events of a watch, behind those of the list.
    stage.create_map("d");
    stage.touch("v1/configmaps", "a", "1");
    eventually(SOON, "so are the changes", || lines(stage.folder.path()).len() == 5 && quick.all().len() == 5);
    assert_eq!(stuck.all(), Vec::<String>::new(), "a stuck handler hides nothing from the files");
    let copy = crashed(stage.folder.path());
    stop(running);
    let (quick, stuck) = (Heard::default(), Heard::default());
    let running = start(&stage, config(copy.path()), &[("stuck", &stuck, &on(), nothing), ("quick", &quick, &on(), nothing)]);
    wait_until_ready(running.controller());
    eventually(SOON, "all that it lacks", || stuck.all().len() >= 4);
    assert_eq!(stop(running).unfinished, 0);
    let names: BTreeSet<_> = stuck.all().iter().map(|told| told.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "d"].map(str::to_owned).into());
    assert_eq!(quick.all(), Vec::<String>::new());
    assert_eq!(lines(copy.path()).len(), 5, "each once");
}

#[test]
fn changes_that_a_handler_lacks_after_a_crash_come_as_they_were_in_order() {
    let stage = Stage::new();
    stage.create_map("a");
    let (quick, stuck, off) = (Heard::default(), Heard::default(), Arc::<AtomicBool>::default());
    let handlers: [Handler<'_>; 2] = [("quick", &quick, &on(), nothing), ("stuck", &stuck, &off, |name| name == "b")];
    let without_files = |folder: &Path| config(folder).json_export(false).state(true);
    let running = start(&stage, without_files(stage.folder.path()), &handlers);
    wait_until_ready(running.controller());
    stage.create_map("b");
    stage.touch("v1/configmaps", "b", "1");
    stage.touch("v1/configmaps", "b", "2");
    stage.touch("v1/configmaps", "a", "1");
    stage.cluster.delete("v1/configmaps", "default/b").unwrap();
    let expected = |name: &str| {
        let of = |kind: &str| format!("{kind} v1/configmaps default/{name}");
        [of("ADDED"), of("UPDATED"), of("UPDATED"), of("DELETED")]
    };
    eventually(SOON, "the other has all", || quick.all().len() == 6);
    assert_eq!(stop(running).unfinished, 4);
    let (quick, stuck) = (Heard::default(), Heard::default());
    let running = start(
        &stage,
        without_files(stage.folder.path()),
        &[("quick", &quick, &on(), nothing), ("stuck", &stuck, &on(), nothing)],
    );
    eventually(SOON, "all that it lacks", || stuck.all().len() >= 4);
    assert_eq!(stop(running).unfinished, 0);
    assert_eq!((stuck.all(), quick.all()), (expected("b").to_vec(), Vec::new()));
}

#[test]
fn an_object_that_is_owed_is_delivered_by_the_next_run_and_holds_back_nothing_meanwhile() {
    let stage = Stage::new();
    let (heard, off) = (Heard::default(), Arc::<AtomicBool>::default());
    let start = |heard: &Heard, accepts: &Arc<AtomicBool>| {
        let controller: Controller = stage.controller_of(config(stage.folder.path()));
        let retry = Retry { pause_first: Duration::from_millis(1), pause_max: Duration::from_millis(20), ..Retry::default() };
        let settings = Settings { retry, owed_after: Duration::ZERO, ..Settings::default() };
        controller.set_handler_settings(settings).unwrap();
        let handler = refusing(heard, accepts, |name| name == "bad");
        _ = controller.subscribe(Subscription::new().name("all"), handler).unwrap();
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        running
    };
    let running = start(&heard, &off);
    stage.create_map("bad");
    (1..=5).for_each(|number| stage.touch("v1/configmaps", "bad", &number.to_string()));
    stage.create_map("good");
    eventually(SOON, "others go on", || heard.all() == ["ADDED v1/configmaps default/good"]);
    assert_eq!(stop(running).unfinished, 0, "nobody waits for it");
    let heard = Heard::default();
    let running = start(&heard, &on());
    stage.touch("v1/configmaps", "bad", "6");
    eventually(SOON, "all that is owed", || heard.all().len() >= 7);
    stop(running);
    let (added, updated) = ("ADDED v1/configmaps default/bad", "UPDATED v1/configmaps default/bad");
    assert_eq!(heard.all(), [added, updated, updated, updated, updated, updated, updated]);
    assert_eq!(lines(stage.folder.path()).len(), 8);
}

type Handling = Box<dyn Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync>;

#[test]
fn what_is_owed_lies_on_the_disk_without_copies_of_objects() {
    let stage = Stage::new();
    let start = |handler: Handling| {
        let controller: Controller = stage.controller_of(config(stage.folder.path()));
        let retry = Retry { pause_first: Duration::from_millis(1), pause_max: Duration::from_millis(20), ..Retry::default() };
        controller.set_handler_settings(Settings { retry, owed_after: Duration::ZERO, ..Settings::default() }).unwrap();
        _ = controller.subscribe(Subscription::new().name("all"), handler).unwrap();
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        running
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |seen: &Arc<Mutex<Vec<String>>>, event: &MatchedEvent| {
        seen.lock().unwrap().push(event.annotations().get("kapp.k14s.io/original").unwrap().into_owned());
    };
    let refused = Arc::clone(&seen);
    let running = start(Box::new(move |event| {
        note(&refused, event);
        Err("refused".into())
    }));
    let annotations = r#"{kapp.k14s.io/original: '{"p":"PWMARK"}', short: kept}"#;
    let metadata = format!("{{name: app, annotations: {annotations}}}");
    stage.cluster.create(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}")).unwrap();
    let spill = || files_of(&stage.folder.path().join("state")).into_iter().find(|(name, _)| name.starts_with("owed"));
    eventually(SOON, "it is owed", || spill().is_some_and(|(_, bytes)| memchr::memmem::find(&bytes, b"redacted:").is_some()));
    stop(running);
    assert_eq!(seen.lock().unwrap()[0], r#"{"p":"PWMARK"}"#, "a handler gets it as it was sent");
    for (name, bytes) in files_of(&stage.folder.path().join("state")) {
        assert!(memchr::memmem::find(&bytes, b"PWMARK").is_none(), "{name}");
    }
    let later = Arc::<Mutex<Vec<String>>>::default();
    let accepted = Arc::clone(&later);
    let running = start(Box::new(move |event| {
        note(&accepted, event);
        Ok(())
    }));
    eventually(SOON, "what is owed", || later.lock().unwrap().len() == 1);
    stop(running);
    assert!(later.lock().unwrap()[0].starts_with("redacted:"));
}

fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_watch_that_is_removed_and_added_again_goes_on_with_what_a_handler_lacks() {
    let stage = Stage::new();
    let (quick, stuck, off) = (Heard::default(), Heard::default(), Arc::<AtomicBool>::default());
    let handlers: [Handler<'_>; 2] = [("quick", &quick, &on(), nothing), ("stuck", &stuck, &off, everything)];
    let running = start(&stage, config(stage.folder.path()), &handlers);
    let controller = running.controller();
    wait_until_ready(controller);
    ["a", "b"].into_iter().for_each(|name| stage.create_map(name));
    eventually(SOON, "both are in the files", || lines(stage.folder.path()).len() == 2 && quick.all().len() == 2);
    let maps = [ResourceConfig::new("v1/configmaps")];
    assert_eq!(controller.remove_resources(&maps).unwrap(), 1);
    stage.cluster.delete("v1/configmaps", "default/b").unwrap();
    off.store(true, Ordering::SeqCst);
    controller.add_resources(&maps).unwrap();
    let of = |kind: &str, name: &str| format!("{kind} v1/configmaps default/{name}");
    eventually(SOON, "what each lacks", || stuck.all().len() >= 3 && quick.all().len() >= 3);
    assert_eq!(stop(running).unfinished, 0);
    assert_eq!(sorted(&stuck), [of("ADDED", "a"), of("ADDED", "b"), of("DELETED", "b")]);
    assert_eq!(sorted(&quick), [of("ADDED", "a"), of("ADDED", "b"), of("DELETED", "b")]);
    assert_eq!(lines(stage.folder.path()).len(), 3);
}

#[test]
fn a_handler_of_deletes_alone_gets_nothing_else_after_a_crash() {
    let stage = Stage::new();
    let heard = Heard::default();
    let start = |folder: &Path, heard: &Heard| {
        let controller = stage.controller_of(config(folder));
        let deletes = Subscription::new().name("deletes").event_types([faro::event::EventType::Deleted]);
        _ = controller.subscribe(deletes, heard.handler()).unwrap();
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        running
    };
    let running = start(stage.folder.path(), &heard);
    stage.create_map("a");
    stage.create_map("b");
    stage.cluster.delete("v1/configmaps", "default/a").unwrap();
    stage.create_map("c");
    stage.touch("v1/configmaps", "c", "1");
    eventually(SOON, "all is in the files", || lines(stage.folder.path()).len() == 5 && heard.all().len() == 1);
    let copy = crashed(stage.folder.path());
    stop(running);
    stage.cluster.delete("v1/configmaps", "default/b").unwrap();
    let heard = Heard::default();
    let running = start(copy.path(), &heard);
    heard.wait_for("DELETED v1/configmaps default/b");
    assert_eq!(stop(running).unfinished, 0);
    assert!(heard.all().iter().all(|told| told.starts_with("DELETED")), "{:?}", heard.all());
    assert_eq!(lines(copy.path()).len(), 6);
}
