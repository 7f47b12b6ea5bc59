//! Lists and single reads: versions, pages and what expired.

use super::super::state::State;
use super::super::state::catalog::{Release, Resource};
use super::super::state::json::Json;
use super::super::state::object::{Form, Object};
use super::super::state::refusal::Refusal;
use super::super::state::storage::Page;
use super::path::Target;
use super::selectors::Selection;
use super::{Reply, Request, accept, reply};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use std::sync::Arc;

/// What was asked for, and from which version on.
#[derive(Debug)]
struct Query {
    selection: Selection,
    limit: usize,
    /// The version whose objects are told; none for what is there now.
    exact: Option<u64>,
    /// The version that must have been reached.
    at_least: u64,
    /// The key after which the page begins.
    after: String,
}

/// Go reads tokens leniently: bits that are left over are ignored.
const TOKENS: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);
/// The version inside the token that an expired list offers: the rest as it is now.
const INCONSISTENT: i64 = -1;

pub(super) fn answer(state: &State, request: &Request, resource: &Resource, target: &Target) -> Result<Reply, Refusal> {
    let release = state.lock().settings.release;
    let form = accept::list_form(request, release, resource)?;
    let query = read(request, resource, target, release)?;
    let (page, version) = fetch(state, resource, &query)?;
    Ok(reply::json(200, document(&page, version, resource, form, &query, release)))
}

/// Reads one object.
pub(super) fn get(state: &State, request: &Request, resource: &Resource, target: &Target) -> Result<Reply, Refusal> {
    let (release, object) = {
        let inner = state.lock();
        (inner.settings.release, inner.find(resource, target.namespace.as_deref().unwrap_or_default(), &target.name))
    };
    let form = accept::object_form(request, release, resource)?;
    Ok(reply::object(200, object?.as_ref(), resource, form))
}

/// All objects that a request selects, for `deletecollection`.
pub(super) fn selected(
    state: &State,
    request: &Request,
    resource: &Resource,
    target: &Target,
) -> Result<Vec<Arc<Object>>, Refusal> {
    let release = state.lock().settings.release;
    let query = read(request, resource, target, release)?;
    Ok(fetch(state, resource, &query)?.0.objects)
}

fn read(request: &Request, resource: &Resource, target: &Target, release: Release) -> Result<Query, Refusal> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let selection = Selection::new(request, resource, namespace)?;
    let limit = request.query("limit").parse().unwrap_or(0);
    let (version, matching) = (request.query("resourceVersion"), request.query("resourceVersionMatch"));
    check_options(version, matching, request.query("continue"))?;
    let asked = parse_version(version, release)?;
    let token = request.query("continue");
    let mut query = Query { selection, limit, exact: None, at_least: 0, after: String::new() };
    if !token.is_empty() {
        let (version, start) = read_token(token)?;
        query.exact = u64::try_from(version).ok();
        let start = start.strip_prefix('/').unwrap_or(&start).trim_end_matches('\0');
        query.after = if namespace.is_empty() { start.to_owned() } else { format!("{namespace}/{start}") };
    } else if matching == "Exact" || (matching.is_empty() && limit > 0 && asked > 0) {
        query.exact = Some(asked);
    } else {
        query.at_least = asked;
        if version == "0" {
            query.limit = 0;
        }
    }
    Ok(query)
}

fn check_options(version: &str, matching: &str, token: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid_options(&[("resourceVersionMatch", why)]));
    match (matching, version) {
        ("", "" | "0") => Ok(()),
        ("", _) if !token.is_empty() => {
            Err(Refusal::bad_request("specifying resource version is not allowed when using continue"))
        }
        ("", _) => Ok(()),
        _ if !token.is_empty() => refuse("resourceVersionMatch is forbidden when continue is provided"),
        (_, "") => refuse("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("Exact", "0") => refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        ("Exact" | "NotOlderThan", _) => Ok(()),
        _ => refuse("supported values: \"Exact\", \"NotOlderThan\""),
    }
}

/// A version of a list; empty is 0.
fn parse_version(text: &str, release: Release) -> Result<u64, Refusal> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| match release {
        Release::V1_20 => bad_version(text),
        Release::V1_33 | Release::V1_36 => {
            Refusal::bad_request(format!("invalid resource version: {}", bad_version(text).message))
        }
    })
}

/// What a watch, and on 1.20 a list, says to a version that is no number.
pub(super) fn bad_version(text: &str) -> Refusal {
    let why = format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax");
    Refusal::new(500, "", why)
}

fn fetch(state: &State, resource: &Resource, query: &Query) -> Result<(Page, u64), Refusal> {
    let inner = state.lock();
    let name = resource.storage();
    let newest = inner.version;
    let wanted = query.exact.unwrap_or(query.at_least);
    if wanted > newest {
        return Err(future(query, inner.settings.release, wanted, newest));
    }
    if query.exact.is_some_and(|version| version < inner.oldest(&name)) {
        return Err(expired(query));
    }
    let version = query.exact.unwrap_or(newest);
    let prefix = if query.selection.namespace.is_empty() { String::new() } else { format!("{}/", query.selection.namespace) };
    let page = inner
        .storages
        .get(&name)
        .map(|storage| storage.page(version, &prefix, &query.after, query.limit, |object| query.selection.matches(object)));
    // 1.20 reads one object by its key, and names the version at which it read.
    let is_one = inner.settings.release == Release::V1_20 && query.selection.is_one(resource.namespaced);
    Ok((page.unwrap_or_default(), if is_one { newest } else { version }))
}

