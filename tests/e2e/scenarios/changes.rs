//! A script changes many objects while the daemon listens; every single answer of the server is a line, in order.

use crate::cluster::Cluster;
use crate::daemon::Setup;
use crate::law::{check_deletes, check_nothing_invented, check_one_by_one, check_stories};
use crate::runner::{Stage, say};
use crate::wait::pause;
use crate::writer::{Change, LEASES, Writer};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

pub(super) fn three_hundred_changes_to_thirty_objects_one_by_one(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("script");
    let daemon = Setup::new(cluster, &config(&namespace)).start_ready();
    let changes = script(&cluster.writer, &namespace, |_| {});
    assert_eq!(changes.len(), CHANGES);
    daemon.wait_for_lines("300 lines", |lines| lines.len() == CHANGES);
    check_one_by_one(&daemon.stop().lines, &changes);
}

/// The receiver stands still for a minute while more is changed than any buffer on the way holds: the server ends the watch.
///
/// With Leases, because for `ConfigMaps` it keeps 2,000 events waiting.
pub(super) fn nothing_is_lost_while_the_receiver_stands_still_for_60_s(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("still");
    let (writer, plain) = (cluster.writer.of(LEASES), json!({}));
    let config = format!("resources: [{{gvr: coordination.k8s.io/v1/leases, namespace_names: [{namespace}]}}]");
    let mut daemon = Setup::new(cluster, &config).start_ready();
    let mut changes: Vec<Change> =
        (0..OBJECTS).map(|index| writer.create_object(&namespace, &name(index), &plain, "0")).collect();
    daemon.wait_for_lines("30 lines", |lines| lines.len() == OBJECTS);
    daemon.signal(Signal::STOP);
    let stopped = Instant::now();
    for round in 0..ROUNDS_WHILE_STILL {
        let data = format!("{round} {}", "x".repeat(BYTES_WHILE_STILL));
        changes.extend((0..OBJECTS).map(|index| writer.update_object(&namespace, &name(index), &plain, &data)));
    }
    changes.extend((0..OBJECTS / 3).map(|index| writer.delete_object(&namespace, &name(index))));
    pause(STILL.saturating_sub(stopped.elapsed()));
    daemon.signal(Signal::CONT);
    changes.push(writer.create_object(&namespace, "last", &plain, "0"));
    daemon.wait_for(&format!("ADDED {namespace}/last"));
    // Without this, all of it was in buffers, and the scenario would show nothing.
    let (restarts, relists) = (daemon.metric("faro_watch_restarts_total", ""), daemon.metric("faro_relists_total", ""));
    assert!(restarts + relists > 0.0, "the server did not end the watch");
    say(&format!("    {restarts} restarts, {relists} relists\n"));
    let lines = daemon.stop().lines;
    check_stories(&lines, &writer.list_objects(&namespace));
    check_deletes(&lines, &changes);
    check_nothing_invented(&lines, &changes);
    // Without a relist the server still had every state in between.
    if relists == 0.0 {
        check_one_by_one(&lines, &changes);
    }
}

/// One watch on the `ConfigMaps` of `namespace` that tests make.
pub(super) fn config(namespace: &str) -> String {
    format!(
        "resources: [{{gvr: v1/configmaps, namespace_names: [{namespace}], field_selector: metadata.name!=kube-root-ca.crt}}]"
    )
}

/// 300 changes: each of 30 objects is created, updated seven times, deleted, and created again. `before` is told how many
/// changes were made.
pub(super) fn script(writer: &Writer, namespace: &str, before: impl Fn(usize)) -> Vec<Change> {
    let mut changes = Vec::with_capacity(CHANGES);
    for step in 0..STEPS {
        for index in 0..OBJECTS {
            before(changes.len());
            let (name, labels, data) = (name(index), json!({"app": "script"}), step.to_string());
            changes.push(match step {
                0 | RECREATED_AT => writer.create_object(namespace, &name, &labels, &data),
                DELETED_AT => writer.delete_object(namespace, &name),
                _ => writer.update_object(namespace, &name, &labels, &data),
            });
        }
    }
    changes
}

/// Every object of `namespace` that a script made, as the server has it.
pub(super) fn server(cluster: &Cluster, namespace: &str) -> Vec<serde_json::Value> {
    let mut objects = cluster.writer.list_objects(namespace);
    objects.retain(|object| object["metadata"]["name"] != "kube-root-ca.crt");
    objects
}

/// The name of the script's object `index`.
pub(super) fn name(index: usize) -> String {
    format!("object-{index}")
}

pub(super) const OBJECTS: usize = 30;
pub(super) const CHANGES: usize = OBJECTS * STEPS;
const STEPS: usize = 10;
const DELETED_AT: usize = 8;
const RECREATED_AT: usize = 9;

const STILL: Duration = Duration::from_secs(60);

/// With the next, 30 MB in 300 changes.
const ROUNDS_WHILE_STILL: usize = 10;
const BYTES_WHILE_STILL: usize = 100_000;
