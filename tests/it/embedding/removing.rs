//! Watches that are removed while a controller runs.

use super::*;
use faro::lifecycle::{Joined, Stop};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Changes objects until stopped.
fn write_on(stage: &Arc<Stage>, gvr: &str, names: &'static [&'static str], stop: &Stop) -> Joined {
    let (stage, gvr, stop) = (Arc::clone(stage), gvr.to_owned(), stop.clone());
    Joined::spawn("writer", move || {
        for turn in 0_u64.. {
            for name in names {
                if stop.is_requested() {
                    return;
                }
                stage.touch(&gvr, name, &turn.to_string());
            }
        }
    })
    .unwrap()
}

#[test]
fn nothing_is_told_after_the_removal_while_changes_go_on_and_no_thread_is_left() {
    let stage = Arc::new(Stage::new());
    let gvr = "r1.test/v1/widgets";
    stage.define("r1.test");
    ["a", "b", "c", "d"].iter().for_each(|name| stage.create_widget("r1.test", name));
    let controller = stage.controller(&["v1/configmaps"]);
    let (is_gone, told, told_too_late) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let (gone, counted, late) = (Arc::clone(&is_gone), Arc::clone(&told), Arc::clone(&told_too_late));
    let heard = Heard::default();
    let noting = heard.clone();
    _ = controller
        .add_event_handler(move |event: &MatchedEvent| {
            noting.note(event);
            if event.gvr() == gvr {
                counted.fetch_add(1, Ordering::SeqCst);
                late.fetch_add(u64::from(gone.load(Ordering::SeqCst)), Ordering::SeqCst);
            }
            Ok(())
        })
        .unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    let writing = Stop::new();
    let writer = write_on(&stage, gvr, &["a", "b", "c", "d"], &writing);
    for _ in 0..5 {
        is_gone.store(false, Ordering::SeqCst);
        let before = told.load(Ordering::SeqCst);
        controller.add_resources(&resource(gvr)).unwrap();
        assert_eq!(controller.start_informers().unwrap(), 1);
        eventually(SOON, "its changes are told", || told.load(Ordering::SeqCst) > before + 20);
        assert!(!threads_of("r1.test").is_empty(), "this is how they are called");
        assert_eq!(controller.remove_resources(&resource(gvr)).unwrap(), 1);
        is_gone.store(true, Ordering::SeqCst);
        // One that was joined may be shown for a moment.
        eventually(SOON, "its threads are gone", || threads_of("r1.test").is_empty());
        assert_eq!(controller.active_informers().dynamic, 0);
        assert_eq!(controller.remove_resources(&resource(gvr)).unwrap(), 0, "it is gone already");
    }
    writing.request();
    drop(writer);
    stage.create_map("after");
    heard.wait_for("ADDED v1/configmaps default/after");
    assert_eq!(told_too_late.load(Ordering::SeqCst), 0);
    assert!(controller.is_ready());
    assert_eq!(stop(running).unfinished, 0);
    assert!(!heard.all().iter().any(|brief| brief.starts_with("DELETED")));
    assert!(!stage.briefs_of(gvr).iter().any(|brief| brief.starts_with("DELETED")));
}

/// What happened to a watch while it was removed; told once when it comes back.
fn change_while_away(stage: &Stage, group: &str, gvr: &str) {
    stage.touch(gvr, "a", "away");
    stage.cluster.delete(gvr, "default/b").unwrap();
    stage.create_widget(group, "d");
}

#[test]
fn a_watch_that_was_removed_goes_on_from_where_it_was() {
    for compacted in [false, true] {
        let stage = Stage::new();
        let gvr = "r2.test/v1/widgets";
        stage.define("r2.test");
        ["a", "b", "c"].iter().for_each(|name| stage.create_widget("r2.test", name));
        let controller = stage.controller(&["v1/configmaps"]);
        let heard = Heard::default();
        _ = controller.add_event_handler(heard.handler()).unwrap();
        controller.add_resources(&resource(gvr)).unwrap();
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        ["a", "b", "c"].iter().for_each(|name| heard.wait_for(&format!("ADDED {gvr} default/{name}")));
        assert_eq!(controller.remove_resources(&resource(gvr)).unwrap(), 1);
        change_while_away(&stage, "r2.test", gvr);
        if compacted {
            stage.cluster.compact();
        }
        controller.add_resources(&resource(gvr)).unwrap();
        assert_eq!(controller.start_informers().unwrap(), 1);
        ["UPDATED default/a", "DELETED default/b", "ADDED default/d"].iter().for_each(|brief| {
            heard.wait_for(&brief.replace(' ', &format!(" {gvr} ")));
        });
        assert_eq!(stop(running).unfinished, 0);
        let is_of_gvr = |brief: &&String| brief.contains(gvr);
        assert_eq!(heard.all().iter().filter(is_of_gvr).count(), 6, "{:?}", heard.all());
        let mut told = stage.briefs_of(gvr).split_off(3);
        told.sort();
        let inferred = if compacted { " inferred" } else { "" };
        let expected = ["ADDED default/d", "DELETED default/b", "UPDATED default/a"].map(|brief| format!("{brief}{inferred}"));
        assert_eq!(told, expected);
        // And so does the next run, in which it is added again.
        let controller = stage.controller(&["v1/configmaps"]);
        controller.add_resources(&resource(gvr)).unwrap();
        let heard = Heard::default();
        _ = controller.add_event_handler(heard.handler()).unwrap();
        let running = controller.spawn().unwrap();
        wait_until_ready(&controller);
        stage.create_widget("r2.test", "e");
        heard.wait_for(&format!("ADDED {gvr} default/e"));
        stop(running);
        assert_eq!(heard.all(), [format!("ADDED {gvr} default/e")]);
    }
}

