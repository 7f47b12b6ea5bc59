//! One page of a list.
//!
//! Takes the body of a LIST answer, gives its version, the token of the next page and its objects, borrowed from the body.
//! Promises that one object that cannot be read does not hide the others. What no one asks for is followed to its end and not
//! checked, as in a line of a watch.

use super::mend::mended;
use super::scan::{Scanner, compact};
use super::{DecodeError, ObjectRef, ResourceVersion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

/// A page of a list, borrowed from its body.
#[derive(Debug)]
pub struct ListPage<'a> {
    /// The version of the whole list; the same on each of its pages.
    pub version: ResourceVersion,
    /// The token that asks for the next page; `None` on the last.
    pub next: Option<String>,
    /// `kind` of the list, as in `PodList` or `PartialObjectMetadataList`.
    pub kind: String,
    items: Vec<Item<'a>>,
}

/// An object of a page.
#[derive(Debug)]
struct Item<'a> {
    bytes: Cow<'a, [u8]>,
    /// Made when it is needed, and once.
    mended: OnceCell<Vec<u8>>,
}

/// `metadata` of a list, which is a few hundred bytes long.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl ListMetadata {
    /// The version of the list, and the token of the next page.
    pub(crate) fn into_parts(self) -> (Option<ResourceVersion>, Option<String>) {
        let version = self.resource_version.as_deref().and_then(ResourceVersion::new);
        (version, self.next.filter(|token| !token.is_empty()))
    }
}

impl<'a> ListPage<'a> {
    /// Reads a whole body. An object that a server spread over lines is copied onto one; all others are borrowed.
    ///
    /// # Errors
    ///
    /// When the body is no list or has no version.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::new(body);
        let (mut kind, mut metadata, mut items) = (String::new(), None, None);
        scanner.open_object().map_err(|_| DecodeError::new("the body is no list", 0))?;
        let mut first = true;
        while let Some(key) = scanner.next_key(&mut first)? {
            match &*key {
                b"kind" => kind = read_part::<Option<String>>(body, scanner.value()?)?.unwrap_or_default(),
                b"metadata" => metadata = Some(read_part::<ListMetadata>(body, scanner.value()?)?),
                b"items" => items = Some(scanner.elements_or_null()?),
                _ => scanner.skip_value()?,
            }
        }
        if scanner.peek().is_some() {
            return Err(scanner.fail("the list has ended, but not its bytes"));
        }
        let items = items.ok_or_else(|| DecodeError::new("the list has no items", 0))?;
        let metadata = metadata.ok_or_else(|| DecodeError::new("the list has no metadata", 0))?;
        let (version, next) = metadata.into_parts();
        Ok(Self {
            version: version.ok_or_else(|| DecodeError::new("the list has no metadata.resourceVersion", 0))?,
            next,
            kind,
            items: items.into_iter().map(|item| Item::new(&body[item])).collect(),
        })
    }

    /// Each object, or why it cannot be read. Read as Go reads them are `null` labels and annotations, and lone surrogates.
    pub fn objects(&self) -> impl Iterator<Item = Result<ObjectRef<'_>, DecodeError>> + '_ {
        self.items.iter().map(Item::scan)
    }

    /// How many objects the page holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the page holds no object.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A small part of the body, read in full.
pub(crate) fn read_part<T: DeserializeOwned>(body: &[u8], place: Range<usize>) -> Result<T, DecodeError> {
    let start = place.start;
    serde_json::from_slice(&body[place]).map_err(|error| DecodeError::new(format!("the body is no list: {error}"), start))
}

impl<'a> Item<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let is_one_line = memchr::memchr2(b'\n', b'\r', bytes).is_none();
        let bytes = if is_one_line { Cow::Borrowed(bytes) } else { Cow::Owned(compact(bytes)) };
        Self { bytes, mended: OnceCell::new() }
    }

    fn scan(&self) -> Result<ObjectRef<'_>, DecodeError> {
        ObjectRef::scan(&self.bytes).or_else(|error| match mended(&self.bytes) {
            Some(copy) => ObjectRef::scan(self.mended.get_or_init(|| copy)),
            None => Err(error),
        })
    }
}
