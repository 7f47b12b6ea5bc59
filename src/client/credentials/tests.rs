//! When a login is read again, and when it is not.

use super::{LOOK_AGAIN, PACE, Pace, Session};
use crate::client::SetupError;
use crate::client::endpoint::{Endpoint, Identity, LoginSource, Pem, PemSource, Trust};
use crate::client::exec::ExecPlugin;
use crate::client::files::Files;
use crate::client::interrupt::Ending;
use crate::client::kubeconfig::Kubeconfig;
use crate::client::kubeconfig::model::{Cluster, Exec};
use crate::client::kubeconfig::read::document;
use crate::client::testing::{Authority, PATIENCE, endpoint, script};
use crate::lifecycle::Joined;
use crate::reading::{feed, make_pipe};
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A session that looks at its files again with each login.
fn eager(login: LoginSource, identity: Option<Identity>) -> Session {
    let mut endpoint = endpoint("https://api.test");
    endpoint.trust = Trust { insecure: true, ..Trust::default() };
    (endpoint.login, endpoint.identity) = (login, identity);
    eagerly(endpoint)
}

fn eagerly(endpoint: Endpoint) -> Session {
    let pace = Pace { look_again: Duration::ZERO, look_again_after_failure: Duration::ZERO, ..PACE };
    Session { pace, ..Session::new(endpoint, Files::new(), None) }
}

fn authorization(session: &Session) -> String {
    let login = session.login(&Ending::new()).unwrap();
    login.authorization.as_ref().unwrap().reveal().to_owned()
}

#[test]
fn a_changed_token_file_is_seen_within_a_minute() {
    assert!(LOOK_AGAIN <= Duration::from_secs(60));
    let file = tempfile::NamedTempFile::new().unwrap();
    let session = eager(LoginSource::TokenFile { path: file.path().to_owned(), meanwhile: None }, None);
    for token in ["one", "two\n"] {
        std::fs::write(file.path(), token).unwrap();
        assert_eq!(authorization(&session), format!("Bearer {}", token.trim()));
    }
    // In the middle of being replaced it is empty, or not there; the token read before goes on to be used.
    std::fs::write(file.path(), "").unwrap();
    assert_eq!(authorization(&session), "Bearer two");
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(authorization(&session), "Bearer two");
}

#[test]
fn a_token_file_without_a_token_is_an_error_at_first() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for text in ["", "\n", "two words", "\u{fffd}"] {
        std::fs::write(file.path(), text).unwrap();
        let error = eager(LoginSource::TokenFile { path: file.path().to_owned(), meanwhile: None }, None)
            .login(&Ending::new())
            .unwrap_err();
        assert!(error.to_string().ends_with("it holds no token"), "{error}");
    }
}

#[test]
fn a_renewed_certificate_makes_new_connections_and_an_equal_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let write = || {
        let leaf = authority.sign(&CertificateParams::default(), &KeyPair::generate().unwrap());
        std::fs::write(home.path().join("crt"), leaf.certificate).unwrap();
        std::fs::write(home.path().join("key"), leaf.key).unwrap();
    };
    let file = |name: &str| Pem { what: name.to_owned(), source: PemSource::File(home.path().join(name)) };
    write();
    let session = eager(LoginSource::Nothing, Some(Identity { certificate: file("crt"), key: file("key") }));
    let tls = || session.login(&Ending::new()).unwrap().tls.unwrap();
    let first = tls();
    assert!(Arc::ptr_eq(&first, &tls()), "all share one configuration");
    write();
    let second = tls();
    assert!(!Arc::ptr_eq(&first, &second));
    // A key that does not fit yet: the files are being replaced one after the other.
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(home.path().join("key"), key).unwrap();
    assert!(Arc::ptr_eq(&second, &tls()));
}

