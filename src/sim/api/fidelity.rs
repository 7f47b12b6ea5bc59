//! Holds the simulator against the transcripts: every recorded request is asked in the recorded situation, and the answer
//! must be the recorded one, but for what differs from run to run.

mod recorded;

use self::recorded::Recorded;
use super::super::state::access::Rule;
use super::super::state::catalog::Release;
use super::super::state::json::Json;
use super::super::state::{State, change};
use super::{Next, Reply, Request, answer};
use std::sync::Arc;
use std::time::Duration;

/// Transcripts that the simulator does not agree with, and why.
const EXCEPTIONS: [(&str, &str); 0] = [];
/// Headers that the HTTP layer adds.
const TRANSPORT_HEADERS: [&str; 5] = ["Date", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Vary"];
/// Headers whose values differ from run to run.
const RANDOM_HEADERS: [&str; 4] = ["Audit-Id", "Etag", "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"];
/// How much of a difference is shown before it, and half of what is shown after.
const SHOWN_BYTES: usize = 200;
const CONFIG_MAPS: &str = "/api/v1/namespaces/demo/configmaps";
const READER: &str = "system:serviceaccount:demo:reader";

#[test]
fn agrees_with_every_transcript_of_the_newest_server() {
    assert_eq!(check_all("", Release::V1_36), 76);
}

#[test]
fn agrees_with_every_transcript_of_the_oldest_server() {
    assert_eq!(check_all("server-1.20/", Release::V1_20), 67);
}

/// Checks a whole folder and gives back how many transcripts agree.
fn check_all(folder: &str, release: Release) -> usize {
    let path = format!("{}/tests/golden/http/{folder}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "http")).collect();
    files.sort();
    let mut failures = Vec::new();
    let mut agreeing = 0;
    for path in files {
        let recorded = Recorded::read(&path);
        if EXCEPTIONS.iter().any(|(name, _)| *name == format!("{folder}{}", recorded.name)) {
            continue;
        }
        match check(&recorded, release) {
            Ok(()) => agreeing += 1,
            Err(difference) => failures.push(format!("{folder}{}: {difference}", recorded.name)),
        }
    }
    assert!(failures.is_empty(), "{} transcripts differ:\n{}", failures.len(), failures.join("\n"));
    agreeing
}

fn check(recorded: &Recorded, release: Release) -> Result<(), String> {
    let state = situation(recorded, release);
    let (code, headers, body) = match answer(&state, &recorded.request) {
        Reply::Document { code, headers, body } => (code, headers, body.to_vec()),
        Reply::Stream { headers, mut lines } => {
            let mut body = Vec::new();
            drain(lines.as_mut(), &mut body);
            play(&state, recorded);
            drain(lines.as_mut(), &mut body);
            while let Next::Line(_) | Next::Quiet = {
                state.advance(Duration::from_secs(30));
                let next = lines.next(Duration::ZERO);
                if let Next::Line(line) = &next {
                    body.extend_from_slice(line);
                }
                next
            } {}
            (200, headers, body)
        }
    };
    compare("code", &recorded.code.to_string(), &code.to_string())?;
    let headers: Vec<(String, String)> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    compare("headers", &header_text(&recorded.headers), &header_text(&headers))?;
    // What 1.20 serves from its watch cache comes in no order.
    let is_cached = recorded.request.flag("watch") || recorded.request.query("resourceVersion") == "0";
    let is_ordered = release != Release::V1_20 || !is_cached;
    compare("version", &version_of(recorded, &recorded.body), &version_of(recorded, &body))?;
    compare("body", &body_text(&recorded.body, is_ordered), &body_text(&body, is_ordered))
}

fn compare(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    // Long bodies are shown from where they part.
    let same = expected.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN_BYTES);
    let show = |text: &str| String::from_utf8_lossy(&text.as_bytes()[from..text.len().min(same + 2 * SHOWN_BYTES)]).into_owned();
    Err(format!("{what} from byte {from}\n  recorded  {}\n  simulated {}", show(expected), show(found)))
}

/// Takes the lines that are there.
fn drain(lines: &mut dyn super::Lines, body: &mut Vec<u8>) {
    while let Next::Line(line) = lines.next(Duration::ZERO) {
        body.extend_from_slice(&line);
    }
}

/// A server in the situation of the record: who is known, what is there, at which version.
fn situation(recorded: &Recorded, release: Release) -> Arc<State> {
    let state = State::new(1);
    state.set(|settings| {
        settings.release = if recorded.name == "watch-list-streaming-switched-off" { Release::V1_33 } else { release };
        settings.address = if release == Release::V1_20 { "192.0.2.2:16500" } else { "192.0.2.2:16444" }.to_owned();
        settings.new_definition_refusals = u32::from(release != Release::V1_20 && recorded.name == "crd-list-empty");
    });
    ask(&state, "POST", "/api/v1/namespaces", "kubectl-create", r#"{"metadata":{"name":"demo"}}"#);
    if recorded.name.starts_with("exact-") || recorded.name.starts_with("watch-replay") {
        prepare_past(&state, recorded, release);
        return state;
    }
    // The versions of the recorded objects: each config map was created, then labelled.
    state.lock().version = if release == Release::V1_20 { 202 } else { 210 };
    for number in 0..7 {
        let body = format!(r#"{{"metadata":{{"name":"cm-{number}"}},"data":{{"key":"value-{number}"}}}}"#);
        ask(&state, "POST", CONFIG_MAPS, "kubectl-create", &body);
        let app = if number % 2 == 0 { "db" } else { "web" };
        label(&state, &format!("cm-{number}"), app);
    }
    let mut newest = state.version();
    prepare(&state, recorded, release);
    let asked = recorded.request.query("resourceVersion").parse().unwrap_or(0);
    if asked < 100_000 {
        newest = newest.max(asked);
    }
    if recorded.name.contains("expired") {
        newest = 326;
    }
    {
        let mut inner = state.lock();
        inner.version = inner.version.max(newest);
    }
    if recorded.name.contains("expired") {
        state.compact();
    }
    state
}

/// What one record needs besides the config maps.
fn prepare(state: &Arc<State>, recorded: &Recorded, release: Release) {
    match recorded.name.as_str() {
        name if name.starts_with("forbidden") || name.starts_with("access") || name == "unauthorized" => {
            state.set_access(|access| {
                access.add_user(READER, "reader");
                access.add_rule(Rule {
                    user: READER.to_owned(),
                    verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
                    resources: vec!["configmaps".to_owned()],
                    namespaces: vec!["*".to_owned()],
                    reason: "RBAC: allowed by ClusterRoleBinding \"cm-reader\" of ClusterRole \"cm-reader\" to ServiceAccount \"reader/demo\""
                        .to_owned(),
                });
            });
        }
        name if name.starts_with("crd") && name != "crd-list-before-it-exists" => prepare_widgets(state, name),
        "lease-update-conflict" => {
            let body = r#"{"metadata":{"name":"faro"},"spec":{"holderIdentity":"a"}}"#;
            ask(state, "POST", "/apis/coordination.k8s.io/v1/namespaces/demo/leases", "", body);
        }
        "list-all-namespaces" => {
            let others = if release == Release::V1_20 { 1 } else { 2 };
            (0..others).for_each(|number| {
                let body = format!(r#"{{"metadata":{{"name":"other-{number}"}}}}"#);
                ask(state, "POST", "/api/v1/namespaces/kube-system/configmaps", "", &body);
            });
        }
        "list-probe-known-rv" => ["a", "b"].into_iter().for_each(|name| {
            let body = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"x":"1"}}}}"#);
            ask(state, "POST", "/api/v1/namespaces/default/configmaps", "kubectl-create", &body);
        }),
        "list-gzip-large" => prepare_large(state, recorded),
        "list-events" => prepare_events(state, recorded),
        _ => {}
    }
}