/// A version that nothing has yet. Until 1.34 lists of an exact version come from etcd, which has its own words for it.
fn future(query: &Query, release: Release, wanted: u64, newest: u64) -> Refusal {
    match (query.exact, release) {
        (Some(_), Release::V1_20 | Release::V1_33) => {
            Refusal::new(500, "", "etcdserver: mvcc: required revision is a future revision")
        }
        (Some(_), Release::V1_36) => too_large(wanted, newest),
        (None, Release::V1_20 | Release::V1_33 | Release::V1_36) => too_large(wanted, newest).after(1),
    }
}

fn too_large(wanted: u64, newest: u64) -> Refusal {
    let cause =
        Json::object([("reason", Json::text("ResourceVersionTooLarge")), ("message", Json::text("Too large resource version"))]);
    Refusal::new(504, "Timeout", format!("Timeout: Too large resource version: {wanted}, current: {newest}"))
        .with(Json::object([("causes", Json::Array(vec![cause]))]))
}

fn expired(query: &Query) -> Refusal {
    if query.after.is_empty() {
        return Refusal::new(410, "Expired", "The resourceVersion for the provided list is too old.");
    }
    let start = query.after.strip_prefix(&format!("{}/", query.selection.namespace)).unwrap_or(&query.after);
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
                   results. Continuing with the provided token results in an inconsistent list - objects that were created, \
                   modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Refusal { next: Some(token(INCONSISTENT, start)), ..Refusal::new(410, "Expired", message) }
}

/// `{"v":"meta.k8s.io/v1","rv":224,"start":"/cm-2\u0000"}` in base64.
fn token(version: i64, start: &str) -> String {
    let start = Json::text(format!("{start}\0"));
    let start = String::from_utf8(start.to_vec()).expect("JSON is UTF-8");
    TOKENS.encode(format!(r#"{{"v":"meta.k8s.io/v1","rv":{version},"start":{start}}}"#))
}

/// The same place in the rest as it is now.
pub(super) fn inconsistent(of: &str) -> Result<String, Refusal> {
    let (_, start) = read_token(of)?;
    Ok(token(INCONSISTENT, start.trim_end_matches('\0')))
}

pub(super) fn read_token(token: &str) -> Result<(i64, String), Refusal> {
    let refuse = |why: String| Refusal::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = TOKENS.decode(token).map_err(|_| refuse("illegal base64 data at input byte 0".to_owned()))?;
    let json = Json::parse(&bytes).map_err(|_| {
        let first = bytes.first().map_or_else(|| "' '".to_owned(), |byte| go_char(*byte));
        refuse(format!("invalid character {first} looking for beginning of value"))
    })?;
    let version = match json.get("rv") {
        Some(Json::Number(version)) => version.as_i64().unwrap_or_default(),
        _ => 0,
    };
    let start = json.text_at("start").to_owned();
    if json.text_at("v") != "meta.k8s.io/v1" || start.is_empty() || version == 0 {
        return Err(refuse("the token is of an unknown version".to_owned()));
    }
    Ok((version, start))
}

/// A byte as Go quotes a character.
fn go_char(byte: u8) -> String {
    match byte {
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        0x80..=0xa0 => format!("'\\u{byte:04x}'"),
        0xa1..=0xff => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}

fn document(page: &Page, version: u64, resource: &Resource, form: Form, query: &Query, release: Release) -> Vec<u8> {
    let is_custom = resource.custom && form == Form::Full;
    let next = page
        .rest
        .as_ref()
        .map(|(key, left)| (token(i64::try_from(version).unwrap_or(i64::MAX), &start(key, query, release)), *left));
    // 1.20 counts what is left only where it gives whole objects.
    let counts = query.selection.is_everything() && (release != Release::V1_20 || form == Form::Full);
    let mut metadata = Json::object([]);
    if is_custom {
        if next.is_some() || release == Release::V1_20 {
            metadata.set("continue", Json::text(next.as_ref().map_or("", |(token, _)| token)));
        }
        set_left(&mut metadata, next.as_ref().filter(|_| counts));
        metadata.set("resourceVersion", Json::text(version.to_string()));
    } else {
        metadata.set("resourceVersion", Json::text(version.to_string()));
        if let Some((token, _)) = &next {
            metadata.set("continue", Json::text(token));
        }
        set_left(&mut metadata, next.as_ref().filter(|_| counts));
    }
    let (kind, api_version) = match form {
        Form::Full => (resource.list_kind.clone(), resource.api_version()),
        Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
    };
    let metadata = String::from_utf8(metadata.to_vec()).expect("JSON is UTF-8");
    if page.objects.is_empty() && form == Form::Metadata {
        // Go writes a slice to which nothing was appended (`asPartialObjectMetadataList` in `k8s.io/apiserver/pkg/endpoints/handlers`).
        return format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":null}}"#).into_bytes();
    }
    let (head, tail) = if is_custom {
        let head = format!(r#"{{"apiVersion":"{api_version}","items":["#);
        (head, format!(r#"],"kind":"{kind}","metadata":{metadata}}}"#))
    } else {
        (format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#), "]}".to_owned())
    };
    let mut body = head.into_bytes();
    for (place, object) in page.objects.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        object.write_item(resource, form, &mut body);
    }
    body.extend_from_slice(tail.as_bytes());
    body
}

fn set_left(metadata: &mut Json, next: Option<&(String, usize)>) {
    if let Some((_, left)) = next {
        metadata.set("remainingItemCount", Json::Number((*left).into()));
    }
}

/// The key as tokens have it: within the namespace, and since the watch cache serves pages with a slash before it.
fn start(key: &str, query: &Query, release: Release) -> String {
    let prefix = format!("{}/", query.selection.namespace);
    let within = if query.selection.namespace.is_empty() { key } else { key.strip_prefix(&prefix).unwrap_or(key) };
    match release {
        Release::V1_20 => within.to_owned(),
        Release::V1_33 | Release::V1_36 => format!("/{within}"),
    }
}
