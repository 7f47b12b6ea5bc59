//! Every way to say what is watched tells just that: by namespace, by resource, by name, by label, by field.

use crate::daemon::{Ended, Setup};
use crate::lines::Line;
use crate::runner::Stage;
use crate::writer::Change;
use serde_json::json;
use std::collections::BTreeMap;

/// Runs a daemon with `config`, makes `changes` with kubectl, and compares the lines with `expected`.
///
/// `NS` and `OTHER` stand for two fresh namespaces. A change that begins with `{` is a manifest, `NS` being its namespace.
/// `expected` is in order for each object; what must not be told has to be followed, in its watch, by something that is.
fn check(stage: &Stage, config: &str, changes: &[&str], expected: &[&str]) {
    let cluster = stage.shared();
    let (namespace, other) = (cluster.namespace("a"), cluster.namespace("b"));
    let fill = |text: &str| text.replace("NS", &namespace).replace("OTHER", &other);
    let daemon = Setup::new(cluster, &fill(config)).start_ready();
    for change in changes {
        if change.starts_with('{') {
            cluster.kubectl.create(&fill(change));
        } else {
            cluster.kubectl.run(&fill(change));
        }
    }
    let mut expected: Vec<String> = expected.iter().map(|line| fill(line)).collect();
    let ours =
        |line: &Line| [&namespace, &other].into_iter().any(|ours| line.namespace.as_ref() == Some(ours) || line.name == *ours);
    let about = |lines: &[Line]| -> Vec<String> {
        lines.iter().filter(|line| ours(line) && line.name != PUBLISHED_BY_CONTROLLERS).map(Line::brief).collect()
    };
    daemon.wait_for_lines(&format!("{expected:?}"), |lines| about(lines).len() >= expected.len());
    let mut told = about(&daemon.stop().lines);
    // Order is promised for each object only.
    told.sort_by_key(|brief| object_of(brief));
    expected.sort_by_key(|brief| object_of(brief));
    assert_eq!(told, expected);
}

/// Where controllers run, every namespace gets this `ConfigMap`.
const PUBLISHED_BY_CONTROLLERS: &str = "kube-root-ca.crt";

fn object_of(brief: &str) -> String {
    brief.split(' ').nth(1).expect("a brief names an object").to_owned()
}

const CONFIG_MAPS_COME_AND_GO: [&str; 6] = [
    "create configmap web -n NS",
    "create configmap db -n NS",
    "label configmap web app=web -n NS",
    "label configmap db app=db -n NS",
    "label configmap web --overwrite app=old -n NS",
    "delete configmap db web -n NS",
];

pub(super) fn namespace_centric_by_name(stage: &Stage) {
    check(
        stage,
        "namespaces: [{name_selector: NS, resources: {v1/configmaps: {name_selector: web}}}]",
        &CONFIG_MAPS_COME_AND_GO,
        &["ADDED NS/web", "UPDATED NS/web", "UPDATED NS/web", "DELETED NS/web"],
    );
}

pub(super) fn namespace_centric_by_label(stage: &Stage) {
    check(
        stage,
        "namespaces: [{name_selector: NS, resources: {v1/configmaps: {label_selector: 'app in (web, old)'}}}]",
        &CONFIG_MAPS_COME_AND_GO,
        &["ADDED NS/web", "UPDATED NS/web", "DELETED NS/web"],
    );
}

/// A pod comes into the watch when it is given to the node.
pub(super) fn namespace_centric_by_field(stage: &Stage) {
    let bind = r#"{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "NAME", "namespace": "NS"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "NODE"}}"#;
    check(
        stage,
        "namespaces: [{name_selector: NS, resources: {v1/pods: {field_selector: spec.nodeName=n1}}}]",
        &[
            "run elsewhere -n NS --image=none.test/none",
            "run here -n NS --image=none.test/none",
            &bind.replace("NAME", "elsewhere").replace("NODE", "n2"),
            &bind.replace("NAME", "here").replace("NODE", "n1"),
            "label pod elsewhere app=web -n NS",
            "label pod here app=web -n NS",
        ],
        &["ADDED NS/here", "UPDATED NS/here"],
    );
}

