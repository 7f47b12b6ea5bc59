//! The real binary as a black box: a configuration goes in, lines, log and an exit code come out.

use super::lines::{self, Line};
use super::ports::free_port;
use super::process::Guarded;
use super::wait::{SOON, eventually, eventually_some};
use faro::lifecycle::Joined;
use rustix::param::page_size;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use ureq::Agent;

/// How a daemon is to be run. Daemons of clones share one folder and one port, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    config: Option<String>,
    kubeconfig: Option<PathBuf>,
    subcommand: Option<&'static str>,
    arguments: Vec<String>,
    port: u16,
    binary: PathBuf,
    dir: Arc<TempDir>,
    secrets: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    is_stdout_held: bool,
}

/// One that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Guarded,
    // Ends when the process does.
    reader: Option<Joined>,
    log: Arc<Mutex<String>>,
    stdout: Arc<Mutex<String>>,
    // The end that nobody reads, where that was asked for.
    held_stdout: Option<PipeReader>,
    setup: Setup,
}

/// What one left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Everything it said on stderr.
    pub(crate) log: String,
    /// Everything it wrote on stdout.
    pub(crate) stdout: String,
    /// Every line it wrote to its files.
    pub(crate) lines: Vec<Line>,
}

impl Setup {
    /// Runs with this configuration; to it are added `output_dir`, `metrics` on a free loopback port and `log_level: debug`.
    pub(crate) fn with_config(config: &str) -> Self {
        let setup = Self::bare();
        let text = setup.whole(config);
        setup.config(&text)
    }

    /// This configuration with what [`with_config`](Self::with_config) adds.
    pub(crate) fn whole(&self, config: &str) -> String {
        let (output, port) = (self.output().display().to_string(), self.port);
        let metrics = format!("metrics: {{enabled: true, port: {port}, bind_addr: 127.0.0.1}}");
        format!("output_dir: {output}\nlog_level: debug\n{metrics}\n{config}")
    }

    /// Puts this text in the place of the configuration, in one step.
    pub(crate) fn rewrite_config(&self, text: &str) {
        let next = self.folder().join("next.yaml");
        fs::write(&next, text).and_then(|()| fs::rename(&next, self.folder().join(CONFIG_FILE))).expect("the folder is ours");
    }

