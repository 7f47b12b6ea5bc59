//! What Faro remembers of earlier runs: opens the state, takes in the lines that were written after its last checkpoint, and
//! says where each watch goes on.
//!
//! Takes the [`Config`], the events files and the cluster's identity; gives a [`StateStore`] that is ready for the keeper.

use super::ControllerError;
use super::adding::Remembered;
use super::recovery::Recovery;
use crate::api::{HISTORY_FIRST, Keyer, Known, Watch, WatchId, WatchTarget};
use crate::checkpoint::{ClusterIdentity, Commit, Journal, Progress, Spill, StateError, StateStore, StoredWatch, WatchCommit};
use crate::config::Config;
use crate::dispatch::{Accepted, Recorder, Resumed};
use crate::event::{Emission, EventType};
use crate::informer::{Knowledge, Recall, Resume};
use crate::sink;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The state of earlier runs, before any watch goes on from it.
pub(super) struct Memory {
    store: StateStore,
    stored: Vec<StoredWatch>,
    recorder: Arc<Recorder>,
    /// What was handed out beyond the checkpoint of each watch.
    emissions: HashMap<WatchId, Vec<Emission>>,
}

/// What earlier runs have left to this one.
pub(super) struct Remembering {
    pub(super) store: StateStore,
    /// Where each watch goes on that was ever stored.
    pub(super) progress: HashMap<WatchId, Progress>,
    /// What was handed out beyond the checkpoint of each watch.
    pub(super) emissions: HashMap<WatchId, Vec<Emission>>,
}

/// Why the state is not of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{server} is another cluster than the one that state and events files are of: its kube-system has the uid {found}, and \
     was {known}; give this cluster its own output_dir, or start with --reset-state to begin anew with it"
)]
#[non_exhaustive]
pub struct OtherCluster {
    /// The URL, which is the same.
    pub server: String,
    /// The uid that was stored.
    pub known: String,
    /// The uid of now.
    pub found: String,
}

