//! What goes into the state and what comes out of it.

use crate::api::{Anchor, Change, FilePosition, HISTORY_FIRST, Known, ResourceVersion, ToldId, Watch, WatchId};
use std::sync::Arc;
use std::time::SystemTime;

/// One transaction: what changed since the one before. Doing the same one again changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Which cluster the state belongs to; `None` leaves it as it is.
    pub cluster: Option<ClusterIdentity>,
    /// Up to where the events files are in the inventories; `None` leaves it as it is.
    pub position: Option<FilePosition>,
    /// The watches that moved on. One that is not here stays as it is.
    pub watches: Vec<WatchCommit>,
}

/// How far one watch is, and what changed in it.
#[derive(Clone, Debug)]
pub struct WatchCommit {
    /// Which watch; one that is new to the state is added.
    pub id: WatchId,
    /// Its [`WatchTarget`](crate::api::WatchTarget) as text, selectors included.
    pub target: String,
    /// The version up to which everything was accepted.
    pub version: Option<ResourceVersion>,
    /// Whether a list was under way, so that the inventory is ahead of the version.
    pub listing: bool,
    /// The newest event up to `version`, by which the server's history is known again.
    pub anchor: Option<Anchor>,
    /// Which history of the cluster all this is of, counted from [`HISTORY_FIRST`].
    pub history: u32,
    /// The number of the first event of the watch that is not in here: the journal holds those from there on.
    pub sequence: u64,
    /// What changed in the inventory, in order: of the changes of one key or id the last one counts.
    pub changes: Vec<Change>,
    /// Whether all told ids from before are forgotten first.
    pub clear_told: bool,
}

impl WatchCommit {
    /// A watch that has come to nothing yet.
    pub fn of(watch: &Watch) -> Self {
        let target = watch.target.to_string();
        let (version, anchor, changes) = (None, None, Vec::new());
        let (history, sequence) = (HISTORY_FIRST, 0);
        Self { id: watch.id, target, version, listing: false, anchor, history, sequence, changes, clear_told: false }
    }

    /// A watch that is where `progress` says: notes that it is in use.
    pub fn unchanged(watch: &Watch, progress: Option<&Progress>) -> Self {
        let commit = Self::of(watch);
        let Some(Progress { version, listing, anchor, history, sequence, .. }) = progress else { return commit };
        let (version, anchor) = (version.clone(), anchor.clone());
        Self { version, listing: *listing, anchor, history: *history, sequence: *sequence, ..commit }
    }
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The uid of the namespace `kube-system` where that can be read, else the server's URL.
    pub id: String,
    /// The server's URL.
    pub server: String,
}

/// One watch of the state, without its inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWatch {
    /// Which watch.
    pub id: WatchId,
    /// Its target as text.
    pub target: String,
    /// The version up to which everything was accepted.
    pub version: Option<ResourceVersion>,
    /// Whether a list was under way.
    pub listing: bool,
    /// The newest event up to `version`.
    pub anchor: Option<Anchor>,
    /// Which history of the cluster it is of.
    pub history: u32,
    /// The number of the first event of the watch that is not in the state.
    pub sequence: u64,
    /// When it was last committed, in whole seconds.
    pub seen: SystemTime,
}

/// All that is known of one watch.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The version up to which everything was accepted.
    pub version: Option<ResourceVersion>,
    /// Whether a list was under way.
    pub listing: bool,
    /// The newest event up to `version`.
    pub anchor: Option<Anchor>,
    /// Which history of the cluster it is of.
    pub history: u32,
    /// The number of the first event of the watch that is not in the state.
    pub sequence: u64,
    /// The objects that were told and not yet told as deleted.
    pub known: Known,
    /// The events that are in the files though they are newer than `version`, in no order.
    pub told: Vec<ToldId>,
}

/// An event that is about to be handed out, for the journal.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// Of which watch.
    pub watch: WatchId,
    /// The event's number in its watch.
    pub sequence: u64,
    /// The text of its [`ToldId`].
    pub told: &'a str,
    /// What it changes in the inventory: [`Change::Known`] or [`Change::Gone`].
    pub change: &'a Change,
    /// Who is to receive it, a bit each.
    pub receivers: u64,
    /// What else it says of itself, as its owner encodes it.
    pub flags: u8,
    /// The hash of its object's metadata as a server sent it in a watch, by which a replay is told from another event.
    pub metadata_hash: Option<u64>,
}

/// One record of the journal.
#[derive(Clone, Debug)]
pub enum Record {
    /// An event is handed to receivers.
    Emitted {
        /// Of which watch.
        watch: WatchId,
        /// The event's number in its watch.
        sequence: u64,
        /// Which event, as a server may send it again.
        told: ToldId,
        /// What it changes in the inventory: [`Change::Known`] or [`Change::Gone`].
        change: Change,
        /// Who is to receive it, a bit each.
        receivers: u64,
        /// What else it says of itself, as its owner encodes it.
        flags: u8,
        /// The hash of its object's metadata as a server sent it in a watch.
        metadata_hash: Option<u64>,
    },
    /// A receiver has accepted an event.
    Accepted {
        /// Of which watch.
        watch: WatchId,
        /// The event's number in its watch.
        sequence: u64,
        /// The receiver's bit, counted from 0.
        receiver: u8,
    },
    /// Who receives the events from here on, in the order of their bits.
    Receivers(Vec<String>),
}

/// An event that a subscription is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwedEvent<'a> {
    /// Of which watch.
    pub watch: WatchId,
    /// The [`Identity::key`](crate::api::Identity::key) of its object.
    pub key: &'a str,
    /// The object's uid.
    pub uid: &'a str,
    /// Whether the object was deleted by it.
    pub is_deleted: bool,
    /// What else the event says of itself, as its owner encodes it.
    pub flags: u8,
    /// When it was received, in whole microseconds.
    pub received: SystemTime,
    /// The object's bytes.
    pub raw: &'a [u8],
}

/// What of an object a subscription is owed no longer, as all of it would be too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Of which watch.
    pub watch: WatchId,
    /// The object's [`Identity::key`](crate::api::Identity::key).
    pub key: Arc<str>,
    /// How many events between its oldest and its newest one.
    pub events: u64,
}
