//! What stands between Faro and its API server: a real nginx that buffers, and one address of two servers whose connections
//! are cut again and again.

use super::changes::{config, name};
use super::chaos::seed;
use crate::cluster::Cluster;
use crate::control_plane::{ADMIN_TOKEN, Options};
use crate::daemon::{Daemon, Setup};
use crate::law::check_stories;
use crate::lines::Line;
use crate::ports::free_port;
use crate::process::Guarded;
use crate::runner::{Stage, say};
use crate::tcp_proxy::TcpProxy;
use crate::wait::{SOON, eventually, pause};
use crate::writer::{Change, LEASES};
use jiff::Timestamp;
use serde_json::json;
use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// On a busy kind every change is there within a second, on an idle one within 30 s, and what is logged is the cure.
///
/// Without nginx there is nothing to show, unless `FARO_NEEDS_NGINX` is set.
pub(super) fn changes_come_through_an_nginx_that_buffers(stage: &Stage) {
    let cluster = stage.shared();
    let Some(nginx) = Nginx::before(cluster) else {
        assert!(std::env::var_os("FARO_NEEDS_NGINX").is_none(), "nginx is not installed");
        say("    skipped: nginx is not installed (Debian: apt-get install nginx-light)\n");
        return;
    };
    let namespace = cluster.namespace("buffered");
    let leases = format!("- {{gvr: coordination.k8s.io/v1/leases, namespace_names: [{namespace}]}}\n");
    let kubeconfig = cluster.kubeconfig_at(&nginx.url(), &json!({ "token": ADMIN_TOKEN }));
    let setup = Setup::new(cluster, &format!("{}\n{leases}", block(&namespace))).kubeconfig(&kubeconfig);
    let daemon = setup.arguments("--log-level info").start_ready();
    let (plain, idle) = (json!({}), cluster.writer.of(LEASES));
    // Until Faro knows that answers are held back.
    daemon.wait_for_log(&["proxy_buffering off"]);
    let (mut busy_changes, mut idle_changes) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        let index = busy_changes.len();
        let data = format!("{index} {}", "x".repeat(BUSY_BYTES));
        let change = if index < BUSY_OBJECTS {
            cluster.writer.create_object(&namespace, &name(index), &plain, &data)
        } else {
            cluster.writer.update_object(&namespace, &name(index % BUSY_OBJECTS), &plain, &data)
        };
        busy_changes.push((change, Timestamp::now()));
        if began.elapsed() > IDLE_EVERY * u32::try_from(idle_changes.len()).expect("they are few") {
            let change = idle.create_object(&namespace, &name(idle_changes.len()), &plain, "0");
            idle_changes.push((change, Timestamp::now()));
        }
        pause(BUSY_PAUSE);
    }
    let wanted = busy_changes.len() + idle_changes.len();
    let lines = daemon.wait_for_lines("every change", |lines| lines.len() >= wanted);
    // A kind is idle as soon as nothing follows.
    idle_changes.extend(busy_changes.split_off(busy_changes.len() - BUSY_OBJECTS));
    let (busy, idle) = (latest(&lines, &busy_changes), latest(&lines, &idle_changes));
    say(&format!(
        "    {} changes of a busy kind, the latest after {busy:.1?}; {} of an idle one, after {idle:.1?}\n",
        busy_changes.len(),
        idle_changes.len()
    ));
    assert_eq!(daemon.metric("faro_relists_total", ""), 0.0, "nothing is listed again for answers that are held back");
    let log = daemon.stop().log;
    let is_cure = |line: &&str| line.contains("proxy_buffering off");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("warn ") && !is_cure(line)).collect();
    assert_eq!(warnings, Vec::<&str>::new(), "warnings besides the cure");
    assert!(busy <= BUSY_MAX && idle <= IDLE_MAX, "busy {busy:?}, idle {idle:?}");
}

/// The latest change of a busy kind. A quiet machine takes less than a second; what a proxy holds back takes 25 and more.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// The latest change of an idle kind: its watch ends after 25 s.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long is written.
const WATCHED: Duration = Duration::from_secs(90);

/// A new object of the idle kind.
const IDLE_EVERY: Duration = Duration::from_secs(35);

/// About fifty changes a second at most, each larger than what nginx postpones.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_BYTES: usize = 1500;
const BUSY_OBJECTS: usize = 10;

/// The configuration's entry for config maps, as a block.
fn block(namespace: &str) -> String {
    format!("resources:\n- {{gvr: v1/configmaps, namespace_names: [{namespace}]}}")
}

/// The longest time from the server's answer to a change until its line was received.
fn latest(lines: &[Line], changes: &[(Change, Timestamp)]) -> Duration {
    let late = |(change, written): &(Change, Timestamp)| {
        let is_its = |line: &&Line| line.uid == change.uid && Some(&line.resource_version) == change.version.as_ref();
        let line = lines.iter().find(is_its).unwrap_or_else(|| panic!("not told: {change:?}"));
        let received: Timestamp = line.timestamp.parse().expect("a line has a time");
        Duration::try_from(received.duration_since(*written)).unwrap_or_default()
    };
    changes.iter().map(late).max().unwrap_or_default()
}

