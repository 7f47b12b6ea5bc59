//! Watches: where one starts, what it tells, when it ends.

use super::super::state::catalog::{Release, Resource};
use super::super::state::object::{Form, Object};
use super::super::state::refusal::Refusal;
use super::super::state::storage::{Event, Seen, bookmark, line};
use super::super::state::{Inner, State};
use super::accept::Shape;
use super::path::Target;
use super::selectors::Selection;
use super::{Lines, Next, Reply, Request, accept, list, reply};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running watch.
struct Watch {
    state: Arc<State>,
    resource: Arc<Resource>,
    selection: Selection,
    /// None for a watch that was asked for in a form that no event can be given in: it stays silent.
    form: Option<Form>,
    stage: Stage,
    /// Objects that were there at the start and are still to be told.
    initial: VecDeque<Arc<Object>>,
    /// Whether a bookmark ends the initial objects.
    ends_initial: bool,
    /// Events that were taken from the state and are still to be told.
    taken: VecDeque<Arc<Event>>,
    /// Everything through this version was taken.
    position: u64,
    /// The version from which the watch started.
    started: u64,
    epoch: u64,
    deadline: Instant,
    /// When the next bookmark is due; none for a watch without.
    next_bookmark: Option<Instant>,
}

/// What a watch does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Initial objects and events go out.
    Open,
    /// The last bookmark is out; the end follows.
    Closing,
    /// It started from a version that history no longer has: that is told, then it ends.
    Expired { oldest: u64 },
}

/// Events taken at a time: enough to share the cost of the lock, few enough to keep memory small.
const TAKEN_MAX: usize = 128;
/// How long a watch runs that asks for no time, at the least; as much again is added at random
/// (`minRequestTimeout` in `k8s.io/apiserver/pkg/server`).
const TIMEOUT_SECS_MIN: u64 = 1800;

pub(super) fn answer(state: &Arc<State>, request: &Request, resource: &Arc<Resource>, target: &Target) -> Result<Reply, Refusal> {
    let mut inner = state.lock();
    let release = inner.settings.release;
    let form = match accept::shape(request, release)? {
        Shape::Full => Some(Form::Full),
        Shape::Metadata => Some(Form::Metadata),
        Shape::MetadataList => None,
    };
    let is_streaming_list = check_options(request, release)?;
    let selection = Selection::new(request, resource, target.namespace.as_deref().unwrap_or_default())?;
    let version = request.query("resourceVersion");
    let asked: u64 = if version.is_empty() { 0 } else { version.parse().map_err(|_| list::bad_version(version))? };
    let timeout = match request.query("timeoutSeconds").parse().unwrap_or(0) {
        0 => TIMEOUT_SECS_MIN + inner.random.u64(..TIMEOUT_SECS_MIN),
        seconds => seconds,
    };
    let now = inner.now();
    let is_from_start = is_streaming_list || asked == 0;
    let allows_bookmarks = request.flag("allowWatchBookmarks") && !(resource.stored_in.is_empty() && resource.name == "events");
    let oldest = inner.oldest(&resource.storage());
    let watch = Watch {
        state: Arc::clone(state),
        resource: Arc::clone(resource),
        initial: if is_from_start { initial(&inner, resource, &selection) } else { VecDeque::new() },
        selection,
        form,
        stage: if !is_from_start && asked < oldest { Stage::Expired { oldest } } else { Stage::Open },
        ends_initial: is_streaming_list && request.flag("allowWatchBookmarks"),
        taken: VecDeque::new(),
        position: if is_from_start { inner.version } else { asked },
        started: if is_from_start { inner.version } else { asked },
        epoch: inner.epoch,
        deadline: now + Duration::from_secs(timeout),
        next_bookmark: allows_bookmarks.then(|| now + inner.settings.bookmark_interval),
    };
    drop(inner);
    Ok(reply::stream(Box::new(watch)))
}

