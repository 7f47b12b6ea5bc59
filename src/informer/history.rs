//! The histories of a cluster by their numbers, and the beginning of a replay.

use super::machine::{Close, Input, Line};
use super::report::Report;
use crate::api::{Anchor, HISTORY_FIRST, WatchLine};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of the newest history of a cluster, shared by its watches. Each watch finds another history for itself, as kinds may
/// live in stores of their own; those that find the same one give it the same number.
#[derive(Clone, Debug)]
pub struct Histories(Arc<Mutex<u32>>);

impl Histories {
    /// The number of the newest history.
    pub fn newest(&self) -> u32 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a history of this number, as an earlier run has found.
    pub fn come_to(&self, number: u32) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = number.max(*newest);
    }

    /// The number of the history that comes after `number`, of which a watch has found the end.
    pub(super) fn after(&self, number: u32) -> u32 {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(number.saturating_add(1));
        *newest
    }
}

impl Default for Histories {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(HISTORY_FIRST)))
    }
}

/// What the first line of a replay means: it must be `newest`, and is passed over then.
pub(super) fn replayed(bytes: &[u8], newest: &Anchor, report: &mut Report) -> Input {
    match WatchLine::parse(bytes) {
        Ok(WatchLine::Object { kind, object }) if newest.is(kind, &object) => {
            report.watching();
            Input::Line(Line::Replayed)
        }
        Ok(WatchLine::Error(status)) => {
            report.error_line(&status);
            Input::Close(Close::Error(status.fault(None)))
        }
        Ok(WatchLine::Object { object, .. }) => {
            let version = object.resource_version();
            not_replayed(newest, &format!("one of version {version} came"), report)
        }
        Ok(WatchLine::Bookmark { version, .. }) => not_replayed(newest, &format!("a bookmark of version {version} came"), report),
        Err(error) => not_replayed(newest, &error.to_string(), report),
    }
}

/// Something else came than `newest`, or nothing.
pub(super) fn not_replayed(newest: &Anchor, found: &str, report: &mut Report) -> Input {
    report.ended(format!("the event of version {} was to come again, and {found}", newest.version()));
    Input::Close(Close::NotReplayed)
}

/// Something else came than what an earlier run has handed out beyond its version, or nothing.
pub(super) fn not_replayed_beyond(found: &str, report: &mut Report) -> Input {
    report.ended(format!("what was handed out after the stored version was to come again, and {found}"));
    Input::Close(Close::NotReplayed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ListPage;
    use crate::client::Blotter;
    use crate::client::transcript::Transcript;
    use crate::informer::testing;
    use crate::lifecycle::Stop;

    #[test]
    fn those_that_find_the_same_history_give_it_the_same_number_and_a_later_one_a_higher() {
        let histories = Histories::default();
        let found: Vec<u32> = [1, 1, 2, 1, 3].into_iter().map(|own| histories.after(own)).collect();
        // The fourth was not there when the others found the third: to it that is the next.
        assert_eq!((found, histories.newest()), (vec![2, 2, 3, 3, 4], 4));
    }

    fn lines(name: &str) -> Vec<Vec<u8>> {
        let body = Transcript::golden(name).body;
        body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn what_recorded_servers_list_is_found_again_in_their_watches_whole_or_metadata_only() {
        for (list, watched) in [
            ("list-all", "watch-rv0"),
            ("list-all", "watch-list-streaming-metadata-only"),
            ("list-metadata-only", "watch-list-streaming"),
            ("list-metadata-only", "watch-no-rv"),
            ("server-1.20/list-all", "server-1.20/watch-rv0"),
            ("server-1.20/list-metadata-only", "server-1.20/watch-no-rv"),
        ] {
            let body = Transcript::golden(list).body;
            let page = ListPage::parse(&body).unwrap();
            let listed: Vec<_> = page.objects().map(|object| Anchor::of_listed(&object.unwrap())).collect();
            let mut found = 0;
            for line in lines(watched) {
                let Ok(WatchLine::Object { kind, object }) = WatchLine::parse(&line) else { continue };
                found += listed.iter().filter(|anchor| anchor.is(kind, &object)).count();
            }
            assert!(found >= 2, "{found} of {list} in {watched}");
        }
    }

    #[test]
    fn what_recorded_servers_replay_is_known_again_and_nothing_else_is() {
        let watch = testing::watch("v1/configmaps");
        let context = testing::context(&watch, &Stop::new());
        let mut report = Report::new(watch, context.status, context.metrics, context.server.join(), Blotter::default());
        for server in ["", "server-1.20/"] {
            for name in ["watch-replay", "watch-replay-left-the-selector"] {
                let line = lines(&format!("{server}{name}")).remove(0);
                let Ok(WatchLine::Object { kind, object }) = WatchLine::parse(&line) else { panic!("{name}") };
                let newest = Anchor::of_event(kind, &object, None);
                let is_replayed = |input| matches!(input, Input::Line(Line::Replayed));
                assert!(is_replayed(replayed(&line, &newest, &mut report)), "{server}{name}");
                let other = String::from_utf8(line.clone()).unwrap().replace("\"time\":\"20", "\"time\":\"19");
                assert!(!is_replayed(replayed(other.as_bytes(), &newest, &mut report)), "{server}{name} at another time");
            }
            assert!(lines(&format!("{server}watch-replay-future")).is_empty(), "the future is silent");
        }
    }
}