/// An nginx before the API server, with what it does by itself.
struct Nginx {
    _process: Guarded,
    port: u16,
    _folder: TempDir,
}

impl Nginx {
    /// `None` where there is none.
    fn before(cluster: &Cluster) -> Option<Self> {
        let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| fs::exists(path).unwrap_or(false))?;
        let folder = tempfile::Builder::new().prefix("faro-e2e-nginx-").tempdir().expect("a folder for nginx");
        let (at, port, plane) = (folder.path().display().to_string(), free_port(), cluster.own());
        fs::write(folder.path().join("crt"), &plane.pki.serving.cert).expect("the folder is ours");
        fs::write(folder.path().join("key"), &plane.pki.serving.key).expect("the folder is ours");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {at}/{kind};\n")).collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n\
             {temporary}server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {at}/crt;\nssl_certificate_key {at}/key;\n\
             location / {{\nproxy_pass https://127.0.0.1:{};\nproxy_http_version 1.1;\nproxy_buffering on;\n}}\n}}\n}}\n",
            plane.port()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).expect("the folder is ours");
        let mut command = Command::new(binary);
        command
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Guarded::start(&mut command);
        eventually(SOON, "nginx listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { _process: process, port, _folder: folder })
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

/// Two servers of one store behind one address: each cut may lead to the other one, and after each twelve cuts one of them is
/// killed and comes back without its memory. No state is skipped.
pub(super) fn no_state_is_skipped_between_two_servers_whose_connections_are_cut(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let plane = cluster.own();
    plane.start_second_api_server();
    let network = TcpProxy::to_any(vec![plane.port(), plane.second_port()]);
    let namespace = cluster.namespace("two");
    let text = fs::read_to_string(cluster.admin()).expect("the kubeconfig was written by us");
    let kubeconfig = cluster.write_kubeconfig(&text.replace(&cluster.server, &network.url()));
    let setup = Setup::new(&cluster, &config(&namespace)).kubeconfig(&kubeconfig).arguments("--log-level info");
    let daemon = setup.start_ready();
    let (seed, done) = (seed(), AtomicBool::new(false));
    let (changes, cuts) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let changes = write(&cluster, &namespace);
            done.store(true, Ordering::Relaxed);
            changes
        });
        let cuts = cut(&network, &cluster, seed, &done);
        (writing.join().expect("all is written"), cuts)
    });
    let last = cluster.writer.create_object(&namespace, "last", &json!({}), "0");
    daemon.wait_for(&format!("ADDED {namespace}/last"));
    report(daemon, &changes, &last, &cluster, &namespace, &format!("seed {seed}, {cuts} cuts"));
}

fn write(cluster: &Cluster, namespace: &str) -> Vec<Change> {
    let plain = json!({});
    let change = |index: usize| {
        pause(CHANGE_PAUSE);
        let name = name(index % CUT_OBJECTS);
        if index < CUT_OBJECTS {
            cluster.writer.create_object(namespace, &name, &plain, "0")
        } else {
            cluster.writer.update_object(namespace, &name, &plain, &index.to_string())
        }
    };
    (0..CUT_CHANGES).map(change).collect()
}

/// Cuts every 0.3 to 2.5 s until all is written. Gives how often.
fn cut(network: &TcpProxy, cluster: &Cluster, seed: u64, done: &AtomicBool) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cuts = 0;
    while !done.load(Ordering::Relaxed) {
        pause(Duration::from_millis(random.u64(300..2500)));
        network.cut();
        network.mend();
        cuts += 1;
        if cuts % CUTS_A_KILL == 0 {
            let plane = cluster.own();
            plane.kill_second_api_server();
            plane.start_second_api_server();
        }
    }
    cuts
}

fn report(daemon: Daemon, changes: &[Change], last: &Change, cluster: &Cluster, namespace: &str, when: &str) {
    let log = daemon.log();
    let lines = daemon.stop().lines;
    let told = |change: &&Change| {
        lines.iter().any(|line| line.uid == change.uid && Some(&line.resource_version) == change.version.as_ref())
    };
    let (skipped, inferred) =
        (changes.len() - changes.iter().filter(told).count(), lines.iter().filter(|line| line.inferred).count());
    let warnings = log.lines().filter(|line| line.contains("warn ")).count();
    say(&format!(
        "    {when}, {} changes: {skipped} states skipped, {inferred} lines inferred, {warnings} warnings, the last change is version {:?}\n",
        changes.len(),
        last.version
    ));
    check_stories(&lines, &cluster.writer.list_objects(namespace));
    assert_eq!(skipped, 0, "states that were skipped");
}

const CUT_CHANGES: usize = 1500;
const CUT_OBJECTS: usize = 30;
const CHANGE_PAUSE: Duration = Duration::from_millis(25);
const CUTS_A_KILL: usize = 12;
