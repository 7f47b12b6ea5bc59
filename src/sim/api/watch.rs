//! Watches: where one starts, what it tells, when it ends.

use super::super::state::catalog::{Release, Resource};
use super::super::state::object::{Form, Object};
use super::super::state::place::{Look, Place};
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
    taken: VecDeque<(Seen, Arc<Event>)>,
    /// Everything through this version was taken.
    position: u64,
    /// The version from which the watch started.
    started: u64,
    epoch: u64,
    deadline: Instant,
    /// Whether a bookmark comes before its end.
    closes_with_bookmark: bool,
    /// When the next bookmark is due; none for a watch without.
    next_bookmark: Option<Instant>,
    place: Arc<Place>,
    /// What of the place's stirs was seen.
    stirs: u64,
    /// When the state is to be asked again, by the machine's clock.
    due: Instant,
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

/// A real server sends the last bookmark so long before the end, or not at all (`nextBookmarkTime` in
/// `k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go`).
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

pub(super) fn answer(state: &Arc<State>, request: &Request, resource: &Arc<Resource>, target: &Target) -> Result<Reply, Refusal> {
    Ok(reply::stream(Box::new(begin(state, request, resource, target)?)))
}

fn begin(state: &Arc<State>, request: &Request, resource: &Arc<Resource>, target: &Target) -> Result<Watch, Refusal> {
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
    Ok(Watch {
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
        closes_with_bookmark: Duration::from_secs(timeout) > LAST_BOOKMARK,
        next_bookmark: allows_bookmarks.then(|| now + inner.settings.bookmark_interval),
        place: inner.storage(&resource.storage()).place(target.namespace.as_deref().unwrap_or_default()),
        stirs: 0,
        // The first look asks, and finds out.
        due: Instant::now(),
    })
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
        let mut give_up = None;
        loop {
            if let Some(line) = self.ready() {
                return Next::Line(line);
            }
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + wait);
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
        let Some(form) = self.form else {
            self.initial.clear();
            self.taken.clear();
            return None;
        };
        if let Some(object) = self.initial.pop_front() {
            return Some(line(Seen::Added, &object, &self.resource, form));
        }
        if self.ends_initial {
            self.ends_initial = false;
            let with_null_time = self.state.lock().settings.release == Release::V1_20;
            return Some(bookmark(self.started, true, &self.resource, form, with_null_time));
        }
        let (seen, event) = self.taken.pop_front()?;
        Some(event.line(seen, &self.resource, form))
    }

    /// Takes more events, or says what else there is; nothing when there is something to look at again.
    fn advance(&mut self, give_up: Instant) -> Option<Next> {
        let place = Arc::clone(&self.place);
        let Self { position, taken, selection, due, stirs, .. } = self;
        let is_everything = selection.is_everything();
        let look = place.look(*position, *stirs, give_up.min(*due), |event| {
            // The place is the namespace's own.
            if let Some(seen) = event.seen(|object| is_everything || selection.matches(object)) {
                taken.push_back((seen, Arc::clone(event)));
            }
            *position = event.version;
            taken.len() < TAKEN_MAX
        });
        match look {
            Look::Taken => None,
            // A slow receiver is ended without a word.
            Look::Missed => Some(Next::End),
            Look::Stirred(stirs) => self.ask(stirs),
            Look::Nothing if Instant::now() >= self.due => self.ask(self.stirs),
            Look::Nothing => Some(Next::Quiet),
        }
    }

    /// Asks the state what the place does not know: the end, and bookmarks that are due.
    fn ask(&mut self, stirs: u64) -> Option<Next> {
        let state = Arc::clone(&self.state);
        let mut inner = state.lock();
        if inner.epoch != self.epoch {
            return Some(Next::End);
        }
        // Neither a bookmark nor an end may overtake an event that came since the last look, also where it is forgotten by now.
        if self.place.is_past(self.position) {
            return None;
        }
        self.stirs = stirs;
        if inner.storage(&self.resource.storage()).ended > self.started {
            return Some(Next::End);
        }
        let now = inner.now();
        let bookmark = self.bookmark(&inner, now);
        let next = self.next_bookmark.map_or(self.deadline, |due| due.min(self.deadline));
        self.due = Instant::now() + next.saturating_duration_since(now);
        match bookmark {
            Some(line) => Some(Next::Line(line)),
            None if now >= self.deadline => Some(Next::End),
            None => None,
        }
    }

    /// The bookmark that is due: one an interval once the version has moved, and one at the end.
    fn bookmark(&mut self, inner: &Inner, now: Instant) -> Option<Bytes> {
        let due = self.next_bookmark?;
        let is_end = now >= self.deadline && self.closes_with_bookmark;
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

#[cfg(test)]
mod tests {
    use super::super::super::state::json::Json;
    use super::super::path;
    use super::*;

    /// A watch of all config maps, from now on, whose bookmark is due.
    fn watch(state: &Arc<State>) -> Watch {
        let resource = config_maps(state);
        let query = [("watch", "1".to_owned()), ("allowWatchBookmarks", "1".to_owned())];
        let query = query.into_iter().chain([("resourceVersion", state.version().to_string())]);
        let request = Request {
            method: "GET".to_owned(),
            path: "/api/v1/configmaps".to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), value)).collect(),
            headers: Vec::new(),
            body: Bytes::new(),
            certificate: None,
        };
        let path::Place::Objects(target) = path::parse(&request.path) else { panic!("the path is of objects") };
        let mut watch = begin(state, &request, &resource, &target).unwrap();
        watch.next_bookmark = Some(Instant::now());
        watch
    }

    fn config_maps(state: &State) -> Arc<Resource> {
        Arc::clone(state.lock().catalog.find("", "v1", "configmaps").unwrap())
    }

    fn write(state: &State) {
        let json = Json::object([("metadata", Json::object([("name", Json::text("a"))]))]);
        let resource = config_maps(state);
        state.lock().create(&resource, "default", json, "test").unwrap();
    }

    #[test]
    fn no_bookmark_overtakes_an_event_that_came_since_the_last_look() {
        for is_forgotten in [false, true] {
            let state = State::new(7);
            let mut watch = watch(&state);
            write(&state);
            if is_forgotten {
                state.compact();
            }
            assert!(watch.ask(0).is_none(), "forgotten: {is_forgotten}");
            let next = watch.next(Duration::ZERO);
            match is_forgotten {
                false => assert!(matches!(next, Next::Line(line) if line.starts_with(br#"{"type":"ADDED""#))),
                true => assert!(matches!(next, Next::End)),
            }
        }
    }
}
