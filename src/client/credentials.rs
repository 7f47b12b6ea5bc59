//! The login of one client: what to send, until when, and how to get another.
//!
//! All transports of a client share one [`Session`]. Files are read again once a minute, an exec plugin runs when its credential
//! expires or is refused, one run at a time; in between a login is a clone of a few pointers.

use super::SetupError;
use super::endpoint::{Endpoint, LoginSource, Pem};
use super::exec::Credential;
use super::files::read_file;
use super::interrupt::{Ending, Turn};
use super::proxy::ProxyKind;
use super::secret::Secret;
use super::tls::{self, Material, Named};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What requests carry.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The header `Authorization`.
    pub(crate) authorization: Option<Secret>,
    /// `None` for plain `http`.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Grows with every change; tells which login a server refused.
    generation: u64,
}

/// How to open TLS connections.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// For a proxy that is reached by TLS.
    pub(crate) proxy: Option<Arc<ClientConfig>>,
}

/// The shared login.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: Endpoint,
    state: Mutex<State>,
    turn: Turn,
    look_again_after: Duration,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    material: Option<Material>,
    /// When to look at files again; `None` where there are none.
    look_again: Option<Instant>,
    /// When the exec plugin's credential ends.
    expires: Option<Timestamp>,
    /// The server refused the login.
    refused: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("login", &self.login).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, state: Mutex::default(), turn: Turn::new(), look_again_after: LOOK_AGAIN }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads and checks what is in files or given, so that mistakes show before the first request. Runs no plugin.
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        match self.endpoint.login {
            LoginSource::Exec(_) => self.tls(&self.material(None)?).map(|_| ()),
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::TokenFile(_) | LoginSource::Basic { .. } => {
                self.login(&Ending::new()).map(|_| ())
            }
        }
    }

    /// The login to use now.
    ///
    /// # Blocking
    ///
    /// While files are read or an exec plugin runs, here or for another transport, or until the end comes.
    pub(crate) fn login(&self, ending: &Ending) -> Result<Login, SetupError> {
        if let Some(login) = self.fresh() {
            return Ok(login);
        }
        let Some(_turn) = self.turn.wait(ending, Instant::now() + TURN_LIMIT) else {
            return Err(if ending.has_come() { SetupError::Interrupted } else { self.endpoint.login.overdue() });
        };
        // Another transport may have had the turn before.
        if let Some(login) = self.fresh() {
            return Ok(login);
        }
        let (known, refused) = {
            let state = self.lock();
            (state.login.clone(), state.refused)
        };
        match (self.renew(ending), known) {
            (Ok(login), _) => Ok(login),
            (Err(error), Some(login)) if !refused && self.outlives_errors() => {
                log::warn!(cause:% = error; "{}: cannot read credentials again, going on with those read before", self.endpoint.server);
                self.lock().look_again = Some(Instant::now() + self.look_again_after);
                Ok(login)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Says that the server refused `login`. Returns whether another one may be had.
    pub(crate) fn refuse(&self, login: &Login) -> bool {
        let mut state = self.lock();
        let renewable = match &self.endpoint.login {
            LoginSource::TokenFile(_) | LoginSource::Exec(_) => true,
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::Basic { .. } => self.has_identity_files(),
        };
        if renewable && state.login.as_ref().is_some_and(|known| known.generation == login.generation) {
            state.refused = true;
        }
        renewable
    }

    fn fresh(&self) -> Option<Login> {
        let state = self.lock();
        let stale = state.refused
            || state.look_again.is_some_and(|time| Instant::now() >= time)
            || state.expires.is_some_and(|expires| Timestamp::now() >= expires);
        state.login.clone().filter(|_| !stale)
    }

    fn renew(&self, ending: &Ending) -> Result<Login, SetupError> {
        let (authorization, identity, expires) = self.authorization(ending)?;
        let material = self.material(identity)?;
        let known = {
            let state = self.lock();
            state.login.clone().zip(state.material.clone())
        };
        let (generation, tls) = match known {
            Some((login, same)) if same == material => (login.generation + 1, login.tls),
            Some((login, _)) => (login.generation + 1, self.tls(&material)?),
            None => (0, self.tls(&material)?),
        };
        let login = Login { authorization, tls, generation };
        let look_again = self.has_files().then(|| Instant::now() + self.look_again_after);
        *self.lock() = State { login: Some(login.clone()), material: Some(material), look_again, expires, refused: false };
        Ok(login)
    }

    #[expect(clippy::type_complexity, reason = "three parts of one answer, taken apart at once by the only caller")]
    fn authorization(
        &self,
        ending: &Ending,
    ) -> Result<(Option<Secret>, Option<(Secret, Secret)>, Option<Timestamp>), SetupError> {
        Ok(match &self.endpoint.login {
            LoginSource::Nothing => (None, None, None),
            LoginSource::Token(token) => (Some(bearer(token)), None, None),
            LoginSource::TokenFile(path) => (Some(bearer(&read_token(path)?)), None, None),
            LoginSource::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
                (Some(Secret::new(format!("Basic {pair}"))), None, None)
            }
            LoginSource::Exec(plugin) => {
                // Files of a client certificate may be stale where the plugin's credential is not.
                let Credential { token, identity, expires } = plugin.run(ending, std::io::stdin().is_terminal())?;
                (token.as_ref().map(bearer), identity, expires)
            }
        })
    }

    fn material(&self, exec: Option<(Secret, Secret)>) -> Result<Material, SetupError> {
        let load = |pem: &Pem| Ok::<_, SetupError>(Named { what: pem.what.clone(), text: pem.load()? });
        let (certificate, key) = match (exec, &self.endpoint.identity) {
            (Some((certificate, key)), _) => {
                let named = |what: &str, text: &Secret| Named { what: what.to_owned(), text: text.reveal().as_bytes().to_vec() };
                (
                    Some(named("clientCertificateData of the credential plugin", &certificate)),
                    Some(named("clientKeyData of the credential plugin", &key)),
                )
            }
            (None, Some(identity)) => (Some(load(&identity.certificate)?), Some(load(&identity.key)?)),
            (None, None) => (None, None),
        };
        Ok(Material { authority: self.endpoint.trust.authority.as_ref().map(load).transpose()?, certificate, key })
    }

    fn tls(&self, material: &Material) -> Result<Option<Arc<Tls>>, SetupError> {
        let through_tls = self.endpoint.proxy.as_ref().is_some_and(|proxy| proxy.kind == ProxyKind::Https);
        if !self.endpoint.is_https() && !through_tls {
            return Ok(None);
        }
        let trust = &self.endpoint.trust;
        let server_name = tls::server_name(trust.server_name.as_deref().unwrap_or(&self.endpoint.server.host))?;
        let proxy = if through_tls { Some(Arc::new(tls::proxy_config(material)?)) } else { None };
        Ok(Some(Arc::new(Tls { server: Arc::new(tls::client_config(trust, material)?), server_name, proxy })))
    }

    fn has_files(&self) -> bool {
        let authority = self.endpoint.trust.authority.as_ref().is_some_and(Pem::is_file);
        // An exec plugin is not run again just to look at files; its credential says how long it holds.
        match self.endpoint.login {
            LoginSource::TokenFile(_) => true,
            LoginSource::Exec(_) => false,
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::Basic { .. } => authority || self.has_identity_files(),
        }
    }

    fn has_identity_files(&self) -> bool {
        self.endpoint.identity.as_ref().is_some_and(|identity| identity.certificate.is_file() || identity.key.is_file())
    }

    /// Whether a login may be kept when reading it again fails: a file is missing for a moment while it is replaced.
    fn outlives_errors(&self) -> bool {
        self.has_files()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

fn read_token(path: &Path) -> Result<Secret, SetupError> {
    let bytes = read_file("the token", path)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SetupError::certificate(format!("token file {}", path.display()), "it holds no token"));
    }
    Ok(Secret::new(text))
}

/// How long a token, certificate or authority read from a file is used before the file is read again. Kubernetes asks for at least once a
/// minute for bound service account tokens.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long to wait for another transport's exec plugin: longer than it may run.
const TURN_LIMIT: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests;
