//! A disk of its own, small enough to be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts so many bytes at `folder`, which is made. Needs root.
    ///
    /// # Errors
    ///
    /// What `mount` says when it is refused.
    pub(crate) fn tmpfs(folder: &Path, bytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let size = format!("size={bytes}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "faro-e2e"]).arg(folder))?;
        Ok(Self(folder.to_owned()))
    }

    /// Mounts it anew with these options.
    ///
    /// # Errors
    ///
    /// What `mount` says, as when files are open for writing.
    pub(crate) fn remount(&self, options: &str) -> Result<(), String> {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0))
    }

    /// Writes to a file until there is no room left; gives its size.
    pub(crate) fn fill(&self) -> u64 {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("the disk can be written");
        let mut chunk = vec![0; 64 * 1024];
        let mut filled = 0;
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(0) | Err(_) => chunk.truncate(chunk.len() / 2),
                Ok(written) => filled += written as u64,
            }
        }
        filled
    }

    /// Takes the filler away.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that was not waited for yet may have files open.
        drop(run(Command::new("umount").arg("-l").arg(&self.0)));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
