//! The flags of `faro demo`.

use faro::cli::LoadError;
use faro::config::nearest;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// How the demo runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoFlags {
    /// How long it lives; without it until it is stopped.
    pub(crate) limit: Option<Duration>,
    /// Changes a second.
    pub(crate) rate: u32,
    /// Pods of deployments.
    pub(crate) objects: u32,
    pub(crate) seed: u64,
    /// Neither colours nor a line that is redrawn.
    pub(crate) plain: bool,
    pub(crate) output_dir: PathBuf,
}

struct Flag {
    name: &'static str,
    /// What help calls its value; empty for a flag without one.
    value: &'static str,
    help: &'static str,
    set: fn(&mut DemoFlags, &OsStr) -> Result<(), String>,
}

const FLAGS: [Flag; 6] = [
    Flag { name: "seconds", value: "N", help: "end after so long; without it, on Ctrl-C", set: set_seconds },
    Flag { name: "rate", value: "N", help: "changes a second; 5", set: set_rate },
    Flag { name: "objects", value: "N", help: "so many pods of deployments; 24", set: set_objects },
    Flag { name: "seed", value: "N", help: "another seed, another life; 1", set: set_seed },
    Flag { name: "plain", value: "", help: "for pipes: no colours, no counter line", set: set_plain },
    Flag { name: "output-dir", value: "DIR", help: "write events there; ./faro-demo", set: set_output_dir },
];

/// About what a program that was built for debugging keeps up with.
const RATE_MAX: u32 = 1000;

/// They are made before the first line is shown: in a few seconds, built for debugging.
const OBJECTS_MAX: u32 = 5000;

impl Default for DemoFlags {
    fn default() -> Self {
        Self { limit: None, rate: 5, objects: 24, seed: 1, plain: false, output_dir: PathBuf::from("./faro-demo") }
    }
}

/// Follows the arguments after `demo`; none when they ask for help.
///
/// # Errors
///
/// When they cannot be followed, with the cure.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<DemoFlags>, LoadError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut flags = DemoFlags::default();
    while let Some(argument) = parser.next().map_err(|error| usage(error.to_string()))? {
        let name = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long(name) => name.to_owned(),
            Arg::Short(letter) => letter.to_string(),
            Arg::Value(value) => return Err(usage(format!("unexpected argument {value:?}; {SEE_HELP}"))),
        };
        let flag = FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| unknown(&name))?;
        let value = match flag.value {
            "" => OsString::new(),
            value => parser.value().map_err(|_| usage(format!("--{name} needs a value: --{name} {value}")))?,
        };
        (flag.set)(&mut flags, &value).map_err(|message| usage(format!("--{name}: {message}")))?;
    }
    Ok(Some(flags))
}

/// The text of `faro demo --help`.
pub(crate) fn help() -> String {
    let mut text = "faro demo: shows Faro at work on a simulated cluster\n\nUsage: faro demo [FLAGS]\n\n".to_owned();
    for flag in &FLAGS {
        let name = format!("--{} {}", flag.name, flag.value);
        text += &format!("  {name:<20}{}\n", flag.help);
    }
    text += "\nExit codes: 0 every change was told, 1 failed or lost one, 2 wrong usage.\n";
    text
}

const SEE_HELP: &str = "`faro demo --help` lists all flags";

fn usage(message: impl Into<String>) -> LoadError {
    LoadError::Usage(message.into())
}

fn unknown(name: &str) -> LoadError {
    let name = name.escape_debug().to_string();
    usage(match nearest(&name, FLAGS.iter().map(|flag| flag.name)) {
        Some(near) => format!("unknown flag --{name}; did you mean --{near}?"),
        None => format!("unknown flag --{name}; {SEE_HELP}"),
    })
}

fn set_seconds(flags: &mut DemoFlags, value: &OsStr) -> Result<(), String> {
    flags.limit = Some(Duration::from_secs(number(value, 1, u32::MAX)?.into()));
    Ok(())
}

fn set_rate(flags: &mut DemoFlags, value: &OsStr) -> Result<(), String> {
    flags.rate = number(value, 1, RATE_MAX)?;
    Ok(())
}

fn set_objects(flags: &mut DemoFlags, value: &OsStr) -> Result<(), String> {
    flags.objects = number(value, 1, OBJECTS_MAX)?;
    Ok(())
}

fn set_seed(flags: &mut DemoFlags, value: &OsStr) -> Result<(), String> {
    flags.seed = number(value, 0, u32::MAX)?.into();
    Ok(())
}

fn set_plain(flags: &mut DemoFlags, _: &OsStr) -> Result<(), String> {
    flags.plain = true;
    Ok(())
}

fn set_output_dir(flags: &mut DemoFlags, value: &OsStr) -> Result<(), String> {
    // The configuration takes the folder as text.
    let folder = value.to_str().ok_or_else(|| format!("expected UTF-8 text, found {value:?}"))?;
    if folder.is_empty() {
        return Err("expected a path, found \"\"".to_owned());
    }
    flags.output_dir = PathBuf::from(folder);
    Ok(())
}

fn number(value: &OsStr, least: u32, most: u32) -> Result<u32, String> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &str, expected: &str) {
        let told = match parse(arguments.split_whitespace().map(OsString::from)) {
            Ok(flags) => format!("{:?}", flags.map(|flags| (flags.limit, flags.rate, flags.objects, flags.seed, flags.plain))),
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected, "{arguments}");
    }

    #[test]
    fn every_flag_is_taken() {
        check("", "Some((None, 5, 24, 1, false))");
        check("--seconds 3 --rate=50 --objects 7 --seed 9 --plain --output-dir x", "Some((Some(3s), 50, 7, 9, true))");
        check("--rate 7 --help", "None");
        check("-h", "None");
        for flag in &FLAGS {
            assert!(help().contains(&format!("\n  --{}", flag.name)), "{}", flag.name);
        }
    }

    #[test]
    fn wrong_usage_is_told_with_its_cure() {
        check("--second 3", "unknown flag --second; did you mean --seconds?");
        check("-x", "unknown flag --x; `faro demo --help` lists all flags");
        check("now", "unexpected argument \"now\"; `faro demo --help` lists all flags");
        check("--rate", "--rate needs a value: --rate N");
        check("--rate 0", "--rate: expected a number from 1 to 1000, found \"0\"");
        check("--seconds soon", "--seconds: expected a number from 1 to 4294967295, found \"soon\"");
        check("--output-dir=", "--output-dir: expected a path, found \"\"");
    }
}
