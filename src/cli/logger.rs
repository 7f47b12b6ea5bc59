//! The logger of a program: lines for people, to stderr and to a bounded file.
//!
//! Takes what the library and the program say through the [`log`] macros; how a line looks is said in [`line`](super::line).
//! What ends a program comes by [`Logger::fatal`].

use super::journal;
use super::line::{line, push_escaped, words};
use super::log_file::LogFile;
use crate::config::{Config, LogLevel};
use crate::files::Keeping;
use env_logger::{Builder, Target};
use log::{LevelFilter, Record};
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The process's logger, installed. Cheap to clone; dropping it uninstalls nothing.
///
/// A line is one line, whatever a server or an object puts into it:
///
/// ```text
/// 2026-11-23T13:33:26.123Z warn v1/pods: watch ended, listing again cause="410 Expired" retry_after=1.6s
/// ```
///
/// Where stderr is the journal of systemd, which stamps lines itself, they go there as `<4>v1/pods: watch ended, …`: without time
/// and with the priority by which `journalctl -p` picks. The file has them as above.
///
/// A program that has a logger of its own leaves this one: Faro logs through the [`log`] crate alone.
///
/// ```
/// use faro::cli::{Logger, LoggerError};
/// use faro::config::{Config, ResourceConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let config = Config::builder(folder).resource(ResourceConfig::new("v1/pods")).build()?;
/// let logger = Logger::install_for(&config, &["my_agent"])?;
///
/// log::info!(target: "my_agent::plan", pods = 3; "looking around");
/// log::info!(target: "someone_else", "a step of another crate");
///
/// let path = logger.path().expect("the configuration asks for a log file");
/// assert!(path.starts_with(folder.join("logs")));
/// let text = std::fs::read_to_string(&path)?;
/// let told: Vec<&str> = text.lines().map(|line| line.split_once(' ').expect("the time comes first").1).collect();
/// assert_eq!(told, [&format!("info logging to {}", path.display()), "info looking around pods=3"]);
///
/// // A process has one logger; a second one leaves nothing behind.
/// assert!(matches!(Logger::install(&config), Err(LoggerError::Taken(_))));
/// assert_eq!(std::fs::read_dir(folder.join("logs"))?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Logger(Outputs);

/// Why there is no logger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggerError {
    /// The log file, or the thread that tidies its folder, cannot be created.
    #[error(
        "cannot create a log file in {}; make it writable for the user that runs faro, or choose another output_dir",
        folder.display()
    )]
    File {
        /// Where log files are to be.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The process has a logger.
    #[error("cannot set up the logger: this process has one; install only one of them")]
    Taken(#[source] log::SetLoggerError),
}

impl Logger {
    /// Sets the process's logger up as `config` says: `log_level`, and unless `log_file` is false, files in `output_dir/logs/`
    /// that are rotated, compressed and removed as files of events are.
    ///
    /// Of the lines of other crates, the program's own too, warnings and errors are told; see [`install_for`](Self::install_for).
    /// When the disk is full or gone, lines are counted instead, stderr is told once, and the file is tried again later.
    ///
    /// # Errors
    ///
    /// When the log file cannot be created, and when the process has a logger.
    pub fn install(config: &Config) -> Result<Self, LoggerError> {
        Self::install_for(config, &[])
    }

    /// As [`install`](Self::install), and the lines of the crates in `own` are told from `log_level` up, as Faro's are.
    ///
    /// `own` holds the beginnings of targets, which are paths of modules where a line names none: a crate's name, with
    /// underscores, takes all its lines.
    ///
    /// # Errors
    ///
    /// When the log file cannot be created, and when the process has a logger.
    pub fn install_for(config: &Config, own: &[&str]) -> Result<Self, LoggerError> {
        let outputs = Outputs::create(config)?;
        if let Err(taken) = builder(own, outputs.clone()).try_init() {
            outputs.discard();
            return Err(LoggerError::Taken(taken));
        }
        let logger = Self(outputs);
        logger.set_level(config.log_level);
        if let Some(path) = logger.path() {
            log::info!("logging to {}", path.display());
        }
        Ok(logger)
    }

    /// Tells lines from another level up, from now on.
    pub fn set_level(&self, level: LogLevel) {
        log::set_max_level(filter(level));
    }

    /// The log file that is being written; `None` where the configuration wants none.
    pub fn path(&self) -> Option<PathBuf> {
        self.0.file.as_deref().map(|file| lock(file).path().to_owned())
    }

    /// Looks at the log file now, as SIGHUP asks: one that was deleted or moved away is followed by another, and one that could not be
    /// written is tried at once. Without this, the next line finds it out.
    pub fn reopen(&self) {
        if let Some(file) = &self.0.file {
            lock(file).reopen();
        }
    }

    /// Notes in the file what ends the program, at every level. Telling stderr is left to `main`.
    pub fn fatal(&self, message: &str) {
        if let Some(file) = &self.0.file {
            let mut line = format!("{:.3} fatal ", jiff::Timestamp::now());
            push_escaped(&mut line, message, false);
            line.push('\n');
            lock(file).write_line(line.as_bytes());
        }
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("path", &self.path()).finish()
    }
}

/// Lets through what any level does; which one holds is left to [`log::max_level`], so that it can change.
fn builder(own: &[&str], outputs: Outputs) -> Builder {
    let mut builder = Builder::new();
    // The steps of other crates say nothing of what Faro and the program decide.
    builder.filter_level(LevelFilter::Warn);
    for target in ["faro"].iter().chain(own) {
        builder.filter_module(target, LevelFilter::Debug);
    }
    // The outputs differ in how a line looks, so that they take records and what env_logger writes is nothing.
    builder.format(move |_, record| {
        outputs.tell(record);
        Ok(())
    });
    builder.target(Target::Pipe(Box::new(io::sink())));
    builder
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Error => LevelFilter::Error,
        // What ends the process does not come through the logger.
        LogLevel::Fatal => LevelFilter::Off,
    }
}

