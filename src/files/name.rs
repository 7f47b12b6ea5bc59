//! The names of files: one for each moment, sorting by age as plain text.

use crate::config::Compression;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;

/// What a file holds, which is how its name begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Events: `events-….json`.
    Events,
    /// Log lines: `faro-….log`.
    Log,
}

/// The name of one file: `events-20251110-143302.json`, and `events-20251110-143302_001.json` for the next of the same
/// second, with `.gz` or `.zst` once it is compressed.
///
/// The older of two is the lesser, as texts and as values: time is UTC, and [`next`](Self::next) never goes back. No file is of the
/// year 9000 or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    kind: FileKind,
    second: DateTime,
    counter: u16,
    compression: Compression,
}

/// A year that no clock shows, however wrong it is: those of machines count to 2099, or 32 bits of seconds to 2106. A file named so was
/// put there, and is none of ours: followed by others, it could leave no name for them.
const YEAR_END: i16 = 9000;

/// The last counter of three digits; what comes next counts as one of the next second.
const COUNTER_MAX: u16 = 999;

/// How a name ends while its file is not complete.
const TEMPORARY: &str = ".tmp";

impl FileKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Events => "events-",
            Self::Log => "faro-",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Events => ".json",
            Self::Log => ".log",
        }
    }
}

impl FileName {
    /// The name of a file that begins `now`: after `newest`, also in the same second or when the clock was set back.
    /// `None` at the end of the year 8999.
    pub fn next(kind: FileKind, newest: Option<Self>, now: Timestamp) -> Option<Self> {
        Self::after(kind, newest, now).filter(|next| next.second.year() < YEAR_END)
    }

    fn after(kind: FileKind, newest: Option<Self>, now: Timestamp) -> Option<Self> {
        let second = TimeZone::UTC.to_datetime(now).with().subsec_nanosecond(0).build().ok()?;
        let first = Self { kind, second, counter: 0, compression: Compression::None };
        match newest {
            Some(newest) if newest.second >= second && newest.counter < COUNTER_MAX => {
                Some(Self { second: newest.second, counter: newest.counter + 1, ..first })
            }
            Some(newest) if newest.second >= second => {
                Some(Self { second: newest.second.checked_add(jiff::Span::new().seconds(1)).ok()?, ..first })
            }
            Some(_) | None => Some(first),
        }
    }

    /// Reads a name; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, compression) = match (text.strip_suffix(".gz"), text.strip_suffix(".zst")) {
            (Some(plain), _) => (plain, Compression::Gzip),
            (None, Some(plain)) => (plain, Compression::Zstd),
            (None, None) => (text, Compression::None),
        };
        [FileKind::Events, FileKind::Log].into_iter().find_map(|kind| {
            let stem = text.strip_prefix(kind.prefix())?.strip_suffix(kind.extension())?;
            let (stamp, counter) = match stem.split_once('_') {
                Some((stamp, counter)) => (stamp, u16::try_from(digits(counter, 3)?).ok().filter(|counter| *counter > 0)?),
                None => (stem, 0),
            };
            Some(Self { kind, second: second(stamp)?, counter, compression })
        })
    }

    /// Reads the name of a file that was not completed, as a killed run leaves it.
    pub fn parse_temporary(text: &str) -> Option<Self> {
        Self::parse(text.strip_suffix(TEMPORARY)?)
    }

    /// What the file is called until it is complete.
    pub fn temporary(&self) -> String {
        format!("{self}{TEMPORARY}")
    }

    /// What the file holds.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// How the file is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The same lines, compressed in this way.
    pub fn compressed(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Whether every line of this file is older than those of `other`.
    pub fn is_before(&self, other: &Self) -> bool {
        (self.second, self.counter) < (other.second, other.counter)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.prefix())?;
        let (date, time) = (self.second.date(), self.second.time());
        write!(f, "{:04}{:02}{:02}-", date.year(), date.month(), date.day())?;
        write!(f, "{:02}{:02}{:02}", time.hour(), time.minute(), time.second())?;
        if self.counter > 0 {
            // In ASCII the dot before the extension is less than this, so that the counted one sorts after.
            write!(f, "_{:03}", self.counter)?;
        }
        f.write_str(self.kind.extension())?;
        f.write_str(match self.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        })
    }
}

/// `20251110-143302`.
fn second(stamp: &str) -> Option<DateTime> {
    let (date, time) = stamp.split_once('-')?;
    let (date, time) = (digits(date, 8)?, digits(time, 6)?);
    let two = |number: u32| i8::try_from(number % 100).ok();
    let year = i16::try_from(date / 10_000).ok().filter(|year| *year < YEAR_END)?;
    DateTime::new(year, two(date / 100)?, two(date)?, two(time / 10_000)?, two(time / 100)?, two(time)?, 0).ok()
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(newest: &str, now: &str) -> String {
        FileName::next(FileKind::Events, FileName::parse(newest), now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_new_name_sorts_after_the_newest_whatever_the_clock_says() {
        for (newest, expected) in [
            ("", "events-20251110-143302.json"),
            ("events-20251110-143301_007.json.gz", "events-20251110-143302.json"),
            ("events-20251110-143302.json", "events-20251110-143302_001.json"),
            ("events-20251110-143302_009.json.zst", "events-20251110-143302_010.json"),
            ("events-29990101-000000.json", "events-29990101-000000_001.json"),
            ("events-29991231-235959_999.json", "events-30000101-000000.json"),
        ] {
            let name = next(newest, "2025-11-10T14:33:02.9Z");
            assert_eq!(name, expected);
            assert!(name.as_str() > newest, "{name} sorts after {newest}");
            assert!(FileName::parse(newest).is_none_or(|newest| newest.is_before(&FileName::parse(&name).unwrap())));
        }
        let last = FileName::parse("faro-89991231-235959_999.log");
        assert!(last.is_some() && FileName::next(FileKind::Log, last, "2025-11-10T14:33:02Z".parse().unwrap()).is_none());
        assert_eq!(FileName::next(FileKind::Log, None, Timestamp::MAX), None);
    }

    #[test]
    fn names_read_back_as_they_were_and_others_are_not_ours() {
        for name in [
            "events-20251110-143302.json",
            "events-20251110-143302_001.json",
            "events-20251110-143302.json.gz",
            "events-20251110-143302_999.json.zst",
            "faro-20251110-143302.log",
            "faro-20251110-143302_012.log.gz",
        ] {
            assert_eq!(FileName::parse(name).unwrap().to_string(), name);
            let temporary = FileName::parse(name).unwrap().temporary();
            assert_eq!(FileName::parse_temporary(&temporary), FileName::parse(name));
            assert_eq!(FileName::parse(&temporary), None);
        }
        for other in [
            "",
            "events.json",
            "events-20251110-143302.log",
            "events-20251110-143302",
            "events-20251310-143302.json",
            "events-20251110-243302.json",
            "events-2025111-143302.json",
            "events-20251110-143302_000.json",
            "events-20251110-143302_1.json",
            "events-20251110-143302-001.json",
            "events-20251110-143302.json.bz2",
            "my-events-20251110-143302.json",
            "events-+0251110-143302.json",
            "events-90000101-000000.json",
            "events-99991231-235959_999.json.gz",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
