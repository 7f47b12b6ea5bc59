//! Files and folders that nobody else can have put in their place: what Faro writes goes nowhere else.
//!
//! Takes paths; gives open files. Promises that a file was opened in the folder that was looked at, through no symbolic link of its own
//! name; that folder and file belong to root or to the user that runs Faro; and that nobody else may write them. Whoever owns the
//! folder above could else have any file overwritten that Faro may write.

use crate::folders::or_here;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens the folder, to be read or to open files in it.
///
/// # Errors
///
/// As the operating system says; when it is not ours, or a symbolic link that somebody else has made, with the cure.
pub(crate) fn folder(path: &Path) -> io::Result<File> {
    let path = or_here(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match openat(CWD, path, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(opened) => opened,
        Err(error) => {
            let link = fs::symlink_metadata(path).ok().filter(Metadata::is_symlink).ok_or(error)?;
            check_owner(&link, "the symbolic link")?;
            openat(CWD, path, flags, Mode::empty())?
        }
    };
    let folder = File::from(opened);
    check_folder(&folder, path)?;
    Ok(folder)
}

/// Makes a file that is not there yet, to be read and written.
///
/// # Errors
///
/// As [`folder`], and when there is such a file.
#[cfg(any(feature = "state", test))]
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<File> {
    open_with(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)
}

/// The same, and each write goes to its end.
///
/// # Errors
///
/// As [`create`].
pub(crate) fn create_to_append(path: &Path, mode: u32) -> io::Result<File> {
    open_with(path, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL, mode)
}

/// Opens a file to be read.
///
/// # Errors
///
/// As the operating system says; when file or folder is not ours, or the file is a link or none at all, with the cure.
pub(crate) fn read(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::RDONLY, 0)
}

/// Opens a file to be read, and to be appended to where that is allowed.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_or_append(path: &Path) -> io::Result<File> {
    match open_with(path, OFlags::RDWR | OFlags::APPEND, 0) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => read(path),
        opened => opened,
    }
}

/// Opens a file to be read and changed.
///
/// # Errors
///
/// As [`read`], and when it has a second name, under which the change would be seen, too.
#[cfg(any(feature = "state", test))]
pub(crate) fn change(path: &Path) -> io::Result<File> {
    let file = open_with(path, OFlags::RDWR, 0)?;
    check_links(&file)?;
    Ok(file)
}

/// The same of one that is made where there is none.
///
/// # Errors
///
/// As [`change`].
#[cfg(any(feature = "state", test))]
pub(crate) fn change_or_create(path: &Path, mode: u32) -> io::Result<File> {
    let file = open_with(path, OFlags::RDWR | OFlags::CREATE, mode)?;
    check_links(&file)?;
    Ok(file)
}

/// Whether a file may be cut: it has one name at most.
///
/// # Errors
///
/// When it has more.
pub(crate) fn check_links(file: &File) -> io::Result<()> {
    match file.metadata()?.nlink() {
        0 | 1 => Ok(()),
        links => {
            Err(io::Error::other(format!("it has {links} names (hard links), and is left as it is; put a copy in its place")))
        }
    }
}

fn open_with(path: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
    let folder = folder(path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // Not blocking: a pipe of that name would hold the start for ever.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match openat(&folder, name, flags, Mode::from_raw_mode(mode)) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => {
            return Err(io::Error::other("it is a symbolic link, and is not followed; remove it, or put the file itself there"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file; remove it"));
    }
    check_owner(&found, "it")?;
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other(format!("every user may write it (mode {:o}): chmod o-w", found.mode() & 0o7777)));
    }
    Ok(file)
}

const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Of a volume the root is often open to all (`emptyDir` of Kubernetes): who mounts it says who may use it.
fn check_folder(folder: &File, path: &Path) -> io::Result<()> {
    let found = folder.metadata()?;
    check_owner(&found, "it")?;
    let is_open = found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0;
    if !is_open || (found.uid() == 0 && !geteuid().is_root()) || is_mount_point(&found, path) {
        return Ok(());
    }
    Err(io::Error::other(format!("every user may write it (mode {:o}): chmod o-w {}", found.mode() & 0o7777, path.display())))
}

fn is_mount_point(found: &Metadata, path: &Path) -> bool {
    fs::metadata(path.join("..")).is_ok_and(|parent| parent.dev() != found.dev() || parent.ino() == found.ino())
}

fn check_owner(found: &Metadata, what: &str) -> io::Result<()> {
    let (owner, us) = (found.uid(), geteuid().as_raw());
    if owner == 0 || owner == us {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{what} belongs to user {owner}, and neither to root nor to the user that runs faro: chown it to {us}, or name another folder"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn error(result: io::Result<File>) -> String {
        result.unwrap_err().to_string()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_link_of_the_files_name_is_not_followed_and_its_victim_stays_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (victim, link) = (home.path().join("victim"), home.path().join("link"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &link).unwrap();
        for opened in [read(&link), change(&link), change_or_create(&link, 0o600), read_or_append(&link)] {
            assert!(error(opened).starts_with("it is a symbolic link"));
        }
        assert_eq!(create(&link, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    }

    #[test]
    fn a_file_with_two_names_is_read_and_not_changed() {
        let home = tempfile::tempdir().unwrap();
        let (file, other) = (home.path().join("file"), home.path().join("other"));
        create(&file, 0o600).unwrap();
        change(&file).unwrap();
        fs::hard_link(&file, &other).unwrap();
        let cause = "it has 2 names (hard links), and is left as it is; put a copy in its place";
        assert_eq!((error(change(&file)), error(change_or_create(&file, 0o600))), (cause.to_owned(), cause.to_owned()));
        read(&file).unwrap();
    }

    #[test]
    fn what_every_user_may_write_is_refused_with_its_cure() {
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("inner");
        fs::create_dir(&inner).unwrap();
        create_to_append(&inner.join("file"), 0o640).unwrap();
        chmod(&inner.join("file"), 0o666);
        assert_eq!(error(read(&inner.join("file"))), "every user may write it (mode 666): chmod o-w");
        chmod(&inner, 0o777);
        assert_eq!(error(folder(&inner)), format!("every user may write it (mode 777): chmod o-w {}", inner.display()));
        assert!(read(&inner.join("none")).unwrap_err().to_string().contains("mode 777"));
        chmod(&inner, 0o1777);
        folder(&inner).unwrap();
    }

    #[test]
    fn what_is_no_file_is_refused_and_held_up_by_nothing() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(error(read(&pipe)), "it is no regular file; remove it");
        assert_eq!(error(change(&pipe)), "it is no regular file; remove it");
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_also_as_the_link_to_what_is_ours() {
        if !geteuid().is_root() {
            // Nobody else can give a file away.
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let (inner, link) = (home.path().join("inner"), home.path().join("link"));
        fs::create_dir(&inner).unwrap();
        create(&inner.join("file"), 0o600).unwrap();
        symlink(&inner, &link).unwrap();
        read(&link.join("file")).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        assert!(error(read(&link.join("file"))).starts_with("the symbolic link belongs to user 12345, and neither to root"));
        std::os::unix::fs::chown(inner.join("file"), Some(12345), None).unwrap();
        let cure = "neither to root nor to the user that runs faro: chown it to 0, or name another folder";
        assert_eq!(error(read(&inner.join("file"))), format!("it belongs to user 12345, and {cure}"));
        std::os::unix::fs::chown(&inner, Some(12345), None).unwrap();
        assert_eq!(error(create(&inner.join("other"), 0o600)), format!("it belongs to user 12345, and {cure}"));
    }
}
