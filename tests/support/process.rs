//! Child processes that end with the test, however the test ends.

use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A child that is killed when dropped, and by a watchdog when this whole process is killed.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    watchdog: Child,
}

impl Guarded {
    /// Starts `command`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        // The watchdog's input ends when this process ends, whatever ended it.
        let watchdog = Command::new("sh")
            .args(["-c", r#"read -r _; kill -9 "$1""#, "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is on every machine that runs these tests");
        Self { child, watchdog }
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`; nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // The child was not waited for yet, so its id cannot belong to another process.
            kill_process(Pid::from_child(&self.child), signal).expect("a child of ours takes signals");
        }
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The watchdog first: once the child is waited for, its id may be another's.
        for child in [&mut self.watchdog, &mut self.child] {
            // An error means that it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
