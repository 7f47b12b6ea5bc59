//! Log lines for people: to stderr, and to a bounded file.
//!
//! A line is `2026-11-23T13:33:26.123Z warn v1/pods: watch ended, listing again cause="410 Expired" retry_after=1.6s`. What a server or
//! an object puts into a message cannot make a second line or move the cursor of a terminal.

use crate::log_file::LogFile;
use env_logger::{Builder, Target};
use faro::config::{Config, LogLevel};
use faro::files::Keeping;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Record};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The log file, when there is one; shared with the process's logger.
#[derive(Clone)]
pub(crate) struct Log(Option<Arc<Mutex<LogFile>>>);

impl Log {
    /// Sets the process's logger up as `config` says.
    ///
    /// # Errors
    ///
    /// When the log file cannot be created.
    pub(crate) fn init(config: &Config) -> Result<Self, LogFileError> {
        let mut log = Self(None);
        if config.log_file {
            let folder = config.output_dir.join("logs");
            let keeping = Keeping { compress: config.compress, retain: config.retain };
            let file = LogFile::create(&folder, config.rotate, keeping).map_err(|source| LogFileError { folder, source })?;
            log.0 = Some(Arc::new(Mutex::new(file)));
        }
        let mut builder = Builder::new();
        for (target, level) in filters(config.log_level) {
            builder.filter(target, level);
        }
        builder.format(|out, record| out.write_all(line(record, jiff::Timestamp::now()).as_bytes()));
        builder.target(Target::Pipe(Box::new(log.clone())));
        builder.try_init().expect("nothing else in this process sets a logger");
        if let Some(file) = &log.0 {
            // Taken out first: the line that tells it needs the lock.
            let path = lock(file).path().to_owned();
            log::info!("logging to {}", path.display());
        }
        Ok(log)
    }

    /// Notes in the file what ends the process, at every level; stderr is told by `main`.
    pub(crate) fn fatal(&self, message: &str) {
        if let Some(file) = &self.0 {
            let mut line = format!("{:.3} fatal ", jiff::Timestamp::now());
            push_escaped(&mut line, message, false);
            line.push('\n');
            lock(file).write_line(line.as_bytes());
        }
    }
}

fn lock(file: &Mutex<LogFile>) -> MutexGuard<'_, LogFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log file cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot create a log file in {}; make it writable for the user that runs faro, or choose another output_dir", folder.display())]
pub(crate) struct LogFileError {
    folder: PathBuf,
    source: io::Error,
}

/// What is let through. Other crates are heard from warnings up: their steps say nothing of Faro's decisions.
fn filters(level: LogLevel) -> [(Option<&'static str>, LevelFilter); 2] {
    let (own, others) = match level {
        LogLevel::Debug => (LevelFilter::Debug, LevelFilter::Warn),
        LogLevel::Info => (LevelFilter::Info, LevelFilter::Warn),
        LogLevel::Warning => (LevelFilter::Warn, LevelFilter::Warn),
        LogLevel::Error => (LevelFilter::Error, LevelFilter::Error),
        // What ends the process does not come through the logger.
        LogLevel::Fatal => (LevelFilter::Off, LevelFilter::Off),
    };
    [(None, others), (Some("faro"), own)]
}

/// stderr and the file; neither can stop the other.
impl Write for Log {
    /// Takes one whole line at a time, as `env_logger` hands them over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A closed stderr is no reason to stop logging to the file.
        let _ = io::stderr().write_all(line);
        if let Some(file) = &self.0 {
            lock(file).write_line(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn line(record: &Record<'_>, now: jiff::Timestamp) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let mut line = format!("{now:.3} {level} ");
    push_escaped(&mut line, &record.args().to_string(), false);
    // The visitor below never fails.
    let _ = record.key_values().visit(&mut Pairs(&mut line));
    line.push('\n');
    line
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push(' ');
        push_escaped(self.0, key.as_str(), false);
        self.0.push('=');
        let value = value.to_string();
        let bare = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=' || is_unsafe(c));
        if bare {
            self.0.push_str(&value);
        } else {
            self.0.push('"');
            push_escaped(self.0, &value, true);
            self.0.push('"');
        }
        Ok(())
    }
}

/// Appends `text` so that it stays one line; inside quotes, those and backslashes are escaped too.
fn push_escaped(line: &mut String, text: &str, quoted: bool) {
    for c in text.chars() {
        if is_unsafe(c) || (quoted && (c == '"' || c == '\\')) {
            write!(line, "{}", Escaped(c)).expect("writing to a String never fails");
        } else {
            line.push(c);
        }
    }
}

struct Escaped(char);

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '"' | '\\' | '\n' | '\r' | '\t' => write!(f, "{}", self.0.escape_default()),
            other => write!(f, "{}", other.escape_unicode()),
        }
    }
}