/// A session whose plugin notes its runs and prints a token with their number, and what `status` adds.
fn plugin(home: &Path, status: &str) -> Session {
    let body = format!(
        "cd \"$(dirname \"$0\")\"; echo run >> runs\n\
         echo \"{{\\\"kind\\\":\\\"ExecCredential\\\",\\\"apiVersion\\\":\\\"client.authentication.k8s.io/v1\\\",\
         \\\"status\\\":{{\\\"token\\\":\\\"t$(wc -l < runs)\\\"{status}}}}}\""
    );
    script(home, "plugin", &body);
    let exec: Exec =
        document("{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: ./plugin}", Exec::read).unwrap();
    let server = endpoint("https://api.test").server;
    let file = home.join("config");
    let plugin = ExecPlugin::from_kubeconfig(&exec, &file, "config", &Cluster::default(), &file, &server, &Files::new()).unwrap();
    eager(LoginSource::Exec(plugin), None)
}

#[test]
fn a_plugin_runs_once_until_its_credential_expires_or_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let session = Arc::new(plugin(home.path(), ",\\\"expirationTimestamp\\\":\\\"2999-01-01T00:00:00Z\\\""));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let session = session.clone();
            Joined::spawn(format!("test-{n}"), move || assert_eq!(authorization(&session), "Bearer t1")).unwrap()
        })
        .collect();
    drop(threads);
    assert_eq!(std::fs::read_to_string(home.path().join("runs")).unwrap(), "run\n");
    let refused = session.login(&Ending::new()).unwrap();
    assert!(session.refuse(&refused));
    assert_eq!(authorization(&session), "Bearer t2");
    assert!(session.refuse(&refused), "another transport was refused with the same old login");
    assert_eq!(authorization(&session), "Bearer t2", "which was renewed already");
    let refused = session.login(&Ending::new()).unwrap();
    assert!(!session.refuse(&refused), "what follows a refused credential and is refused too is not renewed at once");
    assert_eq!(authorization(&session), "Bearer t2");
}

