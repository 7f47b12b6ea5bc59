//! Takes one context out of merged kubeconfigs and checks that it says all that is needed.

use super::model::{Cluster, User};
use super::{Again, Entries, Entry, Kubeconfig, SetupError, Variables};
use crate::client::endpoint::{Endpoint, Identity, LoginSource, Pem, PemSource, Trust};
use crate::client::exec::ExecPlugin;
use crate::client::files::Files;
use crate::client::proxy::Proxy;
use crate::client::secret::Secret;
use crate::client::url::Url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) fn endpoint(config: &Kubeconfig, context: Option<&str>, variables: Variables<'_>) -> Result<Endpoint, SetupError> {
    let (name, context) = context_entry(config, context)?;
    let place = context.file.display().to_string();
    let cluster_name = &*context.value.cluster;
    let cluster = config.clusters.get(cluster_name).ok_or_else(|| {
        SetupError::kubeconfig(
            &place,
            format!("context {name:?} names the cluster {cluster_name:?}, which is not defined{}", defined(&config.clusters)),
        )
    })?;
    let user_name = &*context.value.user;
    let nobody = Entry { name: String::new(), file: context.file.clone(), value: User::default() };
    let user = match config.users.get(user_name) {
        Some(user) => user,
        None if user_name.is_empty() => &nobody,
        None => {
            return Err(SetupError::kubeconfig(
                place,
                format!("context {name:?} names the user {user_name:?}, which is not defined{}", defined(&config.users)),
            ));
        }
    };
    let cluster_place = format!("{}: cluster {cluster_name:?}", cluster.file.display());
    let user_place = format!("{}: user {user_name:?}", user.file.display());
    let trust = trust(cluster, &cluster_place)?;
    let identity = identity(user, &user_place)?;
    let server = server(&cluster.value, &cluster_place, trust.authority.is_some() || trust.insecure || identity.is_some())?;
    let proxy = match &cluster.value.proxy_url {
        url if !url.is_empty() => Some(Proxy::parse(url.reveal(), &format!("{cluster_place}: proxy-url"))?),
        _ => Proxy::from_variables(&server, variables)?,
    };
    let login = login(user, cluster, &server, &user_place, &config.source.files)?;
    Ok(Endpoint {
        server,
        trust,
        identity,
        login,
        impersonation: impersonation(&user.value, &user_place)?,
        proxy,
        origin: format!("context {name:?} of {}", config.place()),
        secrets_in: has_secrets(&user.value).then(|| user.file.clone()),
        again: Again::new(config, name),
    })
}

fn has_secrets(user: &User) -> bool {
    [&user.token, &user.password, &user.client_key_data].iter().any(|secret| !secret.is_empty())
}

