//! Finds, reads and merges kubeconfigs, and takes one context out of them.
//!
//! Takes paths; gives an [`Endpoint`]. Several files are merged as kubectl merges them: the first file that names a cluster,
//! user or context, or sets the current context, decides it whole. Relative paths belong to the file that holds them.

mod again;
pub(crate) mod model;
pub(crate) mod read;
pub(crate) mod select;

pub(crate) use again::Again;

use super::SetupError;
use super::endpoint::Endpoint;
use super::files::Files;
use model::{Cluster, Context, File, User};
use read::Mistake;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Looks up an environment variable; tests pass their own.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One or several merged kubeconfigs.
#[derive(Debug)]
pub(crate) struct Kubeconfig {
    files: Vec<PathBuf>,
    source: Source,
    current_context: String,
    clusters: Entries<Cluster>,
    contexts: Entries<Context>,
    users: Entries<User>,
}

/// Entries of one kind, sorted by name.
#[derive(Debug)]
struct Entries<T>(Vec<Entry<T>>);

/// An entry and the file that defined it.
#[derive(Debug)]
struct Entry<T> {
    name: String,
    file: PathBuf,
    value: T,
}

/// Which files a kubeconfig is read from, and what they held.
#[derive(Clone, Debug)]
struct Source {
    paths: Vec<PathBuf>,
    /// As in `$KUBECONFIG`, of whose files some may be missing.
    is_list: bool,
    files: Files,
    /// Whether one of them is no regular file, and so can be read only once.
    is_once: bool,
    /// Of all that was read, so that an unchanged kubeconfig is known without keeping or parsing it.
    digest: u64,
}

impl Kubeconfig {
    /// Reads the one file that was named.
    pub(crate) fn from_file(path: &Path) -> Result<Self, SetupError> {
        Self::read(Source::new(vec![absolute(path)?], false))
    }

    /// Reads the files of a list as in `$KUBECONFIG`. Missing ones are passed over while there is one.
    pub(crate) fn from_list(list: &str) -> Result<Self, SetupError> {
        let paths = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
        let paths = paths.map(|path| absolute(&path)).collect::<Result<_, _>>()?;
        Self::read(Source::new(paths, true))
    }

    fn read(mut source: Source) -> Result<Self, SetupError> {
        let files = source.load()?;
        let mut merged = Self {
            files: Vec::new(),
            source,
            current_context: String::new(),
            clusters: Entries::default(),
            contexts: Entries::default(),
            users: Entries::default(),
        };
        files.into_iter().try_for_each(|(path, bytes)| merged.add(path, bytes))?;
        Ok(merged)
    }

    /// The server and login of `context`, or of the current context.
    pub(crate) fn endpoint(&self, context: Option<&str>, variables: Variables<'_>) -> Result<Endpoint, SetupError> {
        select::endpoint(self, context, variables)
    }

    /// Which files were read, for messages.
    pub(crate) fn place(&self) -> String {
        join(&self.files)
    }

    fn add(&mut self, path: PathBuf, bytes: Vec<u8>) -> Result<(), SetupError> {
        let place = path.display().to_string();
        let file = parse(&place, bytes)?;
        if self.current_context.is_empty() {
            self.current_context = file.current_context;
        }
        self.clusters.merge(file.clusters, &path, "cluster")?;
        self.contexts.merge(file.contexts, &path, "context")?;
        self.users.merge(file.users, &path, "user")?;
        self.files.push(path);
        Ok(())
    }
}

impl Source {
    fn new(paths: Vec<PathBuf>, is_list: bool) -> Self {
        Self { paths, is_list, files: Files::new(), is_once: false, digest: 0 }
    }

    /// The files that are there, and what they hold.
    fn load(&mut self) -> Result<Vec<(PathBuf, Vec<u8>)>, SetupError> {
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for path in &self.paths {
            match self.files.read_at_first("the kubeconfig", path) {
                Ok((bytes, is_once)) => {
                    self.is_once |= is_once;
                    files.push((path.clone(), bytes));
                }
                Err(SetupError::Read { source, .. }) if self.is_list && source.kind() == io::ErrorKind::NotFound => {
                    missing.push(path.clone());
                }
                Err(error) => return Err(error),
            }
        }
        if files.is_empty() {
            return Err(SetupError::kubeconfig("KUBECONFIG", format!("none of its files is there: {}", join(&missing))));
        }
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        self.digest = hasher.finish();
        Ok(files)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SetupError> {
    std::path::absolute(path).map_err(|source| SetupError::read("the kubeconfig", path, source))
}

fn parse(place: &str, bytes: Vec<u8>) -> Result<File, SetupError> {
    let text = decode(bytes).ok_or_else(|| SetupError::kubeconfig(place, "it is neither UTF-8 nor UTF-16 text"))?;
    read::document(&text, File::read).map_err(|Mistake { line, problem }| {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        SetupError::kubeconfig(format!("{place}{line}"), format!("not a kubeconfig: {problem}"))
    })
}

/// UTF-16 has a byte order mark, as YAML demands, and as `kubectl config view >file` writes it in some shells.
fn decode(bytes: Vec<u8>) -> Option<String> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| bytes.len().is_multiple_of(2))
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => wide(u16::from_le_bytes),
        Some([0xfe, 0xff]) => wide(u16::from_be_bytes),
        Some(_) | None => String::from_utf8(bytes).ok(),
    }
}

impl<T> Entries<T> {
    fn get(&self, name: &str) -> Option<&Entry<T>> {
        self.place_of(name).ok().map(|place| &self.0[place])
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.name.as_str())
    }

    /// Adds the entries of one file; those that an earlier file named stay as they are.
    fn merge(&mut self, found: Vec<(String, T)>, file: &Path, kind: &str) -> Result<(), SetupError> {
        let mut own = Self::default();
        for (name, value) in found {
            let Err(place) = own.place_of(&name) else {
                return Err(SetupError::kubeconfig(file.display().to_string(), format!("{kind} {name:?} is defined twice")));
            };
            own.0.insert(place, Entry { name, file: file.to_owned(), value });
        }
        for entry in own.0 {
            if let Err(place) = self.place_of(&entry.name) {
                self.0.insert(place, entry);
            }
        }
        Ok(())
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.name.as_str().cmp(name))
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[cfg(feature = "daemon")]
mod as_kubectl;
#[cfg(test)]
mod tests;
