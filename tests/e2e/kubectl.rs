//! `kubectl`, as a person would use it, for the changes that the daemon has to see.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `kubectl` with one kubeconfig.
#[derive(Debug)]
pub(crate) struct Kubectl {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    /// Talks to the server of `kubeconfig` and keeps its own cache of discovery in `cache`.
    pub(crate) fn new(kubeconfig: &Path, cache: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), cache: cache.to_owned() }
    }

    /// The arguments are split at blanks: `kubectl.run("delete configmap a -n b")`. Returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails, with what it said.
    pub(crate) fn run(&self, arguments: &str) -> String {
        self.checked(arguments, "")
    }

    /// As [`run`](Self::run); the answer is whether it succeeded.
    pub(crate) fn succeeds(&self, arguments: &str) -> bool {
        self.output(arguments, "").status.success()
    }

    /// Applies the manifests, as JSON or YAML.
    pub(crate) fn apply(&self, manifests: &str) {
        self.checked("apply --validate=false -f -", manifests);
    }

    /// Has the server say that it would take the manifests.
    pub(crate) fn dry_run(&self, manifests: &str) {
        self.checked("apply --dry-run=server -f -", manifests);
    }

    /// Creates the objects of the manifests, as JSON or YAML.
    pub(crate) fn create(&self, manifests: &str) {
        self.checked("create --validate=false -f -", manifests);
    }

    /// Puts `document` to this path, where the server takes it: a controller of its own may have been there before.
    pub(crate) fn replace_raw(&self, path: &str, document: &str) {
        self.output(&format!("replace --raw {path} -f -"), document);
    }

    /// One that has not run yet, for `kubectl proxy`.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(&self.cache);
        command
    }

    fn checked(&self, arguments: &str, input: &str) -> String {
        let output = self.output(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {}: {said}\n{input}", output.status);
        String::from_utf8(output.stdout).expect("kubectl prints UTF-8")
    }

    fn output(&self, arguments: &str, input: &str) -> Output {
        let mut child = self
            .command()
            .args(["--request-timeout", "30s"])
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is on PATH: these tests need it");
        // An error here means that it ended without reading; its exit status tells why.
        drop(child.stdin.take().expect("stdin is piped").write_all(input.as_bytes()));
        child.wait_with_output().expect("kubectl can be waited for")
    }
}
