//! The thread that writes lines.
//!
//! Takes whole batches from the buffer, writes each to every output, and completes its events when all outputs have it. What
//! fails and may pass is tried again until time is up; what cannot pass ends the program in order.

use super::SinkError;
use super::batch::{Batch, Order};
use super::output::{Fault, Output};
use super::writer::{Shared, lock};
use crate::dispatch::Completion;
use crate::files::Keeper;
use crate::health::{Health, Pulse};
use crate::lifecycle::Stop;
use crate::metrics::Metrics;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits between attempts to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) max: Duration,
}

/// A short stutter passes unseen; a full disk is looked at every two seconds.
pub(super) const PACE: Pace = Pace { first: Duration::from_millis(50), max: Duration::from_secs(2) };

/// The writing thread.
pub(super) struct Writing {
    pub(super) shared: Arc<Shared>,
    pub(super) outputs: Vec<Output>,
    /// Where the next batch begins.
    pub(super) position: u64,
    pub(super) pace: Pace,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) stop: Stop,
    pub(super) pulse: Pulse,
}

/// Why something was not done, and will not be.
enum Failure {
    TimeIsUp,
    /// Standard output.
    Broken(io::Error),
    /// A file.
    Lost(PathBuf, io::Error),
}

impl Writing {
    /// Writes until it is told to end, or has to give up.
    pub(super) fn run(mut self) {
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

    /// Notes which file is written now.
    pub(super) fn tell_path(&self) {
        let path = self.outputs.iter().find_map(Output::path);
        let mut told = lock(&self.shared.path);
        if told.as_deref() != path {
            *told = path.map(ToOwned::to_owned);
            self.shared.keeper.iter().for_each(Keeper::wake);
        }
    }
}
