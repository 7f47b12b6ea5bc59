//! stderr as systemd's journal takes it: it stamps each line itself, and reads the importance from a prefix (`sd-daemon(3)`).
//!
//! Takes the variable `JOURNAL_STREAM` and the file behind stderr; says whether the one means the other (`systemd.exec(5)`), and
//! gives lines their prefix.

use crate::shown::shown;
use log::Level;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

/// Tells people on stderr what went wrong: with the prefix of an error on each line where stderr is the journal, else as it is.
pub fn print_error(text: &str) {
    let mut lines = String::new();
    if is_stderr() {
        text.lines().for_each(|line| push_line(&mut lines, Level::Error, &shown(line)));
    } else {
        text.lines().for_each(|line| lines.extend([&shown(line), "\n"]));
    }
    // Nobody is left to tell when stderr is closed.
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Whether what is written to stderr goes to the journal.
pub(super) fn is_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, io::stderr()))
}

/// Appends one line with its importance: `<4>v1/pods: watch ended`.
pub(super) fn push_line(lines: &mut String, level: Level, text: &str) {
    let priority = match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    };
    *lines += priority;
    *lines += text;
    lines.push('\n');
}

/// Whether `stream`, as in `8:1234`, is the device and inode of `file`. The variable is inherited by processes whose stderr leads
/// elsewhere.
fn is_stream(stream: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else { return false };
    let metadata = file.as_fd().try_clone_to_owned().and_then(|file| File::from(file).metadata());
    metadata.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let (ours, other) = UnixStream::pair().unwrap();
        let metadata = File::from(ours.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(is_stream(&stream, &ours));
        assert!(!is_stream(&stream, &other), "inherited, and led elsewhere");
        for wrong in ["", "8", "8:", "a:b", &format!("{}:{}", metadata.dev() + 1, metadata.ino())] {
            assert!(!is_stream(wrong, &ours), "{wrong}");
        }
    }

    #[test]
    fn each_line_begins_with_its_priority() {
        let mut lines = String::new();
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            push_line(&mut lines, level, "x");
        }
        assert_eq!(lines, "<3>x\n<4>x\n<6>x\n<7>x\n");
    }
}
