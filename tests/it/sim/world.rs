//! One seeded world: a cluster, its writer, what befalls it, and the watches that must not mind.

use super::mutation::Mutation;
use super::told::{Objects, key, state};
use super::watching::{SELECTIONS, Watching};
use crate::support::wait::{SOON, eventually, pause};
use faro::api::{Object, ObjectRef};
use faro::client::Client;
use faro::event::EventType;
use faro::informer::ListGate;
use faro::sim::{Cluster, Fault, Faults, Release};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

pub(super) struct World {
    seed: u64,
    random: fastrand::Rng,
    cluster: Cluster,
    watches: Vec<Watching>,
    /// Every uid and version that an object ever had.
    had: HashSet<(String, String)>,
    /// Names fall out of use one by one: what is lost of an object's last change is not made good by another.
    moves_on: bool,
    written: usize,
    went_back: bool,
    mutation: Option<Mutation>,
    faults: Faults,
    patience: Duration,
}

const WRITES: usize = 60;

/// How long an informer may take to tell all where many do not. A whole one takes a second.
const PATIENCE_HURRIED: Duration = Duration::from_secs(10);

/// Writes behind the faults, to see that every watch still lives.
const WRITES_AFTER: usize = 10;

/// Longest time between two writes.
const BREATH: Duration = Duration::from_millis(4);

const NAMESPACES: [&str; 2] = ["demo", "other"];

const NAMES: [&str; 10] = ["o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9", "o10"];

/// So few names at a time that objects come back under them.
const NAMES_AT_A_TIME: usize = 4;

const APPS: [Option<&str>; 3] = [Some("web"), Some("db"), None];

