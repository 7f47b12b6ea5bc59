//! `faro events`, beside a daemon that writes, closes, compresses and removes files, and alone on what it left.

use crate::support::daemon::{Daemon, Ended, Setup};
use crate::support::lines;
use crate::support::wait::{SOON, eventually};
use faro::sim::Cluster;
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// A cluster whose config maps are written, and the daemon that watches them; a file holds about thirty of its lines.
struct Stage {
    cluster: Cluster,
    daemon: Daemon,
    output: String,
    random: fastrand::Rng,
    written: usize,
}

/// So many changes fit into two files.
const PORTION: usize = 50;

impl Stage {
    fn start(config: &str) -> Self {
        let cluster = Cluster::builder().tls(false).start().unwrap();
        cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}").unwrap();
        let config = format!("rotate: {{max_bytes: 65536}}\n{config}\nresources: [{{gvr: v1/configmaps}}]");
        let setup = Setup::with_config(&config).kubeconfig(cluster.kubeconfig());
        let output = setup.output().display().to_string();
        let daemon = setup.start_ready();
        Self { cluster, daemon, output, random: fastrand::Rng::with_seed(4), written: 0 }
    }

    /// Changes the object so often. What is written cannot be compressed to next to nothing.
    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let padding: String = (0..2000).map(|_| self.random.alphanumeric()).collect();
            let patch = format!("{{metadata: {{annotations: {{n: \"{}\", padding: {padding}}}}}}}", self.written);
            self.cluster.patch("v1/configmaps", "default/a", &patch).unwrap();
            self.written += 1;
        }
    }

    fn wait_until_written(&self) {
        let last = format!("\"n\":\"{}\"", self.written - 1);
        eventually(SOON, "the last change is in a file", || {
            self.daemon.events_files().iter().any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(&last)))
        });
    }

    fn events(&self, flags: &str) -> Setup {
        Setup::bare().arguments(&format!("events {flags} {}", self.output))
    }
}

/// The changes that lines tell of, which must be all of a range, each once.
fn changes(stdout: &str) -> std::ops::Range<usize> {
    let numbers: Vec<usize> =
        stdout.lines().filter_map(|line| lines::parse(line).annotations.get("n").map(|n| n.parse().unwrap())).collect();
    let range = numbers[0]..numbers[numbers.len() - 1] + 1;
    assert!(numbers.iter().copied().eq(range.clone()), "one after the other, each once: {numbers:?}");
    range
}

#[track_caller]
fn check(ended: &Ended, code: i32, log: &str) {
    assert_eq!((ended.code, ended.log.as_str()), (Some(code), log), "{}", ended.stdout);
}

fn made_folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn run(flags: &str, folder: &Path) -> Ended {
    Setup::bare().arguments(&format!("events {flags} {}", folder.display())).run_to_end()
}

/// A line as the daemon writes it.
fn line(second: u32, event_type: &str, gvr: &str, name: &str, marks: &str) -> String {
    format!(
        "{{\"timestamp\":\"2025-11-10T14:33:{second:02}.000000Z\",\"eventType\":\"{event_type}\",\"gvr\":\"{gvr}\",\"namespace\":\"shop\",\
         \"name\":\"{name}\",\"uid\":\"u\",\"resourceVersion\":\"{second}\"{marks},\"watch\":\"3f9a0c1e5b7d2a64\"}}\n"
    )
}

#[test]
fn follow_tells_each_change_once_across_rotation_compression_and_retention() {
    let mut stage = Stage::start("compress: gzip\nretain: {total_bytes: 262144}");
    let mut follower = stage.events("--follow --output json").start();
    for portion in 1..=6 {
        stage.write(PORTION);
        let last = format!("\"n\":\"{}\"", portion * PORTION - 1);
        eventually(SOON, "the follower tells the last change", || follower.stdout().contains(&last));
    }
    eventually(SOON, "files were compressed", || {
        stage.daemon.events_files().iter().any(|path| path.extension().is_some_and(|extension| extension == "gz"))
    });
    follower.signal(Signal::TERM);
    let ended = follower.wait_for_end(SOON);
    check(&ended, 0, "");
    assert_eq!(changes(&ended.stdout), 0..stage.written);
    assert_eq!(ended.stdout.lines().count(), 1 + stage.written, "and the object as it was found");
    stage.daemon.stop();
}

#[test]
fn what_a_daemon_left_is_shown_whole_from_the_end_and_by_filters() {
    let mut stage = Stage::start("compress: zstd");
    stage.write(PORTION * 3);
    stage.cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: kube-system}}").unwrap();
    eventually(SOON, "the other object is told", || stage.events("--name b --output json").run_to_end().stdout.contains("\"b\""));
    let whole = stage.events("--output json").run_to_end();
    check(&whole, 0, "");
    assert_eq!((changes(&whole.stdout), whole.stdout.lines().count()), (0..stage.written, stage.written + 2));
    for flags in ["--tail 20", "--tail 20 --gvr v1/configmaps --gvr v1/pods", "--tail 20 --since 1h"] {
        let tail = stage.events(&format!("{flags} --output json")).run_to_end();
        check(&tail, 0, "");
        assert!(whole.stdout.ends_with(&tail.stdout) && tail.stdout.lines().count() == 20, "{flags}: {}", tail.stdout);
    }
    let table = stage.events("--tail 1").run_to_end();
    check(&table, 0, "");
    assert!(table.stdout.ends_with("Z  ADDED    v1/configmaps         kube-system/b\n"), "{}", table.stdout);
    for (flags, count) in [
        ("--type added", 2),
        ("--type updated --type added --namespace default", stage.written + 1),
        ("--name b --namespace kube-system", 1),
        ("--name b --namespace default", 0),
        ("--gvr v1/pods", 0),
        ("--since 0s", 0),
    ] {
        let ended = stage.events(flags).run_to_end();
        check(&ended, 0, "");
        assert_eq!(ended.stdout.lines().count(), count, "{flags}:\n{}", ended.stdout);
    }
    stage.daemon.stop_unread();
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut stage = Stage::start("");
    stage.write(PORTION);
    stage.wait_until_written();
    // The pipe is full when it is closed, and so a write fails; then nothing is written, and the pipe itself tells.
    for flags in ["--output json", "--output json --follow", "--tail 0 --follow"] {
        let mut events = stage.events(flags).stdout_held().start();
        events.close_stdout();
        check(&events.wait_for_end(SOON), 0, "");
    }
    stage.daemon.stop();
}

