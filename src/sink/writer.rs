//! The one thread that writes lines, and the handle by which workers and controller reach it.
//!
//! Takes whole batches from the buffer, writes each to every output, and completes its events when all outputs have it.

use super::batch::{Batch, Buffer, Order};
use super::file::{Disk, Layer, OutputFile, StandardOutput};
use super::output::{Fault, Output};
use crate::dispatch::{Completion, Export};
use crate::event::MatchedEvent;
use crate::health::{Health, Pulse};
use crate::lifecycle::{Joined, Stop};
use crate::metrics::Metrics;
use std::io;
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

#[derive(Debug, Default)]
struct Shared {
    buffer: Buffer,
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
    pub(super) folder: Option<(PathBuf, Box<dyn Layer>)>,
    pub(super) stdout: Option<Box<dyn OutputFile>>,
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
            let stdout = StandardOutput::open().map_err(|source| SinkError::StandardOutput { source })?;
            Some(Box::new(stdout) as Box<dyn OutputFile>)
        } else {
            None
        };
        let folder = settings.folder.map(|folder| (folder, Box::new(Disk) as Box<dyn Layer>));
        Self::open_on(Destination { folder, stdout }, PACE, metrics, health, stop)
    }

    pub(super) fn open_on(
        destination: Destination,
        pace: Pace,
        metrics: Metrics,
        health: Health,
        stop: Stop,
    ) -> Result<Arc<Self>, SinkError> {
        let mut outputs = Vec::new();
        if let Some((folder, layer)) = destination.folder {
            outputs.push(Output::file(layer, &folder).map_err(|source| SinkError::Create { folder, source })?);
        }
        outputs.extend(destination.stdout.map(Output::standard_output));
        let shared = Arc::new(Shared::default());
        let pulse = health.add_thread(THREAD_NAME);
        let writing = Writing { shared: Arc::clone(&shared), outputs, pace, metrics, health, stop, pulse };
        writing.tell_path();
        let thread = Joined::spawn(THREAD_NAME, move || writing.run()).map_err(|source| SinkError::Thread { source })?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// The file that is written now; `None` where lines go to standard output alone.
    pub fn path(&self) -> Option<PathBuf> {
        lock(&self.shared.path).clone()
    }

    /// Takes what ended the writer before it was stopped, for the exit code.
    pub fn failure(&self) -> Option<SinkError> {
        lock(&self.shared.failure).take()
    }

    /// Writes and syncs everything taken so far. Returns whether that was done.
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
        ended && self.shared.buffer.ended_clean()
    }
}

const THREAD_NAME: &str = "json-writer";

/// How long the thread gets to make its last attempt.
const END_LIMIT: Duration = Duration::from_millis(500);

impl Export for Writer {
    fn export(&self, event: &MatchedEvent, completion: Completion) {
        self.shared.buffer.append(event, completion);
    }

    fn flush(&self) {
        self.shared.buffer.flush();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

/// The writing thread.
struct Writing {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
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
            let written = match self.shared.buffer.take(&mut batch) {
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
        Completion::complete_all(batch.completions.drain(..lines), None);
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

    /// Does `work` on each output until it succeeds. Returns false when time is up or no output is left.
    fn persist(&mut self, mut work: impl FnMut(&mut Output) -> Result<(), Fault>) -> bool {
        let mut index = 0;
        while index < self.outputs.len() {
            match self.persist_one(index, &mut work) {
                Ok(()) => index += 1,
                Err(None) => return false,
                Err(Some(broken)) => {
                    self.outputs.remove(index);
                    self.fail(SinkError::StandardOutput { source: broken });
                }
            }
        }
        !self.outputs.is_empty()
    }

    /// Tries until it works. The error is what broke the output for good; `None` when time is up.
    fn persist_one(
        &mut self,
        index: usize,
        work: &mut impl FnMut(&mut Output) -> Result<(), Fault>,
    ) -> Result<(), Option<io::Error>> {
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
                Err(Fault::Broken(error)) => return Err(Some(error)),
                Err(Fault::Passing(error)) if failing_since.is_none() => {
                    failing_since = Some(Instant::now());
                    self.health.sink_failed(format!("cannot write to {}: {error}", output.name()));
                    log::error!(cause = error.to_string().as_str(); "cannot write to {}; events wait until it works again", output.name());
                }
                Err(Fault::Passing(_)) => {}
            }
            if !self.shared.buffer.wait_to_retry(pause) {
                log::error!("{}: time is up, what was not written stays unacknowledged", self.outputs[index].name());
                return Err(None);
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
        *lock(&self.shared.path) = self.outputs.iter().find_map(Output::path).map(ToOwned::to_owned);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
