//! The table of kubeconfigs, with each of which a check and a run do the same.

use super::agree;
use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, page};
use crate::support::daemon::Setup;
use crate::support::pki::Pki;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The cases of the table: which part of a kubeconfig it is, and its text.
fn cases() -> Vec<(String, String)> {
    let table = fs::read_to_string("tests/golden/kubeconfigs.txt").unwrap();
    let cases = table.lines().filter(|line| !line.starts_with(['#', ' ']));
    cases.filter_map(|line| line.split_once(" | ")).map(|(kind, text)| (kind.to_owned(), text.to_owned())).collect()
}

/// The escapes of the table.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (_, None) => bytes.push(byte),
            (_, Some(b'n')) => bytes.push(b'\n'),
            (_, Some(b'r')) => bytes.push(b'\r'),
            (_, Some(b't')) => bytes.push(b'\t'),
            (_, Some(b'x')) => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            (_, Some(other)) => bytes.push(other),
        }
    }
    bytes
}

/// Writes the kubeconfig of a case beside what it names.
fn write(api: &Api, pki: &Pki, kind: &str, text: &str) {
    let folder = api.folder();
    let whole = |cluster: &str, user: &str| {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        )
    };
    let text = match kind {
        "cluster" => whole(text, "token: t"),
        "user" => whole("@cluster@", text),
        "plugin" => {
            let (fields, body) = text.split_once(" $ ").unwrap();
            let script = folder.join("plugin.sh");
            fs::write(&script, [b"#!/bin/sh\n", unescaped(body).as_slice(), b"\n"].concat()).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
            let exec = "apiVersion: client.authentication.k8s.io/v1, command: ./plugin.sh, interactiveMode: Never";
            whole("@cluster@", &format!("exec: {{{exec}{fields}}}"))
        }
        _ => text.to_owned(),
    };
    let golden = Path::new("tests/golden/pki").canonicalize().unwrap();
    let mut text = text
        .replace("@cluster@", "server: \"@server@\", certificate-authority-data: @ca@")
        .replace("@server@", &api.server.url())
        .replace("@address@", &api.server.address().to_string())
        .replace("@ca@", &STANDARD.encode(&pki.ca))
        .replace("@leaf@", &STANDARD.encode(&pki.serving.cert))
        .replace("@pki@", &golden.display().to_string());
    while let Some((before, (name, after))) =
        text.split_once("@b64:").and_then(|(before, rest)| Some((before, rest.split_once('@')?)))
    {
        text = format!("{before}{}{after}", STANDARD.encode(fs::read(golden.join(name)).unwrap()));
    }
    let utf16 =
        |of: fn(u16) -> [u8; 2]| [0xfeff].into_iter().chain(text.replace("\\n", "\n").encode_utf16()).flat_map(of).collect();
    let bytes: Vec<u8> = match kind {
        "utf16le" => utf16(u16::to_le_bytes),
        "utf16be" => utf16(u16::to_be_bytes),
        "whole" => unescaped(&text),
        _ => text.into_bytes(),
    };
    fs::write(folder.join("token"), "filed\n").unwrap();
    fs::write(folder.join("ca.crt"), &pki.ca).unwrap();
    fs::write(api.kubeconfig(), bytes).unwrap();
}

/// Every fourth case from this one on.
fn check(first: usize) {
    let pki = Pki::new();
    let (mut good, mut bad) = (0, 0);
    for (kind, text) in cases().into_iter().skip(first).step_by(4) {
        let api = Api::on(tls::server_of_anyone(&pki), Release::V1_20);
        api.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7)])]);
        // No streaming lists, and a watch that stays open.
        api.server.instead("get /version", [Answer::json(200, r#"{"gitVersion":"v1.20.0"}"#)]);
        api.server.instead(&format!("watch {CONFIGMAPS}"), []);
        write(&api, &pki, &kind, &text);
        let config = "resources: [{gvr: v1/configmaps, namespace_names: [demo]}]";
        let setup = Setup::with_config(config).kubeconfig(&api.kubeconfig());
        if agree(&format!("{kind} | {text}"), &setup, &[]) {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 10 && bad > 10, "{good} log in, {bad} do not");
}

#[test]
fn they_agree_on_the_first_quarter_of_the_table() {
    check(0);
}

#[test]
fn they_agree_on_the_second_quarter_of_the_table() {
    check(1);
}

#[test]
fn they_agree_on_the_third_quarter_of_the_table() {
    check(2);
}

#[test]
fn they_agree_on_the_last_quarter_of_the_table() {
    check(3);
}
