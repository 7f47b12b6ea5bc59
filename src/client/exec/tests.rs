//! Plugins as scripts: what they are told, and what they may do wrong.

use super::process::{Failure, Run};
use super::{Credential, ExecPlugin};
use crate::client::SetupError;
use crate::client::files::Files;
use crate::client::interrupt::Ending;
use crate::client::kubeconfig::model::{Cluster, Exec};
use crate::client::kubeconfig::read::document;
use crate::client::testing::{PATIENCE, script};
use crate::client::url::Url;
use crate::lifecycle::Joined;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TOKEN: &str = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t0k3n"}}"#;

/// The plugin of a kubeconfig in `home` whose `exec` entry is a v1 one with these lines.
fn plugin(home: &Path, lines: &str) -> Result<ExecPlugin, SetupError> {
    let version =
        if lines.contains("apiVersion") { "" } else { "apiVersion: client.authentication.k8s.io/v1\ninteractiveMode: Never\n" };
    let exec: Exec = document(&format!("{version}{lines}"), Exec::read).unwrap();
    let cluster: Cluster = document(CLUSTER, Cluster::read).unwrap();
    let server = Url::parse("https://api.test:6443", "https").unwrap();
    ExecPlugin::from_kubeconfig(
        &exec,
        &home.join("config"),
        "config: user \"joe\"",
        &cluster,
        &home.join("config"),
        &server,
        &Files::new(),
    )
}

const CLUSTER: &str = r#"
certificate-authority-data: Y2E=
tls-server-name: name.test
proxy-url: http://joe:hunter2@proxy
extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: a1}}]
"#;

fn run(body: &str, lines: &str, terminal: bool) -> Result<Credential, String> {
    let home = tempfile::tempdir().unwrap();
    script(home.path(), "plugin", body);
    let plugin = plugin(home.path(), &format!("command: ./plugin\n{lines}")).map_err(|error| error.to_string())?;
    plugin.run(&Ending::new(), terminal, None).map_err(|error| error.to_string())
}

fn token(result: Result<Credential, String>) -> String {
    result.unwrap().token.unwrap().reveal().to_owned()
}

#[test]
fn a_relative_command_gets_its_arguments_and_variables() {
    let body = r#"printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s-%s"}}' "$1" "$WHO""#;
    let lines = "args: [hello]\nenv: [{name: WHO, value: world}]";
    assert_eq!(token(run(body, lines, false)), "hello-world");
}

#[test]
fn a_plugin_learns_of_the_cluster_only_when_it_asks() {
    let told = |lines: &str| {
        let home = tempfile::tempdir().unwrap();
        script(
            home.path(),
            "plugin",
            &format!("printf %s \"$KUBERNETES_EXEC_INFO\" > \"$(dirname \"$0\")/info\"\necho '{TOKEN}'"),
        );
        plugin(home.path(), &format!("command: ./plugin\n{lines}")).unwrap().run(&Ending::new(), false, None).unwrap();
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(home.path().join("info")).unwrap()).unwrap()
    };
    let plain = serde_json::json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": {"interactive": false}
    });
    assert_eq!(told(""), plain);
    let cluster = serde_json::json!({
        "server": "https://api.test:6443", "certificate-authority-data": "Y2E=", "tls-server-name": "name.test",
        "proxy-url": "http://joe:hunter2@proxy", "config": {"audience": "a1"}
    });
    assert_eq!(told("provideClusterInfo: true")["spec"]["cluster"], cluster);
}

#[test]
fn an_answer_may_hold_a_certificate_and_an_expiry() {
    let body = r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":
        {"clientCertificateData":"CERT","clientKeyData":"KEY","expirationTimestamp":"2030-01-02T03:04:05Z"}}'"#;
    let credential = run(body, "", false).unwrap();
    let (certificate, key) = credential.identity.unwrap();
    assert_eq!((certificate.reveal(), key.reveal()), ("CERT", "KEY"));
    assert_eq!(credential.expires, Some("2030-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap().try_into().unwrap()));
    assert!(credential.token.is_none());
}

fn check_failure(body: &str, lines: &str, expected: &str) {
    let error = run(body, lines, false).unwrap_err();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("hunter2-secret"), "{error}");
}