#[test]
fn damaged_lines_and_files_are_named_once_and_the_rest_is_shown() {
    let (first, second) = ("events-20251110-143301.json", "events-20251110-143302.json");
    let (a, b) = (
        line(1, "ADDED", "v1/pods", "a", ",\"initial\":true"),
        line(2, "DELETED", "apps/v1/deployments", "b", ",\"inferred\":true"),
    );
    let folder = made_folder(&[
        (first, &format!("{a}no event\n{{}}\n")),
        ("events-20251110-143301_001.json.gz", "no gzip"),
        (second, &format!("{b}{}", &a[..20])),
        ("notes.txt", "no event"),
    ]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ended = run("", folder.path());
    assert_eq!(
        ended.stdout,
        "2025-11-10T14:33:01.000000Z  ADDED    v1/pods               shop/a                                    initial\n\
         2025-11-10T14:33:02.000000Z  DELETED  apps/v1/deployments   shop/b                                    inferred\n"
    );
    let first_place = format!("faro: {}: the line from byte {} of its text on is no event: ", path(first), a.len());
    let told: Vec<&str> = ended.log.lines().collect();
    assert!(told.len() == 4 && told[0].starts_with(&first_place), "{}", ended.log);
    assert_eq!(told[1], format!("faro: {}: further lines that are no events: 1", path(first)));
    let packed = path("events-20251110-143301_001.json.gz");
    assert!(told[2].starts_with(&format!("faro: cannot read {packed} from byte 0 of its text on: ")), "{}", ended.log);
    assert_eq!(told[3], "faro: 3 damaged places were left out");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_line_of_an_event_type_that_this_version_does_not_know_is_shown_as_any_other() {
    let gap = line(2, "GAP", "v1/pods", "", ",\"reason\":\"down\"");
    let folder = made_folder(&[("events-20251110-143301.json", &format!("{}{gap}", line(1, "ADDED", "v1/pods", "a", "")))]);
    for (flags, shown) in [("", "GAP      v1/pods"), ("--output json", &*gap), ("--output json --tail 1 --gvr v1/pods", &*gap)] {
        let ended = run(flags, folder.path());
        check(&ended, 0, "");
        assert!(ended.stdout.contains(shown), "{flags}: {}", ended.stdout);
    }
    let ended = run("--type added --output json", folder.path());
    check(&ended, 0, "");
    assert_eq!(ended.stdout, line(1, "ADDED", "v1/pods", "a", ""));
}

#[test]
fn the_folder_is_that_of_the_configuration_unless_one_is_named() {
    let folder = made_folder(&[("events-20251110-143301.json", &line(1, "ADDED", "v1/pods", "a", ""))]);
    let config = folder.path().join("faro.yaml");
    fs::write(&config, format!("output_dir: {}\nresources: [{{gvr: v1/pods}}]", folder.path().display())).unwrap();
    let ended = Setup::bare().arguments(&format!("events --config {} --output json", config.display())).run_to_end();
    check(&ended, 0, "");
    assert_eq!(ended.stdout, line(1, "ADDED", "v1/pods", "a", ""));
    let other = made_folder(&[]);
    let ended = run(&format!("--config {}", config.display()), other.path());
    check(&ended, 0, &format!("faro: no events files are in {}\n", other.path().display()));
}

#[test]
fn wrong_flags_exit_2_and_a_folder_that_cannot_be_read_exits_1() {
    for (arguments, words) in [
        ("events --tial 5", "did you mean --tail?"),
        ("events --gvr pods", "did you mean \"v1/pods\"?"),
        ("events --since yesterday", "10m, 2h or 1d"),
        ("events --output yaml", "table or json"),
        ("events a b", "one folder is read"),
        ("events --config missing.yaml", "cannot read the configuration missing.yaml"),
    ] {
        let ended = Setup::bare().arguments(arguments).run_to_end();
        assert_eq!((ended.code, ended.log.contains(words)), (Some(2), true), "{arguments}: {}", ended.log);
    }
    if !Path::new("/var/faro/events").exists() {
        let ended = Setup::bare().arguments("events").run_to_end();
        assert_eq!((ended.code, ended.log.contains("faro events DIR, or --config FILE")), (Some(2), true), "{}", ended.log);
    }
    let ended = run("", Path::new("/nowhere"));
    assert_eq!((ended.code, ended.log.contains("/nowhere; name the folder")), (Some(1), true), "{}", ended.log);
    let help = Setup::bare().arguments("events --help").run_to_end();
    check(&help, 0, "");
    assert!(help.stdout.contains("\n  --follow "), "{}", help.stdout);
}