/// What might have been meant.
fn defined<T>(entries: &Entries<T>) -> String {
    let names = quoted(entries.names());
    if names.is_empty() { String::new() } else { format!("; defined are {names}") }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn context_entry<'a>(
    config: &'a Kubeconfig,
    asked: Option<&'a str>,
) -> Result<(&'a str, &'a Entry<super::model::Context>), SetupError> {
    let known = || {
        let names = quoted(config.contexts.names());
        if names.is_empty() { "it has no contexts".to_owned() } else { format!("its contexts are {names}") }
    };
    let Some(name) = asked.or(Some(&*config.current_context).filter(|name| !name.is_empty())) else {
        let problem = if config.contexts.names().next().is_none() {
            "it names no contexts, so no cluster; is this the kubeconfig that was meant?".to_owned()
        } else {
            format!("no current-context is set; give --context, {}", known())
        };
        return Err(SetupError::kubeconfig(config.place(), problem));
    };
    config.contexts.get(name).map(|entry| (name, entry)).ok_or_else(|| {
        let hint = nearest(name, config.contexts.names()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let source = if asked.is_some() { "" } else { " (its current-context)" };
        SetupError::kubeconfig(config.place(), format!("there is no context {name:?}{source}, {}{hint}", known()))
    })
}

fn server(cluster: &Cluster, place: &str, wants_tls: bool) -> Result<Url, SetupError> {
    let text = cluster.server.reveal();
    if text.is_empty() {
        return Err(SetupError::kubeconfig(place, "it has no server; write server: https://HOST:PORT"));
    }
    // Same guess as client-go: TLS where certificates are configured.
    let url = Url::parse(text, if wants_tls { "https" } else { "http" })
        .map_err(|problem| SetupError::kubeconfig(place, format!("server is not a URL: {problem}; write https://HOST:PORT")))?;
    if url.scheme != "https" && url.scheme != "http" {
        return Err(SetupError::kubeconfig(place, format!("server begins with {}://; write https://HOST:PORT", url.scheme)));
    }
    if url.user.is_some() {
        return Err(SetupError::kubeconfig(
            place,
            "server holds a user name or password; write them as username and password of the user",
        ));
    }
    Ok(url)
}

fn trust(cluster: &Entry<Cluster>, place: &str) -> Result<Trust, SetupError> {
    let value = &cluster.value;
    let authority =
        pem("certificate-authority", place, &value.certificate_authority_data, &value.certificate_authority, &cluster.file)?;
    let insecure = value.insecure_skip_tls_verify;
    if insecure && authority.is_some() {
        // client-go refuses the pair too: one of the two is not meant.
        return Err(SetupError::kubeconfig(
            place,
            "insecure-skip-tls-verify and a certificate-authority are both set; remove one",
        ));
    }
    Ok(Trust { authority, insecure, server_name: given(&value.tls_server_name) })
}

fn identity(user: &Entry<User>, place: &str) -> Result<Option<Identity>, SetupError> {
    let value = &user.value;
    let certificate = pem("client-certificate", place, &value.client_certificate_data, &value.client_certificate, &user.file)?;
    let key = pem("client-key", place, &value.client_key_data, &value.client_key, &user.file)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SetupError::kubeconfig(place, "it has a client-certificate but no client-key")),
        // As in client-go, where another login is enough.
        (None, Some(_)) if !value.token.is_empty() || !value.token_file.is_empty() || !value.username.is_empty() => Ok(None),
        (None, Some(_)) => Err(SetupError::kubeconfig(place, "it has a client-key but no client-certificate")),
    }
}

/// Inline data wins over a file, as in client-go.
fn pem(key: &str, place: &str, data: &Secret, file: &str, home: &Path) -> Result<Option<Pem>, SetupError> {
    if !data.is_empty() {
        let packed: String = data.reveal().split_ascii_whitespace().collect();
        let what = format!("{place}: {key}-data");
        // The decoder's error would quote a byte of a key.
        let text = STANDARD.decode(packed).map_err(|_| SetupError::certificate(&what, "it is not base64"))?;
        return Ok(Some(Pem { what, source: PemSource::Inline(text) }));
    }
    Ok((!file.is_empty()).then(|| {
        let path = beside(home, file);
        Pem { what: format!("{place}: {key} {}", path.display()), source: PemSource::File(path) }
    }))
}

fn login(
    user: &Entry<User>,
    cluster: &Entry<Cluster>,
    server: &Url,
    place: &str,
    files: &Files,
) -> Result<LoginSource, SetupError> {
    let value = &user.value;
    let token = Some(&value.token).filter(|token| !token.is_empty());
    if !value.username.is_empty() && (token.is_some() || !value.token_file.is_empty()) {
        return Err(SetupError::kubeconfig(place, "it has both a username and a token; remove one"));
    }
    if !value.token_file.is_empty() {
        return Ok(LoginSource::TokenFile { path: beside(&user.file, &value.token_file), meanwhile: token.cloned() });
    }
    if let Some(token) = token {
        return Ok(LoginSource::Token(token.clone()));
    }
    if !value.username.is_empty() {
        return Ok(LoginSource::Basic { user: value.username.clone(), password: value.password.clone() });
    }
    if let Some(exec) = &value.exec {
        let plugin = ExecPlugin::from_kubeconfig(exec, &user.file, place, &cluster.value, &cluster.file, server, files)?;
        return Ok(LoginSource::Exec(plugin));
    }
    match &value.auth_provider {
        Some(provider) => Err(auth_provider(provider, place)),
        None => Ok(LoginSource::Nothing),
    }
}

