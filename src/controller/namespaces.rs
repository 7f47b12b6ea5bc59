//! Says which configured namespaces are not there: a mistyped one looks like one in which nothing happens.
//!
//! On a thread of its own, beside the watches, which need no such right and do not wait for it.

use super::ControllerError;
use super::plan::Plan;
use crate::client::{Interrupt, Transport};
use crate::lifecycle::Joined;
use std::collections::BTreeSet;

/// The namespaces that a plan names.
pub(super) fn of(plan: &Plan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // One by one: gathering them at once would sort them by code of its own.
    names.extend(plan.values().filter_map(|planned| planned.target.namespace.clone()));
    names
}

/// Looks `names` up, one after the other, until interrupted. Gives no thread where there is nothing to look up.
pub(super) fn look_up(transport: Transport, names: BTreeSet<String>) -> Result<Option<(Interrupt, Joined)>, ControllerError> {
    if names.is_empty() {
        return Ok(None);
    }
    let interrupt = transport.interrupt();
    let thread = Joined::spawn(THREAD_NAME, move || tell_missing(&transport, &names));
    let refused = |source| ControllerError::Thread { name: THREAD_NAME.to_owned(), source };
    thread.map(|thread| Some((interrupt, thread))).map_err(refused)
}

fn tell_missing(transport: &Transport, names: &BTreeSet<String>) {
    for name in names.iter().take(LOOKED_UP_MAX) {
        match transport.has_namespace(name) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => log::warn!("namespace {name}: not there; what is watched in it stays empty until it is created"),
            // Who may not read one may not read the others.
            Ok(None) => return,
            Err(error) => {
                log::debug!("namespace {name}: cannot tell whether it is there: {error}");
                return;
            }
        }
    }
}

const THREAD_NAME: &str = "namespaces";

/// So many are looked up: at a few milliseconds each, under a second of one connection.
const LOOKED_UP_MAX: usize = 100;