/// Whether this is a streaming list; options that the release refuses are an error.
fn check_options(request: &Request, release: Release) -> Result<bool, Refusal> {
    let (version, matching) = (request.query("resourceVersion"), request.query("resourceVersionMatch"));
    let sends_initial = request.query.iter().any(|(key, _)| key == "sendInitialEvents");
    if release == Release::V1_20 || !sends_initial {
        if matching.is_empty() {
            return Ok(false);
        }
        let mut causes = vec![("resourceVersionMatch", "resourceVersionMatch is forbidden for watch")];
        if version.is_empty() {
            causes.push(("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        return Err(Refusal::invalid_options(&causes));
    }
    if release == Release::V1_33 {
        let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        return Err(Refusal::invalid_options(&[("sendInitialEvents", why)]));
    }
    if matching != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Refusal::invalid_options(&[("resourceVersionMatch", why)]));
    }
    Ok(request.flag("sendInitialEvents"))
}

fn initial(inner: &Inner, resource: &Resource, selection: &Selection) -> VecDeque<Arc<Object>> {
    let prefix = if selection.namespace.is_empty() { String::new() } else { format!("{}/", selection.namespace) };
    let storage = inner.storages.get(&resource.storage());
    let page = storage.map(|storage| storage.page(inner.version, &prefix, "", 0, |object| selection.matches(object)));
    page.map(|page| page.objects.into()).unwrap_or_default()
}

impl Lines for Watch {
    fn next(&mut self, wait: Duration) -> Next {
        if let Stage::Expired { oldest } = self.stage {
            self.stage = Stage::Closing;
            return Next::Line(self.expired(oldest));
        }
        let give_up = Instant::now() + wait;
        loop {
            if let Some(line) = self.ready() {
                return Next::Line(line);
            }
            if self.stage != Stage::Open {
                return Next::End;
            }
            if let Some(next) = self.advance(give_up) {
                return next;
            }
        }
    }
}

impl Watch {
    /// The next line of what was taken already.
    fn ready(&mut self) -> Option<Bytes> {
        if let Some(object) = self.initial.pop_front() {
            let Some(form) = self.form else { return self.ready() };
            return Some(line(Seen::Added, &object, &self.resource, form));
        }
        if self.ends_initial {
            self.ends_initial = false;
            let with_null_time = self.state.lock().settings.release == Release::V1_20;
            if let Some(form) = self.form {
                return Some(bookmark(self.started, true, &self.resource, form, with_null_time));
            }
        }
        while let Some(event) = self.taken.pop_front() {
            let seen = event.seen(|object| self.selection.matches(object));
            if let (Some(seen), Some(form)) = (seen, self.form) {
                return Some(event.line(seen, &self.resource, form));
            }
        }
        None
    }

    /// Takes more events, or says what else there is; nothing when there is something to look at again.
    fn advance(&mut self, give_up: Instant) -> Option<Next> {
        let state = Arc::clone(&self.state);
        let mut inner = state.lock();
        let name = self.resource.storage();
        if inner.epoch != self.epoch {
            return Some(Next::End);
        }
        let storage = inner.storage(&name);
        // What this watch did not take in time is forgotten: a slow receiver is ended without a word.
        if self.position < storage.forgotten {
            return Some(Next::End);
        }
        self.taken.extend(storage.since(self.position, TAKEN_MAX).cloned());
        if let Some(last) = self.taken.back() {
            self.position = last.version;
            return None;
        }
        if storage.ended > self.started {
            return Some(Next::End);
        }
        let wake = Arc::clone(&storage.wake);
        let now = inner.now();
        if let Some(line) = self.bookmark(&inner, now) {
            return Some(Next::Line(line));
        }
        if now >= self.deadline {
            return Some(Next::End);
        }
        let until_due = self.next_bookmark.map_or(self.deadline, |due| due.min(self.deadline)) - now;
        let until_quiet = give_up.saturating_duration_since(Instant::now());
        if until_quiet.is_zero() {
            return Some(Next::Quiet);
        }
        drop(wake.wait_timeout(inner, until_due.min(until_quiet)));
        None
    }

    /// The bookmark that is due: one an interval once the version has moved, and one at the end.
    fn bookmark(&mut self, inner: &Inner, now: Instant) -> Option<Bytes> {
        let due = self.next_bookmark?;
        let is_end = now >= self.deadline;
        if now < due && !is_end {
            return None;
        }
        self.next_bookmark = Some(now + inner.settings.bookmark_interval);
        if is_end {
            self.stage = Stage::Closing;
        }
        if inner.version <= self.started {
            return None;
        }
        let with_null_time = inner.settings.release == Release::V1_20;
        self.form.map(|form| bookmark(inner.version, false, &self.resource, form, with_null_time))
    }

    fn expired(&self, oldest: u64) -> Bytes {
        let message = if self.resource.stored_in.is_empty() && self.resource.name == "events" {
            // Served without the watch cache.
            "The resourceVersion for the provided watch is too old.".to_owned()
        } else {
            format!("too old resource version: {} ({oldest})", self.started)
        };
        let status = Refusal::new(410, "Expired", message).status();
        let mut line = br#"{"type":"ERROR","object":"#.to_vec();
        status.write(&mut line);
        line.extend_from_slice(b"}\n");
        line.into()
    }
}
