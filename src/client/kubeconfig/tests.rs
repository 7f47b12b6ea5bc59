//! Kubeconfigs as kubectl reads them.

use super::{Kubeconfig, SetupError, Variables};
use crate::client::endpoint::{Endpoint, LoginSource, PemSource};
use std::path::Path;

const NO_VARIABLES: Variables<'static> = &|_| None;

/// Reads files with these contents, as `$KUBECONFIG` names them.
fn read(files: &[&str]) -> Result<Kubeconfig, SetupError> {
    let home = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..files.len()).map(|n| home.path().join(format!("config{n}"))).collect();
    for (path, text) in paths.iter().zip(files) {
        std::fs::write(path, text).unwrap();
    }
    Kubeconfig::from_list(std::env::join_paths(&paths).unwrap().to_str().unwrap())
}

fn endpoint(files: &[&str], context: Option<&str>) -> Result<Endpoint, String> {
    read(files).and_then(|config| config.endpoint(context, NO_VARIABLES)).map_err(|error| error.to_string())
}

/// A whole kubeconfig with these lines in its cluster and its user.
fn with(cluster: &str, user: &str) -> String {
    format!(
        "current-context: dev\n\
         contexts: [{{name: dev, context: {{cluster: c, user: u}}}}, {{name: prod, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n\
         preferences: {{colors: true}}\n\
         unknown-key: {{deep: [1, 2]}}\n"
    )
}

const SERVER: &str = "server: 'https://api.test:6443'";

#[test]
fn every_way_to_log_in_is_understood() {
    fn check(user: &str, expected: &str) {
        let endpoint = endpoint(&[&with(SERVER, user)], None).unwrap();
        let shown = match endpoint.login {
            LoginSource::Nothing => "nothing".to_owned(),
            LoginSource::Token(token) => format!("token {}", token.reveal()),
            LoginSource::TokenFile { path, .. } => format!("file {}", path.file_name().unwrap().display()),
            LoginSource::Basic { user, password } => format!("basic {user} {}", password.reveal()),
            LoginSource::Exec(_) => "exec".to_owned(),
        };
        assert_eq!(shown, expected, "{user}");
    }
    check("", "nothing");
    check("token: t", "token t");
    check("token: 'old', tokenFile: tokens/t", "file t");
    check("username: joe, password: p", "basic joe p");
    let plugin = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x}";
    if cfg!(feature = "exec") {
        check(plugin, "exec");
    } else {
        check_error(&with(SERVER, plugin), None, "was built without faro's feature `exec`");
    }
    check("token: t, exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: x}", "token t");
}

#[test]
fn paths_belong_to_the_file_that_names_them() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("deep");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("config");
    std::fs::write(
        &path,
        with(&format!("{SERVER}, certificate-authority: ../ca.crt"), "client-certificate: /abs/c, client-key: k"),
    )
    .unwrap();
    let endpoint = Kubeconfig::from_file(&path).unwrap().endpoint(None, NO_VARIABLES).unwrap();
    let is = |source: &PemSource, expected: &Path| matches!(source, PemSource::File(path) if path == expected);
    assert!(is(&endpoint.trust.authority.unwrap().source, &folder.join("../ca.crt")));
    let identity = endpoint.identity.unwrap();
    assert!(is(&identity.certificate.source, Path::new("/abs/c")));
    assert!(is(&identity.key.source, &folder.join("k")));
}

#[test]
fn inline_data_wins_over_files() {
    let cluster = format!("{SERVER}, certificate-authority: /x, certificate-authority-data: 'Q0\n  E='");
    let endpoint = endpoint(&[&with(&cluster, "")], None).unwrap();
    assert!(matches!(endpoint.trust.authority.unwrap().source, PemSource::Inline(text) if text == b"CA"));
}

