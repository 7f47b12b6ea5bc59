//! Whoever writes in a world, and remembers everything that ever was so.

use super::told::state;
use faro::api::Object;
use faro::sim::Cluster;
use std::collections::{HashMap, HashSet};

/// What objects a world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a group that every server has.
    ConfigMaps,
    /// Of a group that looks like one and has a definition that can come and go.
    Things,
}

impl Kind {
    pub(super) fn gvr(self) -> &'static str {
        match self {
            Self::ConfigMaps => "v1/configmaps",
            Self::Things => "faro.k8s.io/v1/things",
        }
    }

    pub(super) fn group(self) -> &'static str {
        match self {
            Self::ConfigMaps => "",
            Self::Things => "faro.k8s.io",
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::ConfigMaps => "apiVersion: v1, kind: ConfigMap",
            Self::Things => "apiVersion: faro.k8s.io/v1, kind: Thing",
        }
    }
}

/// Defines things, as objects of namespaces or of the whole cluster.
fn define(cluster: &Cluster, scope: &str) {
    let names = "names: {plural: things, kind: Thing}";
    let definition = format!(
        "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: {DEFINITION}}}, spec: \
         {{group: faro.k8s.io, scope: {scope}, {names}, versions: [{{name: v1, served: true, storage: true}}]}}}}"
    );
    cluster.create(&definition).unwrap();
}

const DEFINITION: &str = "things.faro.k8s.io";

pub(super) struct Writer {
    pub(super) random: fastrand::Rng,
    pub(super) kind: Kind,
    /// Every uid and version that an object ever had.
    had: HashSet<(String, String)>,
    /// Every label `app` that an object ever had, by its uid.
    apps: HashMap<String, HashSet<Option<String>>>,
    /// The uids of objects that are gone, or once were.
    gone: HashSet<String>,
    /// Names fall out of use one by one: what is lost of an object's last change is not made good by another.
    moves_on: bool,
    written: usize,
    writes: usize,
    /// There is nothing that could be written.
    undefined: bool,
}

pub(super) const NAMESPACES: [&str; 2] = ["demo", "other"];

const NAMES: [&str; 10] = ["o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9", "o10"];

/// So few names at a time that objects come back under them.
const NAMES_AT_A_TIME: usize = 4;

const APPS: [Option<&str>; 3] = [Some("web"), Some("db"), None];

impl Writer {
    /// Whoever writes so often altogether.
    pub(super) fn new(random: fastrand::Rng, kind: Kind, moves_on: bool, writes: usize) -> Self {
        let (had, apps, gone) = (HashSet::new(), HashMap::new(), HashSet::new());
        Self { random, kind, had, apps, gone, moves_on, written: 0, writes, undefined: false }
    }

    /// Makes what objects need to be there.
    pub(super) fn prepare(&self, cluster: &Cluster) {
        for namespace in NAMESPACES {
            cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
        }
        if self.kind == Kind::Things {
            define(cluster, "Namespaced");
        }
    }

