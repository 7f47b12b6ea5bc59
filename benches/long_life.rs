//! Whether Faro grows: its memory over millions of events and thousands of broken connections.
//!
//! `make long-life` runs a controller, with its file, a handler and its endpoints, against a simulated cluster in a process
//! of its own, so that what is measured is Faro's alone. Objects change, go and come again under the same names; every
//! connection is broken now and then while they do. At each tenth of the way
//! everything is waited for, and what the process holds is read. Every event must have been told once, and memory must
//! stay within 5 % of the third sample; every sample is told, those of the warm-up too.
//!
//! `LONG_LIFE_EVENTS` (5,000,000) and `LONG_LIFE_RECONNECTS` (2,000) make it shorter.

use faro::client::Client;
use faro::config::Config;
use faro::controller::Controller;
use faro::dispatch::HandlerError;
use faro::event::MatchedEvent;
use faro::lifecycle::{Joined, Stop};
use faro::sim::Cluster;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// Of each kind in each namespace there is a watch.
const KINDS: [(&str, &str, &str); 20] = [
    ("v1", "ConfigMap", "v1/configmaps"),
    ("v1", "Endpoints", "v1/endpoints"),
    ("v1", "PersistentVolumeClaim", "v1/persistentvolumeclaims"),
    ("v1", "Pod", "v1/pods"),
    ("v1", "ReplicationController", "v1/replicationcontrollers"),
    ("v1", "Secret", "v1/secrets"),
    ("v1", "Service", "v1/services"),
    ("v1", "ServiceAccount", "v1/serviceaccounts"),
    ("apps/v1", "DaemonSet", "apps/v1/daemonsets"),
    ("apps/v1", "Deployment", "apps/v1/deployments"),
    ("apps/v1", "ReplicaSet", "apps/v1/replicasets"),
    ("apps/v1", "StatefulSet", "apps/v1/statefulsets"),
    ("batch/v1", "CronJob", "batch/v1/cronjobs"),
    ("batch/v1", "Job", "batch/v1/jobs"),
    ("coordination.k8s.io/v1", "Lease", "coordination.k8s.io/v1/leases"),
    ("networking.k8s.io/v1", "Ingress", "networking.k8s.io/v1/ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networking.k8s.io/v1/networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "policy/v1/poddisruptionbudgets"),
    ("rbac.authorization.k8s.io/v1", "Role", "rbac.authorization.k8s.io/v1/roles"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rbac.authorization.k8s.io/v1/rolebindings"),
];

const NAMESPACES: u64 = 10;

const WATCHES: u64 = KINDS.len() as u64 * NAMESPACES;

/// Of each watch, at all times.
const OBJECTS: u64 = 25;

/// So many changes are asked for at once, and at most twice as many are on their way.
const BATCH: u64 = 10_000;

/// How often memory is read.
const SAMPLES: u64 = 10;

/// After so many samples it is warm: threads' arenas, buffers and the state's file have come to the size that the load asks
/// for, which takes the first 1.5 of 5 million events.
const WARM_AFTER: u64 = 3;

/// By how much the last sample may be above that.
const GROWTH_MAX: f64 = 0.05;

/// How long the next event may take, also after a cut: the pauses between attempts to connect grow to 30 s.
const PATIENCE: Duration = Duration::from_secs(180);

const SERVER: &str = "LONG_LIFE_SERVER";

fn main() -> Result<(), Failure> {
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    measure(number("LONG_LIFE_EVENTS", 5_000_000)?, number("LONG_LIFE_RECONNECTS", 2_000)?)
}

fn number(variable: &str, default: u64) -> Result<u64, Failure> {
    Ok(std::env::var(variable).ok().map(|text| text.parse()).transpose()?.unwrap_or(default))
}

/// The other process: a cluster that does as the lines of its input say, and answers each with a line.
fn serve() -> Result<(), Failure> {
    let cluster = Cluster::start()?;
    for namespace in 0..NAMESPACES {
        cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: n-{namespace}}}}}"))?;
    }
    for object in 0..WATCHES * OBJECTS {
        create(&cluster, object)?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", cluster.kubeconfig().display())?;
    let mut writer = Changes { cluster: &cluster, next: 0 };
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "change" => writer.batch()?,
            "cut" => cluster.cut_connections(),
            other => return Err(format!("no such order: {other}").into()),
        }
        writeln!(output, "done")?;
    }
    Ok(())
}

