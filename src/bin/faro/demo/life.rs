//! Lives: makes one change after the other at an even pace, and notes each in the book.

use super::book::Book;
use super::stories::{Step, Story};
use super::world::{World, next_story};
use faro::event::EventType;
use faro::lifecycle::Stop;
use faro::sim::{Cluster, Refused};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A cluster's life, the same for each seed.
pub(super) struct Life {
    cluster: Arc<Cluster>,
    book: Arc<Book>,
    world: World,
    /// What goes on at the same time.
    stories: Vec<Story>,
    /// The events in the cluster, oldest first.
    events: VecDeque<String>,
}

/// How fast, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Changes a second.
    pub(super) rate: u32,
    /// Without it until stopped.
    pub(super) limit: Option<Duration>,
}

/// So many stories go on at once: a reader can still follow them.
const STORIES: usize = 4;

/// So many events are kept, as a server keeps those of the last hour.
const EVENTS_KEPT: usize = 100;

/// How long Faro may take to tell what was made last; on loopback it takes milliseconds.
const TELLING_MAX: Duration = Duration::from_secs(10);

/// How often the book is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

impl Life {
    pub(super) fn new(cluster: Arc<Cluster>, book: Arc<Book>, seed: u64) -> Self {
        Self { cluster, book, world: World::new(seed), stories: Vec::new(), events: VecDeque::new() }
    }

    /// Makes what is there when Faro comes: `pods` pods of deployments, and one object at least of everything that is watched.
    ///
    /// # Errors
    ///
    /// As the cluster refuses an object.
    pub(super) fn settle(&mut self, pods: u32) -> Result<(), Refused> {
        for object in self.world.surroundings() {
            self.cluster.create(&object.to_string())?;
        }
        for step in self.world.settle(pods) {
            self.take(step)?;
        }
        Ok(())
    }

    /// Waits until Faro has told what was there, changes something `rate` times a second until the end, and waits until Faro has
    /// told that, too.
    /// Nothing more is told once Faro has `ended`.
    pub(super) fn go_on(&mut self, pace: Pace, stop: &Stop, ended: &Stop) {
        self.wait_until_told(stop);
        let (begin, pause) = (Instant::now(), Duration::from_secs(1) / pace.rate);
        let mut due = begin;
        while !stop.wait(due.saturating_duration_since(Instant::now())) {
            if pace.limit.is_some_and(|limit| begin.elapsed() >= limit) {
                break;
            }
            self.change_something();
            due += pause;
        }
        self.wait_until_told(ended);
    }

    fn wait_until_told(&self, stop: &Stop) {
        let end = Instant::now() + TELLING_MAX;
        while !self.book.is_settled() && Instant::now() < end && !stop.wait(LOOK) {}
    }

    fn change_something(&mut self) {
        if self.events.len() > EVENTS_KEPT
            && let Some(name) = self.events.pop_front()
        {
            return self.try_step(Step::Delete("v1/events", name));
        }
        while self.stories.len() < STORIES {
            self.stories.push(next_story(&mut self.world));
        }
        let place = self.world.choose(self.stories.len());
        match self.stories[place].next() {
            Some(step) => self.try_step(step),
            None => {
                let ended = self.stories.swap_remove(place);
                self.world.end(&ended);
                self.change_something();
            }
        }
    }

    /// Whoever joined with kubectl may have deleted what this was about.
    fn try_step(&mut self, step: Step) {
        if let Err(refused) = self.take(step) {
            log::debug!("a step of the demo was refused: {refused}");
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Refused> {
        match step {
            Step::Create(object) => {
                let created = self.cluster.create(&object.to_string())?;
                let created = created.as_ref();
                if object["kind"] == "Event" {
                    self.events.push_back(format!("{}/{}", created.namespace(), created.name()));
                }
                self.book.made(EventType::Added, &created.uid(), created.resource_version().as_str());
            }
            Step::Patch(gvr, name, patch) => {
                let before = self.cluster.get(gvr, &name)?;
                let after = self.cluster.patch(gvr, &name, &patch.to_string())?;
                let version = after.as_ref().resource_version();
                // A patch that changes nothing is no change.
                if before.as_ref().resource_version() != version {
                    self.book.made(EventType::Updated, &after.as_ref().uid(), version.as_str());
                }
            }
            Step::Delete(gvr, name) => {
                let last = self.cluster.get(gvr, &name)?;
                self.cluster.delete(gvr, &name)?;
                self.book.made(EventType::Deleted, &last.as_ref().uid(), "");
            }
        }
        Ok(())
    }
}
