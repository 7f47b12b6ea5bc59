//! One seeded world: a cluster, its writer, what befalls it, and the watches that must not mind.

use super::mutation::Mutation;
use super::told::{Objects, key, state, words};
use super::watching::{Common, SELECTIONS, Watching};
use super::writer::{Kind, NAMESPACES, Writer};
use crate::support::wait::{SOON, eventually, pause};
use faro::api::ObjectRef;
use faro::client::Client;
use faro::event::EventType;
use faro::informer::ListGate;
use faro::sim::{Backup, Cluster, Fault, Faults, Hidden, Release};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(super) struct World {
    seed: u64,
    random: fastrand::Rng,
    cluster: Cluster,
    writer: Writer,
    /// Who writes since another cluster has taken the place of the first.
    others: Option<Writer>,
    uid: String,
    watches: Vec<Watching>,
    fate: Fate,
    backup: Option<Backup>,
    /// How many more writes something is hidden.
    hidden: usize,
    went_back: bool,
    mutation: Option<Mutation>,
    faults: Faults,
    patience: Duration,
}

/// What happens once in a world, besides its faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Plain,
    /// The informers are stopped, and go on from where they were.
    Resumed,
    /// In the end a backup is restored, and nothing is written before every watch has noticed.
    Restored,
    /// A backup is restored and written on, perhaps beyond the versions before, until anybody can connect again.
    Overtaken,
    /// The same, while the informers are stopped.
    OvertakenUnseen,
    /// A backup is restored, and what is lost is a delete that every informer has listed past. Nothing of its kind is written in its
    /// place before they go on.
    ListedPast,
    /// The definition of the objects goes, comes back with another scope perhaps, and goes and comes again.
    Redefined,
    /// In the end the definition of the objects goes for good, while nobody is connected.
    Undefined,
    /// Another cluster takes the place of this one, perhaps without the kind: every informer ends, and tells nothing of it.
    Another,
    /// Something between server and informers finds nothing for a while, or nothing of the objects' group.
    Hidden,
}

impl Fate {
    const ALL: [Self; 10] = [
        Self::Plain,
        Self::Resumed,
        Self::Restored,
        Self::Overtaken,
        Self::OvertakenUnseen,
        Self::ListedPast,
        Self::Redefined,
        Self::Undefined,
        Self::Another,
        Self::Hidden,
    ];
}

/// Many worlds are plain.
const FATES: [Fate; 12] = [
    Fate::Plain,
    Fate::Plain,
    Fate::Plain,
    Fate::Resumed,
    Fate::Restored,
    Fate::Overtaken,
    Fate::OvertakenUnseen,
    Fate::ListedPast,
    Fate::Redefined,
    Fate::Undefined,
    Fate::Another,
    Fate::Hidden,
];

const WRITES: usize = 60;

/// How long an informer may take to tell all where many do not. A whole one takes a second.
const PATIENCE_HURRIED: Duration = Duration::from_secs(10);

/// Writes behind the faults, to see that every watch still lives.
const WRITES_AFTER: usize = 10;

/// How long a restored server is away: no restore is over before whoever asks has been refused.
const AWAY: Duration = Duration::from_millis(100);

/// How many writes something is hidden at most.
const HIDDEN_MAX: usize = 20;

/// How long a definition is gone at most: some informers notice, others do not.
const UNDEFINED_MAX: Duration = Duration::from_millis(60);

/// Longest time between two writes.
const BREATH: Duration = Duration::from_millis(4);

impl World {
    /// A world of whole informers.
    pub(super) fn new(seed: u64) -> Self {
        let faults =
            asked_for("SIM_FAULT", &Fault::ALL).map_or_else(|| Faults::seeded(seed), |fault| Faults::only(&[fault]).seed(seed));
        Self::with(seed, None, (faults, None), SOON)
    }

    /// A world of informers that are broken on purpose, or of whole ones that get no more time than those, with these faults
    /// and this fate.
    pub(super) fn hurried(seed: u64, mutation: Option<Mutation>, faults: Faults, fate: Option<Fate>) -> Self {
        Self::with(seed, mutation, (faults, fate), PATIENCE_HURRIED)
    }

