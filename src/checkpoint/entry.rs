//! The bytes of the log: entries one after the other, each a step of one watch.
//!
//! An entry is the watch (8 bytes), the kind (1), the text's length (4) and the text; numbers are little-endian.

use crate::api::{Change, WatchId};

/// One step, borrowed from a row or from a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) watch: WatchId,
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

/// What a step does. The numbers are in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The text is an identity.
    Known = 1,
    /// The text is an identity's key.
    Gone = 2,
    /// The text is a told id.
    Told = 3,
    /// The text is a told id.
    Replayed = 4,
    /// No event of this watch counts as told from here on. No text.
    ClearTold = 5,
    /// Nothing is known of this watch from here on. No text.
    Forget = 6,
}

/// What stands before the text.
const HEAD_BYTES: usize = 13;

impl<'a> Entry<'a> {
    pub(super) fn of(watch: WatchId, change: &'a Change) -> Self {
        let (kind, text) = match change {
            Change::Known(identity) => (Kind::Known, identity.as_text()),
            Change::Gone(key) => (Kind::Gone, &**key),
            Change::Told(id) => (Kind::Told, id.as_text()),
            Change::Replayed(id) => (Kind::Replayed, id.as_text()),
        };
        Self { watch, kind, text }
    }

    /// What the entry is about: entries of one watch with the same subject replace each other.
    pub(super) fn subject(&self) -> &'a str {
        match self.kind {
            Kind::Known => key_of(self.text),
            Kind::Gone | Kind::Told | Kind::Replayed | Kind::ClearTold | Kind::Forget => self.text,
        }
    }

    /// How many bytes [`write`](Self::write) adds.
    pub(super) fn bytes(&self) -> usize {
        HEAD_BYTES + self.text.len()
    }

    /// Appends the entry to `row`.
    pub(super) fn write(&self, row: &mut Vec<u8>) {
        let length = u32::try_from(self.text.len()).expect("a line is shorter than 4 GiB, and so is what is kept of it");
        row.extend_from_slice(&self.watch.to_bits().to_le_bytes());
        row.push(self.kind as u8);
        row.extend_from_slice(&length.to_le_bytes());
        row.extend_from_slice(self.text.as_bytes());
    }
}

/// Reads a row; `None` in the place of the first entry that is none, and nothing after it.
pub(super) fn entries(mut row: &[u8]) -> impl Iterator<Item = Option<Entry<'_>>> {
    std::iter::from_fn(move || {
        if row.is_empty() {
            return None;
        }
        let Some((entry, rest)) = split_first(row) else {
            row = &[];
            return Some(None);
        };
        row = rest;
        Some(Some(entry))
    })
}

fn split_first(row: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (watch, rest) = row.split_first_chunk()?;
    let (&kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let watch = WatchId::from_bits(u64::from_le_bytes(*watch));
    Some((Entry { watch, kind: kind_of(kind)?, text: std::str::from_utf8(text).ok()? }, rest))
}

fn kind_of(number: u8) -> Option<Kind> {
    [Kind::Known, Kind::Gone, Kind::Told, Kind::Replayed, Kind::ClearTold, Kind::Forget]
        .into_iter()
        .find(|kind| *kind as u8 == number)
}

/// The key of an identity's text: its first two fields.
fn key_of(text: &str) -> &str {
    let end = memchr::memchr_iter(0, text.as_bytes()).nth(1);
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Identity;

    fn all() -> Vec<Entry<'static>> {
        let watch = WatchId::from_bits(7);
        [
            (Kind::Known, "n\0a\0u\x007\0\0"),
            (Kind::Gone, "n\0a"),
            (Kind::Told, "Pu\x007"),
            (Kind::Replayed, "Pu\x007"),
            (Kind::ClearTold, ""),
            (Kind::Forget, ""),
        ]
        .map(|(kind, text)| Entry { watch, kind, text })
        .to_vec()
    }

    #[test]
    fn a_row_reads_back_as_written_and_one_cut_short_says_so() {
        let mut row = Vec::new();
        let mut ends = vec![0];
        for entry in all() {
            entry.write(&mut row);
            ends.push(ends.last().unwrap() + entry.bytes());
        }
        assert_eq!(entries(&row).map(Option::unwrap).collect::<Vec<_>>(), all());
        for cut in 0..row.len() {
            let read: Vec<_> = entries(&row[..cut]).collect();
            assert_eq!(read.contains(&None), !ends.contains(&cut), "cut at {cut}");
        }
        row[8] = 9;
        assert_eq!(entries(&row).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn an_identity_and_its_key_are_about_the_same() {
        let [known, gone, ..] = all()[..] else { unreachable!("there are six") };
        assert_eq!(known.subject(), gone.subject());
        assert_eq!(Identity::from_text(known.text).unwrap().key(), gone.text);
    }
}
