//! Faro as a black box against a real API server: `cargo test --features e2e --test e2e [-- NAME…]`.
//!
//! Needs `kubectl`, and `$KUBEBUILDER_ASSETS` (a folder with etcd and kube-apiserver) or `$KUBECONFIG` (a cluster that may be
//! used for tests). Missing either is a failure. A name, or part of one, runs only what it fits; the scenarios of
//! `load` and `chaos` run only when they are named.

mod chaos;
mod cluster;
mod control_plane;
mod kubectl;
mod law;
mod pod;
mod runner;
mod scenarios;
mod tcp_proxy;
mod writer;

#[path = "../support/mod.rs"]
mod support;

use support::{daemon, example, lines, pki, ports, process, wait};

use runner::{Scenario, Source, Stage, say};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == chaos::simulator::SERVE) {
        return chaos::simulator::serve();
    }
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let all = scenarios::all();
    let chosen: Vec<Scenario> = all.iter().filter(|scenario| is_chosen(scenario.name, &names)).copied().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|scenario| say(&format!("{}: test\n", scenario.name)));
        return ExitCode::SUCCESS;
    }
    let passed = match Source::from_environment() {
        Ok(source) => runner::run(&chosen, all.len() - chosen.len(), &Stage::new(source)),
        Err(missing) => {
            say(&format!("error: {missing}\n"));
            false
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_chosen(scenario: &str, names: &[&String]) -> bool {
    if names.is_empty() {
        !ONLY_BY_NAME.iter().any(|group| scenario.starts_with(group))
    } else {
        names.iter().any(|name| scenario.contains(name.as_str()))
    }
}

/// What takes long, or the whole machine.
const ONLY_BY_NAME: [&str; 2] = ["chaos::", "load::"];
