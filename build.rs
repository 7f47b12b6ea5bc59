//! Notes what `faro --version` tells: the commit and the time of the build.
//!
//! `FARO_COMMIT` and `SOURCE_DATE_EPOCH` outrank what git and the clock say, for builds without a repository and for
//! builds that must come out the same twice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FARO_COMMIT");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    if std::env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    // Grows with each commit and checkout; a file that is not there would rebuild everything each time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rustc-env=FARO_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rustc-env=FARO_BUILD_SECONDS={}", build_seconds());
}

fn commit() -> Option<String> {
    std::env::var("FARO_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(|| git(&["rev-parse", "--short=12", "HEAD"]))
}

/// What git says, unless the sources are no repository of their own (unpacked somewhere below another).
fn git(arguments: &[&str]) -> Option<String> {
    let run = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()?;
    let top = PathBuf::from(run(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top == here { run(arguments) } else { None }
}

fn build_seconds() -> u64 {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