pub(super) fn resource_centric_by_name(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/configmaps, scope: Namespaced, namespace_names: [NS], name_selector: db}]",
        &CONFIG_MAPS_COME_AND_GO,
        &["ADDED NS/db", "UPDATED NS/db", "DELETED NS/db"],
    );
}

/// An object that no longer matches has left the watch, and comes back when it matches again.
pub(super) fn resource_centric_by_label(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/configmaps, namespace_names: [NS], label_selector: app=web}]",
        &[
            "create configmap web -n NS",
            "label configmap web app=web -n NS",
            "label configmap web --overwrite app=db -n NS",
            "label configmap web --overwrite app=web -n NS",
            "delete configmap web -n NS",
        ],
        &["ADDED NS/web", "DELETED NS/web", "ADDED NS/web", "DELETED NS/web"],
    );
}

pub(super) fn resource_centric_by_field(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/configmaps, namespace_names: [NS], field_selector: metadata.name!=db}]",
        &CONFIG_MAPS_COME_AND_GO,
        &["ADDED NS/web", "UPDATED NS/web", "UPDATED NS/web", "DELETED NS/web"],
    );
}

pub(super) fn several_namespaces_each_tell_their_own(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/configmaps, namespace_names: [NS, OTHER]}]",
        &["create configmap a -n NS", "create configmap a -n OTHER", "delete configmap a -n NS"],
        &["ADDED NS/a", "ADDED OTHER/a", "DELETED NS/a"],
    );
}

pub(super) fn all_namespaces_are_one_watch(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/configmaps}]",
        &["create configmap a -n NS", "create configmap b -n OTHER", "delete configmap a -n NS"],
        &["ADDED NS/a", "ADDED OTHER/b", "DELETED NS/a"],
    );
}

pub(super) fn jobs_of_the_batch_group(stage: &Stage) {
    let job = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "NS"}, "spec": {"parallelism": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none.test/none"}]}}}}"#;
    check(
        stage,
        "namespaces: [{name_selector: NS, resources: {batch/v1/jobs: {}}}]",
        &[job, "label job once app=web -n NS", "delete job once -n NS"],
        &["ADDED NS/once", "UPDATED NS/once", "DELETED NS/once"],
    );
}

pub(super) fn cluster_scoped_by_name(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/namespaces, scope: Cluster, name_selector: NS}]",
        &["label namespace OTHER app=web", "label namespace NS app=web"],
        &["ADDED NS initial", "UPDATED NS"],
    );
}

pub(super) fn cluster_scoped_by_label(stage: &Stage) {
    check(
        stage,
        "resources: [{gvr: v1/namespaces, label_selector: e2e=NS}]",
        &["label namespace OTHER e2e=other", "label namespace NS e2e=NS", "label namespace NS e2e-"],
        &["ADDED NS", "DELETED NS"],
    );
}

/// Two names of watches, two stories; the third watch, without selector, hears both objects.
pub(super) fn each_watch_of_one_resource_tells_its_own_lines(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("mixed");
    let config = "namespaces: [{name_selector: NS, resources: {v1/configmaps: {label_selector: app=web}}}]\n\
        resources:\n- {gvr: v1/configmaps, namespace_names: [NS], label_selector: app=db}\n\
        - {gvr: v1/configmaps, namespace_names: [NS], field_selector: metadata.name!=kube-root-ca.crt}\n";
    let daemon = Setup::new(cluster, &config.replace("NS", &namespace)).start_ready();
    cluster.writer.create_object(&namespace, "a", &json!({"app": "web"}), "1");
    cluster.writer.update_object(&namespace, "a", &json!({"app": "db"}), "2");
    cluster.writer.delete_object(&namespace, "a");
    daemon.wait_for_lines("seven lines", |lines| lines.len() == 7);
    let mut stories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in daemon.stop().lines {
        let brief = line.brief().replace(&namespace, "NS");
        stories.entry(line.watch).or_default().push(brief);
    }
    let mut stories: Vec<Vec<String>> = stories.into_values().collect();
    stories.sort();
    let expected = [
        ["ADDED NS/a", "DELETED NS/a"].as_slice(),
        &["ADDED NS/a", "DELETED NS/a"],
        &["ADDED NS/a", "UPDATED NS/a", "DELETED NS/a"],
    ];
    assert_eq!(stories, expected);
}

