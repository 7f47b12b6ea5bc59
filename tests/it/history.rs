//! A server that has another history than the one that was told, or is another cluster's: found at a start and while Faro runs.

use crate::support::daemon::{Daemon, Setup};
use crate::support::lines::Line;
use crate::support::wait::{SOON, eventually};
use faro::api::WatchTarget;
use faro::sim::Cluster;
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "resources: [{gvr: v1/configmaps, namespace_names: [default]}]";

fn create(cluster: &Cluster, name: &str) {
    let object = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}}}}"#);
    cluster.create(&object).unwrap();
}

fn cluster_with(names: &[&str]) -> Cluster {
    let cluster = Cluster::start().unwrap();
    names.iter().for_each(|name| create(&cluster, name));
    cluster
}

fn setup(cluster: &Cluster) -> Setup {
    Setup::with_config(CONFIG).kubeconfig(cluster.kubeconfig())
}

/// What never was, once a backup from before it is restored.
fn change(cluster: &Cluster) {
    create(cluster, "ghost");
    cluster.delete("v1/configmaps", "default/o2").unwrap();
    cluster.label("v1/configmaps", "default/o1", &[("touched", Some("1"))]).unwrap();
}

/// A restored server that knows what came before its backup, and one that has forgotten it.
const MEMORIES: [fn(&Cluster); 2] = [|_| {}, Cluster::compact];

/// More writes than those that were lost.
fn overtake(cluster: &Cluster) {
    (0..10).for_each(|n| create(cluster, &format!("new{n}")));
}

fn then(cluster: &Cluster, acts: [fn(&Cluster); 2]) {
    acts.iter().for_each(|act| act(cluster));
}

/// As many, of another kind.
fn write_elsewhere(cluster: &Cluster) {
    let label = |n: u32| cluster.label("v1/namespaces", "default", &[("n", Some(&*n.to_string()))]).unwrap();
    (0..10).for_each(|n| drop(label(n)));
}

/// Each object's uid and version.
type Objects = BTreeMap<String, (String, String)>;

fn objects(cluster: &Cluster) -> Objects {
    let target = WatchTarget { namespace: Some("default".to_owned()), ..WatchTarget::all("v1/configmaps".parse().unwrap()) };
    let objects = cluster.objects(&target).unwrap();
    let identity = |object: &faro::api::Object| {
        let object = object.as_ref();
        (object.name().into_owned(), (object.uid().into_owned(), object.resource_version().to_string()))
    };
    objects.iter().map(identity).collect()
}

/// What a reader of the lines knows.
fn replayed(lines: &[Line]) -> Objects {
    let mut known = Objects::new();
    for line in lines {
        if line.event_type == "DELETED" {
            known.remove(&line.name);
        } else {
            known.insert(line.name.clone(), (line.uid.clone(), line.resource_version.clone()));
        }
    }
    known
}

fn wait_until_agreed(daemon: &Daemon, cluster: &Cluster) -> Vec<Line> {
    let objects = objects(cluster);
    daemon.wait_for_lines("the lines agree with the server", |lines| replayed(lines) == objects)
}

/// Runs until three objects and the changes that are to be lost were told, and stops.
fn told_and_stopped(cluster: &Cluster, setup: &Setup) -> faro::sim::Backup {
    let daemon = setup.clone().start_ready();
    daemon.wait_for_lines("the first list", |lines| lines.len() >= 3);
    let backup = cluster.snapshot();
    change(cluster);
    daemon.wait_for_lines("the changes", |lines| lines.len() >= 6);
    daemon.stop();
    backup
}

fn check_inferred(lines: &[Line]) {
    let ghost = lines.iter().find(|line| line.name == "ghost" && line.event_type == "DELETED").expect("the ghost is gone");
    assert!(ghost.inferred && lines[6..].iter().all(|line| line.inferred), "{:?}", &lines[6..]);
}

#[test]
fn a_backup_that_was_written_past_what_was_told_is_found_at_the_next_start() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2", "o3"]);
        let setup = setup(&cluster);
        let backup = told_and_stopped(&cluster, &setup);
        cluster.restore_then(&backup, |cluster| then(cluster, [forget, overtake])).unwrap();
        let daemon = setup.start_ready();
        check_inferred(&wait_until_agreed(&daemon, &cluster));
        daemon.stop();
    }
}

#[test]
fn a_backup_that_is_still_behind_what_was_told_is_found_at_the_next_start() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2", "o3"]);
        let setup = setup(&cluster);
        let backup = told_and_stopped(&cluster, &setup);
        cluster.restore_then(&backup, forget).unwrap();
        let daemon = setup.start_ready();
        check_inferred(&wait_until_agreed(&daemon, &cluster));
        daemon.stop();
    }
}

#[test]
fn an_object_whose_delete_was_only_listed_past_and_that_lives_again_is_found() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2"]);
        let backup = cluster.snapshot();
        cluster.delete("v1/configmaps", "default/o1").unwrap();
        let setup = setup(&cluster);
        let daemon = setup.clone().start_ready();
        daemon.wait_for_lines("the first list", |lines| lines.len() == 1);
        daemon.stop();
        cluster.restore_then(&backup, |cluster| then(cluster, [forget, write_elsewhere])).unwrap();
        let daemon = setup.start_ready();
        let lines = wait_until_agreed(&daemon, &cluster);
        assert!(lines.len() == 2 && lines[1].inferred, "{lines:?}");
        daemon.stop();
    }
}

