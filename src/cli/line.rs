//! One log line: when, how important, what, and its pairs.
//!
//! A line is `2026-11-23T13:33:26.123Z warn v1/pods: watch ended, listing again cause="410 Expired" retry_after=1.6s`. What a server or
//! an object puts into a message cannot make a second line or move the cursor of a terminal.

use crate::shown::{is_unsafe, push_shown};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};

/// The line without its end, time and level: message and pairs.
pub(super) fn words(record: &Record<'_>) -> String {
    let mut words = String::new();
    push_words(&mut words, record);
    words
}

/// The whole line, with its end.
pub(super) fn line(record: &Record<'_>, now: jiff::Timestamp) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let mut line = format!("{now:.3} {level} ");
    push_words(&mut line, record);
    line.push('\n');
    line
}

fn push_words(line: &mut String, record: &Record<'_>) {
    push_escaped(line, &record.args().to_string(), false);
    // The visitor below never fails.
    let _ = record.key_values().visit(&mut Pairs(line));
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push(' ');
        push_escaped(self.0, key.as_str(), false);
        self.0.push('=');
        let value = value.to_string();
        let bare = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=' || is_unsafe(c));
        if bare {
            self.0.push_str(&value);
        } else {
            self.0.push('"');
            push_escaped(self.0, &value, true);
            self.0.push('"');
        }
        Ok(())
    }
}

/// Appends `text` so that it stays one line; inside quotes, those and backslashes are escaped too.
pub(super) fn push_escaped(line: &mut String, text: &str, quoted: bool) {
    for c in text.chars() {
        if quoted && (c == '"' || c == '\\') {
            line.push('\\');
            line.push(c);
        } else {
            push_shown(line, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, target: &str, message: &str, pairs: &[(&str, &str)], expected: &str) {
        let now: jiff::Timestamp = "2026-11-23T13:33:26.12345Z".parse().unwrap();
        let told =
            line(&Record::builder().level(level).target(target).key_values(&pairs).args(format_args!("{message}")).build(), now);
        assert_eq!(told, format!("2026-11-23T13:33:26.123Z {expected}\n"));
    }

    #[test]
    fn a_line_holds_time_level_message_and_pairs() {
        check(
            Level::Warn,
            "faro::informer",
            "v1/pods: watch ended, listing again",
            &[("cause", "410 Expired"), ("resource_version", "81723"), ("retry_after", "1.6s")],
            "warn v1/pods: watch ended, listing again cause=\"410 Expired\" resource_version=81723 retry_after=1.6s",
        );
        check(Level::Info, "faro", "ready", &[], "info ready");
        check(Level::Error, "faro", "no", &[], "error no");
        check(
            Level::Debug,
            "faro",
            "x",
            &[("empty", ""), ("path", "/a-b_c"), ("pair", "a=b")],
            "debug x empty=\"\" path=/a-b_c pair=\"a=b\"",
        );
    }

    #[test]
    fn nothing_in_a_message_makes_another_line() {
        check(Level::Info, "faro", "a\nb\r\u{1b}[31mc", &[], "info a\\nb\\r\\u{1b}[31mc");
        check(Level::Info, "faro", "a\u{2028}b\u{202e}c", &[], "info a\\u{2028}b\\u{202e}c");
        check(Level::Info, "faro", "x", &[("cause", "say \"no\"\n\\")], "info x cause=\"say \\\"no\\\"\\n\\\\\"");
        check(Level::Info, "faro", "C:\\temp \"q\" é", &[], "info C:\\temp \"q\" é");
    }
}
