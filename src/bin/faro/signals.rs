//! Signals: the first SIGINT or SIGTERM asks Faro to stop, a second ends the process at once; SIGHUP reloads the configuration
//! and reopens the log file; a file-size limit is an error and no signal.

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

/// What SIGHUP asks for.
pub(crate) enum Hangup {
    /// To stop; it stays ignored where it was, as under nohup.
    Stop,
    /// To do this, each time, and at once where it came before. Sent because the terminal is gone that Faro was started from,
    /// it asks to stop as well.
    Reload(EarlyHangups, Box<dyn Fn() + Send>),
}

/// What came of SIGHUP before anybody could follow it, instead of ending the process.
pub(crate) struct EarlyHangups {
    was_ignored: bool,
    had_terminal: bool,
    has_come: Arc<AtomicBool>,
}

impl EarlyHangups {
    /// Notes them from now on.
    ///
    /// # Errors
    ///
    /// When the handler cannot be registered.
    pub(crate) fn note() -> io::Result<Self> {
        let (was_ignored, had_terminal, has_come) = (is_ignored(SIGHUP), has_terminal(), Arc::default());
        signal_hook::flag::register(SIGHUP, Arc::clone(&has_come))?;
        Ok(Self { was_ignored, had_terminal, has_come })
    }
}

/// Calls `stop` on the first SIGINT or SIGTERM, on a thread of its own, and does what `hangup` says on SIGHUP.
///
/// # Errors
///
/// When a handler cannot be registered or the thread cannot be started.
pub(crate) fn listen(stop: impl FnOnce() + Send + 'static, hangup: Hangup) -> io::Result<Listening> {
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(&armed))?;
    }
    let mut received = Signals::new([SIGINT, SIGTERM])?;
    let handle = received.handle();
    if hangup.is_followed() {
        handle.add_signal(SIGHUP)?;
    }
    hangup.follow_early();
    let ended = Stop::new();
    let waiting = ended.clone();
    let thread = Joined::spawn("signals", move || {
        let is_stop = |signal: &i32| *signal != SIGHUP || hangup.asks_to_stop();
        if let Some(signal) = received.forever().find(is_stop) {
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

impl Hangup {
    fn is_followed(&self) -> bool {
        match self {
            Self::Stop => !is_ignored(SIGHUP),
            Self::Reload(..) => true,
        }
    }

    fn follow_early(&self) {
        match self {
            Self::Stop => {}
            Self::Reload(early, reload) if early.has_come.load(Ordering::Relaxed) => reload(),
            Self::Reload(..) => {}
        }
    }

    /// Reloads where that is meant.
    fn asks_to_stop(&self) -> bool {
        match self {
            Self::Stop => true,
            Self::Reload(early, _) if early.had_terminal && !has_terminal() => !early.was_ignored,
            Self::Reload(_, reload) => {
                log::info!("received SIGHUP, reading the configuration again");
                reload();
                false
            }
        }
    }
}

/// Whether the process has a terminal that works: once it was hung up, it cannot be opened (tty(4): `ENXIO`, `EIO`).
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
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
