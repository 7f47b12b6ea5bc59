//! Which lines are shown, decided from their bytes.

use faro::event::EventType;
use faro::sink::EventLine;
use jiff::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a line must say; of each list one value, and an empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(super) gvrs: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) types: Vec<EventType>,
    pub(super) since: Option<Timestamp>,
}

/// A filter, ready for many lines.
pub(super) struct Passing {
    filter: Filter,
    /// `since` as lines write it; texts of one form sort as times do.
    since: String,
}

impl Filter {
    pub(super) fn ready(self) -> Passing {
        let since = self.since.map_or_else(String::new, |since| format!("{since:.6}"));
        Passing { filter: self, since }
    }
}

impl Passing {
    pub(super) fn passes(&self, line: &EventLine<'_>) -> bool {
        let Filter { gvrs, namespaces, names, types, since: _ } = &self.filter;
        (gvrs.is_empty() || gvrs.iter().any(|gvr| gvr == line.gvr))
            && (names.is_empty() || names.iter().any(|name| line.is_named(name)))
            && (namespaces.is_empty() || namespaces.iter().any(|namespace| line.is_in(namespace)))
            && (types.is_empty() || types.iter().any(|known| known.as_str() == line.event_type))
            && line.timestamp >= self.since.as_str()
    }

    /// The second before which nothing passes.
    pub(super) fn since(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.filter.since?.as_second()).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: Filter, is_passing: bool) {
        let line = r#"{"timestamp":"2025-11-10T14:33:02.123456Z","eventType":"ADDED","gvr":"v1/pods","namespace":"shop","name":"caf\u00e9"}"#;
        let line = EventLine::parse(line.as_bytes()).unwrap();
        let told = format!("{filter:?}");
        assert_eq!(filter.ready().passes(&line), is_passing, "{told}");
    }

    #[test]
    fn a_line_passes_that_fits_one_value_of_each_kind() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        check(Filter::default(), true);
        for (gvrs, namespaces, names, is_passing) in [
            (["v1/pods"].as_slice(), ["shop"].as_slice(), ["caf\u{e9}"].as_slice(), true),
            (&["v1/nodes", "v1/pods"], &["a", "shop"], &["x", "caf\u{e9}"], true),
            (&["v1/pod"], &[], &[], false),
            (&[], &["sho"], &[], false),
            (&[], &[], &["caf"], false),
            (&["v1/pods"], &["shop"], &["x"], false),
        ] {
            check(
                Filter { gvrs: texts(gvrs), namespaces: texts(namespaces), names: texts(names), ..Filter::default() },
                is_passing,
            );
        }
        let gap = EventLine::parse(br#"{"timestamp":"2025-11-10T14:33:02.123456Z","eventType":"GAP","gvr":"v1/pods"}"#).unwrap();
        for (types, is_passing) in [(EventType::ALL.to_vec(), false), (Vec::new(), true)] {
            assert_eq!(Filter { types, ..Filter::default() }.ready().passes(&gap), is_passing);
        }
        check(Filter { types: vec![EventType::Deleted], ..Filter::default() }, false);
        check(Filter { types: vec![EventType::Deleted, EventType::Added], ..Filter::default() }, true);
        for (since, is_passing) in [
            ("2025-11-10T14:33:02.123456Z", true),
            ("2025-11-10T15:33:02.123456+01:00", true),
            ("2025-11-10T14:33:02Z", true),
            ("2025-11-10T14:33:02.123457Z", false),
            ("2025-11-10T14:33:03Z", false),
        ] {
            check(Filter { since: Some(since.parse().unwrap()), ..Filter::default() }, is_passing);
        }
    }
}
