//! The cluster that a scenario works on: one of our own, or the one of `$KUBECONFIG`.
//!
//! Gives `kubectl`, a writer that records the server's answers, fresh namespaces, and kubeconfigs for every way to log in.

use crate::control_plane::{ADMIN_TOKEN, ControlPlane, Options};
use crate::daemon::Setup;
use crate::kubectl::Kubectl;
use crate::process::Guarded;
use crate::wait::{SOON, eventually};
use crate::writer::Writer;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// A cluster with an administrator's rights to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    // Dropped first: it talks to the server.
    _proxy: Guarded,
    /// Makes changes as a person would.
    pub(crate) kubectl: Kubectl,
    /// Makes many changes and keeps what the server answered to each.
    pub(crate) writer: Writer,
    /// Where the API server answers.
    pub(crate) server: String,
    ca: String,
    admin: PathBuf,
    own: Option<ControlPlane>,
    secrets: Mutex<Vec<String>>,
    names: AtomicU32,
    dir: TempDir,
}

impl Cluster {
    /// Starts a control plane of our own from the binaries in `assets`.
    ///
    /// # Panics
    ///
    /// When it does not get ready.
    pub(crate) fn start(assets: &Path, options: Options) -> Self {
        let plane = ControlPlane::start(assets, options);
        let ca = BASE64_STANDARD.encode(&plane.pki.ca);
        let key = BASE64_STANDARD.encode(&plane.pki.admin.key);
        let user = json!({"client-certificate-data": BASE64_STANDARD.encode(&plane.pki.admin.cert), "client-key-data": &key});
        let secrets = vec![ADMIN_TOKEN.to_owned(), key, plane.pki.admin.key.clone()];
        let kubeconfig = kubeconfig(&plane.url(), &ca, &user);
        Self::connect(&plane.url(), ca, &kubeconfig, secrets, Some(plane))
    }

    /// Takes the cluster of the current context of `kubeconfig`.
    ///
    /// # Panics
    ///
    /// When it cannot be reached.
    pub(crate) fn external(kubeconfig: &Path) -> Self {
        let cache = tempfile::tempdir().expect("a folder for kubectl's cache");
        let text = Kubectl::new(kubeconfig, cache.path()).run("config view --raw --minify --flatten -o json");
        let view: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        let cluster = &view["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().expect("a cluster has a server").to_owned();
        let ca = cluster["certificate-authority-data"].as_str().unwrap_or_default().to_owned();
        let user = &view["users"][0]["user"];
        let secrets = ["token", "client-key-data", "password"].map(|key| user[key].as_str().unwrap_or_default().to_owned());
        Self::connect(&server, ca, &text, secrets.into_iter().filter(|text| !text.is_empty()).collect(), None)
    }

    fn connect(server: &str, ca: String, kubeconfig: &str, secrets: Vec<String>, own: Option<ControlPlane>) -> Self {
        let dir = tempfile::Builder::new().prefix("faro-e2e-cluster-").tempdir().expect("a folder for kubeconfigs");
        let admin = dir.path().join("admin.kubeconfig");
        write_own(&admin, kubeconfig);
        let kubectl = Kubectl::new(&admin, &dir.path().join("kubectl-cache"));
        let ready = || kubectl.succeeds("get --raw=/readyz") && kubectl.succeeds("get namespace default kube-system");
        eventually(SOON * 2, "the API server says that it is ready", ready);
        let (proxy, address) = start_proxy(&kubectl);
        Self {
            _proxy: proxy,
            kubectl,
            writer: Writer::new(&address),
            server: server.to_owned(),
            ca,
            admin,
            own,
            secrets: Mutex::new(secrets),
            names: AtomicU32::new(0),
            dir,
        }
    }

    /// The control plane, for those scenarios that harm it.
    ///
    /// # Panics
    ///
    /// When the cluster is not ours; the runner does not let such a scenario run.
    pub(crate) fn own(&self) -> &ControlPlane {
        self.own.as_ref().expect("only scenarios with a control plane of their own ask for it")
    }

    /// Whether it is a control plane of ours, where nothing has to be left as it was found.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The certificate of the authority that signed the API server's, as PEM.
    pub(crate) fn authority(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.ca).expect("a kubeconfig's data are base64")
    }

