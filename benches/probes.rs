//! How long a probe takes while events flow as fast as they can: 500 watches, 10,000 objects, one process.
//!
//! `cargo bench --bench probes` fills a `sim::Cluster`, lets the real controller watch it with file, state and metrics on, and
//! has a writer change objects without a pause. Meanwhile it asks each page a thousand times, one connection a time, as a
//! kubelet does, and a server beside it that answers a fixed text: what that one takes is the machine's part. It prints
//! the median, the 99th of 100 and the longest, from connecting to the last byte, and fails when the 99th of 100 probes of
//! `/health` or `/ready` took 5 ms or more.

#![allow(clippy::print_stdout, reason = "a benchmark's figures go to stdout")]

use faro::config::Config;
use faro::controller::Controller;
use faro::lifecycle::{Joined, Stop};
use faro::sim::Cluster;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const KINDS: [(&str, &str, &str); 10] = [
    ("v1/pods", "v1", "Pod"),
    ("v1/configmaps", "v1", "ConfigMap"),
    ("v1/services", "v1", "Service"),
    ("v1/serviceaccounts", "v1", "ServiceAccount"),
    ("v1/endpoints", "v1", "Endpoints"),
    ("apps/v1/deployments", "apps/v1", "Deployment"),
    ("apps/v1/replicasets", "apps/v1", "ReplicaSet"),
    ("apps/v1/statefulsets", "apps/v1", "StatefulSet"),
    ("batch/v1/jobs", "batch/v1", "Job"),
    ("networking.k8s.io/v1/ingresses", "networking.k8s.io/v1", "Ingress"),
];
const NAMESPACES: usize = 50;
/// Of each kind in each namespace.
const OBJECTS: usize = 20;
const WATCHES: usize = KINDS.len() * NAMESPACES;
const PROBES: usize = 1000;
/// What is promised of `/health` and `/ready`.
const LIMIT: Duration = Duration::from_millis(5);
/// Nothing takes so long that is not lost.
const PATIENCE: Duration = Duration::from_secs(300);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let cluster = Arc::new(Cluster::builder().tls(false).start()?);
    let objects = fill(&cluster)?;
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let running = Controller::new(cluster.client(), config(folder.path(), address)?).spawn()?;
    wait_until_ready(address)?;
    println!("{WATCHES} watches, {} objects, file, state and metrics on; {PROBES} probes of each page", objects.len());

    let (stop, fixed) = (Stop::new(), FixedServer::start()?);
    measure("at rest", address, &fixed)?;
    let writer = write(&cluster, objects, stop.clone())?;
    let (begin, before) = (Instant::now(), events(address)?);
    let is_kept = measure("under load", address, &fixed)?;
    let told = events(address)? - before;
    println!("  {told:.0} events were told meanwhile, {:.0} a second", told / begin.elapsed().as_secs_f64());
    stop.request();
    drop(writer);
    running.stop();
    running.join()?;
    if is_kept { Ok(()) } else { Err(format!("a probe in a hundred takes {LIMIT:?} or more").into()) }
}

/// Which kind, and `namespace/name`.
type Name = (&'static str, String);

fn fill(cluster: &Cluster) -> Outcome<Vec<Name>> {
    let mut names = Vec::new();
    for namespace in 0..NAMESPACES {
        cluster.create(&format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"team-{namespace}"}}}}"#))?;
        for (gvr, api_version, kind) in KINDS {
            for number in 0..OBJECTS {
                let metadata = format!(r#"{{"name":"app-{number}","namespace":"team-{namespace}","labels":{{"tier":"web"}}}}"#);
                cluster.create(&format!(r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{metadata}}}"#))?;
                names.push((gvr, format!("team-{namespace}/app-{number}")));
            }
        }
    }
    fastrand::Rng::with_seed(1).shuffle(&mut names);
    Ok(names)
}

fn config(folder: &Path, address: SocketAddr) -> Outcome<Config> {
    let namespaces: Vec<_> = (0..NAMESPACES).map(|namespace| format!("team-{namespace}")).collect();
    let mut yaml =
        format!("output_dir: {}\nmetrics: {{bind_addr: {}, port: {}}}\n", folder.display(), address.ip(), address.port());
    yaml += "max_concurrent_lists: 16\nresources:\n";
    for (gvr, ..) in KINDS {
        writeln!(yaml, "- {{gvr: {gvr}, namespace_names: [{}]}}", namespaces.join(", "))?;
    }
    Ok(Config::from_yaml(&yaml, "bench")?)
}

