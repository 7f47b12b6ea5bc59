//! Where the key of what is redacted comes from: a file that the configuration names, the state's folder, or this process.

use super::ControllerError;
use crate::change::{DigestKey, Redaction};
use crate::checkpoint;
use crate::config::{Config, RedactConfig};
use crate::reading::{Apart, FIRST_LIMIT, Which, no_end};
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::path::Path;

/// Fewer could be tried one by one.
const KEY_BYTES_MIN: usize = 16;

/// A longer file is another one.
const KEY_BYTES_MAX: u64 = 4096;

/// What is written of annotations. Where there is a state, its lock is held.
pub(super) fn redaction(config: &Config) -> Result<Redaction, ControllerError> {
    let RedactConfig { last_applied, annotation_value_max_bytes, key_file } = &config.redact;
    let secret = match key_file {
        // Nothing is written that another run could compare.
        _ if !cfg!(any(feature = "export", feature = "state")) => random()?,
        Some(path) => read(path).map_err(|source| ControllerError::RedactKey { path: path.clone(), source })?,
        None if config.state.enabled => checkpoint::redact_key(&config.state.dir)?,
        None => random()?,
    };
    let redaction = Redaction::new(DigestKey::new(&secret));
    Ok(redaction.copies(*last_applied).value_bytes_max(*annotation_value_max_bytes))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let key = Apart::new(FIRST_LIMIT).read(path, KEY_BYTES_MAX, Which::Any, &no_end())?.unwrap_or_default();
    let key = key.trim_ascii_end();
    if key.len() < KEY_BYTES_MIN {
        return Err(io::Error::other(format!("it holds {} bytes, and a key has {KEY_BYTES_MIN} or more", key.len())));
    }
    Ok(key.to_vec())
}

/// Digests of two runs cannot be compared then.
fn random() -> Result<Vec<u8>, ControllerError> {
    let mut key = vec![0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| ControllerError::NoRandom)?;
    Ok(key)
}
