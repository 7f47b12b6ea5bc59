//! Field selectors, as `kubectl --field-selector` takes them.
//!
//! Takes the text from a configuration, gives it back checked. The grammar is that of `k8s.io/apimachinery/pkg/fields`
//! (`ParseSelector`), except that a term without text between two commas, which the server passes over, is refused. Which
//! fields exist is known to the server alone.

use super::SELECTOR_BYTES_MAX;
use std::fmt;
use std::str::FromStr;

/// A field selector whose form the server will accept, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldSelector(String);

/// Why a text is no field selector, where, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldSelectorError(String);

impl FieldSelector {
    /// Selects the object of exactly this name.
    pub fn name(name: &str) -> Self {
        let mut text = String::from("metadata.name=");
        for c in name.chars() {
            if is_escapable(c) {
                text.push('\\');
            }
            text.push(c);
        }
        Self(text)
    }

    /// Selects what both select.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(format!("{self},{other}"))
    }

    /// The one name that an object must have, where the selector demands one. Servers judge a list or a watch with it as a
    /// request for that object alone: a role with that name in its `resourceNames` is enough.
    pub fn exact_name(&self) -> Option<String> {
        let mut rest = self.as_str();
        loop {
            let term = &rest[..unescaped_comma(rest).unwrap_or(rest.len())];
            let value = term.strip_prefix("metadata.name=").map(|value| value.strip_prefix('=').unwrap_or(value));
            if let Some(name) = value.map(unescape).filter(|name| !name.is_empty() && !name.contains(['/', '%'])) {
                return Some(name);
            }
            if term.len() == rest.len() {
                return None;
            }
            rest = &rest[term.len() + 1..];
        }
    }

    /// The selector as it goes into the query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldSelector {
    type Err = FieldSelectorError;

    fn from_str(text: &str) -> Result<Self, FieldSelectorError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(FieldSelectorError("the selector is empty; leave the key out to select everything".to_owned()));
        }
        if trimmed.len() > SELECTOR_BYTES_MAX {
            return Err(FieldSelectorError(format!("the selector is longer than {SELECTOR_BYTES_MAX} bytes")));
        }
        let mut column = 1 + text.chars().take_while(|c| c.is_whitespace()).count();
        let mut rest = trimmed;
        loop {
            let term = &rest[..unescaped_comma(rest).unwrap_or(rest.len())];
            check_term(term, column)?;
            if term.len() == rest.len() {
                return Ok(Self(trimmed.to_owned()));
            }
            column += term.chars().count() + 1;
            rest = &rest[term.len() + 1..];
        }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks `path=value`, `path==value` or `path!=value`, which begins at `column`.
fn check_term(term: &str, column: usize) -> Result<(), FieldSelectorError> {
    let path_end = term.find(['=', '!', '<', '>']).unwrap_or(term.len());
    let (path, rest) = term.split_at(path_end);
    if let Some((at, c)) = path.chars().enumerate().find(|(_, c)| !is_path_char(*c)) {
        let hint = "; terms are joined by commas, without blanks around commas and operators";
        return Err(expected("a field path as in `metadata.name`", &format!("{c:?}"), column + at, hint));
    }
    let operator_column = column + path.chars().count();
    if path.is_empty() {
        let found = rest.chars().next().map_or("nothing".to_owned(), |c| format!("{c:?}"));
        return Err(expected("a field path as in `metadata.name`", &found, operator_column, ""));
    }
    let Some(operator) = ["==", "!=", "="].into_iter().find(|operator| rest.starts_with(operator)) else {
        let found = rest.chars().next().map_or("nothing".to_owned(), |c| format!("{c:?}"));
        return Err(expected(
            "one of =, ==, != and a value",
            &found,
            operator_column,
            "; fields can only be compared for equality",
        ));
    };
    check_value(&rest[operator.len()..], operator_column + operator.len())
}

/// Checks a value, which may be empty: `spec.nodeName=` selects pods that have no node.
fn check_value(value: &str, column: usize) -> Result<(), FieldSelectorError> {
    let mut chars = value.chars().zip(column..);
    while let Some((c, column)) = chars.next() {
        if c == '\\' && !chars.next().is_some_and(|(escaped, _)| is_escapable(escaped)) {
            return Err(expected(r"`\\`, `\,` or `\=`", r"another use of `\`", column, ""));
        }
        if c == '=' {
            return Err(expected("a value", "\"=\"", column, r"; inside a value it is written `\=`"));
        }
        if c.is_control() {
            return Err(expected("a value", &format!("{c:?}"), column, ""));
        }
    }
    Ok(())
}

