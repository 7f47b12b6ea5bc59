//! Another configuration while Faro runs: by SIGHUP, by a changed file, and by a call of the library.

use crate::support::daemon::{Daemon, Setup};
use crate::support::lines::{self, Line};
use crate::support::process::Guarded;
use crate::support::wait::{SOON, eventually, remove_folder};
use faro::config::{Config, ResourceConfig};
use faro::controller::{Controller, ControllerError};
use faro::event::MatchedEvent;
use faro::sim::{Cluster, Fault, Faults};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

const MAPS: &str = "v1/configmaps";

/// A cluster with a namespace `shop`, and in it and in `default` a config map `first`.
fn cluster() -> Cluster {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    cluster.create("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").unwrap();
    ["default", "shop"].into_iter().for_each(|namespace| create(&cluster, "ConfigMap", namespace, "first"));
    cluster
}

fn create(cluster: &Cluster, kind: &str, namespace: &str, name: &str) {
    let metadata = format!("{{namespace: {namespace}, name: {name}, labels: {{app: web}}}}");
    cluster.create(&format!("{{apiVersion: v1, kind: {kind}, metadata: {metadata}}}")).unwrap();
}

fn start(cluster: &Cluster, config: &str) -> Daemon {
    Setup::with_config(config).kubeconfig(cluster.kubeconfig()).start_ready()
}

/// Writes another configuration and sends SIGHUP.
fn reload(daemon: &mut Daemon, config: &str) {
    let text = daemon.setup().whole(config);
    daemon.setup().rewrite_config(&text);
    daemon.signal(Signal::HUP);
}

/// How many reloads there were, by result.
fn reloads(daemon: &Daemon) -> (f64, f64) {
    let count = |result: &str| daemon.metric("faro_config_reloads_total", &format!("result=\"{result}\""));
    (count("ok"), count("failed"))
}

fn wait_for_reloads(daemon: &Daemon, ok: f64, failed: f64) {
    eventually(SOON, &format!("{ok} reloads are taken and {failed} refused"), || reloads(daemon) == (ok, failed));
}

fn watches(cluster: &Cluster, namespace: &str) -> u64 {
    cluster.watch_requests(MAPS, Some(namespace)).unwrap()
}

fn briefs_of(lines: &[Line], gvr: &str) -> Vec<String> {
    lines.iter().filter(|line| line.gvr == gvr).map(Line::brief).collect()
}

#[test]
fn a_log_file_that_was_moved_away_is_followed_by_another_at_sighup_and_a_deleted_one_at_the_next_line() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let config = "resources: [{gvr: v1/configmaps}]";
    let mut daemon = Setup::with_config(config).kubeconfig(cluster.kubeconfig()).start_ready();
    let logs = daemon.setup().output().join("logs");
    let moved = daemon.setup().folder().join("moved.log");
    let files = || fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let text = || files().iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect::<String>();
    fs::rename(&files()[0], &moved).unwrap();
    daemon.signal(Signal::HUP);
    eventually(SOON, "the reload is told in another file", || text().contains("the configuration is in force"));
    assert!(!fs::read_to_string(moved).unwrap().contains("SIGHUP"));
    remove_folder(&logs);
    cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}").unwrap();
    daemon.signal(Signal::HUP);
    eventually(SOON, "the next lines are in another file", || logs.exists() && text().contains("the configuration is in force"));
    daemon.stop();
}

#[test]
fn only_the_watches_that_changed_are_started_and_stopped() {
    let cluster = cluster();
    let mut daemon = start(
        &cluster,
        "resources:\n- {gvr: v1/configmaps, namespace_names: [default, shop]}\n- {gvr: v1/services}\n- {gvr: v1/pods}",
    );
    daemon.wait_for("ADDED shop/first initial");
    let before = watches(&cluster, "default");
    create(&cluster, "Secret", "shop", "key");
    reload(
        &mut daemon,
        "resources:
- {gvr: v1/configmaps, namespace_names: [default]}
- {gvr: v1/configmaps, namespace_names: [shop], label_selector: app=web}
- {gvr: v1/pods}
- {gvr: v1/secrets, namespace_names: [shop]}",
    );
    daemon.wait_for_log(&["the configuration is in force", "started=2", "stopped=2", "kept=2"]);
    daemon.wait_until_ready();
    assert_eq!(reloads(&daemon), (1.0, 0.0));
    create(&cluster, "ConfigMap", "default", "second");
    create(&cluster, "ConfigMap", "shop", "second");
    create(&cluster, "Service", "shop", "unwatched");
    ["ADDED default/second", "ADDED shop/second", "ADDED shop/key initial"].into_iter().for_each(|brief| daemon.wait_for(brief));
    assert_eq!(watches(&cluster, "default"), before, "the watch that stayed was opened once");
    assert_eq!(daemon.metric("faro_watch_restarts_total", ""), 0.0);
    let lines = daemon.stop().lines;
    // A watch with other selectors is another watch, which tells what is there.
    let of_shop: Vec<String> = briefs_of(&lines, MAPS).into_iter().filter(|brief| brief.contains("shop/")).collect();
    assert_eq!(of_shop, ["ADDED shop/first initial", "ADDED shop/first initial", "ADDED shop/second"]);
    assert_eq!(briefs_of(&lines, "v1/secrets"), ["ADDED shop/key initial"]);
    assert_eq!(briefs_of(&lines, "v1/services"), [""; 0], "nothing of what is no longer watched");
    assert!(!lines.iter().any(|line| line.brief().starts_with("DELETED")), "what is no longer watched is not deleted");
}

