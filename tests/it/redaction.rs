//! Copies of objects in annotations never reach a disk or standard output as they are.

use crate::support::daemon::Setup;
use crate::support::lines::Line;
use faro::sim::Cluster;
use std::fs;
use std::path::Path;

/// What every copy holds, and nothing else does.
const MARK: &str = "PWMARK";

const KINDS: [(&str, &str); 4] = [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("v1", "Pod"), ("v1", "Secret")];

const WATCH: &str =
    "resources: [{gvr: v1/configmaps}, {gvr: apps/v1/deployments}, {gvr: v1/pods}, {gvr: v1/secrets}]\njson_stdout: true";

fn create(cluster: &Cluster, (version, kind): (&str, &str), name: &str) {
    let copy = format!(r#"{{\"data\":\"{MARK}-copy\"}}"#);
    let annotations = format!(
        r#"{{"kubectl.kubernetes.io/last-applied-configuration":"{copy}","kapp.k14s.io/original":"{MARK}","objectset.rio.cattle.io/applied":"{MARK}","long":"{}","short":"kept"}}"#,
        MARK.repeat(4000)
    );
    let head = format!(r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"name":"{name}","namespace":"default""#);
    let spec = match kind {
        "Pod" => r#","spec":{"containers":[{"name":"c","image":"i"}]}"#,
        "Deployment" => {
            r#","spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}"#
        }
        _ => "",
    };
    cluster.create(&format!(r#"{head},"annotations":{annotations}}}{spec}}}"#)).unwrap();
}

/// How many files below `folder` there are, and which of them hold the mark.
fn marked(folder: &Path, files: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(marked(&path, files));
        } else {
            *files += 1;
            let bytes = fs::read(&path).unwrap();
            if memchr::memmem::find(&bytes, MARK.as_bytes()).is_some() {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn check_annotations(lines: &[Line]) {
    for line in lines {
        let value = |key: &str| line.annotations.get(key).unwrap_or_else(|| panic!("{key} of {}", line.brief())).as_str();
        for key in
            ["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"]
        {
            assert!(value(key).starts_with("redacted:") && value(key).len() == 25, "{key}: {}", value(key));
        }
        assert!(value("long").starts_with("redacted:"), "{}", value("long"));
        assert_eq!(value("long").ends_with(":24000"), line.gvr != "v1/secrets", "{}", value("long"));
        assert_eq!(value("short") == "kept", line.gvr != "v1/secrets", "{}", value("short"));
        assert_eq!(value("kapp.k14s.io/original"), value("objectset.rio.cattle.io/applied"), "equal values have equal digests");
    }
}

#[test]
fn copies_of_objects_in_annotations_are_digests_in_lines_state_and_deletes_that_are_inferred() {
    let cluster = Cluster::start().unwrap();
    KINDS.iter().for_each(|kind| create(&cluster, *kind, "app"));
    let setup = Setup::with_config(WATCH).kubeconfig(cluster.kubeconfig());
    let daemon = setup.clone().start_ready();
    daemon.wait_for_lines("the first lists", |lines| lines.len() == 4);
    for gvr in ["v1/configmaps", "apps/v1/deployments", "v1/pods", "v1/secrets"] {
        cluster.label(gvr, "default/app", &[("touched", Some("1"))]).unwrap();
    }
    let lines = daemon.wait_for_lines("an update of each", |lines| lines.len() == 8);
    check_annotations(&lines);
    let ended = daemon.stop();
    assert!(!ended.stdout.contains(MARK) && !ended.log.contains(MARK));
    for gvr in ["v1/configmaps", "apps/v1/deployments", "v1/pods", "v1/secrets"] {
        cluster.delete(gvr, "default/app").unwrap();
    }
    cluster.compact();
    let daemon = setup.clone().start_ready();
    let lines = daemon.wait_for_lines("a delete of each", |lines| lines.len() == 12);
    check_annotations(&lines);
    assert!(lines[8..].iter().all(|line| line.brief().contains("DELETED") && line.brief().contains("inferred")));
    for gvr in ["v1/configmaps", "v1/secrets"] {
        let of_gvr: Vec<_> = lines.iter().filter(|line| line.gvr == gvr).collect();
        let key = "kubectl.kubernetes.io/last-applied-configuration";
        assert!(of_gvr.iter().all(|line| line.annotations[key] == of_gvr[0].annotations[key]), "the same key in both runs");
    }
    let ended = daemon.stop();
    assert!(!ended.stdout.contains(MARK) && !ended.log.contains(MARK));
    let mut files = 0;
    assert_eq!(marked(&setup.output(), &mut files), Vec::<String>::new());
    assert!(files >= 5, "{files} files were looked at");
}

#[test]
fn who_does_not_want_it_gets_copies_as_they_are_and_who_names_a_key_its_digests() {
    let cluster = Cluster::start().unwrap();
    create(&cluster, KINDS[0], "app");
    let plain = "resources: [{gvr: v1/configmaps}]\nredact_last_applied: false\nannotation_value_max_bytes: 1048576";
    let daemon = Setup::with_config(plain).kubeconfig(cluster.kubeconfig()).start_ready();
    let lines = daemon.wait_for_lines("the first list", |lines| lines.len() == 1);
    assert_eq!(lines[0].annotations["kapp.k14s.io/original"], MARK);
    daemon.stop();
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "a key of sixteen bytes, or more\n").unwrap();
    let digests = [(); 2].map(|()| {
        let config = format!("resources: [{{gvr: v1/configmaps}}]\nredact_key_file: {}", key.path().display());
        let daemon = Setup::with_config(&config).kubeconfig(cluster.kubeconfig()).start_ready();
        let lines = daemon.wait_for_lines("the first list", |lines| lines.len() == 1);
        daemon.stop();
        lines[0].annotations["kapp.k14s.io/original"].clone()
    });
    let expected = faro::change::DigestKey::new(b"a key of sixteen bytes, or more").digest(MARK.as_bytes());
    assert_eq!(digests, [expected.clone(), expected]);
}

#[test]
fn a_key_that_is_too_short_ends_the_start_with_its_cure() {
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "short\n").unwrap();
    let cluster = Cluster::start().unwrap();
    let config = format!("resources: [{{gvr: v1/configmaps}}]\nredact_key_file: {}", key.path().display());
    let ended = Setup::with_config(&config).kubeconfig(cluster.kubeconfig()).run_to_end();
    let expected = format!("cannot read redact_key_file {}: it holds 5 bytes, and a key has 16 or more", key.path().display());
    assert!(ended.code == Some(1) && ended.log.contains(&expected), "{}", ended.log);
}
