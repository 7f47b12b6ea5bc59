//! The way to the API server from inside a pod: its service account and two environment variables.

use super::SetupError;
use super::endpoint::{Endpoint, LoginSource, Pem, PemSource, Trust};
use super::kubeconfig::Variables;
use super::proxy::Proxy;
use super::url::{Url, bracketed};
use std::path::Path;

/// Where the kubelet mounts the service account.
pub(crate) const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Whether this process runs in a pod with a service account. As client-go decides it: by the variables and the token.
pub(crate) fn is_in_cluster(directory: &Path, variables: Variables<'_>) -> bool {
    let set = |name| variables(name).is_some_and(|value| !value.is_empty());
    set("KUBERNETES_SERVICE_HOST") && set("KUBERNETES_SERVICE_PORT") && directory.join("token").is_file()
}

/// The pod's API server and login.
pub(crate) fn endpoint(directory: &Path, variables: Variables<'_>) -> Result<Endpoint, SetupError> {
    let need = |name: &str| {
        variables(name).filter(|value| !value.is_empty()).ok_or_else(|| SetupError::InCluster {
            problem: format!("{name} is not set; it is set in every pod. Elsewhere, give --kubeconfig FILE"),
        })
    };
    let (host, port) = (need("KUBERNETES_SERVICE_HOST")?, need("KUBERNETES_SERVICE_PORT")?);
    let server = Url::parse(&format!("https://{}:{port}", bracketed(&host)), "https").map_err(|problem| {
        SetupError::InCluster { problem: format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no URL: {problem}") }
    })?;
    let (token, authority) = (directory.join("token"), directory.join("ca.crt"));
    if !token.is_file() {
        return Err(SetupError::InCluster {
            problem: format!("there is no {}; mount the service account (automountServiceAccountToken)", token.display()),
        });
    }
    let what = format!("certificate authority {}", authority.display());
    let trust = Trust { authority: Some(Pem { what, source: PemSource::File(authority) }), ..Trust::default() };
    let proxy = Proxy::from_variables(&server, variables)?;
    let origin = "service account of this pod".to_owned();
    let login = LoginSource::TokenFile { path: token, meanwhile: None };
    Ok(Endpoint { server, trust, identity: None, login, impersonation: Vec::new(), proxy, origin, secrets_in: None, again: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, port: &str, token: bool, expected: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        if token {
            std::fs::write(directory.path().join("token"), "t").unwrap();
        }
        let variables = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some(port.to_owned()),
            _ => None,
        };
        match (endpoint(directory.path(), &variables), expected) {
            (Ok(endpoint), Ok(server)) => assert_eq!(endpoint.server.to_string(), server),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
        assert_eq!(is_in_cluster(directory.path(), &variables), expected.is_ok());
    }

    #[test]
    fn a_pod_finds_its_server_by_variables_and_token() {
        check("10.96.0.1", "443", true, Ok("https://10.96.0.1:443"));
        check("fd00::1", "443", true, Ok("https://[fd00::1]:443"));
        check("10.96.0.1", "443", false, Err("automountServiceAccountToken"));
        check("", "443", false, Err("KUBERNETES_SERVICE_HOST is not set"));
    }
}
