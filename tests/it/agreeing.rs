//! `faro check` and a run never differ: what is good for the one becomes ready in the other, and both name the same cause.

mod kubeconfigs;

use crate::answer::Answer;
use crate::api::{Api, CONFIGMAPS, Release, page};
use crate::quoting::cause_of;
use crate::support::daemon::{Daemon, Setup};
use crate::support::wait::{SOON, eventually_some};
use faro::sim::{self, Cluster, Rule};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Waits until a run is good or is not: whether every watch of it is heard, or waits for its kind. Gives what it said.
///
/// One that may list and not watch is good for a moment.
#[track_caller]
fn await_outcome(mut daemon: Daemon, is_good: bool, what: &str) -> String {
    eventually_some(SOON, &format!("a run is as the check says, good: {is_good}: {what}"), || {
        if daemon.code().is_some() {
            return (!is_good).then_some(());
        }
        let (_, body) = daemon.http("/ready?verbose=1")?;
        let ready: Value = serde_json::from_str(&body).unwrap();
        let watches = ready["every_watch"].as_array().filter(|watches| !watches.is_empty())?;
        let conditions: Vec<&str> = watches.iter().map(|watch| watch["condition"].as_str().unwrap()).collect();
        let is_heard = |condition: &&str| matches!(*condition, "synced" | "absent" | "version_gone");
        let is_over = conditions.iter().all(|condition| !matches!(*condition, "starting" | "listing"));
        (is_over && conditions.iter().all(is_heard) == is_good).then_some(())
    });
    let ended = if daemon.code().is_some() { daemon.wait_for_end(SOON) } else { daemon.stop() };
    ended.log
}

/// Both say the same, and each of `words`. Returns whether that is good.
#[track_caller]
fn agree(what: &str, setup: &Setup, words: &[&str]) -> bool {
    let check = setup.clone().subcommand("check").run_to_end();
    let said = format!("{}{}", check.stdout, check.log);
    let (is_good, told) = (check.code == Some(0), format!("{what}\n--- check {:?}\n{said}", check.code));
    let log = await_outcome(setup.clone().start(), is_good, &told);
    let told = format!("{told}\n--- run\n{log}");
    // What ends both before anything is asked of a single kind is one sentence.
    if let (Some(ours), Some(theirs)) = (cause_of(&check.log), cause_of(&log)) {
        assert!(ours == theirs || check.code == Some(2), "{told}");
    }
    for word in words {
        assert!(said.contains(word) && log.contains(word), "{word}: {told}");
    }
    is_good
}

fn may(verbs: &[&str], namespace: &str) -> Rule {
    Rule {
        user: "ada".to_owned(),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resources: vec!["configmaps".to_owned()],
        namespaces: vec![namespace.to_owned()],
        reason: String::new(),
    }
}

#[test]
fn they_agree_on_rights_kinds_names_and_selectors() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let check = |kubeconfig: &Path, config: &str, is_good: bool, words: &[&str]| {
        let setup = Setup::with_config(&format!("resources:\n- {config}")).kubeconfig(kubeconfig);
        assert_eq!(agree(config, &setup, words), is_good, "{config}");
    };
    let admin = cluster.kubeconfig();
    for (config, is_good, words) in [
        ("{gvr: v1/configmaps}", true, &[][..]),
        ("{gvr: v1/nodes, namespace_names: [default]}", true, &[]),
        ("{gvr: v1/configmaps, namespace_names: [default], name_selector: a, label_selector: 'a in (b, c)'}", true, &[]),
        ("{gvr: v1/pods, field_selector: 'spec.nodeName=a,status.phase!=Failed'}", true, &[]),
        ("{gvr: v1/configmaps, namespace_names: [shop]}", true, &["namespace shop", "not there"]),
        ("{gvr: x.example.com/v1/widgets}", true, &["v1/widgets"]),
        ("{gvr: batch/v2/cronjobs}", false, &["resources[0]", "batch/v1/cronjobs"]),
        ("{gvr: v1/podz}", false, &["resources[0]", "did you mean \"v1/pods\"?"]),
        ("{gvr: v1/nodes, scope: Namespaced}", false, &["resources[0].scope", "is Cluster", "correct the scope or leave it out"]),
        ("{gvr: authorization.k8s.io/v1/selfsubjectaccessreviews}", false, &["does not offer"]),
        ("{gvr: v1/configmaps, field_selector: 'spec.foo=bar'}", false, &["is not a known field selector"]),
        ("{gvr: v1/configmaps, label_selector: 'a in'}", false, &["resources[0].label_selector"]),
        ("{gvr: configmaps}", false, &["resources[0].gvr"]),
        ("{gvr: v1/configmaps, name: a}", false, &["resources[0]", "name"]),
        ("{gvr: v1/configmaps, namespace_names: [Shop]}", false, &["resources[0].namespace_names"]),
    ] {
        check(admin, config, is_good, words);
    }
    // A server that streams lists lets a run begin that may watch alone; it ends where pages are needed, and the check says so before.
    let old = Cluster::builder().tls(false).release(sim::Release::V1_20).start().unwrap();
    for (rules, config, is_good, words) in [
        (vec![may(&["list", "watch"], "*")], "{gvr: v1/configmaps}", true, &[][..]),
        (vec![may(&["list", "watch"], "default")], "{gvr: v1/configmaps, namespace_names: [default]}", true, &[]),
        (vec![may(&["list", "watch"], "default")], "{gvr: v1/configmaps}", false, &["forbidden"]),
        (vec![may(&["list"], "*")], "{gvr: v1/configmaps}", false, &["forbidden", "watch"]),
        (vec![may(&["watch"], "*")], "{gvr: v1/configmaps}", false, &["forbidden", "list"]),
        (vec![], "{gvr: v1/configmaps}", false, &["forbidden"]),
    ] {
        old.clear_rules("ada");
        let kubeconfig = old.add_user("ada", &[], rules).unwrap();
        check(&kubeconfig, config, is_good, words);
    }
    cluster.down();
    check(admin, "{gvr: v1/configmaps}", false, &["no answer from"]);
}

