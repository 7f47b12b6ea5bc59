//! Runs one command to its end, within limits of time and output, and leaves none of its processes behind.

use crate::client::interrupt::Ending;
use crate::client::secret::Secret;
use crate::lifecycle::Joined;
use crossbeam_channel::RecvTimeoutError::Disconnected;
use crossbeam_channel::{Sender, bounded};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, kill_process_group, prlimit, waitid,
};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A command to run.
pub(super) struct Run {
    pub(super) command: PathBuf,
    pub(super) args: Vec<Secret>,
    pub(super) env: Vec<(String, Secret)>,
    /// Stdin and stderr are the terminal's. Otherwise the command has no stdin, and a process group of its own.
    pub(super) interactive: bool,
    pub(super) limit: Duration,
    /// Its soft limit of file descriptors; `None` for that of this process.
    pub(super) descriptors: Option<u64>,
    /// Given each line that the command says on stderr.
    pub(super) said: fn(&str),
}

/// Why there is no output.
pub(super) enum Failure {
    Start(io::Error),
    Interrupted,
    TooSlow,
    TooLong,
    Status(ExitStatus),
}

type Shared = Arc<Mutex<Vec<u8>>>;

impl Run {
    /// What the command printed when it succeeded.
    pub(super) fn outcome(&self, ending: &Ending) -> Result<Vec<u8>, Failure> {
        let mut child = self.start().map_err(Failure::Start)?;
        let pid = Pid::from_child(&child);
        let stdout = Shared::default();
        let (over, is_over) = bounded(2);
        let threads = watch(&mut child, pid, &stdout, self.said, &over);
        let waited = threads.as_ref().map_or(Ok(()), |_| {
            crossbeam_channel::select! {
                recv(is_over) -> _ => Ok(()),
                recv(ending.signal()) -> _ => Err(Failure::Interrupted),
                default(self.limit) => Err(Failure::TooSlow),
            }
        });
        // Before the command is reaped, so that its number cannot belong to another process yet. A stray grandchild ends with it,
        // and with that closes the pipe that a reader may still wait on.
        if self.interactive {
            let _ = kill_process(pid, Signal::KILL);
        } else {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = child.wait().map_err(Failure::Start)?;
        let deadline = Instant::now() + READERS_LIMIT;
        for thread in threads.map_err(Failure::Start)? {
            thread.join_until(deadline);
        }
        waited?;
        let output = take(&stdout);
        // First, because a command that was ended for it did not succeed either.
        if output.len() > STDOUT_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        if status.success() {
            return Ok(output);
        }
        // At a terminal a Ctrl-C ends the command and asks this process to stop, and the command may be the faster one.
        if self.interactive && is_of_interrupt(status) && ending.signal().recv_timeout(INTERRUPT_LIMIT) == Err(Disconnected) {
            return Err(Failure::Interrupted);
        }
        Err(Failure::Status(status))
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.command);
        // What a service manager tells this process is not for others: a plugin is not the service.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC");
        command.args(self.args.iter().map(Secret::reveal)).envs(self.env.iter().map(|(name, value)| (name, value.reveal())));
        command.stdout(Stdio::piped());
        if self.interactive {
            // In another process group it could not read from the terminal.
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        }
        let child = command.spawn()?;
        if let Some(most) = self.descriptors {
            let pid = Pid::from_child(&child);
            let known = getrlimit(Resource::Nofile);
            // It may have ended already.
            let _ = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: known.maximum });
        }
        Ok(child)
    }
}

/// Whether a command was ended by SIGINT, or says so as a shell does.
fn is_of_interrupt(status: ExitStatus) -> bool {
    let signal = Signal::INT.as_raw();
    status.signal() == Some(signal) || status.code() == Some(128 + signal)
}

/// Starts the threads that empty the pipes and wait for the exit. `over` hears of the exit, and of an output that is too long.
fn watch(child: &mut Child, pid: Pid, stdout: &Shared, said: fn(&str), over: &Sender<()>) -> io::Result<Vec<Joined>> {
    let mut threads = Vec::with_capacity(3);
    if let Some(pipe) = child.stdout.take() {
        let (output, over) = (stdout.clone(), over.clone());
        threads.push(Joined::spawn("exec-stdout", move || {
            if !collect(pipe, &output) {
                let _ = over.try_send(());
            }
        })?);
    }
    if let Some(pipe) = child.stderr.take() {
        threads.push(Joined::spawn("exec-stderr", move || pass_on(pipe, said))?);
    }
    let over = over.clone();
    threads.push(Joined::spawn("exec-wait", move || {
        // NOWAIT leaves the process to be reaped by its owner.
        while matches!(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT), Err(rustix::io::Errno::INTR)) {}
        let _ = over.try_send(());
    })?);
    Ok(threads)
}

/// Reads until the end, or gives up with `false` once `output` is longer than [`STDOUT_BYTES_MAX`].
fn collect(mut pipe: impl Read, output: &Shared) -> bool {
    let mut chunk = [0; 4096];
    while let Some(part) = next(&mut pipe, &mut chunk) {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend_from_slice(part);
        if output.len() > STDOUT_BYTES_MAX {
            return false;
        }
    }
    true
}

/// Reads until the end and gives `said` line by line; what is beyond [`LINE_BYTES_MAX`] of one is left out.
fn pass_on(mut pipe: impl Read, said: fn(&str)) {
    let (mut chunk, mut line) = ([0; 4096], Vec::new());
    while let Some(part) = next(&mut pipe, &mut chunk) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX - line.len();
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                say(&mut line, said);
            }
        }
    }
    say(&mut line, said);
}

fn say(line: &mut Vec<u8>, said: fn(&str)) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if !text.is_empty() {
        said(text);
    }
    line.clear();
}

fn next<'a>(pipe: &mut impl Read, chunk: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match pipe.read(chunk) {
            Ok(0) => return None,
            Ok(amount) => return Some(&chunk[..amount]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn take(shared: &Shared) -> Vec<u8> {
    std::mem::take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Longest accepted output. A token of a large identity provider has 12 KB, a certificate chain with key 20 KB.
const STDOUT_BYTES_MAX: usize = 1024 * 1024;
/// Longest line of stderr.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// How long to wait for the same Ctrl-C to reach this process.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait for the rest of the output once the command has ended; a daemon that it left behind may hold the pipe for ever.
const READERS_LIMIT: Duration = Duration::from_secs(1);
