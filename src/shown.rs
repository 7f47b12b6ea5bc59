//! Texts from outside as people see them: on one line, and without what moves a cursor or hides what stands there.

#[cfg(any(feature = "cli", test))]
use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with an escape for each character that is not shown as it is.
#[cfg(any(feature = "cli", test))]
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|c| push_shown(&mut safe, c));
    Cow::Owned(safe)
}

/// Appends the character, or its escape.
pub(crate) fn push_shown(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        unsafe_one if is_unsafe(c) => {
            write!(text, "\\u{{{:x}}}", u32::from(unsafe_one)).expect("a string takes every write");
        }
        other => text.push(other),
    }
}

/// Whether a character is not shown as it is.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks and overrides of direction, ends of line, and what has no width.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags, in which a whole text can stand unseen.
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_is_not_seen_is_escaped_and_the_rest_is_as_it_was() {
        for (text, expected) in [
            ("", ""),
            ("C:\\temp \"q\" \u{e9}\u{1f600}", "C:\\temp \"q\" \u{e9}\u{1f600}"),
            ("a\nb\r\t\u{1b}[31mc\u{9b}\0", "a\\nb\\r\\t\\u{1b}[31mc\\u{9b}\\u{0}"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{e0041}", "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}e\\u{e0041}"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
