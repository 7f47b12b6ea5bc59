//! The one thread that writes lines, and the handle by which workers and controller reach it.
//!
//! Takes whole batches from the buffer, writes each to every output, and completes its events when all outputs have it.

use super::batch::{Batch, Buffer, Order};
use super::events_file::EventsFile;
use super::middleware::{Chain, JsonMiddleware};
use super::output::{self, Fault, Output};
use super::positions::{Position, Positions};
use crate::api::FilePosition;
use crate::config::RotateConfig;
use crate::dispatch::{Completion, Export};
use crate::event::MatchedEvent;
use crate::files::{Disk, FileName, Keeper, Keeping, Layer};
use crate::health::{Health, Pulse};
use crate::lifecycle::{Joined, Stop};
use crate::metrics::Metrics;
use std::io::{self, Write};
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

/// What a sink cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// No events file can be made.
    #[error("cannot create an events file in {}; make it writable for the user that runs faro, or choose another output_dir", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Standard output was closed by whoever read it.
    #[error("cannot write events to standard output; its reader must live as long as faro does")]
    StandardOutput {
        /// What the operating system says.
        source: io::Error,
    },
    /// A disk failed to keep lines that it had taken.
    #[error("cannot tell which lines of {} are on the disk, because it failed and they cannot be read back; start faro again: what its checkpoint does not hold is told again", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// Why they cannot be read back.
        source: io::Error,
    },
    /// What an earlier run wrote cannot be read back.
    #[error("cannot go on from the events in {}; make them readable and writable for the user that runs faro", path.display())]
    Recover {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The writing thread cannot be started.
    #[error("cannot start the thread that writes events")]
    Thread {
        /// What the operating system says.
        source: io::Error,
    },
}

/// The sink: an [`Export`] that writes a JSON line an event.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<Joined>>,
}

#[derive(Debug)]
struct Shared {
    middleware: Chain,
    buffer: Buffer,
    positions: Arc<Positions>,
    /// Where there are files.
    keeper: Option<Keeper>,
    path: Mutex<Option<PathBuf>>,
    failure: Mutex<Option<SinkError>>,
}

/// Waits between attempts to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) max: Duration,
}

/// A short stutter passes unseen; a full disk is looked at every two seconds.
const PACE: Pace = Pace { first: Duration::from_millis(50), max: Duration::from_secs(2) };

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
            Some(output::open_standard_output().map_err(|source| SinkError::StandardOutput { source })?)
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

/// Why something was not done, and will not be.
enum Failure {
    TimeIsUp,
    /// Standard output.
    Broken(io::Error),
    /// A file.
    Lost(PathBuf, io::Error),
}

/// The writing thread.
struct Writing {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
    /// Where the next batch begins.
    position: u64,
    pace: Pace,
    metrics: Metrics,
    health: Health,
    stop: Stop,
    pulse: Pulse,
}

impl Writing {
    fn run(mut self) {
        let mut batch = Batch::default();
        let is_clean = loop {
            let due = self.outputs.iter().find_map(Output::due);
            self.pulse.waiting();
            let order = self.shared.buffer.take(&mut batch, due);
            self.pulse.working();
            let written = match order {
                Order::Write => {
                    let written = self.write(&mut batch);
                    self.shared.buffer.gather();
                    written
                }
                Order::Sync(asked) => {
                    let synced = self.persist(Output::sync);
                    if synced {
                        self.shared.buffer.synced(asked);
                    }
                    synced
                }
                Order::Due => {
                    let rotated = self.persist(Output::rotate_old);
                    self.tell_path();
                    rotated
                }
                Order::End => break self.persist(Output::sync),
            };
            if !written {
                break false;
            }
        };
        drop(self.shared.buffer.end(is_clean));
        self.pulse.ended();
    }

