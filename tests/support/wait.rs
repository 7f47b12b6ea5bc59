//! Waiting for a condition: the only way in which these tests let time pass.

use faro::lifecycle::Stop;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// Looks again and again until `condition` holds.
///
/// # Panics
///
/// When it does not hold within `deadline`; the message is `what` was waited for.
pub(crate) fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(deadline, what, || condition().then_some(()));
}

/// Looks again and again until `look` finds something.
///
/// # Panics
///
/// As [`eventually`].
pub(crate) fn eventually_some<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        // Asked before the look, so that the last look comes after the deadline and not before it.
        let late = Instant::now() >= end;
        if let Some(found) = look() {
            return found;
        }
        assert!(!late, "waited {deadline:?} in vain: {what}");
        pause(POLL);
    }
}

/// Removes a folder into which another process may write meanwhile.
///
/// # Panics
///
/// When it cannot be removed.
pub(crate) fn remove_folder(folder: &Path) {
    eventually(SOON, "a folder is removed", || match fs::remove_dir_all(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => false,
        Err(error) => panic!("{}: {error}", folder.display()),
    });
}

/// Lets `duration` pass, where the scenario is about just that: a server that is away for ten seconds.
pub(crate) fn pause(duration: Duration) {
    Stop::new().wait(duration);
}

/// How many seconds a run may take that ends by itself: the next of these where a loaded machine did not come far enough.
pub(crate) const RUN_SECONDS: [u32; 3] = [2, 10, 40];

/// Often enough not to be felt, seldom enough to leave the two cores to those who are waited for.
const POLL: Duration = Duration::from_millis(50);

/// Long enough for anything that takes a second on a machine that is not overloaded.
pub(crate) const SOON: Duration = Duration::from_secs(60);
