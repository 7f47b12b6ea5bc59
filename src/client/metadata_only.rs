//! Whether an answer holds metadata only, told from its first bytes.
//!
//! Servers write `kind` and `apiVersion` of their own types first, and a plain `Content-Type` whatever the kind, so the
//! kind is what there is to go by. Whatever is not plainly metadata only counts as something else.

/// The kind of a page of metadata.
pub(super) const METADATA_LIST: &[u8] = b"PartialObjectMetadataList";

/// So many bytes of an answer always hold its kind.
pub(super) const FRONT_BYTES: usize = 1024;

/// Whether `front` begins a list of metadata.
pub(super) fn begins_metadata_list(front: &[u8]) -> bool {
    Front(front).kind() == Some(METADATA_LIST)
}

/// The bytes still to be read.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    /// `kind` of the object that begins here, when nothing but `apiVersion` stands before it.
    fn kind(&mut self) -> Option<&'a [u8]> {
        self.token(b'{')?;
        loop {
            let key = self.string()?;
            self.token(b':')?;
            let value = self.string()?;
            match key {
                b"kind" => return Some(value),
                b"apiVersion" => self.token(b',')?,
                _ => return None,
            }
        }
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.token(b'"')?;
        let end = memchr::memchr2(b'"', b'\\', self.0).filter(|&end| self.0[end] == b'"')?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    fn token(&mut self, byte: u8) -> Option<()> {
        let rest = self.0.trim_ascii_start();
        self.0 = rest.strip_prefix(&[byte])?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transcript::Transcript;

    #[test]
    fn knows_recorded_lists_of_metadata_from_lists_of_objects() {
        for (name, expected) in [
            ("list-metadata-only", true),
            ("server-1.20/list-metadata-only", true),
            ("list-page-1", false),
            ("list-metadata-only-wrong-accept", false),
        ] {
            let body = Transcript::golden(name).body;
            assert_eq!(begins_metadata_list(&body[..body.len().min(FRONT_BYTES)]), expected, "{name}");
        }
    }

    #[test]
    fn whatever_is_not_plainly_metadata_counts_as_something_else() {
        for (front, expected) in [
            (r#" { "apiVersion" : "meta.k8s.io/v1" , "kind" : "PartialObjectMetadataList" "#, true),
            (r#"{"items":[{"data":{"kind":"PartialObjectMetadataList"}}]}"#, false),
            (r#"{"apiVersion":{"kind":"PartialObjectMetadataList"}}"#, false),
            (r#"{"kind":"PartialObjectMetadataLi"#, false),
            (r#"{"kind":"SecretList","kind":"PartialObjectMetadataList"}"#, false),
            (r#"{"x":"\",\"kind\":\"PartialObjectMetadataList\""}"#, false),
            ("", false),
        ] {
            assert_eq!(begins_metadata_list(front.as_bytes()), expected, "{front}");
        }
    }
}
