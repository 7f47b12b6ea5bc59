//! Reads the mappings of a kubeconfig as kubectl does, which turns YAML 1.1 into JSON and JSON into Go's structs.
//!
//! Takes a [`Node`]; gives texts, flags and lists, each empty where its key is absent or `null`. Keys count by their exact
//! spelling, the last of equal ones wins, and types are never guessed: a number is no text. A mistake is told with its line and
//! path, and never with its value, which may be a credential.

use crate::client::secret::Secret;
use crate::yaml::{LENIENT, Node, SyntaxError, Value, line_of, parse, parse_json, text_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What is wrong with a document, and in which line.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

/// A document's text, and what is rare in it and takes a search.
#[derive(Clone, Copy)]
struct Source<'n> {
    text: &'n str,
    has_binary: bool,
    has_quoted_merge: bool,
}

/// A mapping, its place in the document and its keys in the order of the text, of which the last of equal ones counts.
pub(crate) struct Fields<'n> {
    source: Source<'n>,
    path: String,
    entries: Vec<(Cow<'n, str>, &'n Node)>,
}

/// Reads the first document of `text` with `read`.
pub(crate) fn document<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> Result<T, Mistake>) -> Result<T, Mistake> {
    of_tree(text, parse(text, &LENIENT), read)
}

/// As [`document`], of what is JSON where it begins so, as client-go reads what plugins print.
pub(crate) fn json_or_yaml<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> Result<T, Mistake>) -> Result<T, Mistake> {
    let text = text.trim_start_matches('\u{feff}');
    of_tree(text, if text.trim_start().starts_with('{') { parse_json(text) } else { parse(text, &LENIENT) }, read)
}

