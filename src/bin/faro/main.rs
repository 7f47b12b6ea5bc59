//! The daemon: flags, a configuration, signals and a logger around the library's controller; and its demo.
//!
//! stdout is for data, stderr for people. Exit codes: 0 stopped and drained, 1 failed while running, 2 wrong usage or configuration.

#[cfg(feature = "sim")]
mod demo;
mod flags;
mod log_file;
mod logger;
mod signals;

use faro::client::{Client, ClientOptions};
use faro::config::Config;
use faro::controller::{Controller, ControllerError, Summary};
use flags::{Command, Flags};
use logger::Log;
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
    let done = match flags::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(flags)) => run(&flags),
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

fn run(flags: &Flags) -> Result<(), Failure> {
    let config = Config::load_with(&flags.config, &flags.overrides).map_err(usage)?;
    signals::outlive_file_limits().map_err(failed)?;
    let log = Log::init(&config).map_err(failed)?;
    log::info!("{}", version().trim_end());
    serve(flags, config).inspect_err(|failure| log.fatal(&chain(failure.error.as_ref())))
}

fn serve(flags: &Flags, config: Config) -> Result<(), Failure> {
    if flags.reset_state && config.state.enabled {
        faro::checkpoint::reset(&config.state.dir).map_err(failed)?;
        log::info!("forgot what was told: {} begins anew", config.state.dir.display());
    }
    let options = ClientOptions { kubeconfig: flags.kubeconfig.clone(), context: flags.context.clone() };
    let client = Client::from_options(&options).map_err(usage)?;
    let controller = Controller::new(client, config);
    let stopped = controller.clone();
    let _listening = signals::listen(move || stopped.stop()).map_err(failed)?;
    let Summary { unfinished } = controller.start().map_err(ended)?;
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

/// An error with its causes, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
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

    #[derive(Debug, thiserror::Error)]
    #[error("cannot watch v1/pods")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(chain(&Outer(io::Error::other("host not found"))), "cannot watch v1/pods: host not found");
    }

    #[test]
    fn the_version_names_commit_and_day() {
        let version = version();
        let rest = version.strip_prefix(&format!("faro {} (commit ", env!("CARGO_PKG_VERSION"))).unwrap();
        let (commit, built) = rest.split_once(", built ").unwrap();
        assert!(commit == "unknown" || commit.len() >= 7, "{version}");
        assert!(built.len() == "2026-11-23)\n".len() && built.ends_with(")\n"), "{version}");
    }
}
