//! `faro events`: reads the events files of a folder to people and pipes, also while they are written.
//!
//! Takes lines from the library's [`Lines`]; gives those that pass the filters to stdout, and each damaged place once to stderr.
//! Needs nothing but the folder: no pager, no temporary file, no cluster, so that it runs in a pod that has no shell.

mod filter;
mod flags;
mod view;

pub(crate) use flags::{EventsFlags, help, parse};

use crate::{Failure, failed, signals, usage};
use faro::api::DecodeError;
use faro::cli::shown;
use faro::cli::{LoadError, chain};
use faro::config::Config;
use faro::files::{FileKind, Line, Lines, Piece};
use faro::lifecycle::Stop;
use faro::sink::EventLine;
use filter::Passing;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use view::View;

/// Why the reading ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("cannot read the events in {}; name the folder that is the output_dir of Faro", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    #[error("{places} damaged places were left out")]
    Damaged { places: u64 },
}

/// Where the operator's manifest has its volume.
const OPERATOR_FOLDER: &str = "/var/faro/events";

/// How often is looked for more while following: soon enough for people, and a few system calls each time.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// Shows what the flags ask for.
pub(crate) fn run(flags: EventsFlags) -> Result<(), Failure> {
    let folder = folder(&flags).map_err(usage)?;
    let unreadable = |source| failed(EventsError::Folder { folder: folder.clone(), source });
    let stop = Stop::new();
    let asked = stop.clone();
    // Reading to the end is interrupted as any other program is.
    let _listening =
        flags.follow.then(|| signals::listen(move || asked.request(), signals::Hangup::Stop)).transpose().map_err(failed)?;

    let mut lines = Lines::open(&folder, FileKind::Events).map_err(unreadable)?;
    if lines.files() == 0 {
        tell(&format!("no events files are in {}{}", folder.display(), if flags.follow { " yet" } else { "" }));
    }
    let passing = flags.filter.ready();
    if let Some(since) = passing.since() {
        lines.skip_written_before(since);
    }
    if let Some(count) = flags.tail {
        lines.seek_last(count, |line| EventLine::parse(line).is_ok_and(|line| passing.passes(&line)));
    }
    // What is written while it is read is for those who follow.
    let left = if flags.follow { usize::MAX } else { flags.tail.unwrap_or(usize::MAX) };
    let mut showing = Showing { view: View::new(flags.output), passing, left, damage: Damage::default() };
    loop {
        let is_taking = match lines.next().map_err(unreadable)? {
            _ if stop.is_requested() => break,
            Some(Piece::Line(line)) => showing.line(&line),
            Some(Piece::Damage(damage)) => showing.damaged(&damage),
            None if flags.follow => showing.pause(&stop),
            None => break,
        };
        if !is_taking.map_err(EventsError::Stdout).map_err(failed)? {
            break;
        }
    }
    showing.end()
}

/// Which folder is read.
fn folder(flags: &EventsFlags) -> Result<PathBuf, LoadError> {
    if let Some(folder) = &flags.folder {
        return Ok(folder.clone());
    }
    if let Some(config) = &flags.config {
        return Ok(Config::load(config)?.output_dir);
    }
    if Path::new(OPERATOR_FOLDER).is_dir() {
        return Ok(PathBuf::from(OPERATOR_FOLDER));
    }
    let cure = format!("no folder is given, and {OPERATOR_FOLDER} is not there; give one: faro events DIR, or --config FILE");
    Err(flags::usage(cure))
}

/// The way of a line to stdout.
struct Showing {
    view: View,
    passing: Passing,
    /// How many more lines are shown.
    left: usize,
    damage: Damage,
}

/// Lines that are no events. Of each file the first is told, and how many more there are.
#[derive(Default)]
struct Damage {
    places: u64,
    path: PathBuf,
    untold: u64,
}

impl Showing {
    /// Shows the line if it passes. Returns whether more are to come.
    fn line(&mut self, line: &Line<'_>) -> io::Result<bool> {
        let event = match EventLine::parse(line.bytes) {
            Ok(event) => event,
            Err(error) => return self.no_event(line, &error),
        };
        if !self.passing.passes(&event) {
            return Ok(true);
        }
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        self.left = left;
        self.view.show(&event, line.bytes)
    }

    fn no_event(&mut self, line: &Line<'_>, error: &DecodeError) -> io::Result<bool> {
        self.damage.places += 1;
        if self.damage.path == line.path {
            self.damage.untold += 1;
            return Ok(true);
        }
        self.damage.tell_rest();
        line.path.clone_into(&mut self.damage.path);
        let is_taking = self.view.flush()?;
        tell(&format!("{}: the line from byte {} of its text on is no event: {error}", line.path.display(), line.offset));
        Ok(is_taking)
    }

    fn damaged(&mut self, damage: &(dyn Error + 'static)) -> io::Result<bool> {
        self.damage.tell_rest();
        self.damage.places += 1;
        let is_taking = self.view.flush()?;
        tell(&chain(damage));
        Ok(is_taking)
    }

    /// Waits for more lines. Returns whether to go on.
    fn pause(&mut self, stop: &Stop) -> io::Result<bool> {
        Ok(self.view.flush()? && !stop.wait(LOOK_PERIOD) && !self.view.is_closed())
    }

    fn end(mut self) -> Result<(), Failure> {
        self.view.flush().map_err(EventsError::Stdout).map_err(failed)?;
        self.damage.tell_rest();
        match self.damage.places {
            0 => Ok(()),
            places => Err(failed(EventsError::Damaged { places })),
        }
    }
}

impl Damage {
    fn tell_rest(&mut self) {
        if self.untold > 0 {
            tell(&format!("{}: further lines that are no events: {}", self.path.display(), self.untold));
            self.untold = 0;
        }
    }
}

fn tell(message: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "faro: {}", shown(message));
}