    /// The definition goes, and all things with it.
    pub(super) fn undefine(&mut self, cluster: &Cluster) {
        self.gone.extend(self.uids(cluster));
        self.undefined = true;
        cluster.delete("apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION).unwrap();
    }

    /// Things are defined as before.
    pub(super) fn define_again(&mut self, cluster: &Cluster) {
        self.undefined = false;
        define(cluster, "Namespaced");
    }

    /// Things are of no namespace now, and there are two.
    pub(super) fn define_wide(&mut self, cluster: &Cluster) {
        define(cluster, "Cluster");
        for app in [Some("web"), None] {
            let labels = app.map(|app| format!(", labels: {{app: {app}}}")).unwrap_or_default();
            let name = app.unwrap_or("o1");
            let stored = cluster.create(&format!("{{{}, metadata: {{name: {name}{labels}}}}}", self.kind.head())).unwrap();
            self.note(&stored);
        }
    }

    /// One change of one object.
    pub(super) fn write(&mut self, cluster: &Cluster) {
        if self.undefined {
            return;
        }
        self.written += 1;
        let name = format!("{}/{}", self.choose(&NAMESPACES), self.choose(self.names()));
        let (gvr, app) = (self.kind.gvr(), self.choose(&APPS));
        let stored = match (cluster.get(gvr, &name), self.random.u8(0..4)) {
            (Err(_), _) => self.create(cluster, &name, app),
            (Ok(object), 0) => {
                cluster.delete(gvr, &name).unwrap();
                self.gone.insert(state(&object.as_ref()).0);
                return;
            }
            (Ok(_), 1 | 2) => cluster.label(gvr, &name, &[("app", app)]).unwrap(),
            (Ok(_), _) => {
                let patch = format!("{{data: {{n: \"{}\"}}}}", self.random.u32(..));
                cluster.patch(gvr, &name, &patch).unwrap()
            }
        };
        self.note(&stored);
    }

    /// Deletes the object that was not written for longest, if there is any.
    pub(super) fn delete_oldest(&mut self, cluster: &Cluster) {
        let objects = self.objects(cluster);
        let oldest = objects.iter().min_by_key(|object| object.as_ref().resource_version().number());
        if let Some(oldest) = oldest {
            cluster.delete(self.kind.gvr(), &super::told::key(&oldest.as_ref())).unwrap();
            self.gone.insert(state(&oldest.as_ref()).0);
        }
    }

    /// Changes every object, so that each comes once more.
    pub(super) fn touch_all(&mut self, cluster: &Cluster) {
        for object in self.objects(cluster) {
            let name = super::told::key(&object.as_ref());
            let patch = format!("{{data: {{n: \"{}\"}}}}", self.random.u32(..));
            let stored = cluster.patch(self.kind.gvr(), &name, &patch).unwrap();
            self.note(&stored);
        }
    }

    /// The uids of what is there.
    pub(super) fn uids(&self, cluster: &Cluster) -> HashSet<String> {
        self.objects(cluster).iter().map(|object| state(&object.as_ref()).0).collect()
    }

    /// Of these objects those are gone that are not there now.
    pub(super) fn note_gone(&mut self, before: HashSet<String>, cluster: &Cluster) {
        let now = self.uids(cluster);
        self.gone.extend(before.into_iter().filter(|uid| !now.contains(uid)));
    }

    fn objects(&self, cluster: &Cluster) -> Vec<Object> {
        cluster.objects(&faro::api::WatchTarget::all(self.kind.gvr().parse().unwrap())).unwrap_or_default()
    }

    /// Whether an object ever was so.
    pub(super) fn had(&self, state: &(String, String)) -> bool {
        self.had.contains(state)
    }

    /// Whether an object is gone, or had a label that `matches` does not want.
    pub(super) fn left(&self, uid: &str, matches: impl Fn(Option<&str>) -> bool) -> bool {
        self.gone.contains(uid) || self.apps.get(uid).is_some_and(|apps| apps.iter().any(|app| !matches(app.as_deref())))
    }

    fn note(&mut self, object: &Object) {
        let object = object.as_ref();
        let app = object.labels().get("app").map(std::borrow::Cow::into_owned);
        let state = state(&object);
        self.apps.entry(state.0.clone()).or_default().insert(app);
        self.had.insert(state);
    }

    /// The names that are in use now.
    fn names(&self) -> &'static [&'static str] {
        let gone = if self.moves_on { self.written * (NAMES.len() - NAMES_AT_A_TIME) / self.writes } else { 0 };
        &NAMES[gone.min(NAMES.len() - NAMES_AT_A_TIME)..][..NAMES_AT_A_TIME]
    }

    fn create(&self, cluster: &Cluster, name: &str, app: Option<&str>) -> Object {
        let (namespace, name) = name.split_once('/').unwrap();
        let labels = app.map(|app| format!(", labels: {{app: {app}}}")).unwrap_or_default();
        let head = self.kind.head();
        cluster
            .create(&format!("{{{head}, metadata: {{namespace: {namespace}, name: {name}{labels}}}, data: {{n: \"1\"}}}}"))
            .unwrap()
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(0..from.len())]
    }
}
