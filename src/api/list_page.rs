//! One page of a list.

use super::{DecodeError, ObjectRef, ResourceVersion};

/// A page of a list, borrowed from its body.
#[derive(Debug)]
pub struct ListPage<'a> {
    /// The version of the whole list; the same on each of its pages.
    pub version: ResourceVersion,
    /// The token that asks for the next page; `None` on the last.
    pub next: Option<String>,
    /// `kind` of the list, as in `PodList` or `PartialObjectMetadataList`.
    pub kind: String,
    items: Vec<&'a [u8]>,
}

impl<'a> ListPage<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// When the body is no list or has no version.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Each object, or why it cannot be read.
    pub fn objects(&self) -> impl Iterator<Item = Result<ObjectRef<'a>, DecodeError>> + '_ {
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
