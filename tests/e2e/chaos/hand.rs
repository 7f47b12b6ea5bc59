//! Writes objects to a cluster, real or simulated, and keeps an [`Act`] of each answer.

use super::truth::{Act, Deed, Key, LABEL};
use crate::writer::{CONFIG_MAPS, Change, LEASES, WIDGETS, Writer};
use faro::api::Object;
use faro::sim::Cluster;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// One hand, that does one thing after the other.
#[derive(Debug)]
pub(crate) struct Hand {
    scribe: Scribe,
    began: Instant,
    /// What it did so far.
    pub(crate) acts: Vec<Act>,
}

/// The values of the label that selectors ask for.
pub(crate) const LABELS: [&str; 2] = ["front", "back"];

#[derive(Debug)]
enum Scribe {
    Real(Vec<(String, Writer)>),
    Simulated(Arc<Cluster>),
}

impl Hand {
    /// One that writes to a real cluster, through connections of its own. Times are counted from `began`.
    pub(crate) fn real(writer: &Writer, began: Instant) -> Self {
        let scribe = Scribe::Real([CONFIG_MAPS, LEASES, WIDGETS].map(|kind| (kind.gvr(), writer.of(kind))).into());
        Self { scribe, began, acts: Vec::new() }
    }

    /// One that writes to a simulated cluster, past its faults.
    pub(crate) fn simulated(cluster: &Arc<Cluster>, began: Instant) -> Self {
        Self { scribe: Scribe::Simulated(Arc::clone(cluster)), began, acts: Vec::new() }
    }

    /// Makes an object that is not there.
    pub(crate) fn create(&mut self, key: &Key, label: &str, data: &str) {
        let (uid, version) = match &self.scribe {
            Scribe::Real(_) => answered(&self.writer(key).create_object(&key.1, &key.2, &json!({ LABEL: label }), data)),
            Scribe::Simulated(cluster) => stored(&cluster.create(&manifest(key, label, data)).expect("it is not there")),
        };
        self.keep(key, Deed::Create, uid, Some(version), label);
    }

    /// Changes an object that is there.
    pub(crate) fn update(&mut self, key: &Key, label: &str, data: &str) {
        let (uid, version) = match &self.scribe {
            Scribe::Real(_) => answered(&self.writer(key).update_object(&key.1, &key.2, &json!({ LABEL: label }), data)),
            Scribe::Simulated(cluster) => {
                let patch = json!({"metadata": {"labels": {LABEL: label}, "annotations": {"e2e": data}}}).to_string();
                stored(&cluster.patch(&key.0, &format!("{}/{}", key.1, key.2), &patch).expect("it is there"))
            }
        };
        self.keep(key, Deed::Update, uid, Some(version), label);
    }

    /// Deletes an object that is there.
    pub(crate) fn delete(&mut self, key: &Key, label: &str) {
        let uid = match &self.scribe {
            Scribe::Real(_) => self.writer(key).delete_object(&key.1, &key.2).uid,
            Scribe::Simulated(cluster) => {
                let name = format!("{}/{}", key.1, key.2);
                let (uid, _) = stored(&cluster.get(&key.0, &name).expect("it is there"));
                cluster.delete(&key.0, &name).expect("it is there");
                uid
            }
        };
        self.keep(key, Deed::Delete, uid, None, label);
    }

    fn keep(&mut self, key: &Key, deed: Deed, uid: String, version: Option<u64>, label: &str) {
        self.acts.push(Act { key: key.clone(), deed, uid, version, label: label.to_owned(), at: self.began.elapsed() });
    }

    fn writer(&self, key: &Key) -> &Writer {
        let Scribe::Real(writers) = &self.scribe else { panic!("only real clusters have writers") };
        &writers.iter().find(|(gvr, _)| *gvr == key.0).expect("these are the kinds that are written").1
    }
}

fn answered(change: &Change) -> (String, u64) {
    (change.uid.clone(), number(change.version.as_deref().unwrap_or_default()))
}

fn stored(object: &Object) -> (String, u64) {
    let object = object.as_ref();
    (object.uid().into_owned(), number(object.resource_version().as_str()))
}

fn number(version: &str) -> u64 {
    version.parse().expect("the servers of these tests count their versions")
}

fn manifest(key: &Key, label: &str, data: &str) -> String {
    let kind = [CONFIG_MAPS, LEASES, WIDGETS].into_iter().find(|kind| kind.gvr() == key.0);
    kind.expect("these are the kinds that are written").object(&key.1, &key.2, &json!({ LABEL: label }), data)
}
