//! The one list that may hold an object larger than its window.

use super::{Inner, STOP_CHECK};
use crate::lifecycle::Stop;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Whether somebody has it.
#[derive(Debug, Default)]
pub(super) struct Widening {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

/// The right to hold one large object, given back when dropped.
#[derive(Debug)]
pub struct Wide(Arc<Inner>);

impl Wide {
    pub(super) fn acquire(inner: &Arc<Inner>, stop: &Stop) -> Option<Self> {
        let Widening { is_taken, given_back } = &inner.widening;
        let mut taken = is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            if stop.is_requested() {
                return None;
            }
            (taken, _) = given_back.wait_timeout(taken, STOP_CHECK).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Some(Self(Arc::clone(inner)))
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        let Widening { is_taken, given_back } = &self.0.widening;
        *is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        given_back.notify_one();
    }
}
