//! The watches at work: one informer each, started and stopped while others go on.

use super::ControllerError;
use super::adding::Added;
use super::guard::Guard;
use super::keeper::Keeper;
use super::memory;
use crate::api::{Scope, Watch, WatchTarget};
use crate::change::Redaction;
use crate::checkpoint::Progress;
use crate::client::{Client, Content, Interrupt, RestListWatch};
use crate::config::ConfiguredWatch;
use crate::dispatch::{Dispatcher, Interest, Ledger};
use crate::health::{Health, WatchStatus};
use crate::informer::{ClusterCheck, Context, Histories, Informer, Limits, ListGate, Server};
use crate::lifecycle::{Joined, Stop};
use crate::metrics::Metrics;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Every watch of a run, by what it watches.
#[derive(Default)]
pub(super) struct Watches {
    slots: Mutex<BTreeMap<WatchTarget, Slot>>,
    /// A watch that was being started is at work, or never will be.
    started: Condvar,
}

/// How many watches there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveInformers {
    /// Those that the configuration asks for.
    pub configured: usize,
    /// Those that were added at run time.
    pub dynamic: usize,
}

enum Slot {
    /// Someone starts it; a removal waits for that.
    Starting,
    Working(Working),
    /// Someone stops it.
    Ending,
}

/// One informer, and what of it the other stations hold.
struct Working {
    scope: Option<Scope>,
    status: Arc<WatchStatus>,
    ledger: Arc<Ledger>,
    /// Of this informer alone.
    stop: Stop,
    interrupt: Interrupt,
    thread: Joined,
    is_configured: bool,
    is_added: bool,
}

/// Whose wish a watch is first; it may become the other's, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedBy {
    Configuration,
    /// The embedding program, at run time.
    Program,
}

/// What every informer is made with.
pub(super) struct Maker<'a> {
    pub(super) client: &'a Client,
    /// By what the cluster is known, where that could be read.
    pub(super) cluster_uid: Option<&'a str>,
    pub(super) stop: &'a Stop,
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) keeper: Option<&'a Keeper>,
    pub(super) metrics: &'a Metrics,
    pub(super) health: &'a Health,
    pub(super) gate: &'a ListGate,
    pub(super) server: &'a Server,
    pub(super) histories: &'a Histories,
    pub(super) guard: Option<&'a Arc<Guard>>,
    /// What comes after the handlers needs whole objects.
    pub(super) wants_objects: bool,
    pub(super) redaction: &'a Arc<Redaction>,
    pub(super) skip_initial: bool,
}

/// A watch that is to be started.
pub(super) struct Start {
    pub(super) watch: Arc<Watch>,
    pub(super) status: Arc<WatchStatus>,
    pub(super) scope: Option<Scope>,
    /// What an earlier run has stored of it.
    pub(super) stored: Option<Progress>,
    pub(super) asked_by: AskedBy,
}

impl Watches {
    /// Takes the places of watches that are about to be started, and gives those where there is none already. In `added` stay those
    /// that are just being removed.
    pub(super) fn reserve(&self, added: &mut Vec<ConfiguredWatch>) -> Vec<ConfiguredWatch> {
        let mut slots = self.slots();
        let is_ending = |watch: &ConfiguredWatch| matches!(slots.get(&watch.target), Some(Slot::Ending));
        let (ending, free): (Vec<_>, Vec<_>) = std::mem::take(added).into_iter().partition(is_ending);
        *added = ending;
        free.into_iter().filter(|watch| take_for_program(&mut slots, &watch.target)).collect()
    }

