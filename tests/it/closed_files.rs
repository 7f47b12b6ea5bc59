//! Files that are closed, compressed and removed under a running daemon: every line stays readable, once, until its file goes.

use crate::support::daemon::{Daemon, Setup};
use crate::support::lines::{self, Line};
use crate::support::wait::{SOON, eventually};
use faro::sim::Cluster;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A cluster with one config map that is written again and again, and the daemons that watch it one after the other.
struct Stage {
    cluster: Cluster,
    setup: Setup,
    random: fastrand::Rng,
    written: usize,
}

/// The smallest that may be configured.
const FILE_BYTES: u64 = 65_536;

/// So much comes with each line that a file holds about thirty.
const PADDING_BYTES: usize = 2000;

/// More than so many lines are in no file.
const FILE_LINES: usize = 32;

const NAME: &str = "default/a";

impl Stage {
    fn new(config: &str) -> Self {
        let cluster = Cluster::builder().tls(false).start().unwrap();
        cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}").unwrap();
        let config = format!("rotate: {{max_bytes: {FILE_BYTES}}}\n{config}\nresources: [{{gvr: v1/configmaps}}]");
        let setup = Setup::with_config(&config).kubeconfig(cluster.kubeconfig());
        Self { cluster, setup, random: fastrand::Rng::with_seed(4), written: 0 }
    }

    fn start(&self) -> Daemon {
        self.setup.clone().start_ready()
    }

    /// Changes the object so often. What is written cannot be compressed to next to nothing.
    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let padding: String = (0..PADDING_BYTES).map(|_| self.random.alphanumeric()).collect();
            let annotations = format!("{{n: \"{}\", padding: {padding}}}", self.written);
            let patch = format!("{{metadata: {{annotations: {annotations}}}}}");
            self.cluster.patch("v1/configmaps", NAME, &patch).unwrap();
            self.written += 1;
        }
    }

    /// Writes, and waits until the last of it is told.
    fn write_and_wait(&mut self, daemon: &Daemon, count: usize) {
        self.write(count);
        self.wait_until_told(daemon);
    }

    fn wait_until_told(&self, daemon: &Daemon) {
        let last = self.written - 1;
        daemon.wait_for_lines(&format!("change {last}"), |lines| lines.last().and_then(number) == Some(last));
    }

    /// The changes that the files tell of, which must be all of a range.
    fn told(&self) -> Range<usize> {
        let told: Vec<usize> = lines::read(&self.setup.output()).iter().filter_map(number).collect();
        let range = told[0]..told[told.len() - 1] + 1;
        assert!(told.iter().copied().eq(range.clone()), "one after the other, each once: {told:?}");
        range
    }
}

/// Which change a line tells.
fn number(line: &Line) -> Option<usize> {
    Some(line.annotations.get("n")?.parse().unwrap())
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn bytes(files: &[PathBuf]) -> Vec<u64> {
    files.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len())).collect()
}

/// Waits until all but the newest file are compressed, and those are so many at least.
fn wait_until_compressed(daemon: &Daemon, count: usize) {
    eventually(SOON, "all but the newest file are compressed", || {
        let files = daemon.events_files();
        let (newest, closed) = files.split_last().unwrap();
        closed.len() >= count && closed.iter().all(|path| is_compressed(path)) && !is_compressed(newest)
    });
}

#[test]
fn closed_files_are_compressed_and_each_line_is_there_once_across_a_stop_and_a_kill() {
    let mut stage = Stage::new("compress: gzip");
    let daemon = stage.start();
    stage.write_and_wait(&daemon, 100);
    wait_until_compressed(&daemon, 100 / FILE_LINES);
    assert_eq!(stage.told(), 0..100);
    daemon.stop();
    // What came while nobody was there is told by the next one.
    stage.write(50);
    let daemon = stage.start();
    stage.wait_until_told(&daemon);
    wait_until_compressed(&daemon, 150 / FILE_LINES);
    stage.write_and_wait(&daemon, 50);
    daemon.kill();
    stage.write(50);
    let daemon = stage.start();
    stage.wait_until_told(&daemon);
    wait_until_compressed(&daemon, 250 / FILE_LINES);
    assert!(bytes(&daemon.events_files()).into_iter().all(|bytes| bytes <= FILE_BYTES));
    let ended = daemon.stop();
    assert_eq!(stage.told(), 0..250);
    assert_eq!(ended.lines.iter().filter(|line| line.initial || line.inferred).count(), 1, "the object was listed once");
}

#[test]
fn the_oldest_closed_files_go_when_there_is_too_much_and_nothing_is_told_again_for_it() {
    let total = FILE_BYTES * 3;
    let mut stage = Stage::new(&format!("retain: {{total_bytes: {total}}}"));
    let daemon = stage.start();
    let has_room = |daemon: &Daemon| {
        eventually(SOON, "what is too much is gone", || bytes(&daemon.events_files()).iter().sum::<u64>() <= total);
    };
    stage.write_and_wait(&daemon, 300);
    has_room(&daemon);
    let told = stage.told();
    assert!(told.end == 300 && told.start >= 300 - 3 * FILE_LINES && told.len() > FILE_LINES, "{told:?}");
    daemon.kill();
    stage.write(1);
    let daemon = stage.start();
    stage.wait_until_told(&daemon);
    assert_eq!(stage.told().end, 301);
    stage.write_and_wait(&daemon, 100);
    has_room(&daemon);
    let ended = daemon.stop();
    let told = stage.told();
    assert!(told.end == 401 && told.start > 300, "{told:?}");
    assert!(!ended.lines.iter().any(|line| line.initial || line.inferred), "nothing was listed again");
}