    fn with(seed: u64, mutation: Option<Mutation>, (faults, fate): (Faults, Option<Fate>), patience: Duration) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let release = [Release::V1_20, Release::V1_33, Release::V1_36, Release::V1_36][random.usize(0..4)];
        let bookmarks = Duration::from_millis(random.u64(5..100));
        let builder = Cluster::builder().seed(seed).release(release).tls(random.u8(0..3) == 0).bookmark_interval(bookmarks);
        let cluster = builder.start().unwrap();
        let has_things = random.u8(0..3) == 0;
        let chosen = FATES[random.usize(0..FATES.len())];
        let fate = fate.or_else(|| asked_for("SIM_FATE", &Fate::ALL)).unwrap_or(chosen);
        let kind = if has_things || matches!(fate, Fate::Redefined | Fate::Undefined) { Kind::Things } else { Kind::ConfigMaps };
        let writer = Writer::new(random.fork(), kind, seed % 2 == 1, WRITES);
        writer.prepare(&cluster);
        let pause = Duration::from_millis(30);
        let faults = faults.pause(pause).half_open_limit(pause * 2).heartbeat(pause);
        let uid = Client::from_kubeconfig(cluster.kubeconfig(), None).unwrap().cluster_uid().unwrap().unwrap();
        let mut world = Self {
            seed,
            random,
            cluster,
            writer,
            others: None,
            uid,
            watches: Vec::new(),
            fate,
            backup: None,
            hidden: 0,
            went_back: false,
            mutation,
            faults,
            patience,
        };
        (0..10).for_each(|_| world.writer.write(&world.cluster));
        world.cluster.set_faults(world.faults.clone());
        world.watch();
        world
    }

    /// Starts the informers, each from where it was.
    fn watch(&mut self) {
        let common = Common {
            client: Client::from_kubeconfig(&self.cluster.kubeconfig_with_token().unwrap(), None).unwrap(),
            kind: self.writer.kind,
            gate: ListGate::new(3),
            cluster: self.uid.clone(),
            mutation: self.mutation,
        };
        let mut before = std::mem::take(&mut self.watches).into_iter();
        let watches = (0..).zip(SELECTIONS).map(|(n, selection)| {
            let told = before.next().map(Watching::stop).unwrap_or_default();
            Watching::start(&common, selection, self.seed ^ n, told)
        });
        self.watches = watches.collect();
    }

    /// Lives through everything. Gives how often each fault struck.
    pub(super) fn obeys(mut self) -> BTreeMap<Fault, u64> {
        let fate_at = self.random.usize(0..WRITES);
        let backup_at = self.random.usize(0..=fate_at);
        for write in 0..WRITES {
            if write == backup_at {
                self.backup = Some(self.cluster.snapshot());
            }
            if write == fate_at {
                self.meet_fate();
            }
            self.others.as_mut().unwrap_or(&mut self.writer).write(&self.cluster);
            self.befall();
            self.hidden = self.hidden.saturating_sub(1);
            if self.hidden == 0 {
                self.cluster.hide(None);
            }
            pause(self.random_breath());
        }
        self.cluster.hide(None);
        if self.fate == Fate::Restored {
            // Nothing is written before every watch has noticed.
            self.go_back();
        }
        if self.fate == Fate::Undefined {
            self.cluster.down();
            self.writer.undefine(&self.cluster);
            self.cluster.up().unwrap();
        }
        let struck = self.cluster.faults_struck();
        self.cluster.set_faults(Faults::none());
        if self.fate == Fate::Another {
            self.all_end();
            return struck;
        }
        if self.fate != Fate::Undefined {
            self.all_list();
        }
        if struck.contains_key(&Fault::UnreadableObject) {
            // Nobody lists again for one object that could not be read.
            self.writer.touch_all(&self.cluster);
        }
        self.converges("the faults ended");
        (0..WRITES_AFTER).for_each(|_| self.writer.write(&self.cluster));
        self.converges("more was written");
        self.watches.iter().for_each(|watching| self.check(watching));
        struck
    }

    fn meet_fate(&mut self) {
        match self.fate {
            Fate::Plain | Fate::Restored | Fate::Undefined => {}
            Fate::Resumed => {
                self.watches.iter_mut().for_each(Watching::end);
                (0..self.random.usize(0..WRITES_AFTER)).for_each(|_| self.writer.write(&self.cluster));
                self.watch();
            }
            Fate::Overtaken => self.go_back_and_on(),
            Fate::OvertakenUnseen => {
                self.watches.iter_mut().for_each(Watching::end);
                self.go_back_and_on();
                self.watch();
            }
            Fate::ListedPast => self.lose_a_delete(),
            Fate::Redefined => self.redefine(),
            Fate::Another => self.become_another(),
            Fate::Hidden => {
                let group = self.writer.kind.group().to_owned();
                let hidden = if self.random.bool() { Hidden::Everything } else { Hidden::Group(group) };
                self.cluster.hide(Some(hidden));
                self.cluster.cut_connections();
                self.hidden = self.random.usize(1..HIDDEN_MAX);
            }
        }
    }

    fn go_back_and_on(&mut self) {
        let backup = self.backup.take().expect("it was made before");
        let before = self.writer.uids(&self.cluster);
        // What is written now is not written in the second of what is lost: managed fields say so.
        self.cluster.advance(Duration::from_secs(2));
        let (writes, forgets) = (self.random.usize(0..WRITES), self.random.bool());
        let writer = &mut self.writer;
        let overtake = |cluster: &Cluster| {
            if forgets {
                cluster.compact();
            }
            (0..writes).for_each(|_| writer.write(cluster));
            pause(AWAY);
        };
        self.cluster.restore_then(&backup, overtake).unwrap();
        self.writer.note_gone(before, &self.cluster);
        self.went_back = true;
    }

    fn lose_a_delete(&mut self) {
        self.cluster.set_faults(Faults::none());
        self.watches.iter_mut().for_each(Watching::end);
        self.writer.write(&self.cluster);
        let backup = self.cluster.snapshot();
        self.writer.delete_oldest(&self.cluster);
        // No watch has it any more, and everything is listed.
        self.cluster.compact();
        self.watch();
        self.converges("a delete was compacted");
        self.watches.iter_mut().for_each(Watching::end);
        self.cluster.restore_then(&backup, touch_namespaces).unwrap();
        self.went_back = true;
        self.watch();
        self.converges("the delete was lost");
        self.cluster.set_faults(self.faults.clone());
    }

    fn redefine(&mut self) {
        self.writer.undefine(&self.cluster);
        pause(UNDEFINED_MAX.mul_f64(self.random.f64()));
        if self.random.bool() {
            self.writer.define_wide(&self.cluster);
            pause(UNDEFINED_MAX.mul_f64(self.random.f64()));
            self.writer.undefine(&self.cluster);
            pause(UNDEFINED_MAX.mul_f64(self.random.f64()));
        }
        self.writer.define_again(&self.cluster);
    }

    fn become_another(&mut self) {
        let other = Cluster::builder().seed(!self.seed).tls(false).start().unwrap();
        let mut others = Writer::new(self.random.fork(), self.writer.kind, false, WRITES);
        others.prepare(&other);
        (0..self.random.usize(0..2 * WRITES)).for_each(|_| others.write(&other));
        if self.writer.kind == Kind::Things && self.random.bool() {
            others.undefine(&other);
        }
        self.cluster.restore_then(&other.snapshot(), |_| pause(AWAY)).unwrap();
        self.others = Some(others);
    }

    /// Every watch ends by itself, and has told nothing of the other cluster.
    fn all_end(&self) {
        let late = Instant::now() + self.patience;
        loop {
            let lives = self.watches.iter().find(|watching| !watching.has_ended());
            self.watches.iter().for_each(|watching| self.check(watching));
            let Some(watching) = lives else { return };
            assert!(Instant::now() < late, "{}: {} watches another cluster", self.name(), watching.target);
            pause(BREATH);
        }
    }

    /// Every watch comes to the end of a list, however much is written.
    fn all_list(&mut self) {
        let late = Instant::now() + self.patience;
        while let Some(watching) = self.watches.iter().find(|watching| !watching.told.has_listed()) {
            assert!(Instant::now() < late, "{}: {} never listed", self.name(), watching.target);
            self.writer.write(&self.cluster);
            pause(self.random_breath());
        }
    }

    fn go_back(&mut self) {
        let backup = self.backup.take().expect("it was made before the end");
        let before = self.writer.uids(&self.cluster);
        let forgets = self.random.bool();
        let wait = |cluster: &Cluster| {
            if forgets {
                cluster.compact();
            }
            pause(AWAY);
        };
        self.cluster.restore_then(&backup, wait).unwrap();
        self.writer.note_gone(before, &self.cluster);
        self.went_back = true;
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
        let objects = self.cluster.objects(&watching.target).unwrap_or_default();
        objects.iter().map(|object| (key(&object.as_ref()), state(&object.as_ref()))).collect()
    }

    fn check(&self, watching: &Watching) {
        let whose = format!("{}: {}", self.name(), watching.target);
        watching.told.check_order(self.went_back, watching.skips, &whose);
        for event in watching.told.events() {
            let metadata = event.metadata();
            if event.event_type == EventType::Deleted {
                let matches = |app: Option<&str>| is_selected(watching, &metadata, app);
                assert!(self.writer.left(&metadata.uid(), matches), "{whose}: {} never left", words(&event));
                continue;
            }
            assert!(self.writer.had(&state(&metadata)), "{whose}: {} was never so", words(&event));
            assert!(matches(watching, &metadata), "{whose}: {} never matched", words(&event));
        }
    }

    fn name(&self) -> String {
        format!("seed {} ({:?}): run `SIM_SEED={} make test-integration`", self.seed, self.fate, self.seed)
    }
}

/// More changes than a lost one, of another kind.
fn touch_namespaces(cluster: &Cluster) {
    for n in 0..WRITES_AFTER {
        cluster.label("v1/namespaces", NAMESPACES[0], &[("n", Some(&n.to_string()))]).unwrap();
    }
}

fn matches(watching: &Watching, object: &ObjectRef<'_>) -> bool {
    let app = object.labels().get("app");
    is_selected(watching, object, app.as_deref())
}

/// Whether it matches with this label. What is of no namespace is not asked for one.
fn is_selected(watching: &Watching, object: &ObjectRef<'_>, app: Option<&str>) -> bool {
    let namespace = object.namespace();
    let namespace = if namespace.is_empty() { watching.selection.namespace.unwrap_or_default() } else { &namespace };
    (watching.selection.matches)(namespace, &object.name(), app)
}

/// What a variable of the environment names, for whoever looks into something.
pub(super) fn asked_for<T: Copy + std::fmt::Debug>(variable: &str, all: &[T]) -> Option<T> {
    let name = std::env::var(variable).ok()?;
    Some(*all.iter().find(|one| format!("{one:?}") == name).expect("it names one of them"))
}