    /// Runs without configuration and without kubeconfig.
    pub(crate) fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("faro-daemon-").tempdir().expect("a folder for the daemon");
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_faro"));
        Self {
            config: None,
            kubeconfig: None,
            subcommand: None,
            arguments: Vec::new(),
            port: free_port(),
            binary,
            dir: Arc::new(dir),
            secrets: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            is_stdout_held: false,
        }
    }

    /// Takes this text as the whole configuration.
    pub(crate) fn config(self, text: &str) -> Self {
        Self { config: Some(text.to_owned()), ..self }
    }

    /// Logs in with this file.
    pub(crate) fn kubeconfig(self, path: &Path) -> Self {
        Self { kubeconfig: Some(path.to_owned()), ..self }
    }

    /// Runs `faro NAME` instead of the daemon.
    pub(crate) fn subcommand(self, name: &'static str) -> Self {
        Self { subcommand: Some(name), ..self }
    }

    /// Adds flags, split at blanks.
    pub(crate) fn arguments(mut self, text: &str) -> Self {
        self.arguments.extend(text.split_whitespace().map(str::to_owned));
        self
    }

    /// No output may contain any of these, nor what the cluster keeps secret.
    pub(crate) fn keeping_secret(self, secrets: Vec<String>) -> Self {
        Self { secrets, ..self }
    }

    /// Sets a variable of its environment, which is otherwise empty.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No file of it may become longer than so many blocks of 512 bytes; the limit is soft and can be raised.
    pub(crate) fn file_blocks_max(self, blocks: u32) -> Self {
        // POSIX: the unit of `ulimit -f` is 512 bytes.
        self.limited('f', blocks)
    }

    /// It begins with so many file descriptors; the limit is soft and can be raised.
    pub(crate) fn descriptors_max(self, descriptors: u32) -> Self {
        self.limited('n', descriptors)
    }

    /// Under what the shell's `ulimit -S` sets.
    fn limited(self, what: char, most: u32) -> Self {
        let binary = self.binary.clone();
        let script = format!(r#"ulimit -S -{what} "$0" && exec "$@""#);
        self.behind(vec!["sh".to_owned(), "-c".to_owned(), script, most.to_string()], &binary)
    }

    /// Runs `wrapper`, a program and its arguments, which has to become `program` with the arguments that follow.
    pub(crate) fn behind(self, wrapper: Vec<String>, program: &Path) -> Self {
        Self { wrapper, binary: program.to_owned(), ..self }
    }

    /// Nobody reads its stdout: the pipe fills up, until [`Daemon::close_stdout`].
    pub(crate) fn stdout_held(self) -> Self {
        Self { is_stdout_held: true, ..self }
    }

    /// A shell opens or closes its descriptors, as `>&-` closes stdout.
    pub(crate) fn redirected(self, redirection: &str) -> Self {
        let binary = self.binary.clone();
        let script = format!(r#"exec "$0" "$@" {redirection}"#);
        self.behind(vec!["sh".to_owned(), "-c".to_owned(), script], &binary)
    }

    /// Takes the release binary.
    ///
    /// # Panics
    ///
    /// When it was not built before.
    pub(crate) fn release(self) -> Self {
        let target = self.binary.ancestors().nth(2).expect("cargo builds into target/PROFILE");
        let binary = target.join("release/faro");
        assert!(binary.is_file(), "{} is missing: run `cargo build --release`", binary.display());
        Self { binary, ..self }
    }

    /// The port of its metrics.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its own folder, to which relative paths belong.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Where its lines go.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Starts it.
    pub(crate) fn start(self) -> Daemon {
        let mut command = self.command();
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder()).stdin(Stdio::null()).stderr(Stdio::piped());
        command.args(self.subcommand);
        if let Some(config) = &self.config {
            self.rewrite_config(config);
            command.arg("--config").arg(self.folder().join(CONFIG_FILE));
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        command.args(&self.arguments);
        Daemon::run(command, self)
    }

    /// The binary, behind its wrapper where there is one.
    fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.binary.clone()]);
        let mut command = Command::new(words.next().expect("the binary is one"));
        command.args(words);
        command
    }

    /// The program that it runs.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start_ready(self) -> Daemon {
        let mut daemon = self.start();
        daemon.wait_until_ready();
        daemon
    }

    /// Runs it to its own end.
    pub(crate) fn run_to_end(self) -> Ended {
        self.start().wait_for_end(SOON)
    }
}

impl Daemon {
    fn run(mut command: Command, setup: Setup) -> Self {
        let (stdout, their_end) = io::pipe().expect("a pipe for stdout");
        if setup.is_stdout_held {
            // What fits into a pipe depends on the sizes of the writes and on the pipes of other processes; one page is one page.
            fcntl_setpipe_size(&stdout, page_size()).expect("a pipe of one page");
        }
        let mut process = Guarded::start(command.stdout(their_end));
        // Its end goes with the command, so that the pipe ends with the process.
        drop(command);
        let stderr = process.child().stderr.take().expect("stderr is piped");
        let (log, out) = (Arc::default(), Arc::default());
        let (log_kept, out_kept) = (Arc::clone(&log), Arc::clone(&out));
        let (read, held_stdout) = if setup.is_stdout_held { (None, Some(stdout)) } else { (Some(stdout), None) };
        let reader = Joined::spawn("daemon-stderr", move || {
            let stdout = read.map(|stdout| Joined::spawn("daemon-stdout", move || keep(stdout, &out_kept)));
            keep(stderr, &log_kept);
            drop(stdout.transpose().expect("a thread for stdout"));
        });
        Self { process, reader: Some(reader.expect("a thread for stderr")), log, stdout: out, held_stdout, setup }
    }

    /// Closes the end of stdout that was held.
    pub(crate) fn close_stdout(&mut self) {
        self.held_stdout = None;
    }

    /// Waits until `/ready` says 200.
    pub(crate) fn wait_until_ready(&mut self) {
        eventually(SOON, "the daemon is ready", || {
            assert!(self.process.ended().is_none(), "the daemon ended before it was ready");
            self.http("/ready").is_some_and(|(code, _)| code == 200)
        });
    }