    /// Waits until the API server says that it is ready again.
    pub(crate) fn wait_until_ready(&self) {
        eventually(SOON * 2, "the API server is back", || self.kubectl.succeeds("get --raw=/readyz"));
    }

    /// A name that nothing else has: `stem` and a number.
    pub(crate) fn name(&self, stem: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("e2e-{stem}-{}-{number}", std::process::id())
    }

    /// Creates a namespace of such a name.
    pub(crate) fn namespace(&self, stem: &str) -> String {
        let name = self.name(stem);
        self.kubectl.run(&format!("create namespace {name}"));
        name
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin(&self) -> PathBuf {
        self.admin.clone()
    }

    /// A kubeconfig for this server and `user`, in the words of a kubeconfig's `user`.
    pub(crate) fn kubeconfig(&self, user: &Value) -> PathBuf {
        self.kubeconfig_at(&self.server, user)
    }

    /// The same for another address of the server.
    pub(crate) fn kubeconfig_at(&self, server: &str, user: &Value) -> PathBuf {
        self.write_kubeconfig(&kubeconfig(server, &self.ca, user))
    }

    /// The same with the text given.
    pub(crate) fn write_kubeconfig(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join(self.name("kubeconfig"));
        write_own(&path, text);
        path
    }

    /// A new service account in `namespace` that has a role with these rules, as JSON; its token.
    pub(crate) fn service_account(&self, namespace: &str, rules: &Value) -> String {
        let name = self.name("account");
        self.kubectl.run(&format!("create serviceaccount {name} -n {namespace}"));
        let rbac = "rbac.authorization.k8s.io";
        let metadata = json!({"name": name, "namespace": namespace});
        let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules});
        self.kubectl.create(&role.to_string());
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        let role_ref = json!({"apiGroup": rbac, "kind": "Role", "name": name});
        let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "subjects": [subject], "roleRef": role_ref});
        self.kubectl.create(&binding.to_string());
        let token = self.kubectl.run(&format!("create token {name} -n {namespace}")).trim().to_owned();
        self.keep_secret(&token);
        token
    }

    /// Adds `credential` to what no output of a daemon may contain.
    pub(crate) fn keep_secret(&self, credential: &str) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(credential.to_owned());
    }

    /// What no output of a daemon may contain.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.own.is_none() {
            // Someone's cluster is left as it was found.
            let mine = format!("-{}-", std::process::id());
            let names = self.kubectl.run("get namespaces,customresourcedefinitions -o name");
            for name in names.lines().filter(|name| name.contains("e2e-") && name.contains(&mine)) {
                self.kubectl.succeeds(&format!("delete {name} --wait=false"));
            }
        }
    }
}

/// A kubeconfig with one context; JSON is YAML too.
pub(crate) fn kubeconfig(server: &str, ca: &str, user: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "e2e", "user": user}],
    })
    .to_string()
}

/// `kubectl proxy`, which logs in so that the writer need not; and its address.
fn start_proxy(kubectl: &Kubectl) -> (Guarded, String) {
    let mut command = kubectl.command();
    command.args(["proxy", "--port=0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut proxy = Guarded::start(&mut command);
    let mut first = String::new();
    let stdout = proxy.child().stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut first).expect("kubectl proxy says where it listens");
    let address = first.trim().rsplit(' ').next().expect("a split has a part").to_owned();
    assert!(address.starts_with("127.0.0.1:"), "kubectl proxy said: {first}");
    (proxy, address)
}

impl Setup {
    /// Runs with an administrator's kubeconfig, and keeps what the cluster keeps secret.
    pub(crate) fn new(cluster: &Cluster, config: &str) -> Self {
        Self::with_config(config).kubeconfig(&cluster.admin()).secrets(cluster)
    }

    /// No output may contain what the cluster keeps secret.
    pub(crate) fn secrets(self, cluster: &Cluster) -> Self {
        self.keeping_secret(cluster.secrets())
    }
}

/// Writes what holds credentials: nobody else may read it.
fn write_own(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is ours");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("the file is ours");
}
