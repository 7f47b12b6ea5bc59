//! What is kept on disk: the first events, the state, and how files are rotated, compressed and removed.
//!
//! Takes the tree's nodes; gives settings within their bounds. Limits that depend on each other are checked here, too.

use super::error::{Spot, lacks};
use super::read::{Map, Reader};
use super::values::{self, found};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// What becomes of the objects that are there at the very first start of a watch (`initial_events`). Defaults to
/// [`Emit`](Self::Emit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialEvents {
    /// Each is told as `ADDED`, with `initial`.
    #[default]
    Emit,
    /// They are known and not told.
    Skip,
}

/// Where Faro remembers what it has told, so that a restart goes on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateConfig {
    /// Whether it does. Defaults to true, in a build without the feature `state` to false.
    pub enabled: bool,
    /// The folder. Defaults to `state` in `output_dir`.
    pub dir: PathBuf,
}

/// When a file is closed and the next one begun. Holds for events files and log files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotateConfig {
    /// Before it grows beyond so many bytes; only a single longer line makes a longer file. Defaults to 104857600 (100 MiB).
    pub max_bytes: u64,
    /// When it is so old and not empty (`max_age_sec`); `None`: at any age. Defaults to a day.
    pub max_age: Option<Duration>,
}

/// How closed files are compressed. Defaults to [`None`](Self::None).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// They stay as they were written.
    #[default]
    None,
    /// To `.gz`, as gzip reads it.
    Gzip,
    /// To `.zst`, as zstd reads it.
    Zstd,
}

/// Which closed files are removed, the oldest first. Holds for events files and for log files, each for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetainConfig {
    /// Those beyond so many bytes in all, the open file counted; `None`: none. Defaults to 1073741824 (1 GiB).
    pub total_bytes: Option<u64>,
    /// Those closed for longer (`max_age_sec`); `None`: none. Defaults to `None`.
    pub max_age: Option<Duration>,
}

/// The same for each run, whatever the file says; `dir` may be missing.
#[derive(Clone, Debug, Default)]
pub(super) struct RawStorage {
    pub(super) initial_events: InitialEvents,
    pub(super) state_enabled: Option<bool>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) rotate: RotateConfig,
    pub(super) compress: Compression,
    pub(super) retain: RetainConfig,
}

impl Default for RotateConfig {
    fn default() -> Self {
        Self { max_bytes: 100 * 1024 * 1024, max_age: Some(Duration::from_secs(24 * 60 * 60)) }
    }
}

impl Default for RetainConfig {
    fn default() -> Self {
        Self { total_bytes: Some(1024 * 1024 * 1024), max_age: None }
    }
}

const STATE_KEYS: [&str; 2] = ["enabled", "dir"];
const ROTATE_KEYS: [&str; 2] = ["max_bytes", "max_age_sec"];
const RETAIN_KEYS: [&str; 2] = ["total_bytes", "max_age_sec"];

/// Smallest file that another may follow: below this, names and folder syncs would outweigh the lines.
const ROTATE_BYTES_MIN: u64 = 64 * 1024;

/// Largest number of bytes: a pebibyte, more than any disk and safe to double.
const BYTES_MAX: u64 = 1 << 50;

/// How many files' room is kept at least: the one that is written, and one that was.
const RETAINED_FILES_MIN: u64 = 2;

