//! Restarts against a simulated API server: what was told is not told again, and what was missed is told once.

use crate::support::daemon::{Daemon, Ended, Setup};
use crate::support::lines::{self, Line};
use crate::support::wait::{SOON, eventually, remove_folder};
use faro::sim::Cluster;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const WATCH: &str = "resources: [{gvr: v1/configmaps}]";

/// What a kill in the middle of a write leaves.
const TORN: &[u8] = br#"{"timestamp":"2025-11-10T14:33:02.123456Z","eventTy"#;

/// A simulated cluster, and the daemons that run against it one after the other.
struct Stage {
    cluster: Cluster,
    setup: Setup,
}

impl Stage {
    fn new(config: &str) -> Self {
        let cluster = Cluster::start().unwrap();
        let setup = Setup::with_config(config).kubeconfig(cluster.kubeconfig());
        let stage = Self { cluster, setup };
        ["a", "b", "c"].into_iter().for_each(|name| stage.create(name));
        stage
    }

    fn create(&self, name: &str) {
        let object = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}}}}"#);
        self.cluster.create(&object).unwrap();
    }

    fn touch(&self, name: &str, value: &str) {
        self.cluster.label("v1/configmaps", &format!("default/{name}"), &[("touched", Some(value))]).unwrap();
    }

    fn delete(&self, name: &str) {
        self.cluster.delete("v1/configmaps", &format!("default/{name}")).unwrap();
    }

    /// Whatever can be told of a change to each of three objects, a new one included.
    fn change_all(&self) {
        self.touch("a", "1");
        self.delete("b");
        self.create("d");
    }

    fn start(&self) -> Daemon {
        self.setup.clone().start_ready()
    }

    /// Runs until there are so many lines in all, and stops.
    fn run(&self, lines: usize) -> Vec<String> {
        let daemon = self.start();
        daemon.wait_for_lines(&format!("{lines} lines"), |found| found.len() >= lines);
        briefs(&daemon.stop().lines)
    }

    /// Runs until three lines are written, whether they were before or not.
    fn run_of_three(&self) {
        let daemon = self.start();
        eventually(SOON, "three lines are written", || daemon.metric("faro_written_lines_total", "") == 3.0);
        daemon.stop_unread();
    }

    /// How often each object was told.
    fn ids_told(&self) -> Vec<usize> {
        let mut told = BTreeMap::<String, usize>::new();
        for file in fs::read_dir(self.setup.output()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            for line in fs::read_to_string(file).unwrap().lines() {
                *told.entry(lines::parse(line).id()).or_default() += 1;
            }
        }
        told.into_values().collect()
    }

    /// Starts in vain.
    fn refused(&self, arguments: &str) -> Ended {
        let ended = self.setup.clone().arguments(arguments).run_to_end();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        ended
    }

    fn state(&self) -> PathBuf {
        self.setup.output().join("state")
    }
}

/// Stops it, and gives what it said.
fn stopped(mut daemon: Daemon) -> String {
    daemon.signal(Signal::TERM);
    eventually(SOON, "it stops", || daemon.code().is_some());
    daemon.log()
}

fn briefs(lines: &[Line]) -> Vec<String> {
    let mut briefs: Vec<_> = lines.iter().map(Line::brief).collect();
    // A list and its comparison tell in no order between objects.
    briefs[..3].sort();
    let compared = 3 + briefs[3..].iter().take_while(|brief| brief.ends_with(" inferred")).count();
    briefs[3..compared].sort();
    briefs
}

const INITIAL: [&str; 3] = ["ADDED default/a initial", "ADDED default/b initial", "ADDED default/c initial"];

fn check(lines: &[String], after_the_initial: &[&str]) {
    let expected: Vec<&str> = INITIAL.iter().chain(after_the_initial).copied().collect();
    assert_eq!(lines, expected);
}

