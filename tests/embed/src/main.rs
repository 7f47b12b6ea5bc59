//! Another program that embeds Faro: its own workspace, the public API only, no default features.
//!
//! With the argument `test` it runs against a few canned answers of an API server and fails unless its handler is told what is
//! in them. Without it stands for any program that watches a cluster.

#[cfg(feature = "faro")]
mod canned;
#[cfg(feature = "faro")]
mod watching;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "faro")]
    if let Err(error) = watching::run(std::env::args().nth(1).as_deref() == Some("test")) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
