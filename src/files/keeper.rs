//! The thread that tidies a folder: away from whoever writes, and never in their way.
//!
//! A pass is made when a file was closed, when more may be touched, and once a minute for those that grow old. What fails is
//! told once and tried again; a stop ends a compression that is under way, and leaves the original.

use super::compress::Work;
use super::layer::{Disk, Layer};
use super::name::{FileKind, FileName};
use super::tidy::{Folder, Keeping, Touch};
use crate::health::Pulse;
use crate::lifecycle::Joined;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Compresses and removes closed files of one kind in one folder, until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<Joined>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug)]
struct State {
    touch: Touch,
    is_due: bool,
    is_stopped: bool,
}

/// The thread's share.
struct Tidying {
    shared: Arc<Shared>,
    layer: Arc<dyn Layer>,
    folder: PathBuf,
    kind: FileKind,
    keeping: Keeping,
    pulse: Pulse,
}

/// How often a folder is looked at in which nothing was closed: files grow old, and what failed is tried again.
const PASS_PERIOD: Duration = Duration::from_secs(60);

/// How long the end of a step that is under way is waited for.
const STOP_LIMIT: Duration = Duration::from_millis(500);

impl Keeper {
    /// Removes what a killed run left in `folder`, and starts the thread `name`. Every closed file may be touched.
    ///
    /// # Errors
    ///
    /// When the operating system refuses one more thread.
    pub fn start(name: &str, folder: &Path, kind: FileKind, keeping: Keeping, pulse: Pulse) -> io::Result<Self> {
        Self::start_on(Arc::new(Disk), name, folder, kind, keeping, pulse, Touch::All)
    }

    /// The same for files that may be touched only up to what [`may_touch`](Self::may_touch) says.
    pub(crate) fn start_holding(
        layer: Arc<dyn Layer>,
        name: &str,
        folder: &Path,
        keeping: Keeping,
        pulse: Pulse,
        is_held: bool,
    ) -> io::Result<Self> {
        let touch = if is_held { Touch::None } else { Touch::All };
        Self::start_on(layer, name, folder, FileKind::Events, keeping, pulse, touch)
    }

    fn start_on(
        layer: Arc<dyn Layer>,
        name: &str,
        folder: &Path,
        kind: FileKind,
        keeping: Keeping,
        pulse: Pulse,
        touch: Touch,
    ) -> io::Result<Self> {
        let state = State { touch, is_due: true, is_stopped: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), woken: Condvar::new() });
        let tidying = Tidying { shared: Arc::clone(&shared), layer, folder: folder.to_owned(), kind, keeping, pulse };
        if let Err(error) = tidying.folder().remove_leftovers() {
            log::warn!(cause = error.to_string().as_str(); "cannot remove what an earlier run left in {}", folder.display());
        }
        let thread = Joined::spawn(name, move || tidying.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Says that a file was closed.
    pub fn wake(&self) {
        self.change(|state| state.is_due = true);
    }

    /// Says that everything before the file `first` may be touched.
    pub(crate) fn may_touch(&self, first: FileName) {
        self.change(|state| {
            let next = Touch::Before(first);
            state.is_due |= state.touch != next && state.touch != Touch::All;
            if state.touch != Touch::All {
                state.touch = next;
            }
        });
    }

    /// Ends the thread. A step of the file system that does not return is left alone.
    ///
    /// # Blocking
    ///
    /// For half a second at most.
    pub fn stop(&self) {
        self.change(|state| state.is_stopped = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join_until(Instant::now() + STOP_LIMIT);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.woken.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next pass; `None` when there is none.
    fn next_pass(&self) -> Option<Touch> {
        let is_idle = |state: &mut State| !state.is_due && !state.is_stopped;
        let waited = self.woken.wait_timeout_while(self.state(), PASS_PERIOD, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_due = false;
        (!state.is_stopped).then_some(state.touch)
    }
}

impl Tidying {
    fn run(self) {
        let mut is_failing = false;
        while let Some(touch) = self.shared.next_pass() {
            let go_on = || !self.shared.state().is_stopped;
            let work = Work { pulse: self.pulse.clone(), go_on: &go_on };
            let tidied = self.folder().tidy(&self.keeping, touch, SystemTime::now(), &work);
            self.pulse.waiting();
            match &tidied {
                Ok(()) if is_failing => log::info!("{}: compressing and removing old files again", self.folder.display()),
                Err(error) if !is_failing && go_on() => {
                    let cause = error.to_string();
                    log::warn!(cause = cause.as_str(); "cannot compress or remove old files in {}; trying again", self.folder.display());
                }
                Ok(()) | Err(_) => {}
            }
            is_failing = tidied.is_err();
        }
        self.pulse.ended();
    }

    fn folder(&self) -> Folder<'_> {
        Folder { layer: self.layer.as_ref(), path: &self.folder, kind: self.kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compression;
    use crate::dispatch::tests::DEADLINE;
    use crate::files::memory::{MemoryDisk, Step, everything};
    use crate::health::{Health, ThreadFailure};

    #[test]
    fn a_keeper_that_panics_is_named() {
        let (disk, folder, health) = (MemoryDisk::default(), Path::new("memory"), Health::default());
        for name in ["events-20251110-143300.json", "events-20251110-143301.json"] {
            disk.put(&folder.join(name), b"{}\n");
        }
        disk.set_plan(|step| if step == Step::Create { panic!("injected") } else { everything(step) });
        let keeping = Keeping { compress: Compression::Gzip, ..Keeping::default() };
        let pulse = health.add_thread("json-keeper");
        let keeper = Keeper::start_holding(Arc::new(disk), "json-keeper", folder, keeping, pulse, false).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while health.liveness().alive {
            assert!(Instant::now() < deadline, "it is not named");
            std::thread::yield_now();
        }
        let failing: Vec<_> = health.liveness().failing.into_iter().map(|thread| (thread.thread, thread.failure)).collect();
        assert_eq!(failing, [("json-keeper".to_owned(), ThreadFailure::Dead)]);
        keeper.stop();
    }
}
