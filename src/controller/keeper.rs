//! The checkpoint thread: takes what every watch has come to, waits until the lines of that are on the disk, and commits both.
//!
//! Takes the progress of each [`Ledger`] and the position of the [`Writer`]; gives them to the [`StateStore`] in one commit: at
//! most one a second, but for many changes ([`CHANGES_DUE`](crate::dispatch::CHANGES_DUE)), the end of a list, and the end. A disk that takes
//! nothing is waited for; what is committed then is committed late, and never in part.

#[cfg(test)]
#[cfg(feature = "state")]
mod tests;

use super::ControllerError;
use super::recovery::Recovery;
use crate::api::{Change, FilePosition, Identity, Keyer, TextKey, Watch, WatchId};
use crate::chain::chain;
use crate::checkpoint::{Commit, Progress, StateError, StateStore, WatchCommit};
use crate::dispatch::{Accepted, Backlog, Dispatcher, LaneOutlet, Ledger, Recorder, Resumed};
use crate::event::Emission;
use crate::health::{Health, Pulse};
use crate::informer::Recall;
use crate::lifecycle::{Joined, Stop};
use crate::metrics::{Metrics, WatchMetrics};
use crate::sink::{Position, Writer};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The checkpoint thread, and the watches whose progress it stores.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    keyer: Keyer,
    orders: Sender<Order>,
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
    /// Where what is handed to handlers is written down.
    pub(super) recorder: Arc<Recorder>,
    /// The names of the subscriptions, in the order of their bits.
    pub(super) subscriptions: Vec<String>,
    /// What earlier runs have handed out beyond the checkpoints.
    pub(super) emissions: HashMap<WatchId, Vec<Emission>>,
}

#[derive(Default)]
struct Shared {
    watches: Mutex<Vec<Kept>>,
    /// A watch that has ended was taken for the last time.
    taken: Condvar,
    backlog: Arc<Backlog>,
    failure: Mutex<Option<StateError>>,
    /// What was handed out beyond the checkpoints of watches that are not at work.
    emissions: Mutex<HashMap<WatchId, Vec<Emission>>>,
}

/// A watch, and what of it was last taken.
struct Kept {
    watch: Arc<Watch>,
    ledger: Arc<Ledger>,
    taken: Accepted,
    /// Nothing more is handed over: once what was is settled, it is taken for the last time.
    ended: bool,
}

enum Order {
    /// Give what is stored of these watches.
    Load(Vec<WatchId>, Reply),
    /// Give what is remembered of these objects of a watch.
    Recall(WatchId, Vec<TextKey>, Sender<Vec<Identity>>),
    /// A watch has ended.
    Look,
    /// Commit once more, trying until then, and end.
    Stop(Instant),
}

/// Asks the thread for what is remembered of one watch.
struct Recalling {
    watch: WatchId,
    orders: Sender<Order>,
}

impl Recall for Recalling {
    fn recall(&self, keys: &[TextKey]) -> Option<Vec<Identity>> {
        let (reply, answer) = bounded(1);
        let order = Order::Recall(self.watch, keys.to_vec(), reply);
        self.orders.send_timeout(order, RECALL_LIMIT).ok()?;
        answer.recv_timeout(RECALL_LIMIT).ok()
    }
}

/// What was found of the objects that somebody asks for.
struct Recalled {
    keyer: Keyer,
    wanted: HashSet<TextKey>,
    found: Vec<Identity>,
}

impl Recalled {
    fn new(keyer: Keyer, keys: &[TextKey]) -> Self {
        Self { keyer, wanted: keys.iter().copied().collect(), found: Vec::new() }
    }

    /// Takes the next older change: of each object the newest one counts.
    fn look(&mut self, change: &Change) {
        match change {
            Change::Known(identity) => {
                if self.wanted.remove(&self.keyer.key(identity.key())) {
                    self.found.push(identity.clone());
                }
            }
            Change::Gone(key) => drop(self.wanted.remove(&self.keyer.key(key))),
            Change::Told(_) | Change::Replayed(_) => {}
        }
    }

