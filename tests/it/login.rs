//! Logging in: every kind of credential reaches the server, is renewed when it is refused, and shows nowhere else.

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, WATCH_CONFIGMAPS, line, watch};
use crate::server::Request;
use crate::support::daemon::Setup;
use crate::support::pki::Pki;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faro::lifecycle::Joined;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Prints a token that counts how often it was asked, and keeps what it was given.
const COUNTING_PLUGIN: &str = r#"#!/bin/sh
echo run >> "$0.runs"
printf '%s %s %s' "$1" "$PLUGIN_PASSWORD" "$KUBERNETES_EXEC_INFO" > "$0.given"
echo "a remark of the plugin" >&2
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"exec-token-'$(grep -c run "$0.runs")'"}}'
"#;

const EXEC: &str = "exec:
  apiVersion: client.authentication.k8s.io/v1
  command: ./plugin.sh
  args: [plugin-argument-secret]
  env: [{name: PLUGIN_PASSWORD, value: plugin-variable-secret}]
  interactiveMode: Never";

fn plugin(folder: &Path, text: &str) {
    let path = folder.join("plugin.sh");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Logs in as `user`, is refused once in the middle, and goes on: with these headers before and after. None of `secrets`
/// may show in what Faro writes.
fn check(api: &Api, cluster: &str, user: &str, secrets: &[&str], before: Option<&str>, after: Option<&str>) -> Vec<Request> {
    api.serves_a_and_b();
    let change = watch(&[line("MODIFIED", "a", 11)]).left_open();
    let changes = watch(&[line("MODIFIED", "a", 11), line("MODIFIED", "a", 12)]).left_open();
    let watched = format!("watch {CONFIGMAPS}");
    api.server.on(&watched, [change, Answer::recorded("unauthorized"), changes]);
    let kubeconfig = api.write_kubeconfig_with_user(cluster, user);
    let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&kubeconfig);
    let daemon = setup.keeping_secret(secrets.iter().map(|secret| (*secret).to_owned()).collect()).start();
    let versions = |count| daemon.wait_for_lines("the changes", |lines| lines.len() >= count);
    versions(3);
    api.server.cut_all();
    versions(4);
    let requests = api.server.requests();
    assert_eq!(requests[0].header("Authorization"), before);
    assert_eq!(requests.last().unwrap().header("Authorization"), after, "{user}");
    assert!(api.server.asked(&watched) >= 4, "asked again after it was refused");
    daemon.stop();
    requests
}

#[test]
fn token_and_password_reach_the_server_and_nothing_else() {
    let api = Api::new(Release::V1_20);
    let bearer = Some("Bearer inline-token-secret");
    check(&api, "", "token: inline-token-secret", &["inline-token-secret"], bearer, bearer);

    let api = Api::new(Release::V1_20);
    let encoded = STANDARD.encode("joe:basic:password-secret");
    let basic = format!("Basic {encoded}");
    let user = "username: joe\npassword: basic:password-secret";
    check(&api, "", user, &["password-secret", &encoded], Some(&basic), Some(&basic));
}

#[test]
fn token_of_twelve_kilobytes_is_sent_whole() {
    let api = Api::new(Release::V1_20);
    let token = "long-token-secret-".repeat(700);
    let bearer = format!("Bearer {token}");
    check(&api, "", &format!("token: {token}"), &["long-token-secret"], Some(&bearer), Some(&bearer));
}

#[test]
fn client_key_shows_nowhere() {
    let pki = Pki::new();
    let api = Api::on(tls::server(&pki), Release::V1_20);
    let key = STANDARD.encode(&pki.admin.key);
    let cluster = format!("certificate-authority-data: {}", STANDARD.encode(&pki.ca));
    let user = format!("client-certificate-data: {}\nclient-key-data: {key}", STANDARD.encode(&pki.admin.cert));
    let pem_line = pki.admin.key.lines().nth(1).unwrap();
    let requests = check(&api, &cluster, &user, &[pem_line, &key[40..80]], None, None);
    assert!(requests.iter().all(|request| request.certificate));
}

