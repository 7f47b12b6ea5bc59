//! The flags of a program: one table gives parsing and help alike.

use super::LoadError;
use crate::client::ClientOptions;
use crate::config::{LogLevel, Overrides, nearest};
use lexopt::Arg;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The flags of a run.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) config: PathBuf,
    pub(super) overrides: Overrides,
    pub(super) client: ClientOptions,
    /// Forget what earlier runs have told.
    pub(super) reset_state: bool,
}

struct Flag {
    name: &'static str,
    /// What help calls its value; empty for a flag without one.
    value: &'static str,
    help: &'static str,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    /// Takes the value; the error says what is wrong with it.
    Set(fn(&mut Flags, OsString) -> Result<(), String>),
    Help,
    Version,
}

const FLAGS: [Flag; 11] = [
    Flag { name: "config", value: "FILE", help: "the configuration (YAML); required", action: Action::Set(set_config) },
    Flag {
        name: "output-dir",
        value: "DIR",
        help: "write events and logs there, instead of output_dir",
        action: Action::Set(set_output_dir),
    },
    Flag { name: "log-level", value: "LEVEL", help: "debug, info, warning, error or fatal", action: Action::Set(set_log_level) },
    Flag {
        name: "auto-shutdown",
        value: "SECONDS",
        help: "stop after so long; 0: run until stopped",
        action: Action::Set(set_auto_shutdown),
    },
    Flag {
        name: "kubeconfig",
        value: "FILE",
        help: "log in with this file, also inside a cluster",
        action: Action::Set(set_kubeconfig),
    },
    Flag { name: "context", value: "NAME", help: "the context of the kubeconfig", action: Action::Set(set_context) },
    Flag {
        name: "metrics-address",
        value: "ADDRESS",
        help: "serve metrics and probes there, as in 0.0.0.0:8080",
        action: Action::Set(set_metrics_address),
    },
    Flag { name: "stdout", value: "", help: "write events to stdout, too", action: Action::Set(set_stdout) },
    Flag {
        name: "reset-state",
        value: "",
        help: "forget what was told, and tell everything anew",
        action: Action::Set(set_reset_state),
    },
    Flag { name: "version", value: "", help: "print version, commit and build date", action: Action::Version },
    Flag { name: "help", value: "", help: "print this", action: Action::Help },
];

const NO_CONFIG: &str = "no configuration is given; give one with --config FILE, whose least is

    output_dir: ./events
    resources:
      - gvr: v1/pods
";

/// Follows the arguments, without the program's name.
///
/// # Errors
///
/// When they cannot be followed, with the cure, or ask for help or the version.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Flags, LoadError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut flags = Flags::default();
    let mut given = Vec::new();
    while let Some(argument) = parser.next().map_err(|error| usage(error.to_string()))? {
        let flag = find(&argument)?;
        let set = match flag.action {
            Action::Help => return Err(LoadError::Help),
            Action::Version => return Err(LoadError::Version),
            Action::Set(set) => set,
        };
        if given.contains(&flag.name) {
            return Err(usage(format!("--{} is given twice", flag.name)));
        }
        given.push(flag.name);
        let value = match flag.value {
            "" => OsString::new(),
            name => parser.value().map_err(|_| usage(format!("--{} needs a value: --{0} {name}", flag.name)))?,
        };
        set(&mut flags, value).map_err(|message| usage(format!("--{}: {message}", flag.name)))?;
    }
    if given.contains(&"config") { Ok(flags) } else { Err(usage(NO_CONFIG)) }
}

/// The flags of [`load_config`](super::load_config), one a line, for the help text of a program.
///
/// ```
/// let help = format!("my-agent: keeps the cluster tidy\n\n{}", faro::cli::flags_help());
/// assert!(help.contains("\n  --config FILE             the configuration (YAML); required\n"));
/// ```
pub fn flags_help() -> String {
    let mut text = String::new();
    for flag in &FLAGS {
        let name = format!("--{} {}", flag.name, flag.value);
        text += &format!("  {name:<26}{}\n", flag.help);
    }
    text
}

fn find(argument: &Arg<'_>) -> Result<&'static Flag, LoadError> {
    let name = match argument {
        Arg::Long(name) => (*name).to_owned(),
        Arg::Short('h') => "help".to_owned(),
        Arg::Short('V') => "version".to_owned(),
        Arg::Short(letter) => return Err(usage(format!("unknown flag -{}; --help lists all", letter.escape_debug()))),
        Arg::Value(value) => {
            return Err(usage(format!("unexpected argument {value:?}; the configuration is given with --config FILE")));
        }
    };
    FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| match nearest(&name, FLAGS.iter().map(|flag| flag.name)) {
        Some(near) => usage(format!("unknown flag --{}; did you mean --{near}?", name.escape_debug())),
        None => usage(format!("unknown flag --{}; --help lists all", name.escape_debug())),
    })
}

fn usage(message: impl Into<String>) -> LoadError {
    LoadError::Usage(message.into())
}

fn set_config(flags: &mut Flags, value: OsString) -> Result<(), String> {
    flags.config = path(value)?;
    Ok(())
}

fn set_output_dir(flags: &mut Flags, value: OsString) -> Result<(), String> {
    flags.overrides.output_dir = Some(path(value)?);
    Ok(())
}

fn set_log_level(flags: &mut Flags, value: OsString) -> Result<(), String> {
    flags.overrides.log_level = Some(text(value)?.parse::<LogLevel>()?);
    Ok(())
}

