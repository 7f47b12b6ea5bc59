//! The log of all watches' changes: appended to at its end, cleaned at its begin.
//!
//! Takes a commit's changes, of each subject the last one; gives back what is known of each watch. Promises that the log is
//! not longer than what counts in it, and a little slack, and what [`CLEANED_PER_APPENDED`] needs time for.

use super::commit::WatchCommit;
use super::entry::{Entry, Kind, entries};
use super::index::Index;
use crate::api::{Identity, Keyer, Known, TextKey, ToldId, WatchId};
use redb::{ReadableTable, StorageError, Table, TableDefinition};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Rows of entries, numbered in the order they were written.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// What counts in the log, and how long it is.
#[derive(Debug, Default)]
pub(super) struct Log {
    index: Index,
    /// The number of the next row.
    next: u64,
    bytes: u64,
    /// How much may be out of date before the begin is cleaned, though it be more than what counts.
    slack_bytes: u64,
    /// What one commit ended of one watch; kept for its room.
    ended: HashSet<TextKey>,
}

/// The objects and the told events of one watch.
pub(super) type Inventory = (Known, Vec<ToldId>);

/// A row's size. redb gives a long value pages of its own, a power of two of 4 KiB together, whose own head takes some bytes.
const ROW_BYTES: usize = 16 * 1024 - 64;
/// Cleaning reads at most so many bytes for each that a commit appends, so that no commit takes long: with as much out of date
/// as counts, cleaning all of the log once frees half of it, for which 2 would do.
const CLEANED_PER_APPENDED: u64 = 4;
/// The text of the error for bytes that are no entries.
const NO_ENTRIES: &str = "a row of the log is none of faro's";

/// Appends entries to a table, many to a row.
struct Appender<'a, 'txn> {
    table: &'a mut Table<'txn, u64, &'static [u8]>,
    log: &'a mut Log,
    row: Vec<u8>,
    appended: u64,
}

impl Log {
    /// Reads the log that there is.
    pub(super) fn read(
        table: &impl ReadableTable<u64, &'static [u8]>,
        slack_bytes: u64,
        keyer: Keyer,
    ) -> Result<Self, StorageError> {
        let mut log = Self { slack_bytes, index: Index::new(keyer), ..Self::default() };
        for row in table.iter()? {
            let (number, bytes) = row?;
            log.bytes += bytes.value().len() as u64;
            log.next = number.value() + 1;
            for entry in entries(bytes.value()) {
                let entry = entry.ok_or_else(no_entries)?;
                let key = log.index.key(&entry);
                log.index.put(&entry, key, number.value());
            }
        }
        Ok(log)
    }

    /// By what objects are known.
    pub(super) fn keyer(&self) -> &Keyer {
        self.index.keyer()
    }

    /// What is known of `only`, or of every watch that anything is known of.
    pub(super) fn inventories(
        &self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        only: Option<WatchId>,
    ) -> Result<HashMap<WatchId, Inventory>, StorageError> {
        let mut watches: HashMap<WatchId, Inventory> = HashMap::new();
        for row in table.iter()? {
            let (number, bytes) = row?;
            for entry in entries(bytes.value()) {
                let entry = entry.ok_or_else(no_entries)?;
                if only.is_some_and(|watch| watch != entry.watch)
                    || !self.index.counts(&entry, self.index.key(&entry), number.value())
                {
                    continue;
                }
                let nothing = || (Known::new(self.index.keyer().clone()), Vec::new());
                let (known, told) = watches.entry(entry.watch).or_insert_with(nothing);
                match entry.kind {
                    Kind::Known => known.insert(&Identity::from_text(entry.text).ok_or_else(no_entries)?),
                    Kind::Told => told.push(ToldId::from_text(entry.text).ok_or_else(no_entries)?),
                    Kind::Gone | Kind::Replayed | Kind::ClearTold | Kind::Forget => {}
                }
            }
        }
        Ok(watches)
    }

    /// What is known of these objects of `watch`, in no order; of those of which nothing is, there is nothing.
    pub(super) fn identities(
        &self,
        table: &impl ReadableTable<u64, &'static [u8]>,
        watch: WatchId,
        keys: &[TextKey],
    ) -> Result<Vec<Identity>, StorageError> {
        let rows: BTreeSet<u64> = keys.iter().filter_map(|key| self.index.row_of_object(watch, *key)).collect();
        let wanted: HashSet<TextKey> = keys.iter().copied().collect();
        let mut found = Vec::new();
        for number in rows {
            let row = table.get(number)?.ok_or_else(no_entries)?;
            for entry in entries(row.value()) {
                let entry = entry.ok_or_else(no_entries)?;
                if entry.watch != watch || entry.kind != Kind::Known {
                    continue;
                }
                let key = self.index.key(&entry);
                if wanted.contains(&key) && self.index.counts(&entry, key, number) {
                    found.push(Identity::from_text(entry.text).ok_or_else(no_entries)?);
                }
            }
        }
        Ok(found)
    }