#[test]
fn plugin_is_run_once_and_again_when_its_token_is_refused() {
    let api = Api::new(Release::V1_20);
    plugin(api.folder(), COUNTING_PLUGIN);
    let secrets = ["exec-token", "plugin-argument-secret", "plugin-variable-secret"];
    check(&api, "", EXEC, &secrets, Some("Bearer exec-token-1"), Some("Bearer exec-token-2"));
    assert_eq!(std::fs::read_to_string(api.folder().join("plugin.sh.runs")).unwrap(), "run\nrun\n");
    let given = std::fs::read_to_string(api.folder().join("plugin.sh.given")).unwrap();
    let info = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#;
    assert_eq!(given, format!("plugin-argument-secret plugin-variable-secret {info}"));
}

#[test]
fn plugin_may_answer_with_a_client_certificate() {
    let pki = Pki::new();
    let api = Api::on(tls::server(&pki), Release::V1_20);
    let json = |pem: &str| serde_json::to_string(pem).unwrap();
    let status = format!(r#"{{"clientCertificateData":{},"clientKeyData":{}}}"#, json(&pki.admin.cert), json(&pki.admin.key));
    let answer = format!(r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{status}}}"#);
    std::fs::write(api.folder().join("answer"), answer).unwrap();
    plugin(api.folder(), "#!/bin/sh\ncat \"${0%plugin.sh}answer\"\n");
    let cluster = format!("certificate-authority-data: {}", STANDARD.encode(&pki.ca));
    let pem_line = pki.admin.key.lines().nth(1).unwrap();
    let requests = check(&api, &cluster, EXEC, &[pem_line], None, None);
    assert!(requests.iter().all(|request| request.certificate));
}

#[test]
fn plugin_that_fails_is_named_and_its_words_are_on_stderr_alone() {
    for (text, words) in [
        (Some("#!/bin/sh\necho 'no session: log in first' >&2\nexit 3\n"), ["plugin.sh", "exit status: 3"]),
        (Some("#!/bin/sh\necho hello\n"), ["plugin.sh", "ExecCredential"]),
        (None, ["plugin.sh", "not found"]),
    ] {
        let api = Api::new(Release::V1_20);
        if let Some(text) = text {
            plugin(api.folder(), text);
        }
        let kubeconfig = api.write_kubeconfig_with_user("", EXEC);
        let setup = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&kubeconfig);
        let ended = setup.keeping_secret(vec!["plugin-argument-secret".to_owned()]).run_to_end();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        let last = ended.log.lines().last().unwrap();
        assert!(words.iter().all(|word| last.contains(word)) && !last.contains("log in first"), "{words:?}: {last}");
        let lines: Vec<_> = ended.log.lines().filter(|line| line.contains("log in first")).collect();
        let expected: &[_] = if words[1] == "exit status: 3" { &["credential plugin: no session: log in first"] } else { &[] };
        assert_eq!(lines, expected);
        assert!(api.server.requests().is_empty(), "nobody is asked without a credential");
    }
}

#[test]
fn kubeconfig_from_a_pipe_is_read_once_and_stops_nothing() {
    let api = Api::new(Release::V1_20);
    api.serves_a_and_b();
    let changes = watch(&[line("MODIFIED", "a", 11)]).left_open();
    api.server.on(&format!("watch {CONFIGMAPS}"), [changes]);
    let text = std::fs::read_to_string(api.write_kubeconfig("")).unwrap();
    let pipe = api.folder().join("pipe");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
    let fed = pipe.clone();
    let feeder = Joined::spawn("feeder", move || std::fs::write(fed, text).unwrap());
    let daemon = Setup::with_config(WATCH_CONFIGMAPS).kubeconfig(&pipe).start();
    daemon.wait_for_lines("the change", |lines| lines.len() >= 3);
    let ended = daemon.stop();
    assert!(ended.log.contains("pipe is no regular file: it is read once, and no change to it is seen"), "{}", ended.log);
    drop(feeder);
}
