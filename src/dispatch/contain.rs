//! Calls what belongs to the embedding program, on a lane's thread, and contains its panics.

use super::tracker::Ledger;
use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// A handler panicked. Tells this apart from errors of the handler's own, in
/// [`Subscription::on_gave_up`](super::Subscription::on_gave_up).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panic: {text}")]
pub struct HandlerPanicked {
    text: String,
}

/// Whether the calling thread is inside a handler: a panic here is contained, and at last told in Faro's log.
///
/// For a panic hook that leaves such panics to Faro:
///
/// ```
/// let print = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |panic| {
///     if !faro::dispatch::is_in_handler() {
///         print(panic);
///     }
/// }));
/// ```
pub fn is_in_handler() -> bool {
    LEDGER.get() != NOWHERE
}

/// Whether the calling thread is inside a handler, with an event of `ledger`.
pub(super) fn is_in_handler_of(ledger: &Ledger) -> bool {
    LEDGER.get() == ptr::from_ref(ledger).addr()
}

/// Calls `body` for an event of `ledger`.
pub(super) fn contained<T>(ledger: &Ledger, body: impl FnOnce() -> T) -> Result<T, HandlerPanicked> {
    LEDGER.set(ptr::from_ref(ledger).addr());
    let called = catch_unwind(AssertUnwindSafe(body));
    let called = called.map_err(|panic| {
        let text = panic_text(panic.as_ref()).to_owned();
        // What a panic carries is the program's, too; of what may come of dropping it no end is known, so that this is kept.
        if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            mem::forget(next);
        }
        HandlerPanicked { text }
    });
    LEDGER.set(NOWHERE);
    called
}

thread_local! {
    /// Where the ledger is whose event a handler on this thread has.
    static LEDGER: Cell<usize> = const { Cell::new(NOWHERE) };
}

/// The address of no ledger.
const NOWHERE: usize = 0;

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&'static str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "of unknown content",
    }
}
