//! Tells the receivers what the server says, and remembers it as told.
//!
//! Takes objects from the driver, compares them with the store, and hands an event to the outlet for each difference. An
//! event is remembered as told only when it was handed over, so that what had to wait too long is found again.

mod ahead;
mod doubts;
mod past;

use super::dirt::Dirt;
use super::handover::{Halt, Handover, Patience};
use super::machine::Line;
use super::replay::Replay;
use super::store::{Standing, Store};
use super::unreadable::Unreadables;
use crate::api::{
    Anchor, DecodeError, Identity, ObjectRef, ResourceVersion, Status, StringMap, TextKey, Unhashed, WatchKind, WatchLine, mended,
};
use crate::event::{EventType, Kept, MatchedEvent, Origin};
use ahead::Ahead;
pub(super) use past::Past;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One watch's store, its outlet, and how far it is.
pub(super) struct Teller {
    pub(super) out: Handover,
    pub(super) store: Store,
    pub(super) dirt: Dirt,
    pub(super) replay: Replay,
    unreadables: Unreadables,
    /// The server is asked for the objects of all namespaces although some are configured.
    pub(super) is_asked_everywhere: bool,
    /// Objects came of a namespace that nobody asked for.
    strangers: Strangers,
    /// Such came in the list under way, or in the last one.
    strangers_listed: bool,
    /// What comes now are whole objects, though metadata was asked for.
    is_whole: bool,
    /// That whole objects come was logged.
    is_whole_said: bool,
    phase: Phase,
    /// The version that came last, of an event, a bookmark or a list.
    reached: Option<ResourceVersion>,
    /// After a replay, until something comes from behind this version: everything up to it was told.
    told_up_to: Option<u64>,
    /// The newest object of the list under way.
    newest: Option<Anchor>,
    /// What of the list the watch has yet to come to.
    ahead: Ahead,
    /// What the list under way named and nobody is told of.
    unconfirmed: VecDeque<Identity>,
}

/// What the objects that come now are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Those of the very first list.
    FirstList,
    /// Those that come on the very first list after it has paused, and not said that it has ended: a server that ignores what
    /// it was asked for has sent what was there, and sends changes now.
    FirstListPaused,
    /// Those of another list: differences are found by comparison.
    Relist,
    /// Changes.
    Live,
}

/// So many objects are recalled at once: each may have labels and annotations of 16 KiB.
const RECALLED_MAX: usize = 128;

/// Between two attempts to recall what a failing disk does not give.
const RECALL_PAUSE: Duration = Duration::from_millis(100);

/// `kind` of an object of which the server was asked for metadata only.
const METADATA_KIND: &str = "PartialObjectMetadata";

impl Teller {
    /// `reached` is the version that an earlier run has come to.
    pub(super) fn new(out: Handover, store: Store, replay: Replay, reached: Option<ResourceVersion>) -> Self {
        let (dirt, unreadables, unconfirmed) = (Dirt::default(), Unreadables::default(), VecDeque::new());
        let (is_whole, is_whole_said, phase, told_up_to, newest) = (false, false, Phase::Live, None, None);
        let (is_asked_everywhere, strangers, strangers_listed) = (false, Strangers::None, false);
        Self {
            out,
            store,
            dirt,
            replay,
            unreadables,
            is_asked_everywhere,
            strangers,
            strangers_listed,
            is_whole,
            is_whole_said,
            phase,
            reached,
            told_up_to,
            newest,
            ahead: Ahead::default(),
            unconfirmed,
        }
    }

    /// Begins a list: from here on the version to resume from stands still.
    pub(super) fn begin_list(&mut self, phase: Phase) {
        self.phase = phase;
        self.drop_unconfirmed();
        self.replay.begin_list();
        self.unreadables.clear();
        self.strangers_listed = false;
        self.store.begin_list();
        (self.newest, self.told_up_to, self.ahead) = (None, None, Ahead::default());
        self.dirt.list_began(Instant::now());
        self.out.mark_listing();
    }