    /// Appends the changes of `watches`, then cleans the begin of the log in proportion.
    pub(super) fn append(
        &mut self,
        table: &mut Table<'_, u64, &'static [u8]>,
        watches: &[WatchCommit],
    ) -> Result<(), StorageError> {
        let first = self.next;
        let mut appender = Appender::new(table, self);
        let mut written = HashSet::new();
        for watch in watches {
            if !written.insert(watch.id) {
                // A subject comes once in a row, so that the row tells which entry counts.
                appender.end_row()?;
            }
            let first = appender.log.next;
            appender.changes(watch, first)?;
        }
        appender.end_row()?;
        let appended = appender.appended;
        self.clean(table, first, appended)
    }

    /// Appends that nothing is known of `watch`.
    pub(super) fn forget(&mut self, table: &mut Table<'_, u64, &'static [u8]>, watch: WatchId) -> Result<(), StorageError> {
        let first = self.next;
        let mut appender = Appender::new(table, self);
        appender.put(&Entry { watch, kind: Kind::Forget, text: "" }, TextKey::NONE)?;
        appender.end_row()?;
        let appended = appender.appended;
        self.clean(table, first, appended)
    }

    /// Moves what counts from the oldest rows to the end, while too much of the log is out of date; not past row `end`.
    fn clean(&mut self, table: &mut Table<'_, u64, &'static [u8]>, end: u64, appended: u64) -> Result<(), StorageError> {
        let mut appender = Appender::new(table, self);
        let mut budget = appended.saturating_mul(CLEANED_PER_APPENDED);
        let mut row = Vec::new();
        while budget > 0 && appender.log.is_too_long() {
            let Some(number) = appender.take_oldest(end, &mut row)? else { break };
            budget = budget.saturating_sub(row.len() as u64);
            for entry in entries(&row) {
                let entry = entry.ok_or_else(no_entries)?;
                let key = appender.log.index.key(&entry);
                if appender.log.index.counts(&entry, key, number) {
                    appender.put(&entry, key)?;
                }
            }
        }
        appender.end_row()
    }

    fn is_too_long(&self) -> bool {
        let live = self.index.live_bytes();
        self.bytes > live + live.max(self.slack_bytes)
    }
}

impl<'a, 'txn> Appender<'a, 'txn> {
    fn new(table: &'a mut Table<'txn, u64, &'static [u8]>, log: &'a mut Log) -> Self {
        Self { table, log, row: Vec::new(), appended: 0 }
    }

    /// Appends the last change of each subject.
    fn changes(&mut self, watch: &WatchCommit, first: u64) -> Result<(), StorageError> {
        if watch.clear_told {
            self.put(&Entry { watch: watch.id, kind: Kind::ClearTold, text: "" }, TextKey::NONE)?;
        }
        let mut ended = std::mem::take(&mut self.log.ended);
        ended.clear();
        for change in watch.changes.iter().rev() {
            let entry = Entry::of(watch.id, change);
            let key = self.log.index.key(&entry);
            let row = self.log.index.row(&entry, key);
            if row.is_some_and(|row| row >= first) || ended.contains(&key) {
                continue;
            }
            match entry.kind {
                Kind::Known | Kind::Told | Kind::ClearTold | Kind::Forget => self.put(&entry, key)?,
                Kind::Gone | Kind::Replayed => {
                    ended.insert(key);
                    if row.is_some() {
                        self.put(&entry, key)?;
                    }
                }
            }
        }
        self.log.ended = ended;
        Ok(())
    }

    fn put(&mut self, entry: &Entry<'_>, key: TextKey) -> Result<(), StorageError> {
        if !self.row.is_empty() && self.row.len() + entry.bytes() > ROW_BYTES {
            self.end_row()?;
        }
        entry.write(&mut self.row);
        self.log.index.put(entry, key, self.log.next);
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), StorageError> {
        if self.row.is_empty() {
            return Ok(());
        }
        self.table.insert(self.log.next, self.row.as_slice())?;
        self.log.next += 1;
        self.log.bytes += self.row.len() as u64;
        self.appended += self.row.len() as u64;
        self.row.clear();
        Ok(())
    }

    /// Takes the oldest row out, into `row`, and gives its number; `None` when it is `end` or a later one.
    fn take_oldest(&mut self, end: u64, row: &mut Vec<u8>) -> Result<Option<u64>, StorageError> {
        row.clear();
        let number = match self.table.first()? {
            Some((number, bytes)) if number.value() < end => {
                row.extend_from_slice(bytes.value());
                number.value()
            }
            Some(_) | None => return Ok(None),
        };
        self.table.remove(number)?;
        self.log.bytes -= row.len() as u64;
        Ok(Some(number))
    }
}

fn no_entries() -> StorageError {
    StorageError::Corrupted(NO_ENTRIES.to_owned())
}
