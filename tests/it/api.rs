//! A small API server made of recorded discovery documents and of what a test tells it.

use crate::answer::Answer;
use crate::server::{Request, Server};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The server, and a folder with a kubeconfig for it.
pub struct Api {
    pub server: Server,
    dir: TempDir,
}

/// Which real server's discovery documents it serves.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// The oldest: legacy discovery, no streaming lists.
    V1_20,
    /// Aggregated discovery, streaming lists.
    V1_36,
}

/// The collection that most tests watch.
pub const CONFIGMAPS: &str = "/api/v1/namespaces/demo/configmaps";

/// The configuration that watches it.
pub const WATCH_CONFIGMAPS: &str = "resources: [{gvr: v1/configmaps, namespace_names: [demo]}]";

impl Api {
    /// Plain HTTP.
    pub fn new(release: Release) -> Self {
        let api = Self::on(Server::http(), release);
        api.write_kubeconfig("");
        api
    }

    /// Plain HTTP, and nothing is served.
    pub fn empty() -> Self {
        let api = Self { server: Server::http(), dir: folder() };
        api.write_kubeconfig("");
        api
    }

    /// Plain HTTP, and a list of the configmaps `a` and `b` by pages, at version 10.
    pub fn with_a_and_b() -> Self {
        let api = Self::new(Release::V1_20);
        api.serves_a_and_b();
        api
    }

    pub fn serves_a_and_b(&self) {
        self.server.on(&format!("watch {CONFIGMAPS}"), [refused_streaming_list()]);
        self.server.on(&format!("list {CONFIGMAPS}"), [page(10, &[("a", 7), ("b", 8)])]);
    }

    /// On a server of the test's own; the kubeconfig is left to the test.
    pub fn on(server: Server, release: Release) -> Self {
        match release {
            Release::V1_20 => {
                for (path, name) in [
                    ("/api", "discovery-api-legacy"),
                    ("/apis", "discovery-apis-legacy"),
                    ("/api/v1", "discovery-core-v1"),
                    ("/apis/apps/v1", "discovery-apps-v1"),
                ] {
                    server.on(&format!("get {path}"), [Answer::recorded(&format!("server-1.20/{name}"))]);
                }
            }
            Release::V1_36 => {
                server.on("get /api", [Answer::recorded("discovery-api-aggregated")]);
                server.on("get /apis", [Answer::recorded("discovery-apis-aggregated")]);
                server.on("get /api/v1", [Answer::recorded("discovery-core-v1")]);
            }
        }
        let kube_system = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"kube-system","uid":"5d2f8f5e-0c3f-4b7e-8f0e-0a6d5f1b2c3d","resourceVersion":"1"}}"#;
        server.on("get /api/v1/namespaces/kube-system", [Answer::json(200, kube_system)]);
        server.on("get /version", [Answer::json(200, r#"{"gitVersion":"v1.36.0"}"#)]);
        Self { server, dir: folder() }
    }

    /// Writes the kubeconfig; `cluster` and what follows are lines of YAML for the cluster's entry.
    pub fn write_kubeconfig(&self, cluster: &str) -> PathBuf {
        self.write_kubeconfig_with_user(cluster, "token: sesame-opens-this")
    }

    pub fn write_kubeconfig_with_user(&self, cluster: &str, user: &str) -> PathBuf {
        self.write_kubeconfig_for(&self.server.url(), cluster, user)
    }

    /// As if the server were called `url`.
    pub fn write_kubeconfig_for(&self, url: &str, cluster: &str, user: &str) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             contexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n\
             clusters:\n- name: c\n  cluster:\n    server: {}\n{}\nusers:\n- name: u\n  user:\n{}\n",
            url,
            indent(cluster),
            indent(user),
        );
        std::fs::write(self.kubeconfig(), text).unwrap();
        std::fs::set_permissions(self.kubeconfig(), std::fs::Permissions::from_mode(0o600)).unwrap();
        self.kubeconfig()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The watches of `path` that began after a version, in order: those versions.
    pub fn resumed_from(requests: &[Request], path: &str) -> Vec<String> {
        let watches = requests.iter().filter(|request| request.what() == format!("watch {path}"));
        watches.filter_map(|request| request.parameter("resourceVersion")).collect()
    }
}

/// The metadata of `name` at `version`, as JSON.
pub fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"name":"{name}","namespace":"demo","uid":"uid-{name}","resourceVersion":"{version}"}}}}"#
    )
}

/// A line of a watch.
pub fn line(kind: &str, name: &str, version: u64) -> String {
    format!(r#"{{"type":"{kind}","object":{}}}"#, object(name, version))
}

pub fn bookmark(version: u64, ends_initial_events: bool) -> String {
    let annotations = if ends_initial_events { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    format!(
        r#"{{"type":"BOOKMARK","object":{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{version}"{annotations}}}}}}}"#
    )
}

/// An `ERROR` in a watch that says "too old".
pub const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 7 (20)","reason":"Expired","code":410}}"#;

/// A list of one page.
pub fn page(version: u64, objects: &[(&str, u64)]) -> Answer {
    page_before(version, objects, "")
}

/// A page of a list; the next one is asked for with `token`.
pub fn page_before(version: u64, objects: &[(&str, u64)], token: &str) -> Answer {
    let items: Vec<String> = objects.iter().map(|(name, version)| object(name, *version)).collect();
    Answer::json(
        200,
        format!(
            r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{}]}}"#,
            items.join(",")
        ),
    )
}

/// What a server without streaming lists says when it is asked for one.
pub fn refused_streaming_list() -> Answer {
    Answer::recorded("server-1.20/watch-list-streaming")
}

/// A watch that tells these lines and ends cleanly.
pub fn watch(lines: &[String]) -> Answer {
    Answer::watch(lines.iter().map(String::as_str))
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("faro-it-").tempdir().unwrap()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