fn of_tree<T>(
    text: &str,
    root: Result<Node, SyntaxError>,
    read: impl FnOnce(&Fields<'_>) -> Result<T, Mistake>,
) -> Result<T, Mistake> {
    let root = root.map_err(|error| Mistake { line: error.line, problem: error.message })?;
    let has_binary = text.contains(BINARY);
    if has_binary && text.len() > BINARY_TEXT_BYTES_MAX {
        let problem = format!("a tag {BINARY} in a text of more than {BINARY_TEXT_BYTES_MAX} bytes; write what it stands for");
        return Err(Mistake { line: None, problem });
    }
    let source = Source { text, has_binary, has_quoted_merge: is_quoted_in(text, "<<") };
    read(&Fields::of(source, String::new(), &root)?)
}

impl<'n> Fields<'n> {
    /// `null` is a mapping without keys.
    fn of(source: Source<'n>, path: String, node: &'n Node) -> Result<Self, Mistake> {
        let mut fields = Self { source, path, entries: Vec::new() };
        match &node.value {
            Value::Null => {}
            Value::Map(pairs) => fields.add(pairs)?,
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Duration(_) | Value::Text(_) | Value::List(_) => {
                return Err(source.mistake(&fields.path, node, "a mapping"));
            }
        }
        Ok(fields)
    }

    /// Adds keys in the order of the text; merged ones (`<<`) where they stand.
    fn add(&mut self, pairs: &'n [(Node, Node)]) -> Result<(), Mistake> {
        for (key_node, value) in pairs {
            let key = match &key_node.value {
                Value::Text(key) if key == "<<" && (!self.source.has_quoted_merge || self.source.is_plain(key_node)) => {
                    self.merge(value)?;
                    continue;
                }
                Value::Text(key) => Cow::Borrowed(key.as_str()),
                Value::Bool(key) => Cow::Owned(key.to_string()),
                Value::Integer(key) => Cow::Owned(key.to_string()),
                Value::Float(key) => Cow::Owned(key.to_string()),
                Value::Null | Value::Duration(_) | Value::List(_) | Value::Map(_) => {
                    return Err(self.source.mistake(&self.path, key_node, "a key that is text"));
                }
            };
            self.entries.push((key, value));
        }
        Ok(())
    }

    /// Adds what `<<` names. Of several mappings the first that has a key decides.
    fn merge(&mut self, node: &'n Node) -> Result<(), Mistake> {
        let sources = if let Value::List(list) = &node.value { list.as_slice() } else { std::slice::from_ref(node) };
        for source in sources.iter().rev() {
            let Value::Map(pairs) = &source.value else {
                return Err(self.source.mistake(&self.path_of("<<"), source, "a mapping or a list of mappings"));
            };
            self.add(pairs)?;
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&'n Node> {
        let found = self.entries.iter().rfind(|(known, _)| known == key).map(|(_, value)| *value);
        found.filter(|node| !matches!(node.value, Value::Null))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn text(&self, key: &str) -> Result<String, Mistake> {
        self.get(key).map_or(Ok(String::new()), |node| self.source.text(&self.path_of(key), node))
    }

    pub(crate) fn secret(&self, key: &str) -> Result<Secret, Mistake> {
        self.text(key).map(Secret::new)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool, Mistake> {
        self.get(key).map_or(Ok(false), |node| {
            self.source.flag(node).ok_or_else(|| self.source.mistake(&self.path_of(key), node, "true or false"))
        })
    }

    /// Refuses another value than `only`; an absent key stands for it.
    pub(super) fn expect(&self, key: &str, only: &str) -> Result<(), Mistake> {
        let found = self.text(key)?;
        if found.is_empty() || found == only {
            return Ok(());
        }
        let line = self.get(key).and_then(|node| line_of(self.source.text, node.number));
        Err(Mistake { line, problem: format!("its {key} is not {only}; is this the file that was meant?") })
    }

    pub(crate) fn mapping(&self, key: &str) -> Result<Option<Self>, Mistake> {
        self.get(key).map(|node| Self::of(self.source, self.path_of(key), node)).transpose()
    }

    fn list(&self, key: &str, node: Option<&'n Node>) -> Result<impl Iterator<Item = (String, &'n Node)>, Mistake> {
        let path = self.path_of(key);
        let items: &[Node] = match node.map(|node| &node.value) {
            None | Some(Value::Null) => &[],
            Some(Value::List(items)) => items,
            Some(_) => return Err(self.source.mistake(&path, node.expect("its value was seen"), "a list")),
        };
        Ok(items.iter().enumerate().map(move |(index, item)| (format!("{path}[{index}]"), item)))
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, Mistake> {
        self.list(key, self.get(key))?.map(|(path, node)| self.source.text(&path, node)).collect()
    }

    /// Each key with its list of texts.
    pub(super) fn all_texts(&self) -> Result<BTreeMap<String, Vec<String>>, Mistake> {
        let texts = |key: &str, node| -> Result<Vec<String>, Mistake> {
            self.list(key, Some(node))?.map(|(path, node)| self.source.text(&path, node)).collect()
        };
        self.entries.iter().map(|(key, node)| Ok((key.to_string(), texts(key, node)?))).collect()
    }

    pub(crate) fn mappings(&self, key: &str) -> Result<Vec<Self>, Mistake> {
        self.list(key, self.get(key))?.map(|(path, node)| Self::of(self.source, path, node)).collect()
    }

    /// A list of `{name: …, KIND: {…}}`.
    pub(super) fn named<T>(
        &self,
        key: &str,
        kind: &str,
        read: fn(&Fields<'_>) -> Result<T, Mistake>,
    ) -> Result<Vec<(String, T)>, Mistake> {
        let named = self.mappings(key)?;
        let of = |fields: &Self| match fields.mapping(kind)? {
            Some(value) => read(&value),
            None => read(&Self { source: self.source, path: String::new(), entries: Vec::new() }),
        };
        named.iter().map(|fields| Ok((fields.text("name")?, of(fields)?))).collect()
    }

    /// The mapping in JSON.
    pub(super) fn json(&self) -> String {
        let members = self.entries.iter().map(|(key, node)| (key.to_string(), json(node)));
        serde_json::Value::Object(members.collect()).to_string()
    }
}

impl Source<'_> {
    fn text(&self, path: &str, node: &Node) -> Result<String, Mistake> {
        match &node.value {
            Value::Null => Ok(String::new()),
            Value::Text(text) if self.has_binary && self.at(node).starts_with(BINARY) => {
                let bytes = STANDARD.decode(text).map_err(|_| self.mistake(path, node, "base64, as its tag !!binary says"))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Value::Text(text) => Ok(text.clone()),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Duration(_) | Value::List(_) | Value::Map(_) => {
                Err(self.mistake(path, node, "text"))
            }
        }
    }

    /// As YAML 1.1 writes it, and only without quotes.
    fn flag(&self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) if !is_quoted_in(self.text, text) || self.is_plain(node) => match text.as_str() {
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
                "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
                _ => None,
            },
            Value::Null
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Duration(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    fn is_plain(&self, node: &Node) -> bool {
        let mut rest = self.at(node);
        // Its anchor comes before it.
        if rest.starts_with('&') {
            rest = rest.trim_start_matches(|c: char| !c.is_whitespace()).trim_start();
        }
        !rest.starts_with(['"', '\'', '|', '>', '!'])
    }

    fn at(&self, node: &Node) -> &str {
        text_at(self.text, node.number).unwrap_or_default()
    }

    fn mistake(&self, path: &str, node: &Node, expected: &str) -> Mistake {
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let (found, cure) = match &node.value {
            Value::Null => ("nothing", ""),
            Value::Bool(_) => ("a boolean", "; put it in quotes"),
            Value::Integer(_) | Value::Float(_) | Value::Duration(_) => ("a number", "; put it in quotes"),
            Value::Text(_) => ("text", ""),
            Value::List(_) => ("a list", ""),
            Value::Map(_) => ("a mapping", ""),
        };
        let cure = if expected == "text" { cure } else { "" };
        let problem = format!("{path}expected {expected}, found {found}{cure}");
        Mistake { line: line_of(self.text, node.number), problem }
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null | Value::Duration(_) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => i64::try_from(*value).map_or_else(|_| (*value as f64).into(), Into::into),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(pairs) => {
            let key = |node: &Node| if let Value::Text(key) = &node.value { key.clone() } else { json(node).to_string() };
            serde_json::Value::Object(pairs.iter().map(|(name, value)| (key(name), json(value))).collect())
        }
    }
}

/// Whether `word` stands in quotes anywhere in `text`.
fn is_quoted_in(text: &str, word: &str) -> bool {
    ['"', '\''].iter().any(|quote| text.contains(&format!("{quote}{word}{quote}")))
}

const BINARY: &str = "!!binary";
/// Longest text with such a tag: each word of it is looked up in the text again to see whether it is the one.
const BINARY_TEXT_BYTES_MAX: usize = 64 * 1024;
