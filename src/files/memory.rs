//! A file system in memory, for tests: each step can fail or be the last, and what was not synced may be gone after it.

use super::layer::{Entry, Layer, LayerFile};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

/// All clones are one disk.
#[derive(Clone)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

/// One operation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    /// `held` bytes are in the file, `offered` are to be written.
    Write {
        held: usize,
        offered: usize,
    },
    Read,
    Sync,
    SyncFolder,
    Cut,
    Rename,
    Remove,
}

/// Says of each step whether it is done; of a write, how many bytes it takes.
type Plan = Box<dyn FnMut(Step) -> io::Result<usize> + Send>;

struct State {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// What happened to names since their folder was synced.
    pending: Vec<NameChange>,
    /// Steps that change something, so far.
    steps: usize,
    /// The step that is not done any more.
    last: Option<usize>,
    plan: Plan,
}

#[derive(Clone, Default)]
struct Node {
    content: Vec<u8>,
    synced: Vec<u8>,
    writers: usize,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

struct MemoryFile {
    disk: MemoryDisk,
    node: usize,
    is_writer: bool,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::with_nodes(Vec::new(), BTreeMap::new())
    }
}

impl MemoryDisk {
    fn with_nodes(nodes: Vec<Node>, names: BTreeMap<PathBuf, usize>) -> Self {
        let synced_names = names.clone();
        let plan: Plan = Box::new(everything);
        Self(Arc::new(Mutex::new(State { nodes, names, synced_names, pending: Vec::new(), steps: 0, last: None, plan })))
    }

    pub(crate) fn set_plan(&self, plan: impl FnMut(Step) -> io::Result<usize> + Send + 'static) {
        self.state().plan = Box::new(plan);
    }

    /// After so many more steps nothing is done any more; of a write, half of it.
    pub(crate) fn set_last_step(&self, last: Option<usize>) {
        self.state().last = last;
    }

    /// The last step was reached.
    pub(crate) fn is_dead(&self) -> bool {
        let state = self.state();
        state.last.is_some_and(|last| state.steps > last)
    }

    /// The disk as the next process finds it: nothing is lost that the operating system has.
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.state();
        let content = |node: &Node| Node { content: node.content.clone(), synced: node.synced.clone(), writers: 0 };
        let next = Self::with_nodes(state.nodes.iter().map(content).collect(), state.names.clone());
        next.state().synced_names.clone_from(&state.synced_names);
        next.state().pending.clone_from(&state.pending);
        next
    }

    /// The disk as the next boot finds it: of unsynced bytes the first ones may be there, some of them blank; of unsynced
    /// names, the first ones.
    pub(crate) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Self {
        let state = self.state();
        let mut names = state.synced_names.clone();
        let survivors = random.usize(..=state.pending.len());
        state.pending[..survivors].iter().for_each(|change| change.apply(&mut names));
        let nodes = state.nodes.iter().map(|node| node.after_power_loss(random)).collect();
        Self::with_nodes(nodes, names)
    }

    /// The content of `path`.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|node| state.nodes[*node].content.clone())
    }

    /// Whether all of `path` is on the disk, its name too.
    pub(crate) fn is_synced(&self, path: &Path) -> bool {
        let state = self.state();
        let Some(node) = state.names.get(path) else { return false };
        state.synced_names.get(path) == Some(node) && state.nodes[*node].content == state.nodes[*node].synced
    }

    /// Every name there is.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Puts a file there, as if it had always been.
    pub(crate) fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        state.nodes.push(Node { content: content.to_vec(), synced: content.to_vec(), writers: 0 });
        let node = state.nodes.len() - 1;
        state.names.insert(path.to_owned(), node);
        state.synced_names.insert(path.to_owned(), node);
    }

    /// Makes a part of a file blank, as a page that was lost.
    pub(crate) fn blank(&self, path: &Path, range: Range<usize>) {
        let mut state = self.state();
        let node = state.node(path).unwrap();
        state.nodes[node].content[range].fill(0);
    }

    /// Removes a name, as somebody else does.
    pub(crate) fn delete(&self, path: &Path) {
        self.state().change_name(NameChange::Unlink(path.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// Does every step.
pub(crate) fn everything(step: Step) -> io::Result<usize> {
    Ok(if let Step::Write { offered, .. } = step { offered } else { 0 })
}

impl State {
    /// Asks the plan, and counts; an error where the step is not done.
    fn step(&mut self, step: Step) -> io::Result<usize> {
        if self.last.is_some_and(|last| self.steps > last) {
            return Err(io::Error::other("killed"));
        }
        if step == Step::Read {
            return (self.plan)(step);
        }
        self.steps += 1;
        if self.last.is_some_and(|last| self.steps > last) {
            return match step {
                Step::Write { offered, .. } if offered > 1 => Ok(offered / 2),
                Step::Write { .. } | Step::Create | Step::Read | Step::Sync => Err(io::Error::other("killed")),
                Step::SyncFolder | Step::Cut | Step::Rename | Step::Remove => Err(io::Error::other("killed")),
            };
        }
        (self.plan)(step)
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn node(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Node {
    fn after_power_loss(&self, random: &mut fastrand::Rng) -> Self {
        let mut content = self.content.clone();
        if self.content.starts_with(&self.synced) {
            content.truncate(random.usize(self.synced.len()..=content.len()));
            if random.bool() {
                let blank_from = random.usize(self.synced.len()..=content.len());
                content[blank_from..].fill(0);
            }
        } else if random.bool() {
            content.clone_from(&self.synced);
        }
        Self { synced: content.clone(), content, writers: 0 }
    }
}

impl Layer for MemoryDisk {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LayerFile>> {
        let mut state = self.state();
        state.step(Step::Create)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.nodes.push(Node { writers: 1, ..Node::default() });
        let node = state.nodes.len() - 1;
        state.change_name(NameChange::Link(path.to_owned(), node));
        Ok(Box::new(MemoryFile { disk: self.clone(), node, is_writer: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LayerFile>> {
        let node = self.state().node(path)?;
        Ok(Box::new(MemoryFile { disk: self.clone(), node, is_writer: false }))
    }

    fn is_open(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        Ok(state.nodes[state.node(path)?].writers > 0)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(Step::Rename)?;
        state.node(from)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.node(path)?;
        state.step(Step::Remove)?;
        state.change_name(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(Step::SyncFolder)?;
        state.synced_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entry = |(path, node): (&PathBuf, &usize)| Entry {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: state.nodes[*node].content.len() as u64,
            modified: SystemTime::UNIX_EPOCH,
        };
        Ok(files.map(entry).collect())
    }
}

impl LayerFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let held = state.nodes[self.node].content.len();
        let taken = state.step(Step::Write { held, offered: bytes.len() })?;
        state.nodes[self.node].content.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step(Step::Read)?;
        let content = &state.nodes[self.node].content;
        let rest = content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().nodes[self.node].content.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step(Step::Sync)?;
        let node = &mut state.nodes[self.node];
        node.synced.clone_from(&node.content);
        Ok(())
    }

    fn cut_to(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step(Step::Cut)?;
        state.nodes[self.node].content.truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }

    fn set_modified(&mut self, _time: SystemTime) -> io::Result<()> {
        Ok(())
    }

    fn is_linked(&self) -> bool {
        self.disk.state().names.values().any(|node| *node == self.node)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if self.is_writer {
            self.disk.state().nodes[self.node].writers -= 1;
        }
    }
}
