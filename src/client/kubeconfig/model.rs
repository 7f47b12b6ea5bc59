//! A kubeconfig as it is written. What is absent is empty, as in Go; keys that are not read here are passed over, as kubectl does.

use super::read::{Fields, Mistake};
use crate::client::secret::Secret;
use std::collections::BTreeMap;

/// One file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) current_context: String,
    pub(crate) clusters: Vec<(String, Cluster)>,
    pub(crate) contexts: Vec<(String, Context)>,
    pub(crate) users: Vec<(String, User)>,
}

/// Where a server is and how to know it.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// May hold a name and password, which are then refused.
    pub(crate) server: Secret,
    pub(crate) tls_server_name: String,
    pub(crate) insecure_skip_tls_verify: bool,
    pub(crate) certificate_authority: String,
    pub(crate) certificate_authority_data: Secret,
    /// May hold the proxy's password.
    pub(crate) proxy_url: Secret,
    /// Additional data for exec plugins, in JSON: the extension `client.authentication.k8s.io/exec`.
    pub(crate) exec_extension: Option<Secret>,
}

/// A server and a login, joined.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) user: String,
}

/// A login.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) client_certificate: String,
    pub(crate) client_certificate_data: Secret,
    pub(crate) client_key: String,
    pub(crate) client_key_data: Secret,
    pub(crate) token: Secret,
    pub(crate) token_file: String,
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) exec: Option<Exec>,
    /// The name of a login that was built into older clients.
    pub(crate) auth_provider: Option<String>,
    pub(crate) impersonate: String,
    pub(crate) impersonate_uid: String,
    pub(crate) impersonate_groups: Vec<String>,
    pub(crate) impersonate_extra: BTreeMap<String, Vec<String>>,
}

/// A command that prints a credential.
#[derive(Debug, Default)]
pub(crate) struct Exec {
    pub(crate) api_version: String,
    pub(crate) command: String,
    pub(crate) args: Vec<Secret>,
    pub(crate) env: Vec<(String, Secret)>,
    pub(crate) install_hint: String,
    pub(crate) interactive_mode: String,
    pub(crate) provide_cluster_info: bool,
}

impl File {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        fields.expect("apiVersion", "v1")?;
        fields.expect("kind", "Config")?;
        Ok(Self {
            current_context: fields.text("current-context")?,
            clusters: fields.named("clusters", "cluster", Cluster::read)?,
            contexts: fields.named("contexts", "context", Context::read)?,
            users: fields.named("users", "user", User::read)?,
        })
    }
}

impl Cluster {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        let extensions = fields.named("extensions", "extension", |extension| Ok(extension.json()))?;
        Ok(Self {
            server: fields.secret("server")?,
            tls_server_name: fields.text("tls-server-name")?,
            insecure_skip_tls_verify: fields.flag("insecure-skip-tls-verify")?,
            certificate_authority: fields.text("certificate-authority")?,
            certificate_authority_data: fields.secret("certificate-authority-data")?,
            proxy_url: fields.secret("proxy-url")?,
            exec_extension: extensions.into_iter().find(|(name, _)| name == EXEC_EXTENSION).map(|(_, json)| Secret::new(json)),
        })
    }
}

impl Context {
    fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        Ok(Self { cluster: fields.text("cluster")?, user: fields.text("user")? })
    }
}

impl User {
    fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        Ok(Self {
            client_certificate: fields.text("client-certificate")?,
            client_certificate_data: fields.secret("client-certificate-data")?,
            client_key: fields.text("client-key")?,
            client_key_data: fields.secret("client-key-data")?,
            token: fields.secret("token")?,
            token_file: fields.text("tokenFile")?,
            username: fields.text("username")?,
            password: fields.secret("password")?,
            exec: fields.mapping("exec")?.map(|exec| Exec::read(&exec)).transpose()?,
            auth_provider: fields.mapping("auth-provider")?.map(|provider| provider.text("name")).transpose()?,
            impersonate: fields.text("as")?,
            impersonate_uid: fields.text("as-uid")?,
            impersonate_groups: fields.texts("as-groups")?,
            impersonate_extra: match fields.mapping("as-user-extra")? {
                Some(extra) => extra.all_texts()?,
                None => BTreeMap::new(),
            },
        })
    }
}

impl Exec {
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Mistake> {
        Ok(Self {
            api_version: fields.text("apiVersion")?,
            command: fields.text("command")?,
            args: fields.texts("args")?.into_iter().map(Secret::new).collect(),
            env: fields
                .mappings("env")?
                .iter()
                .map(|env| Ok((env.text("name")?, env.secret("value")?)))
                .collect::<Result<_, _>>()?,
            install_hint: fields.text("installHint")?,
            interactive_mode: fields.text("interactiveMode")?,
            provide_cluster_info: fields.flag("provideClusterInfo")?,
        })
    }
}

/// The API names this one extension for exec plugins.
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";