#[test]
fn of_several_files_the_first_that_names_a_thing_decides_it_whole() {
    let first = "current-context: one\nusers: [{name: u, user: {username: joe, password: p}}]\ncontexts: [{name: one, context: {cluster: c, user: u}}]";
    let second = with(SERVER, "token: t");
    let merged = endpoint(&[first, &second], None).unwrap();
    assert!(matches!(merged.login, LoginSource::Basic { .. }), "the token of the same user in the second file does not count");
    assert!(merged.origin.contains("context \"one\" of "), "{}", merged.origin);
    assert!(endpoint(&["", &second], Some("prod")).is_ok(), "an empty file adds nothing");
    assert!(endpoint(&["# nothing\n", &second], Some("prod")).is_ok(), "nor does one of comments");
}

#[test]
fn missing_files_are_passed_over_while_there_is_one() {
    let home = tempfile::tempdir().unwrap();
    let (there, missing) = (home.path().join("there"), home.path().join("missing"));
    std::fs::write(&there, with(SERVER, "")).unwrap();
    let list = |paths: &[&Path]| std::env::join_paths(paths).unwrap().into_string().unwrap();
    assert!(Kubeconfig::from_list(&list(&[&missing, Path::new(""), &there])).is_ok());
    let error = Kubeconfig::from_list(&list(&[&missing])).unwrap_err().to_string();
    assert_eq!(error, format!("KUBECONFIG: none of its files is there: {}", missing.display()));
    let error = Kubeconfig::from_file(&missing).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read the kubeconfig {}", missing.display()));
}

#[test]
fn other_spellings_of_yaml_are_read() {
    let plain = with(SERVER, "token: t");
    assert!(endpoint(&[&format!("\u{feff}{plain}")], None).is_ok(), "a byte order mark");
    let value: serde_json::Value = serde_yaml::from_str(&plain).unwrap();
    assert!(endpoint(&[&value.to_string()], None).is_ok(), "JSON");
    let merged = "shared: &shared {server: 'https://api.test'}\ncurrent-context: dev\n\
        contexts: [{name: dev, context: {cluster: c}}]\nclusters: [{name: c, cluster: {<<: *shared}}]";
    assert!(endpoint(&[merged], None).is_ok(), "merge keys");
    let wrong = format!("{merged}\nusers: [{{name: u, user: hunter2}}]");
    let error = endpoint(&[&wrong], None).unwrap_err();
    assert!(error.ends_with(":5: not a kubeconfig: users[0].user: expected a mapping, found text"), "{error}");
    assert!(endpoint(&["clusters: null\nusers: null\ncurrent-context: ''"], None).unwrap_err().contains("names no contexts"));
}

fn check_error(text: &str, context: Option<&str>, expected: &str) {
    let error = endpoint(&[text], context).unwrap_err();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    check_error(
        &with(SERVER, ""),
        Some("prd"),
        "there is no context \"prd\", its contexts are \"dev\", \"prod\"; did you mean \"prod\"?",
    );
    check_error(&with(SERVER, ""), Some("staging"), "there is no context \"staging\", its contexts are \"dev\", \"prod\"");
    let without = with(SERVER, "").replace("current-context: dev\n", "");
    check_error(&without, None, "no current-context is set; give --context, its contexts are \"dev\", \"prod\"");
    check_error("current-context: x", None, "there is no context \"x\" (its current-context), it has no contexts");
    check_error(
        &with(SERVER, "").replace("name: c,", "name: d,"),
        None,
        "context \"dev\" names the cluster \"c\", which is not defined",
    );
    check_error(
        &with(SERVER, "").replace("name: u,", "name: v,"),
        None,
        "context \"dev\" names the user \"u\", which is not defined",
    );
    check_error(&with("", ""), None, "cluster \"c\": it has no server; write server: https://HOST:PORT");
}

