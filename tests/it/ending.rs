//! How a run ends, or does not: signals, readers that do not read or go away, disks that take no more.

use crate::answer::Answer;
use crate::answer::Gate;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, line, page, refused_streaming_list, watch};
use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{SOON, eventually};
use rustix::param::page_size;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::fs::File;
use std::io;

/// So many lines fill a pipe that nobody reads several times.
const OBJECTS: u64 = 2_000;

fn big_list() -> Answer {
    let names: Vec<String> = (0..OBJECTS).map(|number| format!("configmap-with-a-long-name-{number}")).collect();
    let objects: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(1..).collect();
    page(OBJECTS, &objects)
}

fn api_with_many() -> Api {
    let api = Api::new(Release::V1_20);
    api.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
    api.server.on(&format!("list {CONFIGMAPS}"), [big_list()]);
    api
}

/// More is in the files than a pipe takes: what they are ahead of it waits for a reader.
fn wait_until_stdout_is_full(daemon: &Daemon) {
    let written = || daemon.events_files().iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    eventually(SOON, "more is written than the pipe takes", || written() > page_size() as u64);
}

fn setup(api: &Api, config: &str) -> Setup {
    Setup::with_config(&format!("{config}\n{WATCH_CONFIGMAPS}")).kubeconfig(&api.kubeconfig())
}

#[test]
fn second_signal_ends_at_once_with_1_while_a_drain_hangs() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)] {
        let api = api_with_many();
        let mut daemon = setup(&api, "shutdown_grace_sec: 600").arguments("--stdout").stdout_held().start();
        wait_until_stdout_is_full(&daemon);
        daemon.signal(first);
        daemon.wait_for_log(&["stopping", "another signal ends at once"]);
        daemon.signal(second);
        let ended = daemon.wait_for_end(SOON);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
    }
}

#[test]
fn drain_that_hangs_ends_with_its_grace_and_says_what_is_left() {
    let api = api_with_many();
    let mut daemon = setup(&api, "shutdown_grace_sec: 1").arguments("--stdout").stdout_held().start();
    wait_until_stdout_is_full(&daemon);
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("before everything was drained events="), "{}", ended.log);
}

#[test]
fn a_stdout_that_is_closed_or_cannot_be_written_ends_the_start_with_1_and_nothing_counts_as_written() {
    for redirection in [">&-", "1</dev/null", ">&- <&- 2>log"] {
        let api = Api::with_a_and_b();
        let setup = setup(&api, "json_export: false").arguments("--stdout");
        let ended = setup.clone().redirected(redirection).run_to_end();
        let log = ended.log.clone() + &std::fs::read_to_string(setup.folder().join("log")).unwrap_or_default();
        assert_eq!(ended.code, Some(1), "{redirection}: {log}");
        assert!(log.contains("cannot write events to standard output: it is "), "{redirection}: {log}");
        // The next start has everything to tell.
        let daemon = setup.start_ready();
        eventually(SOON, "both objects are told", || daemon.stdout().lines().count() == 2);
        daemon.stop();
    }
}

#[test]
fn a_stdout_that_is_thrown_away_on_purpose_is_written_to() {
    let api = Api::with_a_and_b();
    let daemon = setup(&api, "json_export: false").arguments("--stdout").redirected(">/dev/null").start_ready();
    eventually(SOON, "both objects are written", || daemon.metric("faro_written_lines_total", "") == 2.0);
    daemon.stop();
}

#[test]
fn reader_of_stdout_that_goes_away_ends_the_run_with_1_and_a_whole_file() {
    let (api, gate) = (Api::with_a_and_b(), Gate::default());
    let changes = watch(&[line("MODIFIED", "a", 11), line("DELETED", "b", 12)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [changes.held_at(r#"{"type":"MODIFIED""#, &gate)]);
    let mut daemon = setup(&api, "").arguments("--stdout").stdout_held().start();
    daemon.wait_for("ADDED demo/b initial");
    eventually(SOON, "both lines went to both outputs", || daemon.metric("faro_written_lines_total", "") == 2.0);
    daemon.close_stdout();
    gate.open();
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap();
    assert!(last.starts_with("faro: cannot write events to standard output") && last.contains("reader"), "{last}");
    assert!(ended.lines.iter().any(|line| line.brief() == "UPDATED demo/a"), "{:?}", ended.lines);
}

#[test]
fn disk_that_takes_no_more_holds_events_until_it_does() {
    let api = api_with_many();
    let mut daemon = setup(&api, "log_file: false\nstate: {enabled: false}").file_blocks_max(64).start();
    // 64 blocks hold about 150 of the 2000 lines.
    daemon.wait_for_log(&["error", "cannot write to", "events-", "events wait"]);
    let (code, body) = daemon.http("/ready").unwrap();
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("events-"), "{body}");
    assert_eq!(daemon.http("/health").unwrap().0, 200, "waiting for a disk is not being stuck");
    let written = daemon.lines().len();
    assert!((1..OBJECTS as usize).contains(&written), "{written}");

    let pid = Pid::from_raw(daemon.id().cast_signed());
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    prlimit(pid, Resource::Fsize, Rlimit { current: maximum, maximum }).expect("a soft limit may be raised to the hard one");
    daemon.wait_until_ready();
    daemon.wait_for_lines("all lines", |lines| lines.len() == OBJECTS as usize);
    daemon.wait_for_log(&["again, after"]);
    daemon.stop();
}

#[test]
fn disk_that_stays_full_ends_with_whole_lines_only() {
    let api = api_with_many();
    let mut daemon = setup(&api, "shutdown_grace_sec: 1\nlog_file: false\nstate: {enabled: false}").file_blocks_max(64).start();
    daemon.wait_for_log(&["cannot write to", "events-"]);
    // Opened now: its folder goes with the daemon.
    let file = File::open(daemon.events_files().pop().unwrap()).unwrap();
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_for_end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("before everything was drained events="), "{}", ended.log);
    let text = io::read_to_string(file).unwrap();
    assert!(text.ends_with("}\n"), "a torn line is left: {:?}", &text[text.len().saturating_sub(80)..]);
}

#[test]
fn events_file_that_is_deleted_is_followed_by_a_new_one() {
    let (api, gate) = (Api::with_a_and_b(), Gate::default());
    let changes = watch(&[line("MODIFIED", "a", 11)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [changes.held_at(r#"{"type":"MODIFIED""#, &gate)]);
    let daemon = setup(&api, "").start();
    daemon.wait_for("ADDED demo/b initial");
    std::fs::remove_file(daemon.events_files().pop().unwrap()).unwrap();
    gate.open();
    daemon.wait_for("UPDATED demo/a");
    daemon.stop();
}
