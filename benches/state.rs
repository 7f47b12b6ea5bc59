//! What keeping the state costs, beside the plain way: an object a row in the same database.
//!
//! `cargo bench --bench state`. Commits of 1,000 changes over 100,000 pods, chosen at random, go into both; the plain way is 1.
//! CPU is this thread's, bytes are what the kernel was given to write. Also: the size of the files, and the time to read all
//! back.

#![allow(clippy::print_stdout, reason = "a benchmark's figures go to stdout")]

use faro::api::{Change, Identity, ResourceVersion, WatchId};
use faro::checkpoint::{Commit, StateStore, WatchCommit};
use redb::{Builder, Database, TableDefinition};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const OBJECTS: usize = 100_000;
const CHANGES: usize = 1_000;
/// Enough that the log is cleaned all over, several times.
const COMMITS: usize = 400;
/// A second of a cluster with a million changes a day.
const FEW: usize = 12;
const WATCH: u64 = 7;
const ROWS: TableDefinition<'_, &[u8], &str> = TableDefinition::new("objects");

fn main() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let mut rng = fastrand::Rng::with_seed(1);
    println!("{OBJECTS} pods of {} bytes; commits of {CHANGES} changes", pod(0, 1).as_text().len());
    let ours = measure_ours(&folder.path().join("state"), &mut rng);
    let rows = measure_rows(&folder.path().join("rows.redb"), &mut rng);
    println!("an object a row: {}", rows.text(CHANGES));
    println!("the state: {}; CPU {:.2}, bytes {:.2}", ours.text(CHANGES), ours.cpu() / rows.cpu(), ours.bytes() / rows.bytes());
}

fn measure_ours(folder: &Path, rng: &mut fastrand::Rng) -> Cost {
    let mut store = StateStore::open(folder).expect("a new state");
    println!("a new file takes {}", size(&folder.join("state.redb")));
    let all: Vec<_> = (0..OBJECTS).map(|n| Change::Known(pod(n, 1))).collect();
    for some in all.chunks(CHANGES * 10) {
        store.commit(&commit(some.to_vec())).expect("the disk has room");
    }
    drop(all);
    println!("the file after the first list takes {}", size(&folder.join("state.redb")));
    let few = Cost::of(|n| commit(changes(rng, n, FEW)), |commit| store.commit(&commit).expect("the disk has room"));
    println!("commits of {FEW} changes: {}", few.text(FEW));
    let cost = Cost::of(|n| commit(changes(rng, n, CHANGES)), |commit| store.commit(&commit).expect("the disk has room"));
    println!("the file in the long run takes {}", size(&folder.join("state.redb")));
    let start = Instant::now();
    drop(store);
    println!("closing takes {:?}, and leaves {}", start.elapsed(), size(&folder.join("state.redb")));
    let start = Instant::now();
    let store = StateStore::open(folder).expect("the state just closed");
    println!("opening and checking takes {:?}", start.elapsed());
    let start = Instant::now();
    let loaded = store.load(WatchId::from_bits(WATCH)).expect("the state just opened").expect("the watch is there");
    println!("loading {} objects takes {:?}", loaded.known.len(), start.elapsed());
    cost
}

fn measure_rows(path: &Path, rng: &mut fastrand::Rng) -> Cost {
    let redb = Builder::new().set_cache_size(1024 * 1024).create(path).expect("a new file");
    write_rows(&redb, (0..OBJECTS).map(|n| Change::Known(pod(n, 1))).collect());
    println!("an object a row, the file after the first list takes {}", size(path));
    Cost::of(|n| changes(rng, n, CHANGES), |changes| write_rows(&redb, changes))
}

fn write_rows(redb: &Database, changes: Vec<Change>) {
    let transaction = redb.begin_write().expect("nobody else writes");
    let mut table = transaction.open_table(ROWS).expect("the table");
    let mut key = Vec::new();
    for change in changes {
        let Change::Known(identity) = change else { continue };
        key.clear();
        key.extend_from_slice(&WATCH.to_be_bytes());
        key.extend_from_slice(identity.key().as_bytes());
        table.insert(key.as_slice(), identity.as_text()).expect("the disk has room");
    }
    drop(table);
    transaction.commit().expect("the disk has room");
}

fn changes(rng: &mut fastrand::Rng, version: usize, count: usize) -> Vec<Change> {
    (0..count).map(|_| Change::Known(pod(rng.usize(0..OBJECTS), version + 2))).collect()
}

fn commit(changes: Vec<Change>) -> Commit {
    let (id, version) = (WatchId::from_bits(WATCH), ResourceVersion::new("81723"));
    let watch = WatchCommit {
        id,
        target: "v1/pods".to_owned(),
        version,
        listing: false,
        anchor: None,
        history: 1,
        sequence: 0,
        changes,
        clear_told: false,
    };
    Commit { watches: vec![watch], ..Commit::default() }
}

/// A pod as workloads make them: 6 labels and 4 annotations.
fn pod(n: usize, version: usize) -> Identity {
    let mut text = format!("team-{}\0checkout-api-7c9d8b6f5-{n:05x}\0", n % 40);
    write!(text, "0b3c9d7e-52f1-4c6a-9d0e-{n:012x}\0{}\0", 81_000_000 + version * 100_000 + n).expect("writing to a string");
    write!(
        text,
        r#"{{"app.kubernetes.io/name":"checkout-api","app.kubernetes.io/instance":"checkout-{0}","app.kubernetes.io/version":"1.{0}.3","app.kubernetes.io/managed-by":"Helm","pod-template-hash":"7c9d8b6f5","team":"team-{0}"}}"#,
        n % 40
    )
    .expect("writing to a string");
    text.push('\0');
    write!(
        text,
        r#"{{"prometheus.io/scrape":"true","prometheus.io/port":"9090","checksum/config":"{n:064x}","kubectl.kubernetes.io/restartedAt":"2026-11-10T14:33:02Z"}}"#
    )
    .expect("writing to a string");
    Identity::from_text(&text).expect("six fields")
}

/// What [`COMMITS`] commits took.
struct Cost {
    cpu: Duration,
    wall: Duration,
    bytes: u64,
}

impl Cost {
    fn of<T>(mut make: impl FnMut(usize) -> T, mut commit: impl FnMut(T)) -> Self {
        let mut cost = Self { cpu: Duration::ZERO, wall: Duration::ZERO, bytes: 0 };
        for n in 0..COMMITS {
            let changes = make(n);
            let (cpu, bytes, start) = (cpu_time(), bytes_written(), Instant::now());
            commit(changes);
            cost.wall += start.elapsed();
            cost.cpu += cpu_time() - cpu;
            cost.bytes += bytes_written() - bytes;
        }
        cost
    }

    fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64()
    }

    fn bytes(&self) -> f64 {
        self.bytes as f64
    }

    fn text(&self, changes: usize) -> String {
        let all = (COMMITS * changes) as f64;
        let wall = self.wall / u32::try_from(COMMITS).expect("a few hundred");
        format!("{:.2} µs of CPU and {:.0} bytes a change, {wall:?} a commit", self.cpu() * 1e6 / all, self.bytes() / all)
    }
}

/// Of this thread, the kernel's share included: all of the work is done by it.
fn cpu_time() -> Duration {
    Duration::from_nanos(field("/proc/self/schedstat", ""))
}

fn bytes_written() -> u64 {
    field("/proc/self/io", "wchar:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).expect("proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts it");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// What a file says and what it takes: the rest are holes.
fn size(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).expect("the file is there");
    format!("{} KiB on disk, {} KiB long", metadata.blocks() / 2, metadata.len() / 1024)
}
