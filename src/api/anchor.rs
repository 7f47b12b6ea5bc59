//! The newest event of a watch, known well enough to be found again: what proves that a server still has the same history.
//!
//! Made from an object as it was received, before anything of it is stripped. A watch from the version before the anchor's
//! begins with this event, unless the server was restored from a backup that had not come so far.

use super::hash::hash64;
use super::{ObjectRef, ResourceVersion, WatchKind};

/// An event by its version, its type, and a hash of its object's metadata.
///
/// The hash covers `metadata.uid` and `metadata.managedFields`, which hold the times of writes: two writes of one object under
/// one number, each of another history, differ in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    version: ResourceVersion,
    /// All but its lowest bit, which says that metadata came without its object.
    metadata_hash: u64,
    origin: Origin,
    /// The version received before, where the event's own is no number. Rare, so it costs its room only there.
    before: Option<Box<ResourceVersion>>,
}

/// What an anchor was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An event of a watch.
    Event(WatchKind),
    /// The newest object of a list, which says neither how it came to be nor what was deleted after it.
    Listed,
    /// The same where the list is of its version, so that nothing came after it.
    ListedLast,
}

/// An [`Anchor`] without its hash. To make that costs as much as to read the object, and of events that come together only the
/// newest one's is ever asked for.
#[derive(Clone, Debug)]
pub struct Unhashed(Anchor);

impl Unhashed {
    /// An event of a watch. `before` is the version that the watch had come to; `is_metadata`: metadata came without its object.
    pub fn of_event(kind: WatchKind, object: &ObjectRef<'_>, before: Option<&ResourceVersion>, is_metadata: bool) -> Self {
        let version = object.resource_version();
        let before = before.filter(|_| version.number().is_none()).cloned().map(Box::new);
        Self(Anchor { version, metadata_hash: u64::from(is_metadata), origin: Origin::Event(kind), before })
    }

    /// The version of the event.
    pub fn version(&self) -> &ResourceVersion {
        &self.0.version
    }

    /// The anchor. `object` is that of the event, or a copy.
    pub fn hashed(self, object: &ObjectRef<'_>) -> Anchor {
        Anchor { metadata_hash: hash_of(object) | self.0.metadata_hash, ..self.0 }
    }
}

impl Anchor {
    /// An event of a watch. `before` is the version that the watch had come to.
    pub fn of_event(kind: WatchKind, object: &ObjectRef<'_>, before: Option<&ResourceVersion>) -> Self {
        Unhashed::of_event(kind, object, before, false).hashed(object)
    }

    /// The newest object of a list.
    pub fn of_listed(object: &ObjectRef<'_>) -> Self {
        let (version, metadata_hash) = (object.resource_version(), hash_of(object));
        Self { version, metadata_hash, origin: Origin::Listed, before: None }
    }

    /// The same of a list of this version.
    pub fn of_list(mut self, version: &ResourceVersion) -> Self {
        if self.origin == Origin::Listed && self.version == *version {
            self.origin = Origin::ListedLast;
        }
        self
    }

    /// The same of metadata that came without its object, where `is_metadata`: it may be in another order then.
    pub fn of_metadata(mut self, is_metadata: bool) -> Self {
        self.metadata_hash |= u64::from(is_metadata);
        self
    }

    /// The version of the event.
    pub fn version(&self) -> &ResourceVersion {
        &self.version
    }

    /// The hash of its object's metadata.
    pub fn metadata_hash(&self) -> u64 {
        self.metadata_hash
    }

    /// Whether an object's metadata is another than that of this hash. What came in the other form cannot be compared.
    pub fn is_other(object: &ObjectRef<'_>, is_metadata: bool, metadata_hash: u64) -> bool {
        metadata_hash & METADATA_BIT == u64::from(is_metadata) && metadata_hash & !METADATA_BIT != hash_of(object)
    }

    /// From which version a watch begins with this event. `None` where nobody knows: for an opaque version of a list, and for
    /// the first version of all, as the one before it would ask for any. `None` where that proves nothing, too: a delete comes
    /// with the metadata of the object's last state in the watch, so that another history may have the same under its number; and
    /// after the newest object of a list others may have been deleted, which live on in a history that parted before that.
    pub fn replay_from(&self) -> Option<ResourceVersion> {
        match self.origin {
            Origin::Event(WatchKind::Added | WatchKind::Modified) | Origin::ListedLast => {}
            Origin::Event(WatchKind::Deleted) | Origin::Listed => return None,
        }
        match self.version.number() {
            Some(number) => number.checked_sub(1).filter(|before| *before > 0).and_then(|n| ResourceVersion::new(&n.to_string())),
            None => self.before.as_deref().cloned(),
        }
    }