struct Changes<'a> {
    cluster: &'a Cluster,
    next: u64,
}

impl Changes<'_> {
    /// Makes as many events as a batch has.
    fn batch(&mut self) -> Result<(), Failure> {
        let mut events = 0;
        while events < BATCH {
            // Neighbours are of different watches.
            let object = self.next.wrapping_mul(PRIME) % (WATCHES * OBJECTS);
            self.next += 1;
            if self.next.is_multiple_of(REPLACED_ONE_IN) && events + 2 <= BATCH {
                self.cluster.delete(kind(object).2, &name(object))?;
                create(self.cluster, object)?;
                events += 2;
            } else {
                let turn = self.next.to_string();
                self.cluster.label(kind(object).2, &name(object), &[("turn", Some(&turn))])?;
                events += 1;
            }
        }
        Ok(())
    }
}

/// Has no factor in common with the number of objects, so that each has its turn.
const PRIME: u64 = 7919;

/// Some objects are deleted and made anew, with another uid.
const REPLACED_ONE_IN: u64 = 20;

/// Its API version, kind and gvr.
fn kind(object: u64) -> (&'static str, &'static str, &'static str) {
    KINDS[(object % KINDS.len() as u64) as usize]
}

fn name(object: u64) -> String {
    let rest = object / KINDS.len() as u64;
    format!("n-{}/object-{}", rest % NAMESPACES, rest / NAMESPACES)
}

fn create(cluster: &Cluster, object: u64) -> Result<(), Failure> {
    let (version, kind, _) = kind(object);
    let place = name(object);
    let (namespace, name) = place.split_once('/').ok_or("a name has a namespace")?;
    let metadata = format!("{{namespace: {namespace}, name: {name}, labels: {{app: app-{name}, tier: web}}}}");
    cluster.create(&format!("{{apiVersion: {version}, kind: {kind}, metadata: {metadata}}}"))?;
    Ok(())
}

/// The other process, as this one sees it. Ends with its input.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Orders that were not answered yet.
    pending: u64,
}

impl Server {
    fn start() -> Result<(Self, String), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(SERVER, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut server = Self { input: child.stdin.take(), child, output, pending: 0 };
        let kubeconfig = server.line()?;
        Ok((server, kubeconfig))
    }

    fn order(&mut self, order: &str) -> Result<(), Failure> {
        writeln!(self.input.as_mut().ok_or("it has ended")?, "{order}")?;
        self.pending += 1;
        Ok(())
    }