/// What the server answers to one request, and what both make of it.
#[test]
fn they_agree_on_whatever_a_server_answers() {
    let review = "get /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (list, watch) = (format!("list {CONFIGMAPS}"), format!("watch {CONFIGMAPS}"));
    let answer = |answer: &str| match answer.parse() {
        Ok(code) => {
            let message = format!("words of {code}");
            Answer::json(
                code,
                format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{message}","code":{code}}}"#),
            )
        }
        Err(_) if answer == "page" => Answer::with_headers(200, &[("Content-Type", "text/html")], "<html>sign in</html>"),
        Err(_) => Answer::json(200, answer),
    };
    let (uid, namespace) = ("get /api/v1/namespaces/kube-system", "get /api/v1/namespaces/demo");
    let half = r#"{"kind":"PartialObjectMetadataList","items":[{"metadata""#;
    for (what, answered, is_good, words) in [
        ("get /version", "403", true, ""),
        ("get /version", "404", true, ""),
        ("get /version", "401", false, "words of 401"),
        ("get /version", "500", false, "words of 500"),
        ("get /version", "page", false, "page"),
        ("get /api", "401", false, "words of 401"),
        ("get /api", "page", false, "page"),
        (uid, "403", true, ""),
        (uid, "404", true, ""),
        (uid, "500", false, "words of 500"),
        (uid, "page", false, "page"),
        (review, "403", true, ""),
        (review, "404", true, ""),
        (review, "500", true, ""),
        (review, "page", true, ""),
        (namespace, "403", true, ""),
        (namespace, "404", true, "not there"),
        (namespace, "500", true, ""),
        (namespace, "page", true, ""),
        (&list, "403", false, "forbidden"),
        (&list, "400", false, "words of 400"),
        (&list, "500", false, "words of 500"),
        (&list, "503", false, "words of 503"),
        (&list, "page", false, "page"),
        (&list, half, false, "the JSON ends too early at byte 56"),
    ] {
        let api = Api::new(Release::V1_20);
        let allowed = Answer::json(
            201,
            r#"{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}"#,
        );
        api.server.instead(review, [allowed]);
        api.server.instead(&list, [page(10, &[("a", 7)])]);
        // No streaming lists, and a watch that stays open.
        api.server.instead("get /version", [Answer::json(200, r#"{"gitVersion":"v1.20.0"}"#)]);
        api.server.instead(&watch, []);
        api.server.instead(namespace, [Answer::json(200, r#"{"kind":"PartialObjectMetadata","metadata":{"name":"demo"}}"#)]);
        api.server.instead(what, [answer(answered)]);
        let setup =
            Setup::with_config("resources: [{gvr: v1/configmaps, namespace_names: [demo]}]").kubeconfig(&api.kubeconfig());
        let what = format!("{what} answers {answered}");
        assert_eq!(agree(&what, &setup, &[words]), is_good, "{what}");
    }
}

/// What a run reads before it asks the server.
#[test]
fn they_agree_on_files_that_a_configuration_names() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let short = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(short.path(), "short").unwrap();
    let short = short.path().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (keys, metrics, words) in [
        ("redact_key_file: /not/there", "", "cannot read redact_key_file /not/there"),
        (&format!("redact_key_file: {short}"), "", "it holds 5 bytes, and a key has 16 or more"),
        ("redact_key_file: /", "", "cannot read redact_key_file /"),
        (&format!("redact_key_file: {}", pipe.display()), "", "/pipe: it gave nothing within 10 s"),
        ("", "bearer_token_file: /not/there", "/not/there"),
        ("", &format!("bearer_token_file: {short}"), "expected a token of 16 or more"),
        ("", "tls: {cert_file: /not/there.crt, key_file: /not/there.key}", "/not/there.crt"),
        ("", &format!("tls: {{cert_file: {short}, key_file: {short}}}"), "holds no certificate"),
    ] {
        let setup = Setup::bare();
        let metrics = if metrics.is_empty() { String::new() } else { format!("  {metrics}\n") };
        let config = format!(
            "output_dir: {}\nlog_level: debug\n{keys}\nresources: [{{gvr: v1/configmaps}}]\nmetrics:\n  bind_addr: 127.0.0.1\n  port: {}\n{metrics}",
            setup.output().display(),
            setup.port()
        );
        let is_good = agree(&config, &setup.config(&config).kubeconfig(cluster.kubeconfig()), &[words]);
        assert!(!is_good, "{config}");
    }
}
