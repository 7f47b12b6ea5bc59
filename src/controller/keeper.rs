//! The checkpoint thread: takes what every watch has come to, waits until the lines of that are on the disk, and commits both.
//!
//! Takes the progress of each [`Ledger`] and the position of the [`Writer`]; gives them to the [`StateStore`] in one commit: at
//! most one a second, but for many changes ([`CHANGES_DUE`](crate::dispatch::CHANGES_DUE)), the end of a list, and the end. A disk that takes
//! nothing is waited for; what is committed then is committed late, and never in part.

use crate::api::{Watch, WatchId};
use crate::chain::chain;
use crate::checkpoint::{Commit, StateError, StateStore, WatchCommit};
use crate::dispatch::{Accepted, Backlog, Dispatcher, LaneOutlet, Ledger};
use crate::health::{Health, Pulse};
use crate::lifecycle::{Joined, Stop};
use crate::metrics::{Metrics, WatchMetrics};
use crate::sink::{Position, Writer};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The checkpoint thread, and the watches whose progress it stores.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    stop: Sender<Instant>,
    thread: Mutex<Option<Joined>>,
}

/// What the thread works with, besides the state itself.
pub(super) struct Surroundings {
    /// Where lines are written; `None` where there are no files.
    pub(super) writer: Option<Arc<Writer>>,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    /// Requested when the state fails for good.
    pub(super) stop: Stop,
}

#[derive(Default)]
struct Shared {
    watches: Mutex<Vec<Kept>>,
    backlog: Arc<Backlog>,
    failure: Mutex<Option<StateError>>,
}

/// A watch, and what of it was last taken.
struct Kept {
    watch: Arc<Watch>,
    ledger: Arc<Ledger>,
    taken: Accepted,
}

/// At least so long between two commits, but for many changes: what a crash costs is one second's replay.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// New versions alone, as bookmarks bring them, wait so long: they only save a replay of what is known anyway.
const VERSIONS_INTERVAL: Duration = Duration::from_secs(10);

/// Between attempts while the disk takes nothing.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long the last commit gets beyond the time for it, as a write that is under way cannot be ended.
const END_LIMIT: Duration = Duration::from_millis(500);

const THREAD_NAME: &str = "checkpoint";

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(store: StateStore, surroundings: Surroundings) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = bounded(1);
        let pulse = surroundings.health.add_thread(THREAD_NAME);
        surroundings.metrics.checkpointed(false);
        let keeping = Keeping {
            store,
            surroundings,
            shared: Arc::clone(&shared),
            stop: stopped,
            pulse,
            due: BTreeMap::new(),
            safe: None,
            committed: Instant::now(),
            deadline: None,
        };
        let thread = Joined::spawn(THREAD_NAME, move || keeping.run())?;
        Ok(Self { shared, stop, thread: Mutex::new(Some(thread)) })
    }

    /// The outlet of a watch that goes on from `accepted`; its progress is stored from now on.
    pub(super) fn outlet(
        &self,
        dispatcher: &Dispatcher,
        watch: &Arc<Watch>,
        metrics: WatchMetrics,
        accepted: Accepted,
    ) -> io::Result<LaneOutlet> {
        let backlog = Arc::clone(&self.shared.backlog);
        let outlet = dispatcher.resumed_outlet(Arc::clone(watch), metrics, accepted.clone(), backlog)?;
        let (watch, ledger) = (Arc::clone(watch), Arc::clone(outlet.ledger()));
        self.shared.watches().push(Kept { watch, ledger, taken: accepted });
        Ok(outlet)
    }

    /// Forgets what ended the thread before it was stopped, and gives it.
    pub(super) fn failure(&self) -> Option<StateError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Commits once more, and ends. Call it when nothing more is accepted, and while the writer still runs.
    pub(super) fn stop(&self, deadline: Instant) {
        // A thread that has ended by itself takes no orders.
        _ = self.stop.try_send(deadline);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && !thread.join_until(deadline.max(Instant::now() + END_LIMIT))
        {
            log::warn!("{THREAD_NAME}: a commit does not return, left alone");
        }
    }
}