#[test]
fn changes_of_while_it_was_down_are_told_as_they_were() {
    let stage = Stage::new(WATCH);
    check(&stage.run(3), &[]);
    stage.touch("a", "0");
    stage.change_all();
    let changes = ["UPDATED default/a", "UPDATED default/a", "DELETED default/b", "ADDED default/d"];
    check(&stage.run(7), &changes);
    // A restart with nothing missed tells nothing.
    stage.touch("c", "1");
    check(&stage.run(8), &[&changes[..], &["UPDATED default/c"]].concat());
}

#[test]
fn what_the_server_has_forgotten_is_found_by_comparison() {
    let stage = Stage::new(WATCH);
    check(&stage.run(3), &[]);
    stage.touch("a", "0");
    stage.change_all();
    stage.cluster.compact();
    let compared = ["ADDED default/d inferred", "DELETED default/b inferred", "UPDATED default/a inferred"];
    check(&stage.run(6), &compared);
}

#[test]
fn a_kill_leaves_each_line_once_and_a_torn_one_is_cut_off() {
    let stage = Stage::new(WATCH);
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    stage.change_all();
    daemon.wait_for_lines("six lines", |lines| lines.len() == 6);
    let file = daemon.events_files().pop().unwrap();
    daemon.kill();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], TORN].concat()).unwrap();
    stage.touch("c", "1");
    let changes = ["UPDATED default/a", "DELETED default/b", "ADDED default/d", "UPDATED default/c"];
    // Whether it listed again depends on whether a checkpoint came before the kill.
    let lines: Vec<_> = stage.run(7).into_iter().map(|line| line.replace(" inferred", "")).collect();
    check(&lines, &changes);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn objects_of_the_very_first_start_may_be_skipped_and_their_changes_are_told() {
    let stage = Stage::new(&format!("initial_events: skip\n{WATCH}"));
    let told = |lines: usize| {
        let daemon = stage.start();
        daemon.wait_for_lines("the lines", |found| found.len() >= lines);
        daemon.stop().lines.iter().map(Line::brief).collect::<Vec<_>>()
    };
    assert_eq!(told(0), Vec::<String>::new());
    stage.change_all();
    assert_eq!(told(3), ["UPDATED default/a", "DELETED default/b", "ADDED default/d"]);
}

#[test]
fn without_state_everything_is_told_anew() {
    let stage = Stage::new(&format!("state: {{enabled: false}}\n{WATCH}"));
    for run in 1..=2 {
        stage.run_of_three();
        assert_eq!(stage.ids_told(), [run; 3]);
    }
    assert!(!stage.state().exists());
}

#[test]
fn a_torn_line_is_cut_off_without_state_too() {
    let stage = Stage::new(&format!("state: {{enabled: false}}\n{WATCH}"));
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    let file = daemon.events_files().pop().unwrap();
    daemon.kill();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], TORN].concat()).unwrap();
    stage.run_of_three();
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(stage.ids_told(), [2; 3]);
}

#[test]
fn an_events_file_that_was_removed_before_a_restart_is_warned_of_and_one_that_was_compressed_is_not() {
    for (what, is_warned_of) in [("compressed", false), ("removed", true)] {
        let stage = Stage::new(WATCH);
        stage.run(3);
        let mut files = fs::read_dir(stage.setup.output()).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.is_file()).unwrap();
        if is_warned_of {
            fs::remove_file(file).unwrap();
        } else {
            fs::rename(&file, file.with_extension("json.gz")).unwrap();
        }
        let log = stopped(stage.start());
        assert_eq!(log.contains("was removed, lines that were told are gone"), is_warned_of, "{what}: {log}");
    }
}

