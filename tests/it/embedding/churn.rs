//! Five hundred watches that are added and removed at random while objects change.

use super::*;
use faro::api::WatchTarget;
use faro::event::EventType;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const NAMESPACES: usize = 20;

/// Each of its own kind, of a group that no other test has.
const KINDS: usize = 5;

/// Of each kind in each namespace: this many names are watched one by one.
const NAMES: usize = 5;

/// Threads that add and remove, each its own part.
const MOVERS: usize = 4;

/// Each adds or removes so often.
const MOVES: usize = 25;

/// Each changes so many objects before each move, so that the others' events flow while one adds or removes.
const CHANGES: usize = 20;

/// In one call.
const BATCH_MAX: usize = 10;

const GROUP: &str = "churn.test";

/// One watch of one name, and what is known of it.
struct Spot {
    resource: ResourceConfig,
    target: WatchTarget,
    /// Its removal has returned, and it was not added again.
    is_removed: AtomicBool,
    told_too_late: AtomicU64,
    /// The object's state as the events tell it: its version.
    state: Mutex<Option<String>>,
}

impl Spot {
    fn new(namespace: usize, kind: usize, name: usize) -> Self {
        let mut resource = ResourceConfig::new(format!("{GROUP}/v1/kind{kind}s"));
        resource.namespace_names = vec![format!("n-{namespace}")];
        resource.name_selector = Some(format!("o-{name}"));
        let config = Config::builder("unused").resource(resource.clone()).build().unwrap();
        let target = config.watches().remove(0).target;
        let (told_too_late, state) = (AtomicU64::new(0), Mutex::default());
        Self { resource, target, is_removed: AtomicBool::new(true), told_too_late, state }
    }

    fn note(&self, event: &MatchedEvent) {
        if self.is_removed.load(Ordering::SeqCst) {
            self.told_too_late.fetch_add(1, Ordering::SeqCst);
        }
        let state = (event.event_type != EventType::Deleted).then(|| event.resource_version().as_str().to_owned());
        *self.state.lock().unwrap() = state;
    }

    fn object(&self) -> String {
        let (namespace, name) = (&self.resource.namespace_names[0], self.resource.name_selector.as_deref().unwrap());
        let kind = self.target.gvr.resource().trim_start_matches("kind").trim_end_matches('s');
        let metadata = format!("{{namespace: {namespace}, name: {name}}}");
        format!("{{apiVersion: {GROUP}/v1, kind: Kind{kind}, metadata: {metadata}}}")
    }

    /// `namespace/name`.
    fn key(&self) -> String {
        format!("{}/{}", self.resource.namespace_names[0], self.resource.name_selector.as_deref().unwrap())
    }
}

struct World {
    stage: Stage,
    controller: Controller,
    spots: Vec<Spot>,
}

