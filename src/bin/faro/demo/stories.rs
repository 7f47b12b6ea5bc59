//! The stories that a cluster lives through, step by step, as its controllers would take them.

use super::world::{App, CRASHING, NAMESPACE, World};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(Value),
    /// Merges this into the object of that resource and name.
    Patch(&'static str, String, Value),
    Delete(&'static str, String),
}

/// Steps that belong together.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) about: About,
    steps: VecDeque<Step>,
}

/// What nothing else may happen to meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    App(usize),
    Crash,
    Run,
}

const PODS: &str = "v1/pods";
const DEPLOYMENTS: &str = "apps/v1/deployments";
const REPLICA_SETS: &str = "apps/v1/replicasets";
const JOBS: &str = "batch/v1/jobs";
const BACKUPS: &str = "demo.faro.dev/v1/backups";

impl Story {
    fn new(about: About, steps: Vec<Step>) -> Self {
        Self { about, steps: steps.into() }
    }

    /// The next step; none at its end.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }
}

/// A deployment whose pods all run.
pub(super) fn settled(app: &App) -> Vec<Step> {
    let count = app.pods.len();
    let mut deployment = object("apps/v1", "Deployment", &app.name, &app.name);
    deployment["spec"] = json!({"replicas": count, "selector": {"matchLabels": {"app": app.name}}, "template": template(app)});
    deployment["status"] = json!({"replicas": count, "updatedReplicas": count, "readyReplicas": count});
    let mut steps = vec![Step::Create(deployment), Step::Create(replica_set(app, count))];
    for name in &app.pods {
        let mut created = pod(name, &app.name, &image(app));
        created["status"] = running();
        steps.push(Step::Create(created));
    }
    steps
}

/// A job and a backup that were done before, and word of it.
pub(super) fn first_runs() -> Vec<Step> {
    let mut job = object("batch/v1", "Job", "migrate-0", "migrate");
    job["status"] = json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]});
    let mut backup = object("demo.faro.dev/v1", "Backup", "nightly-0", "backup");
    backup["status"] = json!({"phase": "Completed", "progress": "100 %"});
    vec![Step::Create(job), Step::Create(backup), event("Job", "migrate-0", "Normal", "Completed", "Job completed", "0")]
}

/// The pod of payments, whose database is never there.
pub(super) fn crashing_pod() -> Step {
    let mut created = pod(CRASHING, "payments", "shop/payments:2.0");
    created["status"] = waiting("CrashLoopBackOff", 0);
    Step::Create(created)
}

/// A new release: pod by pod, new ones come and old ones go.
pub(super) fn rollout(world: &mut World, place: usize) -> Story {
    let old = world.apps[place].clone();
    let replica_set_name = format!("{}-{}", old.name, world.letters(9));
    let pods: Vec<String> = old.pods.iter().map(|_| format!("{replica_set_name}-{}", world.letters(5))).collect();
    let new = App { release: old.release + 1, replica_set: replica_set_name, pods, ..old.clone() };
    let (name, count) = (&new.name, new.pods.len());
    let change = |kind, name: &str, change: Value| Step::Patch(kind, path(name), change);
    let scaled = format!("Scaled up replica set {} from 0 to {count}", new.replica_set);

    let mut steps = vec![
        change(DEPLOYMENTS, name, json!({"spec": {"template": template(&new)}, "status": {"updatedReplicas": 0}})),
        Step::Create(replica_set(&new, 0)),
        event("Deployment", name, "Normal", "ScalingReplicaSet", &scaled, &world.letters(6)),
    ];
    for (done, (coming, going)) in (1..).zip(new.pods.iter().zip(&old.pods)) {
        steps.extend(start(world, coming, name, &image(&new)));
        steps.push(change(REPLICA_SETS, &new.replica_set, scale(done, done)));
        steps.push(change(DEPLOYMENTS, name, json!({"status": {"updatedReplicas": done, "readyReplicas": count + 1}})));
        steps.push(change(PODS, going, json!({"status": ended("Succeeded", "Completed", 0)})));
        steps.push(Step::Delete(PODS, path(going)));
        steps.push(change(REPLICA_SETS, &old.replica_set, scale(count - done, count - done)));
        steps.push(change(DEPLOYMENTS, name, json!({"status": {"readyReplicas": count}})));
    }
    steps.push(Step::Delete(REPLICA_SETS, path(&old.replica_set)));
    world.apps[place] = new;
    Story::new(About::App(place), steps)
}

/// One more restart of the pod that crashes.
pub(super) fn crash(world: &mut World) -> Story {
    world.crashes += 1;
    let restarts = world.crashes;
    let change = |status: Value| Step::Patch(PODS, path(CRASHING), json!({ "status": status }));
    let mut started = running();
    started["containerStatuses"][0]["restartCount"] = json!(restarts);
    let words = "Back-off restarting failed container payments";
    let steps = vec![
        change(started),
        change(ended("Running", "Error", restarts)),
        change(waiting("CrashLoopBackOff", restarts)),
        event("Pod", CRASHING, "Warning", "BackOff", words, &world.letters(6)),
    ];
    Story::new(About::Crash, steps)
}