    /// Makes watches those of the configuration, and takes the places of those that are not at work.
    ///
    /// # Errors
    ///
    /// When one is just being removed, or added for longer than until `deadline`; then no place is taken.
    pub(super) fn claim<'t>(
        &self,
        targets: impl Iterator<Item = &'t WatchTarget> + Clone,
        deadline: Instant,
    ) -> Result<BTreeSet<WatchTarget>, ControllerError> {
        targets.clone().for_each(|target| drop(self.wait_until_started(target, deadline)));
        let mut slots = self.slots();
        if targets.clone().any(|target| matches!(slots.get(target), Some(Slot::Starting | Slot::Ending))) {
            return Err(ControllerError::StateBusy);
        }
        for target in targets.clone() {
            if let Some(Slot::Working(working)) = slots.get_mut(target) {
                working.is_configured = true;
            }
        }
        let mut taken = BTreeSet::new();
        taken.extend(targets.filter(|target| take(&mut slots, target)).cloned());
        Ok(taken)
    }

    /// Takes watches from the configuration, and gives those that nobody asks for any more.
    pub(super) fn disclaim<'t>(&self, targets: &'t BTreeSet<WatchTarget>) -> Vec<&'t WatchTarget> {
        let mut slots = self.slots();
        let mut is_unwanted = |target: &&WatchTarget| match slots.get_mut(*target) {
            Some(Slot::Working(working)) => {
                working.is_configured = false;
                !working.is_added
            }
            Some(Slot::Starting | Slot::Ending) | None => false,
        };
        targets.iter().filter(|target| is_unwanted(target)).collect()
    }

    /// What is at work for the configuration.
    pub(super) fn configured(&self) -> BTreeSet<WatchTarget> {
        let slots = self.slots();
        let is_configured = |slot: &Slot| matches!(slot, Slot::Working(Working { is_configured: true, .. }));
        slots.iter().filter(|(_, slot)| is_configured(slot)).map(|(target, _)| target.clone()).collect()
    }

    /// Takes the place of one that was added; `false` where there is one already.
    pub(super) fn reserve_one(&self, target: &WatchTarget) -> bool {
        take_for_program(&mut self.slots(), target)
    }

    /// Gives the places back of those that were not started.
    pub(super) fn give_up(&self, reserved: &BTreeSet<WatchTarget>) {
        let mut slots = self.slots();
        for target in reserved {
            if matches!(slots.get(target), Some(Slot::Starting)) {
                slots.remove(target);
            }
        }
        drop(slots);
        self.started.notify_all();
    }

    /// Starts an informer.
    pub(super) fn start(&self, maker: &Maker<'_>, start: Start) -> Result<(), ControllerError> {
        let target = start.watch.target.clone();
        let working = maker.start(start)?;
        self.slots().insert(target, Slot::Working(working));
        self.started.notify_all();
        // Whoever stops the run may have been here before.
        if maker.stop.is_requested() {
            self.interrupt();
        }
        Ok(())
    }

    /// Stops the informers of these targets, and forgets those that are only `added`, where that is given. Nothing of them is
    /// handed on when this returns. Returns how many informers there were.
    pub(super) fn remove<'t>(
        &self,
        targets: impl Iterator<Item = &'t WatchTarget>,
        added: Option<&Mutex<Added>>,
        maker: &Maker<'_>,
        deadline: Instant,
    ) -> usize {
        let removed: Vec<_> = targets.filter_map(|target| self.take_out(target, added, deadline)).collect();
        let count = removed.len();
        removed.iter().for_each(|(_, working)| working.interrupt());
        for (place, working) in removed {
            working.end(maker, deadline);
            self.slots().remove(&place);
            log::info!("{place}: no longer watched");
        }
        count
    }

    /// Takes a watch out of where it is, and gives it where it is at work. One that is being started is waited for; starting waits
    /// for no handler, so that a handler may wait for it.
    fn take_out(&self, target: &WatchTarget, added: Option<&Mutex<Added>>, deadline: Instant) -> Option<(WatchTarget, Working)> {
        loop {
            // Both are locked, or it could move from one to the other between two looks.
            let mut waiting = added.map(|added| added.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.iter_mut().for_each(|added| added.waiting.retain(|added| added.target != *target));
            let mut slots = self.slots();
            let place = place_of(&slots, target)?;
            match slots.get_mut(&place)? {
                Slot::Starting => {}
                Slot::Ending => return None,
                working @ Slot::Working(_) => {
                    let working = std::mem::replace(working, Slot::Ending).into_working()?;
                    return Some((place, working));
                }
            }
            drop(waiting);
            let limit = deadline.checked_duration_since(Instant::now())?;
            drop(self.started.wait_timeout(slots, limit).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Starting waits for no handler, so that a handler may wait for it.
    fn wait_until_started(&self, target: &WatchTarget, deadline: Instant) -> MutexGuard<'_, BTreeMap<WatchTarget, Slot>> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let is_starting = |slots: &mut BTreeMap<_, _>| matches!(slots.get(target), Some(Slot::Starting));
        self.started.wait_timeout_while(self.slots(), limit, is_starting).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends the requests of all of them.
    fn interrupt(&self) {
        for slot in self.slots().values() {
            if let Slot::Working(working) = slot {
                working.interrupt();
            }
        }
    }

    /// Stops all of them.
    pub(super) fn stop(&self, deadline: Instant) {
        self.interrupt();
        let slots = std::mem::take(&mut *self.slots());
        slots.into_values().filter_map(Slot::into_working).for_each(|working| join(working.thread, deadline));
    }

    pub(super) fn count(&self) -> ActiveInformers {
        let mut count = ActiveInformers::default();
        for slot in self.slots().values() {
            match slot {
                Slot::Working(Working { is_configured: true, .. }) => count.configured += 1,
                Slot::Working(Working { is_configured: false, .. }) => count.dynamic += 1,
                Slot::Starting | Slot::Ending => {}
            }
        }
        count
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<WatchTarget, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn into_working(self) -> Option<Working> {
        match self {
            Self::Working(working) => Some(working),
            Self::Starting | Self::Ending => None,
        }
    }
}

impl Maker<'_> {
    fn start(&self, start: Start) -> Result<Working, ControllerError> {
        let Start { watch, status, scope, stored, asked_by } = start;
        let name = format!("inf-{}", watch.gvr);
        let refused = |source| ControllerError::Thread { name: name.clone(), source };
        let metrics = self.metrics.watch(&watch);
        let emissions = self.keeper.map(|keeper| keeper.take_emissions(watch.id)).unwrap_or_default();
        let recalling = self.keeper.map(|keeper| keeper.recalling(watch.id));
        let (resume, resumed) = memory::resume_of(stored, emissions, self.histories.newest(), recalling);
        let outlet = match self.keeper {
            Some(keeper) => keeper.outlet(self.dispatcher, &watch, metrics.clone(), resumed),
            None => self.dispatcher.outlet(Arc::clone(&watch), metrics.clone()),
        };
        let outlet = outlet.map_err(refused)?;
        let ledger = Arc::clone(outlet.ledger());
        let book = Arc::clone(&ledger);
        status.ask_accepted(move || book.lacking_of_lists().map_or(0, |lacking| !lacking.to_bits()));
        let rest = RestListWatch::new(self.client.transport(), &watch.target, scope, self.content_of(&watch))
            .in_cluster(self.cluster_uid.map(str::to_owned))
            .confined_to(watch.namespaces.clone());
        let interrupt = rest.interrupt();
        let stop = self.stop.child();
        let context = Context {
            stop: stop.clone(),
            status: Arc::clone(&status),
            pulse: self.health.add_thread(&name),
            metrics,
            gate: self.gate.clone(),
            server: self.server.clone(),
            histories: self.histories.clone(),
            cluster: self.guard.cloned().map(|guard| guard as Arc<dyn ClusterCheck>),
            limits: Limits::default(),
            content_is_metadata: rest.content() == Content::Metadata,
            redaction: Arc::clone(self.redaction),
            skip_initial: self.skip_initial,
        };
        let informer = Informer::new(watch, Box::new(rest), Box::new(outlet), context).resume(resume);
        let thread = Joined::spawn(name.clone(), move || informer.run()).map_err(refused)?;
        let (is_configured, is_added) = (asked_by == AskedBy::Configuration, asked_by == AskedBy::Program);
        Ok(Working { scope, status, ledger, stop, interrupt, thread, is_configured, is_added })
    }

    /// The wire carries no more than somebody wants.
    fn content_of(&self, watch: &Watch) -> Content {
        match self.dispatcher.interest_in(&watch.target.gvr) {
            Some(Interest::Object) => Content::Object,
            Some(Interest::Metadata) | None if self.wants_objects => Content::Object,
            Some(Interest::Metadata) | None => Content::Metadata,
        }
    }
}

impl Working {
    fn interrupt(&self) {
        self.stop.request();
        self.interrupt.interrupt();
    }

    /// Ends one watch for good, while others go on.
    fn end(self, maker: &Maker<'_>, deadline: Instant) {
        let Self { status, ledger, thread, .. } = self;
        maker.health.remove_watch(&status);
        join(thread, deadline);
        if !maker.dispatcher.remove(&ledger, deadline.saturating_duration_since(Instant::now())) {
            log::warn!("{}: a handler still has one of its events", status.watch().target);
        }
        if let Some(keeper) = maker.keeper {
            keeper.remove(&ledger, deadline);
        }
    }
}

/// Where the watch of `target` is. A resource that turned out to be cluster-scoped has lost its namespace; of one that is being
/// started nobody knows yet.
fn place_of(slots: &BTreeMap<WatchTarget, Slot>, target: &WatchTarget) -> Option<WatchTarget> {
    if slots.contains_key(target) {
        return Some(target.clone());
    }
    let everywhere = WatchTarget { namespace: None, ..target.clone() };
    let is_there = match slots.get(&everywhere)? {
        Slot::Starting => true,
        Slot::Working(working) => working.scope == Some(Scope::Cluster),
        Slot::Ending => false,
    };
    is_there.then_some(everywhere)
}

/// As [`take`], for the embedding program: what is at work already is its wish, too.
fn take_for_program(slots: &mut BTreeMap<WatchTarget, Slot>, target: &WatchTarget) -> bool {
    if let Some(Slot::Working(working)) = slots.get_mut(target) {
        working.is_added = true;
    }
    take(slots, target)
}

fn take(slots: &mut BTreeMap<WatchTarget, Slot>, target: &WatchTarget) -> bool {
    match slots.entry(target.clone()) {
        Entry::Vacant(vacant) => {
            vacant.insert(Slot::Starting);
            true
        }
        Entry::Occupied(_) => false,
    }
}

fn join(thread: Joined, deadline: Instant) {
    let name = thread.name().to_owned();
    // Middleware runs on the thread of its watch, and may be who stops it.
    let deadline = if thread.is_current() { Instant::now() } else { deadline };
    if !thread.join_until(deadline) {
        log::warn!("{name}: does not end, left alone");
    }
}
