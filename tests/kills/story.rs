//! The story of the kills: one server, one folder, one embedding program after the other.

use super::book::Book;
use super::judge;
use super::load::{self, Load};
use super::process::Guarded;
use super::program;
use super::wait::{SOON, eventually};
use faro::sim::Cluster;
use fastrand::Rng;
use rustix::process::Signal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Said to this program where it is to be the embedding one: with a kubeconfig and a folder behind it.
pub(crate) const AS_PROGRAM: &str = "--embed";
/// What is there before anything is watched.
const OBJECTS: usize = 40;
/// Every receiver's call takes 50 ms, and a tenth fail: what waits is soon a second old.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// One server, one folder, one embedding program after the other.
pub(crate) struct Story {
    cluster: Cluster,
    folder: tempfile::TempDir,
    load: Load,
    rng: Rng,
}

impl Story {
    pub(crate) fn begin(seed: u64) -> Self {
        let cluster = Cluster::builder().tls(false).seed(seed).start().unwrap();
        let mut load = Load::new(seed);
        load.create_stuck(&cluster);
        (0..OBJECTS).for_each(|_| load.create(&cluster));
        Self { cluster, folder: tempfile::tempdir().unwrap(), load, rng: Rng::with_seed(seed) }
    }

    pub(crate) fn tell(mut self, kills: u64) {
        self.kill_in_the_first_list();
        let mut program = self.start();
        eventually(DRAIN_LIMIT, "the first list is accepted, but for what is stuck", || self.lacks_nothing());
        eventually(SOON, "what is stuck is owed", || program::is_owed(self.folder.path()));
        // From here on the server has every version that the program may ask for, so that no state in between may be missing.
        self.load.everything_counts();
        let begin = Instant::now();
        for _ in 0..kills {
            let alive = Duration::from_millis(self.rng.u64(300..2500));
            self.load.go_on(&self.cluster, alive);
            program.signal(Signal::KILL);
            drop(program);
            let down = Duration::from_millis(self.rng.u64(0..400));
            self.load.go_on(&self.cluster, down);
            program = self.start();
        }
        eventually(DRAIN_LIMIT, "everything is accepted, but for what is stuck", || self.lacks_nothing());
        program::release(self.folder.path());
        let latest = self.load.stuck_version().to_owned();
        eventually(DRAIN_LIMIT, "the stuck object's latest state arrives", || self.book().has_version(load::STUCK, &latest));
        let verdict = judge::judge(&self.load, &self.book());
        println!("{kills} kills in {:.0?}: {verdict}", begin.elapsed());
        program.signal(Signal::TERM);
        assert!(verdict.is_good(), "{verdict:#?}");
    }

    /// What was handed to the handlers of a first list that never ended is deleted while the program is down.
    fn kill_in_the_first_list(&mut self) {
        let mut program = self.start();
        eventually(SOON, "some of the first list is accepted", || self.book().lines() >= OBJECTS / 4);
        program.signal(Signal::KILL);
        drop(program);
        for name in self.book().names().into_iter().take(5) {
            self.load.delete(&self.cluster, &name);
        }
    }

    fn start(&self) -> Guarded {
        start_program(&self.cluster, self.folder.path())
    }

    fn book(&self) -> Book {
        book_of(self.folder.path())
    }

    fn lacks_nothing(&self) -> bool {
        judge::last_states_missing(&self.load, &self.book()).is_empty()
    }
}

/// Starts this program as the embedding one.
pub(crate) fn start_program(cluster: &Cluster, folder: &Path) -> Guarded {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(AS_PROGRAM).arg(cluster.kubeconfig()).arg(folder).stdin(Stdio::null());
    Guarded::start(&mut command)
}

/// The book of the receiver that works in `folder`.
pub(crate) fn book_of(folder: &Path) -> Book {
    Book::read(&program::book_path(folder))
}
