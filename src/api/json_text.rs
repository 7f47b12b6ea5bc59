//! The inside of JSON strings: checked once, unescaped only for whoever asks.

use std::borrow::Cow;

/// Checks what stands between the quotes of a JSON string, and says what is wrong.
pub(super) fn check_text(raw: &[u8]) -> Result<(), &'static str> {
    let is_plain = |byte: u8| (0x20..0x80).contains(&byte) && byte != b'\\';
    // Without an early exit this is a handful of vector instructions, and nearly every text passes.
    if raw.iter().fold(true, |all_plain, &byte| all_plain & is_plain(byte)) {
        return Ok(());
    }
    if raw.iter().any(|&byte| byte < 0x20) {
        return Err("a string holds a control character");
    }
    std::str::from_utf8(raw).map_err(|_| "a string is not UTF-8")?;
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (_, length) = read_escape(&rest[at..]).ok_or("a string holds a wrong escape")?;
        rest = &rest[at + length..];
    }
    Ok(())
}

/// Where in JSON a `\u` escape is one half of a surrogate pair without the other.
pub(super) fn lone_surrogates(json: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', &json[at..]) {
        at += next;
        let escape = &json[at..];
        let is_surrogate = escape.get(1) == Some(&b'u')
            && escape.get(2..6).and_then(read_hex).is_some_and(|unit| (0xD800..0xE000).contains(&unit));
        at += match read_escape(escape) {
            Some((_, length)) => length,
            None if is_surrogate => {
                found.push(at);
                UNICODE_ESCAPE_BYTES
            }
            // No JSON; the backslash and what it stands before.
            None => 2,
        };
        at = at.min(json.len());
    }
    found
}

/// `\u` and four digits.
const UNICODE_ESCAPE_BYTES: usize = 6;

/// What a checked text means; borrowed where nothing is escaped.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        // Unchecked text, which nobody should pass, keeps its backslash.
        let (meaning, length) = read_escape(&rest.as_bytes()[at..]).unwrap_or(('\\', 1));
        plain.push(meaning);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The text as it stands between the quotes of a JSON string; borrowed where nothing needs an escape.
pub(crate) fn escape(plain: &str) -> Cow<'_, str> {
    if plain.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(plain);
    }
    let quoted = serde_json::to_string(plain).expect("every str can be written as JSON");
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

/// The character that the escape at the start of `raw` means, and its length; surrogates must come in pairs.
fn read_escape(raw: &[u8]) -> Option<(char, usize)> {
    let meaning = match raw.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode(raw),
        _ => return None,
    };
    Some((meaning, 2))
}

fn read_unicode(raw: &[u8]) -> Option<(char, usize)> {
    let high = read_hex(raw.get(2..6)?)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    if raw.get(6..8)? != b"\\u" {
        return None;
    }
    let low = read_hex(raw.get(8..12)?)?;
    if !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12))
}

fn read_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}