#[test]
fn what_is_wrong_is_told_with_its_cure_and_without_secrets() {
    check_error(&with("server: 'https://joe:hunter2@api'", ""), None, "server holds a user name or password");
    check_error(&with("server: 'ftp://api'", ""), None, "server begins with ftp://");
    check_error(&with(&format!("{SERVER}, proxy-url: 'ftp://joe:hunter2@p'"), ""), None, "proxy-url: ftp:// is no proxy");
    check_error(&with(SERVER, "client-certificate: c"), None, "it has a client-certificate but no client-key");
    check_error(&with(SERVER, "client-key-data: aHVudGVyMg=="), None, "it has a client-key but no client-certificate");
    check_error(&with(SERVER, "client-key-data: '{hunter2}', client-certificate: c"), None, "client-key-data: it is not base64");
    check_error(&with(SERVER, "token: hunter2, username: joe"), None, "both a username and a token");
    let both = format!("{SERVER}, insecure-skip-tls-verify: true, certificate-authority: ca");
    check_error(&with(&both, ""), None, "insecure-skip-tls-verify and a certificate-authority are both set");
    check_error(&with(SERVER, "token: [hunter2]"), None, "not a kubeconfig: ");
    check_error(&with(SERVER, "exec: hunter2"), None, "users[0].user.exec: expected a mapping, found text");
    check_error(&with(SERVER, "").replace("name: prod", "name: dev"), None, "context \"dev\" is defined twice");
    check_error("a: [", None, "not a kubeconfig: ");
    for (name, plugin) in [
        ("gcp", "gke-gcloud-auth-plugin"),
        ("azure", "kubelogin"),
        ("oidc", "oidc-login"),
        ("own", "the exec plugin of your provider"),
    ] {
        let user = format!("auth-provider: {{name: {name}, config: {{access-token: hunter2}}}}");
        check_error(&with(SERVER, &user), None, &format!("auth-provider \"{name}\" is no longer supported"));
        check_error(&with(SERVER, &user), None, plugin);
    }
}

#[test]
fn a_server_without_a_scheme_is_guessed_as_kubectl_guesses_it() {
    let server = |cluster: &str| endpoint(&[&with(cluster, "")], None).unwrap().server.to_string();
    assert_eq!(server("server: 'localhost:8080'"), "http://localhost:8080");
    assert_eq!(server("server: 'api.test:6443', certificate-authority: ca"), "https://api.test:6443");
    assert_eq!(server("server: 'api.test', insecure-skip-tls-verify: true"), "https://api.test");
}

#[test]
fn proxy_url_wins_over_the_variables() {
    let variables: Variables<'_> = &|name| (name == "HTTPS_PROXY").then(|| "http://from-variable:1".to_owned());
    let proxy = |cluster: &str| {
        let endpoint = read(&[&with(cluster, "")]).unwrap().endpoint(None, variables).unwrap();
        endpoint.proxy.map(|proxy| proxy.shown())
    };
    assert_eq!(proxy(SERVER).as_deref(), Some("http://from-variable:1"));
    assert_eq!(proxy(&format!("{SERVER}, proxy-url: 'socks5://own:2'")).as_deref(), Some("socks5://own:2"));
}

#[test]
fn a_request_to_act_as_someone_else_is_kept() {
    let endpoint = endpoint(&[&with(SERVER, "as: jane, as-groups: [a, b], as-user-extra: {scope: [x]}")], None).unwrap();
    let headers: Vec<_> = endpoint.impersonation.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(headers, ["Impersonate-User=jane", "Impersonate-Group=a", "Impersonate-Group=b", "Impersonate-Extra-scope=x"]);
}

#[test]
fn large_kubeconfigs_take_time_in_proportion_and_brackets_have_a_limit() {
    let many = 20_000;
    let clusters: String = (0..many).map(|n| format!("- name: c{n}\n")).collect();
    let unknown: String = (0..many).map(|n| format!("key-{n}: 1\n")).collect();
    let text = format!("{}\nmore:\n{clusters}{unknown}", with(SERVER, "token: t"));
    assert!(endpoint(&[&text], None).is_ok());
    let brackets = format!("{}a: {}", with(SERVER, "token: t"), "[".repeat(100_000));
    assert!(endpoint(&[&brackets], None).unwrap_err().contains("more than 10000 of `[` and `{`"));
    let long = format!("{}# {}\n", with(SERVER, "token: t"), "x".repeat(16 * 1024 * 1024 - 1000));
    assert!(endpoint(&[&long], None).is_ok(), "of 16 MiB");
}
