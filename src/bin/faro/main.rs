//! The daemon: signals and exit codes around the library's command line, logger and controller; and its demo.
//!
//! stdout is for data, stderr for people. Exit codes: 0 stopped and drained, 1 failed while running, 2 wrong usage or configuration.

mod command;
#[cfg(feature = "sim")]
mod demo;
mod signals;

use command::Command;
use faro::cli::{Logger, Settings, chain};
use faro::client::Client;
use faro::controller::{Controller, ControllerError, Summary};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// Why the process ends, and with which code.
struct Failure {
    exit_code: u8,
    error: Box<dyn Error>,
}

fn main() -> ExitCode {
    let done = match command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(settings)) => run(*settings),
        #[cfg(feature = "sim")]
        Ok(Command::Demo(flags)) => demo::run(&flags),
        Ok(Command::Help(text)) => print(&text),
        Ok(Command::Version) => print(&version()),
        Err(error) => Err(usage(error)),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "faro: {}", chain(failure.error.as_ref()));
    ExitCode::from(failure.exit_code)
}

fn run(settings: Settings) -> Result<(), Failure> {
    signals::outlive_file_limits().map_err(failed)?;
    let logger = Logger::install(&settings.config).map_err(failed)?;
    log::info!("{}", version().trim_end());
    serve(settings).inspect_err(|failure| logger.fatal(&chain(failure.error.as_ref())))
}

fn serve(settings: Settings) -> Result<(), Failure> {
    settings.reset_state_if_asked().map_err(failed)?;
    let client = Client::from_options(&settings.client).map_err(usage)?;
    let controller = Controller::new(client, settings.config);
    let stopped = controller.clone();
    let _listening = signals::listen(move || stopped.stop()).map_err(failed)?;
    let Summary { unfinished, .. } = controller.start().map_err(ended)?;
    if unfinished > 0 {
        log::warn!(events = unfinished; "stopped before everything was drained");
    } else {
        log::info!("stopped, everything is drained");
    }
    Ok(())
}

/// What does not fit the configuration to the server is a wrong configuration.
fn ended(error: ControllerError) -> Failure {
    if let ControllerError::Plan(_) = error { usage(error) } else { failed(error) }
}

fn usage(error: impl Error + 'static) -> Failure {
    Failure { exit_code: EXIT_USAGE, error: Box::new(error) }
}

fn failed(error: impl Error + 'static) -> Failure {
    Failure { exit_code: EXIT_FAILED, error: Box::new(error) }
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(failed)
}

/// `faro 0.1.0 (commit 2bc045a3f01c, built 2026-11-23)`.
fn version() -> String {
    let built = env!("FARO_BUILD_SECONDS").parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let built = built.map_or_else(|| "unknown".to_owned(), |built| built.strftime("%Y-%m-%d").to_string());
    format!("faro {} (commit {}, built {built})\n", env!("CARGO_PKG_VERSION"), env!("FARO_COMMIT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_commit_and_day() {
        let version = version();
        let rest = version.strip_prefix(&format!("faro {} (commit ", env!("CARGO_PKG_VERSION"))).unwrap();
        let (commit, built) = rest.split_once(", built ").unwrap();
        assert!(commit == "unknown" || commit.len() >= 7, "{version}");
        assert!(built.len() == "2026-11-23)\n".len() && built.ends_with(")\n"), "{version}");
    }
}
