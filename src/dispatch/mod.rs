//! From informers to handlers: lanes that keep each object's order, workers, retries, and the tracker of what was accepted.
//!
//! Takes [`MatchedEvent`](crate::event::MatchedEvent)s through one [`LaneOutlet`] a watch; gives each of them in turn to every
//! [`EventHandler`] whose [`Subscription`] names it, and then to the [`Export`]. Promises:
//!
//! - **Order.** An object (gvr, namespace, name) always takes the same lane, and a lane has one worker: its events arrive in
//!   order and never at once, also while one of them is tried again.
//! - **Isolation.** Lanes belong to a gvr: a slow handler of one holds back no other. A handler that fails or panics holds
//!   back its object alone.
//!   Where no handler wants anything there are no lanes: a watch's own thread hands its events to the export.
//! - **Bounds.** A watch has at most [`CREDITS_PER_WATCH`] events in flight and a gvr [`CREDITS_PER_GVR`], of
//!   [`IN_FLIGHT_BYTES_PER_GVR`] in all; who has none waits.
//! - **The ordered prefix.** A [`Ledger`] a watch knows up to which version everything before is accepted.
//! - **Removal.** When [`Dispatcher::remove`] has returned, nothing of that watch is told; with the last watch of a gvr its
//!   lanes and their threads are gone.
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
mod parking;
mod settings;
mod slow;
mod subscription;
mod tracker;
mod worker;

#[cfg(test)]
mod handler_tests;
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
pub use lane::LaneOutlet;
pub use settings::{Retry, Settings};
pub use subscription::{Registered, Subscription};
pub use tracker::{Accepted, Ledger, Progress};
