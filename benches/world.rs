//! What the simulated API server costs beside the Faro that watches it: 50,000 objects, 500 watches, one process.
//!
//! `cargo bench --bench world` fills a `sim::Cluster`, lets the real controller list and watch it over loopback sockets,
//! changes objects one by one, and then 90,000 while the server is away, which Faro catches up with as fast as it can. It prints processor time of the simulator's threads, of whoever writes, and of
//! Faro's threads, which other work on the machine hardly changes, and the ratio of Faro's to the others'. It fails when
//! a change is missing in the events' file. Files go to memory (`/dev/shm`) where there is such a folder, so that no disk
//! is measured. `WORLD_EVENTS` sets how many changes.

#![allow(clippy::print_stdout, reason = "a benchmark's figures go to stdout")]

use faro::config::Config;
use faro::controller::Controller;
use faro::lifecycle::{Joined, Stop};
use faro::sim::Cluster;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is watched in each namespace.
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
const OBJECTS: usize = 100;
const ALL_OBJECTS: usize = KINDS.len() * NAMESPACES * OBJECTS;
const ALL_WATCHES: usize = KINDS.len() * NAMESPACES;
/// Changes, unless set otherwise.
const EVENTS: usize = 50_000;
/// Changes while the server is away, a few less than it remembers: the rate at which they are told is Faro's.
const MISSED: usize = 90_000;
/// How long nothing happens, to see what an idle world costs.
const IDLE: Duration = Duration::from_secs(5);
/// Nothing takes so long that is not lost.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let events = std::env::var("WORLD_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(EVENTS);
    println!("{ALL_OBJECTS} objects, {ALL_WATCHES} watches, metadata only, no handler");
    let cluster = Arc::new(Cluster::builder().tls(false).start()?);
    let begin = Instant::now();
    let objects = Arc::new(fill(&cluster)?);
    println!("  {:24} {:>8.1} s, {} MB in all", "filling it", begin.elapsed().as_secs_f64(), resident_mb()?);

    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let mut told = Told::new(folder.path());
    let controller = Controller::new(cluster.client(), config(folder.path())?);
    let runner = controller.clone();
    let running = Joined::spawn("controller", move || {
        runner.start().expect("the simulated server is well");
    })?;

    let (begin, before) = (Instant::now(), Cost::now()?);
    told.wait_for(ALL_OBJECTS)?;
    Cost::now()?.print("listing, each object", &before, ALL_OBJECTS as f64, begin)?;
    let (begin, before) = (Instant::now(), Cost::now()?);
    Stop::new().wait(IDLE);
    Cost::now()?.print("idle, each second", &before, IDLE.as_secs_f64(), begin)?;
    let (begin, before) = (Instant::now(), Cost::now()?);
    let counted = Stop::new();
    let writer = write(&cluster, &objects, 1..events + 1, counted.clone())?;
    told.wait_for(ALL_OBJECTS + events)?;
    Cost::now()?.print("changing, each change", &before, events as f64, begin)?;
    counted.request();
    drop(writer);

    cluster.down();
    drop(write(&cluster, &objects, events + 1..events + 1 + MISSED, counted)?);
    let (begin, before) = (Instant::now(), Cost::now()?);
    cluster.up()?;
    told.wait_for(ALL_OBJECTS + events + MISSED)?;
    Cost::now()?.print("catching up, each change", &before, MISSED as f64, begin)?;
    println!("  {:24} {} MB in all", "", resident_mb()?);
    controller.stop();
    drop(running);
    Ok(())
}

/// One of 50,000: which kind, and `namespace/name`.
type Name = (&'static str, String);

fn fill(cluster: &Cluster) -> Outcome<Vec<Name>> {
    let mut names = Vec::with_capacity(ALL_OBJECTS);
    for namespace in 0..NAMESPACES {
        cluster.create(&format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"team-{namespace}"}}}}"#))?;
        for (gvr, api_version, kind) in KINDS {
            for number in 0..OBJECTS {
                cluster.create(&object(api_version, kind, namespace, number))?;
                names.push((gvr, format!("team-{namespace}/app-{number}")));
            }
        }
    }
    fastrand::Rng::with_seed(1).shuffle(&mut names);
    Ok(names)
}

/// With metadata as small applications have it.
fn object(api_version: &str, kind: &str, namespace: usize, number: usize) -> String {
    format!(
        r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"name":"app-{number}","namespace":"team-{namespace}","labels":{{"app.kubernetes.io/name":"app-{number}","app.kubernetes.io/part-of":"team-{namespace}","tier":"web"}},"annotations":{{"example.com/owner":"team-{namespace}@example.com","example.com/revision":"0"}}}}}}"#
    )
}

