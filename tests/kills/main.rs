//! A program whose handlers are all that receives, killed again and again: by its receiver's own book nothing is missing.
//!
//! This program is both sides. As the parent it runs a simulated API server under load, starts itself as the embedding program, kills
//! that with `kill -9` at random times, and judges the book at the end. Then it has one object refused under load. `make chaos` says
//! `KILLS=100` and `STUCK_SECONDS=600`; `KILLS_SEED=n` repeats a story as far as two processes can.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test binary has no users, and fails by panicking")]

mod book;
mod judge;
mod load;
mod program;
mod story;
mod stuck;

#[expect(dead_code, reason = "shared with other test programs")]
#[path = "../support/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with other test programs")]
#[path = "../support/wait.rs"]
mod wait;

use std::path::Path;
use std::time::Duration;
use story::{AS_PROGRAM, Story};

/// How often it is killed where nothing is said.
const KILLS: u64 = 5;
/// How long one object is refused under load where nothing is said.
const STUCK_SECONDS: u64 = 12;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, kubeconfig, folder] = arguments.as_slice()
        && first == AS_PROGRAM
    {
        return program::run(Path::new(kubeconfig), Path::new(folder));
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let kills = number("KILLS").unwrap_or(KILLS);
    let seed = number("KILLS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("kills: {kills}, seed {seed}");
    Story::begin(seed).tell(kills);
    stuck::tell(Duration::from_secs(number("STUCK_SECONDS").unwrap_or(STUCK_SECONDS)));
}
