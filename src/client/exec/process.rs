//! Runs one command to its end, within limits of time and output, and leaves none of its processes behind.

use crate::client::interrupt::Ending;
use crate::client::secret::Secret;
use crate::lifecycle::Joined;
use crossbeam_channel::{Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
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
}

/// Why there is no output.
pub(super) enum Failure {
    Start(io::Error),
    Interrupted,
    TooSlow,
    TooLong,
    Status { status: ExitStatus, stderr: Vec<u8> },
}

type Shared = Arc<Mutex<Vec<u8>>>;

impl Run {
    /// What the command printed when it succeeded.
    pub(super) fn outcome(&self, ending: &Ending) -> Result<Vec<u8>, Failure> {
        let mut child = self.start().map_err(Failure::Start)?;
        let pid = Pid::from_child(&child);
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let (over, is_over) = bounded(2);
        let threads = watch(&mut child, pid, &stdout, &stderr, &over);
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
        if status.success() { Ok(output) } else { Err(Failure::Status { status, stderr: take(&stderr) }) }
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
        command.spawn()
    }
}

/// Starts the threads that empty the pipes and wait for the exit. `over` hears of the exit, and of an output that is too long.
fn watch(child: &mut Child, pid: Pid, stdout: &Shared, stderr: &Shared, over: &Sender<()>) -> io::Result<Vec<Joined>> {
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
        let tail = stderr.clone();
        threads.push(Joined::spawn("exec-stderr", move || drain(pipe, &tail))?);
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

/// Reads until the end and keeps the last [`STDERR_TAIL_BYTES`].
fn drain(mut pipe: impl Read, tail: &Shared) {
    let mut chunk = [0; 4096];
    while let Some(part) = next(&mut pipe, &mut chunk) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(part);
        let surplus = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..surplus);
    }
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
/// How much of what the command said last goes into an error.
const STDERR_TAIL_BYTES: usize = 512;
/// How long to wait for the rest of the output once the command has ended; a daemon that it left behind may hold the pipe for ever.
const READERS_LIMIT: Duration = Duration::from_secs(1);