/// A name is used again: the old object's end comes before the new one's beginning.
pub(super) fn an_object_recreated_under_its_name_is_two_objects(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("again");
    let config = format!("resources: [{{gvr: v1/configmaps, namespace_names: [{namespace}], name_selector: a}}]");
    let daemon = Setup::new(cluster, &config).start_ready();
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..2 {
        changes.push(cluster.writer.create_object(&namespace, "a", &json!({}), "1"));
        changes.push(cluster.writer.delete_object(&namespace, "a"));
    }
    assert_ne!(changes[0].uid, changes[2].uid);
    daemon.wait_for_lines("four lines", |lines| lines.len() == 4);
    crate::law::check_one_by_one(&daemon.stop().lines, &changes);
}

/// What was there is told as initial, with labels and annotations; `--stdout` and `cluster_name` add what they say.
pub(super) fn a_line_carries_what_the_server_has(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("whole");
    let change = cluster.writer.create_object(&namespace, "a", &json!({"app": "web"}), "<&> \"\u{e9}\u{1f600}\\\n");
    let config =
        format!("cluster_name: prod-eu\nresources: [{{gvr: v1/configmaps, namespace_names: [{namespace}], name_selector: a}}]");
    let daemon = Setup::new(cluster, &config).arguments("--stdout").start_ready();
    daemon.wait_for_lines("one line", |lines| lines.len() == 1);
    let Ended { lines, stdout, .. } = daemon.stop();
    let line = &lines[0];
    assert_eq!(line.brief(), format!("ADDED {namespace}/a initial"));
    assert_eq!((&line.uid, Some(&line.resource_version)), (&change.uid, change.version.as_ref()));
    assert_eq!(line.labels, BTreeMap::from([("app".to_owned(), "web".to_owned())]));
    assert_eq!(line.annotations, BTreeMap::from([("e2e".to_owned(), "<&> \"\u{e9}\u{1f600}\\\n".to_owned())]));
    assert_eq!(line.cluster.as_deref(), Some("prod-eu"));
    assert_eq!(crate::lines::parse(stdout.trim_end()), *line);
}

/// Neither the data of a secret nor the copy of it that `kubectl apply` leaves in an annotation goes anywhere.
pub(super) fn of_secrets_only_metadata_is_told(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("secret");
    let config = format!("namespaces: [{{name_selector: {namespace}, resources: {{v1/secrets: {{name_selector: door}}}}}}]");
    for value in ["b3BlbiBzZXNhbWUgMQ==", "b3BlbiBzZXNhbWUgMg=="] {
        cluster.keep_secret(value);
    }
    let apply = |value: &str| {
        let metadata = json!({"name": "door", "namespace": namespace, "annotations": {"owner": "e2e"}});
        cluster
            .kubectl
            .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": value}}).to_string());
    };
    apply("b3BlbiBzZXNhbWUgMQ==");
    let daemon = Setup::new(cluster, &config).start_ready();
    apply("b3BlbiBzZXNhbWUgMg==");
    cluster.kubectl.run(&format!("delete secret door -n {namespace}"));
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    let lines = daemon.stop().lines;
    let digests = |key: &str| -> Vec<&String> { lines.iter().map(|line| &line.annotations[key]).collect() };
    let (copies, owners) = (digests("kubectl.kubernetes.io/last-applied-configuration"), digests("owner"));
    let is_digest = |value: &String| value.len() == "redacted:".len() + 16 && value.starts_with("redacted:");
    assert!(copies.iter().chain(&owners).all(|value| is_digest(value)), "{lines:#?}");
    assert!(lines.iter().all(|line| line.annotations.len() == 2), "{lines:#?}");
    // A change shows, the value does not.
    assert!(copies[0] != copies[1] && copies[1] == copies[2], "{lines:#?}");
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{lines:#?}");
}