/// client-go removed these in 1.26; the plugins are their successors.
fn auth_provider(name: &str, place: &str) -> SetupError {
    let plugin = match name {
        "gcp" => "gke-gcloud-auth-plugin",
        "azure" => "kubelogin (of Azure)",
        "oidc" => "kubelogin (kubectl oidc-login)",
        _ => "the exec plugin of your provider",
    };
    SetupError::kubeconfig(
        place,
        format!("auth-provider {name:?} is no longer supported by Kubernetes; use exec with {plugin} instead"),
    )
}

/// The headers that ask to act as someone else. Without a name the rest would be acting with one's own, full rights.
fn impersonation(user: &User, place: &str) -> Result<Vec<(String, String)>, SetupError> {
    let has_rest = !user.impersonate_uid.is_empty() || !user.impersonate_groups.is_empty() || !user.impersonate_extra.is_empty();
    if user.impersonate.is_empty() {
        let problem = "it has as-uid, as-groups or as-user-extra but no `as`; name the user to act as, or remove them";
        return if has_rest { Err(SetupError::kubeconfig(place, problem)) } else { Ok(Vec::new()) };
    }
    let mut headers = vec![("Impersonate-User".to_owned(), user.impersonate.clone())];
    headers.extend(given(&user.impersonate_uid).map(|uid| ("Impersonate-Uid".to_owned(), uid)));
    headers.extend(user.impersonate_groups.iter().map(|group| ("Impersonate-Group".to_owned(), group.clone())));
    for (key, values) in &user.impersonate_extra {
        let name = format!("Impersonate-Extra-{}", escape_header_name(key));
        headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
    }
    Ok(headers)
}

/// As client-go's `headerKeyEscape`: what RFC 7230 does not call a token character, and the escape itself.
fn escape_header_name(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    key.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `None` for the empty text, which is what is absent.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A path that is relative to the file which names it.
pub(crate) fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// The name closest to `wanted`, when it is close enough to be a slip of the pen.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = wanted.chars().count() / 3 + 1;
    names.map(|name| (distance(wanted, name), name)).filter(|(far, _)| *far <= close).min().map(|(_, name)| name)
}

/// How many letters must be changed, added or removed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What an exec plugin is told about the cluster when it asks for it: the fields of `ExecCredential.spec.cluster`.
pub(crate) fn cluster_info(
    cluster: &Cluster,
    file: &Path,
    server: &Url,
    files: &Files,
) -> Result<BTreeMap<&'static str, serde_json::Value>, SetupError> {
    let mut info = BTreeMap::from([("server", server.to_string().into())]);
    let place = file.display().to_string();
    let authority =
        pem("certificate-authority", &place, &cluster.certificate_authority_data, &cluster.certificate_authority, file)?;
    if let Some(pem) = authority {
        info.insert("certificate-authority-data", STANDARD.encode(pem.load(files)?).into());
    }
    info.extend(given(&cluster.tls_server_name).map(|name| ("tls-server-name", name.into())));
    info.extend(cluster.insecure_skip_tls_verify.then(|| ("insecure-skip-tls-verify", true.into())));
    info.extend(given(cluster.proxy_url.reveal()).map(|url| ("proxy-url", url.into())));
    let config = cluster.exec_extension.as_ref().and_then(|json| serde_json::from_str(json.reveal()).ok());
    info.extend(config.map(|config| ("config", config)));
    Ok(info)
}