/// What is stored of a watch that is no longer configured is kept so long, for whoever takes it back.
const UNUSED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Memory {
    /// Opens the state, where one is to be kept; cuts off what a killed run wrote last and did not end.
    /// `subscriptions`: the names of those that this run has, in order.
    pub(super) fn open(config: &Config, subscriptions: &[String]) -> Result<Option<Self>, ControllerError> {
        if !config.state.enabled {
            if config.json_export && cfg!(feature = "export") {
                // No line counts as told, and none stays torn.
                sink::recover(&config.output_dir, None, &mut |_| {})?;
            }
            return Ok(None);
        }
        let mut store = StateStore::open(&config.state.dir)?;
        let mut recovery = Recovery::new(subscriptions.to_owned(), config.json_export || config.json_stdout);
        let journal = Journal::open(&config.state.dir, |record| recovery.record(record))?;
        recovery.leave_beyond(&store.watches()?);
        // Files that were there before the state are never its own, whenever lines begin to be written.
        if config.json_export || store.is_new() {
            let redaction = super::redacting::redaction(config)?;
            super::fold::take_in(&mut store, &config.output_dir, &redaction, &mut recovery)?;
        }
        let stored = store.watches()?;
        let recorder = Recorder::new(journal, Spill::open(&config.state.dir)?);
        recorder.begin(subscriptions)?;
        recovery.warn_of_gone();
        Ok(Some(Self { store, stored, recorder: Arc::new(recorder), emissions: recovery.into_emissions() }))
    }

    /// What is handed to handlers goes here first.
    pub(super) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// By what this cluster is known to the state, from now on: `uid` is that of kube-system, where it can be read.
    pub(super) fn identify(&mut self, uid: Option<String>, server: &str) -> Result<String, ControllerError> {
        let known = self.store.cluster()?;
        let id = match (known.as_ref().filter(|known| known.server == server), uid) {
            (Some(known), Some(found)) if known.id != found && known.id != known.server => {
                return Err(OtherCluster { server: known.server.clone(), known: known.id.clone(), found }.into());
            }
            // Also where it was first known by its URL: its watches keep their names.
            (Some(known), _) => known.id.clone(),
            (None, Some(uid)) => uid,
            (None, None) => server.to_owned(),
        };
        let cluster = ClusterIdentity { id: id.clone(), server: server.to_owned() };
        if known.as_ref() == Some(&cluster) {
            return Ok(id);
        }
        if let Some(other) = known.filter(|known| known.id != id) {
            log::warn!("the state is of the cluster at {}; for {server} everything is told anew", other.server);
        }
        self.store.commit(&Commit { cluster: Some(cluster), ..Commit::default() })?;
        Ok(id)
    }

    /// What earlier runs have watched on this cluster, sorted by what that is. Of a watch of which there were only lines nobody knows.
    pub(super) fn remembered(&self, cluster: &str) -> Vec<Remembered> {
        let now = SystemTime::now();
        let remembered = |watch: &StoredWatch| {
            let target = WatchTarget::from_text(&watch.target)?;
            let is_of_cluster = WatchId::new(cluster, &target) == watch.id;
            (is_of_cluster && !is_forgotten(watch, now)).then_some(Remembered { id: watch.id, target, last_watched: watch.seen })
        };
        let mut all: Vec<_> = self.stored.iter().filter_map(remembered).collect();
        all.sort_by(|one, other| one.target.cmp(&other.target));
        all
    }

    /// What earlier runs have stored: the id of each watch, and its target as text.
    pub(super) fn stored(&self) -> impl Iterator<Item = (WatchId, &str)> {
        self.stored.iter().map(|watch| (watch.id, watch.target.as_str()))
    }

    /// The highest number of a history that any watch has come to.
    pub(super) fn newest_history(&self) -> u32 {
        self.stored.iter().map(|watch| watch.history).max().unwrap_or(HISTORY_FIRST)
    }

    /// Where each of `watches` goes on, and the state itself, in which each is now known.
    pub(super) fn resume(mut self, watches: impl Iterator<Item = Arc<Watch>>) -> Result<Remembering, ControllerError> {
        let watches: Vec<_> = watches.collect();
        let configured: HashSet<WatchId> = watches.iter().map(|watch| watch.id).collect();
        self.forget_unused(&configured, SystemTime::now())?;
        let progress = self.store.load_all()?;
        for watch in watches.iter().filter(|watch| !progress.contains_key(&watch.id)) {
            self.tell_changed_selectors(watch, &configured);
        }
        let watches = watches.iter().map(|watch| WatchCommit::unchanged(watch, progress.get(&watch.id))).collect();
        self.store.commit(&Commit { watches, ..Commit::default() })?;
        Ok(Remembering { store: self.store, progress, emissions: self.emissions })
    }

    fn forget_unused(&mut self, configured: &HashSet<WatchId>, now: SystemTime) -> Result<(), StateError> {
        for watch in self.stored.iter().filter(|watch| !configured.contains(&watch.id)) {
            if is_forgotten(watch, now) {
                log::info!("{}: not configured for a week, what is stored of it is removed", watch.target);
                self.emissions.remove(&watch.id);
                self.recorder.forget(watch.id)?;
                self.store.forget(watch.id)?;
            }
        }
        Ok(())
    }

    /// A watch with other selectors is another watch: its objects may have come and gone unseen.
    fn tell_changed_selectors(&self, watch: &Watch, configured: &HashSet<WatchId>) {
        let (target, place) = (&watch.target, watch.target.place());
        let is_before = |stored: &&StoredWatch| !configured.contains(&stored.id) && is_in(&stored.target, &place);
        if let Some(before) = self.stored.iter().find(is_before) {
            log::info!(before:% = before.target; "{target}: its selectors have changed, so it starts anew");
        }
    }
}

/// Whether nobody has watched it for so long that what is stored of it is removed.
fn is_forgotten(watch: &StoredWatch, now: SystemTime) -> bool {
    now.duration_since(watch.seen).is_ok_and(|unused| unused > UNUSED_KEPT)
}

/// Whether the text of a target begins with this gvr and namespace, and names no other.
fn is_in(target: &str, place: &str) -> bool {
    target.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(" with "))
}