fn config(folder: &Path) -> Outcome<Config> {
    let namespaces: Vec<_> = (0..NAMESPACES).map(|namespace| format!("team-{namespace}")).collect();
    let mut yaml = format!("output_dir: {}\nmetrics: {{enabled: false}}\nresources:\n", folder.display());
    for (gvr, ..) in KINDS {
        writeln!(yaml, "- {{gvr: {gvr}, namespace_names: [{}]}}", namespaces.join(", "))?;
    }
    Ok(Config::from_yaml(&yaml, "bench")?)
}

/// Changes one object after another, on a thread of its own, which stays until its cost is `counted`.
fn write(cluster: &Arc<Cluster>, objects: &Arc<Vec<Name>>, revisions: Range<usize>, counted: Stop) -> Outcome<Joined> {
    let (cluster, objects) = (Arc::clone(cluster), Arc::clone(objects));
    let write = move || {
        for (revision, (gvr, name)) in revisions.zip(objects.iter().cycle()) {
            let patch = format!(r#"{{"metadata":{{"annotations":{{"example.com/revision":"{revision}"}}}}}}"#);
            cluster.patch(gvr, name, &patch).expect("the object is there");
        }
        counted.wait_until_requested();
    };
    Ok(Joined::spawn(WRITER, write)?)
}

const WRITER: &str = "writer";

/// Counts the lines in the events' files.
struct Told {
    folder: PathBuf,
    files: BTreeMap<PathBuf, File>,
    lines: usize,
    buffer: Vec<u8>,
}

impl Told {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: BTreeMap::new(), lines: 0, buffer: vec![0; 1024 * 1024] }
    }

    /// Waits until so many lines are there; more is an error, as is too long a wait.
    fn wait_for(&mut self, lines: usize) -> Outcome<()> {
        let (clock, give_up) = (Stop::new(), Instant::now() + PATIENCE);
        while self.count()? < lines {
            if Instant::now() > give_up {
                return Err(format!("{} lines of {lines} came", self.lines).into());
            }
            clock.wait(POLL);
        }
        if self.lines > lines { Err(format!("{} lines came instead of {lines}", self.lines).into()) } else { Ok(()) }
    }

    fn count(&mut self) -> Outcome<usize> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") && !self.files.contains_key(&path) {
                self.files.insert(path.clone(), File::open(path)?);
            }
        }
        for file in self.files.values_mut() {
            loop {
                let read = file.read(&mut self.buffer)?;
                self.lines += memchr::memchr_iter(b'\n', &self.buffer[..read]).count();
                if read == 0 {
                    break;
                }
            }
        }
        Ok(self.lines)
    }
}

/// The processor time so far, in nanoseconds. See proc(5), `schedstat`.
#[derive(Clone, Copy, Default)]
struct Cost {
    simulator: u64,
    writer: u64,
    faro: u64,
}

impl Cost {
    fn now() -> Outcome<Self> {
        let mut cost = Self::default();
        for task in fs::read_dir("/proc/self/task")? {
            let task = task?.path();
            // A thread may end meanwhile: the simulator's connections do.
            let (Ok(name), Ok(stat)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat"))) else {
                continue;
            };
            let nanos: u64 = stat.split(' ').next().unwrap_or_default().parse()?;
            match name.trim() {
                WRITER => cost.writer += nanos,
                name if name.starts_with("sim-") => cost.simulator += nanos,
                name if ["inf-", "lane-", "json-"].iter().any(|prefix| name.starts_with(prefix)) => cost.faro += nanos,
                _ => {}
            }
        }
        Ok(cost)
    }

    /// What it was since `before`, for each of `count`.
    fn print(self, what: &str, before: &Self, count: f64, begin: Instant) -> Outcome<()> {
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / count / 1000.0;
        let (faro, simulator) = (each(self.faro, before.faro), each(self.simulator, before.simulator));
        let writer = each(self.writer, before.writer);
        println!(
            "  {what:24} Faro {faro:>8.1} us, simulator {simulator:>8.1} us, writer {writer:>6.1} us: Faro is {:.2} times the simulator, \
             {:.2} times both; {:.1} s by the clock",
            faro / simulator,
            faro / (simulator + writer),
            begin.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// What this process holds in memory.
fn resident_mb() -> Outcome<usize> {
    let pages: usize = fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * rustix::param::page_size() / 1_000_000)
}