    /// Asks its HTTP port; `None` when nothing answers.
    pub(crate) fn http(&self, path: &str) -> Option<(u16, String)> {
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(Some(Duration::from_secs(5)));
        let agent: Agent = config.build().into();
        let mut response = agent.get(format!("http://127.0.0.1:{}{path}", self.setup.port)).call().ok()?;
        let body = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), body))
    }

    /// The sum of a metric over all its labels that contain `labels`; zero when it is not there.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = self.http("/metrics").expect("the metrics answer");
        let of_name = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        of_name.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How it is run.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// What it said on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it wrote on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a line of its log contains all of `words`.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        let fits = |line: &&str| words.iter().all(|word| line.contains(word));
        eventually_some(SOON * 2, &format!("the log has a line with {words:?}"), || {
            self.log().lines().find(fits).map(str::to_owned)
        })
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        lines::read(&self.setup.output())
    }

    /// Its events files, oldest first.
    pub(crate) fn events_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.setup.output()).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    /// Waits until the lines are as they should be.
    pub(crate) fn wait_for_lines(&self, what: &str, mut condition: impl FnMut(&[Line]) -> bool) -> Vec<Line> {
        eventually_some(SOON * 2, what, || Some(self.lines()).filter(|lines| condition(lines)))
    }

    /// Waits until a line with this [`Line::brief`] is there.
    pub(crate) fn wait_for(&self, brief: &str) {
        self.wait_for_lines(brief, |lines| lines.iter().any(|line| line.brief() == brief));
    }

    /// Asks it to stop, and demands that it drains and exits 0.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait_for_end(STOP_LIMIT);
        assert_eq!(ended.code, Some(0), "a daemon that is asked to stop exits 0:\n{}", ended.log);
        ended
    }

    /// Waits for its end.
    pub(crate) fn wait_for_end(mut self, deadline: Duration) -> Ended {
        let code = self.wait_for_code(deadline);
        let ended = Ended { code, log: self.log(), stdout: self.stdout(), lines: self.lines() };
        self.check_outputs();
        ended
    }

    /// As [`stop`](Self::stop), for whoever reads its files by himself.
    pub(crate) fn stop_unread(mut self) {
        self.signal(Signal::TERM);
        let code = self.wait_for_code(STOP_LIMIT);
        assert_eq!(code, Some(0), "a daemon that is asked to stop exits 0:\n{}", self.log());
        self.check_outputs();
    }

    /// Ends it as a crash would. Gives what it said.
    pub(crate) fn kill(mut self) -> String {
        self.signal(Signal::KILL);
        self.process.child().wait().expect("a child of ours can be waited for");
        self.reader = None;
        self.log()
    }

    /// Its exit code, when it has ended by itself.
    pub(crate) fn code(&mut self) -> Option<Option<i32>> {
        self.process.ended().map(|status| status.code())
    }

    fn wait_for_code(&mut self, deadline: Duration) -> Option<i32> {
        let status = eventually_some(deadline, "the daemon ends", || self.process.ended());
        // Both pipes end with the process; what they held is complete after this.
        self.reader = None;
        status.code()
    }

    /// Nothing panics, and no credential is told.
    fn check_outputs(&self) {
        let mut outputs = vec![self.log(), self.stdout()];
        read_all(&self.setup.output(), &mut outputs);
        for text in &outputs {
            assert!(!text.contains("panicked at"), "a thread of the daemon panicked");
            assert!(!self.setup.secrets.iter().any(|secret| text.contains(secret)), "an output holds a credential");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().collect();
            let tail = tail[tail.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
            let lines: Vec<String> = self.arrived();
            let config = self.setup.config.as_deref().unwrap_or("(none)");
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let text = format!(
                "--- {name}: config\n{config}\n--- {name}: end of its log\n{tail}\n--- {name}: the last of {} lines\n{}\n---\n",
                lines.len(),
                lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n"),
            );
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
    }
}

impl Daemon {
    /// The lines as text: here a wrong one must not panic again.
    fn arrived(&self) -> Vec<String> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.setup.output()).into_iter().flatten().flatten() {
            if entry.path().is_file() {
                files.extend(fs::read_to_string(entry.path()));
            }
        }
        files.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
    }
}

fn keep(mut from: impl Read, kept: &Mutex<String>) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

fn read_all(folder: &Path, outputs: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            read_all(&entry.path(), outputs);
        } else {
            outputs.push(String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()).into_owned());
        }
    }
}

const CONFIG_FILE: &str = "config.yaml";

/// The default grace, and a little.
const STOP_LIMIT: Duration = Duration::from_secs(15);

const LOG_LINES_SHOWN: usize = 40;