/// What was stored of a watch, and what was handed out beyond that, as its informer and its ledger go on from it. One of which
/// nothing is stored begins in the `newest` history. `recalling`: who remembers its objects, and by which keys; `None` where there is
/// no state.
pub(super) fn resume_of(
    progress: Option<Progress>,
    emissions: Vec<Emission>,
    newest: u32,
    recalling: Option<(Keyer, Arc<dyn Recall>)>,
) -> (Resume, Resumed) {
    let (version, anchor, told) = Default::default();
    let known = recalling.as_ref().map(|(keyer, _)| Known::new(keyer.clone())).unwrap_or_default();
    let none = Progress { version, listing: false, anchor, history: newest, sequence: 0, known, told };
    let Progress { version, listing, anchor, history, sequence, mut known, mut told } = progress.unwrap_or(none);
    // Below the first of them there is nothing to wait for, also where the state is an older one than the journal, or a new one.
    let sequence = emissions.first().map_or(sequence, |first| sequence.max(first.sequence));
    // Of what was found by a list nothing comes again, and neither is all of this remembered one by one.
    let listing = listing || emissions.len() > EMISSIONS_MAX || emissions.iter().any(|emission| emission.is_listed);
    let accepted = Accepted { version: version.clone(), listing, anchor: anchor.clone(), history };
    let listed_before = version.is_some();
    for emission in &emissions {
        match emission.event_type {
            EventType::Added | EventType::Updated => known.insert(&emission.identity),
            EventType::Deleted => known.remove(emission.identity.key()),
        }
    }
    let known = recalling.map_or_else(Knowledge::default, |(_, recall)| Knowledge::There { known, recall });
    let is_accepted = |emission: &&Emission| emission.lacking == 0;
    let hashes = emissions.iter().filter_map(|emission| Some((emission.told(), emission.metadata_hash?))).collect();
    let lacking = emissions.iter().filter(|emission| !is_accepted(emission)).cloned().collect();
    told.extend(emissions.iter().filter(is_accepted).map(Emission::told));
    // While a list was under way the objects were ahead of the version: only a comparison finds what is missing.
    let (version, anchor, told) = if listing || !listed_before { (None, None, Vec::new()) } else { (version, anchor, told) };
    (Resume { known, version, anchor, history, told, lacking, hashes, listed_before }, Resumed { accepted, sequence, emissions })
}

/// So many emissions of one watch are replayed; where there are more, everything is listed and compared instead.
const EMISSIONS_MAX: usize = 100_000;

#[cfg(test)]
#[cfg(feature = "state")]
mod tests {
    use super::*;
    use crate::api::Identity;
    use crate::checkpoint::OwedEvent;
    use crate::dispatch::tests::watch;

    fn emission(sequence: u64) -> Emission {
        let identity = Identity::from_text("default\0web-0\0u\x007\0\0").unwrap();
        Emission { sequence, event_type: EventType::Added, identity, is_listed: true, lacking: 1, metadata_hash: Some(sequence) }
    }

    #[test]
    fn events_of_a_journal_whose_state_is_gone_take_no_room_for_all_that_came_before_them() {
        let (_, resumed) = resume_of(None, vec![emission(1 << 60), emission((1 << 60) + 3)], HISTORY_FIRST, None);
        assert_eq!((resumed.sequence, resumed.emissions.len()), (1 << 60, 2));
    }

    #[test]
    fn what_was_handed_out_beyond_a_checkpoint_is_known_by_its_hash_too() {
        let unknown = Emission { metadata_hash: None, ..emission(4) };
        let (resume, _) = resume_of(None, vec![emission(3), unknown], HISTORY_FIRST, None);
        assert_eq!(resume.hashes, [(emission(3).told(), 3)]);
    }

    #[test]
    fn of_a_watch_that_nobody_has_watched_for_a_week_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = StateStore::open(folder.path()).unwrap();
        let [pods, nodes] = ["v1/pods", "v1/nodes"].map(watch);
        let watches = [&pods, &nodes].map(|watch| WatchCommit::of(watch)).into();
        store.commit(&Commit { watches, ..Commit::default() }).unwrap();
        let recorder = Recorder::new(Journal::open(folder.path(), |_| {}).unwrap(), Spill::open(folder.path()).unwrap());
        let (key, raw, received) = ("default\0web-0", b"{}".as_slice(), SystemTime::UNIX_EPOCH);
        for watch in [&pods, &nodes] {
            let owed = OwedEvent { watch: watch.id, key, uid: "u", is_deleted: false, flags: 0, received, raw };
            recorder.owed("audit").push(&owed, u64::MAX).unwrap();
        }
        let emissions = [&pods, &nodes].map(|watch| (watch.id, vec![emission(3)])).into();
        let stored = store.watches().unwrap();
        let mut memory = Memory { store, stored, recorder: Arc::new(recorder), emissions };
        let (configured, now) = (HashSet::from([pods.id]), SystemTime::now());
        let left = |memory: &Memory| {
            let owed = memory.recorder.owed("audit").events();
            (memory.store.watches().unwrap().len(), owed, memory.emissions.len())
        };
        memory.forget_unused(&configured, now + UNUSED_KEPT / 2).unwrap();
        assert_eq!(left(&memory), (2, 2, 2));
        memory.forget_unused(&configured, now + 2 * UNUSED_KEPT).unwrap();
        assert_eq!(left(&memory), (1, 1, 1));
        let found: Vec<_> = memory.emissions.keys().collect();
        assert_eq!((found, memory.recorder.owed("audit").events_of(pods.id, key)), (vec![&pods.id], 1));
    }
}
