//! Which cluster is taken, and that nothing tells a secret.

use super::{Client, ClientOptions, find};
use crate::chain::chain;
use crate::client::testing::{Authority, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;

fn kubeconfig(path: &Path, server: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!(
        "current-context: dev\ncontexts: [{{name: dev, context: {{cluster: c}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}]"
    );
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_cluster_is_looked_for_in_order_and_the_origin_says_why() {
    let home = tempfile::tempdir().unwrap();
    let (pod, list) = (home.path().join("pod"), home.path().join("list"));
    let check = |options: &ClientOptions, variables: &[(&str, &str)], expected: Result<(&str, &str), &str>| {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        match (find(options, &pod, &lookup), expected) {
            (Ok(endpoint), Ok((host, origin))) => {
                assert_eq!(endpoint.server.host, host);
                assert!(endpoint.origin.contains(origin), "{}", endpoint.origin);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    };
    let nothing = ClientOptions::default();
    let home_name = home.path().to_str().unwrap();
    let at_home = ("HOME", home_name);
    check(&nothing, &[at_home], Err(".kube/config; give --kubeconfig FILE or set KUBECONFIG"));
    check(&nothing, &[], Err("neither KUBECONFIG nor HOME is set"));
    kubeconfig(&home.path().join(".kube/config"), "from-home");
    check(&nothing, &[at_home], Ok(("from-home", "no kubeconfig was named, and this is no pod")));
    kubeconfig(&list, "from-list");
    let named = ("KUBECONFIG", list.to_str().unwrap());
    check(&nothing, &[at_home, named], Ok(("from-list", "named by KUBECONFIG")));
    check(&nothing, &[at_home, ("KUBECONFIG", "")], Ok(("from-home", "this is no pod")));
    std::fs::create_dir(&pod).unwrap();
    std::fs::write(pod.join("token"), "t").unwrap();
    let service = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    let all = [service[0], service[1], at_home, named];
    check(&nothing, &all, Ok(("10.96.0.1", "service account of this pod (no kubeconfig was named, and this is a pod)")));
    check(&nothing, &all[1..], Ok(("from-list", "named by KUBECONFIG")));
    let context = ClientOptions { context: Some("dev".to_owned()), ..ClientOptions::default() };
    check(&context, &all, Ok(("from-list", "named by KUBECONFIG")));
    let explicit = home.path().join("explicit");
    kubeconfig(&explicit, "from-flag");
    let explicit = ClientOptions { kubeconfig: Some(explicit), ..ClientOptions::default() };
    check(&explicit, &all, Ok(("from-flag", "named by --kubeconfig")));
}

#[test]
fn nothing_that_is_printed_holds_a_credential() {
    let home = tempfile::tempdir().unwrap();
    let leaf = Authority::new().sign(&CertificateParams::default(), &KeyPair::generate().unwrap());
    let key_line = leaf.key.lines().nth(1).unwrap().to_owned();
    let identity = format!(
        "client-certificate-data: {}, client-key-data: {}",
        STANDARD.encode(&leaf.certificate),
        STANDARD.encode(&leaf.key)
    );
    let users = [
        "token: hunter2-secret".to_owned(),
        "username: joe, password: hunter2-secret".to_owned(),
        format!("{identity}, token: hunter2-secret"),
        "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./no-such-plugin, \
         args: [hunter2-secret], env: [{name: X, value: hunter2-secret}], provideClusterInfo: true}"
            .to_owned(),
    ];
    for user in users.into_iter().filter(|user| cfg!(feature = "exec") || !user.starts_with("exec")) {
        let path = home.path().join("config");
        let text = format!(
            "current-context: dev\ncontexts: [{{name: dev, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true, \
             proxy-url: 'http://joe:hunter2-secret@127.0.0.1:1'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]"
        );
        std::fs::write(&path, text).unwrap();
        let client = Client::from_kubeconfig(&path, None).unwrap();
        let transport = client.transport();
        let error = transport.get(&get("/x")).unwrap_err();
        let merged = super::Kubeconfig::from_file(&path).unwrap();
        let printed = [
            format!("{client:?}{:?}{transport:?}{:?}{merged:?}", client.shared, transport.interrupt()),
            format!("{error:?}{}", chain(&error)),
            format!("{}{}", client.server(), client.origin()),
        ];
        for text in printed {
            let pair = STANDARD.encode("joe:hunter2-secret");
            for secret in ["hunter2", key_line.as_str(), pair.as_str()] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

#[test]
fn what_is_unsafe_is_told_with_its_cure() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    let check = |server: &str, cluster: &str, user: &str, mode: u32, expected: &[&str]| {
        let text = format!(
            "current-context: x\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{server}'{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let client = Client::from_kubeconfig(&path, None).unwrap();
        let starts: Vec<_> =
            client.warnings().iter().map(|warning| warning.replace(&path.display().to_string(), "FILE")).collect();
        assert_eq!(starts.len(), expected.len(), "{starts:?}");
        assert!(starts.iter().zip(expected).all(|(warning, start)| warning.starts_with(start)), "{starts:?}");
    };
    let insecure = ", insecure-skip-tls-verify: true";
    check(
        "https://api.test",
        insecure,
        "token: t",
        0o600,
        &["insecure-skip-tls-verify: whoever answers at https://api.test is believed"],
    );
    check("http://api.test", "", "token: t", 0o600, &["credentials go to http://api.test in plain text; write https://"]);
    check("http://api.test", "", "username: u", 0o640, &["credentials go to http://api.test in plain text"]);
    check("http://api.test", "", "", 0o644, &[]);
    for loopback in ["http://localhost:1", "http://127.0.0.9", "http://[::1]:1"] {
        check(loopback, "", "token: t", 0o600, &[]);
    }
    check(
        "http://localhost",
        "",
        "token: t",
        0o644,
        &["FILE holds credentials and can be read by every user of this machine; chmod 600 it"],
    );
    check("http://api.test", insecure, "token: t", 0o604, &["credentials go to", "FILE holds credentials"]);
}
