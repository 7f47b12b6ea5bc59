//! What the state costs: processor time an event with it and without it, memory and disk for each known object.

use crate::chaos::simulator::Simulator;
use crate::chaos::story::count;
use crate::daemon::{Daemon, Setup};
use crate::runner::{Stage, say};
use crate::wait::{SOON, eventually, pause};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// In the steady state, the same load with and without it, turn by turn: at most 25 % more processor time an event.
pub(crate) fn the_state_costs_at_most_a_quarter_of_processor_time(_: &Stage) {
    let mut simulator = Simulator::start();
    simulator.fill(PODS);
    for (changes, rate) in LOADS {
        let mut ratios = Vec::new();
        for pair in 0..PAIRS {
            // Whoever comes second may find a machine that others made slower, so they take turns at that.
            let first = pair % 2 == 0;
            let one = cpu_an_event(&mut simulator, first, changes, rate);
            let other = cpu_an_event(&mut simulator, !first, changes, rate);
            let (with, without) = if first { (one, other) } else { (other, one) };
            ratios.push(with / without);
            say(&format!(
                "    {changes} changes at {rate} a second: {with:.1} us an event with state, {without:.1} us without: {:.2}\n",
                with / without
            ));
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[PAIRS / 2];
        say(&format!(
            "    {changes} changes at {rate} a second: the state costs {:+.0} % (median of {PAIRS})\n",
            (median - 1.0) * 100.0
        ));
        assert!(median <= RATIO_MAX, "processor time an event with state is {median:.2} of that without");
    }
}

/// The size of the state folder for 100,000 pods, and the memory for each of them.
pub(crate) fn what_a_hundred_thousand_known_pods_take(_: &Stage) {
    let mut simulator = Simulator::start();
    let measured = COUNTS.map(|pods| {
        simulator.fill(pods);
        let setup = setup(&simulator, true);
        let daemon = setup.clone().start();
        eventually(SOON * 3, "every pod is told", || count(&setup.output()) >= pods);
        let listed = settle(daemon);
        let daemon = setup.clone().start();
        let started = settle(daemon);
        assert_eq!(count(&setup.output()), pods, "a restart tells nothing anew");
        let disk = folder_bytes(&setup.output().join("state"));
        say(&format!(
            "    {pods} pods: {:.1} MB of memory after the list, {:.1} MB after a restart; state folder {:.1} MB, {} bytes a pod\n",
            mb(listed),
            mb(started),
            mb(disk),
            disk / pods as u64
        ));
        (pods as u64, listed, started)
    });
    let [few, many] = measured;
    let each = |few: u64, many: u64| many.saturating_sub(few) / (COUNTS[1] - COUNTS[0]) as u64;
    say(&format!(
        "    memory a known pod: {} bytes after a list, {} bytes after a restart\n",
        each(few.1, many.1),
        each(few.2, many.2)
    ));
}

fn setup(simulator: &Simulator, has_state: bool) -> Setup {
    let config = format!("state: {{enabled: {has_state}}}\nresources: [{{gvr: v1/pods}}]");
    Setup::with_config(&config).kubeconfig(&simulator.kubeconfig).arguments("--log-level info").release()
}

/// In microseconds.
fn cpu_an_event(simulator: &mut Simulator, has_state: bool, changes: usize, rate: usize) -> f64 {
    let setup = setup(simulator, has_state);
    let mut daemon = setup.clone().start();
    eventually(SOON, "every pod is told", || count(&setup.output()) >= PODS);
    daemon.wait_until_ready();
    simulator.churn(changes / 10, rate);
    eventually(SOON, "the first changes are told", || count(&setup.output()) >= PODS + changes / 10);
    pause(COMMITTED);
    let before = cpu(daemon.id());
    simulator.churn(changes, rate);
    eventually(SOON, "every change is told", || count(&setup.output()) >= PODS + changes / 10 + changes);
    pause(COMMITTED);
    let spent = cpu(daemon.id()) - before;
    daemon.stop_unread();
    spent.as_secs_f64() * 1e6 / changes as f64
}

/// Of all its threads; see `Documentation/scheduler/sched-stats.rst` of Linux: the first field of `schedstat` is the time spent
/// on a processor, in nanoseconds. None of its threads ends in the steady state.
fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the daemon runs");
    let spent = |task: fs::DirEntry| -> Option<u64> {
        fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(spent).sum())
}

/// Its memory when it has come to rest.
fn settle(mut daemon: Daemon) -> u64 {
    daemon.wait_until_ready();
    pause(REST);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells the memory in use");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number of KiB");
    daemon.stop_unread();
    kib * 1024
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

const PODS: usize = 2_000;

/// Changes, and how many a second: a busy cluster, and as many as the simulator makes.
const LOADS: [(usize, usize); 2] = [(10_000, 1_000), (20_000, 1_000_000)];
const PAIRS: usize = 3;
const RATIO_MAX: f64 = 1.25;

/// The state is committed once a second.
const COMMITTED: Duration = Duration::from_millis(1_500);

const COUNTS: [usize; 2] = [10_000, 100_000];
const REST: Duration = Duration::from_secs(3);