impl World {
    /// A world of whole informers.
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, None, Faults::seeded(seed), SOON)
    }

    /// A world of informers that are broken on purpose, or of whole ones that get no more time than those, with these faults.
    pub(super) fn hurried(seed: u64, mutation: Option<Mutation>, faults: Faults) -> Self {
        Self::with(seed, mutation, faults, PATIENCE_HURRIED)
    }

    fn with(seed: u64, mutation: Option<Mutation>, faults: Faults, patience: Duration) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let release = [Release::V1_20, Release::V1_33, Release::V1_36, Release::V1_36][random.usize(0..4)];
        let bookmarks = Duration::from_millis(random.u64(5..100));
        let builder = Cluster::builder().seed(seed).release(release).tls(random.u8(0..3) == 0).bookmark_interval(bookmarks);
        let cluster = builder.start().unwrap();
        for namespace in NAMESPACES {
            cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
        }
        let (watches, had, moves_on) = (Vec::new(), HashSet::new(), seed % 2 == 1);
        let (written, went_back) = (0, false);
        let faults = faults.pause(Duration::from_millis(30)).half_open_limit(Duration::from_millis(60));
        let mut world = Self { seed, random, cluster, watches, had, moves_on, written, went_back, mutation, faults, patience };
        (0..10).for_each(|_| world.write());
        world.watch();
        world
    }

    fn watch(&mut self) {
        let client = Client::from_kubeconfig(&self.cluster.kubeconfig_with_token().unwrap(), None).unwrap();
        let gate = ListGate::new(3);
        self.cluster.set_faults(self.faults.clone());
        self.watches = (0..)
            .zip(SELECTIONS)
            .map(|(n, selection)| Watching::start(&client, selection, &gate, self.seed ^ n, self.mutation))
            .collect();
    }

    /// Lives through everything. Gives how often each fault struck.
    pub(super) fn obeys(mut self) -> BTreeMap<Fault, u64> {
        let goes_back = self.random.u8(0..4) == 0;
        let backup_at = self.random.usize(0..WRITES);
        let mut backup = None;
        for write in 0..WRITES {
            if goes_back && write == backup_at {
                backup = Some(self.cluster.snapshot());
            }
            self.write();
            self.befall();
            pause(self.random_breath());
        }
        if let Some(backup) = backup {
            // Versions are given out twice from here on, so nothing is written before every watch has noticed.
            self.cluster.restore(&backup).unwrap();
            self.went_back = true;
        }
        let struck = self.cluster.faults_struck();
        self.cluster.set_faults(Faults::none());
        self.converges("the faults ended");
        (0..WRITES_AFTER).for_each(|_| self.write());
        self.converges("more was written");
        self.watches.iter().for_each(|watching| self.check(watching));
        struck
    }

    fn random_breath(&mut self) -> Duration {
        BREATH.mul_f64(self.random.f64())
    }

    /// Something happens to the whole server, now and then.
    fn befall(&mut self) {
        match self.random.u8(0..60) {
            0 | 1 => self.cluster.compact(),
            2 => self.cluster.restart().unwrap(),
            3 => {
                self.cluster.down();
                pause(self.random_breath());
                self.cluster.up().unwrap();
            }
            4 => self.cluster.cut_connections(),
            _ => {}
        }
    }

    /// One change of one object.
    fn write(&mut self) {
        self.written += 1;
        let name = format!("{}/{}", self.choose(&NAMESPACES), self.choose(self.names()));
        let app = self.choose(&APPS);
        let stored = match (self.cluster.get(CONFIG_MAPS, &name), self.random.u8(0..4)) {
            (Err(_), _) => self.create(&name, app),
            (Ok(_), 0) => {
                self.cluster.delete(CONFIG_MAPS, &name).unwrap();
                return;
            }
            (Ok(_), 1 | 2) => self.cluster.label(CONFIG_MAPS, &name, &[("app", app)]).unwrap(),
            (Ok(_), _) => {
                let patch = format!("{{data: {{n: \"{}\"}}}}", self.random.u32(..));
                self.cluster.patch(CONFIG_MAPS, &name, &patch).unwrap()
            }
        };
        self.had.insert(state(&stored.as_ref()));
    }

    /// The names that are in use now.
    fn names(&self) -> &'static [&'static str] {
        let gone = if self.moves_on { self.written * (NAMES.len() - NAMES_AT_A_TIME) / WRITES } else { 0 };
        &NAMES[gone.min(NAMES.len() - NAMES_AT_A_TIME)..][..NAMES_AT_A_TIME]
    }

    fn create(&self, name: &str, app: Option<&str>) -> Object {
        let (namespace, name) = name.split_once('/').unwrap();
        let labels = app.map(|app| format!(", labels: {{app: {app}}}")).unwrap_or_default();
        let object = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: {namespace}, name: {name}{labels}}}, data: {{n: \"1\"}}}}"
        );
        self.cluster.create(&object).unwrap()
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(0..from.len())]
    }

    /// Waits until every watch has told all that the server has.
    fn converges(&self, since: &str) {
        for watching in &self.watches {
            let what = || format!("{}: what {} told since {since}", self.name(), watching.target);
            let mut seen = (Objects::new(), Objects::new());
            let agrees = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eventually(self.patience, &what(), || {
                    seen = (self.objects(watching), watching.told.objects());
                    seen.0 == seen.1
                });
            }));
            assert!(agrees.is_ok(), "{}\nthe server has {:#?}\ntold was {:#?}", what(), seen.0, seen.1);
        }
    }

    fn objects(&self, watching: &Watching) -> Objects {
        let objects = self.cluster.objects(&watching.target).unwrap();
        objects.iter().map(|object| (key(&object.as_ref()), state(&object.as_ref()))).collect()
    }

    fn check(&self, watching: &Watching) {
        let whose = format!("{}: {}", self.name(), watching.target);
        watching.told.check_order(self.went_back, &whose);
        for event in watching.told.events() {
            if event.event_type == EventType::Deleted {
                continue;
            }
            let metadata = event.metadata();
            assert!(self.had.contains(&state(&metadata)), "{whose}: {} was never so", super::told::words(&event));
            assert!(matches(watching, &metadata), "{whose}: {} never matched", super::told::words(&event));
        }
    }

    fn name(&self) -> String {
        format!("seed {}: run `SIM_SEED={} make test-integration`", self.seed, self.seed)
    }
}

fn matches(watching: &Watching, object: &ObjectRef<'_>) -> bool {
    let app = object.labels().get("app");
    (watching.selection.matches)(&object.namespace(), &object.name(), app.as_deref())
}

const CONFIG_MAPS: &str = "v1/configmaps";
