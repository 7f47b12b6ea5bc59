//! JSON Pointers (RFC 6901) with `*` for one key or index, and JSON in which what they point to is a digest.

use super::digest::DigestKey;
use crate::api::{DecodeError, Scanner, compact, unescape};
use std::ops::Range;
use std::str::FromStr;

/// A JSON Pointer; `*` stands for any one key or index, `~1` for `/` and `~0` for `~`.
///
/// ```
/// use faro::change::{DigestKey, Pattern, redact};
///
/// let patterns = ["/spec/containers/*/env/*/value".parse::<Pattern>()?];
/// let pod = br#"{"spec":{"containers":[{"name":"c","env":[{"name":"PASSWORD","value":"x"}]}]}}"#;
/// let redacted = redact(pod, &patterns, &DigestKey::new(b"secret"))?.expect("there is such a value");
/// assert!(redacted.starts_with(br#"{"spec":{"containers":[{"name":"c","env":[{"name":"PASSWORD","value":"redacted:"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Any,
    /// A key, or an index as it is written.
    Named(String),
}

/// Why a text is no such pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It does not begin as a pointer does.
    #[error("expected a JSON Pointer as in \"/spec/template/spec/containers/*/env/*/value\", found {0:?}")]
    NoSlash(String),
    /// A `~` that stands for nothing.
    #[error("expected ~0 (for ~) or ~1 (for /) after each ~, found {0:?}")]
    Tilde(String),
    /// It goes too deep.
    #[error("expected at most {STEPS_MAX} steps, found {0}")]
    TooDeep(usize),
}

/// Deepest pointer: far deeper than any value of the Kubernetes API that is worth one.
const STEPS_MAX: usize = 64;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let steps = text.strip_prefix('/').ok_or_else(|| PatternError::NoSlash(text.to_owned()))?;
        let steps: Vec<_> = steps.split('/').map(Step::parse).collect::<Result<_, _>>()?;
        if steps.len() > STEPS_MAX { Err(PatternError::TooDeep(steps.len())) } else { Ok(Self { steps }) }
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let is_escape = |(at, _): (usize, &str)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1'));
        if !text.match_indices('~').all(is_escape) {
            return Err(PatternError::Tilde(text.to_owned()));
        }
        // In this order: `~01` means `~1`.
        Ok(Self::Named(text.replace("~1", "/").replace("~0", "~")))
    }

    fn is(&self, key: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => name.as_bytes() == key,
        }
    }
}

/// `json` with every value that a pattern points to replaced by its digest; `None` where there is no such value.
///
/// Of a text the digest is that of what it means, of anything else that of its JSON without white space. What is not pointed to
/// stays as it was, byte for byte.
///
/// # Errors
///
/// When what must be read to find the values is no JSON.
pub fn redact(json: &[u8], patterns: &[Pattern], key: &DigestKey) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut redacting = Redacting { json, key, redacted: Vec::new(), copied: 0 };
    let active: Vec<&[Step]> = patterns.iter().map(|pattern| pattern.steps.as_slice()).collect();
    redacting.value(0..json.len(), &active)?;
    if redacting.copied == 0 {
        return Ok(None);
    }
    redacting.redacted.extend_from_slice(&json[redacting.copied..]);
    Ok(Some(redacting.redacted))
}

struct Redacting<'a> {
    json: &'a [u8],
    key: &'a DigestKey,
    redacted: Vec<u8>,
    /// Everything before is in `redacted`.
    copied: usize,
}

