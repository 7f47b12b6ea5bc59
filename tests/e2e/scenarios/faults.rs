//! What happens to servers and networks happens here; the law of lines holds all the same.

use super::changes::{CHANGES, OBJECTS, config, name, script, server};
use crate::control_plane::Options;
use crate::daemon::{Daemon, Setup};
use crate::law::{check_deletes, check_no_state_is_skipped, check_nothing_invented, check_stories};
use crate::lines::Line;
use crate::runner::Stage;
use crate::tcp_proxy::TcpProxy;
use crate::wait::{SOON, eventually, pause};
use crate::writer::{Change, Writer};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The server is away for 10 s in the middle of 300 changes; the script tries again until it is back.
pub(super) fn nothing_is_lost_when_the_api_server_is_killed_and_restarted(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let namespace = cluster.namespace("killed");
    let daemon = Setup::new(&cluster, &config(&namespace)).start_ready();
    let made = AtomicUsize::new(0);
    let changes = std::thread::scope(|scope| {
        let writer = cluster.writer.clone();
        let script = scope.spawn(|| script(&{ writer }, &namespace, |count| made.store(count, Ordering::Relaxed)));
        eventually(SOON, "a third of the changes are made", || made.load(Ordering::Relaxed) >= CHANGES / 3);
        cluster.own().kill_api_server();
        pause(Duration::from_secs(10));
        cluster.own().start_api_server();
        script.join().expect("the script makes all its changes")
    });
    let lines = check_after(daemon, &cluster.writer, &namespace, &changes, &server(&cluster, &namespace));
    // What was changed a while before the server was killed, it had time to say.
    check_no_state_is_skipped(&lines, &changes[..CHANGES / 3 - OBJECTS]);
}

/// The daemon hears nothing for 40 s; meanwhile the server forgets what the daemon would have to resume from.
pub(super) fn every_delete_is_told_once_after_a_compaction(stage: &Stage) {
    // Without its watch cache the server has only etcd's history, which a compaction ends.
    let cluster = stage.own(Options { api_server_flags: &["--etcd-compaction-interval=10s", "--watch-cache=false"] });
    let namespace = cluster.namespace("compacted");
    let network = TcpProxy::to(cluster.own().port());
    let daemon = Setup::new(&cluster, &config(&namespace)).kubeconfig(&through(&cluster, &network)).start_ready();
    let mut changes: Vec<Change> = Vec::new();
    let plain = json!({});
    let writer = &cluster.writer;
    changes.extend((0..OBJECTS).map(|index| writer.create_object(&namespace, &name(index), &plain, "0")));
    daemon.wait_for_lines("30 lines", |lines| lines.len() == OBJECTS);
    network.cut();
    for index in 0..OBJECTS {
        changes.push(writer.update_object(&namespace, &name(index), &plain, "1"));
        if index % 3 != 0 {
            changes.push(writer.delete_object(&namespace, &name(index)));
        }
        if index % 3 == 2 {
            changes.push(writer.create_object(&namespace, &name(index), &plain, "2"));
        }
    }
    pause(Duration::from_secs(40));
    network.mend();
    daemon.wait_for_lines("a change that was found by comparison", |lines| lines.iter().any(|line| line.inferred));
    // Without this, the scenario would show a reconnect and no more.
    assert_eq!(daemon.metric("faro_relists_total", r#"reason="expired""#), 1.0);
    check_after(daemon, writer, &namespace, &changes, &server(&cluster, &namespace));
}

/// A restored server takes a version from its future and stays silent; the daemon has to ask in order to notice.
pub(super) fn a_restore_from_a_backup_is_found_and_every_difference_told(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let namespace = cluster.namespace("restored");
    let daemon = Setup::new(&cluster, &config(&namespace)).start_ready();
    let (writer, plain) = (&cluster.writer, json!({}));
    for index in 0..OBJECTS {
        writer.create_object(&namespace, &name(index), &plain, "0");
    }
    let backup = cluster.own().back_up();
    // 50 changes that the backup does not know.
    (0..UPDATED).for_each(|index| drop(writer.update_object(&namespace, &name(index), &plain, "1")));
    (0..DELETED).for_each(|index| drop(writer.delete_object(&namespace, &name(index))));
    (0..CREATED).for_each(|index| drop(writer.create_object(&namespace, &format!("new-{index}"), &plain, "1")));
    daemon.wait_for_lines("all of it is told", |lines| lines.len() == OBJECTS + UPDATED + DELETED + CREATED);
    cluster.own().restore(&backup);
    cluster.wait_until_ready();
    let objects = server(&cluster, &namespace);
    assert_eq!(objects.len(), OBJECTS, "the backup has the objects of its time");
    // Every object of the backup has gone back to a former state, and the new ones are gone.
    let found = OBJECTS + CREATED;
    let lines = daemon.wait_for_lines("every difference", |lines| lines.iter().filter(|line| line.inferred).count() == found);
    check_stories(&lines, &objects);
    assert_eq!(daemon.metric("faro_relists_total", r#"reason="other_history""#), 1.0);
    // It hears the restored server from now on.
    let after = writer.create_object(&namespace, "after", &plain, "1");
    daemon.wait_for_lines("a change after the restore", |lines| lines.iter().any(|line| line.uid == after.uid && !line.inferred));
    check_stories(&daemon.stop().lines, &server(&cluster, &namespace));
}

/// What the backup of the restore scenario does not know: 50 changes.
const UPDATED: usize = OBJECTS;
const DELETED: usize = 10;
const CREATED: usize = 10;

/// Waits until the daemon has caught up, ends it, and holds its lines to the law; gives them.
fn check_after(daemon: Daemon, writer: &Writer, namespace: &str, changes: &[Change], objects: &[Value]) -> Vec<Line> {
    let deletes = changes.iter().filter(|change| change.event_type == "DELETED").count();
    let told = |lines: &[Line]| {
        let last = |object: &Value| lines.iter().any(|line| object["metadata"]["resourceVersion"] == line.resource_version);
        lines.iter().filter(|line| line.event_type == "DELETED").count() >= deletes && objects.iter().all(last)
    };
    daemon.wait_for_lines("every delete and every last state", told);
    let mut changes = changes.to_vec();
    // Whatever would be told too much is told before this.
    changes.push(writer.create_object(namespace, "last", &json!({}), "0"));
    daemon.wait_for(&format!("ADDED {namespace}/last"));
    let lines = daemon.stop().lines;
    check_stories(&lines, &writer.list_objects(namespace));
    check_deletes(&lines, &changes);
    check_nothing_invented(&lines, &changes);
    lines
}

fn through(cluster: &crate::cluster::Cluster, network: &TcpProxy) -> std::path::PathBuf {
    let text = std::fs::read_to_string(cluster.admin()).expect("the kubeconfig was written by us");
    cluster.write_kubeconfig(&text.replace(&cluster.server, &network.url()))
}