fn expected(wanted: &str, found: &str, column: usize, hint: &str) -> FieldSelectorError {
    FieldSelectorError(format!("expected {wanted}, found {found} at column {column}{hint}"))
}

fn unescape(value: &str) -> String {
    let mut is_escaped = false;
    let is_kept = |c: &char| {
        is_escaped = *c == '\\' && !is_escaped;
        !is_escaped
    };
    value.chars().filter(is_kept).collect()
}

fn unescaped_comma(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b',' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn is_escapable(c: char) -> bool {
    matches!(c, '\\' | ',' | '=')
}

/// What paths consist of; custom resources may name any field of their schema, so this is generous.
fn is_path_char(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '\\' | '(' | ')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_of_one_name_gives_it() {
        for (selector, name) in [
            ("metadata.name=web-0", Some("web-0")),
            ("metadata.name==web-0", Some("web-0")),
            ("spec.nodeName=n1,metadata.name=web-0", Some("web-0")),
            (r"metadata.name=a\,b\=c\\d", Some(r"a,b=c\d")),
            ("metadata.name!=web-0", None),
            ("metadata.name=", None),
            ("spec.nodeName=metadata", None),
            (r"spec.x=\,metadata.name\=y", None),
        ] {
            assert_eq!(selector.parse::<FieldSelector>().unwrap().exact_name().as_deref(), name, "{selector}");
        }
        assert_eq!(FieldSelector::name("a,b").exact_name().as_deref(), Some("a,b"));
    }

    fn accepts(text: &str) {
        assert_eq!(text.parse::<FieldSelector>().map(|selector| selector.to_string()), Ok(text.trim().to_owned()), "{text}");
    }

    fn refuses(text: &str, expected: &str) {
        assert_eq!(text.parse::<FieldSelector>().unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn accepts_what_the_server_accepts() {
        for text in [
            "metadata.name=web-0",
            " metadata.name==web-0 ",
            "metadata.name!=x,spec.nodeName=n1",
            "spec.nodeName=",
            "spec.nodeName!=,status.phase==Running",
            r"metadata.name=a\,b\=c\\",
            "reason=two words",
            "spec.my_field-x=1!2",
        ] {
            accepts(text);
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let path = "a field path as in `metadata.name`";
        let blanks = "; terms are joined by commas, without blanks around commas and operators";
        let equality = "; fields can only be compared for equality";
        refuses("", "the selector is empty; leave the key out to select everything");
        refuses("a", &format!("expected one of =, ==, != and a value, found nothing at column 2{equality}"));
        refuses("a>1", &format!("expected one of =, ==, != and a value, found '>' at column 2{equality}"));
        refuses("a!b", &format!("expected one of =, ==, != and a value, found '!' at column 2{equality}"));
        refuses("=b", &format!("expected {path}, found '=' at column 1"));
        refuses("a=b,", &format!("expected {path}, found nothing at column 5"));
        refuses("ü=b,,c=d", &format!("expected {path}, found nothing at column 5"));
        refuses("a=b, c=d", &format!("expected {path}, found ' ' at column 5{blanks}"));
        refuses("  a =b", &format!("expected {path}, found ' ' at column 4{blanks}"));
        refuses("a in (b)", &format!("expected {path}, found ' ' at column 2{blanks}"));
        refuses("a=b=c", r#"expected a value, found "=" at column 4; inside a value it is written `\=`"#);
        refuses("a===c", r#"expected a value, found "=" at column 4; inside a value it is written `\=`"#);
        refuses(r"a=b\c", r"expected `\\`, `\,` or `\=`, found another use of `\` at column 4");
        refuses(r"a=b\", r"expected `\\`, `\,` or `\=`, found another use of `\` at column 4");
        refuses("a=b\nc", "expected a value, found '\\n' at column 4");
        refuses(&"a=b,".repeat(15_361), "the selector is longer than 61440 bytes");
        assert!(vec!["metadata.namespace!=a"; 2_000].join(",").parse::<FieldSelector>().is_ok());
    }

    #[test]
    fn a_name_is_escaped_and_joined_to_other_terms() {
        let name = FieldSelector::name(r"a,b=c\d");
        assert_eq!(name.as_str(), r"metadata.name=a\,b\=c\\d");
        accepts(name.as_str());
        let both = name.and(&"spec.nodeName=n".parse().unwrap());
        assert_eq!(both.as_str(), r"metadata.name=a\,b\=c\\d,spec.nodeName=n");
        accepts(both.as_str());
    }
}
