//! A kubeconfig as it is written. Keys that are not read here are passed over, as kubectl does.

use crate::client::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", expecting = "a mapping with clusters, contexts and users")]
pub(crate) struct File {
    pub(crate) current_context: Option<String>,
    pub(crate) clusters: Option<Vec<NamedCluster>>,
    pub(crate) contexts: Option<Vec<NamedContext>>,
    pub(crate) users: Option<Vec<NamedUser>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NamedCluster {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NamedContext {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) context: Option<Context>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NamedUser {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) user: Option<User>,
}

/// Where a server is and how to know it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    /// May hold a name and password, which are then refused.
    pub(crate) server: Option<Secret>,
    pub(crate) tls_server_name: Option<String>,
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    pub(crate) certificate_authority: Option<String>,
    pub(crate) certificate_authority_data: Option<String>,
    /// May hold the proxy's password.
    pub(crate) proxy_url: Option<Secret>,
    pub(crate) extensions: Option<Vec<Extension>>,
}

/// Additional data for others; `client.authentication.k8s.io/exec` is for exec plugins.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Extension {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) extension: Option<serde_json::Value>,
}

/// A server and a login, joined.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Context {
    pub(crate) cluster: Option<String>,
    pub(crate) user: Option<String>,
}

/// A login.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct User {
    pub(crate) client_certificate: Option<String>,
    pub(crate) client_certificate_data: Option<Secret>,
    pub(crate) client_key: Option<String>,
    pub(crate) client_key_data: Option<Secret>,
    pub(crate) token: Option<Secret>,
    #[serde(rename = "tokenFile")]
    pub(crate) token_file: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) exec: Option<Exec>,
    pub(crate) auth_provider: Option<AuthProvider>,
    #[serde(rename = "as")]
    pub(crate) impersonate: Option<String>,
    #[serde(rename = "as-uid")]
    pub(crate) impersonate_uid: Option<String>,
    #[serde(rename = "as-groups")]
    pub(crate) impersonate_groups: Option<Vec<String>>,
    #[serde(rename = "as-user-extra")]
    pub(crate) impersonate_extra: Option<BTreeMap<String, Vec<String>>>,
}

/// A login built into older clients; only its name is of use.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AuthProvider {
    #[serde(default)]
    pub(crate) name: String,
}

/// A command that prints a credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exec {
    pub(crate) api_version: Option<String>,
    pub(crate) command: String,
    pub(crate) args: Option<Vec<Secret>>,
    pub(crate) env: Option<Vec<ExecEnv>>,
    pub(crate) install_hint: Option<String>,
    pub(crate) interactive_mode: Option<String>,
    #[serde(default)]
    pub(crate) provide_cluster_info: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ExecEnv {
    pub(crate) name: String,
    pub(crate) value: Secret,
}