pub(super) fn read(reader: &mut Reader, map: &Map<'_>) -> RawStorage {
    let mut raw = RawStorage {
        initial_events: reader.read(map, "initial_events", initial_events).unwrap_or_default(),
        compress: reader.read(map, "compress", compression).unwrap_or_default(),
        ..RawStorage::default()
    };
    if let Some(state) = map.get("state").and_then(|node| reader.map("state", node, "a mapping of settings", &STATE_KEYS)) {
        raw.state_enabled = reader.read(&state, "enabled", values::boolean);
        raw.state_dir = reader.read(&state, "dir", values::folder_or_none).flatten();
        if !cfg!(feature = "state") && raw.state_enabled != Some(false) {
            reader.report(state.spot(), state.path(), lacks("state", "say `state: {enabled: false}`"));
        }
    }
    let rotate = map.get("rotate").and_then(|node| reader.map("rotate", node, "a mapping of settings", &ROTATE_KEYS));
    if let Some(map) = &rotate {
        raw.rotate = read_rotate(reader, map);
    }
    let retain = map.get("retain").and_then(|node| reader.map("retain", node, "a mapping of settings", &RETAIN_KEYS));
    if let Some(map) = &retain {
        raw.retain = read_retain(reader, map);
    }
    check_room(reader, &raw, rotate.as_ref(), retain.as_ref());
    raw
}

fn read_rotate(reader: &mut Reader, map: &Map<'_>) -> RotateConfig {
    let default = RotateConfig::default();
    let max_bytes = |node: &Node| values::integer(node, ROTATE_BYTES_MIN..=BYTES_MAX, "a number of bytes");
    RotateConfig {
        max_bytes: reader.read(map, "max_bytes", max_bytes).unwrap_or(default.max_bytes),
        max_age: reader.read(map, "max_age_sec", values::seconds).map_or(default.max_age, above_zero),
    }
}

fn read_retain(reader: &mut Reader, map: &Map<'_>) -> RetainConfig {
    let default = RetainConfig::default();
    let total_bytes = |node: &Node| values::integer(node, 0..=BYTES_MAX, "a number of bytes (0: without a limit)");
    RetainConfig {
        total_bytes: reader
            .read(map, "total_bytes", total_bytes)
            .map_or(default.total_bytes, |bytes| Some(bytes).filter(|bytes| *bytes > 0)),
        max_age: reader.read(map, "max_age_sec", values::seconds).map_or(default.max_age, above_zero),
    }
}

fn above_zero(limit: Duration) -> Option<Duration> {
    Some(limit).filter(|limit| !limit.is_zero())
}

/// With less room than for two files, the lines of the last hours would go before anyone can have read them.
fn check_room(reader: &mut Reader, raw: &RawStorage, rotate: Option<&Map<'_>>, retain: Option<&Map<'_>>) {
    let least = RETAINED_FILES_MIN * raw.rotate.max_bytes;
    let Some(total) = raw.retain.total_bytes.filter(|total| *total < least) else { return };
    let key_of = |map: Option<&Map<'_>>, key: &str| {
        map.and_then(|map| map.get(key).map(|node| (Spot::Node(node.number), map.path_of(key))))
    };
    if let Some((spot, path)) = key_of(retain, "total_bytes") {
        let message = format!("expected at least {least}, twice rotate.max_bytes, or 0 for no limit, found {total}");
        reader.report(spot, &path, message);
    } else if let Some((spot, path)) = key_of(rotate, "max_bytes") {
        let message = format!(
            "retain.total_bytes is {total} and must be at least twice this; set it to {least} or more, or to 0 for no limit"
        );
        reader.report(spot, &path, message);
    }
}

fn initial_events(node: &Node) -> Result<InitialEvents, String> {
    choice(node, [("emit", InitialEvents::Emit), ("skip", InitialEvents::Skip)], "emit or skip")
}

