//! The key of what is redacted: a file in the state's folder, made once, that outlives a reset.
//!
//! Another key gives every value another digest, so that each would seem changed.

use super::StateError;
use super::folder::{self, create_file, remove_leftover, sync_folder};
use crate::ours;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// The key's file in its folder.
pub(super) const KEY_FILE: &str = "redact.key";
/// The same while it is made.
const NEW_FILE: &str = "redact.key.new";

/// As much as the HMAC's own digest has.
const KEY_BYTES: usize = 32;

/// More than any key needs; of a longer file no more is read.
const FILE_BYTES_MAX: u64 = 4096;

/// Reads the key of the state in `folder`, or makes it. The caller holds the state's lock.
///
/// # Errors
///
/// When it can neither be read nor made, or is empty.
pub fn redact_key(folder: &Path) -> Result<Vec<u8>, StateError> {
    folder::make(folder)?;
    let path = folder.join(KEY_FILE);
    let read = match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => make(folder, &path),
        read => read,
    };
    read.map_err(|source| StateError::RedactKey { path, source })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    ours::read(path)?.take(FILE_BYTES_MAX).read_to_end(&mut key)?;
    let key = key.trim_ascii_end().to_vec();
    if key.is_empty() { Err(io::Error::other("it is empty")) } else { Ok(key) }
}

/// Under another name first: what has its name is whole.
fn make(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut random = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let key = random.iter().fold(String::with_capacity(2 * KEY_BYTES), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    });
    let new = folder.join(NEW_FILE);
    let made = create_file(&new).and_then(|mut file| {
        writeln!(file, "{key}")?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(folder)
    });
    if made.is_err() {
        remove_leftover(&new)?;
    }
    made.map(|()| key.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_for_nobody_else_and_outlives_a_reset() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("state");
        let key = redact_key(&folder).unwrap();
        assert_eq!(key.len(), 2 * KEY_BYTES);
        assert_eq!(fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        folder::reset(&folder).unwrap();
        assert_eq!(redact_key(&folder).unwrap(), key);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(redact_key(other.path()).unwrap(), key);
    }

    #[test]
    fn one_that_is_empty_is_an_error_that_names_it_and_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY_FILE), "\n").unwrap();
        let error = redact_key(folder.path()).unwrap_err();
        let path = folder.path().join(KEY_FILE);
        assert_eq!(
            crate::chain::chain(&error),
            format!(
                "cannot use the key in {}; restore it, or remove it, after which every digest is another one: it is empty",
                path.display()
            )
        );
    }
}
