//! Where one event of a watch ends and the next begins.
//!
//! API servers write one event a line, and then a line is an event. What decoders of Go's kind accept besides is found here: several
//! events in one line, and one event over several lines. Takes bytes, gives where the value at their front ends, or that it is no
//! JSON. Looking costs little where a line is as API servers write it.

use memchr::arch::all::packedpair::HeuristicFrequencyRank;
use memchr::memmem::{Finder, FinderBuilder};
use serde::de::IgnoredAny;
use std::sync::LazyLock;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// One object, and nothing else but white space.
    Whole,
    /// One object to here, and something behind it.
    Ends(usize),
    /// The beginning of an object.
    Begins,
    /// No JSON object.
    Broken,
}

/// Reads the front of `bytes` in full: objects are checked to their last byte.
pub(super) fn front(bytes: &[u8]) -> Front {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    if bytes.get(start).is_some_and(|&byte| byte != b'{') {
        return Front::Broken;
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    match values.next() {
        None => Front::Begins,
        Some(Err(error)) if error.is_eof() => Front::Begins,
        Some(Err(_)) => Front::Broken,
        Some(Ok(IgnoredAny)) if bytes[values.byte_offset()..].iter().all(u8::is_ascii_whitespace) => Front::Whole,
        Some(Ok(IgnoredAny)) => Front::Ends(values.byte_offset()),
    }
}

/// Whether `line` looks like one event as API servers write them. Garbage in the middle of one is not seen.
pub(super) fn is_usual(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(EVENT_START) else { return false };
    if !line.trim_ascii_end().ends_with(b"}") {
        return false;
    }
    // A string cannot hold this text, so that it is the start of an object: a condition, or an event that should not be here.
    let shift = EVENT_START.len();
    EVENT_START_FINDER.find_iter(rest).all(|at| {
        let is_within = matches!(line[shift + at - 1], b'[' | b',' | b':');
        is_within && !begins_event(&rest[at..])
    })
}

/// Whether `bytes` begin with the first bytes of an event, as API servers write them.
pub(super) fn begins_event(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(EVENT_START) else { return false };
    TYPES.iter().any(|name| rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"\"")))
}

/// Follows an object that comes in parts, to its closing brace. What is in it is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    /// How many bytes of it were followed.
    pub(super) at: usize,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Follower {
    /// Follows `bytes`, of which those that were followed before are the first. Gives where the object ends, once it does.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(&byte) = bytes.get(self.at) {
            if std::mem::take(&mut self.is_escaped) {
                self.at += 1;
                continue;
            }
            if self.in_string {
                let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    return None;
                };
                self.at += next;
                self.is_escaped = bytes[self.at] == b'\\';
                self.in_string = self.is_escaped;
                self.at += 1;
                continue;
            }
            self.at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Whether what was followed ends within a string, where no line may end.
    pub(super) fn is_in_string(&self) -> bool {
        self.in_string
    }
}

const EVENT_START: &[u8] = br#"{"type":""#;

static EVENT_START_FINDER: LazyLock<Finder<'static>> =
    LazyLock::new(|| FinderBuilder::new().build_forward_with_ranker(InJson, EVENT_START));

/// What is rare in JSON, where braces, quotes and colons are everywhere.
struct InJson;

impl HeuristicFrequencyRank for InJson {
    fn rank(&self, byte: u8) -> u8 {
        match byte {
            b'y' => 0,
            b'p' => 1,
            _ => u8::MAX,
        }
    }
}

/// All types of events.
const TYPES: [&str; 5] = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_the_front_is_read_in_full() {
        for (text, expected) in [
            (r#"{"a":[1,{"b":"}{"}]}"#, Front::Whole),
            ("  {\"a\":1} \r", Front::Whole),
            (r#"{"a":1}{"b":2}"#, Front::Ends(7)),
            (r#"{"a":1} garbage"#, Front::Ends(7)),
            (r#"{"a":"#, Front::Begins),
            ("", Front::Begins),
            (r#"{"a":garbage}"#, Front::Broken),
            ("{\"a\":\"\n\"}", Front::Broken),
            (r#"{"a":1]"#, Front::Broken),
            ("garbage", Front::Broken),
            ("17", Front::Broken),
        ] {
            assert_eq!(front(text.as_bytes()), expected, "{text}");
        }
        let deep = format!("{}{}", r#"{"a":"#.repeat(5000), "1".to_owned() + &"}".repeat(5000));
        assert_eq!(front(deep.as_bytes()), Front::Whole, "as deep as Go reads it");
    }

    #[test]
    fn a_usual_line_is_one_event_and_one_with_another_in_it_is_not() {
        let event = |object: &str| format!(r#"{{"type":"ADDED","object":{object}}}"#);
        let pod = event(r#"{"metadata":{"name":"a}{"},"status":{"conditions":[{"type":"Ready"},{"type":"Added"}]}}"#);
        assert!(is_usual(pod.as_bytes()) && is_usual(format!("{pod}\r").as_bytes()));
        let other = event(r#"{"metadata":{}}"#);
        for text in [
            format!("{pod}{other}"),
            format!("{pod} {other}"),
            // The first broke off, somewhere.
            format!("{}{other}", &pod[..40]),
            format!("{}{other}", &pod[..pod.find(':').unwrap() + 1]),
            pod[..pod.len() - 1].trim_end_matches('}').to_owned(),
            format!(" {pod}"),
        ] {
            assert!(!is_usual(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_object_is_followed_to_its_end_however_it_is_cut() {
        let text = br#" {"a":["}",{"b":"\\\"}{"}]} {"#;
        for first in 0..=text.len() {
            let mut follower = Follower::default();
            let end = follower.follow(&text[..first]).or_else(|| follower.follow(text));
            assert_eq!(end, Some(text.len() - 2), "cut at {first}");
        }
    }
}
