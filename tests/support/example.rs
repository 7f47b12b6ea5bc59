//! The programs of `examples/`, as they are built: started, listened to, and ended with Ctrl-C.

use super::process::Guarded;
use super::wait::{SOON, eventually, eventually_some};
use faro::lifecycle::Joined;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// An example at work, in a folder of its own.
pub(crate) struct Example {
    process: Guarded,
    stdout: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
    // End when the process does.
    readers: Vec<Joined>,
}

impl Example {
    /// With `kubeconfig`, in `folder`, and nothing of this process's environment.
    pub(crate) fn start(name: &str, kubeconfig: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary(name));
        command.args(arguments).env_clear().env("KUBECONFIG", kubeconfig).env("HOME", folder);
        command.env("RUST_LOG", format!("warn,{name}=info")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::start(&mut command);
        let (stdout, log) = (Arc::default(), Arc::default());
        let child = process.child();
        let readers = vec![
            keep(child.stdout.take().expect("stdout is piped"), &stdout),
            keep(child.stderr.take().expect("stderr is piped"), &log),
        ];
        Self { process, stdout, log, readers }
    }

    /// Waits for a whole line, on stdout or in the log, with all of `words` in it.
    pub(crate) fn wait_for(&mut self, words: &[&str]) {
        eventually(SOON, &format!("the example says {words:?}"), || {
            let (stdout, log) = (text(&self.stdout), text(&self.log));
            assert!(self.process.ended().is_none(), "the example has ended:\n{stdout}\n{log}");
            let mut lines = stdout.split_inclusive('\n').chain(log.split_inclusive('\n'));
            lines.any(|line| line.ends_with('\n') && words.iter().all(|word| line.contains(word)))
        });
    }

    /// What it said in all about what `word` stands in. Ctrl-C ends it, and it exits 0.
    pub(crate) fn stop(mut self, word: &str) -> Vec<String> {
        self.process.signal(Signal::INT);
        let status = eventually_some(SOON, "the example ends", || self.process.ended());
        self.readers.clear();
        let stdout = text(&self.stdout);
        assert_eq!(status.code(), Some(0), "{stdout}\n{}", text(&self.log));
        stdout.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }
}

fn keep(mut pipe: impl Read + Send + 'static, kept: &Arc<Mutex<String>>) -> Joined {
    let kept = Arc::clone(kept);
    let read = move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    Joined::spawn("example", read).expect("a thread more")
}

fn text(kept: &Mutex<String>) -> String {
    kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Beside this test: target/PROFILE/deps/it-… and target/PROFILE/examples/NAME.
pub(crate) fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own file");
    let path = this.ancestors().nth(2).expect("it lies two folders deep").join("examples").join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// The JSON lines of all events files.
pub(crate) fn lines(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(folder).expect("the example has made it").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let texts: Vec<_> = files.iter().map(|path| fs::read_to_string(path).expect("it is ours")).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}