    /// Tells what the list did not name as deleted, when it was `whole`, and marks its end. Gives the newest object of it, where
    /// versions are numbers.
    pub(super) fn end_list(
        &mut self,
        version: &ResourceVersion,
        whole: bool,
        patience: Patience,
    ) -> Result<Option<Anchor>, Halt> {
        if whole {
            self.send_deletes_again(patience)?;
            if !self.ahead.is_open() {
                self.tell_missing(patience)?;
            }
            self.replay.clear();
            self.out.supersede();
        }
        self.confirm(patience)?;
        self.dirt.list_ended(whole && self.unreadables.len() == 0);
        self.publish_unreadables();
        if !self.strangers_listed {
            self.strangers = Strangers::None;
        }
        let is_first = mem::replace(&mut self.phase, Phase::Live) != Phase::Relist;
        self.out.permit = None;
        // What could not be read may have changed or gone: only a list that reads everything ends that doubt.
        // A page may hold what was written after the version of the list; a watch brings that again.
        let newest = self.newest.take().filter(|newest| newest.version().number() <= version.number());
        let newest = newest.map(|newest| newest.of_list(version));
        if self.ahead.is_open() {
            (self.ahead.is_whole, self.ahead.anchor) = (whole, newest.clone());
        }
        if !self.ahead.is_open() && !self.dirt.is_doubtful() {
            self.out.mark_listed(version, newest.clone());
        } else if is_first {
            self.out.mark_first_listed(version);
        }
        self.reached = Some(version.clone());
        Ok(newest)
    }

    /// A page of this version begins; of one that says it behind its objects it is not known.
    pub(super) fn page(&mut self, version: Option<&ResourceVersion>) {
        self.ahead.page(version);
    }

    /// A page of this version has come whole.
    pub(super) fn page_ended(&mut self, version: &ResourceVersion) {
        self.ahead.page_ended(version);
    }