impl Shared {
    fn watches(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Keeping {
    store: StateStore,
    surroundings: Surroundings,
    shared: Arc<Shared>,
    /// Brings until when to try the last commit.
    stop: Receiver<Instant>,
    pulse: Pulse,
    /// What was taken and is not committed.
    due: BTreeMap<WatchId, WatchCommit>,
    /// Every line before this position is of an event whose change was taken.
    safe: Option<Position>,
    committed: Instant,
    /// Set once: until when to go on trying.
    deadline: Option<Instant>,
}

impl Keeping {
    fn run(mut self) {
        while self.deadline.is_none() {
            self.wait_until_due();
            self.take();
            if self.due.is_empty() {
                self.surroundings.metrics.checkpointed(false);
            } else if self.is_worth_a_commit() && !self.checkpoint() {
                break;
            }
        }
        self.pulse.ended();
    }

    /// Waits for a second, for many changes, or for the end.
    fn wait_until_due(&mut self) {
        select! {
            recv(self.shared.backlog.due()) -> _ => {}
            // Nobody is left to say until when.
            recv(self.stop) -> deadline => self.deadline = Some(deadline.unwrap_or_else(|_| Instant::now())),
            default(COMMIT_INTERVAL) => {}
        }
    }

    /// Takes what every watch has come to. The position is read first: what is written before it was accepted before.
    fn take(&mut self) {
        self.pulse.working();
        self.safe = self.surroundings.writer.as_ref().map(|writer| writer.position());
        let shared = Arc::clone(&self.shared);
        shared.watches().iter_mut().for_each(|kept| self.take_one(kept));
        self.pulse.waiting();
    }

    fn take_one(&mut self, kept: &mut Kept) {
        let progress = kept.ledger.progress();
        if let (Some(safe), Some(beyond)) = (&mut self.safe, progress.written_beyond) {
            *safe = Position(beyond).min(*safe);
        }
        if progress.changes.is_empty() && !progress.listed && progress.accepted == kept.taken {
            return;
        }
        let due = self.due.entry(kept.watch.id).or_insert_with(|| WatchCommit::of(&kept.watch));
        due.version.clone_from(&progress.accepted.version);
        due.listing = progress.accepted.listing;
        due.clear_told |= progress.listed;
        due.changes.extend(progress.changes);
        kept.taken = progress.accepted;
    }

    fn is_worth_a_commit(&self) -> bool {
        let is_more_than_versions = |watch: &WatchCommit| !watch.changes.is_empty() || watch.clear_told;
        let is_late = self.deadline.is_some() || self.committed.elapsed() >= VERSIONS_INTERVAL;
        is_late || self.due.values().any(is_more_than_versions)
    }

    /// Commits what was taken. Returns false when it had to give up.
    fn checkpoint(&mut self) -> bool {
        let writer = self.surroundings.writer.clone();
        if let Some(writer) = &writer
            && !self.sync(writer)
        {
            return false;
        }
        // After the sync: what a disk fails to take is moved to another file.
        let position = writer.as_ref().zip(self.safe).and_then(|(writer, safe)| writer.locate(safe));
        let commit = Commit { cluster: None, position, watches: mem::take(&mut self.due).into_values().collect() };
        if !self.commit(&commit) {
            return false;
        }
        self.committed = Instant::now();
        self.surroundings.metrics.checkpointed(true);
        if let (Some(writer), Some(position)) = (&writer, &commit.position) {
            writer.committed(position);
        }
        true
    }

    /// Waits until what was written is on the disk; the writer tells people when it cannot be.
    fn sync(&mut self, writer: &Writer) -> bool {
        while !writer.sync(self.patience(COMMIT_INTERVAL)) {
            if !self.wait_to_retry(RETRY_FIRST) {
                return false;
            }
        }
        true
    }

    fn commit(&mut self, commit: &Commit) -> bool {
        let (mut pause, mut failing_since) = (RETRY_FIRST, None);
        loop {
            let error = match self.store.commit(commit) {
                Ok(()) => break,
                Err(error) => error,
            };
            if !error.may_pass() {
                self.fail(error);
                return false;
            }
            if failing_since.is_none() {
                failing_since = Some(Instant::now());
                let reason = chain(&error);
                log::error!("{reason}; events go on until too many wait for it");
                self.surroundings.health.state_failed(reason);
            }
            if !self.wait_to_retry(pause) {
                log::error!("the state: time is up, the next start goes on from the last checkpoint");
                return false;
            }
            pause = RETRY_MAX.min(pause * 2);
        }
        if let Some(since) = failing_since {
            self.surroundings.health.state_ok();
            log::info!("the state is written again, after {:.1?}", since.elapsed());
        }
        true
    }

    /// Lets `pause` pass, or less when there is no more time. Returns whether to try again.
    fn wait_to_retry(&mut self, pause: Duration) -> bool {
        match self.stop.recv_timeout(self.patience(pause)) {
            // A stop that comes while waiting allows one more attempt, however near its deadline.
            Ok(deadline) => {
                self.deadline = Some(deadline);
                true
            }
            Err(RecvTimeoutError::Timeout) => self.deadline.is_none_or(|deadline| Instant::now() < deadline),
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    fn patience(&self, pause: Duration) -> Duration {
        self.deadline.map_or(pause, |deadline| pause.min(deadline.saturating_duration_since(Instant::now())))
    }

    /// Nothing that could be tried again: ends the program in order.
    fn fail(&self, error: StateError) {
        self.surroundings.health.state_failed(chain(&error));
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.surroundings.stop.request();
    }
}
