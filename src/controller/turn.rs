//! One at a time, without a lock that is held while a server is asked.

use std::sync::{Condvar, Mutex, PoisonError};

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turn {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

/// Somebody's turn. Dropping it gives it back.
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for those who came before.
    pub(super) fn take(&self) -> Taken<'_> {
        let is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_taken = self.given_back.wait_while(is_taken, |is_taken| *is_taken).unwrap_or_else(PoisonError::into_inner);
        *is_taken = true;
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.given_back.notify_one();
    }
}