/// stderr, and the log file when there is one; neither can stop the other.
#[derive(Clone)]
struct Outputs {
    /// Shared with the process's logger.
    file: Option<Arc<Mutex<LogFile>>>,
    is_journal: bool,
}

impl Outputs {
    fn create(config: &Config) -> Result<Self, LoggerError> {
        let is_journal = journal::is_stderr();
        if !config.log_file {
            return Ok(Self { file: None, is_journal });
        }
        let folder = config.output_dir.join("logs");
        let keeping = Keeping { compress: config.compress, retain: config.retain };
        let file = LogFile::create(&folder, config.rotate, keeping).map_err(|source| LoggerError::File { folder, source })?;
        Ok(Self { file: Some(Arc::new(Mutex::new(file))), is_journal })
    }

    /// Removes the file, which nothing was written to.
    fn discard(self) {
        if let Some(file) = self.file {
            // An empty file that stays does no harm.
            let _ = std::fs::remove_file(lock(&file).path());
        }
    }
}

impl Outputs {
    fn tell(&self, record: &Record<'_>) {
        let line = line(record, jiff::Timestamp::now());
        // A closed stderr is no reason to stop logging to the file.
        let _ = if self.is_journal {
            let mut prefixed = String::new();
            journal::push_line(&mut prefixed, record.level(), &words(record));
            io::stderr().write_all(prefixed.as_bytes())
        } else {
            io::stderr().write_all(line.as_bytes())
        };
        if let Some(file) = &self.file {
            lock(file).write_line(line.as_bytes());
        }
    }
}

fn lock(file: &Mutex<LogFile>) -> MutexGuard<'_, LogFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Log as _, Metadata};

    #[test]
    fn levels_let_through_what_they_name() {
        let passes = |level, target, record_level: Level| {
            let logger = builder(&["my_agent"], Outputs { file: None, is_journal: false }).build();
            record_level <= filter(level) && logger.enabled(&Metadata::builder().level(record_level).target(target).build())
        };
        for (level, target, record_level, expected) in [
            (LogLevel::Info, "faro::informer", Level::Info, true),
            (LogLevel::Info, "faro::informer", Level::Debug, false),
            (LogLevel::Info, "ureq::run", Level::Info, false),
            (LogLevel::Info, "rustls::conn", Level::Warn, true),
            (LogLevel::Info, "my_agent::plan", Level::Info, true),
            (LogLevel::Debug, "ureq::run", Level::Debug, false),
            (LogLevel::Debug, "ureq::run", Level::Warn, true),
            (LogLevel::Debug, "faro::informer", Level::Debug, true),
            (LogLevel::Debug, "my_agent", Level::Debug, true),
            (LogLevel::Error, "rustls::conn", Level::Warn, false),
            (LogLevel::Error, "my_agent", Level::Warn, false),
            (LogLevel::Warning, "faro", Level::Warn, true),
            (LogLevel::Fatal, "faro", Level::Error, false),
        ] {
            assert_eq!(passes(level, target, record_level), expected, "{level} {target} {record_level}");
        }
    }

    #[test]
    fn the_file_holds_every_line_and_what_ended_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("output_dir: {:?}\nresources: [{{gvr: v1/pods}}]", folder.path());
        let config = Config::from_yaml(&yaml, "c").unwrap();
        let log = Logger(Outputs::create(&config).unwrap());
        let logger = builder(&[], log.0.clone()).build();
        let pairs = [("code", 7)];
        logger.log(&Record::builder().level(Level::Info).target("faro").key_values(&pairs).args(format_args!("ready")).build());
        log.fatal("no\nway");
        let text = std::fs::read_to_string(log.path().unwrap()).unwrap();
        let told: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(told, ["info ready code=7", "fatal no\\nway"]);
    }

    #[test]
    fn without_a_log_file_nothing_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("output_dir: {:?}\nlog_file: false\nresources: [{{gvr: v1/pods}}]", folder.path());
        let log = Logger(Outputs::create(&Config::from_yaml(&yaml, "c").unwrap()).unwrap());
        log.fatal("no way");
        assert_eq!((log.path(), std::fs::read_dir(folder.path()).unwrap().count()), (None, 0));
    }
}
