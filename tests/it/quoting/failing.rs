//! Plugins that fail, and kubeconfigs that are wrong where a credential stands.

use super::both_fail;
use super::login::Login;
use super::search::Search;
use crate::api::{Api, Release};
use crate::support::daemon::Setup;
use crate::support::pki::Pki;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// A server that would take every login, and the lines of a cluster that trust it.
fn api() -> (Api, String) {
    let pki = Login::pki();
    (Api::on(tls::server(pki), Release::V1_36), format!("certificate-authority-data: {}", STANDARD.encode(&pki.ca)))
}

/// A run and a check with this user, and these lines of a cluster.
fn look_at_both(search: &mut Search, api: &Api, cluster: &str, user: &str) {
    let kubeconfig = api.write_kubeconfig_with_user(cluster, user);
    look_at_file(search, &kubeconfig, user);
}

fn look_at_file(search: &mut Search, kubeconfig: &Path, what: &str) {
    let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]\nauto_shutdown_sec: 50").kubeconfig(kubeconfig);
    for ended in both_fail(&setup, what) {
        search.look_at(&ended, &setup);
    }
}

#[test]
fn a_plugin_that_fails_and_quotes_everything_shows_its_words_on_stderr_alone() {
    let login = Login::Plugin;
    let [token, argument, variable] = login.secrets()[..] else { panic!("a plugin has three secrets") };
    let quoted = format!("{} {argument} {variable}", login.quoted());
    // Not echo, which takes escapes for what they mean.
    let print = |text: &str| format!("printf %s '{text}'");
    let printed = |status: &str| print(&Login::printed(status));
    let with_token = Login::printed(&format!(r#""token":"{token}""#));
    let scripts = [
        format!("echo '{quoted}' >&2; echo '{quoted}'; exit 3"),
        format!("echo '{quoted}' >&2; kill -9 $$"),
        format!("echo '{quoted}' >&2; echo '{quoted}'"),
        r#"echo "$1 $PLUGIN_PASSWORD $KUBERNETES_EXEC_INFO" >&2; echo "{$1: $PLUGIN_PASSWORD}""#.to_owned(),
        printed(&format!(r#""token":["{token}"]"#)),
        printed(&format!(r#""token":{{"{token}":1}}"#)),
        printed(&format!(r#""token":"{token}\n""#)),
        printed(&format!(r#""token":"{token}","expirationTimestamp":"{token}""#)),
        printed(&format!(r#""clientCertificateData":"{token}""#)),
        printed(&format!(r#""clientCertificateData":"{token}","clientKeyData":"{argument}""#)),
        print(&with_token.replace('}', "")),
        print(&with_token.replace("ExecCredential", token)),
        print(&with_token.replace("/v1\"", &format!("/{variable}\""))),
        format!("printf '\\377 {token}'"),
        format!("yes '{token}' | head -c 2000000"),
    ];
    let mut search = Search::of(login);
    for script in &scripts {
        let (api, trusting) = api();
        let user = Login::plugin(&api, script);
        look_at_both(&mut search, &api, &trusting, &user);
        search.quotes += 2;
        assert!(api.server.requests().is_empty(), "nobody is asked without a credential: {script}");
    }
    let (api, trusting) = api();
    look_at_both(&mut search, &api, &trusting, &Login::exec("./not-there.sh"));
    look_at_both(&mut search, &api, &trusting, &Login::exec("not-there-in-path"));
    // A folder cannot be run.
    look_at_both(&mut search, &api, &trusting, &Login::exec("./"));
    search.check("plugins that fail", 4 * (scripts.len() + 3), 2 * scripts.len());
}

/// Users that are wrong where one of their credentials stands, or near it.
fn wrong_users(login: Login) -> Vec<String> {
    let other = Pki::new();
    let key = &Login::pki().admin.key;
    let certificate = STANDARD.encode(&Login::pki().admin.cert);
    let with_key = |data: &str| format!("client-certificate-data: {certificate}\nclient-key-data: {data}");
    let secrets = login.secrets();
    let secret = secrets[0];
    match login {
        Login::Token => vec![
            format!("token: [{secret}]"),
            format!("token: {{{secret}: 1}}"),
            format!("token: \"{secret}\\n\""),
            format!("token: \"{secret}\\u00e9\\u0001\""),
            format!("token: {secret}: {secret}"),
            format!("token: \"{secret}"),
            format!("token: {secret}\n  bad: indent"),
            format!("token: *{secret}"),
            format!("token: !!binary {secret}!"),
            format!("token: !!int {secret}"),
            format!("{secret}"),
            format!("- {secret}"),
            format!("token: {secret}\nas-groups: [{secret}]"),
            format!("token: {secret}\nas: \"a\\n{secret}\""),
        ],
        Login::TokenFile => vec![format!("tokenFile: [{secret}]"), format!("tokenFile: {{{secret}: {secret}}}")],
        Login::Password => vec![
            format!("password: [\"{secret}\"]\nusername: a"),
            format!("username: a\npassword: \"{secret}\ntoken: x"),
            format!("username: \"a:b\"\npassword: \"{secret}\\n\"\nas-groups: [\"{secret}\"]"),
            format!("username: [a]\npassword: \"{secret}\""),
        ],
        Login::ClientKey => {
            let line = secret;
            vec![
                with_key(line),
                with_key(&format!("[{line}]")),
                with_key(&format!("\"{line}!\"")),
                with_key(&STANDARD.encode(line)),
                with_key(&STANDARD.encode(key.replace("PRIVATE", "PUBLIC"))),
                with_key(&STANDARD.encode(key.replacen('\n', "\n!", 2))),
                with_key(&STANDARD.encode(&key[..key.len() / 2])),
                format!("client-certificate-data: {certificate}\nclient-key-data: |\n{}", key.replace('\n', "\n  ")),
                format!("client-key-data: {}", STANDARD.encode(key)),
                format!("client-certificate-data: {}\nclient-key-data: {}", STANDARD.encode(key), STANDARD.encode(key)),
                format!(
                    "client-certificate-data: {}\nclient-key-data: {}",
                    STANDARD.encode(&other.admin.cert),
                    STANDARD.encode(key)
                ),
            ]
        }
        Login::Plugin => {
            let exec = Login::exec("./plugin.sh");
            let (argument, variable) = (secrets[1], secrets[2]);
            vec![
                exec.replace("client.authentication.k8s.io/v1", "other/v1"),
                exec.replace("Never", "Sometimes"),
                exec.replace("name: PLUGIN_PASSWORD", "name: \"a=b\""),
                exec.replace("name: PLUGIN_PASSWORD, ", ""),
                exec.replace(&format!("[{argument}]"), &format!("{{{argument}: 1}}")),
                exec.replace(&format!("[{argument}]"), &format!("[[{argument}]]")),
                exec.replace(&format!("value: {variable}"), &format!("value: [{variable}]")),
                exec.replace(&format!("[{{name: PLUGIN_PASSWORD, value: {variable}}}]"), variable),
                exec.replace("./plugin.sh", "\"\""),
                exec.replace("./plugin.sh", "[./plugin.sh]"),
            ]
        }
        Login::Proxy => Vec::new(),
    }
}

#[test]
fn a_kubeconfig_that_is_wrong_where_a_credential_stands_shows_none() {
    for login in Login::ALL {
        let mut search = Search::of(login);
        let (api, trusting) = api();
        let users = wrong_users(login);
        for user in &users {
            look_at_both(&mut search, &api, &trusting, user);
        }
        let secret = login.secrets()[0].replace(['/', '%'], "");
        for url in [
            format!("http://joe:{secret}@"),
            format!("http://joe:{secret}@127.0.0.1:port"),
            format!("ftp://joe:{secret}@127.0.0.1:1"),
            format!("http://joe:{secret}%zz@127.0.0.1:1"),
            format!("joe:{secret}@127.0.0.1:1"),
            format!("http://joe:{secret}@127.0.0.1:1"),
            format!("socks5://joe:{secret}@127.0.0.1:1"),
            format!("[http://joe:{secret}@127.0.0.1:1]"),
        ] {
            look_at_both(&mut search, &api, &format!("{trusting}\nproxy-url: \"{url}\""), &login.user(&api));
            let kubeconfig = api.write_kubeconfig_for(&format!("\"{url}\""), &trusting, &login.user(&api));
            look_at_file(&mut search, &kubeconfig, &url);
        }
        // Whole files that end, or are something else, behind a credential.
        let text = std::fs::read_to_string(api.write_kubeconfig_with_user(&trusting, &login.user(&api))).unwrap();
        for text in [
            format!("{text}]"),
            format!("{text}\n  x: \"{}", login.secrets()[0]),
            text.replace("current-context: here", "current-context: elsewhere"),
            text.replace("user: u", "user: nobody"),
            text.replace("users:", "users: 7\nothers:"),
            text.replace("    server:", "    nothing:"),
        ] {
            std::fs::write(api.kubeconfig(), &text).unwrap();
            look_at_file(&mut search, &api.kubeconfig(), &text);
        }
        search.check(&format!("kubeconfigs with {login:?}"), 4 * (users.len() + 14), 0);
    }
}
