//! What a handler is registered for: which events, how they are handed to it, and what happens with those that it refuses.

use super::handler::{EventHandler, HandlerError, Interest};
use super::queue::{QUEUE_BYTES, QUEUE_EVENTS};
use super::receivers::SUBSCRIPTIONS_MAX;
use super::settings::{LANES_MAX, Retry};
use crate::api::GroupVersionResource;
use crate::event::{EventType, MatchedEvent};
use std::any::type_name;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Which events a handler is called for, and how they are handed to it. Defaults to all of them; each limit narrows that, and a
/// limit that names nothing lets nothing through.
///
/// Each subscription has threads, a queue and retries of its own: whatever its handler does holds back no other one.
///
/// ```
/// use faro::dispatch::Subscription;
/// use faro::event::EventType;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let deletes = Subscription::new()
///     .gvrs(["v1/pods".parse()?, "apps/v1/deployments".parse()?])
///     .namespaces(["shop", "billing"])
///     .event_types([EventType::Deleted])
///     .name("audit")
///     .lanes(2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Subscription {
    gvrs: Option<BTreeSet<GroupVersionResource>>,
    namespaces: Option<BTreeSet<String>>,
    event_types: Option<[bool; EventType::ALL.len()]>,
    on_gave_up: Option<Arc<OnGaveUp>>,
    name: Option<String>,
    lanes: Option<usize>,
    retry: Option<Retry>,
    queue: Option<(usize, usize)>,
}

/// Why subscriptions cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// No thread, or more than any program needs.
    #[error("subscription {name}: {lanes} lanes; it needs 1 to {LANES_MAX}")]
    Lanes {
        /// Its name.
        name: String,
        /// What it asks for.
        lanes: usize,
    },
    /// A queue that nothing fits in.
    #[error("subscription {name}: a queue of {events} events and {bytes} bytes has no room; it needs 1 of each at least")]
    Queue {
        /// Its name.
        name: String,
        /// How many events it asks for.
        events: usize,
        /// How many bytes it asks for.
        bytes: usize,
    },
    /// What they have accepted could not be told apart after a restart.
    #[error("two subscriptions are named {name:?}; give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// More than there are bits.
    #[error(
        "{count} subscriptions are more than the {SUBSCRIPTIONS_MAX} that one controller takes; let a handler serve several purposes"
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// Told of an event, and of the last error, when a handler has refused it at every attempt.
pub(super) type OnGaveUp = dyn Fn(&MatchedEvent, &(dyn Error + Send + Sync + 'static)) + Send + Sync;

/// A handler and what it is registered for. Clones share the handler.
#[derive(Clone)]
pub struct Registered {
    handler: Arc<dyn EventHandler>,
    /// The name of the handler's type, for log lines.
    name: &'static str,
    interest: Interest,
    subscription: Subscription,
}

impl Subscription {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events of these resources. What is watched is said by the configuration; this asks for no more.
    #[must_use]
    pub fn gvrs(self, gvrs: impl IntoIterator<Item = GroupVersionResource>) -> Self {
        Self { gvrs: Some(gvrs.into_iter().collect()), ..self }
    }

    /// Only events of objects in these namespaces. That of cluster-scoped objects is the empty text.
    #[must_use]
    pub fn namespaces<N: Into<String>>(self, namespaces: impl IntoIterator<Item = N>) -> Self {
        Self { namespaces: Some(namespaces.into_iter().map(Into::into).collect()), ..self }
    }

    /// Only events of these types.
    #[must_use]
    pub fn event_types(self, event_types: impl IntoIterator<Item = EventType>) -> Self {
        let mut wanted = [false; EventType::ALL.len()];
        event_types.into_iter().for_each(|event_type| wanted[event_type as usize] = true);
        Self { event_types: Some(wanted), ..self }
    }

    /// What this subscription is known by after a restart: to it belongs what it has accepted, and what it is owed. Give one to
    /// each, so that another order of registration, or another type of handler, is not another receiver. Defaults to the
    /// number of the registration and the handler's type.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// How many threads call the handler, 1 to [`LANES_MAX`], whatever the number of watches: an object always comes on the same
    /// one. Defaults to [`Settings::lanes`](super::Settings::lanes).
    #[must_use]
    pub fn lanes(self, lanes: usize) -> Self {
        Self { lanes: Some(lanes), ..self }
    }

    /// How often and when the handler is asked again. Defaults to [`Settings::retry`](super::Settings::retry).
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// Most events that are on their way to the handler, and most bytes of them, parked ones included. One watch takes at most
    /// a quarter. Until it is full nobody waits; then the watches that feed it do. Defaults to [`QUEUE_EVENTS`] and
    /// [`QUEUE_BYTES`].
    #[must_use]
    pub fn queue(self, events: usize, bytes: usize) -> Self {
        Self { queue: Some((events, bytes)), ..self }
    }

    /// Is told of each event that the handler refused as often as [`Retry::give_up_after`] allows, with the last error; the event
    /// is taken as accepted after that. A panic of the handler comes as an error of its own. Called on the lane's thread, like the handler; a panic
    /// in here is contained and logged.
    #[must_use]
    pub fn on_gave_up(
        self,
        on_gave_up: impl Fn(&MatchedEvent, &(dyn Error + Send + Sync + 'static)) + Send + Sync + 'static,
    ) -> Self {
        Self { on_gave_up: Some(Arc::new(on_gave_up)), ..self }
    }

    /// The resources that it names and that are not `watched`.
    pub(crate) fn unwatched<'a>(
        &'a self,
        watched: &'a BTreeSet<GroupVersionResource>,
    ) -> impl Iterator<Item = &'a GroupVersionResource> {
        self.gvrs.iter().flatten().filter(|gvr| !watched.contains(*gvr))
    }

    /// Whether any event of an object of `gvr` is among them.
    pub fn includes(&self, gvr: &GroupVersionResource) -> bool {
        let somewhere = self.namespaces.as_ref().is_none_or(|namespaces| !namespaces.is_empty());
        let sometimes = self.event_types.is_none_or(|wanted| wanted.contains(&true));
        somewhere && sometimes && self.gvrs.as_ref().is_none_or(|gvrs| gvrs.contains(gvr))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gvrs, namespaces, event_types, on_gave_up, name, lanes, retry, queue } = self;
        f.debug_struct("Subscription")
            .field("gvrs", gvrs)
            .field("namespaces", namespaces)
            .field("event_types", event_types)
            .field("on_gave_up", &on_gave_up.is_some())
            .field("name", name)
            .field("lanes", lanes)
            .field("retry", retry)
            .field("queue", queue)
            .finish()
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, interest, subscription, .. } = self;
        f.debug_struct("Registered")
            .field("handler", name)
            .field("interest", interest)
            .field("subscription", subscription)
            .finish()
    }
}

