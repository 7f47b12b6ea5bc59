//! What happens on the server, and what was true when.

use super::wait::pause;
use faro::api::Object;
use faro::sim::Cluster;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The object that the receiver refuses until it is released.
pub(crate) const STUCK: &str = "stuck";
pub(crate) const GVR: &str = "v1/configmaps";
/// At most so many at once.
const OBJECTS_MAX: usize = 80;
/// Between two changes: a third of what the receiver takes.
const PAUSE: Duration = Duration::from_millis(10);
/// The stuck object changes with every so many others: what it is owed comes one after the other at the end, a call each.
const STUCK_ONE_IN: u32 = 40;

/// Random changes, and the history of each object.
pub(crate) struct Load {
    rng: Rng,
    created: usize,
    /// By name, what is there now.
    alive: BTreeMap<String, String>,
    /// By uid.
    pub(crate) histories: BTreeMap<String, History>,
    stuck: String,
    counts: bool,
}

/// What one object went through.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) last_version: u64,
    /// The versions of which each has to be delivered.
    pub(crate) required: Vec<u64>,
    pub(crate) is_deleted: bool,
}

impl Load {
    pub(crate) fn new(seed: u64) -> Self {
        let (created, alive, histories, stuck, counts) = Default::default();
        Self { rng: Rng::with_seed(seed), created, alive, histories, stuck, counts }
    }

    /// From here on no state in between may be missing.
    pub(crate) fn everything_counts(&mut self) {
        self.counts = true;
    }

    /// The version of the stuck object.
    pub(crate) fn stuck_version(&self) -> &str {
        &self.stuck
    }

    pub(crate) fn create_stuck(&mut self, cluster: &Cluster) {
        self.stuck = version(&cluster.create(&config_map(STUCK)).unwrap()).to_string();
    }

    pub(crate) fn create(&mut self, cluster: &Cluster) {
        let name = format!("object-{}", self.created % (2 * OBJECTS_MAX));
        self.created += 1;
        if !self.alive.contains_key(&name) {
            let object = cluster.create(&config_map(&name)).unwrap();
            self.alive.insert(name.clone(), object.as_ref().uid().into_owned());
            self.note(name, &object);
        }
    }

    pub(crate) fn delete(&mut self, cluster: &Cluster, name: &str) {
        let Some(uid) = self.alive.remove(name) else { return };
        cluster.delete(GVR, &format!("default/{name}")).unwrap();
        self.histories.get_mut(&uid).unwrap().is_deleted = true;
    }

    /// Changes things for so long.
    pub(crate) fn go_on(&mut self, cluster: &Cluster, limit: Duration) {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.change(cluster);
            pause(PAUSE);
        }
    }

    fn change(&mut self, cluster: &Cluster) {
        if self.rng.u32(0..STUCK_ONE_IN) == 0 {
            self.stuck = version(&self.touch(cluster, STUCK)).to_string();
        }
        match self.rng.u8(0..10) {
            0 | 1 if self.alive.len() < OBJECTS_MAX => self.create(cluster),
            2 => {
                if let Some(name) = self.any() {
                    self.delete(cluster, &name);
                }
            }
            _ => {
                if let Some(name) = self.any() {
                    let object = self.touch(cluster, &name);
                    self.note(name, &object);
                }
            }
        }
    }

    fn any(&mut self) -> Option<String> {
        let nth = self.rng.usize(0..self.alive.len().max(1));
        self.alive.keys().nth(nth).cloned()
    }

    fn touch(&mut self, cluster: &Cluster, name: &str) -> Object {
        let value = self.rng.u32(..).to_string();
        cluster.label(GVR, &format!("default/{name}"), &[("touched", Some(&value))]).unwrap()
    }

    fn note(&mut self, name: String, object: &Object) {
        let history = self.histories.entry(object.as_ref().uid().into_owned()).or_default();
        (history.name, history.last_version) = (name, version(object));
        if self.counts {
            history.required.push(history.last_version);
        }
    }
}

fn config_map(name: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}")
}

pub(crate) fn version(object: &Object) -> u64 {
    object.as_ref().resource_version().as_str().parse().unwrap()
}
