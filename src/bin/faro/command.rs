//! What the command line asks the program for: a run, a check, the demo, or a text.

use faro::cli::{LoadError, Settings, flags_help, load_config_from};
use std::ffi::OsString;

#[derive(Debug)]
pub(crate) enum Command {
    Run(Box<Settings>),
    /// `faro check`.
    Check(Box<crate::check::CheckFlags>),
    /// `faro demo`, in a program that was built with the simulator.
    #[cfg(feature = "sim")]
    Demo(crate::demo::DemoFlags),
    /// `faro events`.
    Events(Box<crate::events::EventsFlags>),
    /// This text is to be printed.
    Help(String),
    Version,
}

const CHECK: &str = "check";
const DEMO: &str = "demo";
const EVENTS: &str = "events";

/// Follows the arguments, without the program's name, and reads the configuration that they name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == DEMO).is_some() {
        return demo(arguments);
    }
    if arguments.next_if(|first| first == CHECK).is_some() {
        return check(arguments);
    }
    if arguments.next_if(|first| first == EVENTS).is_some() {
        return events(arguments);
    }
    match load_config_from(arguments) {
        Ok(settings) => Ok(Command::Run(Box::new(settings))),
        Err(LoadError::Help) => Ok(Command::Help(help())),
        Err(LoadError::Version) => Ok(Command::Version),
        Err(mistake) => Err(mistake),
    }
}

fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    match crate::check::parse(arguments) {
        Ok(Some(flags)) => Ok(Command::Check(Box::new(flags))),
        Ok(None) => Ok(Command::Help(crate::check::help())),
        Err(LoadError::Version) => Ok(Command::Version),
        Err(mistake) => Err(mistake),
    }
}

#[cfg(feature = "sim")]
fn demo(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    Ok(crate::demo::parse(arguments)?.map_or_else(|| Command::Help(crate::demo::help()), Command::Demo))
}

#[cfg(not(feature = "sim"))]
fn demo(_: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    let cure = "this program was built without the simulated cluster that the demo needs; build it with `--features sim`";
    Err(LoadError::Usage(cure.to_owned()))
}

fn events(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    let flags = crate::events::parse(arguments)?;
    Ok(flags.map_or_else(|| Command::Help(crate::events::help()), |flags| Command::Events(Box::new(flags))))
}

/// The text of `--help`.
fn help() -> String {
    let mut text = "faro: change data capture for Kubernetes\n\nUsage: faro --config FILE [FLAGS]\n".to_owned();
    text += "       faro events [FLAGS] [DIR] shows what was written; see faro events --help\n";
    text += "       faro check [FLAGS]        tells whether a configuration would work; see faro check --help\n";
    if cfg!(feature = "sim") {
        text += "       faro demo [FLAGS]         shows Faro at work without a cluster; see faro demo --help\n";
    }
    text.push('\n');
    text += &flags_help();
    text +=
        "\nFlags outrank the file. Exit codes: 0 stopped and drained, 1 failed while running, 2 wrong usage or configuration.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str]) -> String {
        match parse(arguments.iter().map(OsString::from)) {
            Ok(Command::Help(text)) if text == help() => "Help".to_owned(),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn help_and_version_need_no_configuration() {
        for arguments in [["--help"].as_slice(), &["-h"], &["--stdout", "--help"]] {
            assert_eq!(told(arguments), "Help");
        }
        assert_eq!((told(&["--version"]), told(&["-V"])), ("Version".to_owned(), "Version".to_owned()));
    }

    #[test]
    fn help_fits_a_terminal_and_tells_flags_and_exit_codes() {
        let help = help();
        for words in ["Usage: faro --config FILE", "\n  --config FILE ", "\n  --reset-state ", "\n  --help ", "Exit codes: 0 "] {
            assert!(help.contains(words), "{words:?} is missing in:\n{help}");
        }
        assert!(help.lines().count() <= 24, "{help}");
    }

    #[test]
    fn only_the_first_argument_asks_for_the_demo() {
        assert_eq!(told(&["--stdout", "demo"]), "unexpected argument \"demo\"; the configuration is given with --config FILE");
    }
}
