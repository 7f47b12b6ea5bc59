//! One page of a list.
//!
//! Takes the body of a LIST answer, gives its version, the token of the next page and its objects, borrowed from the body.
//! Promises that one object that cannot be read does not hide the others.

use super::scan::compact;
use super::{DecodeError, ObjectRef, ResourceVersion};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A page of a list, borrowed from its body.
#[derive(Debug)]
pub struct ListPage<'a> {
    /// The version of the whole list; the same on each of its pages.
    pub version: ResourceVersion,
    /// The token that asks for the next page; `None` on the last.
    pub next: Option<String>,
    /// `kind` of the list, as in `PodList` or `PartialObjectMetadataList`.
    pub kind: String,
    items: Vec<Cow<'a, [u8]>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    kind: Option<String>,
    metadata: ListMetadata,
    #[serde(borrow, deserialize_with = "items_or_null")]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl<'a> ListPage<'a> {
    /// Reads a whole body. An object that a server spread over lines is copied onto one; all others are borrowed.
    ///
    /// # Errors
    ///
    /// When the body is no list or has no version.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let parsed: Body<'a> = serde_json::from_slice(body).map_err(|error| no_list(&error, body))?;
        let version = parsed.metadata.resource_version.as_deref().and_then(ResourceVersion::new);
        Ok(Self {
            version: version.ok_or_else(|| DecodeError::new("the list has no metadata.resourceVersion", 0))?,
            next: parsed.metadata.next.filter(|token| !token.is_empty()),
            kind: parsed.kind.unwrap_or_default(),
            items: parsed.items.into_iter().map(|item| on_one_line(item.get().as_bytes())).collect(),
        })
    }

    /// Each object, or why it cannot be read.
    pub fn objects(&self) -> impl Iterator<Item = Result<ObjectRef<'_>, DecodeError>> + '_ {
        self.items.iter().map(|item| ObjectRef::scan(item))
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

fn items_or_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'a RawValue>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn on_one_line(item: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', item).is_none() { Cow::Borrowed(item) } else { Cow::Owned(compact(item)) }
}

fn no_list(error: &serde_json::Error, body: &[u8]) -> DecodeError {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = body.split_inclusive(|&byte| byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    DecodeError::new(format!("the body is no list: {error}"), line_start + error.column())
}
