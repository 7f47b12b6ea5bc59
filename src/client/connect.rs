//! A client: one API server, how to log in, and where that was learnt.

use super::SetupError;
use super::credentials::Session;
use super::endpoint::Endpoint;
use super::files::Files;
use super::in_cluster::{self, SERVICE_ACCOUNT_DIR};
use super::interrupt::Ending;
use super::kubeconfig::{Kubeconfig, Variables};
use super::transport::{Resolver, Transport};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One API server and how to log in. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What all clones and transports of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) session: Session,
    pub(crate) resolver: Resolver,
    server: String,
    warnings: Vec<String>,
}

/// Which cluster to talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// The kubeconfig to read. Defaults to the pod's service account, then the files of `$KUBECONFIG`, then `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context to take. Defaults to the kubeconfig's current context; given alone, it rules out the service account.
    pub context: Option<String>,
    /// How many file descriptors credential plugins may have (their soft limit), for programs that have raised their own. Defaults
    /// to that of this process.
    pub plugin_descriptors: Option<u64>,
}

impl Client {
    /// Finds the cluster that `options` mean.
    ///
    /// # Errors
    ///
    /// When nothing says where a cluster is, or what says so cannot be used. Certificates, keys and token files are read and checked here.
    ///
    /// # Blocking
    ///
    /// While files are read. An exec plugin runs at the first request.
    pub fn from_options(options: &ClientOptions) -> Result<Self, SetupError> {
        let endpoint = find(options, Path::new(SERVICE_ACCOUNT_DIR), &variable)?;
        Self::with_limits(endpoint, options.plugin_descriptors)
    }

    /// As [`from_options`](Self::from_options) with no options.
    ///
    /// # Errors
    ///
    /// As for [`from_options`](Self::from_options).
    ///
    /// # Blocking
    ///
    /// As for [`from_options`](Self::from_options).
    pub fn try_default() -> Result<Self, SetupError> {
        Self::from_options(&ClientOptions::default())
    }

    /// Takes `context`, or the current context, of one kubeconfig.
    ///
    /// # Errors
    ///
    /// When the file or what it names cannot be read or used.
    ///
    /// # Blocking
    ///
    /// As for [`from_options`](Self::from_options).
    pub fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Self, SetupError> {
        Kubeconfig::from_file(path)?.endpoint(context, &variable).and_then(Self::new)
    }

    /// Takes the service account of the pod that this process runs in.
    ///
    /// # Errors
    ///
    /// When this is no pod, or its service account cannot be used.
    ///
    /// # Blocking
    ///
    /// As for [`from_options`](Self::from_options).
    pub fn in_cluster() -> Result<Self, SetupError> {
        in_cluster::endpoint(Path::new(SERVICE_ACCOUNT_DIR), &variable).and_then(Self::new)
    }

    /// Checks what can be checked without the server.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, SetupError> {
        Self::with_limits(endpoint, None)
    }

    fn with_limits(mut endpoint: Endpoint, plugin_descriptors: Option<u64>) -> Result<Self, SetupError> {
        let files = Files::new();
        endpoint.settle(&files)?;
        let server = endpoint.server.to_string();
        let warnings = endpoint.warnings();
        let session = Session::new(endpoint, files, plugin_descriptors);
        session.check()?;
        Ok(Self { shared: Arc::new(Shared { session, resolver: Resolver::new(), server, warnings }) })
    }

    /// Opens no connection yet.
    pub fn transport(&self) -> Transport {
        Transport::new(self.shared.clone(), Ending::new())
    }

    /// The server's URL, without credentials.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// What is unsafe about the way to the server, each with its cure: a server that anyone may stand in for, credentials in plain
    /// text, a kubeconfig that every user may read. A [`Controller`](crate::controller::Controller) logs them when it starts.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// Where the server and login come from, and why from there, as in `context "dev" of /home/joe/.kube/config (no KUBECONFIG is set)`.
    pub fn origin(&self) -> &str {
        &self.shared.session.endpoint().origin
    }
}

impl Shared {
    /// The server's URL, without credentials.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// In this order: what was asked for, the pod's service account, `$KUBECONFIG`, the home folder.
fn find(options: &ClientOptions, service_account: &Path, variables: Variables<'_>) -> Result<Endpoint, SetupError> {
    let context = options.context.as_deref();
    let because = |mut endpoint: Endpoint, reason: &str| {
        endpoint.origin = format!("{} ({reason})", endpoint.origin);
        endpoint
    };
    if let Some(path) = &options.kubeconfig {
        return Ok(because(Kubeconfig::from_file(path)?.endpoint(context, variables)?, "named by --kubeconfig"));
    }
    if context.is_none() && in_cluster::is_in_cluster(service_account, variables) {
        return Ok(because(in_cluster::endpoint(service_account, variables)?, "no kubeconfig was named, and this is a pod"));
    }
    if let Some(list) = variables("KUBECONFIG").filter(|list| !list.is_empty()) {
        return Ok(because(Kubeconfig::from_list(&list)?.endpoint(context, variables)?, "named by KUBECONFIG"));
    }
    let path = variables("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".kube/config"));
    match path.map(|path| (Kubeconfig::from_file(&path), path)) {
        Some((Err(SetupError::Read { source, .. }), path)) if source.kind() == ErrorKind::NotFound => {
            let tried = format!("this is no pod with a service account, KUBECONFIG is not set, there is no {}", path.display());
            Err(SetupError::NoCluster { tried })
        }
        Some((config, _)) => Ok(because(config?.endpoint(context, variables)?, "no kubeconfig was named, and this is no pod")),
        None => {
            let tried = "this is no pod with a service account, and neither KUBECONFIG nor HOME is set".to_owned();
            Err(SetupError::NoCluster { tried })
        }
    }
}

#[cfg(test)]
mod tests;
