//! The daemon: signals and exit codes around the library's command line, logger and controller; its demo, and the reading of its files.
//!
//! stdout is for data, stderr for people. Exit codes: 0 stopped and drained, 1 failed while running, 2 wrong usage or configuration.

mod check;
mod command;
#[cfg(feature = "sim")]
mod demo;
mod events;
mod limits;
mod reload;
mod signals;
mod systemd;

use command::Command;
use faro::cli::{Logger, Settings, chain, print_error};
use faro::client::Client;
use faro::controller::{Controller, ControllerError, Summary};
use reload::{Reloader, Reloading};
use signals::{EarlyHangups, Hangup};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use systemd::{News, Telling};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// Why the process ends, and with which code.
struct Failure {
    exit_code: u8,
    /// `None` when stdout has told it.
    error: Option<Box<dyn Error>>,
}

impl Failure {
    /// What failed stands on stdout.
    fn told() -> Self {
        Self { exit_code: EXIT_FAILED, error: None }
    }

    fn words(&self) -> Option<String> {
        self.error.as_deref().map(chain)
    }
}

fn main() -> ExitCode {
    let done = match command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(settings)) => run(*settings),
        Ok(Command::Check(flags)) => check::run(&flags),
        #[cfg(feature = "sim")]
        Ok(Command::Demo(flags)) => demo::run(&flags),
        Ok(Command::Events(flags)) => events::run(*flags),
        Ok(Command::Help(text)) => print(&text),
        Ok(Command::Version) => print(&version()),
        Err(error) => Err(usage(error)),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if let Some(words) = failure.words() {
        print_error(&format!("faro: {words}"));
    }
    ExitCode::from(failure.exit_code)
}

fn run(mut settings: Settings) -> Result<(), Failure> {
    let hangups = EarlyHangups::note().map_err(failed)?;
    signals::outlive_file_limits().map_err(failed)?;
    let logger = Logger::install(&settings.config).map_err(failed)?;
    log::info!("{}", version().trim_end());
    settings.client.plugin_descriptors = limits::raise_descriptors();
    serve(settings, &logger, hangups).inspect_err(|failure| failure.words().iter().for_each(|words| logger.fatal(words)))
}

fn serve(settings: Settings, logger: &Logger, hangups: EarlyHangups) -> Result<(), Failure> {
    settings.reset_state_if_asked().map_err(failed)?;
    let client = Client::from_options(&settings.client).map_err(usage)?;
    let Settings { config, file, .. } = settings;
    let is_watched = config.watch_config;
    let controller = Controller::new(client, config);
    // Each of these is dropped before the one above it, which waits until nobody can ask it for anything any more.
    let telling = Telling::start(&controller).map_err(failed)?;
    let herald = telling.herald();
    let reloading = Reloading { controller: controller.clone(), logger: logger.clone(), file, is_watched, herald };
    let reloader = Reloader::start(reloading).map_err(failed)?;
    let (stopped, herald) = (controller.clone(), telling.herald());
    let stop = move || {
        herald.tell(News::Stopping);
        stopped.stop();
    };
    let (reload, reopened) = (reloader.asker(), logger.clone());
    let hang_up = move || {
        reopened.reopen();
        reload();
    };
    let hangup = Hangup::Reload(hangups, Box::new(hang_up));
    let _listening = signals::listen(stop, hangup).map_err(failed)?;
    let ran = controller.start();
    telling.herald().tell(News::Stopping);
    let Summary { unfinished, .. } = ran.map_err(ended)?;
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
    Failure { exit_code: EXIT_USAGE, error: Some(Box::new(error)) }
}

fn failed(error: impl Error + 'static) -> Failure {
    Failure { exit_code: EXIT_FAILED, error: Some(Box::new(error)) }
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