    /// Those of which nothing was found; `None` where it was of all.
    fn left(&self) -> Option<Vec<TextKey>> {
        (!self.wanted.is_empty()).then(|| self.wanted.iter().copied().collect())
    }
}

/// How long one attempt to recall takes at most: whoever asks looks for a stop between two.
const RECALL_LIMIT: Duration = Duration::from_millis(500);

type Reply = Sender<Result<HashMap<WatchId, Progress>, StateError>>;

/// At least so long between two commits, but for many changes: what a crash costs is one second's replay.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// New versions alone, as bookmarks bring them, wait so long: they only save a replay of what is known anyway.
const VERSIONS_INTERVAL: Duration = Duration::from_secs(10);

/// Between attempts while the disk takes nothing.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long the last commit gets beyond the time for it, as a write that is under way cannot be ended.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Orders that wait: one of each thread that adds or removes watches at once, and a few more.
const ORDERS_MAX: usize = 16;

/// How long what is stored of a watch is waited for, while a disk may be slow.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// Each reads the whole file, but holds no other watch in memory; more are read at once.
const LOADED_ONE_BY_ONE_MAX: usize = 4;

/// How often a watch that has ended is looked at until its last event is settled.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const THREAD_NAME: &str = "checkpoint";

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(store: StateStore, mut surroundings: Surroundings) -> io::Result<Self> {
        let emissions = Mutex::new(mem::take(&mut surroundings.emissions));
        let shared = Arc::new(Shared { emissions, ..Shared::default() });
        let (orders, received) = bounded(ORDERS_MAX);
        surroundings.metrics.checkpointed(false);
        let keyer = store.keyer().clone();
        let keeping = Keeping::new(store, surroundings, Arc::clone(&shared), received);
        let thread = Joined::spawn(THREAD_NAME, move || keeping.run())?;
        Ok(Self { shared, keyer, orders, thread: Mutex::new(Some(thread)) })
    }

    /// Takes what was handed out of a watch beyond its checkpoint: whoever makes its [outlet](Self::outlet) goes on with that.
    pub(super) fn take_emissions(&self, watch: WatchId) -> Vec<Emission> {
        self.shared.emissions().remove(&watch).unwrap_or_default()
    }

    /// Who remembers the objects of a watch whose events leave by its [outlet](Self::outlet), and by which keys.
    pub(super) fn recalling(&self, watch: WatchId) -> (Keyer, Arc<dyn Recall>) {
        (self.keyer.clone(), Arc::new(Recalling { watch, orders: self.orders.clone() }))
    }

    /// The outlet of a watch that goes on from `resumed`; its progress is stored from now on.
    pub(super) fn outlet(
        &self,
        dispatcher: &Dispatcher,
        watch: &Arc<Watch>,
        metrics: WatchMetrics,
        resumed: Resumed,
    ) -> io::Result<LaneOutlet> {
        let (backlog, accepted) = (Arc::clone(&self.shared.backlog), resumed.accepted.clone());
        let outlet = dispatcher.resumed_outlet(Arc::clone(watch), metrics, resumed, backlog)?;
        let (watch, ledger) = (Arc::clone(watch), Arc::clone(outlet.ledger()));
        self.shared.watches().push(Kept { watch, ledger, taken: accepted, ended: false });
        Ok(outlet)
    }

    /// What is stored of watches, or was accepted of them and is to be stored.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or its disk takes nothing.
    pub(super) fn load(&self, ids: Vec<WatchId>) -> Result<HashMap<WatchId, Progress>, ControllerError> {
        let (reply, answer) = bounded(1);
        // A thread that has ended takes no orders, and gives no answer.
        _ = self.orders.send_timeout(Order::Load(ids, reply), LOAD_LIMIT);
        match answer.recv_timeout(LOAD_LIMIT) {
            Ok(loaded) => Ok(loaded?),
            Err(_) => Err(ControllerError::StateBusy),
        }
    }

    /// Stores what of an ended watch was accepted, and then forgets it here; its state stays. Returns at `deadline` at the
    /// latest, also when some of its events are still being written.
    pub(super) fn remove(&self, ledger: &Arc<Ledger>, deadline: Instant) {
        let is_this = |kept: &Kept| Arc::ptr_eq(&kept.ledger, ledger);
        let mut watches = self.shared.watches();
        watches.iter_mut().filter(|kept| is_this(kept)).for_each(|kept| kept.ended = true);
        while watches.iter().any(is_this) && Instant::now() < deadline {
            // Full means that it looks soon.
            _ = self.orders.try_send(Order::Look);
            (watches, _) = self.shared.taken.wait_timeout(watches, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets what ended the thread before it was stopped, and gives it.
    pub(super) fn failure(&self) -> Option<StateError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Commits once more, and ends. Call it when nothing more is accepted, and while the writer still runs.
    pub(super) fn stop(&self, deadline: Instant) {
        // A thread that has ended by itself takes no orders.
        _ = self.orders.send_timeout(Order::Stop(deadline), END_LIMIT);
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

    /// The watches of which what was handed out counts, whether or not they are stored.
    fn unforgotten(&self) -> HashSet<WatchId> {
        let at_work: Vec<WatchId> = self.watches().iter().map(|kept| kept.watch.id).collect();
        self.emissions().keys().copied().chain(at_work).collect()
    }

    fn emissions(&self) -> MutexGuard<'_, HashMap<WatchId, Vec<Emission>>> {
        self.emissions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Keeping {
    store: StateStore,
    surroundings: Surroundings,
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    pulse: Pulse,
    /// What was taken and is not committed.
    due: BTreeMap<WatchId, WatchCommit>,
    /// What is being committed.
    committing: Option<Arc<Commit>>,
    /// The first number of each watch that no checkpoint holds.
    sequences: HashMap<WatchId, u64>,
    /// Every line before this position is of an event whose change was taken.
    safe: Option<Position>,
    /// Where that was in the files when it was last committed.
    placed: Option<FilePosition>,
    committed: Instant,
    /// Set once: until when to go on trying.
    deadline: Option<Instant>,
}

impl Keeping {
    fn new(store: StateStore, surroundings: Surroundings, shared: Arc<Shared>, orders: Receiver<Order>) -> Self {
        let pulse = surroundings.health.add_thread(THREAD_NAME);
        let committed = Instant::now();
        let (due, committing, safe, placed, deadline) = Default::default();
        let stored = store.watches().unwrap_or_default();
        let sequences = stored.iter().map(|watch| (watch.id, watch.sequence)).collect();
        Self { store, surroundings, shared, orders, pulse, due, committing, sequences, safe, placed, committed, deadline }
    }

    fn run(mut self) {
        let mut is_last = false;
        while !is_last {
            // A stop may have come while a disk was waited for.
            if self.deadline.is_none() {
                self.wait_until_due();
            }
            is_last = self.deadline.is_some();
            let has_list_ended = self.take();
            if (has_list_ended || is_last) && !self.take_place() {
                break;
            }
            // A state that was removed is made again now, also when nothing else is to be committed.
            let is_in_place = self.store.check().is_ok();
            if is_in_place && let Err(error) = self.surroundings.recorder.restore() {
                log::warn!("{}; tried again in a second", chain(&error));
            }
            if is_in_place && self.due.is_empty() && !(is_last && self.has_moved()) {
                self.surroundings.metrics.checkpointed(false);
            } else if (!is_in_place || self.is_worth_a_commit()) && !self.checkpoint() {
                break;
            }
        }
        self.pulse.ended();
    }

    /// Waits for a second, for many changes, or for the end.
    fn wait_until_due(&mut self) {
        let until = Instant::now() + COMMIT_INTERVAL;
        loop {
            select! {
                recv(self.shared.backlog.due()) -> _ => {}
                recv(self.orders) -> order => match order {
                    Ok(Order::Stop(deadline)) => self.deadline = Some(deadline),
                    Ok(Order::Load(ids, reply)) => self.load(&ids, &reply),
                    Ok(Order::Recall(watch, keys, reply)) => {
                        self.recall(watch, &keys, &reply);
                        // A list may recall thousands, and each is no reason for a commit.
                        if Instant::now() < until {
                            continue;
                        }
                    }
                    Ok(Order::Look) => {}
                    // Nobody is left to say until when.
                    Err(_) => self.deadline = Some(Instant::now()),
                },
                default(until.saturating_duration_since(Instant::now())) => {}
            }
            return;
        }
    }

    /// Gives what is remembered of objects: by their events that are not taken yet, then by what was taken and is not committed, then
    /// by the state. Without an answer whoever asks asks again.
    fn recall(&mut self, watch: WatchId, keys: &[TextKey], reply: &Sender<Vec<Identity>>) {
        let mut recalled = Recalled::new(self.store.keyer().clone(), keys);
        let ledgers: Vec<Arc<Ledger>> = {
            let watches = self.shared.watches();
            let of_watch = watches.iter().rev().filter(|kept| kept.watch.id == watch);
            of_watch.map(|kept| Arc::clone(&kept.ledger)).collect()
        };
        ledgers.iter().for_each(|ledger| ledger.look_at_changes(|change| recalled.look(change)));
        let committing = self.committing.iter().flat_map(|commit| &commit.watches);
        for commit in self.due.get(&watch).into_iter().chain(committing.filter(|commit| commit.id == watch)) {
            commit.changes.iter().rev().for_each(|change| recalled.look(change));
        }
        if let Some(left) = recalled.left() {
            match self.store.open_again().and_then(|()| self.store.identities(watch, &left)) {
                Ok(stored) => recalled.found.extend(stored),
                Err(error) => return log::warn!("{}; what is gone is told when it can be read", chain(&error)),
            }
        }
        _ = reply.send(recalled.found);
    }

    /// Gives what is stored, once everything is. Without an answer whoever asked is told that it cannot be now.
    fn load(&mut self, ids: &[WatchId], reply: &Reply) {
        self.take();
        let is_ending = self.shared.watches().iter().any(|kept| ids.contains(&kept.watch.id));
        if !is_ending && (self.due.is_empty() || self.checkpoint()) {
            _ = reply.send(self.stored(ids));
        }
    }

    fn stored(&self, ids: &[WatchId]) -> Result<HashMap<WatchId, Progress>, StateError> {
        if ids.len() > LOADED_ONE_BY_ONE_MAX {
            let mut all = self.store.load_all()?;
            all.retain(|id, _| ids.contains(id));
            return Ok(all);
        }
        ids.iter().filter_map(|id| self.store.load(*id).map(|progress| Some((*id, progress?))).transpose()).collect()
    }

    /// Takes what every watch has come to. The position is read first: what is written before it was accepted before. Returns
    /// whether a list has ended since the last time.
    fn take(&mut self) -> bool {
        self.pulse.working();
        self.safe = self.surroundings.writer.as_ref().map(|writer| writer.position());
        let shared = Arc::clone(&self.shared);
        let mut has_list_ended = false;
        shared.watches().retain_mut(|kept| {
            let is_over = kept.ended && kept.ledger.is_settled();
            has_list_ended |= self.take_one(kept, is_over);
            !is_over
        });
        shared.taken.notify_all();
        self.pulse.waiting();
        has_list_ended
    }

    /// Takes once more, when the position is behind the lines of what was taken: the writer moves it after their events are
    /// accepted. Lines of a list that are behind the position would have it compared again. Returns false when it had to give up.
    fn take_place(&mut self) -> bool {
        let Some(writer) = self.surroundings.writer.clone() else { return true };
        let is_synced = self.sync(&writer);
        if is_synced {
            self.take();
        }
        is_synced
    }

    /// Whether more lines are safe than was last committed.
    fn has_moved(&self) -> bool {
        self.place() != self.placed
    }

    fn place(&self) -> Option<FilePosition> {
        self.surroundings.writer.as_ref().zip(self.safe).and_then(|(writer, safe)| writer.locate(safe))
    }

    /// Returns whether a list has ended.
    fn take_one(&mut self, kept: &mut Kept, is_over: bool) -> bool {
        let progress = if is_over { kept.ledger.last_progress() } else { kept.ledger.progress() };
        if is_over {
            self.keep_emissions(kept.watch.id, progress.sequence);
        }
        if let (Some(safe), Some(beyond)) = (&mut self.safe, progress.written_beyond) {
            *safe = Position(beyond).min(*safe);
        }
        if progress.changes.is_empty() && !progress.listed && progress.accepted == kept.taken {
            return false;
        }
        let has_list_ended = !progress.accepted.listing && (progress.listed || kept.taken.listing);
        let due = self.due.entry(kept.watch.id).or_insert_with(|| WatchCommit::of(&kept.watch));
        due.version.clone_from(&progress.accepted.version);
        due.listing = progress.accepted.listing;
        due.anchor.clone_from(&progress.accepted.anchor);
        due.history = progress.accepted.history;
        due.sequence = progress.sequence;
        due.clear_told |= progress.listed;
        due.changes.extend(progress.changes);
        kept.taken = progress.accepted;
        has_list_ended
    }

    /// What was handed out of a watch that has ended, and is not in its checkpoint, is for whoever watches it again.
    fn keep_emissions(&self, watch: WatchId, sequence: u64) {
        let mut recovery = Recovery::new(self.surroundings.subscriptions.clone(), self.surroundings.writer.is_some());
        if let Err(error) = self.surroundings.recorder.read(|record| recovery.record(record)) {
            return log::warn!("{}; what was handed out of a removed watch is read at the next start", chain(&error));
        }
        let mut found = recovery.into_emissions().remove(&watch).unwrap_or_default();
        found.retain(|emission| emission.sequence >= sequence);
        self.shared.emissions().insert(watch, found);
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
        let position = self.place();
        let watches = mem::take(&mut self.due).into_values().collect();
        let commit = Arc::new(Commit { cluster: None, position, watches });
        self.committing = Some(Arc::clone(&commit));
        let is_committed = self.commit(&commit);
        self.committing = None;
        if !is_committed {
            return false;
        }
        self.committed = Instant::now();
        self.surroundings.metrics.checkpointed(true);
        self.surroundings.metrics.state_bytes(self.store.bytes());
        if let (Some(writer), Some(position)) = (&writer, &commit.position) {
            writer.committed(position);
        }
        self.placed.clone_from(&commit.position);
        self.sequences.extend(commit.watches.iter().map(|watch| (watch.id, watch.sequence)));
        if let Err(error) = self.surroundings.recorder.compact(self.is_beyond_checkpoint()) {
            log::warn!("{}; the journal grows meanwhile", chain(&error));
        }
        true
    }

    /// Whether what the journal says of an event counts: no checkpoint holds it, and its watch was not forgotten.
    fn is_beyond_checkpoint(&self) -> impl Fn(WatchId, u64) -> bool {
        let not_stored = LazyCell::new(|| self.shared.unforgotten());
        move |watch, sequence| match self.sequences.get(&watch) {
            Some(first) => sequence >= *first,
            // Its first commit may be still to come.
            None => not_stored.contains(&watch),
        }
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
            let Err(error) = self.commit_once(commit, failing_since.is_some()) else { break };
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

    /// The journal and what is owed come before the state, also where all were removed: a process that ends between the two would
    /// leave a state that knows nothing of what was handed out beyond it.
    fn commit_once(&mut self, commit: &Commit, is_again: bool) -> Result<(), StateError> {
        // That it was removed is said before it is made again.
        if is_again {
            self.store.reclaim()?;
        } else {
            self.store.check()?;
        }
        self.surroundings.recorder.restore()?;
        // What is owed counts as accepted, so that it must not be lost when a checkpoint holds that.
        self.surroundings.recorder.sync()?;
        self.store.commit(commit)
    }

    /// Lets `pause` pass, or less when there is no more time. Returns whether to try again.
    fn wait_to_retry(&mut self, pause: Duration) -> bool {
        match self.orders.recv_timeout(self.patience(pause)) {
            // A stop that comes while waiting allows one more attempt, however near its deadline.
            Ok(Order::Stop(deadline)) => {
                self.deadline = Some(deadline);
                true
            }
            Ok(Order::Recall(watch, keys, reply)) => {
                self.recall(watch, &keys, &reply);
                true
            }
            // Whoever asks is answered by the end of its question.
            Ok(Order::Load(..) | Order::Look) => true,
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
