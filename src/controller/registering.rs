//! What the embedding program brings before a start: handlers, middleware, settings, and what to call when all is ready.
//!
//! Takes them until the controller is started; gives [`Registration`]s, by which a program asks how far a handler is. What comes
//! later is an error, as it would never be called.

use super::{Controller, ControllerError, Inner};
use crate::api::GroupVersionResource;
use crate::dispatch::{self, EventHandler, Receivers, Registered, Subscription};
use crate::sink::JsonMiddleware;
use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

/// What the embedding program brings.
#[derive(Default)]
pub(super) struct Registrations {
    pub(super) settings: dispatch::Settings,
    pub(super) handlers: Vec<Registered>,
    /// The name of each handler's type, and what it was registered for; kept when the handlers are taken.
    subscriptions: Vec<(&'static str, Subscription)>,
    pub(super) middleware: Vec<Arc<dyn JsonMiddleware>>,
    pub(super) ready: Option<Box<dyn FnOnce() + Send>>,
    /// The controller was started: whatever comes now would never be used.
    is_closed: bool,
}

/// A handler that was registered. Dropping it changes nothing.
#[derive(Clone)]
#[must_use = "it says when its handler has got everything; say `_ =` where nobody asks"]
pub struct Registration {
    // The controller may be held by the handler's program no longer.
    controller: Weak<Inner>,
    subscription: Subscription,
    /// Its bit among the receivers.
    receiver: u64,
}

impl Controller {
    /// Registers a handler for every event.
    ///
    /// What is asked of the server is what the handlers [need](EventHandler::interest); without any, metadata only.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn add_event_handler(&self, handler: impl EventHandler + 'static) -> Result<Registration, ControllerError> {
        self.subscribe(Subscription::new(), handler)
    }

    /// Registers a handler for what `subscription` says. As [`add_event_handler`](Self::add_event_handler) otherwise.
    ///
    /// # Errors
    ///
    /// [`ControllerError::AfterStart`] once the controller was started: the handler would never be called.
    /// [`ControllerError::Subscription`] when it asks for what cannot be, as no threads, or for a name that another one has.
    pub fn subscribe<H: EventHandler + 'static>(
        &self,
        subscription: Subscription,
        handler: H,
    ) -> Result<Registration, ControllerError> {
        let mut registered = self.0.open_registrations("a handler was registered")?;
        let registration = Registered::new(subscription.clone(), handler);
        registered.handlers.push(registration);
        if let Err(error) = Registered::check_all(&registered.handlers, registered.settings.lanes) {
            registered.handlers.pop();
            return Err(error.into());
        }
        registered.subscriptions.push((type_name::<H>(), subscription.clone()));
        let receiver = Receivers::of(registered.handlers.len() - 1).to_bits();
        Ok(Registration { controller: Arc::downgrade(&self.0), subscription, receiver })
    }

    /// How events are handed to handlers: threads, attempts, pauses, and when a slow call is told. The last ones set hold.
    /// Defaults to [`Settings::default`](dispatch::Settings::default).
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn set_handler_settings(&self, settings: dispatch::Settings) -> Result<(), ControllerError> {
        self.0.open_registrations("handler settings were made")?.settings = settings;
        Ok(())
    }

    /// Registers middleware: it sees each record before it is written, after those that were registered before it.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn add_json_middleware(&self, middleware: impl JsonMiddleware + 'static) -> Result<(), ControllerError> {
        self.0.open_registrations("middleware was registered")?.middleware.push(Arc::new(middleware));
        Ok(())
    }

    /// Calls `callback` once, on a thread of its own, when the controller [is ready](Self::is_ready). The last one set holds.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub fn set_ready_callback(&self, callback: impl FnOnce() + Send + 'static) -> Result<(), ControllerError> {
        self.0.open_registrations("a ready callback was set")?.ready = Some(Box::new(callback));
        Ok(())
    }
}

impl Registration {
    /// Whether the handler has accepted the first list of every watch that it gets events of; false while it gets events of none,
    /// and while nothing runs. A watch that is forbidden, or whose kind is not served, has nothing to list:
    /// [`Controller::readiness`] names those. An object that the handler has refused for so long that it is
    /// [owed](dispatch::Settings::owed_after) is not waited for.
    pub fn has_synced(&self) -> bool {
        let Some(run) = self.controller.upgrade().and_then(|controller| controller.at_work()) else { return false };
        let mut watches = run.health().watches();
        watches.retain(|status| self.subscription.includes(&status.watch().target.gvr));
        !watches.is_empty() && watches.iter().all(|status| status.first_list_ended_for(self.receiver))
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("subscription", &self.subscription).finish_non_exhaustive()
    }
}

impl Registrations {
    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Warns of each resource that a handler is registered for while nobody watches it.
    pub(super) fn warn_of_unwatched(&self, watched: &BTreeSet<GroupVersionResource>) {
        for (handler, subscription) in &self.subscriptions {
            for gvr in subscription.unwatched(watched) {
                log::warn!(
                    "{gvr}: handler {handler} is registered for it, and nobody watches it; name it in the resources, or add it"
                );
            }
        }
    }
}

impl Inner {
    pub(super) fn registered(&self) -> MutexGuard<'_, Registrations> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same while something may be added; `what` happens.
    fn open_registrations(&self, what: &'static str) -> Result<MutexGuard<'_, Registrations>, ControllerError> {
        let registered = self.registered();
        if registered.is_closed { Err(ControllerError::AfterStart { what }) } else { Ok(registered) }
    }
}