#[test]
fn what_was_stopped_goes_on_from_where_it_was_when_it_comes_back() {
    let cluster = cluster();
    let both = "resources: [{gvr: v1/configmaps, namespace_names: [default, shop]}]";
    let mut daemon = start(&cluster, both);
    daemon.wait_for("ADDED shop/first initial");
    reload(&mut daemon, "resources: [{gvr: v1/configmaps, namespace_names: [default]}]");
    daemon.wait_for_log(&["the configuration is in force", "started=0", "stopped=1", "kept=1"]);
    cluster.delete(MAPS, "shop/first").unwrap();
    create(&cluster, "ConfigMap", "shop", "second");
    reload(&mut daemon, both);
    daemon.wait_for_log(&["the configuration is in force", "started=1", "stopped=0", "kept=1"]);
    daemon.wait_for("ADDED shop/second");
    let lines = daemon.stop().lines;
    let of_shop: Vec<String> = lines.iter().map(Line::brief).filter(|brief| brief.contains("shop/")).collect();
    assert_eq!(of_shop, ["ADDED shop/first initial", "DELETED shop/first", "ADDED shop/second"]);
}

#[test]
fn a_wrong_configuration_changes_nothing_and_is_told_with_every_mistake() {
    let cluster = cluster();
    let good = "resources: [{gvr: v1/configmaps, namespace_names: [default]}]";
    let mut daemon = start(&cluster, good);
    daemon.wait_for("ADDED default/first initial");
    let before = watches(&cluster, "default");
    let told_at_start = daemon.metric("faro_config_last_reload_timestamp_seconds", "");
    assert_eq!(daemon.metric("faro_config_last_reload_success", ""), 1.0);
    for (failed, (config, words)) in [
        ("resources: [{gvr: v1/pods}]\nresourcs: []", vec![vec!["config.yaml:5: resourcs", "did you mean \"resources\"?"]]),
        (
            "resources:\n- {gvr: pods}\n- {gvr: v1/pods, label_selector: 'a=='}",
            vec![vec!["config.yaml:5: resources[0].gvr"], vec!["config.yaml:6: resources[1].label_selector"]],
        ),
        (
            "resources: [{gvr: v1/podz}, {gvr: v1/nodes, scope: Namespaced}]",
            vec![vec!["resources[0]", "did you mean \"v1/pods\"?"], vec!["resources[1].scope", "v1/nodes is Cluster"]],
        ),
        (
            "resources: [{gvr: v1/pods}]\nshutdown_grace_sec: 7\ncompress: gzip",
            vec![vec!["shutdown_grace_sec, compress", "restart"]],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        reload(&mut daemon, config);
        wait_for_reloads(&daemon, 0.0, failed as f64 + 1.0);
        words.iter().for_each(|words| drop(daemon.wait_for_log(words)));
        assert_eq!(daemon.metric("faro_config_last_reload_success", ""), 0.0);
        assert_eq!(daemon.http("/ready").unwrap().0, 200);
    }
    assert!(daemon.metric("faro_config_last_reload_timestamp_seconds", "") > told_at_start);
    assert_eq!(daemon.metric("faro_informers_total", ""), 1.0);
    reload(&mut daemon, good);
    wait_for_reloads(&daemon, 1.0, 4.0);
    assert_eq!(daemon.metric("faro_config_last_reload_success", ""), 1.0);
    create(&cluster, "ConfigMap", "default", "second");
    daemon.wait_for("ADDED default/second");
    assert_eq!(watches(&cluster, "default"), before, "its watch was opened once");
    daemon.stop();
}

#[test]
fn the_flags_outrank_the_file_each_time_and_the_log_level_follows() {
    let cluster = cluster();
    let setup = Setup::bare();
    let text = |level: &str| {
        format!(
            "output_dir: elsewhere\nlog_level: {level}\nmetrics: {{port: {}, bind_addr: 127.0.0.1}}\nresources: [{{gvr: {MAPS}}}]",
            setup.port()
        )
    };
    let output = format!("--output-dir {}", setup.output().display());
    let mut daemon = setup.clone().config(&text("info")).arguments(&output).kubeconfig(cluster.kubeconfig()).start_ready();
    setup.rewrite_config(&text("error"));
    daemon.signal(Signal::HUP);
    wait_for_reloads(&daemon, 1.0, 0.0);
    setup.rewrite_config(&text("info").replace("info", "info\nlog_file: false"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log(&["error log_file cannot change while running"]);
    setup.rewrite_config(&text("info"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log(&["info the configuration is in force", "kept=1"]);
    let log = daemon.log();
    let in_force = log.lines().filter(|line| line.contains("the configuration is in force")).count();
    assert_eq!(in_force, 1, "info lines are told since the second one that was taken:\n{log}");
    daemon.stop();
}

/// Puts `text` into a folder of its own, and `..data` there in one step, as a kubelet does with a mounted `ConfigMap`.
fn swap(mount: &Path, version: &str, text: &str) {
    fs::create_dir(mount.join(version)).unwrap();
    fs::write(mount.join(version).join("config.yaml"), text).unwrap();
    symlink(version, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

#[test]
fn a_swapped_config_map_is_noticed_by_itself() {
    let cluster = cluster();
    let setup = Setup::bare();
    let mount = setup.folder().join("mount");
    fs::create_dir(&mount).unwrap();
    let text = |resources: &str| setup.whole(&format!("watch_config: true\nresources: [{resources}]"));
    swap(&mount, "..1", &text("{gvr: v1/configmaps, namespace_names: [default]}"));
    symlink("..data/config.yaml", mount.join("config.yaml")).unwrap();
    let flag = format!("--config {}", mount.join("config.yaml").display());
    let daemon = setup.clone().arguments(&flag).kubeconfig(cluster.kubeconfig()).start_ready();
    let before = watches(&cluster, "default");
    swap(&mount, "..2", &text("{gvr: v1/configmaps, namespace_names: [default, shop]}"));
    daemon.wait_for("ADDED shop/first initial");
    swap(&mount, "..3", &text("{gvr: v1/configmapz}"));
    wait_for_reloads(&daemon, 1.0, 1.0);
    daemon.wait_for_log(&["did you mean \"v1/configmaps\"?"]);
    assert_eq!(watches(&cluster, "default"), before, "its watch was opened once");
    daemon.stop();
}

#[test]
fn two_signals_at_once_leave_the_last_configuration_in_force() {
    let cluster = cluster();
    let mut daemon = start(&cluster, "resources: [{gvr: v1/pods}]");
    for namespace in ["default", "shop", "default", "shop"] {
        reload(&mut daemon, &format!("resources: [{{gvr: v1/configmaps, namespace_names: [{namespace}]}}]"));
        daemon.signal(Signal::HUP);
    }
    daemon.wait_for("ADDED shop/first initial");
    eventually(SOON, "one watch is left", || daemon.metric("faro_gvr_per_informer", "") == 1.0);
    create(&cluster, "ConfigMap", "shop", "second");
    daemon.wait_for("ADDED shop/second");
    assert_eq!(reloads(&daemon).1, 0.0);
    daemon.stop();
}

#[test]
fn a_signal_while_starting_is_followed_when_the_start_is_over() {
    let cluster = cluster();
    let stalled = Faults::only(&[Fault::Stall]).one_in(1).pause(10 * SOON);
    cluster.set_faults(stalled);
    let mut daemon = Setup::with_config("resources: [{gvr: v1/pods}]").kubeconfig(cluster.kubeconfig()).start();
    daemon.wait_for_log(&["info faro "]);
    reload(&mut daemon, "resources: [{gvr: v1/configmaps, namespace_names: [shop]}]");
    daemon.wait_for_log(&["serving"]);
    cluster.set_faults(Faults::none());
    daemon.wait_for("ADDED shop/first initial");
    wait_for_reloads(&daemon, 1.0, 0.0);
    daemon.stop();
}

#[test]
fn a_reload_that_no_server_could_check_is_tried_again() {
    let cluster = cluster();
    let mut daemon = start(&cluster, "resources: [{gvr: v1/configmaps, namespace_names: [default]}]");
    cluster.down();
    reload(&mut daemon, "resources: [{gvr: v1/configmaps, namespace_names: [shop]}]");
    daemon.wait_for_log(&["error the configuration was not taken", "tried again"]);
    daemon.wait_for_log(&["error cannot start on", cluster.url()]);
    cluster.up().unwrap();
    daemon.wait_for("ADDED shop/first initial");
    eventually(SOON, "it was taken", || daemon.metric("faro_config_last_reload_success", "") == 1.0);
    daemon.stop();
}

/// `script` gives the daemon a terminal of its own, which is gone when `script` is.
#[test]
fn a_terminal_that_is_closed_stops_the_daemon_and_a_signal_in_it_reloads() {
    if Command::new("script").arg("--version").output().is_err() {
        return report_absent();
    }
    let cluster = cluster();
    let setup = Setup::bare();
    let config = |namespace: &str| setup.whole(&format!("resources: [{{gvr: {MAPS}, namespace_names: [{namespace}]}}]"));
    setup.rewrite_config(&config("default"));
    let faro = env!("CARGO_BIN_EXE_faro");
    // Where these tests run under nohup, it must not inherit that.
    let line =
        format!("exec env --default-signal=HUP {faro} --config config.yaml --kubeconfig {}", cluster.kubeconfig().display());
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(setup.folder());
    let mut terminal = Guarded::start(command.stdin(Stdio::piped()).stdout(Stdio::null()));
    let told = |words: &str| lines::read(&setup.output()).iter().any(|line| line.brief() == words);
    eventually(SOON, "the first watch is heard", || told("ADDED default/first initial"));
    setup.rewrite_config(&config("shop"));
    let log = || {
        let logs = fs::read_dir(setup.output().join("logs")).unwrap();
        logs.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect::<String>()
    };
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", terminal.id())).unwrap();
    let daemon = Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap();
    kill_process(daemon, Signal::HUP).unwrap();
    eventually(SOON, "the second watch is heard", || told("ADDED shop/first initial"));
    let left = Left(daemon);
    terminal.signal(Signal::KILL);
    eventually(SOON, "it has stopped", || log().contains("stopped, everything is drained"));
    std::mem::forget(left);
    assert!(log().contains("received SIGHUP, stopping"), "{}", log());
}

/// A daemon that is nobody's child: ended where a test fails.
struct Left(Pid);

impl Drop for Left {
    fn drop(&mut self) {
        _ = kill_process(self.0, Signal::KILL);
    }
}

#[expect(clippy::print_stderr, reason = "a test that holds nothing says so")]
fn report_absent() {
    eprintln!("script is not on this machine, so nothing was held");
}

#[test]
fn what_a_program_added_stays_and_what_it_added_to_the_configuration_too() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let config = |gvrs: &[&str]| {
        let config = Config::builder(folder.path()).without_metrics().json_export(false);
        gvrs.iter().fold(config, |config, gvr| config.resource(ResourceConfig::new(*gvr))).build().unwrap()
    };
    let controller = Controller::new(cluster.client(), config(&["v1/configmaps", "v1/pods"]));
    _ = controller.add_event_handler(|_: &MatchedEvent| Ok(())).unwrap();
    assert!(matches!(controller.reload(config(&["v1/pods"])), Err(ControllerError::NotRunning)));
    let running = controller.spawn().unwrap();
    eventually(SOON, "it is ready", || controller.is_ready());
    controller.add_resources(&[ResourceConfig::new("v1/services"), ResourceConfig::new("v1/pods")]).unwrap();
    assert_eq!(controller.start_informers().unwrap(), 1, "pods are watched already");
    let count = || (controller.active_informers().configured, controller.active_informers().dynamic);
    assert_eq!(count(), (2, 1));
    let reloaded = controller.reload(config(&["v1/secrets", "v1/services"])).unwrap();
    assert_eq!((reloaded.started, reloaded.stopped, reloaded.kept), (1, 1, 1), "config maps alone are stopped");
    assert_eq!(count(), (2, 1), "pods are the program's now, services the configuration's too");
    let reloaded = controller.reload(config(&["v1/secrets"])).unwrap();
    assert_eq!((reloaded.started, reloaded.stopped, reloaded.kept), (0, 0, 1));
    assert_eq!(count(), (1, 2));
    eventually(SOON, "it is ready", || controller.is_ready());
    running.stop();
    running.join().unwrap();
    assert!(matches!(controller.reload(config(&["v1/pods"])), Err(ControllerError::NotRunning)));
}
