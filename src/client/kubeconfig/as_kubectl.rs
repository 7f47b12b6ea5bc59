//! What kubectl does with a kubeconfig, and what Faro does: a table of both, in `tests/golden/kubeconfigs.txt`.
//!
//! Each case logs in at a server that answers with what it was shown: the client's certificate and the headers that matter. The
//! lines `kubectl:` were written by kubectl 1.32; `RECORD_KUBECTL=1` writes them again, and the lines `faro:`, which stand where
//! Faro does otherwise. Where only one of the two logs in, a line `because:` says why that is meant.

use crate::chain::chain;
use crate::client::Client;
use crate::client::testing::{Authority, Leaf, Server, fetch, lenient_server_config, ok, read_head, script, tls};
use crate::client::tls::public_key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A kubeconfig, and what becomes of it.
struct Case {
    /// Lines that stand before it.
    remarks: String,
    kind: String,
    text: String,
    kubectl: String,
    faro: Option<String>,
    because: Option<String>,
}

/// What the cases log in at.
struct World {
    home: tempfile::TempDir,
    server: Server,
    leaf: Leaf,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let leaf = authority.server();
        let config = Arc::new(lenient_server_config(&leaf, rustls::ALL_VERSIONS));
        let server = Server::start(move |_, stream| {
            let mut stream = tls(&config, stream);
            while let Some(head) = read_head(&mut stream) {
                let shown = shown(&head, stream.conn.peer_certificates().is_some_and(|chain| public_key(&chain[0]).is_some()));
                if stream.write_all(&ok(&shown)).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        });
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "filed\n").unwrap();
        std::fs::write(home.path().join("ca.crt"), authority.pem()).unwrap();
        Self { home, server, leaf, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The bytes of a case's kubeconfig.
    fn bytes(&self, case: &Case) -> Vec<u8> {
        let whole = |cluster: &str, user: &str| {
            format!(
                "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
            )
        };
        let text = match case.kind.as_str() {
            "cluster" => whole(&case.text, "token: t"),
            "user" => whole("@cluster@", &case.text),
            "plugin" => {
                let (fields, body) = case.text.split_once(" $ ").unwrap();
                script(self.home.path(), "plugin.sh", &String::from_utf8(unescape(body)).unwrap());
                let exec = "apiVersion: client.authentication.k8s.io/v1, command: ./plugin.sh, interactiveMode: Never";
                whole("@cluster@", &format!("exec: {{{exec}{fields}}}"))
            }
            _ => case.text.clone(),
        };
        let inline = |name: &str| STANDARD.encode(std::fs::read(pki().join(name)).unwrap());
        let mut text = text
            .replace("@cluster@", "server: \"@server@\", certificate-authority-data: @ca@")
            .replace("@server@", &format!("https://{}", self.server.address))
            .replace("@address@", &self.server.address.to_string())
            .replace("@ca@", &STANDARD.encode(self.authority.pem()))
            .replace("@leaf@", &STANDARD.encode(&self.leaf.certificate))
            .replace("@pki@", &pki().display().to_string());
        while let Some((before, name, after)) = text.split_once("@b64:").and_then(|(before, rest)| {
            let (name, after) = rest.split_once('@')?;
            Some((before, name, after))
        }) {
            text = format!("{before}{}{after}", inline(name));
        }
        match case.kind.as_str() {
            "utf16le" => {
                [0xfeff].into_iter().chain(text.replace("\\n", "\n").encode_utf16()).flat_map(u16::to_le_bytes).collect()
            }
            "utf16be" => {
                [0xfeff].into_iter().chain(text.replace("\\n", "\n").encode_utf16()).flat_map(u16::to_be_bytes).collect()
            }
            "whole" => unescape(&text),
            _ => text.into_bytes(),
        }
    }

    fn faro(&self, path: &Path) -> String {
        let said = match Client::from_kubeconfig(path, None) {
            Ok(client) => fetch(&client),
            Err(error) => Err(chain(&error)),
        };
        said.unwrap_or_else(|error| format!("refused: {}", self.masked(&error)))
    }

    fn kubectl(&self, path: &Path) -> String {
        let mut command = Command::new("kubectl");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        command.arg("--kubeconfig").arg(path).args(["get", "--raw", "/x"]);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap();
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("refused: {}", self.masked(said.lines().last().unwrap_or_default().trim_start_matches("error: ")))
    }

    /// Without what differs in each run.
    fn masked(&self, text: &str) -> String {
        let text =
            text.replace(&format!("{}/", self.home.path().display()), "").replace(&self.server.address.to_string(), "ADDRESS");
        let text = text.replace(&format!("{}/", pki().display()), "PKI/").replace('\n', " ");
        // What follows is the whole list in Go's words, with certificates that differ in each run.
        let text = text.split_once(" in list: ").map_or(&*text, |(before, _)| before);
        text.chars().take(300).collect()
    }
}

fn pki() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pki")
}