/// The state of the moment after the first list, with the lines of all that came later: as a kill leaves it whose checkpoint lies
/// far behind.
fn told_and_killed(cluster: &Cluster, setup: &Setup) -> faro::sim::Backup {
    let daemon = setup.clone().start_ready();
    daemon.wait_for_lines("the first list", |lines| lines.len() >= 3);
    daemon.stop();
    let state = setup.output().join("state");
    let kept = setup.folder().join("kept-state");
    copy(&state, &kept);
    let backup = cluster.snapshot();
    let daemon = setup.clone().start_ready();
    change(cluster);
    daemon.wait_for_lines("the changes", |lines| lines.len() >= 6);
    drop(daemon.kill());
    std::fs::remove_dir_all(&state).unwrap();
    copy(&kept, &state);
    backup
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_a_killed_run_told_beyond_its_checkpoint_is_made_good_where_the_server_has_lost_it_and_was_written_on() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2", "o3"]);
        let setup = setup(&cluster);
        let backup = told_and_killed(&cluster, &setup);
        cluster.restore_then(&backup, |cluster| then(cluster, [forget, overtake])).unwrap();
        let daemon = setup.start_ready();
        check_inferred(&wait_until_agreed(&daemon, &cluster));
        assert_eq!(daemon.metric("faro_relists_total", r#"reason="other_history""#), 1.0);
        daemon.stop();
    }
}

#[test]
fn what_a_killed_run_told_beyond_its_checkpoint_is_made_good_where_the_server_is_still_behind_it() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2", "o3"]);
        let setup = setup(&cluster);
        let backup = told_and_killed(&cluster, &setup);
        cluster.restore_then(&backup, forget).unwrap();
        let daemon = setup.start_ready();
        check_inferred(&wait_until_agreed(&daemon, &cluster));
        daemon.stop();
    }
}

#[test]
fn what_a_killed_run_told_beyond_its_checkpoint_comes_again_and_nothing_is_listed() {
    let cluster = cluster_with(&["o1", "o2", "o3"]);
    let setup = setup(&cluster);
    told_and_killed(&cluster, &setup);
    let daemon = setup.start_ready();
    overtake(&cluster);
    let lines = wait_until_agreed(&daemon, &cluster);
    assert!(lines.len() == 16 && lines.iter().all(|line| !line.inferred), "{lines:?}");
    assert_eq!(daemon.metric("faro_relists_total", "v1/configmaps"), 0.0);
    daemon.stop();
}

#[test]
fn a_backup_that_was_written_past_what_was_told_is_found_while_faro_runs() {
    for forget in MEMORIES {
        let cluster = cluster_with(&["o1", "o2", "o3"]);
        let mut daemon = setup(&cluster).start_ready();
        daemon.wait_for_lines("the first list", |lines| lines.len() >= 3);
        let backup = cluster.snapshot();
        change(&cluster);
        daemon.wait_for_lines("the changes", |lines| lines.len() >= 6);
        let overtake_unseen = |cluster: &Cluster| {
            then(cluster, [forget, overtake]);
            // Who comes back within two seconds and is not refused finds the server that was there before.
            let refused = || daemon.metric("faro_watch_restarts_total", r#"reason="connection""#) >= 1.0;
            eventually(SOON, "the daemon was refused", refused);
        };
        cluster.restore_then(&backup, overtake_unseen).unwrap();
        check_inferred(&wait_until_agreed(&daemon, &cluster));
        daemon.wait_until_ready();
        assert_eq!(daemon.metric("faro_relists_total", r#"reason="other_history""#), 1.0);
        daemon.stop();
    }
}

#[test]
fn a_server_that_only_restarts_is_gone_on_with_and_nothing_is_listed() {
    let cluster = cluster_with(&["o1", "o2", "o3"]);
    let daemon = setup(&cluster).start_ready();
    daemon.wait_for_lines("the first list", |lines| lines.len() >= 3);
    cluster.restart().unwrap();
    change(&cluster);
    let lines = wait_until_agreed(&daemon, &cluster);
    assert!(lines.iter().all(|line| !line.inferred), "{lines:?}");
    assert_eq!(daemon.metric("faro_relists_total", "v1/configmaps"), 0.0);
    daemon.stop();
}

#[test]
fn another_cluster_behind_the_same_url_ends_the_run_and_nothing_of_it_is_told() {
    let cluster = cluster_with(&["o1", "o2"]);
    let other = Cluster::builder().seed(77).start().unwrap();
    create(&other, "stranger");
    let daemon = setup(&cluster).start_ready();
    daemon.wait_for_lines("the first list", |lines| lines.len() >= 2);
    cluster.restore_then(&other.snapshot(), overtake).unwrap();
    let ended = daemon.wait_for_end(SOON);
    assert_eq!((ended.code, ended.lines.len()), (Some(1), 2), "{}", ended.log);
    assert!(ended.log.contains("another cluster") && ended.log.contains("--reset-state"), "{}", ended.log);
}
