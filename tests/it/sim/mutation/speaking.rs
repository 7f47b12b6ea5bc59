//! Informers that say something else than they mean.

use super::Mutation;
use crate::sim::told::key;
use faro::event::{Credit, EventType, Kept, Mark, MatchedEvent, Outlet};
use std::collections::HashMap;
use std::time::Duration;

/// An outlet that says something else than its informer does.
pub(super) struct Misspeaking<O> {
    mutation: Mutation,
    outlet: O,
    random: fastrand::Rng,
    /// Waits for an event to change places with.
    held: Option<MatchedEvent>,
    /// How often since then nothing more came for the time being.
    flushes: u8,
    /// Not told so far, by object.
    deleted: HashMap<String, MatchedEvent>,
}

impl<O> Misspeaking<O> {
    pub(super) fn new(mutation: Mutation, outlet: O, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { mutation, outlet, random, held: None, flushes: 0, deleted: HashMap::new() }
    }
}

impl<O: Outlet> Outlet for Misspeaking<O> {
    fn wait_for_credit(&mut self, limit: Duration) -> Credit {
        self.outlet.wait_for_credit(limit)
    }

    fn send(&mut self, mut event: MatchedEvent) {
        let is_delete = event.event_type == EventType::Deleted;
        let errs = self.random.u8(0..MISTAKE_ONE_IN) == 0;
        match self.mutation {
            Mutation::ForgetsADelete if is_delete && errs => {}
            Mutation::ForgetsWhatAListLacks if is_delete && event.inferred => {}
            Mutation::SwapsTwoEvents => self.swap(event),
            Mutation::TakesANamesakeForTheSame => {
                let key = key(&event.metadata());
                if is_delete {
                    self.deleted.insert(key, event);
                } else {
                    if self.deleted.remove(&key).is_some() {
                        event.event_type = EventType::Updated;
                    }
                    self.outlet.send(event);
                }
            }
            Mutation::TellsTwice if errs => {
                self.outlet.send(event.clone());
                self.outlet.send(event);
            }
            Mutation::BelievesANotFound
            | Mutation::ForgetsADelete
            | Mutation::ForgetsItsNamespace
            | Mutation::ForgetsWhatAListLacks
            | Mutation::GoesBackWithABookmark
            | Mutation::HearsOneOfTwo
            | Mutation::IgnoresGone
            | Mutation::PassesOverUnreadableLines
            | Mutation::ResumesFromAWrongVersion
            | Mutation::SeesNoAbsence
            | Mutation::SkipsTheProbe
            | Mutation::TakesUnreadableForGone
            | Mutation::TellsTwice
            | Mutation::TrustsHalfAList
            | Mutation::TrustsAnotherCluster
            | Mutation::TrustsHeartbeats
            | Mutation::TrustsTheLastPage
            | Mutation::TrustsTheNewestListed
            | Mutation::WaitsForTheEndOfAList => self.outlet.send(event),
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.outlet.keep(kept);
    }

    fn mark(&mut self, mark: Mark) {
        self.outlet.mark(mark);
    }

    /// Whatever waited for its like in vain is told after all.
    fn flush(&mut self) {
        self.flushes = self.flushes.saturating_add(1);
        let held = if self.flushes > FLUSHES_HELD { self.held.take() } else { None };
        held.into_iter().chain(self.deleted.drain().map(|(_, event)| event)).for_each(|event| self.outlet.send(event));
        self.outlet.flush();
    }
}

impl<O: Outlet> Misspeaking<O> {
    fn swap(&mut self, event: MatchedEvent) {
        match self.held.take() {
            Some(held) if key(&held.metadata()) == key(&event.metadata()) => {
                self.outlet.send(event);
                self.outlet.send(held);
            }
            held => {
                held.into_iter().for_each(|held| self.outlet.send(held));
                (self.held, self.flushes) = (Some(event), 0);
            }
        }
    }
}

/// An event that changes places is held for so long: the next one seldom comes with the same read.
const FLUSHES_HELD: u8 = 3;

/// How seldom a mistake is made that could be made with each event.
const MISTAKE_ONE_IN: u8 = 8;
