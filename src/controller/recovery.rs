//! What earlier runs have handed out beyond their checkpoints, and who has yet to accept it: read from the journal, and from the lines
//! of the files, which say what the export has.
//!
//! Takes the journal's records in order, then the lines behind the position; gives the [`Emission`]s of each watch, in order.
//! A line proves nothing about a handler, and a handler's acceptance nothing about the files.

use crate::api::WatchId;
use crate::checkpoint::{Handed, Record, StoredWatch};
use crate::dispatch::{Receivers, emission_of};
use crate::event::Emission;
use crate::sink::ToldLine;
use std::collections::HashMap;

/// The emissions of all watches.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The subscriptions of this run, in the order of their bits.
    names: Vec<String>,
    has_export: bool,
    /// The subscriptions of the run before that this one has not.
    gone: Vec<String>,
    /// The subscription of this run for each bit of the records that follow.
    table: Vec<Option<Receivers>>,
    watches: HashMap<WatchId, Emissions>,
}

#[derive(Debug, Default)]
struct Emissions {
    all: Vec<Emission>,
    /// How many of them come before the last line that was found among them.
    written: usize,
}

impl Recovery {
    /// For a run with these subscriptions. `has_export`: lines are written.
    pub(super) fn new(names: Vec<String>, has_export: bool) -> Self {
        Self { names, has_export, ..Self::default() }
    }

    /// Takes the next record of the journal.
    pub(super) fn record(&mut self, record: Record) {
        match record {
            Record::Receivers(names) => {
                self.gone = names.iter().filter(|name| !self.names.contains(name)).cloned().collect();
                let number = |name: &String| self.names.iter().position(|known| known == name);
                self.table = names.iter().map(|name| number(name).map(Receivers::of)).collect();
            }
            Record::Emitted { watch, sequence, told, change, receivers, flags, metadata_hash } => {
                let lacking = self.present(Receivers::from_bits(receivers));
                let (told, change) = (told.as_text(), &change);
                let handed = Handed { watch, sequence, told, change, receivers, flags, metadata_hash };
                let Some(emission) = emission_of(handed, lacking) else { return };
                let all = &mut self.watches.entry(watch).or_default().all;
                // A state that was put back counts from where it was.
                all.truncate(all.partition_point(|before| before.sequence < sequence));
                all.push(emission);
            }
            Record::Accepted { watch, sequence, receiver } => {
                let Some(receiver) = Receivers::numbered(receiver).map(|receiver| self.present(receiver)) else { return };
                let Some(Emissions { all, .. }) = self.watches.get_mut(&watch) else { return };
                if let Ok(index) = all.binary_search_by_key(&sequence, |emission| emission.sequence) {
                    accept(&mut all[index], receiver);
                }
            }
        }
    }

    /// Those of an earlier run's receivers that this one has, too.
    fn present(&self, receivers: Receivers) -> Receivers {
        let table = (0_u8..).zip(&self.table).filter_map(|(bit, now)| Some((Receivers::numbered(bit)?, (*now)?)));
        let export = self.has_export.then_some((Receivers::EXPORT, Receivers::EXPORT));
        let present = table.chain(export).filter(|(before, _)| receivers.contains(*before));
        present.fold(Receivers::NONE, |all, (_, now)| all.and(now))
    }

    /// Forgets what the checkpoints of these watches hold.
    pub(super) fn leave_beyond(&mut self, stored: &[StoredWatch]) {
        for watch in stored {
            if let Some(Emissions { all, .. }) = self.watches.get_mut(&watch.id) {
                all.retain(|emission| emission.sequence >= watch.sequence);
            }
        }
    }

    /// Takes a line of the files: of an event of the journal it says that the export has it. Returns whether it is of one.
    pub(super) fn line(&mut self, line: &ToldLine) -> bool {
        let everyone = (0..self.names.len()).map(Receivers::of).fold(Receivers::NONE, Receivers::and);
        let Some(Emissions { all, written }) = self.watches.get_mut(&line.watch) else { return false };
        let (key, version, uid) = (line.identity.key(), line.identity.version(), line.identity.uid_json());
        let is_this = |emission: &Emission| {
            let identity = &emission.identity;
            emission.event_type == line.event_type
                && (identity.key(), identity.version(), identity.uid_json()) == (key, version, uid)
        };
        if let Some(index) = all[*written..].iter().position(is_this) {
            accept(&mut all[*written + index], Receivers::EXPORT);
            *written += index + 1;
            return true;
        }
        if *written == 0 {
            return false;
        }
        // A loss of power took the journal's end, and with it who has accepted the event: it comes to everyone again.
        let sequence = all.last().map_or(0, |last| last.sequence + 1);
        let (event_type, identity, is_listed) = (line.event_type, line.identity.clone(), line.initial || line.inferred);
        let (lacking, metadata_hash) = (everyone.to_bits(), None);
        all.push(Emission { sequence, event_type, identity, is_listed, lacking, metadata_hash });
        *written = all.len();
        true
    }

    /// Says which subscriptions are gone, and with them what they have not accepted.
    pub(super) fn warn_of_gone(&self) {
        if !self.gone.is_empty() && !self.watches.is_empty() {
            log::warn!(
                "subscriptions of the run before are not registered any more, and get nothing of what they had not accepted: {}; \
                 `Subscription::name` keeps one known whatever else of it changes",
                self.gone.join(", ")
            );
        }
    }

