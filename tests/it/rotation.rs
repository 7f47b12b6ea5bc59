//! Credentials that are replaced while Faro runs: nothing is restarted, nothing is lost, and nothing is told twice.

use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{SOON, eventually};
use faro::sim::Cluster;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A cluster with TLS, a daemon that watches its config maps, and the files that it logs in with.
struct Scene {
    cluster: Cluster,
    home: TempDir,
    daemon: Daemon,
    written: usize,
}

const CONFIG: &str = "resources: [{gvr: v1/configmaps, namespace_names: [default]}]";

/// A kubeconfig with these lines, as JSON members, in its cluster and its user.
fn write_kubeconfig(home: &Path, url: &str, cluster: &str, user: &str) -> PathBuf {
    let text = format!(
        r#"{{"current-context":"c","contexts":[{{"name":"c","context":{{"cluster":"c","user":"u"}}}}],
"clusters":[{{"name":"c","cluster":{{"server":"{url}",{cluster}}}}}],"users":[{{"name":"u","user":{{{user}}}}}]}}"#
    );
    let path = home.join("config");
    replace(&path, &text);
    path
}

/// As every careful writer does it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

const CA_FILE: &str = r#""certificate-authority":"ca.crt""#;

impl Scene {
    /// `user` prepares what the user's entry of the kubeconfig, which it gives, names.
    fn start(user: impl FnOnce(&Cluster, &Path) -> String) -> Self {
        let (cluster, home) = (Cluster::start().unwrap(), tempfile::tempdir().unwrap());
        fs::write(home.path().join("ca.crt"), cluster.authority().unwrap()).unwrap();
        let user = user(&cluster, home.path());
        let kubeconfig = write_kubeconfig(home.path(), cluster.url(), CA_FILE, &user);
        let mut daemon = Setup::with_config(CONFIG).kubeconfig(&kubeconfig).start();
        daemon.wait_until_ready();
        let mut scene = Self { cluster, home, daemon, written: 0 };
        scene.write();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A few changes, of which each must be told.
    fn write(&mut self) {
        for _ in 0..5 {
            let name = format!("c-{}", self.written);
            self.written += 1;
            self.cluster.create(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}")).unwrap();
        }
    }

    /// Breaks every connection, so that each login is needed anew, while changes go on; all are told by whoever has the new one.
    fn must_log_in_again(&mut self) {
        self.cluster.cut_connections();
        self.write();
        let (written, daemon) = (self.written, &self.daemon);
        // Each line is checked to be there once.
        daemon.wait_for_lines("every change", |lines| lines.iter().filter(|line| line.name.starts_with("c-")).count() == written);
        eventually(SOON, "the watch is well", || daemon.http("/ready?strict=1").unwrap().0 == 200);
    }

    fn end(self) {
        let ended = self.daemon.stop();
        let told: Vec<_> = ended.lines.iter().map(|line| line.name.as_str()).filter(|name| name.starts_with("c-")).collect();
        assert_eq!(told, (0..self.written).map(|n| format!("c-{n}")).collect::<Vec<_>>(), "in order");
        assert!(!ended.log.contains("panic"), "{}", ended.log);
    }
}

#[test]
fn token_file_that_is_replaced_is_read_when_the_old_token_is_refused() {
    let mut scene = Scene::start(|cluster, home| {
        fs::write(home.join("token"), cluster.issue_token()).unwrap();
        r#""tokenFile":"token""#.to_owned()
    });
    for _ in 0..2 {
        scene.cluster.revoke_logins();
        replace(&scene.path("token"), &scene.cluster.issue_token());
        scene.must_log_in_again();
    }
    scene.end();
}

#[test]
fn token_that_is_replaced_inside_the_kubeconfig_is_used_and_half_a_file_is_passed_over() {
    let mut scene = Scene::start(|cluster, _| format!(r#""token":"{}""#, cluster.issue_token()));
    scene.cluster.revoke_logins();
    fs::write(scene.path("config"), r#"{"clusters":[{"name":"c","#).unwrap();
    scene.cluster.cut_connections();
    scene.daemon.wait_for_log(&["warn", "v1/configmaps", "trying again"]);
    let user = format!(r#""token":"{}""#, scene.cluster.issue_token());
    write_kubeconfig(scene.home.path(), scene.cluster.url(), CA_FILE, &user);
    scene.must_log_in_again();
    scene.end();
}

#[test]
fn client_certificate_that_is_swapped_as_kubelets_swap_secrets_is_shown_from_then_on() {
    /// A folder of one generation, and the link by which all its files change at once.
    fn mount(cluster: &Cluster, home: &Path, generation: u32) {
        let (certificate, key) = cluster.issue_certificate().unwrap().unwrap();
        let folder = home.join(format!("..{generation}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
        symlink(&folder, home.join("..data_tmp")).unwrap();
        fs::rename(home.join("..data_tmp"), home.join("..data")).unwrap();
    }
    let mut scene = Scene::start(|cluster, home| {
        mount(cluster, home, 1);
        symlink("..data/tls.crt", home.join("tls.crt")).unwrap();
        symlink("..data/tls.key", home.join("tls.key")).unwrap();
        r#""client-certificate":"tls.crt","client-key":"tls.key""#.to_owned()
    });
    for generation in [2, 3] {
        scene.cluster.revoke_logins();
        mount(&scene.cluster, scene.home.path(), generation);
        scene.must_log_in_again();
    }
    scene.end();
}

#[test]
fn authority_that_is_replaced_is_trusted_as_soon_as_its_file_says_so() {
    let mut scene = Scene::start(|cluster, home| {
        fs::write(home.join("token"), cluster.issue_token()).unwrap();
        r#""tokenFile":"token""#.to_owned()
    });
    scene.cluster.renew_authority().unwrap();
    scene.cluster.cut_connections();
    scene.daemon.wait_for_log(&["signed by an authority that is not trusted"]);
    let bundle = scene.cluster.authority().unwrap();
    // Half-written first: the old one stays, and the log says so once.
    fs::write(scene.path("ca.crt"), &bundle[..bundle.len() / 2]).unwrap();
    scene.daemon.wait_for_log(&["cannot read credentials again, going on with those read before"]);
    replace(&scene.path("ca.crt"), &bundle);
    scene.must_log_in_again();
    scene.end();
}

#[test]
fn plugin_is_asked_again_when_its_credential_expires_and_when_it_is_refused() {
    let plugin = |home: &Path, token: &str, expires: &str| {
        let status = format!(r#"{{"token":"{token}","expirationTimestamp":"{expires}"}}"#);
        let answer = format!(r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{status}}}"#);
        replace(&home.join("answer"), &answer);
    };
    let later = "2999-01-01T00:00:00Z";
    let mut scene = Scene::start(|cluster, home| {
        let script = home.join("plugin.sh");
        fs::write(&script, "#!/bin/sh\necho run >> \"$(dirname \"$0\")/runs\"\ncat \"$(dirname \"$0\")/answer\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        plugin(home, &cluster.issue_token(), "2001-01-01T00:00:00Z");
        let exec = r#"{"apiVersion":"client.authentication.k8s.io/v1","command":"./plugin.sh","interactiveMode":"Never"}"#;
        format!(r#""exec":{exec}"#)
    });
    let runs = |scene: &Scene| fs::read_to_string(scene.path("runs")).unwrap().lines().count();
    assert!(runs(&scene) > 1, "what has expired is not used again");
    plugin(scene.home.path(), &scene.cluster.issue_token(), later);
    scene.must_log_in_again();
    let before = runs(&scene);
    scene.must_log_in_again();
    assert_eq!(runs(&scene), before, "what holds is used again");
    scene.cluster.revoke_logins();
    plugin(scene.home.path(), &scene.cluster.issue_token(), later);
    scene.must_log_in_again();
    assert_eq!(runs(&scene), before + 1, "what is refused is renewed once");
    scene.end();
}
