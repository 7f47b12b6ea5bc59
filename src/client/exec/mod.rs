//! Exec credential plugins: `client.authentication.k8s.io/v1` and `v1beta1`.
//!
//! Takes the `exec` entry of a user; runs its command with a time limit and gives the credential that it prints.

mod process;

use super::SetupError;
use super::files::Files;
use super::interrupt::Ending;
use super::kubeconfig::model::{Cluster, Exec};
use super::kubeconfig::read::{Fields, Mistake, json_or_yaml};
use super::kubeconfig::select::{beside, cluster_info};
use super::secret::Secret;
use super::url::Url;
use jiff::Timestamp;
use process::Run;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A command that prints a credential, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecPlugin {
    command: PathBuf,
    args: Vec<Secret>,
    env: Vec<(String, Secret)>,
    api_version: &'static str,
    install_hint: String,
    interactive: Interactive,
    /// The JSON of `spec.cluster`; may hold a proxy's password.
    cluster: Option<Secret>,
}

/// Whether the command may talk to the person at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interactive {
    Never,
    IfAvailable,
    Always,
}

/// What the command printed.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) token: Option<Secret>,
    /// PEM texts of a certificate chain and its key.
    pub(crate) identity: Option<(Secret, Secret)>,
    /// When it ends; `None` while the server accepts it.
    pub(crate) expires: Option<SystemTime>,
}

impl ExecPlugin {
    /// Checks the entry of a kubeconfig; runs nothing.
    pub(crate) fn from_kubeconfig(
        exec: &Exec,
        file: &Path,
        place: &str,
        cluster: &Cluster,
        cluster_file: &Path,
        server: &Url,
        files: &Files,
    ) -> Result<Self, SetupError> {
        if !cfg!(feature = "exec") {
            return Err(SetupError::kubeconfig(place, lacking()));
        }
        let api_version = match exec.api_version.as_str() {
            V1 => V1,
            V1BETA1 => V1BETA1,
            found => {
                let found = if found.is_empty() { "nothing" } else { found };
                return Err(SetupError::kubeconfig(place, format!("exec: apiVersion must be {V1} or {V1BETA1}, found {found}")));
            }
        };
        let interactive = match exec.interactive_mode.as_str() {
            "Never" => Interactive::Never,
            "IfAvailable" => Interactive::IfAvailable,
            "Always" => Interactive::Always,
            "" if api_version == V1BETA1 => Interactive::IfAvailable,
            found => {
                let found = if found.is_empty() { "nothing" } else { found };
                return Err(SetupError::kubeconfig(
                    place,
                    format!("exec: interactiveMode must be Never, IfAvailable or Always, found {found}"),
                ));
            }
        };
        if exec.command.is_empty() {
            return Err(SetupError::kubeconfig(place, "exec: command is empty"));
        }
        if exec.env.iter().any(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(SetupError::kubeconfig(place, "exec: env has a variable whose name is empty or holds `=`"));
        }
        let cluster = if exec.provide_cluster_info {
            let info = cluster_info(cluster, cluster_file, server, files)?;
            Some(Secret::new(serde_json::to_string(&info).expect("a map of JSON values is JSON")))
        } else {
            None
        };
        // As in a shell, a bare word is looked for in PATH and anything with a slash is a path.
        let command = if exec.command.contains('/') { beside(file, &exec.command) } else { PathBuf::from(&exec.command) };
        Ok(Self {
            command,
            args: exec.args.clone(),
            env: exec.env.clone(),
            api_version,
            install_hint: exec.install_hint.clone(),
            interactive,
            cluster,
        })
    }

    /// Runs the command. `terminal` says whether a person sits at stdin, `descriptors` is its soft limit of them.
    ///
    /// # Blocking
    ///
    /// Until the command ends, [`TIME_LIMIT`] passes or the end comes.
    pub(crate) fn run(&self, ending: &Ending, terminal: bool, descriptors: Option<u64>) -> Result<Credential, SetupError> {
        // Whatever only a plugin needs is not even linked then.
        if !cfg!(feature = "exec") {
            return Err(self.error(lacking()));
        }
        let interactive = match self.interactive {
            Interactive::Never => false,
            Interactive::IfAvailable => terminal,
            Interactive::Always if terminal => true,
            Interactive::Always => return Err(self.error("it needs a terminal (interactiveMode: Always), and there is none")),
        };
        let limit = if interactive { INTERACTIVE_TIME_LIMIT } else { TIME_LIMIT };
        let mut run = self.prepare(interactive, limit, descriptors);
        if !self.command.as_os_str().as_encoded_bytes().contains(&b'/') {
            run.command = find_in_path(std::env::var_os("PATH"), &self.command).ok_or_else(|| self.not_found())?;
        }
        let outcome = run.outcome(ending);
        let output = outcome.map_err(|failure| match failure {
            process::Failure::Start(error) if error.kind() == io::ErrorKind::NotFound => self.not_found(),
            process::Failure::Start(error) => self.error(format!("cannot be started: {error}")),
            process::Failure::Interrupted => SetupError::Interrupted,
            process::Failure::TooSlow => self.error(format!("gave no answer within {} s", limit.as_secs())),
            process::Failure::TooLong => self.error("printed more than 1 MiB"),
            process::Failure::Status(status) => {
                self.error(format!("failed with {status}; what it says is on stderr of this process"))
            }
        })?;
        self.read(&output)
    }

