//! Finds, reads and merges kubeconfigs, and takes one context out of them.
//!
//! Takes paths; gives an [`Endpoint`]. Several files are merged as kubectl merges them: the first file that names a cluster,
//! user or context, or sets the current context, decides it whole. Relative paths belong to the file that holds them.

mod again;
mod merge_keys;
pub(crate) mod model;
pub(crate) mod select;

pub(crate) use again::Again;

use super::SetupError;
use super::endpoint::Endpoint;
use super::files::Files;
use super::secret::without_value;
use model::{Cluster, Context, File, User};
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
    current_context: Option<String>,
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
            current_context: None,
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
        if self.current_context.is_none() {
            self.current_context = file.current_context.filter(|name| !name.is_empty());
        }
        let clusters = file.clusters.unwrap_or_default().into_iter().map(|n| (n.name, n.cluster.unwrap_or_default()));
        let contexts = file.contexts.unwrap_or_default().into_iter().map(|n| (n.name, n.context.unwrap_or_default()));
        let users = file.users.unwrap_or_default().into_iter().map(|n| (n.name, n.user.unwrap_or_default()));
        self.clusters.merge(clusters, &path, "cluster")?;
        self.contexts.merge(contexts, &path, "context")?;
        self.users.merge(users, &path, "user")?;
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
    let text = String::from_utf8(bytes).map_err(|_| SetupError::kubeconfig(place, "it is not UTF-8 text"))?;
    // yaml_serde takes a byte order mark for content.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let refused = |problem: &str| SetupError::kubeconfig(place, format!("not a kubeconfig: {problem}"));
    let unreadable = |error: serde_yaml::Error| refused(&without_value(&error));
    if !text.contains("<<") {
        return serde_yaml::from_str::<Option<File>>(text).map(Option::unwrap_or_default).map_err(unreadable);
    }
    let mut value: serde_json::Value = serde_yaml::from_str(text).map_err(unreadable)?;
    merge_keys::apply(&mut value).map_err(refused)?;
    // As text once more: what reads a file from text is there already, and names the path of a mistake.
    serde_yaml::from_str(&value.to_string()).map_err(|error| {
        let problem = without_value(&error);
        // The line is that of the other text.
        refused(problem.rsplit_once(" at line ").map_or(&*problem, |(problem, _)| problem))
    })
}

impl<T> Entries<T> {
    fn get(&self, name: &str) -> Option<&Entry<T>> {
        self.place_of(name).ok().map(|place| &self.0[place])
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.name.as_str())
    }

    /// Adds the entries of one file; those that an earlier file named stay as they are.
    fn merge(&mut self, found: impl Iterator<Item = (String, T)>, file: &Path, kind: &str) -> Result<(), SetupError> {
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
mod tests;
