//! Signals: the first asks Faro to stop, a second ends the process at once; a file-size limit is an error and no signal.

use faro::lifecycle::{Joined, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Listens until dropped.
pub(crate) struct Listening {
    handle: Handle,
    ended: Stop,
    _thread: Joined,
}

/// Signals so close to the first one are the same wish: `timeout`, and wrappers that pass on what the terminal has sent to all, send two.
const SAME_WISH: Duration = Duration::from_millis(300);

/// The exit code of a second signal: what was queued may not have been written.
const EXIT_AT_ONCE: i32 = 1;

/// Calls `stop` on the first SIGINT, SIGTERM or SIGHUP, on a thread of its own. SIGHUP stays ignored where it was, as under nohup.
///
/// # Errors
///
/// When a handler cannot be registered or the thread cannot be started.
pub(crate) fn listen(stop: impl FnOnce() + Send + 'static) -> io::Result<Listening> {
    let mut signals = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    let armed = Arc::new(AtomicBool::new(false));
    for &signal in &signals {
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(&armed))?;
    }
    let mut received = Signals::new(&signals)?;
    let handle = received.handle();
    let ended = Stop::new();
    let waiting = ended.clone();
    let thread = Joined::spawn("signals", move || {
        if let Some(signal) = received.forever().next() {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
            log::info!("received {name}, stopping");
            stop();
            if !waiting.wait(SAME_WISH) {
                armed.store(true, Ordering::Relaxed);
                log::info!("still stopping; another signal ends at once");
            }
        }
    })?;
    Ok(Listening { handle, ended, _thread: thread })
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Ends the thread, which is joined right after this.
        self.handle.close();
        self.ended.request();
    }
}

/// Makes a write beyond the limit of a file's size (`ulimit -f`) fail, as one to a full disk does: left alone, the signal
/// that comes with it ends the process with a core dump.
///
/// # Errors
///
/// When the handler cannot be registered.
pub(crate) fn outlive_file_limits() -> io::Result<()> {
    // Caught and not ignored: what is ignored stays so in the credential plugins that are started from here.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether the process was started with `signal` ignored (proc(5): `SigIgn` is a mask, the lowest bit is signal 1).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
