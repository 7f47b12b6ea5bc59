//! What the demo's cluster holds, and which story comes next. Nothing but the seed decides.

use super::stories::{self, Step, Story};
use serde_json::{Value, json};

/// What the stories are about.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) apps: Vec<App>,
    /// How many jobs and backups there ever were.
    pub(super) runs: u32,
    /// How often the payments pod has crashed.
    pub(super) crashes: u32,
    is_crashing: bool,
}

/// A deployment.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) release: u32,
    pub(super) replica_set: String,
    pub(super) pods: Vec<String>,
    /// A story is about it.
    pub(super) is_busy: bool,
}

/// Where all of it is.
pub(super) const NAMESPACE: &str = "shop";

/// The pod that never gets well.
pub(super) const CRASHING: &str = "payments-0";

const NAMES: [&str; 10] = ["web", "cart", "search", "checkout", "catalog", "orders", "stock", "reviews", "mailer", "images"];

/// Pods of one deployment, so that a rollout ends while one looks.
const REPLICAS: u32 = 3;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), apps: Vec::new(), runs: 0, crashes: 0, is_crashing: false }
    }

    /// What nobody watches, but everything needs: a namespace, and the definition of backups.
    pub(super) fn surroundings(&self) -> [Value; 2] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "backups.demo.faro.dev"},
            "spec": {
                "group": "demo.faro.dev",
                "scope": "Namespaced",
                "names": {"plural": "backups", "singular": "backup", "kind": "Backup"},
                "versions": [version],
            },
        });
        [namespace, definition]
    }

    /// `pods` pods in deployments, and one of each other kind.
    pub(super) fn settle(&mut self, pods: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        for first in (0..pods).step_by(REPLICAS as usize) {
            let replicas = REPLICAS.min(pods - first);
            let app = self.add_app(replicas);
            steps.extend(stories::settled(&app));
            self.apps.push(app);
        }
        steps.push(stories::crashing_pod());
        steps.extend(stories::first_runs());
        steps
    }

    fn add_app(&mut self, replicas: u32) -> App {
        let (round, place) = (self.apps.len() / NAMES.len(), self.apps.len() % NAMES.len());
        let name = if round == 0 { NAMES[place].to_owned() } else { format!("{}-{}", NAMES[place], round + 1) };
        let replica_set = format!("{name}-{}", self.letters(9));
        let pods = (0..replicas).map(|_| format!("{replica_set}-{}", self.letters(5))).collect();
        App { name, release: self.rng.u32(1..9), replica_set, pods, is_busy: false }
    }

    /// As Kubernetes makes the ends of names: no vowels, so that no words come out.
    pub(super) fn letters(&mut self, count: usize) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..count).map(|_| char::from(LETTERS[self.rng.usize(..LETTERS.len())])).collect()
    }

    /// One of so many.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        self.rng.usize(..count)
    }

    /// A story has come to its end.
    pub(super) fn end(&mut self, story: &Story) {
        match story.about {
            stories::About::App(place) => self.apps[place].is_busy = false,
            stories::About::Crash => self.is_crashing = false,
            stories::About::Run => {}
        }
    }

    fn idle_app(&mut self) -> Option<usize> {
        let idle: Vec<usize> = (0..self.apps.len()).filter(|&place| !self.apps[place].is_busy).collect();
        if idle.is_empty() { None } else { Some(idle[self.choose(idle.len())]) }
    }
}

/// What happens next: mostly a rollout, at times something else.
pub(super) fn next_story(world: &mut World) -> Story {
    let chance = world.rng.u32(..10);
    if chance < 2 && !world.is_crashing {
        world.is_crashing = true;
        return stories::crash(world);
    }
    if chance < 7
        && let Some(place) = world.idle_app()
    {
        world.apps[place].is_busy = true;
        return stories::rollout(world, place);
    }
    if chance.is_multiple_of(2) { stories::job(world) } else { stories::backup(world) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64) -> Vec<String> {
        let mut world = World::new(seed);
        let mut told: Vec<String> = world.settle(10).iter().map(|step| format!("{step:?}")).collect();
        for _ in 0..20 {
            let mut story = next_story(&mut world);
            told.extend(std::iter::from_fn(|| story.next()).map(|step| format!("{step:?}")));
            world.end(&story);
        }
        told
    }

    #[test]
    fn the_seed_decides_the_life() {
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }
}
