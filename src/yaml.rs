//! Turns YAML text into a tree whose every node can be found in the text again.
//!
//! Takes the configuration's text, or a kubeconfig's by its own [`Rules`]; gives [`Node`]s, numbered in the order in which the parser meets them. A number leads back to its line by
//! parsing the text once more and stopping there, so that the parser itself says where it is: flow style, quoted keys, anchors
//! and multi-line texts need no rules of ours. Bounded in size, depth and expansion.

use serde::de::{DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;
use std::time::Duration;

/// A value of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its number, which [`line_of`] finds again.
    pub(crate) number: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    /// From a program: no text is one.
    Duration(Duration),
    Text(String),
    List(Vec<Node>),
    /// Keys may be of any kind here, and may repeat.
    Map(Vec<(Node, Node)>),
}

/// Why a text is no tree, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

/// What is accepted beside plain lists, mappings and scalars.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Longest accepted text.
    text_bytes_max: usize,
    /// Most memory a tree may take, so that aliases of aliases cannot grow without end.
    tree_bytes_max: usize,
    /// Whether tags (`!name`) and documents after the first are passed over. Otherwise they are mistakes.
    is_lenient: bool,
}

/// Of the configuration.
pub(crate) const STRICT: Rules = Rules { text_bytes_max: TEXT_BYTES_MAX, tree_bytes_max: 16 * 1024 * 1024, is_lenient: false };

/// Of what other programs write for kubectl: read as it reads them.
pub(crate) const LENIENT: Rules = Rules { text_bytes_max: 16 * 1024 * 1024, tree_bytes_max: 64 * 1024 * 1024, is_lenient: true };

/// Longest accepted configuration: what a `ConfigMap` can hold (Kubernetes refuses more than 1 MiB).
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Most `[` and `{` in a text. The parser's time grows with the square of their nesting; so many take a fifth of a second.
const FLOW_OPENINGS_MAX: usize = 10_000;

/// Parses the only document of `text`, or the first of a lenient one.
pub(crate) fn parse(text: &str, rules: &Rules) -> Result<Node, SyntaxError> {
    let text = without_byte_order_mark(text);
    check_size(text, rules)?;
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let mut builder = Builder::new(rules, None);
    let root = match documents.next() {
        Some(document) => builder.seed().deserialize(document).map_err(|error| syntax_error(text, &error, builder.refusal))?,
        None => Node { number: 0, value: Value::Null },
    };
    if rules.is_lenient {
        return Ok(root);
    }
    match documents.next() {
        None => Ok(root),
        Some(second) => {
            let line = Builder::new(rules, Some(0)).seed().deserialize(second).err();
            let line = line.and_then(|error| Some(error.location()?.line()));
            Err(SyntaxError { line, message: "a second YAML document begins; only one is allowed".to_owned() })
        }
    }
}

/// As [`parse`], of a text that must be JSON: its escapes are not those of YAML, and neither is what it forbids. The error says no
/// more than that.
pub(crate) fn parse_json(text: &str) -> Result<Node, SyntaxError> {
    check_size(text, &LENIENT)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let root = Builder::new(&LENIENT, None).seed().deserialize(&mut json);
    let root = root.and_then(|root| json.end().map(|()| root));
    root.map_err(|error| SyntaxError { line: Some(error.line()), message: "not JSON".to_owned() })
}

/// The line of the node `number` of a text that [`parse`] accepted, counted from 1.
pub(crate) fn line_of(text: &str, number: usize) -> Option<usize> {
    location_of(text, number).map(|(line, _)| line)
}

/// What stands in the text where the node `number` begins: its tag, its anchor, its quote or itself.
pub(crate) fn text_at(text: &str, number: usize) -> Option<&str> {
    let text = without_byte_order_mark(text);
    let (line, column) = location_of(text, number)?;
    let line = text.split_inclusive('\n').nth(line.checked_sub(1)?)?;
    let (start, _) = line.char_indices().nth(column.checked_sub(1)?)?;
    Some(&line[start..])
}

fn location_of(text: &str, number: usize) -> Option<(usize, usize)> {
    let document = serde_yaml::Deserializer::from_str(without_byte_order_mark(text)).next()?;
    // As lenient as a text may be that was accepted.
    let stopped = Builder::new(&LENIENT, Some(number)).seed().deserialize(document).err()?;
    stopped.location().map(|location| (location.line(), location.column()))
}

fn without_byte_order_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// What is wrong with a text of more than `text_bytes_max`.
pub(crate) fn too_long(text_bytes_max: usize) -> String {
    format!("longer than {text_bytes_max} bytes")
}

