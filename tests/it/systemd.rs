//! Under systemd: what the daemon tells the service manager, played by a socket, and what the journal.

use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{RUN_SECONDS, SOON};
use faro::sim::{Cluster, Fault, Faults};
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

const CONFIG: &str = "resources: [{gvr: v1/configmaps, namespace_names: [default]}]";

/// A service manager, and a daemon that is its service.
struct Stage {
    manager: UnixDatagram,
    cluster: Cluster,
    setup: Setup,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::builder().tls(false).start().unwrap();
        let setup = Setup::with_config(CONFIG).kubeconfig(cluster.kubeconfig());
        let socket = setup.folder().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(SOON)).unwrap();
        let setup = setup.variable("NOTIFY_SOCKET", socket.to_str().unwrap());
        Self { manager, cluster, setup }
    }

    /// The next datagram.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.manager.recv(&mut buffer).expect("the manager is told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Datagrams until one that begins with `words`, that one included.
    fn until(&self, words: &str) -> Vec<String> {
        let mut told = vec![self.next()];
        while !told[told.len() - 1].starts_with(words) {
            told.push(self.next());
        }
        told
    }

    fn start(&self) -> Daemon {
        self.setup.clone().start()
    }
}

#[test]
fn ready_comes_when_the_first_list_has_ended_and_the_status_says_how_many() {
    let stage = Stage::new();
    stage.cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    stage.cluster.set_faults(Faults::only(&[Fault::Stall]).one_in(1).pause(10 * SOON));
    let daemon = stage.start();
    let told = stage.until("EXTEND_TIMEOUT_USEC=");
    assert!(!told.iter().any(|told| told == "READY=1"), "{told:?}");
    daemon.wait_for_log(&["serving"]);
    assert_eq!(daemon.http("/ready").unwrap().0, 503);
    stage.cluster.set_faults(Faults::none());
    stage.until("READY=1");
    assert_eq!(daemon.http("/ready").unwrap().0, 200);
    stage.until("STATUS=1 of 1 watches synced, 1 events told");
    daemon.stop();
    let told = stage.until("STOPPING=1");
    assert!(!told.iter().any(|told| told == "READY=1"), "ready is said once: {told:?}");
}

#[test]
fn a_forbidden_watch_keeps_the_service_from_nothing() {
    let stage = Stage::new();
    let kubeconfig = stage.cluster.add_user("nobody", &[], []).unwrap();
    let daemon = stage.setup.clone().kubeconfig(&kubeconfig).start();
    let status = "STATUS=0 of 1 watches synced, 0 events told";
    // Where the first look finds the watch already, the status comes before.
    if !stage.until("READY=1").iter().any(|told| told == status) {
        stage.until(status);
    }
    daemon.stop();
}

#[test]
fn reloads_are_told_with_their_beginning_and_end_be_they_refused() {
    let stage = Stage::new();
    let mut daemon = stage.start();
    stage.until("READY=1");
    for config in [CONFIG.replace("default", "shop"), "resourcs: []".to_owned()] {
        stage.setup.rewrite_config(&stage.setup.whole(&config));
        daemon.signal(Signal::HUP);
        stage.until("RELOADING=1\nMONOTONIC_USEC=");
        stage.until("READY=1");
    }
    assert_eq!(daemon.metric("faro_config_reloads_total", ""), 2.0, "the end comes after the reload");
    daemon.signal(Signal::TERM);
    stage.until("STOPPING=1");
    assert_eq!(daemon.wait_for_end(SOON).code, Some(0));
}

#[test]
fn beats_come_while_it_is_alive() {
    let stage = Stage::new();
    let daemon = stage.setup.clone().variable("WATCHDOG_USEC", "1000000").start();
    stage.until("READY=1");
    (0..3).for_each(|_| drop(stage.until("WATCHDOG=1")));
    daemon.stop();
}

#[test]
fn a_run_that_ends_by_itself_says_so() {
    let stage = Stage::new();
    let is_ready = RUN_SECONDS.iter().any(|seconds| {
        let daemon = stage.setup.clone().arguments(&format!("--auto-shutdown {seconds}")).start();
        let told = stage.until("STOPPING=1");
        assert_eq!(daemon.wait_for_end(SOON).code, Some(0));
        told.iter().any(|words| words.starts_with("READY=1"))
    });
    assert!(is_ready);
}

#[test]
fn a_socket_that_is_not_there_is_told_and_stops_nothing() {
    let stage = Stage::new();
    let daemon = stage.setup.clone().variable("NOTIFY_SOCKET", "/nowhere/notify").start_ready();
    daemon.wait_for_log(&["systemd is not told"]);
    daemon.stop();
}

#[test]
fn a_credential_plugin_is_not_told_of_the_service_manager() {
    let stage = Stage::new();
    let script = "env > given; echo '{\"kind\": \"ExecCredential\", \"apiVersion\": \"client.authentication.k8s.io/v1\", \
                  \"status\": {\"token\": \"TOKEN\"}}'";
    let script = script.replace("TOKEN", &stage.cluster.issue_token());
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never"});
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": stage.cluster.url()}}],
        "users": [{"name": "u", "user": {"exec": exec}}]});
    let path = stage.setup.folder().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let setup = stage.setup.clone().kubeconfig(&path).variable("WATCHDOG_USEC", "10000000").variable("KEPT", "1");
    let daemon = setup.start_ready();
    let given = std::fs::read_to_string(stage.setup.folder().join("given")).unwrap();
    assert!(given.contains("KEPT=1"), "{given}");
    assert!(!given.contains("NOTIFY_SOCKET") && !given.contains("WATCHDOG"), "{given}");
    daemon.stop();
}

/// Runs the program with stderr as its journal, and gives what it says there.
fn to_journal(setup: &Setup, config: &str, arguments: &[&str]) -> String {
    setup.rewrite_config(&setup.whole(config));
    let script = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_faro"), "--config", "config.yaml"]).args(arguments);
    let output = command.current_dir(setup.folder()).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_journal_gets_a_priority_on_each_line_and_no_time_and_the_file_has_its_times() {
    let stage = Stage::new();
    let kubeconfig = stage.cluster.kubeconfig().display().to_string();
    let has_listed = RUN_SECONDS.iter().any(|seconds| {
        let told = to_journal(&stage.setup, CONFIG, &["--kubeconfig", &kubeconfig, "--auto-shutdown", &seconds.to_string()]);
        assert!(told.lines().all(|line| ["<4>", "<6>", "<7>"].iter().any(|priority| line.starts_with(priority))), "{told}");
        told.contains("<6>v1/configmaps in default: listed, watching objects=0")
    });
    assert!(has_listed);
    for log in std::fs::read_dir(stage.setup.output().join("logs")).unwrap() {
        let log = std::fs::read_to_string(log.unwrap().path()).unwrap();
        assert!(log.lines().all(|line| line.starts_with("20") && !line.contains('<')), "{log}");
    }
    let told = to_journal(&stage.setup, "resources: [{gvr: pods}, {gvr: jobs}]", &[]);
    let [head, first, second] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert!(head.starts_with("<3>faro: 2 mistakes"), "{told}");
    assert!(first.starts_with("<3>config.yaml:") && second.starts_with("<3>config.yaml:"), "{told}");
}