    fn prepare(&self, interactive: bool, limit: Duration, descriptors: Option<u64>) -> Run {
        let mut env = self.env.clone();
        env.push(("KUBERNETES_EXEC_INFO".to_owned(), Secret::new(self.info(interactive))));
        let (command, args) = (self.command.clone(), self.args.clone());
        Run { command, args, env, interactive, limit, descriptors, said: say }
    }

    fn info(&self, interactive: bool) -> String {
        let cluster = self.cluster.as_ref().map(|json| format!(",\"cluster\":{}", json.reveal())).unwrap_or_default();
        let version = self.api_version;
        format!(r#"{{"kind":"ExecCredential","apiVersion":"{version}","spec":{{"interactive":{interactive}{cluster}}}}}"#)
    }

    fn read(&self, output: &[u8]) -> Result<Credential, SetupError> {
        let text = std::str::from_utf8(output).map_err(|_| self.error("printed what is not UTF-8 text"))?;
        let answer = json_or_yaml(text, Answer::read)
            .map_err(|mistake| self.error(format!("printed no ExecCredential: {}", mistake.problem)))?;
        if answer.kind != "ExecCredential" || answer.api_version != self.api_version {
            let wanted = self.api_version;
            return Err(self.error(format!(
                "printed another kind or apiVersion than ExecCredential of {wanted}, which the kubeconfig asks for"
            )));
        }
        let status = answer.status.ok_or_else(|| self.error("printed an ExecCredential without a status"))?;
        let present = |secret: Secret| Some(secret).filter(|secret| !secret.is_empty());
        let identity = match (present(status.client_certificate_data), present(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(self.error("printed only one of clientCertificateData and clientKeyData; both belong together"));
            }
        };
        let token = present(status.token);
        if token.is_none() && identity.is_none() {
            return Err(self.error("printed neither a token nor a client certificate"));
        }
        if token.as_ref().is_some_and(|token| token.reveal().bytes().any(|byte| byte.is_ascii_control())) {
            return Err(self.error("printed a token with a line end or another control character, which no request can carry"));
        }
        let expires = Some(status.expiration_timestamp)
            .filter(|text| !text.is_empty())
            .map(|text| text.parse::<Timestamp>()?.try_into())
            .transpose();
        let expires =
            expires.map_err(|_: jiff::Error| self.error("printed an expirationTimestamp that is not an RFC 3339 time"))?;
        Ok(Credential { token, identity, expires })
    }

    fn not_found(&self) -> SetupError {
        let hint = without_userinfo(self.install_hint.trim());
        let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
        self.error(format!("not found; install it or correct its path{hint}"))
    }

    fn error(&self, problem: impl Into<String>) -> SetupError {
        SetupError::exec(&self.name(), problem)
    }

    /// The command without its arguments, for messages.
    pub(crate) fn name(&self) -> String {
        self.command.display().to_string()
    }
}

/// The text with the URLs in it, but without their names and passwords.
fn without_userinfo(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let authority = &after[..after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len())];
        let host = authority.rfind('@').map_or(0, |at| at + 1);
        shown += before;
        shown += "://";
        rest = &after[host..];
    }
    shown + rest
}

/// Where a bare word leads in PATH. As in Go, an element that is empty or relative leads nowhere: whoever writes into the working
/// folder would choose the plugin.
fn find_in_path(path: Option<OsString>, word: &Path) -> Option<PathBuf> {
    let path = path?;
    let found = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(word));
    let mut found = found;
    found.find(|file| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

/// Passes a line of a plugin on to whoever started this process, and to nobody else: it may quote what the plugin was given.
fn say(line: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "credential plugin: {}", shown(line));
}

/// Without what would control a terminal or turn its text around.
fn shown(line: &str) -> String {
    let is_odd =
        |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if is_odd(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

fn lacking() -> String {
    crate::config::lacks("exec", "log in with a token or a certificate")
}

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
/// How long a command may take; those that ask a cloud take a few seconds.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long a command may take when a person has to answer it.
const INTERACTIVE_TIME_LIMIT: Duration = Duration::from_secs(300);

struct Answer {
    kind: String,
    api_version: String,
    status: Option<AnswerStatus>,
}

struct AnswerStatus {
    expiration_timestamp: String,
    token: Secret,
    client_certificate_data: Secret,
    client_key_data: Secret,
}

impl Answer {
    fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        let status = fields.mapping("status")?.map(|status| {
            Ok(AnswerStatus {
                expiration_timestamp: status.text("expirationTimestamp")?,
                token: status.secret("token")?,
                client_certificate_data: status.secret("clientCertificateData")?,
                client_key_data: status.secret("clientKeyData")?,
            })
        });
        Ok(Self { kind: fields.text("kind")?, api_version: fields.text("apiVersion")?, status: status.transpose()? })
    }
}

#[cfg(test)]
#[cfg(feature = "exec")]
mod tests;
