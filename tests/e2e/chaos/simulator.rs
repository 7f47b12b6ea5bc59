//! The simulated server as a process of its own, so that what a daemon costs is measured of it alone.
//!
//! The test binary runs itself again; the two speak in lines: a command goes in, and `done` comes out when it was done.

use crate::process::Guarded;
use crate::runner::say;
use crate::wait::pause;
use faro::sim::Cluster;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The flag by which the test binary becomes the server.
pub(crate) const SERVE: &str = "--serve-simulated";

/// A simulated server in another process. Ends when it is dropped.
pub(crate) struct Simulator {
    _process: Guarded,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// A kubeconfig of its administrator.
    pub(crate) kubeconfig: PathBuf,
}

impl Simulator {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded::start(&mut command);
        let commands = process.child().stdin.take().expect("stdin is piped");
        let answers = BufReader::new(process.child().stdout.take().expect("stdout is piped"));
        let mut simulator = Self { _process: process, commands, answers, kubeconfig: PathBuf::new() };
        simulator.kubeconfig = PathBuf::from(simulator.answer());
        simulator
    }

    /// Makes pods until there are so many.
    pub(crate) fn fill(&mut self, pods: usize) {
        self.tell(&format!("fill {pods}"));
    }

    /// Changes so many pods, one after the other, at most so many a second.
    pub(crate) fn churn(&mut self, changes: usize, rate: usize) {
        self.tell(&format!("churn {changes} {rate}"));
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the simulator listens");
        assert_eq!(self.answer(), "done", "{command}");
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the simulator answers");
        answer.trim().to_owned()
    }
}

/// Serves until standard input ends.
pub(crate) fn serve() -> ExitCode {
    let cluster = Cluster::start().expect("loopback has free ports");
    say(&format!("{}\n", cluster.kubeconfig().display()));
    let (mut pods, mut rounds) = (0, 0);
    for command in std::io::stdin().lines() {
        let command = command.expect("commands are text");
        let words: Vec<&str> = command.split(' ').collect();
        let number = |index: usize| -> usize { words[index].parse().expect("commands have numbers") };
        if words[0] == "fill" {
            (pods..number(1)).for_each(|index| create(&cluster, index));
            pods = pods.max(number(1));
        } else {
            rounds += 1;
            churn(&cluster, rounds, pods, number(1), number(2));
        }
        say("done\n");
    }
    ExitCode::SUCCESS
}

/// With the labels and annotations that a Deployment's pods have.
fn create(cluster: &Cluster, index: usize) {
    let app = format!("checkout-{}", index % 100);
    let labels = json!({"app.kubernetes.io/name": app, "app.kubernetes.io/instance": "production", "app.kubernetes.io/version": "1.27.3",
        "pod-template-hash": format!("{:010x}", index % 997), "team": "payments"});
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9102",
        "checksum/config": format!("{:064x}", index % 1009)});
    let metadata = json!({"name": name(index), "namespace": "default", "labels": labels, "annotations": annotations});
    let spec = json!({"containers": [{"name": "main", "image": "registry.test/checkout:1.27.3"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    cluster.create(&pod.to_string()).expect("the simulator takes pods");
}

/// What is written in one round was written in none before: a change that changes nothing is no event.
fn churn(cluster: &Cluster, round: usize, pods: usize, changes: usize, rate: usize) {
    let start = Instant::now();
    for change in 0..changes {
        // In bursts that the timer can keep apart.
        if change % BURST == 0 {
            let due = Duration::from_secs_f64(change as f64 / rate as f64);
            pause(due.saturating_sub(start.elapsed()));
        }
        let patch = json!({"status": {"phase": "Running", "message": format!("{round}/{change}")}}).to_string();
        cluster.patch("v1/pods", &format!("default/{}", name(change * STRIDE % pods)), &patch).expect("the pod is there");
    }
}

fn name(index: usize) -> String {
    format!("checkout-{}-{:010x}-{index:05x}", index % 100, index % 997)
}

const BURST: usize = 5;

/// A prime, so that pods take turns in no particular order.
const STRIDE: usize = 7919;
