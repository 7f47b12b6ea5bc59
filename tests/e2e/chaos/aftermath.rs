//! What is left when nothing more befalls a daemon: it catches up, is ended, and its files are judged.

use super::hand::Hand;
use super::judge::{Forgetting, Verdict, judge};
use super::killer::{Kept, Killed};
use super::story::Story;
use super::truth::{Act, Key, Selection, Truth};
use crate::daemon::Setup;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A daemon at the end of its trials.
pub(crate) struct Aftermath<'a> {
    pub(crate) kept: Kept,
    pub(crate) setup: &'a Setup,
    /// Folders that hold events besides its own.
    pub(crate) moved: Vec<PathBuf>,
    pub(crate) watches: &'a [Selection],
    pub(crate) forgetting: Forgetting,
    /// Everything that was written, but for what `last` writes.
    pub(crate) acts: Vec<Act>,
}

impl Aftermath<'_> {
    /// Waits until the daemon has caught up, and once more for `last`, a write to an object of each watch, which comes after
    /// whatever would be told too much; ends it and judges its files. Whoever is told the verdict says it and then
    /// calls [`Findings::demand_none`].
    pub(crate) fn judge(mut self, mut hand: Hand, last: &[Key]) -> Findings {
        self.wait_until_caught_up();
        last.iter().for_each(|key| hand.create(key, "front", "last"));
        self.acts.append(&mut hand.acts);
        self.wait_until_caught_up();
        let verdict = self.verdict();
        let (daemon, killed) = self.kept.into_daemon();
        if verdict.faults() > 0 {
            let place = keep(self.setup.folder(), &self.acts);
            // It may hang; a fault was found already.
            daemon.kill();
            return Findings { verdict, killed, place, acts: self.acts };
        }
        daemon.stop_unread();
        let story = Story::read(&folders(self.setup, &self.moved));
        let truth = Truth::new(self.acts.iter().cloned());
        let verdict = judge(&story, &truth, self.watches, &self.forgetting);
        let place = if verdict.faults() > 0 { keep(self.setup.folder(), &self.acts) } else { String::new() };
        Findings { verdict, killed, place, acts: self.acts }
    }

    /// Ends early where waiting cannot help.
    fn wait_until_caught_up(&mut self) {
        let end = Instant::now() + CATCH_UP_LIMIT;
        loop {
            let verdict = self.verdict();
            if verdict.lost == 0 || verdict.faults() > verdict.lost + verdict.torn || Instant::now() > end {
                return;
            }
            self.kept.keep_until(Instant::now() + LOOK);
        }
    }

    fn verdict(&self) -> Verdict {
        let truth = Truth::new(self.acts.iter().cloned());
        judge(&Story::read(&folders(self.setup, &self.moved)), &truth, self.watches, &self.forgetting)
    }
}

fn folders(setup: &Setup, moved: &[PathBuf]) -> Vec<PathBuf> {
    moved.iter().cloned().chain([setup.output()]).collect()
}

/// What was found.
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
    pub(crate) killed: Killed,
    pub(crate) acts: Vec<Act>,
    place: String,
}

impl Findings {
    /// # Panics
    ///
    /// When there is any fault; the message shows the first ones, and where all files were copied to.
    pub(crate) fn demand_none(&self) {
        let Self { verdict, place, .. } = self;
        assert!(verdict.faults() == 0, "{verdict}; all files are in {place}\n{}", verdict.findings.join("\n"));
    }
}

const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

const LOOK: Duration = Duration::from_millis(250);

/// Copies what a failure left to where it outlives the run; gives the place.
fn keep(folder: &Path, acts: &[Act]) -> String {
    let name = std::thread::current().name().unwrap_or_default().replace(':', "-");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    copy(folder, &place);
    let acts: String = acts.iter().map(|act| format!("{act:?}\n")).collect();
    fs::write(place.join("acts.txt"), acts).expect("the target folder is ours");
    place.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder is ours");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("the target folder is ours");
        }
    }
}
