//! What the kernel knows of this process, under the names that every Prometheus client library uses.
//!
//! Read from `/proc` when scraped. What cannot be read, as under another kernel or without free descriptors, is left out.

use super::derived::add;
use prometheus::{Counter, Gauge, Registry};
use std::fs;

/// Adds to `registry`, which serves one scrape, what holds now.
pub(super) fn register(registry: &Registry) {
    // Counted first: the descriptors that the other reads open and close are not the program's.
    gauge(registry, "process_open_fds", "Number of open file descriptors.", open_fds());
    gauge(registry, "process_max_fds", "Maximum number of open file descriptors.", max_fds());
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) else { return };
    let clock_ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu_seconds = stat.cpu_ticks as f64 / clock_ticks;
    counter(registry, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu_seconds);
    let page_size = rustix::param::page_size() as u64;
    gauge(registry, "process_resident_memory_bytes", "Resident memory size in bytes.", Some(stat.resident_pages * page_size));
    gauge(registry, "process_virtual_memory_bytes", "Virtual memory size in bytes.", Some(stat.virtual_bytes));
    gauge(registry, "process_threads", "Number of threads.", Some(stat.threads));
    let start = boot_seconds().map(|boot| boot + (stat.start_ticks as f64 / clock_ticks) as u64);
    gauge(registry, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", start);
}

/// The fields of `/proc/self/stat` that are told here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Fields are counted as in proc(5), from 1. The second, the program's name, may hold blanks and parentheses, so
    /// counting starts behind its last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Without the one that the counting itself needs.
fn open_fds() -> Option<u64> {
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// `None` where there is no limit.
fn max_fds() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// When the system started, in seconds of Unix time.
fn boot_seconds() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn gauge(registry: &Registry, name: &str, help: &str, value: Option<u64>) {
    let Some(value) = value else { return };
    let gauge = Gauge::new(name, help).expect("names of this folder are valid");
    gauge.set(value as f64);
    add(registry, gauge);
}

fn counter(registry: &Registry, name: &str, help: &str, value: f64) {
    let counter = Counter::new(name, help).expect("names of this folder are valid");
    counter.inc_by(value);
    add(registry, counter);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_hold_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 700 33 0 0 20 0 12 0 4455 1048576 256 18446744073709551615";
        let expected = Stat { cpu_ticks: 733, threads: 12, start_ticks: 4455, virtual_bytes: 1_048_576, resident_pages: 256 };
        for name in ["faro", "fa ro", "f) S 9 (x", ")"] {
            assert_eq!(Stat::parse(&format!("42 ({name}) {rest}")).as_ref(), Some(&expected), "{name}");
        }
        for text in ["", "42 (faro", "42 (faro) S 1 2"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_told_as_the_kernel_sees_it() {
        let registry = Registry::new();
        register(&registry);
        let value = |name: &str| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no {name}"));
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let now = super::super::watch::unix_millis() as f64 / 1000.0;
        let started = value("process_start_time_seconds");
        assert!((now - 3600.0..=now + 1.0).contains(&started), "started at {started}, now {now}");
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
