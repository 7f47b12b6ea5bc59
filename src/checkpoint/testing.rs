//! What the tests of this station share: random commits, and a model that is too simple to be wrong.

use super::StateStore;
use super::commit::{ClusterIdentity, Commit, Progress, WatchCommit};
use crate::api::{Anchor, Change, FilePosition, Identity, ResourceVersion, ToldId, WatchId};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What a state must hold after some commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) cluster: Option<String>,
    pub(super) position: Option<FilePosition>,
    pub(super) watches: BTreeMap<WatchId, ModelWatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModelWatch {
    version: Option<String>,
    listing: bool,
    anchor: Option<Anchor>,
    history: u32,
    known: BTreeMap<String, String>,
    told: BTreeSet<ToldId>,
}

impl Model {
    pub(super) fn apply(&mut self, commit: &Commit) {
        if let Some(cluster) = &commit.cluster {
            self.cluster = Some(cluster.id.clone());
        }
        if let Some(position) = &commit.position {
            self.position = Some(position.clone());
        }
        for change in &commit.watches {
            let watch = self.watches.entry(change.id).or_default();
            watch.version = change.version.as_ref().map(ToString::to_string);
            watch.listing = change.listing;
            (watch.anchor, watch.history) = (change.anchor.clone(), change.history);
            if change.clear_told {
                watch.told.clear();
            }
            for change in &change.changes {
                watch.apply(change);
            }
        }
    }
}

impl ModelWatch {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Known(identity) => {
                self.known.insert(identity.key().to_owned(), identity.as_text().to_owned());
            }
            Change::Gone(key) => {
                self.known.remove(&**key);
            }
            Change::Told(id) => {
                self.told.insert(id.clone());
            }
            Change::Replayed(id) => {
                self.told.remove(id);
            }
        }
    }

    pub(super) fn of(store: &StateStore, id: WatchId, progress: &Progress) -> Self {
        let known = store.identities(id, &progress.known.keys()).unwrap();
        for identity in &known {
            assert!(progress.known.holds(identity), "what is recalled is what is known: {identity:?}");
        }
        let known = known.into_iter().map(|known| (known.key().to_owned(), known.as_text().to_owned()));
        let watch = Self {
            version: progress.version.as_ref().map(ToString::to_string),
            listing: progress.listing,
            anchor: progress.anchor.clone(),
            history: progress.history,
            known: known.collect(),
            told: progress.told.iter().cloned().collect(),
        };
        assert_eq!((watch.known.len(), watch.told.len()), (progress.known.len(), progress.told.len()), "none comes twice");
        watch
    }
}

/// What `store` holds.
pub(super) fn held(store: &StateStore) -> Model {
    let all = store.load_all().unwrap();
    let ids: BTreeSet<_> = store.watches().unwrap().iter().map(|watch| watch.id).collect();
    assert_eq!(ids, all.keys().copied().collect());
    Model {
        cluster: store.cluster().unwrap().map(|cluster| cluster.id),
        position: store.position().unwrap(),
        watches: all.iter().map(|(id, progress)| (*id, ModelWatch::of(store, *id, progress))).collect(),
    }
}

/// A commit of at most `changes` changes in a few watches, over few enough names that they meet again.
pub(super) fn random_commit(rng: &mut Rng, changes: usize) -> Commit {
    let watches = (0..rng.usize(0..=3)).map(|_| random_watch(rng, changes)).collect();
    let cluster = ClusterIdentity { id: rng.u8(..).to_string(), server: "https://api.test".to_owned() };
    let position = FilePosition { file: format!("events-{}.json", rng.u8(..)), offset: rng.u64(..) };
    Commit { cluster: rng.bool().then_some(cluster), position: rng.bool().then_some(position), watches }
}

fn random_watch(rng: &mut Rng, changes: usize) -> WatchCommit {
    WatchCommit {
        id: WatchId::from_bits(rng.u64(0..4)),
        target: "v1/pods in default".to_owned(),
        version: ResourceVersion::new(["", "7", "18446744073709551615"][rng.usize(0..3)]),
        listing: rng.bool(),
        anchor: rng.bool().then(|| anchor(rng)),
        history: rng.u32(1..),
        sequence: rng.u64(..),
        changes: (0..rng.usize(0..=changes)).map(|_| random_change(rng)).collect(),
        clear_told: rng.u8(..) < 16,
    }
}

fn anchor(rng: &mut Rng) -> Anchor {
    let hash = format!("{:016x}", rng.u64(..));
    Anchor::from_texts(["7", &hash, ["", "A", "M", "D"][rng.usize(0..4)], ["", "x"][rng.usize(0..2)]])
        .expect("the texts of an anchor")
}

fn random_change(rng: &mut Rng) -> Change {
    let name = format!("name-{}", rng.u8(0..60));
    let told = ToldId::new(&name, "7", rng.bool());
    match rng.u8(0..6) {
        0 | 1 => Change::Known(identity("default", &name, rng.u32(..), rng.usize(0..200))),
        2 => Change::Known(identity("", &name, rng.u32(..), if rng.u8(..) < 8 { 20_000 } else { 3 })),
        3 => Change::Gone(format!("default\0{name}").into()),
        4 => Change::Told(told),
        _ => Change::Replayed(told),
    }
}

/// An object with a label of `label_bytes`.
pub(super) fn identity(namespace: &str, name: &str, version: u32, label_bytes: usize) -> Identity {
    let label = "x".repeat(label_bytes);
    Identity::from_text(&format!("{namespace}\0{name}\0uid\0{version}\0{{\"l\":\"{label}\"}}\0")).expect("six fields")
}
