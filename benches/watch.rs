//! What a change costs from the socket to the file, beside reading the same bytes and dropping them.
//!
//! `cargo bench --bench watch` serves one long watch from memory to the real controller, twice: metadata only, as the
//! program asks for it, and whole pods with a handler. It prints processor time an event of each of Faro's threads, which
//! other work on the machine hardly changes, and its ratio to a bare reader of the same run. Files go to memory
//! (`/dev/shm`) where there is such a folder, so that no disk is measured. `WATCH_EVENTS` sets how many events.

#![allow(clippy::print_stdout, reason = "a benchmark's figures go to stdout")]

use faro::client::Client;
use faro::config::Config;
use faro::controller::Controller;
use faro::event::MatchedEvent;
use faro::lifecycle::{Joined, Stop};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const POD: &str = include_str!("../tests/golden/pod.json");
/// Of metadata; of whole pods a quarter, which is as many bytes.
const EVENTS: usize = 100_000;
/// So many pods change in turn.
const PODS: usize = 1000;
const FIRST_VERSION: usize = 1_000_000;
/// What the bare reader reads at once, as the client does.
const READ_BYTES: usize = 16 * 1024;
/// Events in one write of the server.
const EVENTS_A_WRITE: usize = 16;
const POLL: Duration = Duration::from_millis(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let events = std::env::var("WATCH_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(EVENTS);
    let metadata = metadata_text()?;
    let partial = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#);
    measure("metadata only, no handler", &partial, events, false)?;
    measure("whole pods, one handler", POD.trim(), events / 4, true)
}

fn measure(what: &str, template: &str, events: usize, has_handler: bool) -> Outcome<()> {
    let server = Server::start(watch(template, events)?)?;
    let bytes: usize = server.shared.stream.iter().map(Vec::len).sum();
    println!("{what}: {} bytes an event", bytes / events);
    let bare = server.read_bare(bytes)?;
    let per_event = |nanos: u64| nanos as f64 / events as f64;
    println!("  {:14} {:>7.0} ns an event, and is 1", "bare reader", per_event(bare));
    let (took, threads) = run(&server, events, has_handler)?;
    for (name, nanos) in &threads {
        println!("  {name:14} {:>7.0} ns an event", per_event(*nanos));
    }
    let all = threads.values().sum();
    println!("  {:14} {:>7.0} ns an event, {:.1}", "all threads", per_event(all), all as f64 / bare as f64);
    println!("  {:14} {:>7.0} ns an event", "by the clock", took.as_secs_f64() * 1e9 / events as f64);
    Ok(())
}

/// Runs the controller until every event is in the file; gives the time, and the processor time of each of its threads.
fn run(server: &Server, events: usize, has_handler: bool) -> Outcome<(Duration, BTreeMap<String, u64>)> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, server.kubeconfig())?;
    let output = folder.path().join("out");
    let yaml = format!("output_dir: {}\nmetrics: {{enabled: false}}\nresources: [{{gvr: v1/pods}}]\n", output.display());
    let controller = Controller::new(Client::from_kubeconfig(&kubeconfig, None)?, Config::from_yaml(&yaml, "bench")?);
    if has_handler {
        _ = controller.add_event_handler(|_: &MatchedEvent| Ok(())).expect("it has not started");
    }
    let runner = controller.clone();
    let running = Joined::spawn("controller", move || {
        runner.start().expect("the bench's own server is well");
    })?;
    server.shared.asked.wait_until_requested();
    let (begin, before) = (Instant::now(), thread_nanos()?);
    server.shared.go.request();
    let clock = Stop::new();
    while is_written(&output, events) != Some(true) {
        clock.wait(POLL);
    }
    let (took, mut threads) = (begin.elapsed(), thread_nanos()?);
    for (name, nanos) in &mut threads {
        *nanos -= before.get(name).copied().unwrap_or(0);
    }
    threads.retain(|name, _| ["inf-", "lane-", "json-"].iter().any(|prefix| name.starts_with(prefix)));
    controller.stop();
    drop(running);
    Ok((took, threads))
}

/// Whether the last event is in the events file.
fn is_written(folder: &Path, events: usize) -> Option<bool> {
    let path = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(|path| path.is_file())?;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = String::new();
    file.read_to_string(&mut tail).ok()?;
    Some(tail.contains(&version(FIRST_VERSION + events - 1)))
}

/// More than all events in flight take: the last one may be written before others of its time.
const TAIL_BYTES: u64 = 1024 * 1024;

/// The processor time of each living thread of this process, those of one name added up. See proc(5), `schedstat`.
fn thread_nanos() -> Outcome<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm"))?.trim().to_owned();
        *threads.entry(name).or_default() += own_nanos(&task)?;
    }
    Ok(threads)
}

