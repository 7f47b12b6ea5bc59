//! The short rows of the state: whose it is, its format, the place in the files, and each watch without its inventory.
//!
//! Keys and values are texts; fields of a value are ended by a character that none of them contains, the last one by nothing.

use super::commit::{ClusterIdentity, Commit, StoredWatch, WatchCommit};
use crate::api::{ANCHOR_TEXTS, Anchor, FilePosition, ResourceVersion, WatchId};
use redb::{ReadableTable, StorageError, Table, TableDefinition};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is not in the log.
pub(super) const STATE: TableDefinition<'_, &str, &str> = TableDefinition::new("state");
/// The format that this version reads and writes.
pub(super) const FORMAT: &str = "2";

const FORMAT_KEY: &str = "format";
const PROGRAM_KEY: &str = "program";
const PROGRAM: &str = "faro";
const CLUSTER_KEY: &str = "cluster";
const POSITION_KEY: &str = "position";
/// The first key that is not of a watch: the character after `/`.
const WATCHES_END: &str = "watch0";
const WATCHES_BEGIN: &str = "watch/";
/// No cluster, file name, version or target contains it.
const END: char = '\0';
const END_TEXT: &str = "\0";
/// When it was seen, whether it lists, its version, its history, its sequence, its anchor, and its target.
const WATCH_FIELDS: usize = 6 + ANCHOR_TEXTS;

/// What the file says it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Ours, and readable.
    Known,
    /// Ours, of another version.
    Other(String),
    /// Another program's.
    Foreign,
}

type Rows<'txn> = Table<'txn, &'static str, &'static str>;

/// Begins a state: the two rows that say what it is.
pub(super) fn begin(rows: &mut Rows<'_>) -> Result<(), StorageError> {
    rows.insert(PROGRAM_KEY, PROGRAM)?;
    rows.insert(FORMAT_KEY, FORMAT)?;
    Ok(())
}

/// What the file says it is.
pub(super) fn format(rows: &impl ReadableTable<&'static str, &'static str>) -> Result<Format, StorageError> {
    if rows.get(PROGRAM_KEY)?.is_none_or(|program| program.value() != PROGRAM) {
        return Ok(Format::Foreign);
    }
    Ok(match rows.get(FORMAT_KEY)? {
        Some(format) if format.value() == FORMAT => Format::Known,
        Some(format) => Format::Other(format.value().to_owned()),
        None => Format::Foreign,
    })
}

/// Whether a commit ever wrote anything.
pub(super) fn is_new(rows: &impl ReadableTable<&'static str, &'static str>) -> Result<bool, StorageError> {
    Ok(rows.get(CLUSTER_KEY)?.is_none() && rows.get(POSITION_KEY)?.is_none() && watches(rows)?.is_empty())
}

/// Writes all of `commit` but its changes.
pub(super) fn write(rows: &mut Rows<'_>, commit: &Commit, now: SystemTime) -> Result<(), StorageError> {
    if let Some(cluster) = &commit.cluster {
        rows.insert(CLUSTER_KEY, format!("{}{END}{}", cluster.id, cluster.server).as_str())?;
    }
    if let Some(position) = &commit.position {
        rows.insert(POSITION_KEY, format!("{}{END}{}", position.offset, position.file).as_str())?;
    }
    for watch in &commit.watches {
        rows.insert(key_of(watch.id).as_str(), text_of(watch, now).as_str())?;
    }
    Ok(())
}

/// Removes the row of a watch.
pub(super) fn remove(rows: &mut Rows<'_>, watch: WatchId) -> Result<(), StorageError> {
    rows.remove(key_of(watch).as_str())?;
    Ok(())
}

/// Whose state it is.
pub(super) fn cluster(rows: &impl ReadableTable<&'static str, &'static str>) -> Result<Option<ClusterIdentity>, StorageError> {
    let Some(row) = rows.get(CLUSTER_KEY)? else { return Ok(None) };
    let (id, server) = row.value().split_once(END).ok_or_else(|| wrong(CLUSTER_KEY))?;
    Ok(Some(ClusterIdentity { id: id.to_owned(), server: server.to_owned() }))
}

/// The place in the events files.
pub(super) fn position(rows: &impl ReadableTable<&'static str, &'static str>) -> Result<Option<FilePosition>, StorageError> {
    let Some(row) = rows.get(POSITION_KEY)? else { return Ok(None) };
    let position = row
        .value()
        .split_once(END)
        .and_then(|(offset, file)| Some(FilePosition { file: file.to_owned(), offset: offset.parse().ok()? }));
    position.map(Some).ok_or_else(|| wrong(POSITION_KEY))
}

/// Every watch, in the order of the ids.
pub(super) fn watches(rows: &impl ReadableTable<&'static str, &'static str>) -> Result<Vec<StoredWatch>, StorageError> {
    rows.range(WATCHES_BEGIN..WATCHES_END)?
        .map(|row| {
            let (key, text) = row?;
            watch(key.value(), text.value()).ok_or_else(|| wrong(key.value()))
        })
        .collect()
}

fn key_of(watch: WatchId) -> String {
    format!("{WATCHES_BEGIN}{watch}")
}

fn text_of(watch: &WatchCommit, now: SystemTime) -> String {
    let seen_secs = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let version = watch.version.as_ref().map_or("", ResourceVersion::as_str);
    let listing = if watch.listing { "listing" } else { "" };
    let [anchor, hash, kind, before] = watch.anchor.as_ref().map(Anchor::to_texts).unwrap_or_default();
    let (history, sequence) = (watch.history.to_string(), watch.sequence.to_string());
    let target = &watch.target;
    [&seen_secs.to_string(), listing, version, &history, &sequence, &anchor, &hash, &kind, &before, target].join(END_TEXT)
}

fn watch(key: &str, text: &str) -> Option<StoredWatch> {
    let mut fields = text.splitn(WATCH_FIELDS, END);
    let seen = fields.next()?.parse().ok()?;
    let listing = match fields.next()? {
        "listing" => true,
        "" => false,
        _ => return None,
    };
    let version = ResourceVersion::new(fields.next()?);
    let history = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let anchor: [&str; ANCHOR_TEXTS] = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    Some(StoredWatch {
        id: WatchId::from_text(key.strip_prefix(WATCHES_BEGIN)?)?,
        seen: UNIX_EPOCH.checked_add(Duration::from_secs(seen))?,
        listing,
        version,
        history,
        sequence,
        anchor: if anchor[0].is_empty() { None } else { Some(Anchor::from_texts(anchor)?) },
        target: fields.next()?.to_owned(),
    })
}

fn wrong(key: &str) -> StorageError {
    StorageError::Corrupted(format!("the row {key:?} is none of faro's"))
}
