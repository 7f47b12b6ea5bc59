//! Label selectors, as `kubectl -l` takes them.
//!
//! Takes the text from a configuration, gives it back checked, so that a mistake is found before a server is asked. The
//! grammar is that of `k8s.io/apimachinery/pkg/labels` (`Parse`), with one difference: a value that is missing after `=`,
//! `==`, `!=` is refused, because it is nearly always a forgotten one. `key in ()` says "the empty value" to every server.

use super::SELECTOR_BYTES_MAX;
use std::fmt;
use std::str::FromStr;

/// A label selector that the server will accept, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector(String);

/// Why a text is no label selector, where, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LabelSelectorError(String);

/// Longest label value, and longest name of a label without its prefix (`k8s.io/apimachinery/pkg/util/validation`).
const NAME_BYTES_MAX: usize = 63;
/// Longest prefix of a label's name, as of any DNS name.
const PREFIX_BYTES_MAX: usize = 253;

impl LabelSelector {
    /// The selector as it goes into the query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        let trimmed = text.trim_matches(is_blank);
        if trimmed.is_empty() {
            return Err(LabelSelectorError("the selector is empty; leave the key out to select everything".to_owned()));
        }
        if trimmed.len() > SELECTOR_BYTES_MAX {
            return Err(LabelSelectorError(format!("the selector is longer than {SELECTOR_BYTES_MAX} bytes")));
        }
        let mut parser = Parser { text, at: 0 };
        loop {
            parser.requirement()?;
            match parser.next() {
                (Token::End, _) => return Ok(Self(trimmed.to_owned())),
                (Token::Symbol(","), _) => {}
                found => return Err(parser.expected("`,` or the end", found, "")),
            }
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, `in` or `notin`.
    Word(&'a str),
    Symbol(&'a str),
    End,
}

/// A token and the byte where it begins.
type Found<'a> = (Token<'a>, usize);

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// `key`, `!key`, or a key with an operator and what it is compared with.
    fn requirement(&mut self) -> Result<(), LabelSelectorError> {
        let is_negated = self.peek().0 == Token::Symbol("!");
        if is_negated {
            self.next();
        }
        let key = self.key()?;
        if is_negated || matches!(self.peek().0, Token::End | Token::Symbol(",")) {
            return Ok(());
        }
        match self.next() {
            (Token::Word("in" | "notin"), _) => self.values(),
            (Token::Symbol(operator @ ("=" | "==" | "!=")), _) => self.exact_value(key, operator),
            (Token::Symbol("<" | ">"), _) => self.integer(),
            found => Err(self.expected("one of =, ==, !=, in, notin, <, > or a comma", found, "")),
        }
    }

    fn key(&mut self) -> Result<&'a str, LabelSelectorError> {
        match self.next() {
            (Token::Word(key), _) if is_key(key) => Ok(key),
            found => Err(self.expected("a label key", found, KEY_HINT)),
        }
    }

    fn exact_value(&mut self, key: &str, operator: &str) -> Result<(), LabelSelectorError> {
        match self.peek() {
            found @ (Token::End | Token::Symbol(","), _) => {
                let set_operator = if operator == "!=" { "notin" } else { "in" };
                let hint = format!("; for the empty value write `{key} {set_operator} ()`");
                Err(self.expected(&format!("a value after `{operator}`"), found, &hint))
            }
            _ => self.value(),
        }
    }

    fn value(&mut self) -> Result<(), LabelSelectorError> {
        match self.next() {
            (Token::Word(value), _) if is_name(value) => Ok(()),
            found => Err(self.expected("a label value", found, VALUE_HINT)),
        }
    }

    fn integer(&mut self) -> Result<(), LabelSelectorError> {
        match self.next() {
            // A sign would be no label value, which the server demands as well.
            (Token::Word(value), _) if is_name(value) && value.parse::<i64>().is_ok() => Ok(()),
            found => Err(self.expected("a whole number without a sign", found, "")),
        }
    }

    /// `(a,b)`; empty values are allowed among them.
    fn values(&mut self) -> Result<(), LabelSelectorError> {
        match self.next() {
            (Token::Symbol("("), _) => {}
            found => return Err(self.expected("`(` and a list of values", found, "")),
        }
        loop {
            if matches!(self.peek().0, Token::Word(_)) {
                self.value()?;
            }
            match self.next() {
                (Token::Symbol(")"), _) => return Ok(()),
                (Token::Symbol(","), _) => {}
                found => return Err(self.expected("`,` or `)`", found, "")),
            }
        }
    }

