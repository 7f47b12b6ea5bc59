//! Objects, their versions and their history.
//!
//! One lock holds all that a cluster knows, one sequence of versions counts all its changes. Each resource has a place where
//! its watches wait. Nothing here speaks HTTP, and nothing is held while a line is written.

pub(crate) mod access;
mod cascade;
pub(crate) mod catalog;
pub(crate) mod change;
pub(crate) mod definition;
pub(crate) mod direct;
pub(crate) mod json;
pub(crate) mod managed;
pub(crate) mod object;
pub(crate) mod place;
pub(crate) mod refusal;
pub(crate) mod storage;

use self::access::Access;
use self::catalog::{Catalog, Release, StorageName};
use self::storage::Storage;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// All that a cluster knows.
#[derive(Debug)]
pub(crate) struct State {
    inner: Mutex<Inner>,
}

/// What the lock holds.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) version: u64,
    /// The version through which history was compacted on command.
    pub(crate) compacted: u64,
    /// Counts restarts: watches of an earlier epoch end.
    pub(crate) epoch: u64,
    pub(crate) storages: HashMap<StorageName, Storage>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) settings: Settings,
    pub(crate) access: Access,
    /// Requests that each new definition still refuses while its storage starts.
    pub(crate) initializing: HashMap<StorageName, u32>,
    pub(crate) random: fastrand::Rng,
    skew: Duration,
}

/// What can be set on a running server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) release: Release,
    /// How often a watch gets a bookmark once the version has moved.
    pub(crate) bookmark_interval: Duration,
    /// The most events kept for each resource.
    pub(crate) history_events_max: usize,
    /// How many requests a new definition refuses with 429 while its storage starts.
    pub(crate) new_definition_refusals: u32,
    /// The address that discovery tells, as in `127.0.0.1:6443`.
    pub(crate) address: String,
}

/// Everything stored at one version, with the history that led there, as a backup of etcd has it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    version: u64,
    compacted: u64,
    storages: Arc<Vec<(StorageName, Storage)>>,
}

/// Events kept for each resource unless set otherwise; a real server keeps what 75 seconds bring.
const HISTORY_EVENTS_MAX: usize = 10_000;
/// What real servers keep to (`defaultBookmarkFrequency` in `k8s.io/apiserver/pkg/storage/cacher`).
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The namespaces that every server makes for itself.
const DEFAULT_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", IDENTIFYING_NAMESPACE];
/// By whose uid clients know the cluster again.
const IDENTIFYING_NAMESPACE: &str = "kube-system";

impl State {
    /// A new cluster; the same `seed` gives the same uids and names, but for the uid of `kube-system`: by that clusters are told
    /// apart, and this is one that never was before.
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut inner = Inner {
            version: 0,
            compacted: 0,
            epoch: 0,
            storages: HashMap::new(),
            catalog: Arc::default(),
            settings: Settings::default(),
            access: Access::default(),
            initializing: HashMap::new(),
            random: fastrand::Rng::with_seed(seed),
            skew: Duration::ZERO,
        };
        inner.rebuild_catalog();
        for name in DEFAULT_NAMESPACES {
            let seeded = inner.random.clone();
            if name == IDENTIFYING_NAMESPACE {
                inner.random = fastrand::Rng::new();
            }
            inner.create_namespace(name).expect("no namespace is there yet");
            if name == IDENTIFYING_NAMESPACE {
                inner.random = seeded;
            }
        }
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Locks everything.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the state")
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Changes a setting; watches take notice at once.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut inner = self.lock();
        change(&mut inner.settings);
        inner.rebuild_catalog();
        inner.stir_all();
    }

    /// Changes users and rules.
    pub(crate) fn set_access(&self, change: impl FnOnce(&mut Access)) {
        change(&mut self.lock().access);
    }

    /// Forgets all history: lists and watches from an earlier version get 410; watches that are behind end.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        inner.compacted = inner.version;
        inner.storages.values_mut().for_each(|storage| storage.forget(0));
        inner.stir_all();
    }

    /// Ends every watch without a word, as a restart does. The objects stay.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.stir_all();
    }

    /// Takes a backup.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let storages = inner.storages.iter().map(|(name, storage)| (name.clone(), storage.unwatched())).collect();
        Snapshot { version: inner.version, compacted: inner.compacted, storages: Arc::new(storages) }
    }

    /// Restores a backup and restarts: objects, versions and their history go back, and later versions are given out a second time.
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.stir_all();
        inner.version = snapshot.version;
        inner.compacted = snapshot.compacted;
        inner.storages = snapshot.storages.iter().map(|(name, storage)| (name.clone(), storage.unwatched())).collect();
        inner.rebuild_catalog();
    }

    /// Moves the clock of bookmarks, timeouts and creation times forward.
    pub(crate) fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.skew += by;
        inner.stir_all();
    }
}

impl Inner {
    /// The clock of bookmarks and timeouts.
    pub(crate) fn now(&self) -> Instant {
        Instant::now() + self.skew
    }

    /// The time as objects carry it.
    pub(crate) fn time(&self) -> String {
        let now = std::time::SystemTime::now() + self.skew;
        jiff::Timestamp::try_from(now).expect("the clock is within jiff's years").strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn storage(&mut self, name: &StorageName) -> &mut Storage {
        self.storages.entry(name.clone()).or_default()
    }

    /// The oldest version from which a watch of this resource can start.
    pub(crate) fn oldest(&self, name: &StorageName) -> u64 {
        self.compacted.max(self.storages.get(name).map_or(0, |storage| storage.forgotten))
    }

    /// A random uid, version 4.
    pub(crate) fn uid(&mut self) -> String {
        let bits = self.random.u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Makes every watch look again.
    pub(crate) fn stir_all(&self) {
        self.storages.values().for_each(Storage::stir);
    }

    /// Works out anew what is served.
    pub(crate) fn rebuild_catalog(&mut self) {
        let mut catalog = Catalog::built_in(self.settings.release);
        if let Some(storage) = self.storages.get(&change::definitions()) {
            for definition in storage.objects.values() {
                definition::resources(&definition.json()).into_iter().for_each(|resource| catalog.add(resource));
            }
        }
        self.catalog = Arc::new(catalog);
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            release: Release::default(),
            bookmark_interval: BOOKMARK_INTERVAL,
            history_events_max: HISTORY_EVENTS_MAX,
            new_definition_refusals: 0,
            address: "127.0.0.1:6443".to_owned(),
        }
    }
}
