//! The handle by which workers and controller reach the thread that writes lines.
//!
//! Takes events into the buffer, as they are or as middleware makes them; starts and stops the threads behind it, and says how
//! far they are.

use super::batch::Buffer;
use super::error::SinkError;
use super::events_file::EventsFile;
use super::middleware::{Chain, JsonMiddleware};
use super::output::{self, Output};
use super::positions::{Position, Positions};
use super::writing::{PACE, Pace, Writing};
use crate::api::FilePosition;
use crate::config::RotateConfig;
use crate::dispatch::{Completion, Export};
use crate::event::MatchedEvent;
use crate::files::{Disk, FileName, Keeper, Keeping, Layer};
use crate::health::Health;
use crate::lifecycle::{Joined, Stop};
use crate::metrics::Metrics;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where lines go.
#[derive(Clone, Debug, Default)]
pub struct SinkSettings {
    /// The folder that gets an events file; it is made where it is missing. Defaults to none.
    pub folder: Option<PathBuf>,
    /// Whether the lines go to standard output, too. Defaults to no.
    pub stdout: bool,
    /// When a file is closed and the next one begun. Defaults to 100 MiB or a day.
    pub rotate: RotateConfig,
    /// What is done with closed files. Defaults to removing the oldest beyond 1 GiB.
    pub keep: Keeping,
    /// Whether a closed file is compressed or removed only before the place that [`Writer::committed`] was told. Defaults to
    /// no: all that is closed may be.
    pub hold_until_committed: bool,
    /// What changes or drops lines before they are written, in this order. Defaults to none, which costs nothing.
    pub middleware: Vec<Arc<dyn JsonMiddleware>>,
}

/// The sink: an [`Export`] that writes a JSON line an event.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<Joined>>,
}

/// What the handle and the thread have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) middleware: Chain,
    pub(super) buffer: Buffer,
    pub(super) positions: Arc<Positions>,
    /// Where there are files.
    pub(super) keeper: Option<Keeper>,
    pub(super) path: Mutex<Option<PathBuf>>,
    pub(super) failure: Mutex<Option<SinkError>>,
}

/// Where lines go, opened.
pub(super) struct Destination {
    pub(super) folder: Option<(PathBuf, Arc<dyn Layer>)>,
    pub(super) rotate: RotateConfig,
    pub(super) keep: Keeping,
    pub(super) hold_until_committed: bool,
    pub(super) stdout: Option<Box<dyn Write + Send>>,
    pub(super) middleware: Vec<Arc<dyn JsonMiddleware>>,
}

impl Writer {
    /// Makes the events file and starts the thread that writes.
    ///
    /// When standard output breaks, the writer requests `stop` and keeps the [`failure`](Self::failure).
    ///
    /// # Errors
    ///
    /// When the file cannot be made, standard output is closed, or no thread can be started.
    pub fn open(settings: SinkSettings, metrics: Metrics, health: Health, stop: Stop) -> Result<Arc<Self>, SinkError> {
        let stdout = if settings.stdout {
            Some(output::open_standard_output().map_err(|error| SinkError::NoStandardOutput { reason: error.to_string() })?)
        } else {
            None
        };
        let folder = settings.folder.map(|folder| (folder, Arc::new(Disk) as Arc<dyn Layer>));
        let SinkSettings { rotate, keep, hold_until_committed, middleware, .. } = settings;
        let destination = Destination { folder, rotate, keep, hold_until_committed, stdout, middleware };
        Self::open_on(destination, PACE, metrics, health, stop)
    }