    fn peek(&self) -> Found<'a> {
        Self { text: self.text, at: self.at }.next()
    }

    fn next(&mut self) -> Found<'a> {
        let rest = self.text[self.at..].trim_start_matches(is_blank);
        let start = self.text.len() - rest.len();
        let length = match rest.bytes().next() {
            None => 0,
            Some(b'=' | b'!') if rest[1..].starts_with('=') => 2,
            Some(byte) if is_symbol(char::from(byte)) => 1,
            Some(_) => rest.find(|c| is_blank(c) || is_symbol(c)).unwrap_or(rest.len()),
        };
        let text = &rest[..length];
        self.at = start + length;
        let token = match text.chars().next() {
            None => Token::End,
            Some(first) if is_symbol(first) => Token::Symbol(text),
            Some(_) => Token::Word(text),
        };
        (token, start)
    }

    fn expected(&self, wanted: &str, (token, start): Found<'_>, hint: &str) -> LabelSelectorError {
        let column = self.text[..start].chars().count() + 1;
        let found = match token {
            Token::End => "the end".to_owned(),
            Token::Word(text) | Token::Symbol(text) => format!("{text:?}"),
        };
        LabelSelectorError(format!("expected {wanted}, found {found} at column {column}{hint}"))
    }
}

const KEY_HINT: &str = "; a key is an optional DNS name and `/`, then up to 63 letters, digits, `-`, `_`, `.`, \
                        beginning and ending with a letter or digit";
const VALUE_HINT: &str = "; a value is up to 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or digit";

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(is_dns_label) && is_name(name),
    }
}

fn is_name(name: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && is_edge(name.bytes().next())
        && is_edge(name.bytes().last())
}

/// One label of a DNS subdomain; the server bounds the whole only, not its labels.
fn is_dns_label(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) {
        assert_eq!(text.parse::<LabelSelector>().map(|selector| selector.to_string()), Ok(text.trim().to_owned()), "{text}");
    }

    fn refuses(text: &str, expected: &str) {
        assert_eq!(text.parse::<LabelSelector>().unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn accepts_what_the_server_accepts() {
        for text in [
            "app=web",
            "app==web,tier!=db",
            " app = web ,\ttier in (a, b,c) ",
            "x in (foo,,baz),y,z notin ()",
            "a in (,)",
            "a in(b)",
            "!a",
            "! a , b",
            "in in (in,notin)",
            "notin=in",
            "a>5,b<10",
            "app.kubernetes.io/name=web_1.x-Y",
            "a=b,a=c",
            "a.b-c/d=1",
        ] {
            accepts(text);
        }
        accepts(&format!("{}/{}={}", "p".repeat(253), "n".repeat(63), "v".repeat(63)));
    }

    #[test]
    fn a_missing_value_is_refused_with_the_way_to_say_empty() {
        refuses("a==", "expected a value after `==`, found the end at column 4; for the empty value write `a in ()`");
        refuses("a=,b", "expected a value after `=`, found \",\" at column 3; for the empty value write `a in ()`");
        refuses("k/a!= ", "expected a value after `!=`, found the end at column 7; for the empty value write `k/a notin ()`");
        accepts("a in ()");
        accepts("k/a notin ()");
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        refuses("", "the selector is empty; leave the key out to select everything");
        refuses(" \n", "the selector is empty; leave the key out to select everything");
        refuses("a===b", &format!("expected a label value, found \"=\" at column 4{VALUE_HINT}"));
        refuses("a=b,", &format!("expected a label key, found the end at column 5{KEY_HINT}"));
        refuses(",a=b", &format!("expected a label key, found \",\" at column 1{KEY_HINT}"));
        refuses("ü=b", &format!("expected a label key, found \"ü\" at column 1{KEY_HINT}"));
        refuses("ab=ü,", &format!("expected a label value, found \"ü\" at column 4{VALUE_HINT}"));
        refuses("a=*", &format!("expected a label value, found \"*\" at column 3{VALUE_HINT}"));
        refuses("a=b c=d", "expected `,` or the end, found \"c\" at column 5");
        refuses("a b", "expected one of =, ==, !=, in, notin, <, > or a comma, found \"b\" at column 3");
        refuses("!a=b", "expected `,` or the end, found \"=\" at column 3");
        refuses("a in b", "expected `(` and a list of values, found \"b\" at column 6");
        refuses("a in (b", "expected `,` or `)`, found the end at column 8");
        refuses("a in (b c)", "expected `,` or `)`, found \"c\" at column 9");
        refuses("a>x", "expected a whole number without a sign, found \"x\" at column 3");
        refuses("a>-1", "expected a whole number without a sign, found \"-1\" at column 3");
        refuses("a<9223372036854775808", "expected a whole number without a sign, found \"9223372036854775808\" at column 3");
        for key in ["a/b/c", "/b", "a/", "A/b", "a..b/c", "-a", "a-", "a\0", &"n".repeat(64), &format!("{}/a", "p".repeat(254))] {
            refuses(key, &format!("expected a label key, found {key:?} at column 1{KEY_HINT}"));
        }
        for value in ["-v", "v.", "a/b", &"v".repeat(64)] {
            refuses(&format!("a={value}"), &format!("expected a label value, found {value:?} at column 3{VALUE_HINT}"));
        }
        refuses(&"a,".repeat(30_721), "the selector is longer than 61440 bytes");
        assert!(format!("a notin ({})", ["value"; 10_000].join(",")).parse::<LabelSelector>().is_ok());
    }
}