/// Whether a character ends a line, moves a cursor, or reverses the reading direction.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, target: &str, message: &str, pairs: &[(&str, &str)], expected: &str) {
        let now: jiff::Timestamp = "2026-11-23T13:33:26.12345Z".parse().unwrap();
        let told =
            line(&Record::builder().level(level).target(target).key_values(&pairs).args(format_args!("{message}")).build(), now);
        assert_eq!(told, format!("2026-11-23T13:33:26.123Z {expected}\n"));
    }

    #[test]
    fn a_line_holds_time_level_message_and_pairs() {
        check(
            Level::Warn,
            "faro::informer",
            "v1/pods: watch ended, listing again",
            &[("cause", "410 Expired"), ("resource_version", "81723"), ("retry_after", "1.6s")],
            "warn v1/pods: watch ended, listing again cause=\"410 Expired\" resource_version=81723 retry_after=1.6s",
        );
        check(Level::Info, "faro", "ready", &[], "info ready");
        check(Level::Error, "faro", "no", &[], "error no");
        check(
            Level::Debug,
            "faro",
            "x",
            &[("empty", ""), ("path", "/a-b_c"), ("pair", "a=b")],
            "debug x empty=\"\" path=/a-b_c pair=\"a=b\"",
        );
    }

    #[test]
    fn nothing_in_a_message_makes_another_line() {
        check(Level::Info, "faro", "a\nb\r\u{1b}[31mc", &[], "info a\\nb\\r\\u{1b}[31mc");
        check(Level::Info, "faro", "a\u{2028}b\u{202e}c", &[], "info a\\u{2028}b\\u{202e}c");
        check(Level::Info, "faro", "x", &[("cause", "say \"no\"\n\\")], "info x cause=\"say \\\"no\\\"\\n\\\\\"");
        check(Level::Info, "faro", "C:\\temp \"q\" é", &[], "info C:\\temp \"q\" é");
    }

    #[test]
    fn levels_let_through_what_they_name() {
        let passes = |level, target, record_level: Level| {
            let mut builder = Builder::new();
            for (target, level) in filters(level) {
                builder.filter(target, level);
            }
            let logger = builder.build();
            log::Log::enabled(&logger, &log::Metadata::builder().level(record_level).target(target).build())
        };
        for (level, target, record_level, expected) in [
            (LogLevel::Info, "faro::informer", Level::Info, true),
            (LogLevel::Info, "faro::informer", Level::Debug, false),
            (LogLevel::Info, "ureq::run", Level::Info, false),
            (LogLevel::Info, "rustls::conn", Level::Warn, true),
            (LogLevel::Debug, "ureq::run", Level::Debug, false),
            (LogLevel::Debug, "ureq::run", Level::Warn, true),
            (LogLevel::Debug, "faro::informer", Level::Debug, true),
            (LogLevel::Error, "rustls::conn", Level::Warn, false),
            (LogLevel::Warning, "faro", Level::Warn, true),
            (LogLevel::Fatal, "faro", Level::Error, false),
        ] {
            assert_eq!(passes(level, target, record_level), expected, "{level} {target} {record_level}");
        }
    }

    #[test]
    fn the_file_holds_every_line_and_its_own_name_first() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("output_dir: {:?}\nresources: [{{gvr: v1/pods}}]", folder.path());
        let config = Config::from_yaml(&yaml, "c").unwrap();
        let log = Log::init(&config).unwrap();
        log::info!(target: "faro", code = 7; "ready");
        log.fatal("no\nway");
        let path = lock(log.0.as_ref().unwrap()).path().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let told: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(told, [&format!("info logging to {}", path.display()), "info ready code=7", "fatal no\\nway"]);
    }
}