/// What a server learns of a client.
fn shown(head: &str, has_certificate: bool) -> String {
    let mut shown = vec!["in".to_owned()];
    shown.extend(has_certificate.then(|| "certificate".to_owned()));
    let path = head.split(' ').nth(1).unwrap();
    shown.extend((path != "/x").then(|| format!("path={path}")));
    let mut headers: Vec<_> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| format!("{}={value}", name.to_ascii_lowercase()))
        .filter(|line| line.starts_with("authorization=") || line.starts_with("impersonate-"))
        .collect();
    headers.sort();
    shown.extend(headers);
    shown.join(" ")
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        match escaped {
            None => bytes.push(byte),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            Some(other) => bytes.push(other),
        }
    }
    bytes
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut remarks = String::new();
    for line in text.lines() {
        if line.starts_with('#') || line.is_empty() {
            _ = writeln!(remarks, "{line}");
        } else if let Some((key, value)) = line.strip_prefix("    ").map(|line| line.split_once(": ").unwrap()) {
            let case = cases.last_mut().unwrap();
            match key {
                "kubectl" => case.kubectl = value.to_owned(),
                "faro" => case.faro = Some(value.to_owned()),
                "because" => case.because = Some(value.to_owned()),
                other => panic!("{other} in {line}"),
            }
        } else {
            let (kind, text) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
            let remarks = std::mem::take(&mut remarks);
            let (kind, text) = (kind.to_owned(), text.to_owned());
            cases.push(Case { remarks, kind, text, kubectl: String::new(), faro: None, because: None });
        }
    }
    cases
}

fn written(cases: &[Case]) -> String {
    cases.iter().fold(String::new(), |mut text, case| {
        _ = writeln!(text, "{}{} | {}\n    kubectl: {}", case.remarks, case.kind, case.text, case.kubectl);
        for (key, value) in [("faro", &case.faro), ("because", &case.because)] {
            _ = value.as_ref().map(|value| writeln!(text, "    {key}: {value}"));
        }
        text
    })
}

#[test]
fn kubeconfigs_log_in_as_they_do_with_kubectl() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kubeconfigs.txt");
    let mut cases = parse(&std::fs::read_to_string(&golden).unwrap());
    let is_recording = std::env::var_os("RECORD_KUBECTL").is_some();
    let world = World::new();
    let mut wrong = String::new();
    for case in &mut cases {
        let path = world.path("config");
        std::fs::write(&path, world.bytes(case)).unwrap();
        let found = world.faro(&path);
        if is_recording {
            case.kubectl = world.kubectl(&path);
            case.faro = (found != case.kubectl).then(|| found.clone());
        }
        let expected = case.faro.as_ref().unwrap_or(&case.kubectl);
        if found != *expected {
            _ = writeln!(wrong, "{} | {}\n  expected {expected}\n  found    {found}", case.kind, case.text);
        }
        let differs = found.starts_with("in") != case.kubectl.starts_with("in");
        if differs != case.because.is_some() {
            _ = writeln!(
                wrong,
                "{} | {}: one logs in, the other does not: {differs}, but a reason stands there or does not",
                case.kind, case.text
            );
        }
    }
    if is_recording {
        std::fs::write(&golden, written(&cases)).unwrap();
    }
    assert!(cases.len() >= 120, "{} cases", cases.len());
    assert!(wrong.is_empty(), "{wrong}");
}