    /// Waits until no more than `pending` orders are open.
    fn wait(&mut self, pending: u64) -> Result<(), Failure> {
        while self.pending > pending {
            self.line()?;
            self.pending -= 1;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the server has ended".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // Nothing is left to do about one that does not end.
        let _ = self.child.wait();
    }
}

/// Faro at work in this process.
struct Faro {
    controller: Controller,
    told: Arc<AtomicU64>,
    endpoints: SocketAddr,
    // Joined after the stop that dropping asks for.
    _thread: Joined,
}

impl Faro {
    fn start(kubeconfig: &Path, folder: &Path) -> Result<Self, Failure> {
        let endpoints = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let resources: Vec<_> = KINDS
            .iter()
            .map(|(_, _, gvr)| {
                let namespaces: Vec<_> = (0..NAMESPACES).map(|n| format!("n-{n}")).collect();
                format!("{{gvr: {gvr}, namespace_names: [{}]}}", namespaces.join(", "))
            })
            .collect();
        let text = format!(
            "output_dir: {}\nmetrics: {{port: {}, bind_addr: 127.0.0.1}}\n{STORAGE}\nresources: [{}]",
            folder.display(),
            endpoints.port(),
            resources.join(", ")
        );
        let controller = Controller::new(Client::from_kubeconfig(kubeconfig, None)?, Config::from_yaml(&text, "long life")?);
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        _ = controller
            .add_event_handler(move |_: &MatchedEvent| -> Result<(), HandlerError> {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        let starting = controller.clone();
        let thread = Joined::spawn("faro", move || match starting.start() {
            Ok(summary) => assert_eq!(summary.unfinished, 0),
            Err(error) => panic!("{error}: {:?}", error.source()),
        })?;
        Ok(Self { controller, told, endpoints, _thread: thread })
    }

    /// Waits until so many events were told, and no more.
    fn wait(&self, expected: u64) -> Result<(), Failure> {
        let (mut told, mut moved) = (0, Instant::now());
        loop {
            let now = self.told.load(Ordering::Relaxed);
            if now == expected {
                return Ok(());
            }
            if now > expected || moved.elapsed() > PATIENCE {
                return Err(format!("{now} events were told where {expected} were made").into());
            }
            if now != told {
                (told, moved) = (now, Instant::now());
            }
            Stop::new().wait(Duration::from_millis(20));
        }
    }

    /// The sum of all series of a metric whose lines hold `label`, asked for as Prometheus does.
    fn metric(&self, name: &str, label: &str) -> Result<f64, Failure> {
        let mut stream = TcpStream::connect(self.endpoints)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: faro\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Drop for Faro {
    fn drop(&mut self) {
        self.controller.stop();
    }
}

/// Files come and go: their upkeep is measured too.
const STORAGE: &str = "rotate: {max_bytes: 16777216}\nretain: {total_bytes: 67108864}";

/// Millions of lines would fill a disk.
fn delete_old_files(folder: &Path) -> Result<(), Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    files.pop();
    // Retention may have been faster.
    files.iter().for_each(|path| drop(std::fs::remove_file(path)));
    Ok(())
}

#[expect(clippy::print_stdout)]
fn measure(events: u64, reconnects: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (mut server, kubeconfig) = Server::start()?;
    let faro = Faro::start(Path::new(&kubeconfig), folder.path())?;
    let mut expected = WATCHES * OBJECTS;
    faro.wait(expected)?;
    let (batches, cuts) = (events.div_ceil(BATCH), reconnects.div_ceil(WATCHES));
    let (mut warm, mut last) = (None, 0.0);
    println!("{WATCHES} watches of {OBJECTS} objects each, {} events, {} reconnects", batches * BATCH, cuts * WATCHES);
    let begin = Instant::now();
    for batch in 1..=batches {
        let is_cut = batch * cuts / batches != (batch - 1) * cuts / batches;
        if is_cut {
            // Every watch is connected again.
            server.wait(0)?;
            faro.wait(expected)?;
        }
        server.order("change")?;
        expected += BATCH;
        if is_cut {
            // Falls into the changes that are on their way.
            server.order("cut")?;
        }
        server.wait(1)?;
        if expected - faro.told.load(Ordering::Relaxed) > 2 * BATCH {
            server.wait(0)?;
            faro.wait(expected)?;
        }
        let sample = batch * SAMPLES / batches;
        if sample != (batch - 1) * SAMPLES / batches {
            server.wait(0)?;
            faro.wait(expected)?;
            delete_old_files(folder.path())?;
            last = faro.metric("process_resident_memory_bytes", "")?;
            let reconnected = faro.metric("faro_watch_restarts_total", r#"reason="connection""#)?;
            let ended = faro.metric("faro_watch_restarts_total", r#"reason="ended""#)?;
            let relists = faro.metric("faro_relists_total", "")?;
            println!(
                "{:>4} % {:>9} events {reconnected:>6} reconnects {ended:>6} ends {relists:>4} relists {:>8.2} MB {:>6.0} s",
                batch * 100 / batches,
                batch * BATCH,
                last / 1e6,
                begin.elapsed().as_secs_f64(),
            );
            if sample == WARM_AFTER {
                warm = Some(last);
            }
        }
    }
    let growth = last / warm.ok_or("too few events to be warm")? - 1.0;
    println!("since it was warm: {:+.1} %; each of {expected} events was told once", growth * 100.0);
    if growth > GROWTH_MAX { Err(format!("it grew by more than {:.0} %", GROWTH_MAX * 100.0).into()) } else { Ok(()) }
}