    pub(super) fn open_on(
        destination: Destination,
        pace: Pace,
        metrics: Metrics,
        health: Health,
        stop: Stop,
    ) -> Result<Arc<Self>, SinkError> {
        let mut outputs = Vec::new();
        let positions = Arc::new(Positions::new(destination.hold_until_committed));
        let mut keeper = None;
        if let Some((folder, layer)) = destination.folder {
            let files = EventsFile::create(Arc::clone(&layer), &folder, destination.rotate, Arc::clone(&positions));
            let files = files.map_err(|source| SinkError::Create { folder: folder.clone(), source })?;
            outputs.push(Output::Files(Box::new(files)));
            let pulse = health.add_thread(KEEPER_NAME);
            let held = destination.hold_until_committed;
            let started = Keeper::start_holding(layer, KEEPER_NAME, &folder, destination.keep, pulse, held);
            keeper = Some(started.map_err(|source| SinkError::Thread { source })?);
        }
        let (buffer, path, failure) = Default::default();
        let middleware = Chain::new(destination.middleware);
        let shared = Arc::new(Shared { middleware, buffer, positions, keeper, path, failure });
        outputs.extend(destination.stdout.map(Output::pipe));
        let pulse = health.add_thread(THREAD_NAME);
        let writing = Writing { shared: Arc::clone(&shared), outputs, position: 0, pace, metrics, health, stop, pulse };
        writing.tell_path();
        let thread = Joined::spawn(THREAD_NAME, move || writing.run()).map_err(|source| SinkError::Thread { source })?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Whether any middleware needs whole objects.
    pub fn wants_objects(&self) -> bool {
        self.shared.middleware.wants_objects()
    }

    /// The file that is written now; `None` where lines go to standard output alone.
    pub fn path(&self) -> Option<PathBuf> {
        lock(&self.shared.path).clone()
    }

    /// Takes what ended the writer before it was stopped, for the exit code.
    pub fn failure(&self) -> Option<SinkError> {
        lock(&self.shared.failure).take()
    }

    /// How far the writing is: every line before it is written, and its event completed.
    pub fn position(&self) -> Position {
        self.shared.positions.written()
    }

    /// Where the lines of a [`position`](Self::position) are; `None` where lines go to standard output alone.
    ///
    /// Ask after the [`sync`](Self::sync) of what was written there: what a disk fails to take is moved to another file.
    pub fn locate(&self, position: Position) -> Option<FilePosition> {
        self.shared.positions.locate(position)
    }

    /// Says that all lines before `place` are remembered elsewhere: nobody asks for a position before it any more, and closed
    /// files before it may be compressed and removed.
    pub fn committed(&self, place: &FilePosition) {
        if let Some(first) = FileName::parse(&place.file) {
            self.shared.positions.forget_before(&first);
            self.shared.keeper.iter().for_each(|keeper| keeper.may_touch(first));
        }
    }

    /// Writes and syncs everything taken so far. Returns whether that was done.
    ///
    /// What is taken meanwhile does not put it off.
    ///
    /// # Blocking
    ///
    /// For as long as the disk takes, `limit` at most.
    pub fn sync(&self, limit: Duration) -> bool {
        self.shared.buffer.sync(limit)
    }

    /// Writes and syncs everything taken so far, and ends. What cannot be written by `deadline` stays unacknowledged; of that
    /// no torn line is left. Whoever waits for room is sent away. Returns whether everything was written and synced.
    ///
    /// # Blocking
    ///
    /// Until `deadline` at most, and a moment for the thread to end.
    pub fn stop(&self, deadline: Instant) -> bool {
        self.shared.buffer.stop(deadline);
        let thread = lock(&self.thread).take();
        let Some(thread) = thread else { return true };
        let ended = thread.join_until(deadline.max(Instant::now() + END_LIMIT));
        if !ended {
            log::warn!("{THREAD_NAME}: a write does not return, left alone");
        }
        self.shared.keeper.iter().for_each(Keeper::stop);
        ended && self.shared.buffer.ended_clean()
    }
}

const THREAD_NAME: &str = "json-writer";
const KEEPER_NAME: &str = "json-keeper";

/// How long the thread gets to make its last attempt.
const END_LIMIT: Duration = Duration::from_millis(500);

impl Export for Writer {
    fn export(&self, event: &MatchedEvent, completion: Completion) {
        if self.shared.middleware.is_empty() {
            self.shared.buffer.append(event, None, completion);
        } else {
            self.shared.export_changed(event, completion);
        }
    }

    fn flush(&self) {
        self.shared.buffer.flush();
    }
}

impl Shared {
    /// Appends what middleware makes of `event`.
    fn export_changed(&self, event: &MatchedEvent, completion: Completion) {
        let Some(record) = self.middleware.process(event, completion.metrics()) else {
            return self.drop_record(event, completion);
        };
        self.buffer.append(event, Some(&record), completion);
        self.middleware.give_back(record);
    }

    /// Completes an event without a line.
    ///
    /// The next line of its watch is marked, and must be read back after a crash for as long as this event is not in the prefix:
    /// so it counts as written before that line, and is complete before that line can be appended.
    fn drop_record(&self, event: &MatchedEvent, completion: Completion) {
        let before = self.positions.written();
        Completion::complete_all([completion], Some(before.0));
        self.buffer.mark_dropped(event.watch.id);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