/// An object that changed and changed again, and one that came and went between; at the versions of the records.
fn prepare_past(state: &Arc<State>, recorded: &Recorded, release: Release) {
    let first = match release {
        Release::V1_20 => 221,
        Release::V1_33 | Release::V1_36 => {
            state.compact();
            prepare_bundles(state);
            5333
        }
    };
    state.lock().version = first - 1;
    ask(state, "POST", CONFIG_MAPS, "kubectl-create", r#"{"metadata":{"name":"past"},"data":{"key":"1"}}"#);
    ask(state, "POST", CONFIG_MAPS, "", r#"{"metadata":{"name":"gone"}}"#);
    let label = |labels: &str| {
        let body = format!(r#"{{"metadata":{{"labels":{labels}}}}}"#);
        ask(state, "PATCH", &format!("{CONFIG_MAPS}/past"), "kubectl-label", &body);
    };
    label(r#"{"step":"1"}"#);
    ask(state, "DELETE", &format!("{CONFIG_MAPS}/gone"), "", "");
    label(r#"{"step":"2"}"#);
    if recorded.name.starts_with("exact-") {
        return;
    }
    if release == Release::V1_20 {
        // Something else was written there.
        state.lock().version += 1;
    }
    label(r#"{"keep":"yes"}"#);
    label(r#"{"keep":null}"#);
}

/// What a controller puts into every namespace.
fn prepare_bundles(state: &Arc<State>) {
    let path = format!("{}/tests/golden/http/exact-whole-list.http", env!("CARGO_MANIFEST_DIR"));
    let recorded = Recorded::read(std::path::Path::new(&path));
    let list = Json::parse(&recorded.body).unwrap();
    for (name, key) in [("kube-root-ca.crt", "ca.crt"), ("openshift-service-ca.crt", "service-ca.crt")] {
        let is_it = |item: &&Json| item.text_at("metadata.name") == name;
        let item = list.get("items").unwrap().items().iter().find(is_it).unwrap();
        let annotations = String::from_utf8(item.at("metadata.annotations").unwrap().to_vec()).unwrap();
        let body = format!(r#"{{"metadata":{{"name":"{name}","annotations":{annotations}}},"data":{{"{key}":""}}}}"#);
        ask(state, "POST", CONFIG_MAPS, "kube-controller-manager", &body);
    }
}

fn prepare_widgets(state: &Arc<State>, name: &str) {
    let names = r#"{"plural":"widgets","kind":"Widget"}"#;
    let body = format!(
        r#"{{"metadata":{{"name":"widgets.example.com"}},"spec":{{"group":"example.com","scope":"Namespaced","names":{names},
        "versions":[{{"name":"v1","served":true,"storage":true}}]}}}}"#
    );
    ask(state, "POST", DEFINITIONS, "", &body);
    match name {
        "crd-deleted-during-watch" => {
            let applied = r#"{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"annotations\":{},\"name\":\"w1\",\"namespace\":\"demo\"},\"spec\":{\"size\":3}}\n"#;
            let body = format!(
                r#"{{"metadata":{{"name":"w1","annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{applied}"}}}},"spec":{{"size":3}}}}"#
            );
            ask(state, "POST", "/apis/example.com/v1/namespaces/demo/widgets", "kubectl-client-side-apply", &body);
        }
        "crd-list-after-delete" => ask(state, "DELETE", &format!("{DEFINITIONS}/widgets.example.com"), "", ""),
        _ => {}
    }
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Creates large objects, and labels the config maps once more.
fn prepare_large(state: &Arc<State>, recorded: &Recorded) {
    for item in Json::parse(&recorded.body).unwrap().get("items").unwrap().items() {
        let (name, text, label) = (item.text_at("metadata.name"), item.text_at("data.k"), item.text_at("metadata.labels.n"));
        if name.starts_with("big-") {
            let body = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"{text}"}}}}"#);
            ask(state, "POST", CONFIG_MAPS, "kubectl-create", &body);
        } else if !label.is_empty() {
            let body = format!(r#"{{"metadata":{{"labels":{{"n":"{label}"}}}}}}"#);
            ask(state, "PATCH", &format!("{CONFIG_MAPS}/{name}"), "kubectl-label", &body);
        }
    }
}

/// Creates the recorded events from their own content.
fn prepare_events(state: &Arc<State>, recorded: &Recorded) {
    for item in Json::parse(&recorded.body).unwrap().get("items").unwrap().items() {
        let mut json = item.clone();
        json.set("metadata", Json::object([("name", Json::text(item.text_at("metadata.name")))]));
        for key in ["eventTime", "reportingComponent", "reportingInstance"] {
            json.remove(key);
        }
        let body = String::from_utf8(json.to_vec()).unwrap();
        ask(state, "POST", "/api/v1/namespaces/demo/events", "kubectl-create", &body);
    }
}

/// What happened while the recorded watch ran.
fn play(state: &Arc<State>, recorded: &Recorded) {
    let live = format!("{CONFIG_MAPS}/live");
    let create = || ask(state, "POST", CONFIG_MAPS, "kubectl-create", r#"{"metadata":{"name":"live"},"data":{"a":"1"}}"#);
    match recorded.name.as_str() {
        "crd-deleted-during-watch" => ask(state, "DELETE", &format!("{DEFINITIONS}/widgets.example.com"), "", ""),
        "watch-with-bookmarks" => {
            create();
            ask(state, "DELETE", &live, "", "");
        }
        "watch-from-rv" | "watch-label-selector-crossing" | "watch-metadata-only" => {
            create();
            label(state, "live", "web");
            label(state, "live", "db");
            ask(state, "DELETE", &live, "", "");
        }
        _ => {}
    }
}

fn label(state: &Arc<State>, name: &str, app: &str) {
    let body = format!(r#"{{"metadata":{{"labels":{{"app":"{app}"}}}}}}"#);
    ask(state, "PATCH", &format!("{CONFIG_MAPS}/{name}"), "kubectl-label", &body);
}

/// Asks as an administrator; the answer must be a success.
fn ask(state: &Arc<State>, method: &str, path: &str, manager: &str, body: &str) {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: vec![("fieldManager".to_owned(), manager.to_owned())],
        headers: vec![("content-type".to_owned(), "application/merge-patch+json".to_owned())],
        body: body.to_owned().into(),
        certificate: Some(("admin".to_owned(), vec!["system:masters".to_owned()])),
    };
    let Reply::Document { code, body, .. } = answer(state, &request) else { panic!("{path} is a stream") };
    assert!(code < 300, "{method} {path}: {}", String::from_utf8_lossy(&body));
}

fn header_text(headers: &[(String, String)]) -> String {
    let kept = headers
        .iter()
        .filter(|(name, value)| !TRANSPORT_HEADERS.contains(&name.as_str()) || (name == "Vary" && value == "Accept"));
    let told = kept.map(|(name, value)| {
        let value = if RANDOM_HEADERS.contains(&name.as_str()) { "*" } else { value };
        format!("{name}: {value}")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Whether a list of an exact version is of that one, which the bodies cannot show.
fn version_of(recorded: &Recorded, body: &[u8]) -> String {
    let version = Json::parse(body).map(|json| json.text_at("metadata.resourceVersion").to_owned()).unwrap_or_default();
    let asked = recorded.request.query("resourceVersion");
    let is_exact = recorded.request.query("resourceVersionMatch") == "Exact";
    if is_exact && version == asked { "as asked".to_owned() } else { String::new() }
}

/// The body without what differs from run to run. The keys keep their order, lists and streams theirs unless the server
/// gives none; bookmarks that follow each other count as one, since when they come is a matter of time.
fn body_text(body: &[u8], is_ordered: bool) -> String {
    let is_indented = body.starts_with(b"{\n");
    let text = std::str::from_utf8(body).unwrap();
    let mut lines: Vec<String> =
        if is_indented { vec![text.to_owned()] } else { text.split_inclusive('\n').map(str::to_owned).collect() };
    for line in &mut lines {
        if let Ok(mut json) = Json::parse(line.as_bytes()) {
            normalize(&mut json);
            if !is_ordered && let Json::Array(items) = json.entry("items") {
                items.sort_by(|a, b| a.text_at("metadata.name").cmp(b.text_at("metadata.name")));
            }
            let end = if line.ends_with('\n') { "$" } else { "" };
            *line = format!("{}{end}", String::from_utf8(json.to_vec()).unwrap());
        }
    }
    if !is_ordered {
        let first_live = lines.iter().position(|line| !line.contains("\"cm-")).unwrap_or(lines.len());
        lines[..first_live].sort();
    }
    lines.dedup_by(|a, b| a == b && a.contains("BOOKMARK"));
    format!("{}{}", if is_indented { "indented " } else { "" }, lines.join("\n            "))
}

fn normalize(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(normalize),
        Json::Object(entries) => {
            for (key, value) in entries {
                if let Json::Text(text) = value {
                    *text = normal_text(key, text);
                } else {
                    normalize(value);
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

fn normal_text(key: &str, text: &str) -> String {
    match key {
        "resourceVersion" => "VERSION".to_owned(),
        // The newest server was built without a version.
        "gitVersion" if !text.starts_with("v1.20") => "RELEASE".to_owned(),
        "uid" => text.chars().map(|c| if c == '-' { '-' } else { 'x' }).collect(),
        "time" | "creationTimestamp" => text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect(),
        "message" if text.contains("version:") => {
            text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#")
        }
        "continue" if !text.is_empty() => {
            let (_, start) = super::list::read_token(text).ok().unwrap();
            format!("TOKEN({start:?})")
        }
        _ => text.to_owned(),
    }
}

#[test]
fn definitions_are_where_the_fidelity_tests_make_them() {
    assert_eq!(change::definitions().1, DEFINITIONS.rsplit('/').next().unwrap());
}