#[test]
fn a_plugin_that_fails_is_told_without_its_words() {
    check_failure("echo 'please log in' >&2; exit 3", "", "failed with exit status: 3; what it says is on stderr");
    check_failure("yes no | head -c 3000000 >&2; exit 1", "", "failed with exit status: 1; ");
    check_failure("kill -9 $$", "", "signal: 9");
    let long = format!("args: ['hunter2-secret{}tail']", "a".repeat(700));
    check_failure("printf 'bad token %s' \"$1\" >&2; exit 1", &long, "failed with exit status: 1");
    check_failure(
        "echo \"secret was ${1#--client-secret=}\" >&2; exit 1",
        "args: [--client-secret=hunter2-secret]",
        "failed with",
    );
    check_failure("echo \"$KUBERNETES_EXEC_INFO\" >&2; exit 1", "provideClusterInfo: true", "failed with exit status: 1");
    check_failure("echo 'hunter2-secret\\\"' >&2; exit 1", "", "failed with exit status: 1");
    for lines in ["args: [hunter2-secret]", "env: [{name: X, value: hunter2-secret}]"] {
        let error = run("echo \"pin was $1$X\" >&2; exit 1", lines, false).unwrap_err();
        assert!(!error.contains("pin was"), "{error}");
    }
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn what_a_plugin_says_is_passed_on_line_by_line() {
    let home = tempfile::tempdir().unwrap();
    script(
        home.path(),
        "plugin",
        "printf 'one\\ntwo ' >&2; printf 'three\\r\\n\\n' >&2; yes | head -c 9000 | tr -d '\\n' >&2; exit 1",
    );
    let plugin = plugin(home.path(), "command: ./plugin").unwrap();
    let run = Run { said: |line| SAID.lock().unwrap().push(line.to_owned()), ..plugin.prepare(false, PATIENCE, None) };
    assert!(matches!(run.outcome(&Ending::new()), Err(Failure::Status(_))));
    let said = std::mem::take(&mut *SAID.lock().unwrap());
    assert_eq!(said[..2], ["one", "two three"]);
    assert_eq!(said[2..].iter().map(String::len).collect::<Vec<_>>(), [4500]);
}

#[test]
fn terminals_are_not_controlled_by_plugins() {
    assert_eq!(super::shown("a\u{1b}[31mb\u{202e}c\u{9b}d é"), "a\\u{1b}[31mb\\u{202e}c\\u{9b}d é");
}

#[test]
fn a_hint_is_told_without_the_passwords_of_its_urls() {
    for (hint, expected) in [
        ("see https://joe:hunter2@docs.test/x@y and", "see https://docs.test/x@y and"),
        ("https://hunter2@a b://c:d@e@f", "https://a b://f"),
        ("mail joe@docs.test", "mail joe@docs.test"),
        ("://", "://"),
    ] {
        assert_eq!(super::without_userinfo(hint), expected);
    }
}

#[test]
fn a_plugin_has_the_descriptors_that_it_was_given() {
    // The limit is set once the command runs.
    let body = format!("until [ $(ulimit -Sn) = 77 ]; do :; done; echo '{TOKEN}'");
    let home = tempfile::tempdir().unwrap();
    script(home.path(), "plugin", &body);
    let plugin = plugin(home.path(), "command: ./plugin").unwrap();
    assert_eq!(token(plugin.run(&Ending::new(), false, Some(77)).map_err(|error| error.to_string())), "t0k3n");
}

#[test]
fn a_ctrl_c_at_a_prompt_is_a_stop_and_no_failure() {
    for end in ["kill -INT $$", "exit 130"] {
        let home = tempfile::tempdir().unwrap();
        script(home.path(), "plugin", &format!("cd \"$(dirname \"$0\")\"; echo $$ > part; mv part pid; {end}"));
        let ending = Ending::new();
        let (later, folder) = (ending.clone(), home.path().to_owned());
        // The command ends first; this process hears of the same Ctrl-C a moment later.
        let thread = Joined::spawn("test-ctrl-c", move || {
            let deadline = Instant::now() + PATIENCE;
            while !folder.join("pid").exists() && Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert_gone(&folder);
            later.come();
        });
        let run = plugin(home.path(), "command: ./plugin").unwrap().prepare(true, PATIENCE, None);
        assert!(matches!(run.outcome(&ending), Err(Failure::Interrupted)), "{end}");
        drop(thread);
        let alone = Run { interactive: false, ..run }.outcome(&Ending::new());
        assert!(matches!(alone, Err(Failure::Status(_))), "{end}");
    }
}

#[test]
fn only_absolute_folders_of_path_name_plugins() {
    let folder = tempfile::tempdir().unwrap();
    script(folder.path(), "plugin", "true");
    std::fs::write(folder.path().join("no-program"), "").unwrap();
    let absolute = folder.path().display().to_string();
    let relative = format!("{}{absolute}", "../".repeat(20));
    let find = |path: &str, word: &str| super::find_in_path(Some(path.into()), Path::new(word));
    assert_eq!(find(&format!("/none:{absolute}"), "plugin"), Some(folder.path().join("plugin")));
    assert_eq!(find(&relative, "plugin"), None);
    assert_eq!(find(&format!(":.:{relative}"), "plugin"), None);
    assert_eq!(find(&absolute, "no-program"), None);
    assert_eq!(super::find_in_path(None, Path::new("plugin")), None);
}

#[test]
fn an_answer_that_is_none_is_told_without_its_contents() {
    check_failure("echo hunter2-secret", "", "printed no ExecCredential");
    check_failure(r#"echo '{"kind":"ExecCredential","status":"hunter2-secret"}'"#, "", "status: expected a mapping, found text");
    check_failure("echo '{}'", "", "printed another kind or apiVersion");
    check_failure(&format!("echo '{}'", TOKEN.replace("/v1", "/v1beta1")), "", "printed another kind or apiVersion");
    check_failure(
        &format!("echo '{}'", TOKEN.replace("\"t0k3n\"", "\"\"")),
        "",
        "printed neither a token nor a client certificate",
    );
    check_failure(&format!("echo '{}'", TOKEN.replace("token", "clientKeyData")), "", "both belong together");
    let expiry = TOKEN.replace("\"t0k3n\"", "\"t\",\"expirationTimestamp\":\"soon\"");
    check_failure(&format!("echo '{expiry}'"), "", "expirationTimestamp that is not an RFC 3339 time");
    check_failure("yes", "", "printed more than 1 MiB");
    check_failure("yes | head -c 1048577", "", "printed more than 1 MiB");
    check_failure("yes | head -c 1048576", "", "printed no ExecCredential");
}

#[test]
fn a_plugin_that_is_not_there_says_how_to_install_it() {
    let home = tempfile::tempdir().unwrap();
    for command in ["./no-such-plugin", "faro-test-no-such-plugin"] {
        let plugin = plugin(home.path(), &format!("command: {command}\ninstallHint: \"Get it with brew.\"")).unwrap();
        let error = plugin.run(&Ending::new(), false, None).unwrap_err().to_string();
        assert!(error.contains("not found; install it or correct its path: Get it with brew."), "{error}");
    }
}

#[test]
fn a_stray_grandchild_neither_blocks_nor_survives() {
    let home = tempfile::tempdir().unwrap();
    // The grandchild holds the pipe; it notes its number before the plugin answers.
    script(home.path(), "plugin", &format!("sleep 1000 &\necho $! > \"$(dirname \"$0\")/pid\"\necho '{TOKEN}'"));
    let started = Instant::now();
    assert_eq!(
        token(plugin(home.path(), "command: ./plugin").unwrap().run(&Ending::new(), false, None).map_err(|e| e.to_string())),
        "t0k3n"
    );
    assert!(started.elapsed() < PATIENCE);
    assert_gone(home.path());
}

/// Waits until the process that the script noted is gone, or a zombie of whoever adopted it.
fn assert_gone(home: &Path) {
    let pid = std::fs::read_to_string(home.join("pid")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "process {pid} is left behind");
        std::thread::yield_now();
    }
}

#[test]
fn a_plugin_that_hangs_is_ended_with_its_children() {
    let home = tempfile::tempdir().unwrap();
    script(home.path(), "plugin", "sleep 1000 &\necho $! > \"$(dirname \"$0\")/pid\"\nwait");
    let plugin = plugin(home.path(), "command: ./plugin").unwrap();
    let result = plugin.prepare(false, Duration::from_millis(500), None).outcome(&Ending::new());
    assert!(matches!(result, Err(Failure::TooSlow)));
    assert_gone(home.path());
}

#[test]
fn an_interrupt_ends_a_plugin() {
    let home = tempfile::tempdir().unwrap();
    script(
        home.path(),
        "plugin",
        "echo $$ > \"$(dirname \"$0\")/pid.part\"\nmv \"$(dirname \"$0\")/pid.part\" \"$(dirname \"$0\")/pid\"\nsleep 1000",
    );
    let plugin = plugin(home.path(), "command: ./plugin").unwrap();
    let ending = Ending::new();
    let (other, noted) = (ending.clone(), home.path().join("pid"));
    let _thread = Joined::spawn("test-end", move || {
        let deadline = Instant::now() + PATIENCE;
        while !noted.exists() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        other.come();
    });
    assert!(matches!(plugin.run(&ending, false, None), Err(SetupError::Interrupted)));
    assert_gone(home.path());
}

#[test]
fn the_interactive_mode_decides_about_the_terminal() {
    let old = "apiVersion: client.authentication.k8s.io/v1beta1\n";
    let body = format!("echo '{}'", TOKEN.replace("/v1", "/v1beta1"));
    assert_eq!(token(run(&body, old, false)), "t0k3n");
    let error = run(&body, &format!("{old}interactiveMode: Always"), false).unwrap_err();
    assert!(error.contains("needs a terminal"), "{error}");
    assert_eq!(token(run(&body, &format!("{old}interactiveMode: Always"), true)), "t0k3n");
    // Without a terminal the plugin finds nothing on stdin, not even what Faro was given.
    assert_eq!(token(run(&format!("cat\necho '{TOKEN}'"), "", true)), "t0k3n");
}

#[test]
fn an_entry_that_is_wrong_is_told_where_it_stands() {
    fn check(lines: &str, expected: &str) {
        let error = plugin(Path::new("/home/joe"), lines).unwrap_err().to_string();
        assert_eq!(error, format!("config: user \"joe\": exec: {expected}"));
    }
    check(
        "command: x\napiVersion: client.authentication.k8s.io/v1alpha1",
        "apiVersion must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1, \
         found client.authentication.k8s.io/v1alpha1",
    );
    check(
        "command: x\napiVersion: client.authentication.k8s.io/v1",
        "interactiveMode must be Never, IfAvailable or Always, found nothing",
    );
    check("command: ''", "command is empty");
}