/// A job with one pod, cleared away when it is done.
pub(super) fn job(world: &mut World) -> Story {
    world.runs += 1;
    let name = format!("report-{}", world.runs);
    let pod_name = format!("{name}-{}", world.letters(5));
    let mut created = object("batch/v1", "Job", &name, "report");
    created["spec"] =
        json!({"completions": 1, "template": {"spec": {"containers": [{"name": "report", "image": "shop/report:1"}]}}});
    created["status"] = json!({"active": 1});
    let done = json!({"status": {"active": null, "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}});

    let mut steps = vec![Step::Create(created)];
    steps.extend(start(world, &pod_name, "report", "shop/report:1"));
    steps.push(Step::Patch(PODS, path(&pod_name), json!({"status": ended("Succeeded", "Completed", 0)})));
    steps.push(Step::Patch(JOBS, path(&name), done));
    steps.push(event("Job", &name, "Normal", "Completed", "Job completed", &world.letters(6)));
    steps.push(Step::Delete(PODS, path(&pod_name)));
    steps.push(Step::Delete(JOBS, path(&name)));
    Story::new(About::Run, steps)
}

/// A backup of a custom resource, which gets on and is forgotten.
pub(super) fn backup(world: &mut World) -> Story {
    world.runs += 1;
    let name = format!("nightly-{}", world.runs);
    let mut created = object("demo.faro.dev/v1", "Backup", &name, "backup");
    created["spec"] = json!({"volume": "orders"});
    created["status"] = json!({"phase": "Pending"});
    let change = |phase: &str, progress: &str| {
        Step::Patch(BACKUPS, path(&name), json!({"status": {"phase": phase, "progress": progress}}))
    };
    let steps = vec![
        Step::Create(created),
        change("Running", "0 %"),
        change("Running", "40 %"),
        change("Running", "80 %"),
        change("Completed", "100 %"),
        Step::Delete(BACKUPS, path(&name)),
    ];
    Story::new(About::Run, steps)
}

/// A pod comes: created, given to a node, started.
fn start(world: &mut World, name: &str, app: &str, image: &str) -> Vec<Step> {
    let node = format!("node-{}", world.rng.u32(1..4));
    let words = format!("Successfully assigned {NAMESPACE}/{name} to {node}");
    let change = |change: Value| Step::Patch(PODS, path(name), change);
    vec![
        Step::Create(pod(name, app, image)),
        event("Pod", name, "Normal", "Scheduled", &words, &world.letters(6)),
        change(json!({"spec": {"nodeName": node}, "status": waiting("ContainerCreating", 0)})),
        change(json!({ "status": running() })),
    ]
}

fn object(api_version: &str, kind: &str, name: &str, app: &str) -> Value {
    let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": {"app": app}});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

fn pod(name: &str, app: &str, image: &str) -> Value {
    let mut pod = object("v1", "Pod", name, app);
    pod["spec"] = json!({"containers": [{"name": app, "image": image}]});
    pod["status"] = json!({"phase": "Pending"});
    pod
}

fn replica_set(app: &App, ready: usize) -> Value {
    let mut set = object("apps/v1", "ReplicaSet", &app.replica_set, &app.name);
    set["spec"] = json!({"replicas": ready, "selector": {"matchLabels": {"app": app.name}}, "template": template(app)});
    set["status"] = json!({"replicas": ready, "readyReplicas": ready});
    set
}

fn template(app: &App) -> Value {
    let container = json!({"name": app.name, "image": image(app)});
    json!({"metadata": {"labels": {"app": app.name}}, "spec": {"containers": [container]}})
}

fn image(app: &App) -> String {
    format!("shop/{}:1.{}", app.name, app.release)
}

fn scale(replicas: usize, ready: usize) -> Value {
    json!({"spec": {"replicas": replicas}, "status": {"replicas": replicas, "readyReplicas": ready}})
}

fn running() -> Value {
    let container = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    json!({"phase": "Running", "containerStatuses": [container]})
}

fn waiting(reason: &str, restarts: u32) -> Value {
    let container = json!({"ready": false, "restartCount": restarts, "state": {"waiting": {"reason": reason}}});
    let phase = if restarts == 0 { "Pending" } else { "Running" };
    json!({"phase": phase, "containerStatuses": [container]})
}

fn ended(phase: &str, reason: &str, restarts: u32) -> Value {
    let container = json!({"ready": false, "restartCount": restarts, "state": {"terminated": {"reason": reason}}});
    json!({"phase": phase, "containerStatuses": [container]})
}

/// What a controller says about an object. `end` makes its name unique.
fn event(kind: &str, name: &str, event_type: &str, reason: &str, words: &str, end: &str) -> Step {
    let mut event = object("v1", "Event", &format!("{name}.{end}"), kind);
    event["metadata"]["labels"] = Value::Null;
    event["involvedObject"] = json!({"kind": kind, "namespace": NAMESPACE, "name": name});
    event["type"] = json!(event_type);
    event["reason"] = json!(reason);
    event["message"] = json!(words);
    Step::Create(event)
}

/// As the cluster's calls name an object.
fn path(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}
