//! Who receives events: handlers of the embedding program, and the export, which is a receiver like any of them.

use super::Completion;
use crate::event::MatchedEvent;
use std::error::Error;
use std::sync::Arc;

/// Receives matched events.
///
/// **Order.** Events of one object arrive in order and never at once. Events of two objects may arrive on two threads, in
/// any order. Where two watches tell the same object, each tells its own events in order.
///
/// **Threads.** Called on its subscription's lane threads, never on the thread that called [`Controller`](crate::controller) or that
/// reads from a server; the handler is shared by all of them.
///
/// **Repetition.** At least once: after a crash an event may arrive again, with the same [`id`](MatchedEvent::id). An event
/// that the handler refuses (`Err`, or a panic, which is contained) is given to it again after a pause that doubles, up to half
/// a minute, until it is accepted; the object's later events wait meanwhile, other objects go on. An object that is refused for a
/// minute, or with 64 events that wait, is *owed*: nothing else waits for it any more, and it is tried again as before. When its
/// events take too much room, states in between are skipped, counted and logged; the latest state and the delete never are.
/// [`Retry::give_up_after`](super::Retry::give_up_after) limits the attempts, and loses what is given up.
///
/// **Several handlers** wait for nothing of each other: each has lanes, a queue and retries of its own, and so has the export. An
/// event is accepted when each of them has accepted it.
///
/// **Panics.** Faro sets no panic hook: the program's own prints each panic, at every attempt. A hook
/// that stays silent about what Faro contains asks [`is_in_handler`](super::is_in_handler).
///
/// **Time.** Return quickly: a slow handler holds back its lane, and when its [queue](super::Subscription::queue) is full, the watches
/// that feed it. A
/// call longer than [`Settings::handler_warn_after`](super::Settings::handler_warn_after) is named in the log, while it lasts.
/// After Faro was stopped and its grace has passed, a handler that has not returned is left alone.
pub trait EventHandler: Send + Sync {
    /// Takes one event.
    ///
    /// # Errors
    ///
    /// When the event was not dealt with and should be given again. The text goes to the log.
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError>;

    /// What this handler needs of each object. Where all handlers of a resource are content with metadata, nothing more is
    /// asked of the server. Asked once, when the handler is registered. Defaults to the whole object.
    fn interest(&self) -> Interest {
        Interest::Object
    }
}

/// What a handler needs of each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Interest {
    /// Name, namespace, uid, version, labels, annotations and what else stands in `metadata`.
    Metadata,
    /// All of it. Of `v1/secrets` there is never more than metadata.
    Object,
}

/// Makes a handler of a closure that needs [`Interest::Metadata`] only.
pub fn metadata_only<F>(handler: F) -> impl EventHandler + use<F>
where
    F: Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync,
{
    MetadataOnly(handler)
}

struct MetadataOnly<F>(F);

/// Why a handler refuses an event: any error, whose chain is logged when it gives up.
pub type HandlerError = Box<dyn Error + Send + Sync>;

impl<F> EventHandler for F
where
    F: Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync,
{
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        self(event)
    }
}

impl<H: EventHandler + ?Sized> EventHandler for Arc<H> {
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        (**self).on_matched(event)
    }

    fn interest(&self) -> Interest {
        (**self).interest()
    }
}

impl<F> EventHandler for MetadataOnly<F>
where
    F: Fn(&MatchedEvent) -> Result<(), HandlerError> + Send + Sync,
{
    fn on_matched(&self, event: &MatchedEvent) -> Result<(), HandlerError> {
        (self.0)(event)
    }

    fn interest(&self) -> Interest {
        Interest::Metadata
    }
}

/// Takes each event, as the JSON sink does.
///
/// Events of one watch arrive in order, on the thread of that watch.
pub trait Export: Send + Sync {
    /// Takes one event, and completes it when it is safe. Dropping `completion` leaves the event unacknowledged.
    ///
    /// Never blocks: there are never more events than credits, so that there is room for each.
    fn export(&self, event: &MatchedEvent, completion: Completion);

    /// Says that no more events come for now: what was gathered waits no longer. Defaults to nothing.
    fn flush(&self) {}
}
