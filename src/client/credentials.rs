//! The login of one client: what to send, until when, and how to get another.
//!
//! All transports of a client share one [`Session`]. Everything that lies in a file, the kubeconfig itself too, is looked at
//! again once a minute, and at once when the server refuses the login or TLS fails; an exec plugin runs when its credential
//! expires or is refused, one run at a time; in between a login is a clone of a few pointers.
//!
//! What was read is replaced as a whole or not at all: while a file is half-written, the credentials read before stay in
//! use, which is said once. A new login holds from the next request on, a new certificate or authority for connections
//! made from then on. An open watch goes on with the old ones, which servers judge only when it begins, and ends by its
//! own timeout within four minutes.

mod read;

pub(crate) use read::Tls;

use super::SetupError;
use super::blot::Blotter;
use super::endpoint::{Endpoint, LoginSource};
use super::exec::Credential;
use super::files::Files;
use super::interrupt::{Ending, Turn};
use super::kubeconfig::Variables;
use super::proxy::Proxy;
use super::secret::Secret;
use super::tls::Material;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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

/// The shared login.
#[derive(Debug)]
pub(crate) struct Session {
    /// As at the start. The server, the way to it and whom to act as stay so.
    endpoint: Endpoint,
    files: Files,
    /// The soft limit of descriptors that plugins get; `None` for that of this process.
    descriptors: Option<u64>,
    state: Mutex<State>,
    turn: Turn,
    pace: Pace,
    /// Knows every login that was made.
    blotter: Blotter,
}

/// When to look and to try again.
#[derive(Clone, Copy, Debug)]
struct Pace {
    look_again: Duration,
    look_again_after_failure: Duration,
    plugin_rest: Duration,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    /// When to look at files again; `None` where there are none.
    look_again: Option<Instant>,
    /// The server refused the login.
    refused: bool,
    /// Until then the plugin is not run again, whatever it gave last.
    plugin_rests_until: Option<Instant>,
    /// Why the plugin gave nothing when it ran last.
    plugin_failure: Option<String>,
    /// What was said about files that cannot be read again.
    complaint: Option<String>,
}

/// A login and all that it was made of, read at one time.
struct Held {
    login: Login,
    material: Material,
    source: Arc<Endpoint>,
    /// What the exec plugin gave.
    plugin: Option<Credential>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("login", &self.held.as_ref().map(|held| &held.login)).finish_non_exhaustive()
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.generation == other.generation
    }
}

