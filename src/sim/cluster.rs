//! The simulated cluster, as its users see it.
//!
//! Takes what a test wants to happen in a cluster: objects that come, change and go, faults, a restart, a restore. Gives a URL,
//! a kubeconfig and a client. Promises that everything it started has ended when it is dropped.

mod logins;
mod objects;
#[cfg(test)]
mod tests;

pub use objects::Refused;

use super::api::{Reply, Request, answer};
use super::authority::Authority;
use super::faults::{Fault, Faults, Hidden, Injector};
use super::http::{Lists, Server, Site, Watches};
use super::state::{Snapshot, State};
use crate::client::Client;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use super::state::access::Rule;
pub use super::state::catalog::Release;

/// A Kubernetes API server inside this process, on a loopback port. Ends when it is dropped.
///
/// It starts with the namespaces that every cluster has, and knows every resource that a real one serves.
///
/// # Examples
///
/// A test of a handler, without a cluster:
///
/// ```
/// use faro::{config::{Config, ResourceConfig}, controller::Controller, event::MatchedEvent, sim::Cluster};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::start()?;
/// cluster.create("{apiVersion: v1, kind: Pod, metadata: {name: web-0, labels: {app: web}}}")?;
///
/// let config = Config::builder("unused").resource(ResourceConfig::new("v1/pods")).json_export(false).state(false);
/// let controller = Controller::new(cluster.client(), config.without_metrics().build()?);
/// let (told, events) = crossbeam_channel::bounded(10);
/// _ = controller.add_event_handler(move |event: &MatchedEvent| {
///     Ok(told.send(format!("{} {}", event.event_type, event.name()))?)
/// })?;
/// let running = controller.spawn()?;
///
/// assert_eq!(events.recv()?, "ADDED web-0");
/// cluster.delete("v1/pods", "default/web-0")?;
/// assert_eq!(events.recv()?, "DELETED web-0");
/// running.stop();
/// running.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Cluster {
    server: Server,
    state: Arc<State>,
    url: String,
    kubeconfig: PathBuf,
}

/// How a cluster begins. Made by [`Cluster::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    tls: bool,
    release: Release,
    seed: u64,
    bookmark_interval: Duration,
    list_time: Duration,
}

/// Everything that a cluster stored, at one moment. Made by [`Cluster::snapshot`].
#[derive(Clone)]
pub struct Backup(Snapshot);

impl Builder {
    /// Whether to serve HTTPS, with certificates of the cluster's own authority. Defaults to `true`.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Which server to be. Defaults to [`Release::V1_36`].
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Decides uids and whatever else is left to chance, but for what makes this cluster another one than all before it: the uid of
    /// `kube-system`, and the authority that signs its certificates. Defaults to 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How often a watch gets a bookmark when the version has moved. Defaults to a minute.
    #[must_use]
    pub fn bookmark_interval(mut self, interval: Duration) -> Self {
        self.bookmark_interval = interval;
        self
    }

    /// How long a list takes, streaming or not, before its first byte. Defaults to no time.
    #[must_use]
    pub fn list_time(mut self, time: Duration) -> Self {
        self.list_time = time;
        self
    }

    /// Starts the cluster.
    ///
    /// # Errors
    ///
    /// When no port is free, or the folder for kubeconfigs cannot be made.
    pub fn start(self) -> io::Result<Cluster> {
        let state = State::new(self.seed);
        let authority = Authority::new(self.tls)?;
        let (answering, ending) = (Arc::clone(&state), Arc::clone(&state));
        let server = Server::start(Site {
            answer: Box::new(move |request| answer(&answering, request)),
            end_streams: Box::new(move || ending.restart()),
            authority,
            injector: Arc::new(Injector::new(Faults::none())),
            lists: Lists::taking(self.list_time),
            watches: Watches::default(),
            slow_limit: SLOW_LIMIT,
        })?;
        state.set(|settings| {
            settings.release = self.release;
            settings.bookmark_interval = self.bookmark_interval;
            settings.address = server.address().to_string();
        });
        let url = format!("{}://{}", if self.tls { "https" } else { "http" }, server.address());
        let kubeconfig = server.site().authority.kubeconfig(&url, ADMIN, &[MASTERS])?;
        Ok(Cluster { server, state, url, kubeconfig })
    }
}

