//! One object that its receiver refuses, changed again and again with much in it, while others go on.

use super::load::{GVR, STUCK, version};
use super::process::Guarded;
use super::program::{self, OWED_BYTES_MAX};
use super::story::{DRAIN_LIMIT, book_of, start_program};
use super::wait::{eventually, pause};
use faro::sim::Cluster;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What each state of the object holds: the bound for what is owed is met in some seconds.
const DATA_BYTES: usize = 200 * 1024;
const PAUSE: Duration = Duration::from_millis(20);
/// What is owed, twice in its file while less than half of that counts, and once more while it is rewritten; the journal takes 8 MiB
/// before it is, the state and the book a little.
const DISK_BYTES_MAX: u64 = 3 * OWED_BYTES_MAX + 16 * 1024 * 1024;
/// What is on its way, 16 MiB a subscription, what a watch reads, and a program without optimization.
const MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Changes the stuck object for so long, and others beside it; shows that neither disk nor memory grow beyond their bounds, that the
/// others arrive meanwhile, and that the last state arrives when the receiver takes it.
pub(crate) fn tell(limit: Duration) {
    let (cluster, folder) = (Cluster::builder().tls(false).start().unwrap(), tempfile::tempdir().unwrap());
    cluster.create(&config_map(STUCK, 0)).unwrap();
    cluster.create(&config_map("other", 0)).unwrap();
    let mut program = start_program(&cluster, folder.path());
    let (begin, mut changes) = (Instant::now(), 0);
    let (mut disk, mut memory) = (0, 0);
    let mut latest = String::new();
    while begin.elapsed() < limit || changes * DATA_BYTES as u64 <= 2 * OWED_BYTES_MAX {
        changes += 1;
        latest = version(&cluster.update(&config_map(STUCK, changes)).unwrap()).to_string();
        if changes % 10 == 0 {
            let other = version(&cluster.update(&config_map("other", changes)).unwrap()).to_string();
            eventually(DRAIN_LIMIT, "the other object goes on", || book_of(folder.path()).has_version("other", &other));
            (disk, memory) = (disk.max(bytes_in(folder.path())), memory.max(memory_of(&program)));
        }
        pause(PAUSE);
    }
    println!("stuck for {:.0?}, {changes} changes: at most {disk} bytes on disk, {memory} in memory", begin.elapsed());
    assert!(disk < DISK_BYTES_MAX, "{disk} bytes on disk");
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes in memory");
    program::release(folder.path());
    eventually(DRAIN_LIMIT, "its latest state arrives", || book_of(folder.path()).has_version(STUCK, &latest));
    cluster.delete(GVR, &format!("default/{STUCK}")).unwrap();
    eventually(DRAIN_LIMIT, "its delete arrives", || book_of(folder.path()).has_deleted(STUCK));
    program.signal(rustix::process::Signal::KILL);
}

fn config_map(name: &str, number: u64) -> String {
    let data = "x".repeat(if name == STUCK { DATA_BYTES } else { 1 });
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: default}}, data: {{x: {data}, n: '{number}'}}}}"
    )
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // A file may go while it is looked at.
    let bytes = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    bytes.map(|(path, found)| if found.is_dir() { bytes_in(&path) } else { found.len() }).sum()
}

fn memory_of(program: &Guarded) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes * 1024)
}