#[test]
fn a_handler_may_remove_the_watch_that_it_is_called_for() {
    let stage = Stage::new();
    let gvr = "r3.test/v1/widgets";
    stage.define("r3.test");
    stage.create_widget("r3.test", "a");
    let controller = stage.controller(&["v1/configmaps"]);
    let heard = Heard::default();
    let (noting, removing, removed) = (heard.clone(), controller.clone(), Arc::<OnceLock<usize>>::default());
    let answer = Arc::clone(&removed);
    _ = controller
        .add_event_handler(move |event: &MatchedEvent| -> Result<(), HandlerError> {
            noting.note(event);
            if event.name() == "last" && answer.get().is_none() {
                let count = removing.remove_resources(&resource(gvr))?;
                answer.set(count).unwrap();
            }
            Ok(())
        })
        .unwrap();
    controller.add_resources(&resource(gvr)).unwrap();
    let running = controller.spawn().unwrap();
    heard.wait_for(&format!("ADDED {gvr} default/a"));
    wait_until_ready(&controller);
    stage.create_widget("r3.test", "last");
    eventually(SOON, "it is removed", || removed.get().is_some());
    assert_eq!(removed.get(), Some(&1));
    eventually(SOON, "the lane ends that has removed its watch", || threads_of("r3.test").is_empty());
    stage.touch(gvr, "a", "after");
    stage.create_map("after");
    heard.wait_for("ADDED v1/configmaps default/after");
    assert!(!heard.all().contains(&format!("UPDATED {gvr} default/a")));
    // The event whose handler removed its watch was not accepted: it comes again.
    controller.add_resources(&resource(gvr)).unwrap();
    assert_eq!(controller.start_informers().unwrap(), 1);
    heard.wait_for_times(&format!("ADDED {gvr} default/last"), 2);
    heard.wait_for(&format!("UPDATED {gvr} default/a"));
    assert_eq!(stop(running).unfinished, 0);
    let mut told = stage.briefs_of(gvr);
    told.sort();
    let told: Vec<_> = told.iter().map(|brief| brief.trim_end_matches(" initial").trim_end_matches(" inferred")).collect();
    assert_eq!(told, ["ADDED default/a", "ADDED default/last", "UPDATED default/a"]);
}

#[test]
fn a_watch_that_is_being_started_by_another_thread_is_removed_all_the_same() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    let other = controller.clone();
    let writing = Stop::new();
    let starting = writing.clone();
    let starter = Joined::spawn("starter", move || {
        while !starting.is_requested() {
            other.start_informers().unwrap();
        }
    })
    .unwrap();
    // Whoever starts it, when the removal returns it is not there, nor comes later.
    for _ in 0..50 {
        controller.add_resources(&resource("v1/services")).unwrap();
        controller.start_informers().unwrap();
        controller.remove_resources(&resource("v1/services")).unwrap();
        assert_eq!(controller.active_informers().dynamic, 0);
    }
    writing.request();
    drop(starter);
    assert_eq!(controller.active_informers().dynamic, 0);
    stop(running);
}

#[test]
fn configured_watches_can_be_removed_too() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps", "v1/services"]);
    let heard = Heard::default();
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    assert_eq!(controller.remove_resources(&resource("v1/services")).unwrap(), 1);
    assert_eq!((controller.active_informers().configured, controller.active_informers().dynamic), (1, 0));
    stage.cluster.create("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None}}").unwrap();
    stage.create_map("a");
    heard.wait_for("ADDED v1/configmaps default/a");
    stop(running);
    assert_eq!(heard.all(), ["ADDED v1/configmaps default/a"]);
}

#[test]
fn a_namespace_means_nothing_where_a_cluster_scoped_resource_is_removed() {
    let stage = Stage::new();
    let controller = stage.controller(&["v1/configmaps"]);
    let running = controller.spawn().unwrap();
    wait_until_ready(&controller);
    let inside = |gvr: &str| [ResourceConfig { namespace_names: vec!["default".to_owned()], ..ResourceConfig::new(gvr) }];
    let everywhere = resource;
    for (added, removed) in [
        (inside("v1/namespaces"), inside("v1/namespaces")),
        (inside("v1/namespaces"), everywhere("v1/namespaces")),
        (everywhere("v1/namespaces"), inside("v1/namespaces")),
    ] {
        controller.add_resources(&added).unwrap();
        assert_eq!(controller.start_informers().unwrap(), 1, "{added:?}");
        assert_eq!(controller.remove_resources(&removed).unwrap(), 1, "{added:?} {removed:?}");
        assert_eq!(controller.active_informers().dynamic, 0, "{added:?} {removed:?}");
    }
    controller.add_resources(&everywhere("v1/services")).unwrap();
    assert_eq!(controller.start_informers().unwrap(), 1);
    assert_eq!(controller.remove_resources(&inside("v1/services")).unwrap(), 0, "it is another watch");
    assert_eq!(controller.active_informers().dynamic, 1);
    stop(running);
}