fn check_size(text: &str, rules: &Rules) -> Result<(), SyntaxError> {
    if text.len() > rules.text_bytes_max {
        return Err(SyntaxError { line: None, message: too_long(rules.text_bytes_max) });
    }
    if memchr::memchr2_iter(b'[', b'{', text.as_bytes()).count() > FLOW_OPENINGS_MAX {
        let message = format!("more than {FLOW_OPENINGS_MAX} of `[` and `{{`; write lists and mappings as indented lines");
        return Err(SyntaxError { line: None, message });
    }
    Ok(())
}

fn syntax_error(text: &str, error: &serde_yaml::Error, refusal: Option<&str>) -> SyntaxError {
    let line = error.location().map(|location| location.line());
    let indent = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
    let has_tab = indent.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let message = match refusal {
        Some(refusal) => refusal.to_owned(),
        None if has_tab => "not YAML: a tab indents this line; use spaces".to_owned(),
        None => format!("not YAML: {}", without_value(&error.to_string())),
    };
    SyntaxError { line, message }
}

/// Without the value that does not fit its tag, as in `!!int "…"`: it may be a credential.
fn without_value(message: &str) -> String {
    let Some((before, found)) = message.split_once("invalid value: ") else { return message.to_owned() };
    let expected = found.rsplit_once(", expected ").map_or("another value", |(_, expected)| expected);
    format!("{before}expected {expected}")
}

/// Numbers nodes as they come, and keeps their sum within bounds.
struct Builder<'r> {
    rules: &'r Rules,
    next: usize,
    stop_at: Option<usize>,
    tree_bytes: usize,
    /// Why the document is not accepted, where it is not the parser that says so.
    refusal: Option<&'static str>,
}

struct Seed<'b, 'r>(&'b mut Builder<'r>);

impl<'r> Builder<'r> {
    fn new(rules: &'r Rules, stop_at: Option<usize>) -> Self {
        Self { rules, next: 0, stop_at, tree_bytes: 0, refusal: None }
    }

    fn seed(&mut self) -> Seed<'_, 'r> {
        Seed(self)
    }

    fn begin<E: serde::de::Error>(&mut self, text_bytes: usize) -> Result<usize, E> {
        let number = self.next;
        if self.stop_at == Some(number) {
            return Err(E::custom("stop here"));
        }
        self.next += 1;
        self.tree_bytes += size_of::<Node>() + text_bytes;
        if self.tree_bytes > self.rules.tree_bytes_max {
            return Err(self.refuse("too large once its aliases are expanded"));
        }
        Ok(number)
    }

    fn refuse<E: serde::de::Error>(&mut self, refusal: &'static str) -> E {
        self.refusal = Some(refusal);
        E::custom(refusal)
    }