    /// Whether this is the same event.
    pub fn is(&self, kind: WatchKind, object: &ObjectRef<'_>) -> bool {
        let may_be = match self.origin {
            Origin::Event(known) => known == kind,
            Origin::Listed | Origin::ListedLast => kind != WatchKind::Deleted,
        };
        may_be && self.version == object.resource_version() && self.metadata_hash & !METADATA_BIT == hash_of(object)
    }

    /// Its parts as texts, for storing: version, hash, type, and the version before it.
    pub fn to_texts(&self) -> [String; ANCHOR_TEXTS] {
        let kind = match self.origin {
            Origin::Listed => "",
            Origin::ListedLast => "L",
            Origin::Event(WatchKind::Added) => "A",
            Origin::Event(WatchKind::Modified) => "M",
            Origin::Event(WatchKind::Deleted) => "D",
        };
        let before = self.before.as_ref().map(ToString::to_string).unwrap_or_default();
        [self.version.to_string(), format!("{:016x}", self.metadata_hash), kind.to_owned(), before]
    }

    /// Reads back what [`to_texts`](Self::to_texts) gave; `None` when these are no such texts.
    pub fn from_texts([version, hash, kind, before]: [&str; ANCHOR_TEXTS]) -> Option<Self> {
        let origin = match kind {
            "" => Origin::Listed,
            "L" => Origin::ListedLast,
            "A" => Origin::Event(WatchKind::Added),
            "M" => Origin::Event(WatchKind::Modified),
            "D" => Origin::Event(WatchKind::Deleted),
            _ => return None,
        };
        let (version, before) = (ResourceVersion::new(version)?, ResourceVersion::new(before).map(Box::new));
        Some(Self { version, metadata_hash: u64::from_str_radix(hash, 16).ok()?, origin, before })
    }
}

/// The hash of an object's metadata, as that of a whole object.
fn hash_of(object: &ObjectRef<'_>) -> u64 {
    hash64(object.metadata_bytes()) & !METADATA_BIT
}

/// In a hash: metadata came without its object.
const METADATA_BIT: u64 = 1;

/// The number of the history that a watch begins with. Another one, as after a restore from a backup, has a higher number.
pub const HISTORY_FIRST: u32 = 1;