    /// What was found, for each watch.
    pub(super) fn into_emissions(self) -> HashMap<WatchId, Vec<Emission>> {
        let found = self.watches.into_iter().filter(|(_, emissions)| !emissions.all.is_empty());
        found.map(|(watch, emissions)| (watch, emissions.all)).collect()
    }
}

fn accept(emission: &mut Emission, receiver: Receivers) {
    emission.lacking = Receivers::from_bits(emission.lacking).without(receiver).to_bits();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Change, Identity, ToldId};
    use crate::event::EventType;

    fn watch() -> WatchId {
        WatchId::from_bits(7)
    }

    fn identity(name: &str, version: u64) -> Identity {
        Identity::from_text(&format!("shop\0{name}\0u-{name}\0{version}\0\0")).unwrap()
    }

    fn emitted(sequence: u64, name: &str, version: u64, receivers: u64) -> Record {
        let identity = identity(name, version);
        let told = ToldId::new(identity.uid_json(), identity.version(), false);
        Record::Emitted {
            watch: watch(),
            sequence,
            told,
            change: Change::Known(identity),
            receivers,
            flags: 0,
            metadata_hash: Some(sequence),
        }
    }

    fn accepted(sequence: u64, receiver: u8) -> Record {
        Record::Accepted { watch: watch(), sequence, receiver }
    }

    fn line(name: &str, version: u64) -> ToldLine {
        let (event_type, identity) = (EventType::Updated, identity(name, version));
        ToldLine { watch: watch(), event_type, initial: false, inferred: false, after_drop: false, identity }
    }

    const EXPORT: u64 = 1 << 63;

    /// `name@version lacking`, of all.
    fn found(recovery: Recovery) -> Vec<String> {
        let all = recovery.into_emissions().remove(&watch()).unwrap_or_default();
        let name = |emission: &Emission| emission.identity.key().rsplit('\0').next().unwrap().to_owned();
        all.iter().map(|emission| format!("{}@{} {:#x}", name(emission), emission.identity.version(), emission.lacking)).collect()
    }

    fn reading(records: Vec<Record>, names: &[&str]) -> Recovery {
        let mut recovery = Recovery::new(names.iter().map(|name| (*name).to_owned()).collect(), true);
        records.into_iter().for_each(|record| recovery.record(record));
        recovery
    }

    #[test]
    fn each_receiver_is_known_by_its_name_and_accepts_for_itself() {
        let names = Record::Receivers(vec!["old".to_owned(), "audit".to_owned(), "mail".to_owned()]);
        let records = vec![
            names,
            emitted(4, "a", 1, 0b111 | EXPORT),
            emitted(6, "b", 2, 0b110 | EXPORT),
            accepted(4, 0),
            accepted(4, 2),
            accepted(6, 1),
            accepted(5, 1),
        ];
        // Another order, one that is gone, and a new one, for whom nothing of before is.
        let recovery = reading(records, &["mail", "new", "audit"]);
        assert_eq!(found(recovery), ["a@1 0x8000000000000004", "b@2 0x8000000000000001"]);
    }

    #[test]
    fn an_event_keeps_the_hash_of_its_metadata() {
        let emissions = reading(vec![emitted(4, "a", 1, EXPORT)], &[]).into_emissions().remove(&watch()).unwrap();
        assert_eq!(emissions[0].metadata_hash, Some(4));
    }

    #[test]
    fn a_line_says_what_the_export_has_and_nothing_about_handlers() {
        let records = vec![
            Record::Receivers(vec!["audit".to_owned()]),
            emitted(4, "a", 1, 1 | EXPORT),
            emitted(5, "a", 2, 1 | EXPORT),
            emitted(6, "b", 3, 1 | EXPORT),
            accepted(5, 0),
        ];
        let mut recovery = reading(records, &["audit"]);
        assert!(!recovery.line(&line("older", 1)), "it is in the checkpoint");
        assert!(recovery.line(&line("a", 1)) && recovery.line(&line("a", 2)));
        assert_eq!(found(recovery), ["a@1 0x1", "a@2 0x0", "b@3 0x8000000000000001"]);
    }

    #[test]
    fn lines_that_outlived_the_journal_come_to_every_handler_again() {
        let records = vec![Record::Receivers(vec!["audit".to_owned()]), emitted(4, "a", 1, 1 | EXPORT), accepted(4, 0)];
        let mut recovery = reading(records, &["audit", "mail"]);
        assert!(recovery.line(&line("a", 1)) && recovery.line(&line("a", 2)));
        assert_eq!(found(recovery), ["a@1 0x0", "a@2 0x3"]);
    }

    #[test]
    fn what_a_checkpoint_holds_is_left_out() {
        let mut recovery = reading(vec![emitted(4, "a", 1, EXPORT), emitted(5, "b", 2, EXPORT)], &[]);
        let seen = std::time::SystemTime::now();
        let (target, version, anchor) = ("v1/pods".to_owned(), None, None);
        let stored = StoredWatch { id: watch(), target, version, listing: false, anchor, history: 1, sequence: 5, seen };
        recovery.leave_beyond(&[stored]);
        assert_eq!(found(recovery), ["b@2 0x8000000000000000"]);
    }
}
