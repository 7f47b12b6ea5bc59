//! Whether a name still means the file that was opened by it.
//!
//! Takes an open file and its path; gives what the path means by now. Used by whoever keeps a file open for long: log, state.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the name of an open file means by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The file itself.
    Itself,
    /// Nothing: the file, or a folder that it lay in, was removed or moved away.
    Nothing,
    /// Another file.
    Other,
}

/// What `path` means, by which `file` was opened.
///
/// # Errors
///
/// As the operating system says, when it does not know.
pub(crate) fn named(file: &File, path: &Path) -> io::Result<Named> {
    named_as(identity(&file.metadata()?), path)
}

/// What `path` means, by which a file with this [identity] was opened.
pub(crate) fn named_as(open: Identity, path: &Path) -> io::Result<Named> {
    match fs::metadata(path) {
        Ok(found) if identity(&found) == open => Ok(Named::Itself),
        Ok(_) => Ok(Named::Other),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Named::Nothing),
        Err(error) => Err(error),
    }
}

/// The file system of a file, and its number there.
pub(crate) type Identity = (u64, u64);

/// By what a file is told from every other that is there at the same time.
pub(crate) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_file_until_it_or_its_folder_is_gone_or_another_has_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/file");
        fs::create_dir(parent.path().join("a")).unwrap();
        let file = File::create(&path).unwrap();
        assert_eq!(named(&file, &path).unwrap(), Named::Itself);
        fs::remove_file(&path).unwrap();
        assert_eq!(named(&file, &path).unwrap(), Named::Nothing);
        let other = File::create(&path).unwrap();
        assert_eq!((named(&file, &path).unwrap(), named(&other, &path).unwrap()), (Named::Other, Named::Itself));
        fs::remove_dir_all(parent.path().join("a")).unwrap();
        assert_eq!(named(&other, &path).unwrap(), Named::Nothing);
        fs::write(parent.path().join("a"), "").unwrap();
        assert_eq!(named(&other, &path).unwrap(), Named::Nothing);
    }
}