#[test]
fn a_plugin_that_fails_is_not_run_for_every_watch() {
    let home = tempfile::tempdir().unwrap();
    let session = plugin(home.path(), "");
    script(home.path(), "plugin", "echo run >> \"$(dirname \"$0\")/runs\"; echo 'no session' >&2; exit 3");
    for _ in 0..3 {
        let error = session.login(&Ending::new()).unwrap_err();
        assert!(error.to_string().contains("failed with exit status: 3"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(home.path().join("runs")).unwrap(), "run\n");
}

#[test]
fn an_expired_credential_is_renewed() {
    let home = tempfile::tempdir().unwrap();
    let session = plugin(home.path(), ",\\\"expirationTimestamp\\\":\\\"2001-01-01T00:00:00Z\\\"");
    assert_eq!(authorization(&session), "Bearer t1");
    assert_eq!(authorization(&session), "Bearer t2");
}

#[test]
fn a_login_that_cannot_change_is_not_asked_for_again() {
    let session = eager(LoginSource::Token(crate::client::secret::Secret::new("t")), None);
    let login = session.login(&Ending::new()).unwrap();
    assert!(!session.refuse(&login));
}

#[test]
fn an_interrupt_ends_the_wait_for_another_transports_plugin() {
    let home = tempfile::tempdir().unwrap();
    let session = plugin(home.path(), "");
    let _turn = session.turn.wait(&Ending::new(), std::time::Instant::now() + PATIENCE).unwrap();
    let ending = Ending::new();
    ending.come();
    assert!(matches!(session.login(&ending), Err(SetupError::Interrupted)));
    assert!(!home.path().join("runs").exists());
}

#[test]
fn what_comes_from_pipes_is_read_once_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let text = "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n\
        clusters: [{name: c, cluster: {server: 'https://c.test', certificate-authority: ca}}]\n\
        users: [{name: u, user: {tokenFile: token}}]\n";
    ["config", "ca", "token"].iter().for_each(|name| make_pipe(&path(name)));
    let _writers = [feed(&path("config"), text), feed(&path("ca"), &Authority::new().pem()), feed(&path("token"), "one\n")];
    let mut endpoint = Kubeconfig::from_file(&path("config")).unwrap().endpoint(None, &|_| None).unwrap();
    assert!(endpoint.again.is_none(), "a pipe cannot be read again");
    endpoint.settle(&Files::new()).unwrap();
    let session = eagerly(endpoint);
    session.check().unwrap();
    for _ in 0..3 {
        assert_eq!(authorization(&session), "Bearer one");
    }
    assert_eq!(session.lock().complaint, None);
}

#[test]
fn a_file_that_becomes_a_pipe_is_told_and_what_was_read_before_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let session = eager(LoginSource::TokenFile { path: path.clone(), meanwhile: None }, None);
    assert_eq!(authorization(&session), "Bearer one");
    std::fs::remove_file(&path).unwrap();
    make_pipe(&path);
    assert_eq!(authorization(&session), "Bearer one");
    assert!(session.lock().complaint.as_ref().unwrap().contains("it is no regular file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "two").unwrap();
    assert_eq!(authorization(&session), "Bearer two");
}

#[test]
fn a_token_stands_in_for_a_token_file_that_cannot_be_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let meanwhile = Some(crate::client::secret::Secret::new("inline"));
    let session = eager(LoginSource::TokenFile { path: path.clone(), meanwhile }, None);
    assert_eq!(authorization(&session), "Bearer inline");
    std::fs::write(&path, "filed").unwrap();
    assert_eq!(authorization(&session), "Bearer filed");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(authorization(&session), "Bearer filed", "the newest that was read");
    assert_eq!(session.lock().complaint, None);
}

/// A kubeconfig of two contexts, of which `current` is chosen; the user of `dev` has `token`.
fn kubeconfig(path: &Path, current: &str, server: &str, token: &str) {
    let text = format!(
        "current-context: {current}\n\
         contexts: [{{name: dev, context: {{cluster: c, user: dev}}}}, {{name: other, context: {{cluster: d, user: other}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}, {{name: d, cluster: {{server: 'http://d.test'}}}}]\n\
         users: [{{name: dev, user: {{token: {token}}}}}, {{name: other, user: {{token: of-other}}}}]\n"
    );
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_token_that_changes_inside_the_kubeconfig_is_used_and_another_clusters_is_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    kubeconfig(&path, "dev", "http://c.test", "one");
    let session = eagerly(Kubeconfig::from_file(&path).unwrap().endpoint(None, &|_| None).unwrap());
    assert_eq!(authorization(&session), "Bearer one");
    let login = session.login(&Ending::new()).unwrap();
    assert!(session.login(&Ending::new()).unwrap() == login, "an unchanged file makes no new login");
    assert!(session.refuse(&login), "the file may have changed");
    kubeconfig(&path, "other", "http://c.test", "two");
    assert_eq!(authorization(&session), "Bearer two", "the context is that of the start");
    kubeconfig(&path, "dev", "http://elsewhere.test", "three");
    assert_eq!(authorization(&session), "Bearer two", "another server's token is not shown to this one");
    assert!(session.lock().complaint.as_ref().unwrap().contains("restart Faro to follow it"));
    std::fs::write(&path, "clusters: [{name: c, clus").unwrap();
    assert_eq!(authorization(&session), "Bearer two", "it is being written");
    kubeconfig(&path, "dev", "http://c.test", "four");
    assert_eq!(authorization(&session), "Bearer four");
    assert_eq!(session.lock().complaint, None);
}

#[test]
fn an_authority_that_changes_makes_new_connections_also_beside_a_plugin_which_is_not_run_for_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ca");
    std::fs::write(&path, Authority::new().pem()).unwrap();
    let mut endpoint = plugin(home.path(), "").endpoint;
    let authority = Pem { what: "ca".to_owned(), source: PemSource::File(path.clone()) };
    endpoint.trust = Trust { authority: Some(authority), ..Trust::default() };
    let session = Session::new(endpoint, Files::new(), None);
    let tls = || session.login(&Ending::new()).unwrap().tls.unwrap();
    let first = tls();
    let other = Authority::new().pem();
    std::fs::write(&path, &other[..other.len() / 2]).unwrap();
    assert!(Arc::ptr_eq(&first, &tls()), "nobody looks before the minute is over");
    session.doubt();
    assert!(Arc::ptr_eq(&first, &tls()), "half a file changes nothing");
    std::fs::write(&path, other).unwrap();
    session.doubt();
    assert!(!Arc::ptr_eq(&first, &tls()));
    assert_eq!(std::fs::read_to_string(home.path().join("runs")).unwrap(), "run\n");
}
