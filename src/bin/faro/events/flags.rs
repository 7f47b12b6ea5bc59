//! The flags of `faro events`.

use super::filter::Filter;
use faro::api::GroupVersionResource;
use faro::cli::LoadError;
use faro::config::nearest;
use faro::event::EventType;
use jiff::{SignedDuration, Timestamp};
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What is shown, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventsFlags {
    /// Only the last so many lines that pass the filter.
    pub(super) tail: Option<usize>,
    /// Go on with what is written.
    pub(super) follow: bool,
    pub(super) filter: Filter,
    pub(super) output: Output,
    /// The configuration whose folder is read.
    pub(super) config: Option<PathBuf>,
    /// The folder.
    pub(super) folder: Option<PathBuf>,
}

/// What a line becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Output {
    #[default]
    Table,
    Json,
}

struct Flag {
    name: &'static str,
    /// What help calls its value; empty for a flag without one.
    value: &'static str,
    help: &'static str,
    /// It may be given more than once, each with another value that passes.
    repeats: bool,
    set: fn(&mut EventsFlags, &OsStr) -> Result<(), String>,
}

const FLAGS: [Flag; 9] = [
    Flag { name: "tail", value: "N", help: "only the last N lines that pass the filters", repeats: false, set: set_tail },
    Flag { name: "follow", value: "", help: "go on with lines as they are written", repeats: false, set: set_follow },
    Flag { name: "gvr", value: "G", help: "only this resource, as v1/pods; repeats", repeats: true, set: add_gvr },
    Flag { name: "namespace", value: "NS", help: "only objects in this namespace; repeats", repeats: true, set: add_namespace },
    Flag { name: "name", value: "NAME", help: "only objects of this name; repeats", repeats: true, set: add_name },
    Flag { name: "type", value: "TYPE", help: "only added, updated or deleted; repeats", repeats: true, set: add_type },
    Flag { name: "since", value: "TIME", help: "RFC 3339, or so long ago: 90s, 10m, 2h, 1d", repeats: false, set: set_since },
    Flag {
        name: "output",
        value: "FORM",
        help: "table (default) or json: the lines as they are",
        repeats: false,
        set: set_output,
    },
    Flag { name: "config", value: "FILE", help: "read the output_dir of this configuration", repeats: false, set: set_config },
];

/// The places of so many lines are remembered while the first of them is looked for: 8 MB.
const TAIL_MAX: usize = 1_000_000;

/// Follows the arguments after `events`; none when they ask for help.
///
/// # Errors
///
/// When they cannot be followed, with the cure.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<EventsFlags>, LoadError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut flags, mut given) = (EventsFlags::default(), Vec::new());
    while let Some(argument) = parser.next().map_err(|error| usage(error.to_string()))? {
        let name = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long(name) => name.to_owned(),
            Arg::Short(letter) => letter.to_string(),
            Arg::Value(folder) if flags.folder.is_none() => {
                flags.folder = Some(path(&folder).map_err(|message| usage(format!("DIR: {message}")))?);
                continue;
            }
            Arg::Value(value) => return Err(usage(format!("unexpected argument {value:?}: one folder is read; {SEE_HELP}"))),
        };
        let flag = FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| unknown(&name))?;
        if !flag.repeats && given.contains(&flag.name) {
            return Err(usage(format!("--{name} is given twice")));
        }
        given.push(flag.name);
        let value = match flag.value {
            "" => OsString::new(),
            value => parser.value().map_err(|_| usage(format!("--{name} needs a value: --{name} {value}")))?,
        };
        (flag.set)(&mut flags, &value).map_err(|message| usage(format!("--{name}: {message}")))?;
    }
    Ok(Some(flags))
}

/// The text of `faro events --help`.
pub(crate) fn help() -> String {
    let mut text = "faro events: shows the events files of a folder, compressed ones too, oldest first\n\n\
                    Usage: faro events [FLAGS] [DIR]\n\n"
        .to_owned();
    for flag in &FLAGS {
        let name = format!("--{} {}", flag.name, flag.value);
        text += &format!("  {name:<20}{}\n", flag.help);
    }
    text += "\nDIR is --config's output_dir unless it is given, and /var/faro/events without both.\n\
             The table: time (UTC), type, resource, namespace/name, and initial or inferred.\n\
             Exit codes: 0 all was shown, 1 something is damaged or cannot be read, 2 wrong usage.\n";
    text
}

const SEE_HELP: &str = "`faro events --help` lists all flags";

pub(super) fn usage(message: impl Into<String>) -> LoadError {
    LoadError::Usage(message.into())
}

fn unknown(name: &str) -> LoadError {
    let name = name.escape_debug().to_string();
    usage(match nearest(&name, FLAGS.iter().map(|flag| flag.name)) {
        Some(near) => format!("unknown flag --{name}; did you mean --{near}?"),
        None => format!("unknown flag --{name}; {SEE_HELP}"),
    })
}

fn set_tail(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| *number <= TAIL_MAX);
    flags.tail = Some(number.ok_or_else(|| format!("expected a number from 0 to {TAIL_MAX}, found {value:?}"))?);
    Ok(())
}

fn set_follow(flags: &mut EventsFlags, _: &OsStr) -> Result<(), String> {
    flags.follow = true;
    Ok(())
}

fn add_gvr(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    let gvr: GroupVersionResource = text(value)?.parse().map_err(|error: faro::api::GvrError| error.to_string())?;
    flags.filter.gvrs.push(gvr.to_string());
    Ok(())
}

