//! Another program that embeds Faro: its own workspace, the public API only, no default features.
//!
//! It stands for any program that watches a cluster. Built with `check` it runs instead against a few canned answers of an API
//! server, and fails unless its handler is told what is in them.

#[cfg(feature = "check")]
mod canned;
#[cfg(feature = "check")]
mod check;
#[cfg(feature = "faro")]
mod watching;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "check")]
    let run = check::run;
    #[cfg(all(feature = "faro", not(feature = "check")))]
    let run = watching::run;
    #[cfg(feature = "faro")]
    if let Err(error) = run() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
