//! What is not written as it is: the annotations that hold copies of objects, and long ones.

use super::error::lacks;
use super::read::{Map, Reader};
use super::values;
use super::yaml::Node;
use crate::change::ANNOTATION_VALUE_BYTES_MAX;
use std::path::PathBuf;

/// Which values of annotations are written as keyed digests, and where the key is. Every value of one of `v1/secrets` is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedactConfig {
    /// Those of the well-known annotations that hold a copy of the object (`redact_last_applied`). Defaults to true.
    pub last_applied: bool,
    /// Those longer than this (`annotation_value_max_bytes`). Defaults to 16384.
    pub annotation_value_max_bytes: usize,
    /// The file with the key (`redact_key_file`). Defaults to `None`: `redact.key` in the state's folder, which is made, or a key of
    /// this process where there is no state.
    pub key_file: Option<PathBuf>,
}

/// Kubernetes takes 256 KiB of annotations of one object; this is above whatever comes.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

impl Default for RedactConfig {
    fn default() -> Self {
        Self { last_applied: true, annotation_value_max_bytes: ANNOTATION_VALUE_BYTES_MAX, key_file: None }
    }
}

pub(super) const REDACT_KEYS: [&str; 3] = ["redact_last_applied", "annotation_value_max_bytes", "redact_key_file"];

pub(super) fn read(reader: &mut Reader, map: &Map<'_>) -> RedactConfig {
    let default = RedactConfig::default();
    if !cfg!(any(feature = "export", feature = "state")) {
        for key in REDACT_KEYS.iter().filter(|key| map.get(key).is_some()) {
            reader.report(map.spot(), key, lacks("export", "leave it out: nothing is written"));
        }
        return default;
    }
    RedactConfig {
        last_applied: reader.read(map, "redact_last_applied", values::boolean).unwrap_or(default.last_applied),
        annotation_value_max_bytes: reader
            .read(map, "annotation_value_max_bytes", value_bytes)
            .unwrap_or(default.annotation_value_max_bytes),
        key_file: reader.read(map, "redact_key_file", values::file),
    }
}

fn value_bytes(node: &Node) -> Result<usize, String> {
    let number = values::integer(node, 0..=VALUE_BYTES_MAX, "a number of bytes")?;
    Ok(usize::try_from(number).expect("a mebibyte fits into memory"))
}
