//! A seeded load: so many changes to so many objects in so much time, by several hands, each answer kept.

use super::hand::{Hand, LABELS};
use super::truth::{Act, Key};
use crate::wait::pause;
use std::time::{Duration, Instant};

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

impl Load {
    /// Does it; a change that is late because the server was away is made up for at once. Gives what was done.
    pub(crate) fn run(&self, hands: Vec<Hand>) -> Vec<Act> {
        let count = hands.len();
        std::thread::scope(|scope| {
            let work = |(number, hand)| scope.spawn(move || self.work(number, count, hand));
            let working: Vec<_> = hands.into_iter().enumerate().map(work).collect();
            working.into_iter().flat_map(|hand| hand.join().expect("a hand makes all its changes")).collect()
        })
    }

    /// The part of hand `number` of `hands`: every so many objects and changes.
    fn work(&self, number: usize, hands: usize, mut hand: Hand) -> Vec<Act> {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(number as u64));
        let mut objects: Vec<Object> = (number..self.objects).step_by(hands).map(|index| self.object(index)).collect();
        for (count, change) in (number..self.changes).step_by(hands).enumerate() {
            let due = self.duration.mul_f64(change as f64 / self.changes as f64);
            pause(due.saturating_sub(start.elapsed()));
            // Each object at least once.
            let index = if count < objects.len() { count } else { random.usize(0..objects.len()) };
            objects[index].change(&mut hand, &mut random, change);
        }
        hand.acts
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
    fn change(&mut self, hand: &mut Hand, random: &mut fastrand::Rng, number: usize) {
        let data = number.to_string();
        let anew = LABELS[random.usize(0..LABELS.len())];
        self.label = match (self.label, random.u8(0..100)) {
            (None, _) => {
                hand.create(&self.key, anew, &data);
                Some(anew)
            }
            (Some(label), 0..DELETES) => {
                hand.delete(&self.key, label);
                None
            }
            // Half of these cross a selector.
            (Some(_), DELETES..LABELLED) => {
                hand.update(&self.key, anew, &data);
                Some(anew)
            }
            (Some(label), _) => {
                hand.update(&self.key, label, &data);
                Some(label)
            }
        };
    }
}

/// Of a hundred changes to objects that are there, so many are deletes, and the next are label changes.
const DELETES: u8 = 20;
const LABELLED: u8 = 60;
