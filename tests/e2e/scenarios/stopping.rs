//! Stopping is quick, complete and says so in the exit code.

use super::changes::config;
use crate::daemon::Setup;
use crate::runner::{Stage, say};
use crate::wait::pause;
use rustix::process::Signal;
use serde_json::json;
use std::fmt::Write;
use std::time::{Duration, Instant};

pub(super) fn twenty_idle_watches_stop_within_a_second(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("idle");
    let mut config = "resources:\n".to_owned();
    for index in 0..20 {
        writeln!(config, "- {{gvr: v1/configmaps, namespace_names: [{namespace}], label_selector: app=a{index}}}")
            .expect("a String grows");
    }
    let mut daemon = Setup::new(cluster, &config).start_ready();
    pause(Duration::from_secs(2));
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    let ended = daemon.wait_for_end(Duration::from_secs(10));
    let took = asked.elapsed();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    say(&format!("    stopped within {took:.0?}\n"));
    assert!(took < Duration::from_secs(1), "stopping took {took:?}");
}

pub(super) fn auto_shutdown_exits_after_5_s_with_everything_written(stage: &Stage) {
    let cluster = stage.shared();
    let namespace = cluster.namespace("auto");
    let started = Instant::now();
    let daemon = Setup::new(cluster, &format!("auto_shutdown_sec: 5\n{}", config(&namespace))).start_ready();
    for index in 0..100 {
        cluster.writer.create_object(&namespace, &format!("object-{index}"), &json!({}), "0");
    }
    let written = started.elapsed();
    let ended = daemon.wait_for_end(Duration::from_secs(30));
    let took = started.elapsed();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!((Duration::from_secs(5)..Duration::from_secs(8)).contains(&took), "it ended after {took:?}");
    assert!(written < Duration::from_secs(4), "the changes took {written:?}, too long for this scenario to mean anything");
    assert_eq!(ended.lines.len(), 100);
}