#[test]
fn a_file_that_was_put_there_with_a_name_of_the_far_future_blocks_no_start() {
    let stage = Stage::new(WATCH);
    fs::create_dir_all(stage.setup.output()).unwrap();
    for planted in ["events-99991231-235959_999.json", "events-99991231-000000.json"] {
        fs::write(stage.setup.output().join(planted), "mine").unwrap();
    }
    stage.run_of_three();
    let ended = Setup::bare().arguments(&format!("events {} --type added", stage.setup.output().display())).run_to_end();
    assert_eq!((ended.code, ended.log.as_str(), ended.stdout.lines().count()), (Some(0), "", 3), "{}", ended.stdout);
    assert_eq!(fs::read_to_string(stage.setup.output().join("events-99991231-000000.json")).unwrap(), "mine");
}

#[test]
fn other_selectors_start_anew_and_say_so() {
    let stage = Stage::new(WATCH);
    check(&stage.run(3), &[]);
    let config =
        format!("state: {{dir: {}}}\nresources: [{{gvr: v1/configmaps, label_selector: touched}}]", stage.state().display());
    stage.touch("a", "1");
    let daemon = Setup::with_config(&config).kubeconfig(stage.cluster.kubeconfig()).start();
    daemon.wait_for("ADDED default/a initial");
    daemon.wait_for_log(&["v1/configmaps with labels touched", "selectors have changed", "starts anew"]);
    daemon.stop();
}

#[test]
fn a_second_faro_on_the_same_state_is_refused_and_told_who_has_it() {
    let stage = Stage::new(WATCH);
    let first = stage.start();
    let refused = stage.refused("");
    let said = refused.log.lines().last().unwrap();
    assert!(
        said.contains("is in use by") && said.contains(&format!("pid {}", first.id())) && said.contains("state.dir"),
        "{said}"
    );
    first.stop();
}

#[test]
fn another_cluster_at_the_same_url_is_refused() {
    let stage = Stage::new(WATCH);
    check(&stage.run(3), &[]);
    let uid = |cluster: &Cluster| cluster.get("v1/namespaces", "kube-system").unwrap().as_ref().uid().into_owned();
    let before = uid(&stage.cluster);
    let backup = Cluster::builder().seed(77).start().unwrap().snapshot();
    stage.cluster.restore(&backup).unwrap();
    let refused = stage.refused("");
    let said = refused.log.lines().last().unwrap();
    assert!(said.contains("another cluster") && said.contains(&before) && said.contains("--reset-state"), "{said}");
}

#[test]
fn the_state_of_another_simulated_cluster_is_another_clusters() {
    let first = Stage::new(WATCH);
    check(&first.run(3), &[]);
    let second = Stage { setup: first.setup.clone(), ..Stage::new(WATCH) };
    let setup = second.setup.clone().kubeconfig(second.cluster.kubeconfig());
    let daemon = setup.start_ready();
    daemon.wait_for_log(&["the state is of the cluster at", first.cluster.url(), "everything is told anew"]);
    daemon.wait_for_lines("all of both", |lines| lines.len() == 6 && lines.iter().all(|line| line.initial));
    daemon.stop();
}

#[test]
fn a_state_folder_that_is_removed_while_faro_runs_is_said_and_made_again_with_everything() {
    let stage = Stage::new(WATCH);
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    remove_folder(&stage.state());
    // Nothing changes in the cluster meanwhile.
    daemon.wait_for_log(&["error the state folder", "was removed, or files of it"]);
    daemon.wait_for_log(&["the state is written again"]);
    stage.touch("a", "1");
    daemon.wait_for("UPDATED default/a");
    let log = daemon.kill();
    assert_eq!(log.lines().filter(|line| line.contains("was removed, or files of it")).count(), 1, "{log}");
    // The next start knows everything.
    stage.delete("b");
    check(&stage.run(5), &["UPDATED default/a", "DELETED default/b"]);
}

