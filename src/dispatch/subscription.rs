//! What a handler is registered for: which events, and what happens with those that it refuses to the end.

use super::handler::{EventHandler, HandlerError, Interest};
use crate::api::GroupVersionResource;
use crate::event::{EventType, MatchedEvent};
use std::any::type_name;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Which events a handler is called for. Defaults to all of them; each limit narrows that, and a limit that names nothing
/// lets nothing through.
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
///     .on_gave_up(|event, error| eprintln!("{} was not dealt with: {error}", event.id()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Subscription {
    gvrs: Option<BTreeSet<GroupVersionResource>>,
    namespaces: Option<BTreeSet<String>>,
    event_types: Option<[bool; EventType::ALL.len()]>,
    on_gave_up: Option<Arc<OnGaveUp>>,
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

    /// Is told of each event that the handler refused at every attempt, with the last error; the event is taken as accepted
    /// after that. A panic of the handler comes as an error of its own. Called on the lane's thread, like the handler; a panic
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
        let Self { gvrs, namespaces, event_types, on_gave_up } = self;
        f.debug_struct("Subscription")
            .field("gvrs", gvrs)
            .field("namespaces", namespaces)
            .field("event_types", event_types)
            .field("on_gave_up", &on_gave_up.is_some())
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

    pub(super) fn name(&self) -> &'static str {
        self.name
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
