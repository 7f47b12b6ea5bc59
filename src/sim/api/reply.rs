//! Documents, streams and refusals with the headers of a real server.

use super::super::state::catalog::{Release, Resource};
use super::super::state::json::Json;
use super::super::state::object::{Form, Object};
use super::super::state::refusal::Refusal;
use super::{Lines, Reply, Request};
use bytes::Bytes;

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// A JSON document, ended by a newline as Go's encoder does.
pub(super) fn json(code: u16, mut body: Vec<u8>) -> Reply {
    if body.last() != Some(&b'\n') {
        body.push(b'\n');
    }
    document(code, JSON, body)
}

/// A JSON document that is indented for whoever asks.
pub(super) fn indented(json: &Json) -> Reply {
    document(200, JSON, pretty(json))
}

pub(super) fn text(text: &str) -> Reply {
    document(200, PLAIN, text.into())
}

pub(super) fn document(code: u16, content_type: &str, body: Vec<u8>) -> Reply {
    Reply::Document { code, headers: vec![("Content-Type", content_type.to_owned())], body: body.into() }
}

pub(super) fn object(code: u16, object: &Object, resource: &Resource, form: Form) -> Reply {
    let mut body = Vec::new();
    object.write(resource, form, &mut body);
    json(code, body)
}

pub(super) fn stream(lines: Box<dyn Lines>) -> Reply {
    Reply::Stream { headers: vec![("Content-Type", JSON.to_owned())], lines }
}

/// Turns refusals into documents and adds the headers that every answer has.
pub(super) fn finish(reply: Result<Reply, Refusal>, request: &Request, release: Release) -> Reply {
    let reply = reply.unwrap_or_else(|refusal| refused(&refusal, only_transformed(request)));
    let agent = request.header("user-agent");
    let wants_indent = agent.starts_with("curl") || agent.starts_with("Mozilla") || request.flag("pretty");
    match reply {
        Reply::Document { code, headers, mut body } => {
            let is_json = headers.iter().any(|(name, value)| *name == "Content-Type" && value.starts_with(JSON));
            if wants_indent
                && is_json
                && let Ok(json) = Json::parse(&body)
            {
                body = Bytes::from(pretty(&json));
            }
            let is_long = request.flag("watch");
            let headers = complete(code, headers, code != 401 && !(release == Release::V1_20 && is_long), release);
            Reply::Document { code, headers, body }
        }
        Reply::Stream { headers, lines } => {
            Reply::Stream { headers: complete(200, headers, release != Release::V1_20, release), lines }
        }
    }
}

/// Whether a plain object is nothing that the request accepts: its refusals are not negotiated, but written raw
/// (`ErrorNegotiated` in `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`).
fn only_transformed(request: &Request) -> bool {
    let accept = request.header("accept");
    !accept.is_empty() && accept.split(',').all(|entry| entry.contains("as=PartialObjectMetadata"))
}

fn refused(refusal: &Refusal, is_raw: bool) -> Reply {
    let mut headers = Vec::new();
    let body = if refusal.plain {
        headers.push(("Content-Type", PLAIN.to_owned()));
        format!("{}\n", refusal.message).into_bytes()
    } else {
        headers.push(("Content-Type", JSON.to_owned()));
        let status = refusal.status();
        if refusal.indented || is_raw { pretty(&status) } else { [status.to_vec(), b"\n".to_vec()].concat() }
    };
    if let Some(seconds) = refusal.retry_after {
        headers.push(("Retry-After", seconds.to_string()));
    }
    Reply::Document { code: refusal.code, headers, body: body.into() }
}

/// The headers of every answer, in the order of a real server. Priority and fairness passes over requests that nobody made
/// and, on 1.20, over watches.
fn complete(
    code: u16,
    mut headers: Vec<(&'static str, String)>,
    is_scheduled: bool,
    release: Release,
) -> Vec<(&'static str, String)> {
    if release != Release::V1_20 {
        headers.push(("Audit-Id", "00000000-0000-4000-8000-000000000000".to_owned()));
    }
    if !headers.iter().any(|(name, _)| *name == "Cache-Control") {
        headers.push(("Cache-Control", "no-cache, private".to_owned()));
    }
    // Whatever Go's `http.Error` writes, and refusals of the authorizer.
    if code == 403 || headers.iter().any(|(name, value)| *name == "Content-Type" && value == PLAIN) {
        headers.push(("X-Content-Type-Options", "nosniff".to_owned()));
    }
    if is_scheduled {
        headers.push(("X-Kubernetes-Pf-Flowschema-Uid", "00000000-0000-4000-8000-000000000001".to_owned()));
        headers.push(("X-Kubernetes-Pf-Prioritylevel-Uid", "00000000-0000-4000-8000-000000000002".to_owned()));
    }
    headers.sort_by_key(|(name, _)| *name);
    headers
}

fn pretty(json: &Json) -> Vec<u8> {
    serde_json::to_vec_pretty(json).expect("a value with text keys always serializes")
}
