//! Stopping, and threads with one owner.
//!
//! A [`Stop`] is one flag that wakes every wait on it. A [`Joined`] thread is named and joined by whoever drops it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// A stop request, shared by clones. Set once, never taken back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Asked with this one.
    children: Mutex<Vec<Weak<Inner>>>,
    /// Set while `waiting` is locked, so that no wait misses it; read without, since every informer asks with every event.
    requested: AtomicBool,
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// One that nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is asked for with this one, and may be asked for alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut children = self.0.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child.0));
        drop(children);
        // Asked for meanwhile, when nobody knew of the child.
        if self.is_requested() {
            child.request();
        }
        child
    }

    /// Asks everyone who holds a clone or a child to stop, and wakes those that wait.
    pub fn request(&self) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.requested.store(true, Ordering::Relaxed);
        drop(waiting);
        self.0.changed.notify_all();
        let children = std::mem::take(&mut *self.0.children.lock().unwrap_or_else(PoisonError::into_inner));
        children.iter().filter_map(Weak::upgrade).for_each(|child| Self(child).request());
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// Sleeps for `pause`, or less when a stop is requested. Returns `true` on stop.
    pub fn wait(&self, pause: Duration) -> bool {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.changed.wait_timeout_while(waiting, pause, |()| !self.is_requested());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.is_requested()
    }

    /// Sleeps until a stop is requested.
    pub fn wait_until_requested(&self) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.changed.wait_while(waiting, |()| !self.is_requested());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A named thread, joined when dropped; but for the thread that drops itself, which is left to end.
#[derive(Debug)]
pub struct Joined {
    name: String,
    handle: Option<JoinHandle<()>>,
}

impl Joined {
    /// Starts `body` on a thread called `name`. Linux shows its first 15 bytes.
    ///
    /// # Errors
    ///
    /// When the operating system refuses one more thread.
    pub fn spawn(name: impl Into<String>, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let name = name.into();
        // The one place that may spawn: everything else gets a thread that is joined.
        #[expect(clippy::disallowed_methods)]
        let handle = Builder::new().name(name.clone()).spawn(body)?;
        Ok(Self { name, handle: Some(handle) })
    }

    /// The thread's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether this is the calling thread, which cannot wait for its own end.
    pub fn is_current(&self) -> bool {
        self.handle.as_ref().is_some_and(|handle| handle.thread().id() == std::thread::current().id())
    }

    /// Waits for the end of the thread until `deadline`; a thread that is still running then is left alone. Returns whether it ended.
    pub fn join_until(mut self, deadline: Instant) -> bool {
        while !self.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(JOIN_POLL);
        }
        if self.is_finished() {
            return true;
        }
        self.handle = None;
        false
    }
}

/// How often a join with a deadline looks again; the standard library has no such join.
const JOIN_POLL: Duration = Duration::from_millis(1);

impl Drop for Joined {
    fn drop(&mut self) {
        if !self.is_current()
            && let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("thread {} panicked", self.name);
        }
    }
}