/// Changes one object after another until stopped.
fn write(cluster: &Arc<Cluster>, objects: Vec<Name>, stop: Stop) -> Outcome<Joined> {
    let cluster = Arc::clone(cluster);
    let write = move || {
        for (revision, (gvr, name)) in objects.iter().cycle().enumerate().take_while(|_| !stop.is_requested()) {
            let patch = format!(r#"{{"metadata":{{"annotations":{{"example.com/revision":"{revision}"}}}}}}"#);
            cluster.patch(gvr, name, &patch).expect("the object is there");
        }
    };
    Ok(Joined::spawn("writer", write)?)
}

/// Answers every client the same, once its request is there: the machine's part of a probe.
struct FixedServer {
    address: SocketAddr,
    // Joined when dropped, which its last client, below, makes possible.
    thread: Option<Joined>,
    stop: Stop,
}

impl FixedServer {
    fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, stop) = (listener.local_addr()?, Stop::new());
        let stopped = stop.clone();
        let serve = move || {
            for client in listener.incoming().take_while(|_| !stopped.is_requested()).flatten() {
                let mut client = client;
                // A client that goes away is measured as one that got no answer.
                let answered = client.read(&mut [0; 1024]).and_then(|_| client.write_all(FIXED_ANSWER));
                drop(answered);
            }
        };
        Ok(Self { address, thread: Some(Joined::spawn("fixed", serve)?), stop })
    }
}

const FIXED_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

impl Drop for FixedServer {
    fn drop(&mut self) {
        self.stop.request();
        drop(TcpStream::connect(self.address));
        self.thread = None;
    }
}

/// Prints what each page takes. Returns whether the promise is kept.
fn measure(when: &str, address: SocketAddr, fixed: &FixedServer) -> Outcome<bool> {
    let machine = probe("a fixed text", fixed.address, "/")?;
    println!("  {when}:");
    machine.print(&machine);
    let mut is_kept = true;
    for path in ["/health", "/ready", "/ready?verbose=1", "/metrics"] {
        let taken = probe(path, address, path)?;
        taken.print(&machine);
        is_kept &= path == "/metrics" || taken.share(0.99) < LIMIT;
    }
    Ok(is_kept)
}

/// What the probes of one page took, shortest first.
struct Taken {
    what: &'static str,
    times: Vec<Duration>,
    bytes: usize,
}

fn probe(what: &'static str, address: SocketAddr, path: &str) -> Outcome<Taken> {
    let (mut times, mut bytes) = (Vec::with_capacity(PROBES), 0);
    for _ in 0..PROBES {
        let begin = Instant::now();
        let answer = get(address, path)?;
        times.push(begin.elapsed());
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("{path} answers {answer}").into());
        }
        bytes = answer.len();
    }
    times.sort();
    Ok(Taken { what, times, bytes })
}

impl Taken {
    /// As long as this share of them took at most.
    fn share(&self, share: f64) -> Duration {
        self.times[((self.times.len() as f64 * share) as usize).min(self.times.len() - 1)]
    }

    fn print(&self, machine: &Self) {
        let millis = |share: f64| self.share(share).as_secs_f64() * 1000.0;
        let ratio = self.share(0.5).as_secs_f64() / machine.share(0.5).as_secs_f64();
        println!(
            "    {:18} p50 {:>7.3} ms, p99 {:>7.3} ms, longest {:>7.3} ms, {:>7} bytes; {ratio:.1} times a fixed text",
            self.what,
            millis(0.5),
            millis(0.99),
            millis(1.0),
            self.bytes
        );
    }
}

fn get(address: SocketAddr, path: &str) -> Outcome<String> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: faro\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_until_ready(address: SocketAddr) -> Outcome<()> {
    let (clock, give_up) = (Stop::new(), Instant::now() + PATIENCE);
    // Nobody listens before the controller has come to that.
    while !get(address, "/ready?strict=1").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
        if Instant::now() > give_up {
            return Err(format!("not ready in time: {}", get(address, "/ready")?).into());
        }
        clock.wait(Duration::from_millis(50));
    }
    Ok(())
}

/// All events told so far.
fn events(address: SocketAddr) -> Outcome<f64> {
    let metrics = get(address, "/metrics")?;
    let told = metrics.lines().filter(|line| line.starts_with("faro_events_total{"));
    Ok(told.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