    fn scalar<E: serde::de::Error>(&mut self, value: Value) -> Result<Node, E> {
        let text_bytes = if let Value::Text(text) = &value { text.len() } else { 0 };
        Ok(Node { number: self.begin(text_bytes)?, value })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.0.scalar(Value::Null)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.0.scalar(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.0.scalar(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        self.0.scalar(Value::Integer(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.0.scalar(Value::Integer(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Node, E> {
        self.0.scalar(Value::Integer(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Node, E> {
        self.0.scalar(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        self.0.scalar(Value::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.0.scalar(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let number = self.0.begin(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.0.seed())? {
            list.push(item);
        }
        Ok(Node { number, value: Value::List(list) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let number = self.0.begin(0)?;
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(self.0.seed())? {
            map.push((key, entries.next_value_seed(self.0.seed())?));
        }
        Ok(Node { number, value: Value::Map(map) })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        if self.0.rules.is_lenient {
            let (IgnoredAny, content) = tagged.variant()?;
            return content.newtype_variant_seed(self);
        }
        Err(self.0.refuse("a YAML tag (`!name`) has no meaning here; leave it out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists every text of `node` with its line, in the order of the text.
    fn lines(text: &str) -> String {
        fn walk(text: &str, node: &Node, out: &mut Vec<String>) {
            let shown = match &node.value {
                Value::List(items) => return items.iter().for_each(|item| walk(text, item, out)),
                Value::Map(entries) => {
                    let nodes = entries.iter().flat_map(|(key, value)| [key, value]);
                    return nodes.for_each(|node| walk(text, node, out));
                }
                Value::Text(word) => word.clone(),
                scalar @ (Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Duration(_)) => {
                    format!("{scalar:?}")
                }
            };
            out.push(format!("{shown}@{}", line_of(text, node.number).unwrap()));
        }
        let mut out = Vec::new();
        walk(text, &parse(text, &STRICT).unwrap(), &mut out);
        out.join(" ")
    }

    #[test]
    fn every_node_is_found_in_its_line_however_it_is_written() {
        for (text, expected) in [
            ("a: 1\nb: x\n", "a@1 Integer(1)@1 b@2 x@2"),
            ("# c\n\na:\n  b:\n    - x\n    - y\n", "a@3 b@4 x@5 y@6"),
            ("{a: x,\n b: [y,\n z]}", "a@1 x@1 b@2 y@2 z@3"),
            ("\"a\": 'x'\n'b': \"y\"", "a@1 x@1 b@2 y@2"),
            ("a: |\n  x\n  y\nb: >\n  z\nc: w", "a@1 x\ny\n@1 b@4 z\n@4 c@6 w@6"),
            ("a: \"x\n  y\"\nb: z", "a@1 x y@1 b@3 z@3"),
            ("a: &n\n  k: x\nb: *n\nc: y", "a@1 k@2 x@2 b@3 k@2 x@2 c@4 y@4"),
            ("a:\nb: x", "a@1 Null@1 b@2 x@2"),
            ("\u{feff}a: x\nb: y", "a@1 x@1 b@2 y@2"),
            ("---\na: x\n", "a@2 x@2"),
            ("a: x\r\nb: y\r\n", "a@1 x@1 b@2 y@2"),
            ("? a\n: x\n? b\n: y", "a@1 x@2 b@3 y@4"),
            ("a: # b: c\n  x", "a@1 x@2"),
        ] {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    fn check_refused(text: &str, line: Option<usize>, message: &str) {
        assert_eq!(
            parse(text, &STRICT).unwrap_err(),
            SyntaxError { line, message: message.to_owned() },
            "{:?}",
            &text[..text.len().min(60)]
        );
    }

    #[test]
    fn what_is_no_single_plain_document_is_refused_with_its_line() {
        check_refused("a: 1\nb: 2\n---\nc: 3\n", Some(4), "a second YAML document begins; only one is allowed");
        check_refused("a:\n\tb: 1\n", Some(2), "not YAML: a tab indents this line; use spaces");
        check_refused("a: 1\nb: !secret x\n", Some(2), "a YAML tag (`!name`) has no meaning here; leave it out");
        check_refused("a: !!int \"hunter2, expected x\"\n", Some(1), "not YAML: a: expected an integer at line 1 column 4");
        check_refused("a: *x\n", Some(1), "not YAML: unknown anchor at line 1 column 4");
        check_refused("a: b: c\n", Some(1), "not YAML: mapping values are not allowed in this context at line 1 column 5");
        check_refused(
            "a: [1, 2\n",
            Some(2),
            "not YAML: did not find expected ',' or ']' at line 2 column 1, while parsing a flow sequence at line 1 column 4",
        );
    }

    #[test]
    fn size_nesting_and_expansion_are_bounded() {
        check_refused(&"# x\n".repeat(300_000), None, "longer than 1048576 bytes");
        check_refused(&"[".repeat(20_000), None, "more than 10000 of `[` and `{`; write lists and mappings as indented lines");
        let nested = "- ".repeat(200);
        assert_eq!(parse(&nested, &STRICT).unwrap_err().message, "not YAML: recursion limit exceeded at line 1 column 257");
        let bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 40].join(", "));
        check_refused(&bomb, Some(1), "too large once its aliases are expanded");
    }

    #[test]
    fn lenient_texts_may_have_tags_and_more_documents_but_not_more_of_anything() {
        let tagged = parse("a: !x [!y 1]\nb: !!binary aGk=\n---\nbroken: [\n", &LENIENT).unwrap();
        let Value::Map(pairs) = &tagged.value else { panic!("{tagged:?}") };
        assert!(matches!(pairs.as_slice(), [(_, a), (_, b)]
            if matches!(a.value, Value::List(_)) && matches!(&b.value, Value::Text(text) if text == "aGk=")));
        assert!(parse(&"[".repeat(20_000), &LENIENT).unwrap_err().message.starts_with("more than 10000 of"));
        assert!(parse(&"# x\n".repeat(300_000), &LENIENT).is_ok());
        assert_eq!(parse(&"# x\n".repeat(5_000_000), &LENIENT).unwrap_err().message, "longer than 16777216 bytes");
    }

    #[test]
    fn what_stands_where_a_node_begins_is_its_own_spelling() {
        let text = "\u{feff}ä: \"x\"\nb: &n yes\nc: !!binary aGk=\n";
        let starts: Vec<_> = (1..=6).map(|number| text_at(text, number).unwrap().trim_end()).collect();
        assert_eq!(starts, ["ä: \"x\"", "\"x\"", "b: &n yes", "&n yes", "c: !!binary aGk=", "!!binary aGk="]);
        assert_eq!(text_at(text, 7), None);
    }
}
