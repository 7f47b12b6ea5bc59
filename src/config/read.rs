//! Walks a tree by its key paths and collects every mistake on the way.
//!
//! Takes [`Node`]s; gives what the parsers of `values` make of them. A mistake never ends the walk.

use super::error::{Place, Problem, Source, Spot};
use super::suggest::nearest;
use super::values::found;
use crate::yaml::{Node, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Collects the mistakes of one text.
pub(super) struct Reader {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

/// A mapping with its path, its keys known to be texts without repetition, and `<<` resolved.
pub(super) struct Map<'n> {
    path: String,
    number: usize,
    entries: Vec<Entry<'n>>,
}

pub(super) struct Entry<'n> {
    pub(super) key: &'n str,
    key_number: usize,
    pub(super) value: &'n Node,
}

/// Keys of the Go original's older samples, with today's key and what it takes.
const OLD_KEYS: [(&str, &str, &str); 3] = [
    ("name_pattern", "name_selector", "an exact name, not a pattern"),
    ("namespace_patterns", "namespace_names", "exact names, not patterns"),
    ("label_pattern", "label_selector", "a label selector as `kubectl -l` does"),
];

impl Reader {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source, problems: Vec::new() }
    }

    /// Every mistake, in the order of the text.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn place(&self, spot: Spot, path: &str) -> Place {
        Place { source: Arc::clone(&self.source), spot, path: path.to_owned() }
    }

    pub(super) fn report(&mut self, spot: Spot, path: &str, message: impl Into<String>) {
        let place = self.place(spot, path);
        // In its place, where a sort of all of them would be code of its own.
        let at = self.problems.partition_point(|before| before.place.spot <= spot);
        self.problems.insert(at, Problem { place, message: message.into() });
    }

    /// A mapping of the keys in `known` and no others.
    pub(super) fn map<'n>(&mut self, path: &str, node: &'n Node, what: &str, known: &[&str]) -> Option<Map<'n>> {
        let map = self.free_map(path, node, what)?;
        for entry in &map.entries {
            if !known.contains(&entry.key) {
                self.report(Spot::Node(entry.key_number), &join(path, entry.key), unknown_key(entry.key, known));
            }
        }
        Some(map)
    }

    /// A mapping of any keys.
    pub(super) fn free_map<'n>(&mut self, path: &str, node: &'n Node, what: &str) -> Option<Map<'n>> {
        let Value::Map(pairs) = &node.value else {
            self.report(Spot::Node(node.number), path, format!("expected {what}, found {}", found(node)));
            return None;
        };
        let mut entries: Vec<Entry<'n>> = Vec::new();
        let mut known = HashMap::new();
        let mut merged = Vec::new();
        for (key_node, value) in pairs {
            let Value::Text(key) = &key_node.value else {
                let message = format!("expected a key that is text, found {}; put it in quotes", found(key_node));
                self.report(Spot::Node(key_node.number), path, message);
                continue;
            };
            if key == "<<" {
                merged.push(value);
            } else if let Some(first) = known.insert(key.as_str(), key_node.number) {
                let first = self.place(Spot::Node(first), "").line().unwrap_or_default();
                self.report(Spot::Node(key_node.number), &join(path, key), format!("given twice, first in line {first}"));
            } else {
                entries.push(Entry { key, key_number: key_node.number, value });
            }
        }
        for value in merged {
            self.merge(path, value, &mut entries);
        }
        Some(Map { path: path.to_owned(), number: node.number, entries })
    }

    /// Adds what `<<` names, where no key of that name is there already (<https://yaml.org/type/merge.html>).
    fn merge<'n>(&mut self, path: &str, node: &'n Node, entries: &mut Vec<Entry<'n>>) {
        let path = join(path, "<<");
        let sources = if let Value::List(list) = &node.value { list.as_slice() } else { std::slice::from_ref(node) };
        for source in sources {
            for entry in self.free_map(&path, source, "a mapping, or a list of mappings").into_iter().flat_map(|map| map.entries)
            {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }

    /// What `parse` makes of the value of `key`; `None` when the key is absent or wrong.
    pub(super) fn read<T>(&mut self, map: &Map<'_>, key: &str, parse: impl FnOnce(&Node) -> Result<T, String>) -> Option<T> {
        let node = map.get(key)?;
        self.parse(&map.path_of(key), node, parse)
    }

    /// The same for a key that must be there; `missing` says what to add.
    pub(super) fn require<T>(
        &mut self,
        map: &Map<'_>,
        key: &str,
        missing: &str,
        parse: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        if map.get(key).is_none() {
            self.report(map.spot(), &map.path_of(key), missing);
        }
        self.read(map, key, parse)
    }

    pub(super) fn parse<T>(&mut self, path: &str, node: &Node, parse: impl FnOnce(&Node) -> Result<T, String>) -> Option<T> {
        parse(node).map_err(|message| self.report(Spot::Node(node.number), path, message)).ok()
    }

    /// Each item of the list under `key` with its path; none when the key is absent or no list.
    pub(super) fn list<'n>(&mut self, map: &Map<'n>, key: &str, what: &str) -> Vec<(String, &'n Node)> {
        let Some(node) = map.get(key) else { return Vec::new() };
        let path = map.path_of(key);
        let Value::List(items) = &node.value else {
            self.report(Spot::Node(node.number), &path, format!("expected {what}, found {}", found(node)));
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
    }
}

impl<'n> Map<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    pub(super) fn entries(&self) -> &[Entry<'n>] {
        &self.entries
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Where to point when a key is missing. The outermost mapping has no line worth naming.
    pub(super) fn spot(&self) -> Spot {
        if self.path.is_empty() { Spot::Whole } else { Spot::Node(self.number) }
    }
}

impl Entry<'_> {
    pub(super) fn spot(&self) -> Spot {
        Spot::Node(self.key_number)
    }
}

/// `a.b`, or `a["b/c"]` for what is no plain word.
fn join(path: &str, key: &str) -> String {
    let plain = key == "<<" || (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    match (path, plain) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{:?}]", key.chars().take(KEY_CHARS_MAX).collect::<String>()),
    }
}

/// How much of an odd key a path repeats.
const KEY_CHARS_MAX: usize = 100;

fn unknown_key(key: &str, known: &[&str]) -> String {
    if let Some((_, today, takes)) = OLD_KEYS.iter().find(|(old, ..)| *old == key) {
        return format!("this key of older samples is called \"{today}\" today and takes {takes}");
    }
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean \"{near}\"?"),
        None => format!("unknown key; allowed here: {}", known.join(", ")),
    }
}