impl World {
    fn new() -> Arc<Self> {
        let stage = Stage::new();
        for kind in 0..KINDS {
            let names = format!("{{plural: kind{kind}s, singular: kind{kind}, kind: Kind{kind}}}");
            let versions = "[{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]";
            let spec = format!("{{group: {GROUP}, scope: Namespaced, names: {names}, versions: {versions}}}");
            let head = "apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition";
            stage.cluster.create(&format!("{{{head}, metadata: {{name: kind{kind}s.{GROUP}}}, spec: {spec}}}")).unwrap();
        }
        for namespace in 0..NAMESPACES {
            stage.cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: n-{namespace}}}}}")).unwrap();
        }
        let places = (0..NAMESPACES * KINDS * NAMES).map(|n| (n / (KINDS * NAMES), n / NAMES % KINDS, n % NAMES));
        let spots = places.map(|(namespace, kind, name)| Spot::new(namespace, kind, name)).collect();
        let controller = stage.controller_of(stage.config().max_concurrent_lists(64).resource(ResourceConfig::new("v1/nodes")));
        let world = Arc::new(Self { stage, controller, spots });
        let by_target: BTreeMap<_, _> = world.spots.iter().enumerate().map(|(n, spot)| (spot.target.clone(), n)).collect();
        let told = Arc::downgrade(&world);
        _ = world
            .controller
            .add_event_handler(move |event: &MatchedEvent| {
                if let Some(world) = told.upgrade() {
                    world.spots[by_target[event.target()]].note(event);
                }
                Ok(())
            })
            .unwrap();
        world
    }

    /// Creates, changes or deletes an object at random. Another thread may be quicker, which the server refuses.
    fn write(&self, random: &mut fastrand::Rng) {
        let spot = &self.spots[random.usize(..self.spots.len())];
        let (gvr, cluster) = (&spot.resource.gvr, &self.stage.cluster);
        let turn = random.u32(..).to_string();
        match random.u8(..4) {
            0 => _ = cluster.delete(gvr, &spot.key()),
            1 => _ = cluster.create(&spot.object()),
            2.. => _ = cluster.label(gvr, &spot.key(), &[("turn", Some(&turn))]),
        }
    }

    /// Adds or removes at random within a part that is this thread's alone.
    fn shift(&self, part: &[usize], random: &mut fastrand::Rng) {
        let wants_removed = random.bool();
        let mut chosen: Vec<usize> = part.iter().copied().filter(|n| self.is_removed(*n) != wants_removed).collect();
        random.shuffle(&mut chosen);
        chosen.truncate(random.usize(1..=BATCH_MAX));
        self.set(&chosen, wants_removed);
    }

    fn is_removed(&self, n: usize) -> bool {
        self.spots[n].is_removed.load(Ordering::SeqCst)
    }

    fn set(&self, chosen: &[usize], removed: bool) {
        let resources: Vec<_> = chosen.iter().map(|n| self.spots[*n].resource.clone()).collect();
        let mark = |removed| chosen.iter().for_each(|n| self.spots[*n].is_removed.store(removed, Ordering::SeqCst));
        if removed {
            self.controller.remove_resources(&resources).unwrap();
            mark(true);
        } else {
            mark(false);
            self.controller.add_resources(&resources).unwrap();
            // Another thread may be starting them.
            self.controller.start_informers().unwrap();
        }
    }

    fn active(&self) -> BTreeSet<usize> {
        (0..self.spots.len()).filter(|n| !self.is_removed(*n)).collect()
    }

    /// What is active and does not replay to the server's object.
    fn astray(&self) -> Vec<String> {
        let is_astray = |spot: &Spot| {
            let stored = self.stage.cluster.get(&spot.resource.gvr, &spot.key()).ok();
            let stored = stored.map(|object| object.as_ref().resource_version().as_str().to_owned());
            let told = spot.state.lock().unwrap().clone();
            (stored != told).then(|| format!("{}: {told:?}, and the server has {stored:?}", spot.target))
        };
        self.active().into_iter().filter_map(|n| is_astray(&self.spots[n])).collect()
    }
}

#[test]
fn five_hundred_watches_come_and_go_at_random_and_each_that_is_there_tells_what_the_server_has() {
    let world = World::new();
    let running = world.controller.spawn().unwrap();
    wait_until_ready(&world.controller);
    world.spots.iter().step_by(2).for_each(|spot| drop(world.stage.cluster.create(&spot.object()).unwrap()));
    let everything: Vec<usize> = (0..world.spots.len()).collect();
    assert_eq!(everything.len(), 500);
    world.set(&everything, false);
    assert_eq!(world.controller.active_informers().dynamic, 500);
    std::thread::scope(|scope| {
        for mover in 0..MOVERS {
            let part: Vec<usize> = everything.iter().copied().filter(|n| n % MOVERS == mover).collect();
            let world = &world;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(100 + mover as u64);
                for _ in 0..MOVES {
                    (0..CHANGES).for_each(|_| world.write(&mut random));
                    world.shift(&part, &mut random);
                }
            });
        }
    });
    let active = world.active();
    assert_eq!(world.controller.active_informers().dynamic, active.len());
    eventually(SOON, "every watch replays to the server's objects", || world.astray().is_empty());
    world.set(&active.into_iter().collect::<Vec<_>>(), true);
    let lines = world.stage.lines().len();
    let mut random = fastrand::Rng::with_seed(2);
    (0..100).for_each(|_| world.write(&mut random));
    eventually(SOON, "no thread is left", || threads_of("churn.test").is_empty());
    assert_eq!(world.controller.active_informers().dynamic, 0);
    assert_eq!(stop(running).unfinished, 0);
    let late: Vec<_> = world.spots.iter().filter(|spot| spot.told_too_late.load(Ordering::SeqCst) > 0).collect();
    assert!(
        late.is_empty(),
        "told after their removal: {:?}",
        late.iter().map(|spot| spot.target.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(world.stage.lines().len(), lines, "nothing is written of what was removed");
}
