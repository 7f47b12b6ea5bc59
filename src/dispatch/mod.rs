//! From informers to handlers: lanes that keep each object's order, workers, retries, and the tracker of what was accepted.
//!
//! Takes [`MatchedEvent`](crate::event::MatchedEvent)s through one [`LaneOutlet`] a watch; gives each of them at once to every
//! [`EventHandler`] whose [`Subscription`] names it, and to the [`Export`], which is a receiver like any other. Promises:
//!
//! - **Order.** An object (gvr, namespace, name) always takes the same lane of a subscription, and a lane has one worker: its events
//!   arrive in order and never at once, also while one of them is tried again.
//! - **Isolation.** No receiver waits for another: each subscription has lanes, a queue and retries of its own. A handler that
//!   fails or panics holds back its object alone: the object is *parked*, and after a while *owed*, and then nothing else waits
//!   for it. Where no handler wants anything there are no lanes: a watch's own thread hands its events to the export.
//! - **Bounds.** A subscription has at most [`QUEUE_EVENTS`] events of [`QUEUE_BYTES`] on their way, a watch a quarter of them; the
//!   export has at most [`CREDITS_PER_WATCH`] of a watch and [`CREDITS_PER_GVR`] of a gvr, of [`IN_FLIGHT_BYTES_PER_GVR`] in all.
//!   Where there is no room, the watch that feeds it waits.
//! - **The ordered prefix.** A [`Ledger`] a watch knows up to which version everything before is accepted by every receiver.
//! - **Removal.** When [`Dispatcher::remove`] has returned, nothing of that watch is emitted; with the last watch that a
//!   subscription wants anything of its threads are gone.
//!
//! What was not accepted when Faro stopped stays unacknowledged and is counted.

mod backlog;
mod book;
mod completion;
mod contain;
mod credit;
mod crew;
mod dispatcher;
mod flow;
mod handler;
mod lane;
mod outlet;
mod owed;
mod parking;
mod queue;
mod receivers;
mod recorder;
mod settings;
mod slow;
mod subscriber;
mod subscription;
mod tracker;
mod worker;

#[cfg(test)]
#[cfg(feature = "state")]
mod disk_tests;
#[cfg(test)]
mod handler_tests;
#[cfg(test)]
mod isolation_tests;
#[cfg(test)]
mod removal_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tracker_tests;

pub use backlog::{Backlog, CHANGES_DUE, CHANGES_WAITING_MAX};
pub use completion::Completion;
pub(crate) use contain::panic_text;
pub use contain::{HandlerPanicked, is_in_handler};
pub use credit::{CREDITS_PER_GVR, CREDITS_PER_WATCH, IN_FLIGHT_BYTES_PER_GVR};
pub use dispatcher::{Dispatcher, Drained};
pub use handler::{EventHandler, Export, HandlerError, Interest, metadata_only};
pub use outlet::LaneOutlet;
pub use queue::{QUEUE_BYTES, QUEUE_EVENTS};
pub use receivers::{Receivers, SUBSCRIPTIONS_MAX};
pub use recorder::{Recorder, emission_of};
pub use settings::{LANES_MAX, PARKED_EVENTS_MAX, Retry, Settings};
pub use subscription::{Registered, Subscription, SubscriptionError};
pub use tracker::{Accepted, Ledger, Progress, Resumed};
