//! One API server and how to log in, as a kubeconfig or a pod's files say it; nothing is opened or read here but files.

use super::SetupError;
use super::exec::ExecPlugin;
use super::files::Files;
use super::kubeconfig::Again;
use super::proxy::Proxy;
use super::secret::Secret;
use super::url::Url;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Everything that a [`Client`](super::Client) is built from.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// `http` or `https`, host, port, base path; never with credentials.
    pub(crate) server: Url,
    pub(crate) trust: Trust,
    pub(crate) identity: Option<Identity>,
    pub(crate) login: LoginSource,
    /// Headers that ask to act as someone else.
    pub(crate) impersonation: Vec<(String, String)>,
    /// `None` for a direct connection.
    pub(crate) proxy: Option<Proxy>,
    /// Where all this comes from, and why from there.
    pub(crate) origin: String,
    /// The kubeconfig that holds the user's token, password or key; `None` where none does.
    pub(crate) secrets_in: Option<PathBuf>,
    /// How to learn it anew; `None` where only files that it names may change.
    pub(crate) again: Option<Again>,
}

/// How the server's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// `None` for the system's roots.
    pub(crate) authority: Option<Pem>,
    /// Accept any certificate.
    pub(crate) insecure: bool,
    /// The name to expect in the certificate, where it is not the host.
    pub(crate) server_name: Option<String>,
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: Pem,
    pub(crate) key: Pem,
}

/// Where the header `Authorization` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginSource {
    /// There is none.
    Nothing,
    /// A token that does not change.
    Token(Secret),
    /// A file whose token may change, and the token to use while it cannot be read.
    TokenFile { path: PathBuf, meanwhile: Option<Secret> },
    /// A name and a password.
    Basic { user: String, password: Secret },
    /// A command that prints a token, a client certificate, or both.
    Exec(ExecPlugin),
}

impl LoginSource {
    /// The error of a transport that waited in vain for another one's run of the plugin.
    pub(crate) fn overdue(&self) -> SetupError {
        let command = match self {
            Self::Exec(plugin) => plugin.name(),
            Self::Nothing | Self::Token(_) | Self::TokenFile { .. } | Self::Basic { .. } => "none".to_owned(),
        };
        SetupError::exec(&command, "is still running for another request")
    }
}

/// PEM text: given, or in a file that may change.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    /// What it is and where it was named, as in `certificate-authority of cluster "dev" in /x/config`.
    pub(crate) what: String,
    pub(crate) source: PemSource,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PemSource {
    Inline(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    /// The text, read anew where it is in a file.
    pub(crate) fn load(&self, files: &Files) -> Result<Vec<u8>, SetupError> {
        match &self.source {
            PemSource::Inline(text) => Ok(text.clone()),
            PemSource::File(path) => files.read(WHAT, path),
        }
    }

    /// Takes the text of a file that can be read only once.
    fn settle(&mut self, files: &Files) -> Result<(), SetupError> {
        if let PemSource::File(path) = &self.source
            && let Some(text) = files.read_once(WHAT, path)?
        {
            self.source = PemSource::Inline(text);
        }
        Ok(())
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.source, PemSource::File(_))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The permission of those who are neither the owner nor in the group.
const OTHERS_READ: u32 = 0o004;

/// What its files hold, for errors.
const WHAT: &str = "the certificate or key";

impl fmt::Debug for Pem {
    /// Keys are never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({})", self.what)
    }
}

impl Endpoint {
    /// Takes what files hold that can be read only once, as pipes.
    ///
    /// # Errors
    ///
    /// When a file cannot be read that is needed.
    pub(crate) fn settle(&mut self, files: &Files) -> Result<(), SetupError> {
        if let LoginSource::TokenFile { path, meanwhile } = &self.login {
            match files.read_once("the token", path) {
                Ok(Some(bytes)) => self.login = LoginSource::Token(token(path, &bytes)?),
                Ok(None) => {}
                Err(_) if meanwhile.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let identity = self.identity.iter_mut().flat_map(|identity| [&mut identity.certificate, &mut identity.key]);
        self.trust.authority.iter_mut().chain(identity).try_for_each(|pem| pem.settle(files))
    }

    /// The host to connect to, and its port.
    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        (&self.server.host, self.server.port.unwrap_or(if self.is_https() { 443 } else { 80 }))
    }

    /// What is unsafe about it, and what to do.
    ///
    /// # Blocking
    ///
    /// While the kubeconfig's mode is looked up.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |is_so: bool, words: String| warnings.extend(is_so.then_some(words));
        warn(
            self.trust.insecure && self.is_https(),
            format!(
                "insecure-skip-tls-verify: whoever answers at {} is believed, and is shown the credentials; set certificate-authority instead",
                self.server
            ),
        );
        let has_login = !matches!(self.login, LoginSource::Nothing);
        warn(
            has_login && !self.is_https() && !is_loopback(&self.server.host),
            format!("credentials go to {} in plain text; write https:// in the kubeconfig's server", self.server),
        );
        if let Some(path) = &self.secrets_in {
            let is_open = std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS_READ != 0);
            warn(
                is_open,
                format!(
                    "{} holds credentials and can be read by every user of this machine; chmod 600 it, or mount it with defaultMode 0400",
                    path.display()
                ),
            );
        }
        warnings
    }

    pub(crate) fn is_https(&self) -> bool {
        self.server.scheme == "https"
    }

    /// Whether anything that it says or names lies in a file, and so may change.
    pub(crate) fn has_files(&self) -> bool {
        let identity = self.identity.as_ref().is_some_and(|identity| identity.certificate.is_file() || identity.key.is_file());
        let token = matches!(self.login, LoginSource::TokenFile { .. });
        identity || token || self.again.is_some() || self.trust.authority.as_ref().is_some_and(Pem::is_file)
    }
}

/// The token that the file at `path` holds.
pub(crate) fn token(path: &Path, bytes: &[u8]) -> Result<Secret, SetupError> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SetupError::certificate(format!("token file {}", path.display()), "it holds no token"));
    }
    Ok(Secret::new(text))
}