impl Session {
    pub(crate) fn new(endpoint: Endpoint, files: Files, descriptors: Option<u64>) -> Self {
        Self { endpoint, files, descriptors, state: Mutex::default(), turn: Turn::new(), pace: PACE, blotter: Blotter::default() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes what it logs in with out of texts.
    pub(crate) fn blotter(&self) -> &Blotter {
        &self.blotter
    }

    /// Reads and checks what is in files or given, so that mistakes show before the first request. Runs no plugin.
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        match self.endpoint.login {
            LoginSource::Exec(_) => read::tls(&self.endpoint, &read::material(&self.endpoint, None, &self.files)?).map(|_| ()),
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::TokenFile { .. } | LoginSource::Basic { .. } => {
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
        let (held, refused) = {
            let state = self.lock();
            (state.held.clone(), state.refused)
        };
        let is_spent = refused || held.as_ref().is_some_and(|held| held.has_expired());
        match self.renew(held.as_deref(), is_spent, ending) {
            Ok(held) => Ok(self.keep(held)),
            Err(SetupError::Interrupted) => Err(SetupError::Interrupted),
            Err(error) => match held.filter(|_| !is_spent) {
                Some(held) => {
                    self.complain(&error);
                    Ok(held.login.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Says that the server refused `login`. Returns whether another one may be had now.
    pub(crate) fn refuse(&self, login: &Login) -> bool {
        let mut state = self.lock();
        let Some(held) = state.held.clone().filter(|held| held.login == *login) else { return true };
        let may_change = match held.source.login {
            LoginSource::Exec(_) => !state.plugin_rests(),
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::TokenFile { .. } | LoginSource::Basic { .. } => {
                held.source.has_files()
            }
        };
        state.refused |= may_change;
        may_change
    }

    /// Says that client and server could not agree on TLS: a certificate or an authority may have been replaced.
    pub(crate) fn doubt(&self) {
        let mut state = self.lock();
        state.look_again = state.look_again.map(|time| time.min(Instant::now()));
    }

    fn fresh(&self) -> Option<Login> {
        let state = self.lock();
        let is_stale = state.refused || state.look_again.is_some_and(|time| Instant::now() >= time);
        state.held.as_ref().filter(|held| !is_stale && !held.has_expired()).map(|held| held.login.clone())
    }

    /// Reads everything again. `is_spent`: what the plugin gave last is of no more use.
    fn renew(&self, held: Option<&Held>, is_spent: bool, ending: &Ending) -> Result<Held, SetupError> {
        let files = self.files.again(ending);
        let source = self.source(held, &files)?;
        let (authorization, plugin) = match &source.login {
            LoginSource::Exec(exec) => {
                // Not run again just to look at files: its credential says how long it holds.
                let known = held.filter(|held| !is_spent && held.source.login == source.login);
                let credential = match known.and_then(|held| held.plugin.clone()) {
                    Some(credential) => credential,
                    None => self.run(exec, ending)?,
                };
                (credential.token.as_ref().map(read::bearer), Some(credential))
            }
            LoginSource::Nothing | LoginSource::Token(_) | LoginSource::TokenFile { .. } | LoginSource::Basic { .. } => {
                (self.authorization(&source, held, &files)?, None)
            }
        };
        let material = read::material(&source, plugin.as_ref().and_then(|credential| credential.identity.as_ref()), &files)?;
        let same = held.filter(|held| held.material == material && held.source.trust == source.trust);
        let tls = match same {
            Some(held) => held.login.tls.clone(),
            None => read::tls(&source, &material)?,
        };
        let login = match (held, same) {
            (Some(held), Some(_)) if held.login.authorization == authorization => held.login.clone(),
            (Some(held), _) => Login { authorization, tls, generation: held.login.generation + 1 },
            (None, _) => Login { authorization, tls, generation: 0 },
        };
        Ok(Held { login, material, source, plugin })
    }

    /// The header of a login without a plugin. As in client-go, a token beside a token file stands in for it.
    fn authorization(&self, source: &Endpoint, held: Option<&Held>, files: &Files) -> Result<Option<Secret>, SetupError> {
        match (read::authorization(&source.login, files), &source.login) {
            (Err(SetupError::Interrupted), _) => Err(SetupError::Interrupted),
            (Err(error), LoginSource::TokenFile { meanwhile: Some(token), .. }) => {
                log::debug!("{}: going on without the token file: {error}", self.endpoint.server);
                let known = held.filter(|held| held.source.login == source.login);
                Ok(known.map_or_else(|| Some(read::bearer(token)), |held| held.login.authorization.clone()))
            }
            (found, _) => found,
        }
    }

    /// What the kubeconfig says now.
    fn source(&self, held: Option<&Held>, files: &Files) -> Result<Arc<Endpoint>, SetupError> {
        let Some(held) = held else { return Ok(Arc::new(self.endpoint.clone())) };
        let variables: Variables<'_> = &|name| std::env::var(name).ok();
        let changed = match &held.source.again {
            Some(again) => again.changed(&self.endpoint, variables, files.clone())?,
            None => None,
        };
        Ok(changed.map_or_else(|| Arc::clone(&held.source), Arc::new))
    }

    /// Runs the plugin, but not again and again: hundreds of watches may want what it does not give.
    fn run(&self, plugin: &super::exec::ExecPlugin, ending: &Ending) -> Result<Credential, SetupError> {
        {
            let state = self.lock();
            if let Some(problem) = state.plugin_failure.as_ref().filter(|_| state.plugin_rests()) {
                return Err(SetupError::exec(&plugin.name(), problem.clone()));
            }
        }
        let given = plugin.run(ending, std::io::IsTerminal::is_terminal(&std::io::stdin()), self.descriptors);
        let mut state = self.lock();
        state.plugin_failure = match &given {
            Err(SetupError::Exec { problem, .. }) => Some(problem.clone()),
            Ok(_) | Err(_) => None,
        };
        // The first credential may be refused at once, as when its session is over; the one that follows it is not renewed at once.
        if state.refused || state.plugin_failure.is_some() {
            state.plugin_rests_until = Some(Instant::now() + self.pace.plugin_rest);
        }
        given
    }

    fn keep(&self, held: Held) -> Login {
        let login = held.login.clone();
        login.authorization.iter().for_each(|header| self.blotter.learn_header(header));
        if let LoginSource::Basic { user, password } = &held.source.login {
            self.blotter.learn_password(user, password.reveal());
        }
        if let Some(Proxy { user: Some(user), password, .. }) = &self.endpoint.proxy {
            self.blotter.learn_password(user.reveal(), password.as_ref().map_or("", Secret::reveal));
        }
        let look_again = held.source.has_files().then(|| Instant::now() + self.pace.look_again);
        let mut state = self.lock();
        (state.look_again, state.refused) = (look_again, false);
        let before = state.held.replace(Arc::new(held));
        if state.complaint.take().is_some() {
            log::info!("{}: credentials can be read again", self.endpoint.server);
        } else if before.is_some_and(|before| before.login != login) {
            log::debug!("{}: new credentials, used from the next request on", self.endpoint.server);
        }
        login
    }

    /// Goes on with what was read before; the same trouble is told once.
    fn complain(&self, error: &SetupError) {
        let mut state = self.lock();
        state.look_again = Some(Instant::now() + self.pace.look_again_after_failure);
        let complaint = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        if state.complaint.as_ref() != Some(&complaint) {
            log::warn!(
                cause = complaint.as_str();
                "{}: cannot read credentials again, going on with those read before", self.endpoint.server
            );
            state.complaint = Some(complaint);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn plugin_rests(&self) -> bool {
        self.plugin_rests_until.is_some_and(|end| Instant::now() < end)
    }
}

impl Held {
    fn has_expired(&self) -> bool {
        self.plugin.as_ref().and_then(|credential| credential.expires).is_some_and(|expires| SystemTime::now() >= expires)
    }
}

const PACE: Pace = Pace { look_again: LOOK_AGAIN, look_again_after_failure: LOOK_AGAIN_AFTER_FAILURE, plugin_rest: PLUGIN_REST };
/// How long what was read from files is used before they are read again. Kubernetes asks for at least once a minute for
/// bound service account tokens.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How soon to look again at files that could not be read, which is how they are while they are replaced.
const LOOK_AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long a plugin rests that failed, or whose credentials are refused: it may ask a cloud, for hundreds of watches.
const PLUGIN_REST: Duration = Duration::from_secs(10);
/// How long to wait for another transport's exec plugin: longer than it may run.
const TURN_LIMIT: Duration = Duration::from_secs(330);

#[cfg(test)]
#[cfg(feature = "exec")]
mod tests;