impl Redacting<'_> {
    /// Follows what is left of the patterns into the value at this place. Deeper than patterns go, it does not.
    fn value(&mut self, place: Range<usize>, active: &[&[Step]]) -> Result<(), DecodeError> {
        if active.iter().any(|steps| steps.is_empty()) {
            self.replace(place);
            return Ok(());
        }
        let (start, mut scanner) = (place.start, Scanner::new(&self.json[place]));
        match scanner.peek() {
            Some(b'{') => {
                scanner.open_object()?;
                let mut first = true;
                while let Some(key) = scanner.next_key(&mut first)? {
                    self.child(&key, start, scanner.value()?, active)?;
                }
            }
            Some(b'[') => {
                for (index, element) in scanner.elements_or_null()?.into_iter().enumerate() {
                    self.child(index.to_string().as_bytes(), start, element, active)?;
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn child(&mut self, key: &[u8], start: usize, place: Range<usize>, active: &[&[Step]]) -> Result<(), DecodeError> {
        let below: Vec<&[Step]> = active
            .iter()
            .filter_map(|steps| steps.split_first().filter(|(step, _)| step.is(key)))
            .map(|(_, rest)| rest)
            .collect();
        if below.is_empty() { Ok(()) } else { self.value(start + place.start..start + place.end, &below) }
    }

    fn replace(&mut self, place: Range<usize>) {
        let value = self.json[place.clone()].trim_ascii();
        let text = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).and_then(|text| str::from_utf8(text).ok());
        let digest = text.map_or_else(|| self.key.digest(&compact(value)), |text| self.key.digest(unescape(text).as_bytes()));
        self.redacted.extend_from_slice(&self.json[self.copied..place.start]);
        self.redacted.extend([b"\"", digest.as_bytes(), b"\""].concat());
        self.copied = place.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pointers: &[&str], json: &str, expected: &str) {
        let patterns: Vec<Pattern> = pointers.iter().map(|pointer| pointer.parse().unwrap()).collect();
        let redacted = redact(json.as_bytes(), &patterns, &DigestKey::new(b"k")).unwrap();
        let redacted = redacted.map_or_else(|| json.to_owned(), |redacted| String::from_utf8(redacted).unwrap());
        // Of a digest the value, which the key makes known here.
        let shown = ["v", "w", "[1,2]", "null", ""]
            .into_iter()
            .fold(redacted, |text, value| text.replace(&DigestKey::new(b"k").digest(value.as_bytes()), &format!("<{value}>")));
        assert_eq!(shown, expected, "{pointers:?} in {json}");
    }

    #[test]
    fn what_a_pattern_points_to_is_a_digest_and_the_rest_stays_byte_for_byte() {
        check(&["/a"], r#"{"a":"v","b":"v"}"#, r#"{"a":"<v>","b":"v"}"#);
        check(&["/b", "/x"], r#" { "a" : "v", "b" : "\u0076" } "#, r#" { "a" : "v", "b" : "<v>" } "#);
        check(&["/a/*/c"], r#"{"a":[{"c":"v"},{"d":"v"},{"c":[1, 2]}]}"#, r#"{"a":[{"c":"<v>"},{"d":"v"},{"c":"<[1,2]>"}]}"#);
        check(&["/a/1"], r#"{"a":["v","w"]}"#, r#"{"a":["v","<w>"]}"#);
        check(&["/a/*"], r#"{"a":{"b":"v","c":null}}"#, r#"{"a":{"b":"<v>","c":"<null>"}}"#);
        check(&["/m/x.io~1a~0b"], r#"{"m":{"x.io\/a~b":"v"}}"#, r#"{"m":{"x.io\/a~b":"<v>"}}"#);
        // A value that comes twice is pointed to twice; a value within another one goes with it.
        check(&["/a", "/a/b"], r#"{"a":"v","a":"w"}"#, r#"{"a":"<v>","a":"<w>"}"#);
        check(&["/a/b/c"], r#"{"a":{"b":"v"}}"#, r#"{"a":{"b":"v"}}"#);
        check(&["/"], r#"{"":"v"}"#, r#"{"":"<v>"}"#);
        check(&[], r#"{"a":"v"}"#, r#"{"a":"v"}"#);
    }

    #[test]
    fn what_is_no_pointer_is_told_with_what_is_expected() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err().to_string();
        let expected = "expected a JSON Pointer as in \"/spec/template/spec/containers/*/env/*/value\", found";
        assert_eq!(error(""), format!("{expected} \"\""));
        assert_eq!(error("spec"), format!("{expected} \"spec\""));
        for wrong in ["~", "a~2", "~1~"] {
            assert_eq!(error(&format!("/{wrong}")), format!("expected ~0 (for ~) or ~1 (for /) after each ~, found {wrong:?}"));
        }
        assert_eq!(error(&"/a".repeat(65)), "expected at most 64 steps, found 65");
        assert!("/a".repeat(64).parse::<Pattern>().is_ok());
    }

    #[test]
    fn what_is_no_json_is_an_error_or_left_as_it_is() {
        let patterns = ["/a/b".parse::<Pattern>().unwrap()];
        for wrong in ["{", r#"{"a""#, r#"{"a":{"b"}}"#, r#"{"a":["#] {
            assert!(redact(wrong.as_bytes(), &patterns, &DigestKey::new(b"k")).is_err(), "{wrong}");
        }
        for other in ["", "null", "7"] {
            assert_eq!(redact(other.as_bytes(), &patterns, &DigestKey::new(b"k")).unwrap(), None);
        }
    }
}
