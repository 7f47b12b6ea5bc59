//! Label and field selectors, as the server reads and applies them.
//!
//! The grammars and messages are those of `k8s.io/apimachinery/pkg/labels` and `pkg/fields`. Unlike the library's own
//! [`LabelSelector`](crate::api::LabelSelector), which refuses likely mistakes, this accepts all that a server accepts.

use super::super::state::catalog::Resource;
use super::super::state::object::Object;
use super::super::state::refusal::Refusal;
use super::Request;

/// What a list or watch selects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    /// Empty for all namespaces.
    pub(super) namespace: String,
    labels: Vec<(String, Test)>,
    fields: Vec<(String, bool, String)>,
}

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
}

impl Selection {
    /// Reads both selectors of a request.
    ///
    /// # Errors
    ///
    /// 400 when one cannot be read or names a field that cannot be selected by.
    pub(super) fn new(request: &Request, resource: &Resource, namespace: &str) -> Result<Self, Refusal> {
        let labels = parse_labels(request.query("labelSelector"))
            .map_err(|why| Refusal::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = parse_fields(request.query("fieldSelector")).map_err(Refusal::bad_request)?;
        for (path, _, _) in &fields {
            check_field(path, resource)?;
        }
        Ok(Self { namespace: namespace.to_owned(), labels, fields })
    }

    /// Whether nothing but the namespace selects.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether its name alone selects one object.
    pub(super) fn is_one(&self, namespaced: bool) -> bool {
        let is_named = self.fields.iter().any(|(path, equal, _)| path == "metadata.name" && *equal);
        is_named && (!namespaced || !self.namespace.is_empty())
    }

    /// Whether the object is selected.
    pub(super) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || self.namespace == object.namespace)
            && self.labels.iter().all(|(key, test)| {
                let label = object.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value);
                test.holds(label)
            })
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == value) == *equal)
    }
}

impl Test {
    fn holds(&self, label: Option<&String>) -> bool {
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match self {
            Self::In(values) => label.is_some_and(|label| values.contains(label)),
            Self::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
            Self::Exists => label.is_some(),
            Self::Missing => label.is_none(),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

fn field<'a>(object: &'a Object, path: &str) -> &'a str {
    match path {
        "metadata.name" => &object.name,
        "metadata.namespace" => &object.namespace,
        _ => object.fields.iter().find(|(known, _)| *known == path).map_or("", |(_, value)| value),
    }
}

fn check_field(path: &str, resource: &Resource) -> Result<(), Refusal> {
    let known = resource.selectable_fields();
    if matches!(path, "metadata.name" | "metadata.namespace") || known.contains(&path) {
        return Ok(());
    }
    Err(Refusal::bad_request(if known.is_empty() && !resource.custom {
        format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {path}")
    }))
}

/// Reads `path=value`, `path==value` and `path!=value`, joined by commas; `\` escapes.
fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let mut terms = vec![String::new()];
    let mut is_escaped = false;
    for c in text.chars() {
        if c == ',' && !is_escaped {
            terms.push(String::new());
        } else {
            terms.last_mut().expect("one term is always there").push(c);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    let read = terms.iter().filter(|term| !term.is_empty()).map(|term| {
        let place = term.find(['=', '!']).ok_or_else(|| invalid_field(text, term))?;
        let (path, rest) = term.split_at(place);
        let (operator, equal) = [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find(|(it, _)| rest.starts_with(it))
            .ok_or_else(|| invalid_field(text, term))?;
        Ok((path.to_owned(), equal, unescape(&rest[operator.len()..])))
    });
    read.collect()
}

fn invalid_field(text: &str, term: &str) -> String {
    format!("invalid selector: '{text}'; can't understand '{term}'")
}

fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    if parser.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(parser.requirement()?);
        match parser.next() {
            "" => return Ok(requirements),
            "," if matches!(parser.peek(), "!") || is_word(parser.peek()) => {}
            "," => return Err(format!("found '{}', expected: identifier after ','", parser.peek())),
            found => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
        }
    }
}

/// The tokens of a label selector; the end is the empty token.
struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<(String, Test), String> {
        let is_negated = self.peek() == "!";
        if is_negated {
            self.next();
        }
        let key = self.next();
        if !is_word(key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let key = key.to_owned();
        if is_negated {
            return Ok((key, Test::Missing));
        }
        if matches!(self.peek(), "" | ",") {
            return Ok((key, Test::Exists));
        }
        let test = match self.next() {
            "in" => Test::In(self.values()?),
            "notin" => Test::NotIn(self.values()?),
            "=" | "==" => Test::In(vec![self.value()?]),
            "!=" => Test::NotIn(vec![self.value()?]),
            ">" => Test::Above(self.number()?),
            "<" => Test::Below(self.number()?),
            found => return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        Ok((key, test))
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), "" | ",") {
            return Ok(String::new());
        }
        let value = self.next();
        if is_word(value) { Ok(value.to_owned()) } else { Err(format!("found '{value}', expected: identifier")) }
    }

    fn number(&mut self) -> Result<i64, String> {
        let value = self.value()?;
        value
            .parse()
            .map_err(|_| format!("values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"))
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(if is_word(self.peek()) { self.next().to_owned() } else { String::new() });
            match self.next() {
                ")" => return Ok(values),
                "," => {}
                found => return Err(format!("found '{found}', expected: ',' or ')'")),
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(is_symbol)
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '=' | '!' if rest[1..].starts_with('=') => 2,
            _ if is_symbol(first) => 1,
            _ => rest.find(|c: char| c.is_whitespace() || is_symbol(c)).unwrap_or(rest.len()),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, selected: [bool; 3]) {
        let tests = parse_labels(selector).unwrap();
        let label_sets = [vec![], vec![("app", "web"), ("n", "5")], vec![("app", ""), ("tier", "db")]];
        let found = label_sets.map(|labels| {
            tests.iter().all(|(key, test)| {
                let label = labels.iter().find(|(name, _)| name == key).map(|(_, value)| (*value).to_owned());
                test.holds(label.as_ref())
            })
        });
        assert_eq!(found, selected, "{selector}");
    }

    #[test]
    fn labels_are_selected_by_the_whole_grammar() {
        check("", [true, true, true]);
        check("app", [false, true, true]);
        check("!app", [true, false, false]);
        check("app=web", [false, true, false]);
        check("app == web , tier!=db", [false, true, false]);
        check("app!=web", [true, false, true]);
        check("app=", [false, false, true]);
        check("app in (web, api)", [false, true, false]);
        check("app notin (web),tier", [false, false, true]);
        check("app in ()", [false, false, true]);
        check("n>4,n<6", [false, true, false]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_the_words_of_the_server() {
        let check = |text: &str, why: &str| assert_eq!(parse_labels(text), Err(why.to_owned()), "{text}");
        check("a===b", "found '=', expected: identifier");
        check("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt");
        check("a=b c", "found 'c', expected: ',' or 'end of string'");
        check("a,", "found '', expected: identifier after ','");
        check("a in b", "found 'b' expected: '('");
    }

    #[test]
    fn fields_are_unescaped_and_compared_both_ways() {
        let expected = vec![("a.b".to_owned(), true, "x,y".to_owned()), ("c".to_owned(), false, String::new())];
        assert_eq!(parse_fields(r"a.b==x\,y,c!="), Ok(expected));
        assert!(parse_fields("a").is_err());
    }
}