fn own_nanos(task: &Path) -> Outcome<u64> {
    Ok(fs::read_to_string(task.join("schedstat"))?.split(' ').next().unwrap_or_default().parse()?)
}

/// Serves discovery and the watch to whoever connects, until dropped.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<Joined>,
}

struct Shared {
    /// The watch's events in chunks, as many as go into one write.
    stream: Vec<Vec<u8>>,
    /// A watch was asked for.
    asked: Stop,
    /// Its events may be told.
    go: Stop,
    closing: Stop,
}

impl Server {
    fn start(stream: Vec<Vec<u8>>) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { stream, asked: Stop::new(), go: Stop::new(), closing: Stop::new() });
        let acceptor = Joined::spawn("acceptor", {
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n",
            self.address
        )
    }

    /// The processor time of reading the events' bytes and dropping them.
    fn read_bare(&self, bytes: usize) -> Outcome<u64> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET /bare HTTP/1.1\r\n\r\n")?;
        let mut buffer = vec![0; READ_BYTES];
        let task = Path::new("/proc/thread-self");
        let (mut left, before) = (bytes, own_nanos(task)?);
        while left > 0 {
            left -= stream.read(&mut buffer)?;
        }
        Ok(own_nanos(task)? - before)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.request();
        // Wakes the acceptor, which waits for the connections' ends.
        drop(TcpStream::connect(self.address));
        self.acceptor.take();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming().flatten() {
        if shared.closing.is_requested() {
            return;
        }
        let shared = Arc::clone(shared);
        // A client that goes away ends its connection and nothing else.
        let serve = move || drop(serve(&stream, &shared));
        connections.push(Joined::spawn("connection", serve).expect("the bench has few threads"));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut reader, mut stream) = (BufReader::new(stream), stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/bare" {
            shared.stream.iter().try_for_each(|events| stream.write_all(events))?;
        } else if path.contains("watch=1") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            stream.write_all(&chunk(INITIAL_EVENTS_END))?;
            shared.asked.request();
            shared.go.wait_until_requested();
            shared.stream.iter().try_for_each(|events| stream.write_all(events))?;
            // Until the client leaves.
            return reader.read_exact(&mut [0]);
        } else {
            stream.write_all(document(path).as_bytes())?;
        }
    }
}

const INITIAL_EVENTS_END: &str = r#"{"type":"BOOKMARK","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;

/// The least that a client asks before it watches.
fn document(path: &str) -> String {
    let (kind, body) = match path {
        "/version" => ("application/json", r#"{"gitVersion":"v1.36.0"}"#),
        "/api" => (DISCOVERY_KIND, DISCOVERY),
        "/apis" => (DISCOVERY_KIND, r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}"#),
        _ => ("application/json", KUBE_SYSTEM),
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const DISCOVERY_KIND: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const DISCOVERY: &str = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"pods","responseKind":{"group":"","version":"","kind":"Pod"},"scope":"Namespaced","singularResource":"pod","verbs":["list","watch"]}]}]}]}"#;
const KUBE_SYSTEM: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"kube-system","uid":"5d2f8f5e-0c3f-4b7e-8f0e-0a6d5f1b2c3d","resourceVersion":"1"}}"#;

/// Pods that come and change in turn, each event in a chunk of its own, as a server sends them.
fn watch(template: &str, events: usize) -> Outcome<Vec<Vec<u8>>> {
    let object: Parts<'_> = serde_json::from_str(template)?;
    let names: Names<'_> = serde_json::from_str(object.metadata.get())?;
    let line = |index: usize| {
        let name = format!("app-{:06}", index % PODS);
        let object = template.replacen(names.name, &name, 1);
        let object = object.replacen(&version(names.version), &version(FIRST_VERSION + index), 1);
        // One type for all: a pod that was never heard of is told as added, whatever the server calls it.
        chunk(&format!(r#"{{"type":"MODIFIED","object":{object}}}"#))
    };
    let writes = (0..events.div_ceil(EVENTS_A_WRITE)).map(|write| {
        let first = write * EVENTS_A_WRITE;
        (first..events.min(first + EVENTS_A_WRITE)).flat_map(line).collect()
    });
    Ok(writes.collect())
}

fn version(version: impl Display) -> String {
    format!(r#""resourceVersion":"{version}""#)
}

fn chunk(line: &str) -> Vec<u8> {
    format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes()
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
struct Names<'a> {
    name: &'a str,
    #[serde(rename = "resourceVersion")]
    version: &'a str,
}

/// The pod's metadata in the server's own key order.
fn metadata_text() -> Outcome<&'static str> {
    Ok(serde_json::from_str::<Parts<'static>>(POD)?.metadata.get())
}