impl Cluster {
    /// A cluster of the newest release, with HTTPS.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// A cluster that is to be set up.
    pub fn builder() -> Builder {
        Builder { tls: true, release: Release::V1_36, seed: 0, bookmark_interval: BOOKMARK_INTERVAL, list_time: Duration::ZERO }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A kubeconfig of its administrator, for `kubectl --kubeconfig` and whoever else reads one. Removed with the cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of its administrator.
    ///
    /// # Panics
    ///
    /// When the kubeconfig was changed or removed.
    pub fn client(&self) -> Client {
        Client::from_kubeconfig(&self.kubeconfig, None).expect("the kubeconfig is as it was written")
    }

    /// A kubeconfig of the administrator that logs in with a file of a token, which [`Fault::Unauthorized`] replaces.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn kubeconfig_with_token(&self) -> io::Result<PathBuf> {
        self.server.site().authority.kubeconfig_with_token(&self.url, "admin-by-token", &[MASTERS])
    }

    /// A kubeconfig of one more user, who may do what `rules` allow to this name and to these groups. Logs in with a file of a token.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn add_user(&self, name: &str, groups: &[&str], rules: impl IntoIterator<Item = Rule>) -> io::Result<PathBuf> {
        self.state.set_access(|access| {
            // No token is empty: who it is, the authority says.
            access.add_user(name, "");
            rules.into_iter().for_each(|rule| access.add_rule(rule));
        });
        self.server.site().authority.kubeconfig_with_token(&self.url, name, groups)
    }

    /// Takes all rules of a user or group back.
    pub fn clear_rules(&self, user: &str) {
        self.state.set_access(|access| access.clear_rules(user));
    }

    /// What goes wrong from now on. Faults so far end: what stalls goes on, what is half open is closed.
    pub fn set_faults(&self, faults: Faults) {
        self.server.site().injector.set(faults);
    }

    /// From now on something between answers 404, with a page of its own, for what is hidden; `None` ends it.
    pub fn hide(&self, hidden: Option<Hidden>) {
        self.server.site().injector.hide(hidden);
    }

    /// How often each fault struck so far.
    pub fn faults_struck(&self) -> BTreeMap<Fault, u64> {
        self.server.site().injector.tally()
    }

    /// Forgets the history so far: a watch from an older version, and a list's next page, get 410.
    pub fn compact(&self) {
        self.state.compact();
    }

    /// Moves the cluster's clock forward: bookmarks and timeouts of watches that are due by then come at once.
    pub fn advance(&self, by: Duration) {
        self.state.advance(by);
    }

    /// Breaks every connection. New ones are welcome at once.
    pub fn cut_connections(&self) {
        self.server.cut();
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Ends every connection and refuses new ones, as a server that is away. What it stored stays.
    pub fn down(&self) {
        self.server.down();
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    ///
    /// When the system has no more threads or descriptors.
    pub fn up(&self) -> io::Result<()> {
        self.server.up()
    }

    /// Ends every connection and starts anew. What it stored stays, with its history.
    ///
    /// # Errors
    ///
    /// As [`up`](Self::up).
    pub fn restart(&self) -> io::Result<()> {
        self.down();
        self.up()
    }

    /// Everything that is stored now, as a backup.
    pub fn snapshot(&self) -> Backup {
        Backup(self.state.snapshot())
    }

    /// Goes back to a backup, versions included: the server is away meanwhile, and what came after the backup never was. It still
    /// has the history that the backup knows; [`compact`](Self::compact) makes it forget that, as the cache of a fresh API server has.
    ///
    /// # Errors
    ///
    /// As [`up`](Self::up).
    pub fn restore(&self, backup: &Backup) -> io::Result<()> {
        self.restore_then(backup, |_| {})
    }

    /// Goes back to a backup, also one of another cluster, and lets `overtake` write to it before anybody can connect: what
    /// it writes gets versions that were given out before.
    ///
    /// # Errors
    ///
    /// As [`up`](Self::up).
    pub fn restore_then(&self, backup: &Backup, overtake: impl FnOnce(&Self)) -> io::Result<()> {
        self.down();
        self.state.restore(&backup.0);
        overtake(self);
        self.up()
    }

    /// Gets as the administrator, past HTTP and its faults.
    fn ask(&self, path: &str, query: Vec<(String, String)>) -> Result<Bytes, Refused> {
        let request = Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query,
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            body: Bytes::new(),
            certificate: Some((ADMIN.to_owned(), vec![MASTERS.to_owned()])),
        };
        match answer(&self.state, &request) {
            Reply::Document { code: 200..=299, body, .. } => Ok(body),
            Reply::Document { code, body, .. } => Err(Refused::new(code, &body)),
            Reply::Stream { .. } => unreachable!("only watches are streams, and none is asked for here"),
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

/// As a real server has it.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A real server ends a watch sooner the more there is to tell; Faro itself leaves after five seconds.
const SLOW_LIMIT: Duration = Duration::from_secs(10);

const ADMIN: &str = "admin";

/// The group that may do anything.
const MASTERS: &str = "system:masters";