impl Registered {
    /// Registers `handler` for what `subscription` says.
    pub fn new<H: EventHandler + 'static>(subscription: Subscription, handler: H) -> Self {
        let (name, interest) = (type_name::<H>(), handler.interest());
        Self { handler: Arc::new(handler), name, interest, subscription }
    }

    /// What the handler needs of the objects of `gvr`; `None` where it is not called for any of them.
    pub fn interest_in(&self, gvr: &GroupVersionResource) -> Option<Interest> {
        self.subscription.includes(gvr).then_some(self.interest)
    }

    /// Whether the handler is called for `event`, whose resource it is registered for.
    pub(super) fn wants(&self, event: &MatchedEvent) -> bool {
        let Subscription { namespaces, event_types, .. } = &self.subscription;
        event_types.is_none_or(|wanted| wanted[event.event_type as usize])
            && namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(&*event.namespace()))
    }

    /// Whether the handler is called for every event of its resources.
    pub(super) fn wants_all(&self) -> bool {
        self.subscription.event_types.is_none() && self.subscription.namespaces.is_none()
    }

    /// The name of the handler's type.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What each of them is known by, in this order.
    pub fn names(all: &[Self]) -> Vec<String> {
        all.iter().enumerate().map(|(number, registered)| registered.name_at(number)).collect()
    }

    /// What it is known by, as the one of this number.
    pub(super) fn name_at(&self, number: usize) -> String {
        self.subscription.name.clone().unwrap_or_else(|| format!("{number}-{}", self.name))
    }

    pub(super) fn lanes(&self) -> Option<usize> {
        self.subscription.lanes
    }

    pub(super) fn retry(&self) -> Option<&Retry> {
        self.subscription.retry.as_ref()
    }

    pub(super) fn queue(&self) -> (usize, usize) {
        self.subscription.queue.unwrap_or((QUEUE_EVENTS, QUEUE_BYTES))
    }

    /// Finds what cannot be taken, with the number of lanes where nothing else is said.
    pub(crate) fn check_all(all: &[Self], lanes: usize) -> Result<(), SubscriptionError> {
        if all.len() > SUBSCRIPTIONS_MAX {
            return Err(SubscriptionError::TooMany { count: all.len() });
        }
        let mut names = BTreeSet::new();
        for (number, registered) in all.iter().enumerate() {
            let name = registered.name_at(number);
            let (lanes, (events, bytes)) = (registered.lanes().unwrap_or(lanes), registered.queue());
            if !(1..=LANES_MAX).contains(&lanes) {
                return Err(SubscriptionError::Lanes { name, lanes });
            }
            if events == 0 || bytes == 0 {
                return Err(SubscriptionError::Queue { name, events, bytes });
            }
            if !names.insert(name.clone()) {
                return Err(SubscriptionError::SameName { name });
            }
        }
        Ok(())
    }

    pub(super) fn call(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        self.handler.on_matched(event)
    }

    pub(super) fn on_gave_up(&self) -> Option<&OnGaveUp> {
        self.subscription.on_gave_up.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_names_and_nobody_watches_is_known() {
        let gvrs = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<GroupVersionResource>>();
        let watched = gvrs(&["v1/pods", "v1/services"]);
        let unwatched =
            |subscription: Subscription| subscription.unwatched(&watched).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(unwatched(Subscription::new().gvrs(gvrs(&["v1/pods", "v1/pod"]))), ["v1/pod"]);
        assert_eq!(unwatched(Subscription::new()), [""; 0], "everything is what is there");
    }
}