#[test]
fn a_faro_whose_state_folder_another_took_meanwhile_ends_and_names_it() {
    let stage = Stage::new(WATCH);
    let mut first = stage.start();
    first.wait_for_lines("three lines", |lines| lines.len() == 3);
    // It notices nothing until the other has the folder.
    first.signal(Signal::STOP);
    remove_folder(&stage.state());
    let config = format!("state: {{dir: {}}}\n{WATCH}", stage.state().display());
    let second = Setup::with_config(&config).kubeconfig(stage.cluster.kubeconfig()).start_ready();
    first.signal(Signal::CONT);
    let ended = first.wait_for_end(SOON);
    let said = ended.log.lines().last().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(said.contains("is in use by") && said.contains(&format!("pid {}", second.id())), "{said}");
    stage.touch("a", "1");
    second.wait_for("UPDATED default/a");
    let log = second.stop().log;
    assert!(!log.contains("error"), "{log}");
}

#[test]
fn everything_that_is_removed_at_once_while_faro_runs_is_made_again() {
    let stage = Stage::new(WATCH);
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    remove_folder(&stage.setup.output());
    daemon.wait_for_log(&["the state is written again"]);
    stage.touch("a", "1");
    daemon.wait_for("UPDATED default/a");
    daemon.kill();
    stage.delete("b");
    let told = |lines: &[Line]| lines.iter().map(Line::brief).collect::<Vec<_>>();
    let daemon = stage.start();
    daemon.wait_for("DELETED default/b");
    assert_eq!(told(&daemon.stop().lines), ["UPDATED default/a", "DELETED default/b"], "and nothing of it twice");
}

#[test]
fn lines_of_a_file_that_took_the_place_of_a_removed_one_are_found_whatever_the_clock_says() {
    let stage = Stage::new(WATCH);
    fs::create_dir_all(stage.setup.output()).unwrap();
    fs::write(stage.setup.output().join("events-29990101-000000.json"), "").unwrap();
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    eventually(SOON, "the position is stored", || daemon.metric("faro_checkpoints_total", "") >= 1.0);
    daemon.events_files().iter().for_each(|file| fs::remove_file(file).unwrap());
    stage.touch("a", "1");
    daemon.wait_for("UPDATED default/a");
    daemon.kill();
    stage.delete("b");
    let daemon = stage.start();
    daemon.wait_for("DELETED default/b");
    let told: Vec<_> = daemon.stop().lines.iter().map(Line::brief).collect();
    assert_eq!(told, ["UPDATED default/a", "DELETED default/b"], "and nothing of it twice");
}

#[test]
fn a_state_folder_that_cannot_be_made_again_holds_readiness_until_it_can() {
    let stage = Stage::new(WATCH);
    let daemon = stage.start();
    daemon.wait_for_lines("three lines", |lines| lines.len() == 3);
    remove_folder(&stage.state());
    while fs::write(stage.state(), "a file").is_err() {
        // It was quicker, and made the folder again.
        remove_folder(&stage.state());
    }
    let ready = || daemon.http("/ready").unwrap();
    eventually(SOON, "it is not ready", || ready().0 == 503);
    assert!(ready().1.contains("state"), "{}", ready().1);
    stage.touch("a", "1");
    daemon.wait_for("UPDATED default/a");
    fs::remove_file(stage.state()).unwrap();
    eventually(SOON, "it is ready", || ready().0 == 200);
    daemon.kill();
    stage.delete("b");
    check(&stage.run(5), &["UPDATED default/a", "DELETED default/b"]);
}

#[test]
fn a_damaged_state_is_refused_until_it_is_reset() {
    let stage = Stage::new(WATCH);
    check(&stage.run(3), &[]);
    let path = stage.state().join("state.redb");
    fs::write(&path, "not a database").unwrap();
    let refused = stage.refused("");
    let said = refused.log.lines().last().unwrap();
    assert!(said.contains("state.redb is damaged") && said.contains("--reset-state"), "{said}");
    let stage = Stage { setup: stage.setup.arguments("--reset-state"), ..stage };
    stage.run_of_three();
    assert_eq!(stage.ids_told(), [2; 3]);
}
