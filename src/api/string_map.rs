//! Labels and annotations, as the JSON they came in.

use super::json_text::unescape;
use super::scan::Scanner;
use std::borrow::Cow;

/// Labels or annotations: a JSON object of strings, already checked, on one line.
#[derive(Clone, Copy, Debug)]
pub struct StringMap<'a>(&'a str);

impl<'a> StringMap<'a> {
    /// No labels or annotations at all.
    pub const EMPTY: Self = Self("");

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object on one line, or the empty string where there are none (also for `{}`).
    pub fn as_json(&self) -> &'a str {
        self.0
    }

    /// Reads back what [`as_json`](Self::as_json) gave, unchecked but for being valid later: `json` must come from there.
    pub fn from_json(json: &'a str) -> Self {
        Self(json)
    }

    /// Each key with its value, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + 'a {
        self.raw_entries().map(|(key, value)| (unescape(key), unescape(value)))
    }

    /// The value of `key`; of the first where the server sent it twice.
    pub fn get(&self, key: &str) -> Option<Cow<'a, str>> {
        self.raw_entries().find(|(found, _)| unescape(found) == key).map(|(_, value)| unescape(value))
    }

    /// Each key with its value as JSON text without the quotes.
    pub(crate) fn raw_entries(&self) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let json = self.0;
        let mut scanner = Scanner::new(json.as_bytes());
        let mut is_open = scanner.open_object().is_ok();
        let mut first = true;
        std::iter::from_fn(move || {
            let entry = if is_open { scanner.next_map_entry(std::mem::take(&mut first)).ok().flatten() } else { None };
            is_open = entry.is_some();
            let (key, value) = entry?;
            Some((&json[key], &json[value]))
        })
    }
}

/// Adds an entry to a JSON object of strings that is being written, empty at first. Key and value are JSON text without their quotes.
pub(crate) fn push_entry(json: &mut String, key: &str, value: &str) {
    json.push(if json.is_empty() { '{' } else { ',' });
    for part in ["\"", key, "\":\"", value, "\""] {
        json.push_str(part);
    }
}

/// Ends such an object; one without entries stays empty.
pub(crate) fn close_entries(json: &mut String) {
    if !json.is_empty() {
        json.push('}');
    }
}
