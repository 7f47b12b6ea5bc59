//! What cannot be read, or comes unasked: whole objects, strange namespaces, broken metadata.

use super::{Heard, METADATA_KIND, Phase, Strangers, Teller, Unread};
use crate::api::{DecodeError, Identity, ObjectRef};
use std::mem;
use std::time::Instant;

impl Teller {
    /// Whether this is a whole object, though metadata was asked for.
    pub(super) fn is_unasked_whole(&self, object: &ObjectRef<'_>) -> bool {
        self.out.context.content_is_metadata && object.kind() != METADATA_KIND
    }

    /// Whether what comes now is metadata alone.
    pub(super) fn is_metadata(&self) -> bool {
        self.out.context.content_is_metadata && !self.is_whole
    }

    /// What comes now are whole objects or not, though metadata was asked for. Of secrets they are not even looked at; of
    /// others the metadata in them is what was asked for. Returns whether they are refused.
    pub(in crate::informer) fn refuses(&mut self, is_whole: bool) -> bool {
        self.is_whole = is_whole;
        if is_whole && !self.is_secret() && !mem::replace(&mut self.is_whole_said, true) {
            let target = &self.out.watch.target;
            log::info!("{target}: the server sends whole objects where only metadata was asked for; their metadata is read");
        }
        is_whole && self.is_secret()
    }

    /// A line that cannot be read. In a list its object may be known by its name, so that it is not missing from it.
    pub(super) fn unread_line(&mut self, error: &DecodeError) -> Heard {
        if self.phase == Phase::Live {
            return Heard::Unreadable(error.to_string());
        }
        let Unread { why, is_named } = self.unread(error);
        if is_named { Heard::Spared(why) } else { Heard::Unreadable(why) }
    }

    /// An object of a list that cannot be read, but perhaps for its name.
    pub(super) fn unread(&mut self, error: &DecodeError) -> Unread {
        let Some(key) = error.object_key() else { return Unread { why: error.to_string(), is_named: false } };
        if self.is_asked_everywhere && !self.out.watch.covers(Identity::namespace_of_key(key)) {
            self.stranger();
        } else {
            self.store.spare(key);
            self.unreadables.found(key);
        }
        Unread { why: format!("{}: {error}", Identity::words_of_key(key)), is_named: true }
    }

    /// An object of a namespace that nobody asked for: a definition has come back with another scope, and what was asked for
    /// without a namespace means all of them now. One namespace is asked for by its path, several by that of all.
    pub(super) fn stranger(&mut self) {
        self.strangers_listed = true;
        if self.strangers == Strangers::None && self.out.watch.namespaces.len() == 1 {
            self.strangers = Strangers::Came;
        }
    }

    /// Whether the scope of the kind must be read again, because of what has come. Says so once: where that changes nothing, such
    /// objects are passed over.
    pub(in crate::informer) fn is_scope_doubtful(&mut self) -> bool {
        let is_doubtful = self.strangers == Strangers::Came;
        if is_doubtful {
            self.strangers = Strangers::Known;
        }
        is_doubtful
    }

    pub(super) fn publish_unreadables(&self) {
        self.out.context.status.set_unreadable(self.unreadables.len(), self.unreadables.names());
    }

    /// Something could not be read: everything will be listed again, and until then no version may be resumed from.
    pub(in crate::informer) fn skipped(&mut self) {
        self.out.context.metrics.decode_error();
        if self.dirt.found(Instant::now(), &self.out.context.limits) {
            self.out.mark_listing();
        }
    }

    /// An object of a list could not be read, but for its name: it is known to be there, and looked for in a later list.
    pub(in crate::informer) fn spared(&mut self) {
        self.out.context.metrics.decode_error();
        self.dirt.look_again(Instant::now(), &self.out.context.limits);
    }
}
