//! A real etcd and kube-apiserver of our own, on loopback ports, that can be killed, restarted and restored.
//!
//! Takes the two binaries from the folder that `$KUBEBUILDER_ASSETS` names; gives a URL and credentials. Role-based
//! access control is on. Everything is killed and removed when it is dropped.

use crate::pki::Pki;
use crate::ports::free_port;
use crate::process::Guarded;
use crate::wait::{SOON, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// One etcd, one kube-apiserver.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    // Dropped in this order: the server, its store, their folder.
    api_server: Mutex<Option<Guarded>>,
    second_api_server: Mutex<Option<Guarded>>,
    etcd: Mutex<Option<Guarded>>,
    assets: PathBuf,
    options: Options,
    ports: Ports,
    /// Its certificates and keys.
    pub(crate) pki: Pki,
    dir: TempDir,
}

/// How a control plane differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// More flags for the API server.
    pub(crate) api_server_flags: &'static [&'static str],
}

/// A copy of etcd's files, as a backup would hold them.
#[derive(Debug)]
pub(crate) struct Backup(TempDir);

#[derive(Clone, Copy, Debug)]
struct Ports {
    api_server: u16,
    second_api_server: u16,
    etcd: u16,
    etcd_peer: u16,
}

impl ControlPlane {
    /// Starts both and waits until they answer; `assets` is the folder of the binaries.
    ///
    /// # Panics
    ///
    /// When one of them does not start; the message ends with what it said last.
    pub(crate) fn start(assets: &Path, options: Options) -> Self {
        let plane = Self {
            api_server: Mutex::default(),
            second_api_server: Mutex::default(),
            etcd: Mutex::default(),
            assets: assets.to_owned(),
            options,
            ports: Ports { api_server: free_port(), second_api_server: free_port(), etcd: free_port(), etcd_peer: free_port() },
            pki: Pki::new(),
            dir: tempfile::Builder::new().prefix("faro-e2e-plane-").tempdir().expect("a folder for the control plane"),
        };
        plane.write_files();
        plane.start_etcd();
        plane.start_api_server();
        plane
    }

    /// Where the API server answers.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    /// The API server's port.
    pub(crate) fn port(&self) -> u16 {
        self.ports.api_server
    }

    /// The port of the second API server, where there is one.
    pub(crate) fn second_port(&self) -> u16 {
        self.ports.second_api_server
    }

    /// Starts one more API server on the same store. It listens when this returns.
    pub(crate) fn start_second_api_server(&self) {
        self.run_api_server(&self.second_api_server, self.ports.second_api_server);
    }

    /// Ends the second API server as a crash would.
    pub(crate) fn kill_second_api_server(&self) {
        *lock(&self.second_api_server) = None;
    }

    /// Ends the API server as a crash would.
    pub(crate) fn kill_api_server(&self) {
        *lock(&self.api_server) = None;
    }

    /// Starts the API server, on the same port as before. It listens when this returns; `/readyz` is the caller's to ask.
    pub(crate) fn start_api_server(&self) {
        self.run_api_server(&self.api_server, self.ports.api_server);
    }

    fn run_api_server(&self, place: &Mutex<Option<Guarded>>, port: u16) {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new(self.assets.join("kube-apiserver"));
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--tls-cert-file={}", file("serving.crt")))
            .arg(format!("--tls-private-key-file={}", file("serving.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--service-account-key-file={}", file("accounts.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("accounts.key")))
            .args(["--service-account-issuer=https://faro.test", "--service-cluster-ip-range=10.96.0.0/16"])
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
            // Pods may be created although no controller makes service accounts for their namespaces.
            .arg("--disable-admission-plugins=ServiceAccount")
            .args(self.options.api_server_flags);
        self.run(&mut command, place, "kube-apiserver", port);
    }

    /// Copies etcd's files while it stands still: what a crash at this moment would leave behind.
    pub(crate) fn back_up(&self) -> Backup {
        let copy = tempfile::tempdir().expect("a folder for the backup");
        let mut etcd = lock(&self.etcd);
        let etcd = etcd.as_mut().expect("etcd runs while a backup is made");
        etcd.signal(Signal::STOP);
        copy_folder(&self.dir.path().join("etcd"), copy.path());
        etcd.signal(Signal::CONT);
        Backup(copy)
    }

    /// Goes back to `backup`: everything that was written since is forgotten, and versions are given out again.
    pub(crate) fn restore(&self, backup: &Backup) {
        self.kill_api_server();
        *lock(&self.etcd) = None;
        let data = self.dir.path().join("etcd");
        fs::remove_dir_all(&data).expect("etcd's files can be removed");
        fs::create_dir(&data).expect("etcd's folder can be made");
        copy_folder(backup.0.path(), &data);
        self.start_etcd();
        self.start_api_server();
    }

    /// Lets etcd forget every version before the one of now. What the API server keeps in memory stays.
    pub(crate) fn compact(&self) {
        let ask = |what: &str, body: &Value| -> Value {
            let url = format!("http://127.0.0.1:{}/v3/kv/{what}", self.ports.etcd);
            let mut response = ureq::post(url).send(body.to_string()).expect("etcd answers");
            let text = response.body_mut().read_to_string().expect("etcd answers");
            serde_json::from_str(&text).expect("etcd answers with JSON")
        };
        // Any key will do: each answer names the revision of now.
        let revision = ask("range", &json!({"key": "AA=="}))["header"]["revision"].take();
        ask("compaction", &json!({"revision": revision, "physical": true}));
    }

    fn write_files(&self) {
        let write =
            |name: &str, text: &str| fs::write(self.dir.path().join(name), text).expect("the control plane's folder is ours");
        write("ca.crt", &self.pki.ca);
        write("serving.crt", &self.pki.serving.cert);
        write("serving.key", &self.pki.serving.key);
        write("accounts.pub", &self.pki.service_accounts.cert);
        write("accounts.key", &self.pki.service_accounts.key);
        write("tokens.csv", &format!("{ADMIN_TOKEN},token-admin,1,\"system:masters\"\n"));
        fs::create_dir(self.dir.path().join("etcd")).expect("the control plane's folder is ours");
    }

    fn start_etcd(&self) {
        let url = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        let mut command = Command::new(self.assets.join("etcd"));
        command
            .arg(format!("--data-dir={}", self.dir.path().join("etcd").display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"));
        self.run(&mut command, &self.etcd, "etcd", self.ports.etcd);
    }

    /// Runs `command` with a log file of its own, keeps it in `place` and waits until it listens on `port`.
    fn run(&self, command: &mut Command, place: &Mutex<Option<Guarded>>, name: &str, port: u16) {
        let log = self.dir.path().join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("the control plane's folder is ours");
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        let mut process = Guarded::start(command);
        eventually(SOON, &format!("{name} listens on port {port}"), || {
            if let Some(status) = process.ended() {
                panic!("{name} ended with {status}:\n{}", last_lines(&log));
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        *lock(place) = Some(process);
    }
}

/// The token of a static token file, for a user in `system:masters`.
pub(crate) const ADMIN_TOKEN: &str = "e2e-static-admin-token-5f1c0d7a9b";

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("etcd's files can be read") {
        let entry = entry.expect("etcd's files can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("etcd's files can be read").is_dir() {
            fs::create_dir(&target).expect("a backup's folder can be made");
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a backup's file can be written");
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

const LINES_SHOWN: usize = 20;