    /// Whether later pages of the list brought more than the watch has come to: what was told is what was there at no one version.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead.is_open()
    }

    /// The watch has come to this version: where that is all that pages brought, the list counts from here on.
    fn reach(&mut self, version: &ResourceVersion, patience: Patience) -> Result<(), Halt> {
        if self.ahead.is_reached(version) {
            if self.ahead.is_whole {
                self.tell_missing(patience)?;
            }
            let anchor = mem::take(&mut self.ahead).anchor;
            if !self.dirt.is_doubtful() {
                self.out.mark_listed(version, anchor);
            }
        }
        self.reached = Some(version.clone());
        Ok(())
    }

    /// Nothing came for a while, though the list under way has not ended.
    pub(super) fn list_paused(&mut self) {
        if self.phase == Phase::FirstList {
            self.phase = Phase::FirstListPaused;
        }
    }

    /// Tells everything known as deleted.
    pub(super) fn tell_all_deleted(&mut self) -> Result<(), Halt> {
        self.out.mark_listing();
        self.store.begin_list();
        self.unreadables.clear();
        self.publish_unreadables();
        self.tell_missing(Patience::Unlimited)
    }

    /// Takes a line of a watch, tells what is new in it, and gives what it means for the machine.
    pub(super) fn line(&mut self, bytes: &[u8]) -> Result<Heard, Halt> {
        let copy;
        let line = match WatchLine::parse(bytes) {
            Ok(line) => line,
            Err(error) => {
                copy = mended(bytes);
                match copy.as_deref().map(WatchLine::parse) {
                    Some(Ok(line)) => line,
                    Some(Err(error)) => return Ok(self.unread_line(&error)),
                    None => return Ok(self.unread_line(&error)),
                }
            }
        };
        match line {
            WatchLine::Object { kind, object } => {
                let is_whole = self.is_unasked_whole(&object);
                if self.refuses(is_whole) {
                    return Ok(Heard::Unreadable("whole objects came where only metadata was asked for".to_owned()));
                }
                let version = object.resource_version();
                if self.is_doubtful(&version) {
                    return Ok(Heard::Line(Line::Doubtful));
                }
                Ok(Heard::Line(match self.phase {
                    Phase::FirstList | Phase::FirstListPaused | Phase::Relist => {
                        self.listed(kind, &object, Patience::Limited)?;
                        Line::Listed
                    }
                    Phase::Live => {
                        if self.replay.differs(kind, &object, self.is_metadata()) || self.replaces_due(kind, &object) {
                            return Ok(Heard::NotReplayed);
                        }
                        let newest = self.change(kind, &object)?;
                        if self.ahead.is_open() {
                            self.ahead.anchor.clone_from(&newest);
                        }
                        self.reach(&version, Patience::Limited)?;
                        Line::Event { version, newest }
                    }
                }))
            }
            WatchLine::Bookmark { version, .. } if self.is_live_and_due_before(&version) => Ok(Heard::NotReplayed),
            WatchLine::Bookmark { version, .. } if self.is_past(&version) => {
                Ok(Heard::Line(if self.is_doubtful(&version) { Line::Doubtful } else { Line::OldBookmark }))
            }
            WatchLine::Bookmark { version, initial_events_end } => {
                self.out.context.metrics.bookmark();
                self.out.mark_bookmark(&version);
                self.reach(&version, Patience::Limited)?;
                Ok(Heard::Line(Line::Bookmark { version, initial_events_end }))
            }
            WatchLine::Error(status) => Ok(Heard::Error(status)),
        }
    }

    /// Tells an event of a watch. Gives its anchor, but where the event went out without its hash.
    fn change(&mut self, kind: WatchKind, object: &ObjectRef<'_>) -> Result<Option<Anchor>, Halt> {
        let unhashed = Unhashed::of_event(kind, object, self.reached.as_ref(), self.is_metadata());
        if !self.may_hash_later() {
            let anchor = unhashed.hashed(object);
            self.object(kind, object, &Origin::Watch(anchor.clone()), Patience::Limited)?;
            return Ok(Some(anchor));
        }
        let before = self.out.unhashed();
        let origin = Origin::Unhashed(unhashed);
        self.object(kind, object, &origin, Patience::Limited)?;
        match origin {
            Origin::Unhashed(unhashed) if self.out.unhashed() == before => Ok(Some(unhashed.hashed(object))),
            Origin::List | Origin::Watch(_) | Origin::Unhashed(_) => Ok(None),
        }
    }

    /// Whether the hash of an event may be made of what is emitted of it, and nobody needs it before.
    fn may_hash_later(&self) -> bool {
        let is_whole_copy = !self.is_whole && !self.is_secret();
        is_whole_copy && !self.ahead.is_open() && self.replay.is_empty() && self.out.may_hash_later()
    }

    /// Tells an object of a page.
    pub(super) fn page_object(
        &mut self,
        object: &Result<ObjectRef<'_>, DecodeError>,
        patience: Patience,
    ) -> Result<Option<Unread>, Halt> {
        match object {
            Ok(object) => self.listed(WatchKind::Added, object, patience).map(|()| None),
            Err(error) => Ok(Some(self.unread(error))),
        }
    }

    /// Whether it is time to list again because of what could not be read.
    pub(super) fn is_relist_due(&self) -> bool {
        self.phase == Phase::Live && self.dirt.is_due()
    }

    /// Tells an object of a list.
    fn listed(&mut self, kind: WatchKind, object: &ObjectRef<'_>, patience: Patience) -> Result<(), Halt> {
        // Before anything is emitted of an object that has one of their names now.
        self.send_deletes_again(patience)?;
        self.object(kind, object, &Origin::List, patience)?;
        if self.ahead.takes(&object.resource_version()) {
            return Ok(());
        }
        let newest = self.newest.as_ref().and_then(|newest| newest.version().number());
        if object.resource_version().number() > newest {
            self.newest = Some(Anchor::of_listed(object).of_metadata(self.is_metadata()));
        }
        Ok(())
    }

    /// Tells what is new in an object.
    fn object(&mut self, kind: WatchKind, object: &ObjectRef<'_>, origin: &Origin, patience: Patience) -> Result<(), Halt> {
        if let Origin::Watch(anchor) = origin
            && self.replay.holds(kind, object)
        {
            self.out.wait_for_credit(patience)?;
            match self.replay.take() {
                (id, None) => self.out.keep(Kept::Replayed(id, anchor.clone())),
                (_, Some(emission)) => {
                    let mut event = self.event(emission.event_type, object);
                    event.origin = origin.clone();
                    self.out.send_again(event, emission.sequence);
                }
            }
            return Ok(());
        }
        if self.is_asked_everywhere && !self.out.watch.covers(&object.namespace()) {
            self.stranger();
            return Ok(());
        }
        if self.unreadables.read(object) {
            self.publish_unreadables();
        }
        let key = self.store.key_of(object);
        if !matches!(origin, Origin::List) && self.ahead.is_open() && self.store.is_beyond(key, object) {
            return Ok(());
        }
        let standing = self.standing(kind, key, object);
        if standing == Standing::OtherUid {
            self.replaced(key, patience)?;
        }
        match (kind, standing) {
            (WatchKind::Deleted, Standing::Unknown | Standing::OtherUid) => Ok(()),
            (WatchKind::Deleted, Standing::Same | Standing::Changed) => self.left(key, object, origin, patience),
            (WatchKind::Added | WatchKind::Modified, Standing::Same) => self.unchanged(object, patience),
            (WatchKind::Added | WatchKind::Modified, Standing::Unknown)
                if self.phase == Phase::FirstList && self.out.context.skip_initial =>
            {
                self.keep(key, object);
                Ok(())
            }
            (WatchKind::Added | WatchKind::Modified, Standing::Unknown | Standing::OtherUid | Standing::Changed) => {
                self.present(key, standing, kind, object, origin, patience)
            }
        }
    }

    /// An object is as it was last emitted: those receivers get it that have not accepted it.
    fn unchanged(&mut self, object: &ObjectRef<'_>, patience: Patience) -> Result<(), Halt> {
        if !self.replay.holds(WatchKind::Added, object) {
            return Ok(());
        }
        self.out.wait_for_credit(patience)?;
        if let (_, Some(emission)) = self.replay.take() {
            let mut event = self.event(emission.event_type, object);
            event.inferred = true;
            self.out.send_again(event, emission.sequence);
        }
        Ok(())
    }

    /// Deletes that some receivers lack, and that no list names.
    fn send_deletes_again(&mut self, patience: Patience) -> Result<(), Halt> {
        while self.replay.has_delete() {
            self.out.wait_for_credit(patience)?;
            let emission = self.replay.take_delete().expect("there is one");
            let object = emission.identity.to_object();
            let mut event = MatchedEvent::new(EventType::Deleted, Arc::clone(&self.out.watch), object);
            (event.inferred, event.metadata_only) = (true, true);
            self.out.send_again(event, emission.sequence);
        }
        Ok(())
    }

    /// Remembers an object as if it had been told, once the list that names it has ended.
    fn keep(&mut self, key: TextKey, object: &ObjectRef<'_>) {
        let identity = self.event(EventType::Added, object).identity();
        if self.store.keep(key, object, || identity.clone()) {
            self.out.context.metrics.tracked_changed(1);
        }
        self.unconfirmed.push_back(identity);
    }

    /// The list has ended: what it named and nobody is told of is known.
    fn confirm(&mut self, patience: Patience) -> Result<(), Halt> {
        while !self.unconfirmed.is_empty() {
            self.out.wait_for_credit(patience)?;
            let identity = self.unconfirmed.pop_front().expect("it is not empty");
            // What was told of it since is known by that.
            if self.store.key_of_known(&identity).is_some() {
                self.out.keep(Kept::Known(identity));
            }
        }
        Ok(())
    }

    /// The list did not end: what it named and nobody was told of counts for nothing.
    fn drop_unconfirmed(&mut self) {
        for identity in mem::take(&mut self.unconfirmed) {
            if self.store.key_of_known(&identity).is_some_and(|key| self.store.forget(key)) {
                self.out.context.metrics.tracked_changed(-1);
            }
        }
    }

    /// Another object has taken the name, so the one that was known is gone.
    fn replaced(&mut self, key: TextKey, patience: Patience) -> Result<(), Halt> {
        self.tell_gone(&[key], patience)
    }

    /// Tells known objects as deleted, as they are remembered.
    fn tell_gone(&mut self, keys: &[TextKey], patience: Patience) -> Result<(), Halt> {
        for (key, identity) in self.recall(keys)? {
            self.out.wait_for_credit(patience)?;
            self.store.forget(key);
            self.out.send_gone(identity.to_object());
        }
        // Nothing is left, unless somebody has changed the state from outside.
        for _ in keys.iter().filter(|key| self.store.forget(**key)) {
            log::error!(
                "{}: an object is gone of which the state holds nothing, so its DELETED is not told",
                self.out.watch.target
            );
            self.out.context.metrics.tracked_changed(-1);
        }
        Ok(())
    }

    /// What is remembered of known objects, once that can be had.
    fn recall(&self, keys: &[TextKey]) -> Result<Vec<(TextKey, Identity)>, Halt> {
        let context = &self.out.context;
        context.pulse.waiting();
        let mut found = loop {
            if let Some(found) = self.store.recall(keys) {
                break found;
            }
            if context.stop.wait(RECALL_PAUSE) {
                return Err(Halt::Stop);
            }
        };
        context.pulse.working();
        if found.len() < keys.len() && !self.unconfirmed.is_empty() {
            let keyer = self.store.keyer();
            let unconfirmed = self.unconfirmed.iter().map(|identity| (keyer.key(identity.key()), identity));
            found.extend(unconfirmed.filter(|(key, _)| keys.contains(key)).map(|(key, identity)| (key, identity.clone())));
        }
        Ok(found)
    }

    fn left(&mut self, key: TextKey, object: &ObjectRef<'_>, origin: &Origin, patience: Patience) -> Result<(), Halt> {
        let mut event = self.event(EventType::Deleted, object);
        event.origin = origin.clone();
        self.out.wait_for_credit(patience)?;
        self.store.forget(key);
        self.out.context.metrics.tracked_changed(-1);
        self.out.send(event);
        Ok(())
    }

    fn present(
        &mut self,
        key: TextKey,
        standing: Standing,
        kind: WatchKind,
        object: &ObjectRef<'_>,
        origin: &Origin,
        patience: Patience,
    ) -> Result<(), Halt> {
        let event_type = if standing == Standing::Changed { EventType::Updated } else { EventType::Added };
        let mut event = self.event(event_type, object);
        event.origin = origin.clone();
        // Where nobody is told of initial ones, what took the name of a known object came after that.
        let skips = self.out.context.skip_initial;
        event.initial = self.phase == Phase::FirstList && event_type == EventType::Added && !skips;
        event.inferred = match self.phase {
            // A list that began again may find changes; a change that its stream tells is none.
            Phase::FirstList => kind == WatchKind::Added && !event.initial,
            Phase::FirstListPaused => kind == WatchKind::Added && event_type == EventType::Updated,
            Phase::Relist => true,
            Phase::Live => false,
        };
        self.out.wait_for_credit(patience)?;
        if self.store.keep(key, object, || event.identity()) {
            self.out.context.metrics.tracked_changed(1);
        }
        if self.phase != Phase::Live {
            self.replay.emitted_anew(object);
        }
        self.out.send(event);
        Ok(())
    }

    fn tell_missing(&mut self, patience: Patience) -> Result<(), Halt> {
        let missing = self.store.missing();
        missing.chunks(RECALLED_MAX).try_for_each(|keys| self.tell_gone(keys, patience))
    }

    /// What is emitted of an object, and what is written of that.
    fn event(&self, event_type: EventType, object: &ObjectRef<'_>) -> MatchedEvent {
        let (redaction, is_secret) = (&self.out.context.redaction, self.is_secret());
        let annotations = if is_secret { redaction.of_secret(object.annotations()) } else { String::new() };
        // What cannot be followed to its end gives what was read of it.
        let metadata = if self.is_whole && !is_secret { object.to_metadata_object().ok() } else { None };
        let copy = match metadata {
            Some(metadata) => metadata,
            None if is_secret => object.to_identity_object(StringMap::from_json(&annotations)),
            None if self.is_whole => object.to_identity_object(object.annotations()),
            None => object.to_object(),
        };
        // What nobody writes needs no second text, and neither does what is redacted already.
        let is_written = cfg!(any(feature = "export", feature = "state")) && !is_secret;
        let written = is_written.then(|| redaction.of_object(&copy.as_ref())).flatten();
        let labels = copy.as_ref().labels();
        let annotations = written.as_deref().map_or_else(|| copy.as_ref().annotations(), StringMap::from_json);
        let stored = redaction.of_state(labels, annotations);
        MatchedEvent::new(event_type, Arc::clone(&self.out.watch), copy).writing(written).storing(stored)
    }

    fn is_secret(&self) -> bool {
        self.out.watch.target.gvr.is_secrets()
    }
}

/// Whether objects come of a namespace that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strangers {
    /// None came in the last list and since.
    None,
    /// The first one has come.
    Came,
    /// They come, and the scope was read again because of it.
    Known,
}

/// What a line of a watch was.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something for the machine.
    Line(Line),
    /// The server ends the watch, and why.
    Error(Status),
    /// Something came, and not before it what an earlier run has handed out beyond its version.
    NotReplayed,
    /// Nothing that can be read, and why.
    Unreadable(String),
    /// An object of a list of which only the name can be read, and why.
    Spared(String),
}

/// An object of a list that cannot be read.
#[derive(Debug)]
pub(super) struct Unread {
    /// Why, with its name where that can be read.
    pub(super) why: String,
    /// Its name can be read, so that it is known to be there.
    pub(super) is_named: bool,
}