fn set_auto_shutdown(flags: &mut Flags, value: OsString) -> Result<(), String> {
    let text = text(value)?;
    // Read as a u32: 136 years, safe to add to any clock.
    let seconds: u32 = text.parse().map_err(|_| format!("expected a whole number of seconds, found {text:?}"))?;
    flags.overrides.auto_shutdown = Some(Duration::from_secs(seconds.into()));
    Ok(())
}

fn set_kubeconfig(flags: &mut Flags, value: OsString) -> Result<(), String> {
    flags.client.kubeconfig = Some(path(value)?);
    Ok(())
}

fn set_context(flags: &mut Flags, value: OsString) -> Result<(), String> {
    let name = text(value)?;
    if name.is_empty() {
        return Err("expected the name of a context, found \"\"".to_owned());
    }
    flags.client.context = Some(name);
    Ok(())
}

fn set_metrics_address(flags: &mut Flags, value: OsString) -> Result<(), String> {
    let text = text(value)?;
    let address = text
        .parse()
        .map_err(|_| format!("expected an IP address and a port, as in 0.0.0.0:8080 or [::]:8080, found {text:?}"))?;
    flags.overrides.metrics_address = Some(address);
    Ok(())
}

fn set_stdout(flags: &mut Flags, _: OsString) -> Result<(), String> {
    flags.overrides.json_stdout = true;
    Ok(())
}

fn set_reset_state(flags: &mut Flags, _: OsString) -> Result<(), String> {
    flags.reset_state = true;
    Ok(())
}

fn path(value: OsString) -> Result<PathBuf, String> {
    if value.is_empty() { Err("expected a path, found \"\"".to_owned()) } else { Ok(PathBuf::from(value)) }
}

fn text(value: OsString) -> Result<String, String> {
    value.into_string().map_err(|value| format!("expected UTF-8 text, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str]) -> String {
        match parse(arguments.iter().map(OsString::from)) {
            Ok(flags) => format!("{flags:?}"),
            Err(LoadError::Help) => "Help".to_owned(),
            Err(LoadError::Version) => "Version".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        assert_eq!(told(arguments), expected, "{arguments:?}");
    }

    #[test]
    fn every_flag_is_taken_in_both_forms() {
        let spaced = "--config c.yaml --output-dir out --log-level error --auto-shutdown 7 --kubeconfig k --context prod --metrics-address [::]:9 --stdout --reset-state";
        let joined = "--config=c.yaml --output-dir=out --log-level=error --auto-shutdown=7 --kubeconfig=k --context=prod --metrics-address=[::]:9 --stdout --reset-state";
        for line in [spaced, joined] {
            let flags = parse(line.split(' ').map(OsString::from)).unwrap();
            assert_eq!((flags.config, flags.client.kubeconfig), (PathBuf::from("c.yaml"), Some(PathBuf::from("k"))));
            assert_eq!(flags.client.context.as_deref(), Some("prod"));
            assert!(flags.reset_state);
            let overrides = flags.overrides;
            assert_eq!(overrides.metrics_address, Some("[::]:9".parse().unwrap()));
            assert_eq!((overrides.output_dir, overrides.json_stdout), (Some(PathBuf::from("out")), true));
            assert_eq!((overrides.log_level, overrides.auto_shutdown), (Some(LogLevel::Error), Some(Duration::from_secs(7))));
        }
    }

    #[test]
    fn help_and_version_need_no_configuration() {
        check(&["--help"], "Help");
        check(&["-h"], "Help");
        check(&["--version"], "Version");
        check(&["-V"], "Version");
        check(&["--stdout", "--help"], "Help");
        for flag in &FLAGS {
            assert!(format!("\n{}", flags_help()).contains(&format!("\n  --{} ", flag.name)), "{}", flag.name);
        }
    }

    #[test]
    fn wrong_usage_is_told_with_its_cure() {
        check(&[], NO_CONFIG);
        check(&["--stdout"], NO_CONFIG);
        check(&["--confg", "x"], "unknown flag --confg; did you mean --config?");
        check(&["--output_dir=x"], "unknown flag --output_dir; did you mean --output-dir?");
        check(&["--colour"], "unknown flag --colour; --help lists all");
        check(&["-x"], "unknown flag -x; --help lists all");
        check(&["c.yaml"], "unexpected argument \"c.yaml\"; the configuration is given with --config FILE");
        check(&["--config"], "--config needs a value: --config FILE");
        check(&["--config="], "--config: expected a path, found \"\"");
        check(&["--config=a", "--config=b"], "--config is given twice");
        check(&["--auto-shutdown", "5m"], "--auto-shutdown: expected a whole number of seconds, found \"5m\"");
        check(&["--auto-shutdown=-1"], "--auto-shutdown: expected a whole number of seconds, found \"-1\"");
        check(
            &["--log-level", "warn"],
            "--log-level: expected debug, info, warning, error or fatal, found \"warn\"; did you mean \"warning\"?",
        );
        check(&["--context="], "--context: expected the name of a context, found \"\"");
        for wrong in ["8080", "0.0.0.0", "localhost:8080", "[::]"] {
            let expected = "expected an IP address and a port, as in 0.0.0.0:8080 or [::]:8080, found";
            check(&["--metrics-address", wrong], &format!("--metrics-address: {expected} {wrong:?}"));
        }
        check(&["--stdout=yes"], "unexpected argument for option '--stdout': \"yes\"");
    }
}
