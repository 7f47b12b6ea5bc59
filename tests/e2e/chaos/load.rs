//! A seeded load: so many changes to so many objects in so much time, by several hands, each answer kept.

use super::truth::{Act, Deed, Key, LABEL};
use crate::wait::pause;
use crate::writer::{CONFIG_MAPS, LEASES, WIDGETS, Writer};
use serde_json::json;
use std::time::{Duration, Instant};

/// Writes objects to a cluster, one after the other, and gives uid and version as the server answered.
pub(crate) trait Scribe: Send {
    fn create(&self, key: &Key, label: &str, data: &str) -> (String, u64);
    fn update(&self, key: &Key, label: &str, data: &str) -> (String, u64);
    fn delete(&self, key: &Key) -> String;
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Gvr and namespace; objects are dealt out to these in turn.
    pub(crate) places: Vec<(String, String)>,
    pub(crate) objects: usize,
    pub(crate) changes: usize,
    /// The changes are spread evenly over this.
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
}

/// The values of the label that selectors ask for.
pub(crate) const LABELS: [&str; 2] = ["front", "back"];

impl Load {
    /// Does it, with as many hands as there are `scribes`; times are counted from `began`. A change that is late because the
    /// server was away is made up for at once.
    pub(crate) fn run(&self, scribes: Vec<Box<dyn Scribe>>, began: Instant) -> Vec<Act> {
        let hands = scribes.len();
        std::thread::scope(|scope| {
            let hand = |(number, scribe)| scope.spawn(move || self.hand(number, hands, &*{ scribe as Box<dyn Scribe> }, began));
            let working: Vec<_> = scribes.into_iter().enumerate().map(hand).collect();
            working.into_iter().flat_map(|hand| hand.join().expect("a hand makes all its changes")).collect()
        })
    }

    fn hand(&self, number: usize, hands: usize, scribe: &dyn Scribe, began: Instant) -> Vec<Act> {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(number as u64));
        let mut objects: Vec<Object> = (number..self.objects).step_by(hands).map(|index| self.object(index)).collect();
        let mut acts = Vec::new();
        for change in (number..self.changes).step_by(hands) {
            let due = self.duration.mul_f64(change as f64 / self.changes as f64);
            pause(due.saturating_sub(start.elapsed()));
            // Each object at least once.
            let index = if acts.len() < objects.len() { acts.len() } else { random.usize(0..objects.len()) };
            let (key, deed, label, (uid, version)) = objects[index].change(scribe, &mut random, change);
            acts.push(Act { key, deed, uid, version, label, at: began.elapsed() });
        }
        acts
    }

    fn object(&self, index: usize) -> Object {
        let (gvr, namespace) = self.places[index % self.places.len()].clone();
        Object { key: (gvr, namespace, format!("object-{index}")), label: None }
    }
}

/// One object, and its label while it is there.
struct Object {
    key: Key,
    label: Option<&'static str>,
}

impl Object {
    fn change(
        &mut self,
        scribe: &dyn Scribe,
        random: &mut fastrand::Rng,
        number: usize,
    ) -> (Key, Deed, String, (String, Option<u64>)) {
        let (key, data) = (self.key.clone(), number.to_string());
        let anew = LABELS[random.usize(0..LABELS.len())];
        let (deed, label, answer) = match (self.label, random.u8(0..100)) {
            (None, _) => (Deed::Create, anew, scribe.create(&key, anew, &data)),
            (Some(label), 0..DELETES) => {
                let uid = scribe.delete(&key);
                self.label = None;
                return (key, Deed::Delete, label.to_owned(), (uid, None));
            }
            // Half of these cross a selector.
            (Some(_), DELETES..LABELLED) => (Deed::Update, anew, scribe.update(&key, anew, &data)),
            (Some(label), _) => (Deed::Update, label, scribe.update(&key, label, &data)),
        };
        self.label = Some(label);
        (key, deed, label.to_owned(), (answer.0, Some(answer.1)))
    }
}

/// Of a hundred changes to objects that are there, so many are deletes, and the next are label changes.
const DELETES: u8 = 20;
const LABELLED: u8 = 60;

/// Writes to a real cluster.
pub(crate) struct RealScribe(Vec<(String, Writer)>);

impl RealScribe {
    /// With connections of its own.
    pub(crate) fn new(writer: &Writer) -> Box<dyn Scribe> {
        Box::new(Self([CONFIG_MAPS, LEASES, WIDGETS].map(|kind| (kind.gvr(), writer.of(kind))).into()))
    }

    fn of(&self, key: &Key) -> &Writer {
        let of_gvr = self.0.iter().find(|(gvr, _)| *gvr == key.0);
        &of_gvr.expect("loads have places of these kinds only").1
    }
}

impl Scribe for RealScribe {
    fn create(&self, key: &Key, label: &str, data: &str) -> (String, u64) {
        answered(self.of(key).create_object(&key.1, &key.2, &json!({ LABEL: label }), data))
    }

    fn update(&self, key: &Key, label: &str, data: &str) -> (String, u64) {
        answered(self.of(key).update_object(&key.1, &key.2, &json!({ LABEL: label }), data))
    }

    fn delete(&self, key: &Key) -> String {
        self.of(key).delete_object(&key.1, &key.2).uid
    }
}

fn answered(change: crate::writer::Change) -> (String, u64) {
    let version = change.version.and_then(|version| version.parse().ok());
    (change.uid, version.expect("the server answers with a version, a number"))
}
