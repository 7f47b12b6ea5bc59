//! What a daemon left in its folder after whatever befell it: whole lines, and what is no line.

use crate::lines::{self, Line};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything in the events files of some folders.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The lines, in the order of the files' names.
    pub(crate) lines: Vec<Line>,
    /// What is no line: what stands there, and in which file.
    pub(crate) torn: Vec<String>,
}

impl Story {
    /// Reads every events file of `folders`; a name sorts after those of files that were begun before.
    ///
    /// # Panics
    ///
    /// When a line is one, but not of the promised form.
    pub(crate) fn read(folders: &[impl AsRef<Path>]) -> Self {
        let mut story = Self::default();
        for (name, folder) in files(folders) {
            // A file that a running daemon removes or renames meanwhile is read the next time.
            let Ok(bytes) = fs::read(folder.join(&name)) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            for line in text.split_inclusive('\n') {
                match serde_json::from_str::<Line>(line) {
                    Ok(_) if line.ends_with('\n') => story.lines.push(lines::parse(line.trim_end())),
                    Ok(_) | Err(_) => story.torn.push(format!("{name}: {}", line.chars().take(SHOWN).collect::<String>())),
                }
            }
        }
        story
    }
}

/// How many whole lines there are, without reading them.
pub(crate) fn count(folder: &Path) -> usize {
    let newlines = |(name, folder): (String, &Path)| {
        fs::read(folder.join(name)).map_or(0, |bytes| memchr::memchr_iter(b'\n', &bytes).count())
    };
    files(&[folder]).into_iter().map(newlines).sum()
}

fn files(folders: &[impl AsRef<Path>]) -> BTreeSet<(String, &Path)> {
    let mut files = BTreeSet::new();
    for folder in folders.iter().map(AsRef::as_ref) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().expect("names of files are ASCII");
            if name.starts_with("events-") && name.ends_with(".json") {
                files.insert((name, folder));
            }
        }
    }
    files
}

/// So many characters of what is no line.
const SHOWN: usize = 120;
