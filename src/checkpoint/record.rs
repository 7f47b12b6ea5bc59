//! The records of the journal as bytes, many to a frame.
//!
//! A record is its kind (1 byte), the length of the rest (4) and the rest; numbers are little-endian. Texts inside a record are
//! their length (4) and the text.

use super::commit::{Handed, Record};
use crate::api::{Change, Identity, ToldId, WatchId};

/// A record in its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded<'a> {
    kind: Kind,
    rest: &'a [u8],
    /// All of it, for copying.
    pub(super) bytes: &'a [u8],
}

/// The records of a payload; `None` in the place of the first that is none, and nothing after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'a>(pub(super) &'a [u8]);

/// The numbers are in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Known = 1,
    Gone = 2,
    Accepted = 3,
    Receivers = 4,
}

/// Kind and length.
const HEAD_BYTES: usize = 5;

pub(super) fn write_emitted(out: &mut Vec<u8>, handed: Handed<'_>) {
    let Handed { watch, sequence, told, change, receivers, flags, metadata_hash } = handed;
    let (kind, text) = match change {
        Change::Known(identity) => (Kind::Known, identity.as_text()),
        Change::Gone(key) => (Kind::Gone, &**key),
        Change::Told(_) | Change::Replayed(_) => unreachable!("an event makes an object known or gone"),
    };
    write(out, kind, |out| {
        write_numbers(out, watch, sequence);
        out.extend_from_slice(&receivers.to_le_bytes());
        out.push(flags);
        write_text(out, told);
        write_text(out, text);
        metadata_hash.into_iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    });
}

pub(super) fn write_accepted(out: &mut Vec<u8>, watch: WatchId, sequence: u64, receiver: u8) {
    write(out, Kind::Accepted, |out| {
        write_numbers(out, watch, sequence);
        out.push(receiver);
    });
}

pub(super) fn write_receivers<N: AsRef<str>>(out: &mut Vec<u8>, names: impl IntoIterator<Item = N>) {
    write(out, Kind::Receivers, |out| names.into_iter().for_each(|name| write_text(out, name.as_ref())));
}

fn write(out: &mut Vec<u8>, kind: Kind, rest: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.push(kind as u8);
    out.extend_from_slice(&[0; HEAD_BYTES - 1]);
    rest(out);
    let length = length_of(out.len() - begin - HEAD_BYTES);
    out[begin + 1..begin + HEAD_BYTES].copy_from_slice(&length);
}

fn write_numbers(out: &mut Vec<u8>, watch: WatchId, sequence: u64) {
    out.extend_from_slice(&watch.to_bits().to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&length_of(text.len()));
    out.extend_from_slice(text.as_bytes());
}

fn length_of(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a line is shorter than 4 GiB, and so is what is kept of it").to_le_bytes()
}

impl<'a> Encoded<'a> {
    /// Of which event it speaks; `None` where of none.
    pub(super) fn event(&self) -> Option<(WatchId, u64)> {
        match self.kind {
            Kind::Known | Kind::Gone | Kind::Accepted => Fields(self.rest).numbers(),
            Kind::Receivers => None,
        }
    }

    /// Reads all of it; `None` when it is no record.
    pub(super) fn decode(&self) -> Option<Record> {
        let mut fields = Fields(self.rest);
        let record = match self.kind {
            Kind::Known | Kind::Gone => {
                let (watch, sequence) = fields.numbers()?;
                let (receivers, [flags]) = (fields.number()?, fields.array()?);
                let (told, text) = (ToldId::from_text(fields.text()?)?, fields.text()?);
                let is_known = self.kind == Kind::Known;
                let change = if is_known { Change::Known(Identity::from_text(text)?) } else { Change::Gone(text.into()) };
                let metadata_hash = if fields.0.is_empty() { None } else { Some(fields.number()?) };
                Record::Emitted { watch, sequence, told, change, receivers, flags, metadata_hash }
            }
            Kind::Accepted => {
                let (watch, sequence) = fields.numbers()?;
                let [receiver] = fields.array()?;
                Record::Accepted { watch, sequence, receiver }
            }
            Kind::Receivers => {
                let mut names = Vec::new();
                while !fields.0.is_empty() {
                    names.push(fields.text()?.to_owned());
                }
                Record::Receivers(names)
            }
        };
        fields.0.is_empty().then_some(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Encoded<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let first = split_first(self.0);
        self.0 = first.map_or(&[], |encoded| &self.0[encoded.bytes.len()..]);
        Some(first)
    }
}

fn split_first(bytes: &[u8]) -> Option<Encoded<'_>> {
    let mut fields = Fields(bytes);
    let [number] = fields.array()?;
    let kind = [Kind::Known, Kind::Gone, Kind::Accepted, Kind::Receivers].into_iter().find(|kind| *kind as u8 == number)?;
    let rest = fields.bytes()?;
    Some(Encoded { kind, rest, bytes: &bytes[..HEAD_BYTES + rest.len()] })
}

/// What is left of a record's fields: numbers of eight bytes, texts with their length before them.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn numbers(&mut self) -> Option<(WatchId, u64)> {
        Some((WatchId::from_bits(self.number()?), self.number()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}