    /// Writes `batch` to every output and completes its events. Returns false when it had to give up.
    fn write(&mut self, batch: &mut Batch) -> bool {
        self.outputs.iter_mut().for_each(Output::next_batch);
        let bytes = std::mem::take(&mut batch.bytes);
        let written = self.persist(|output| output.write_rest(&bytes));
        let lines = if written { batch.completions.len() } else { self.give_up(&bytes) };
        let counted = if written { bytes.len() } else { 0 };
        self.metrics.written(lines as u64, counted as u64);
        Completion::complete_all(batch.completions.drain(..lines), Some(self.position));
        self.position += counted as u64;
        self.shared.positions.publish(self.position);
        self.tell_path();
        batch.bytes = bytes;
        batch.clear();
        written
    }

    /// Keeps the whole lines that were written when time was up; how many they are is for the first output to say.
    fn give_up(&mut self, bytes: &[u8]) -> usize {
        let mut lines = self.outputs.iter_mut().map(|output| {
            output.give_up(bytes).unwrap_or_else(|error| {
                log::error!(cause = error.to_string().as_str(); "cannot cut the torn line at the end of {}", output.name());
                0
            })
        });
        let first = lines.next().unwrap_or_default();
        lines.for_each(drop);
        first
    }

    /// Does `work` on each output until it succeeds. Returns false when time is up, or nothing more can be written. Meanwhile the
    /// thread waits for the disk.
    fn persist(&mut self, work: impl FnMut(&mut Output) -> Result<(), Fault>) -> bool {
        self.pulse.waiting();
        let persisted = self.persist_all(work);
        self.pulse.working();
        persisted
    }

    fn persist_all(&mut self, mut work: impl FnMut(&mut Output) -> Result<(), Fault>) -> bool {
        let mut index = 0;
        while index < self.outputs.len() {
            match self.persist_one(index, &mut work) {
                Ok(()) => index += 1,
                Err(Failure::TimeIsUp) => return false,
                Err(Failure::Broken(source)) => {
                    self.outputs.remove(index);
                    self.fail(SinkError::StandardOutput { source });
                }
                Err(Failure::Lost(path, source)) => {
                    // Without the files no line may count as written.
                    self.outputs.clear();
                    self.fail(SinkError::Lost { path, source });
                }
            }
        }
        !self.outputs.is_empty()
    }

    /// Tries until it works.
    fn persist_one(&mut self, index: usize, work: &mut impl FnMut(&mut Output) -> Result<(), Fault>) -> Result<(), Failure> {
        let (mut pause, mut failing_since) = (self.pace.first, None);
        loop {
            let output = &mut self.outputs[index];
            match work(output) {
                Ok(()) => {
                    if let Some(since) = failing_since {
                        self.recovered(index, since);
                    }
                    return Ok(());
                }
                Err(Fault::Broken(error)) => return Err(Failure::Broken(error)),
                Err(Fault::Lost(error)) => {
                    return Err(Failure::Lost(output.path().map(ToOwned::to_owned).unwrap_or_default(), error));
                }
                Err(Fault::Passing(error)) if failing_since.is_none() => {
                    failing_since = Some(Instant::now());
                    self.health.sink_failed(format!("cannot write to {}: {error}", output.name()));
                    log::error!(cause = error.to_string().as_str(); "cannot write to {}; events wait until it works again", output.name());
                }
                Err(Fault::Passing(_)) => {}
            }
            if !self.shared.buffer.wait_to_retry(pause) {
                log::error!("{}: time is up, what was not written stays unacknowledged", self.outputs[index].name());
                return Err(Failure::TimeIsUp);
            }
            pause = self.pace.max.min(pause * 2);
        }
    }

    fn recovered(&self, index: usize, since: Instant) {
        self.health.sink_ok();
        self.tell_path();
        log::info!("writing to {} again, after {:.1?}", self.outputs[index].name(), since.elapsed());
    }

    /// Nothing that could be tried again: ends the program in order.
    fn fail(&self, error: SinkError) {
        self.health.sink_failed(error.to_string());
        lock(&self.shared.failure).get_or_insert(error);
        self.stop.request();
    }

    fn tell_path(&self) {
        let path = self.outputs.iter().find_map(Output::path);
        let mut told = lock(&self.shared.path);
        if told.as_deref() != path {
            *told = path.map(ToOwned::to_owned);
            self.shared.keeper.iter().for_each(Keeper::wake);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