fn add_namespace(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    flags.filter.namespaces.push(some_text(value, "a namespace")?);
    Ok(())
}

fn add_name(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    flags.filter.names.push(some_text(value, "a name")?);
    Ok(())
}

fn add_type(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    let known = EventType::ALL.into_iter().find(|known| value.eq_ignore_ascii_case(known.as_str()));
    flags.filter.types.push(known.ok_or_else(|| format!("expected added, updated or deleted, found {value:?}"))?);
    Ok(())
}

fn set_since(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    flags.filter.since = Some(since(text(value)?, Timestamp::now())?);
    Ok(())
}

/// A moment, or how long before `now` it was.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || format!("expected a time as 2025-11-10T14:33:02Z, or a span as 90s, 10m, 2h or 1d, found {text:?}");
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let span = SignedDuration::from_secs(i64::from(count) * seconds);
    now.checked_sub(span).map_err(|_| format!("{text:?} is longer ago than years are counted"))
}

fn set_output(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    flags.output = match value.to_str() {
        Some("table") => Output::Table,
        Some("json") => Output::Json,
        Some(_) | None => return Err(format!("expected table or json, found {value:?}")),
    };
    Ok(())
}

fn set_config(flags: &mut EventsFlags, value: &OsStr) -> Result<(), String> {
    flags.config = Some(path(value)?);
    Ok(())
}

fn path(value: &OsStr) -> Result<PathBuf, String> {
    if value.is_empty() { Err("expected a path, found \"\"".to_owned()) } else { Ok(PathBuf::from(value)) }
}

fn some_text(value: &OsStr, what: &str) -> Result<String, String> {
    match text(value)? {
        "" => Err(format!("expected {what}, found \"\"")),
        text => Ok(text.to_owned()),
    }
}

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| format!("expected UTF-8 text, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<Option<EventsFlags>, LoadError> {
        parse(arguments.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_flag_is_taken_and_filters_may_repeat() {
        let all = "--tail 5 --follow --gvr v1/pods --gvr=apps/v1/deployments --namespace a --namespace b --name x --type added \
                   --type DELETED --since 2025-11-10T14:33:02Z --output json --config c.yaml out";
        let flags = parsed(all).unwrap().unwrap();
        assert_eq!((flags.tail, flags.follow, flags.output), (Some(5), true, Output::Json));
        assert_eq!((flags.config, flags.folder), (Some(PathBuf::from("c.yaml")), Some(PathBuf::from("out"))));
        let filter = flags.filter;
        assert_eq!(
            (filter.gvrs, filter.names),
            (vec!["v1/pods".to_owned(), "apps/v1/deployments".to_owned()], vec!["x".to_owned()])
        );
        assert_eq!((filter.namespaces.len(), filter.types), (2, vec![EventType::Added, EventType::Deleted]));
        assert_eq!(filter.since.unwrap().to_string(), "2025-11-10T14:33:02Z");
        assert!(parsed("--tail 3 --help").unwrap().is_none() && parsed("-h").unwrap().is_none());
        for flag in &FLAGS {
            assert!(
                help().contains(&format!("\n  --{}", flag.name)) && all.contains(&format!("--{}", flag.name)),
                "{}",
                flag.name
            );
        }
        assert!(help().lines().count() <= 24, "{}", help());
    }

    #[test]
    fn spans_reach_back_from_now() {
        let now = "2025-11-10T14:33:02Z".parse().unwrap();
        for (span, expected) in [
            ("90s", "2025-11-10T14:31:32Z"),
            ("10m", "2025-11-10T14:23:02Z"),
            ("2h", "2025-11-10T12:33:02Z"),
            ("1d", "2025-11-09T14:33:02Z"),
            ("0s", "2025-11-10T14:33:02Z"),
            ("2025-11-10T15:33:02+02:00", "2025-11-10T13:33:02Z"),
        ] {
            assert_eq!(since(span, now).unwrap().to_string(), expected, "{span}");
        }
        for wrong in ["", "m", "10", "-5m", "1.5h", "yesterday", "10 m", "10ü", "2025-11-10"] {
            assert!(since(wrong, now).unwrap_err().contains("expected a time as"), "{wrong}");
        }
        assert!(since("4294967295d", now).unwrap_err().contains("longer ago"));
    }

    #[test]
    fn wrong_usage_is_told_with_its_cure() {
        for (arguments, expected) in [
            ("--tial 3", "unknown flag --tial; did you mean --tail?"),
            ("-x", "unknown flag --x; `faro events --help` lists all flags"),
            ("a b", "unexpected argument \"b\": one folder is read; `faro events --help` lists all flags"),
            ("--tail", "--tail needs a value: --tail N"),
            ("--tail=-1", "--tail: expected a number from 0 to 1000000, found \"-1\""),
            ("--tail 1 --tail 2", "--tail is given twice"),
            (
                "--gvr pods",
                "--gvr: expected `version/resource` or `group/version/resource`, found \"pods\"; did you mean \"v1/pods\"?",
            ),
            ("--type modified", "--type: expected added, updated or deleted, found \"modified\""),
            ("--name=", "--name: expected a name, found \"\""),
            ("--output yaml", "--output: expected table or json, found \"yaml\""),
            ("--config=", "--config: expected a path, found \"\""),
        ] {
            assert_eq!(parsed(arguments).unwrap_err().to_string(), expected, "{arguments}");
        }
    }
}
