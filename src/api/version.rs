//! The opaque version of an object or a list.

use std::fmt;
use std::sync::Arc;

/// A resourceVersion: opaque, handed back to the server, compared for equality only.
///
/// Short versions, which are all that etcd-backed servers give, are held in place and cost no allocation.
#[derive(Clone)]
pub struct ResourceVersion(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<str>),
}

/// Room for the 20 digits of the largest `u64`, and then as much as fits without growing the type.
const INLINE_BYTES: usize = 22;

impl ResourceVersion {
    /// Refuses the empty string, which the server would read as "no version".
    #[expect(clippy::missing_panics_doc, reason = "the length was compared before")]
    pub fn new(opaque: &str) -> Option<Self> {
        if opaque.is_empty() {
            return None;
        }
        if opaque.len() > INLINE_BYTES {
            return Some(Self(Repr::Shared(opaque.into())));
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..opaque.len()].copy_from_slice(opaque.as_bytes());
        let len = u8::try_from(opaque.len()).expect("an inline version is at most 22 bytes long");
        Some(Self(Repr::Inline { len, bytes }))
    }

    /// The number that it is, as in etcd-backed servers; `None` for anything else. Kubernetes 1.35 promises that versions of
    /// its own types are such numbers, without leading zeros (`k8s.io/apimachinery/pkg/util/resourceversion`).
    pub fn number(&self) -> Option<u64> {
        match self.as_bytes() {
            b"0" => Some(0),
            [b'0', ..] => None,
            digits => digits.iter().try_fold(0u64, |number, byte| {
                let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
                number.checked_mul(10)?.checked_add(digit)
            }),
        }
    }

    /// The same of digits, as nearly all are, without a look at what the text means; `None` for anything else.
    pub(super) fn from_digits(digits: &[u8]) -> Option<Self> {
        let len = u8::try_from(digits.len()).ok().filter(|_| digits.iter().all(u8::is_ascii_digit) && !digits.is_empty())?;
        let mut bytes = [0; INLINE_BYTES];
        bytes.get_mut(..digits.len())?.copy_from_slice(digits);
        Some(Self(Repr::Inline { len, bytes }))
    }

    /// The bytes of [`as_str`](Self::as_str).
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(text) => text.as_bytes(),
        }
    }

    /// The text as the server gave it.
    #[expect(clippy::missing_panics_doc, reason = "what is held in place was copied whole from a str")]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { len, bytes } => std::str::from_utf8(&bytes[..usize::from(*len)]).expect("copied whole from a str"),
            Repr::Shared(text) => text,
        }
    }
}

impl PartialEq for ResourceVersion {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ResourceVersion {}

impl fmt::Debug for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceVersion({})", self.as_str())
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_any_text_but_the_empty_one() {
        assert_eq!(ResourceVersion::new(""), None);
        for text in ["0", "18446744073709551615", "1234567890123456789012", "a version longer than is held in place", "ü"] {
            let version = ResourceVersion::new(text).unwrap();
            assert_eq!((version.as_str(), version.as_bytes()), (text, text.as_bytes()));
            assert_eq!(version, version.clone());
        }
        assert_ne!(ResourceVersion::new("12"), ResourceVersion::new("012"));
    }

    #[test]
    fn digits_give_the_same_version_as_their_text() {
        for text in ["0", "007", "18446744073709551615", "1234567890123456789012"] {
            assert_eq!(ResourceVersion::from_digits(text.as_bytes()), ResourceVersion::new(text), "{text}");
        }
        for text in ["", "7a", "12345678901234567890123", "\u{fc}"] {
            assert_eq!(ResourceVersion::from_digits(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_what_is_written_as_one_and_nothing_else() {
        for (text, number) in [("0", Some(0)), ("7", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(ResourceVersion::new(text).unwrap().number(), number, "{text}");
        }
        for text in ["07", "00", "+7", "-7", " 7", "7a", "18446744073709551616"] {
            assert_eq!(ResourceVersion::new(text).unwrap().number(), None, "{text}");
        }
    }

    #[test]
    fn is_no_larger_than_a_string() {
        assert_eq!(size_of::<ResourceVersion>(), size_of::<String>());
    }
}