/// How many texts an anchor is stored as.
pub const ANCHOR_TEXTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WatchLine;

    const BUILT_IN: &str = r#"{"type":"MODIFIED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"7","managedFields":[{"manager":"m","time":"T1","fieldsV1":{"f:data":{"k:{\"a\":\"]\"}":{}}}}]},"data":{"k":"v"}}}"#;
    const CUSTOM: &str = r#"{"type":"MODIFIED","object":{"apiVersion":"x/v1","kind":"X","metadata":{"managedFields":[{"manager":"m","time":"T1"}],"name":"a","resourceVersion":"7","uid":"u"},"spec":{"k":"v"}}}"#;

    fn anchor(line: &str) -> Anchor {
        let Ok(WatchLine::Object { kind, object }) = WatchLine::parse(line.as_bytes()) else { panic!("{line}") };
        Anchor::of_event(kind, &object, ResourceVersion::new("before").as_ref())
    }

    fn is(anchor: &Anchor, line: &str) -> bool {
        let Ok(WatchLine::Object { kind, object }) = WatchLine::parse(line.as_bytes()) else { panic!("{line}") };
        anchor.is(kind, &object)
    }

    #[test]
    fn an_event_is_the_same_while_its_type_and_all_its_metadata_are() {
        for line in [BUILT_IN, CUSTOM] {
            let anchor = anchor(line);
            assert!(is(&anchor, line), "{line}");
            for (from, to) in [("MODIFIED", "ADDED"), ("\"7\"", "\"8\""), ("\"u\"", "\"v\""), ("T1", "T2"), ("\"m\"", "\"n\"")] {
                assert!(!is(&anchor, &line.replace(from, to)), "{from} as {to} in {line}");
            }
            // What defaults, conversion and the place in a list change is not part of it.
            for (from, to) in
                [("\"v\"", "\"w\""), ("x/v1", "x/v2"), (",\"data\":{\"k\":\"v\"}", ""), ("\"kind\":\"ConfigMap\",", "")]
            {
                assert!(is(&anchor, &line.replace(from, to)), "{from} as {to} in {line}");
            }
        }
    }

    #[test]
    fn an_object_of_a_list_is_found_again_by_an_event_of_any_type_but_its_delete() {
        let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(BUILT_IN.as_bytes()) else { panic!("{BUILT_IN}") };
        let listed = Anchor::of_listed(&object);
        assert!(is(&listed, BUILT_IN) && is(&listed, &BUILT_IN.replace("MODIFIED", "ADDED")));
        assert!(!is(&listed, &BUILT_IN.replace("T1", "T2")) && !is(&listed, &BUILT_IN.replace("MODIFIED", "DELETED")));
    }

    #[test]
    fn what_came_in_another_form_is_the_same_where_its_metadata_is_and_no_other_where_it_is_not() {
        let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(BUILT_IN.as_bytes()) else { panic!("{BUILT_IN}") };
        let other = BUILT_IN.replace("T1", "T2");
        let Ok(WatchLine::Object { object: other, .. }) = WatchLine::parse(other.as_bytes()) else { panic!("{other}") };
        for is_metadata in [false, true] {
            let anchor = Anchor::of_listed(&object).of_metadata(is_metadata);
            assert!(is(&anchor, BUILT_IN) && !anchor.is(WatchKind::Modified, &other));
            for comes_as_metadata in [false, true] {
                let is_other = |object| Anchor::is_other(object, comes_as_metadata, anchor.metadata_hash());
                assert_eq!((is_other(&object), is_other(&other)), (false, is_metadata == comes_as_metadata));
            }
        }
    }

    #[test]
    fn a_replay_begins_one_before_a_number_and_where_the_watch_was_before_anything_else() {
        for (version, expected) in
            [("7", Some("6")), ("2", Some("1")), ("1", None), ("0", None), ("07", Some("before")), ("x7", Some("before"))]
        {
            let from = anchor(&BUILT_IN.replace("\"7\"", &format!("\"{version}\""))).replay_from();
            assert_eq!(from.as_ref().map(ResourceVersion::as_str), expected, "{version}");
        }
        assert_eq!(anchor(&BUILT_IN.replace("MODIFIED", "DELETED")).replay_from(), None, "it does not tell histories apart");
        let Ok(WatchLine::Object { object, .. }) =
            WatchLine::parse(br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"x"}}}"#)
        else {
            panic!("a line")
        };
        assert_eq!(Anchor::of_listed(&object).replay_from(), None);
    }

    #[test]
    fn after_a_list_a_replay_proves_the_history_only_where_nothing_can_have_come_after_its_newest_object() {
        let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(BUILT_IN.as_bytes()) else { panic!("{BUILT_IN}") };
        let version = |text| ResourceVersion::new(text).unwrap();
        let listed = Anchor::of_listed(&object);
        assert_eq!(listed.replay_from(), None);
        assert_eq!(listed.clone().of_list(&version("8")).replay_from(), None);
        assert_eq!(listed.of_list(&version("7")).replay_from(), Some(version("6")));
        assert_eq!(anchor(&BUILT_IN.replace("MODIFIED", "DELETED")).of_list(&version("7")).replay_from(), None);
    }

    #[test]
    fn its_texts_read_back_as_the_same_and_nothing_else_does() {
        let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(BUILT_IN.as_bytes()) else { panic!("{BUILT_IN}") };
        let listed = Anchor::of_listed(&object);
        for anchor in [
            anchor(BUILT_IN),
            anchor(&BUILT_IN.replace("\"7\"", "\"x7\"")),
            anchor(&CUSTOM.replace("MODIFIED", "DELETED")),
            listed.clone().of_list(&object.resource_version()),
            listed,
        ] {
            let texts = anchor.to_texts();
            assert_eq!(Anchor::from_texts(texts.each_ref().map(String::as_str)), Some(anchor));
        }
        for wrong in [["", "00", "A", ""], ["7", "", "A", ""], ["7", "xy", "A", ""], ["7", "00", "B", ""]] {
            assert_eq!(Anchor::from_texts(wrong), None, "{wrong:?}");
        }
    }
}
