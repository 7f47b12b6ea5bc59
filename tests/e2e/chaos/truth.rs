//! What was really done to objects, as the server answered: the truth that lines are judged by.
//!
//! Takes one [`Act`] a write; gives, for each watch and object, the steps that a whole story of it has.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// An object: gvr, namespace, name.
pub(crate) type Key = (String, String, String);

/// One write, as the server answered to it.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// What was written.
    pub(crate) key: Key,
    /// What was done to it.
    pub(crate) deed: Deed,
    /// Which of the objects that had this name one after the other.
    pub(crate) uid: String,
    /// The version that the server answered with. Servers count upwards; `None` for deletes, of which they do not say it.
    pub(crate) version: Option<u64>,
    /// Its label [`LABEL`] since.
    pub(crate) label: String,
    /// When the answer came, counted from the begin of the scenario.
    pub(crate) at: Duration,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It was not there before.
    Create,
    /// It was there and is.
    Update,
    /// It is gone.
    Delete,
}

/// The label that selectors ask for.
pub(crate) const LABEL: &str = "tier";

/// What one watch is to tell of.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) gvr: &'static str,
    pub(crate) namespace: Option<String>,
    pub(crate) label: Option<&'static str>,
}

impl Selection {
    fn covers(&self, key: &Key) -> bool {
        self.gvr == key.0 && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.1)
    }

    fn matches(&self, act: &Act) -> bool {
        act.deed != Deed::Delete && self.label.is_none_or(|label| label == act.label)
    }
}

/// One line that a whole story of an object has, and what is known of the object after it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) event_type: &'static str,
    pub(crate) uid: String,
    pub(crate) version: Versions,
    /// Whether the watch has the object after this.
    pub(crate) is_there: bool,
    pub(crate) at: Duration,
}

/// Which version a step is told with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// The server answered with it.
    Is(u64),
    /// It did not say; it lies between those of the writes before and after.
    Between(u64, u64),
}

impl Versions {
    /// Whether `version` may be it.
    pub(crate) fn fits(self, version: u64) -> bool {
        match self {
            Self::Is(known) => known == version,
            Self::Between(before, after) => before < version && version < after,
        }
    }
}

/// Everything that was done.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    acts: BTreeMap<Key, Vec<Act>>,
    versions: HashSet<u64>,
}

impl Truth {
    /// Takes all acts; those of one object are in the order in which they were done.
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let mut truth = Self::default();
        for act in acts {
            truth.versions.extend(act.version);
            truth.acts.entry(act.key.clone()).or_default().push(act);
        }
        truth
    }

    /// Whether this object was ever written to.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.acts.contains_key(key)
    }

    /// Whether the server answered to some write with `version`.
    pub(crate) fn has_version(&self, version: u64) -> bool {
        self.versions.contains(&version)
    }

    /// The whole story that a watch tells of each object, where it tells any.
    pub(crate) fn stories(&self, selection: &Selection) -> BTreeMap<&Key, Vec<Step>> {
        let covered = self.acts.iter().filter(|(key, _)| selection.covers(key));
        covered.map(|(key, acts)| (key, steps(acts, selection))).filter(|(_, steps)| !steps.is_empty()).collect()
    }
}

/// How many lines a comparison of the time `then` with now has.
pub(crate) fn differences(truth: &Truth, selection: &Selection, then: Duration) -> usize {
    let difference = |steps: Vec<Step>| {
        let known = |step: Option<&Step>| step.filter(|step| step.is_there).map(|step| (step.uid.clone(), step.version));
        let before = known(steps.iter().rev().find(|step| step.at <= then));
        match (before, known(steps.last())) {
            (None, None) => 0,
            (Some(before), Some(now)) if before == now => 0,
            (Some(before), Some(now)) if before.0 != now.0 => 2,
            (_, _) => 1,
        }
    };
    truth.stories(selection).into_values().map(difference).sum()
}

fn steps(acts: &[Act], selection: &Selection) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut was_there, mut before) = (false, 0);
    for (index, act) in acts.iter().enumerate() {
        let is_there = selection.matches(act);
        let event_type = match (was_there, is_there) {
            (false, false) => None,
            (false, true) => Some("ADDED"),
            (true, true) => Some("UPDATED"),
            (true, false) => Some("DELETED"),
        };
        let after = acts[index + 1..].iter().find_map(|act| act.version).unwrap_or(u64::MAX);
        let version = act.version.map_or(Versions::Between(before, after), Versions::Is);
        let step = |event_type| Step { event_type, uid: act.uid.clone(), version, is_there, at: act.at };
        steps.extend(event_type.map(step));
        was_there = is_there;
        before = act.version.unwrap_or(before);
    }
    steps
}