fn compression(node: &Node) -> Result<Compression, String> {
    let choices = [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let chosen = choice(node, choices, "none, gzip or zstd")?;
    let is_lacking = chosen != Compression::None && !cfg!(feature = "compress");
    if is_lacking { Err(lacks("compress", "say `compress: none`")) } else { Ok(chosen) }
}

fn choice<T: Copy, const N: usize>(node: &Node, choices: [(&str, T); N], what: &str) -> Result<T, String> {
    let text = values::text(node, what)?;
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let near = super::nearest(text, choices.iter().map(|(word, _)| *word));
    let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    Err(format!("expected {what}, found {}{hint}", found(node)))
}

#[cfg(test)]
#[cfg(feature = "daemon")]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    /// Checks settings that follow the two that must be there.
    #[track_caller]
    fn check_setting(yaml: &str, expected: &str) {
        let text = format!("output_dir: x\nresources: [{{gvr: v1/pods}}]\n{yaml}\n");
        let told = Config::from_yaml(&text, "c.yaml").map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(told, expected, "{yaml}");
    }

    #[test]
    fn zero_means_without_this_limit_and_an_empty_folder_the_default_one() {
        let yaml = "output_dir: a\nresources: [{gvr: v1/pods}]\nstate: {dir: ''}\nrotate: {max_age_sec: 0}\nretain: {total_bytes: 0, max_age_sec: 0}\ncompress: gzip\n";
        let overrides = Overrides { output_dir: Some("flag".into()), ..Overrides::default() };
        let config = Config::from_yaml_with(yaml, "c", &overrides).unwrap();
        assert_eq!((config.state.enabled, config.state.dir), (true, PathBuf::from("flag/state")));
        assert_eq!((config.rotate.max_bytes, config.rotate.max_age), (104_857_600, None));
        assert_eq!((config.retain.total_bytes, config.retain.max_age), (None, None));
        assert_eq!(config.compress, Compression::Gzip);
    }

    #[test]
    fn wrong_storage_is_told_with_its_cure() {
        check_setting("initial_events: no", "c.yaml:3: initial_events: expected emit or skip, found \"no\"");
        check_setting("initial_events: true", "c.yaml:3: initial_events: expected emit or skip, found true; put it in quotes");
        check_setting(
            "initial_events: Skip",
            "c.yaml:3: initial_events: expected emit or skip, found \"Skip\"; did you mean \"skip\"?",
        );
        check_setting(
            "compress: gzpi",
            "c.yaml:3: compress: expected none, gzip or zstd, found \"gzpi\"; did you mean \"gzip\"?",
        );
        check_setting("compress: lz4", "c.yaml:3: compress: expected none, gzip or zstd, found \"lz4\"");
        check_setting("state: false", "c.yaml:3: state: expected a mapping of settings, found false");
        check_setting(
            "state: {dir: ~/x}",
            "c.yaml:3: state.dir: expected a folder, found \"~/x\"; neither ~ nor variables are replaced here",
        );
        check_setting("state: {path: x}", "c.yaml:3: state.path: unknown key; allowed here: enabled, dir");
        let bytes = "expected a number of bytes from 65536 to 1125899906842624, found";
        check_setting("rotate: {max_bytes: 0}", &format!("c.yaml:3: rotate.max_bytes: {bytes} 0"));
        check_setting("rotate: {max_bytes: 100M}", &format!("c.yaml:3: rotate.max_bytes: {bytes} \"100M\""));
        check_setting("rotate: {max_age: 1}", "c.yaml:3: rotate.max_age: unknown key; allowed here: max_bytes, max_age_sec");
        check_setting(
            "retain: {total_bytes: -1}",
            "c.yaml:3: retain.total_bytes: expected a number of bytes (0: without a limit) from 0 to 1125899906842624, found -1",
        );
        check_setting("max_concurrent_lists: 0", "c.yaml:3: max_concurrent_lists: expected a number from 1 to 64, found 0");
        check_setting("max_concurrent_lists: 65", "c.yaml:3: max_concurrent_lists: expected a number from 1 to 64, found 65");
    }

    #[test]
    fn there_is_room_for_two_files_at_least() {
        check_setting(
            "retain: {total_bytes: 209715199}",
            "c.yaml:3: retain.total_bytes: expected at least 209715200, twice rotate.max_bytes, or 0 for no limit, found 209715199",
        );
        check_setting("retain: {total_bytes: 209715200}", "ok");
        check_setting(
            "rotate: {max_bytes: 1073741824}",
            "c.yaml:3: rotate.max_bytes: retain.total_bytes is 1073741824 and must be at least twice this; set it to 2147483648 or more, or to 0 for no limit",
        );
        check_setting("rotate: {max_bytes: 1073741824}\nretain: {total_bytes: 0}", "ok");
    }
}
