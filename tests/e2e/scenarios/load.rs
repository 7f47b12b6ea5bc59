//! What many objects cost: the release binary's memory and processor time, until it has listed 20,000 pods.

use crate::cluster::Cluster;
use crate::control_plane::Options;
use crate::daemon::Setup;
use crate::runner::{Stage, say};
use serde_json::Value;
use std::fs;

/// Peak memory under 40 MB, processor time under 2 s, at the moment at which it says that it is ready.
pub(super) fn twenty_thousand_pods_in_little_memory_and_time(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let setup = Setup::new(&cluster, "resources: [{gvr: v1/pods}]").arguments("--log-level info").release();
    create_pods(&cluster);
    let daemon = setup.start_ready();
    let (memory_kib, cpu_sec) = (peak_memory_kib(daemon.id()), cpu_secs(daemon.id()));
    daemon.wait_for_lines("20,000 lines", |lines| lines.len() == PODS);
    let (memory_after, cpu_after) = (peak_memory_kib(daemon.id()), cpu_secs(daemon.id()));
    daemon.stop();
    say(&format!(
        "{PODS} pods: {:.1} MB and {cpu_sec:.2} s when ready; {:.1} MB and {cpu_after:.2} s when all are written\n",
        mb(memory_kib),
        mb(memory_after)
    ));
    assert!(mb(memory_after) < 40.0, "peak memory is {:.1} MB", mb(memory_after));
    assert!(cpu_after < 2.0, "processor time is {cpu_after:.2} s");
}

/// Writes the pods side by side, as many small scripts would.
fn create_pods(cluster: &Cluster) {
    let template: Value = serde_json::from_str(include_str!("../../golden/pod.json")).expect("the golden pod is JSON");
    let namespace = cluster.namespace("load");
    std::thread::scope(|scope| {
        for part in 0..WRITERS {
            let (writer, template, namespace) = (cluster.writer.clone(), &template, &namespace);
            scope.spawn(move || {
                for index in (part..PODS).step_by(WRITERS) {
                    writer.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod(template, namespace, index));
                }
            });
        }
    });
}

/// The pod as its owner would send it: without what the server adds.
fn pod(template: &Value, namespace: &str, index: usize) -> String {
    let mut pod = template.clone();
    let metadata = pod["metadata"].as_object_mut().expect("a pod has metadata");
    for added in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        metadata.remove(added);
    }
    metadata.insert("name".to_owned(), format!("app-{index:06}").into());
    metadata.insert("namespace".to_owned(), namespace.into());
    pod.as_object_mut().expect("a pod is an object").remove("status");
    pod.to_string()
}

fn peak_memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells the peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("the peak is a number of KiB")
}

/// User and system time; see proc(5): fields 14 and 15, counted after the name, in ticks of 10 ms.
fn cpu_secs(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the daemon runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name ends with a parenthesis");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks are numbers"));
    ticks.sum::<f64>() / 100.0
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

const PODS: usize = 20_000;
const WRITERS: usize = 8;
