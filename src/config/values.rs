//! Single values: from a node of the tree, or from text, to a checked type. Errors say what is expected and what was found.

use super::LogLevel;
use super::suggest::nearest;
use crate::api::{FieldSelector, GroupVersionResource, LabelSelector, Scope};
use crate::yaml::{Node, Value};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How much of a wrong text an error repeats.
const FOUND_CHARS_MAX: usize = 100;

/// Longest time in seconds: ten years, safe to add to any clock.
const SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// Longest `cluster_name`, because every line carries it. As long as a DNS name may be.
const CLUSTER_NAME_BYTES_MAX: usize = 253;

/// Longest `metrics.path`; far below what a request's head may hold.
const METRICS_PATH_BYTES_MAX: usize = 256;

/// Most lists at once: an API server of default settings serves 400 requests that only read, of everyone.
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>, `--max-requests-inflight`.
const CONCURRENT_LISTS_MAX: u64 = 64;

/// Paths that the same server already serves.
const TAKEN_PATHS: [&str; 2] = ["/health", "/ready"];

/// The value as an error shows it.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Duration(value) => value.as_secs_f64().to_string(),
        Value::Text(text) => quoted(text),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    if text.chars().count() <= FOUND_CHARS_MAX {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(FOUND_CHARS_MAX).collect::<String>())
}

pub(super) fn text<'n>(node: &'n Node, what: &str) -> Result<&'n str, String> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Duration(_) => {
            Err(format!("expected {what}, found {}; put it in quotes", found(node)))
        }
        Value::Null | Value::List(_) | Value::Map(_) => Err(format!("expected {what}, found {}", found(node))),
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    if let Value::Bool(value) = node.value {
        return Ok(value);
    }
    let word = if let Value::Text(text) = &node.value { text.to_lowercase() } else { String::new() };
    let hint = match word.as_str() {
        "yes" | "on" | "y" | "true" => "; did you mean true?",
        "no" | "off" | "n" | "false" => "; did you mean false?",
        _ => "",
    };
    Err(format!("expected true or false, found {}{hint}", found(node)))
}

pub(super) fn integer(node: &Node, allowed: RangeInclusive<u64>, what: &str) -> Result<u64, String> {
    let error = || format!("expected {what} from {} to {}, found {}", allowed.start(), allowed.end(), found(node));
    let number = match &node.value {
        Value::Integer(number) => u64::try_from(*number).ok().filter(|number| allowed.contains(number)),
        Value::Text(text) if text.parse::<u64>().is_ok() => return Err(format!("{}; leave the quotes out", error())),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::Duration(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            None
        }
    };
    number.ok_or_else(error)
}

/// Whole seconds of a file, and any duration of a program.
pub(super) fn seconds(node: &Node) -> Result<Duration, String> {
    if let Value::Duration(value) = node.value
        && value <= Duration::from_secs(SECONDS_MAX)
    {
        return Ok(value);
    }
    Ok(Duration::from_secs(integer(node, 0..=SECONDS_MAX, "a whole number of seconds")?))
}

pub(super) fn port(node: &Node) -> Result<u16, String> {
    let number = integer(node, 0..=u16::MAX.into(), "a port")?;
    Ok(u16::try_from(number).expect("checked against the largest port"))
}

pub(super) fn bind_addr(node: &Node) -> Result<IpAddr, String> {
    let text = text(node, "an IP address")?;
    let hint = if text == "localhost" { "; did you mean \"127.0.0.1\"?" } else { "" };
    text.parse().map_err(|_| format!("expected an IP address as in \"0.0.0.0\" or \"::\", found {}{hint}", quoted(text)))
}

pub(super) fn metrics_path(node: &Node) -> Result<String, String> {
    let what = "a path as in \"/metrics\"";
    let path = text(node, what)?;
    if TAKEN_PATHS.contains(&path) {
        return Err(format!("{} is taken by Faro's own answers; choose another path", quoted(path)));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    if !path.starts_with('/') || path.len() < 2 || path.len() > METRICS_PATH_BYTES_MAX || !path.bytes().all(plain) {
        return Err(format!("expected {what}, found {}", quoted(path)));
    }
    Ok(path.to_owned())
}

/// How many watches may list at once.
pub(super) fn concurrent_lists(node: &Node) -> Result<usize, String> {
    let number = integer(node, 1..=CONCURRENT_LISTS_MAX, "a number")?;
    Ok(usize::try_from(number).expect("checked against a small number"))
}

/// `None` for the empty path, which means: the default one.
pub(super) fn folder_or_none(node: &Node) -> Result<Option<PathBuf>, String> {
    let is_empty = if let Value::Text(path) = &node.value { path.is_empty() } else { false };
    if is_empty { Ok(None) } else { folder(node).map(Some) }
}

pub(super) fn folder(node: &Node) -> Result<PathBuf, String> {
    path(node, "a folder")
}

pub(super) fn file(node: &Node) -> Result<PathBuf, String> {
    path(node, "a file")
}

fn path(node: &Node, what: &str) -> Result<PathBuf, String> {
    let path = text(node, what)?;
    if path.is_empty() || path.contains('\0') {
        return Err(format!("expected {what}, found {}", quoted(path)));
    }
    if path == "~" || path.starts_with("~/") || path.contains("${") || path.starts_with('$') {
        return Err(format!("expected {what}, found {}; neither ~ nor variables are replaced here", quoted(path)));
    }
    Ok(PathBuf::from(path))
}

pub(super) fn log_level(node: &Node) -> Result<LogLevel, String> {
    text(node, LogLevel::EXPECTED)?.parse()
}

/// `None` for the empty name, which means: no name.
pub(super) fn cluster_name(node: &Node) -> Result<Option<String>, String> {
    let name = text(node, "a name")?;
    if name.len() > CLUSTER_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let limit = CLUSTER_NAME_BYTES_MAX;
        return Err(format!("expected a name of at most {limit} bytes without control characters, found {}", quoted(name)));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

pub(super) fn gvr(node: &Node) -> Result<GroupVersionResource, String> {
    text(node, "`version/resource` or `group/version/resource`")?.parse().map_err(|error| format!("{error}"))
}

pub(super) fn scope(node: &Node) -> Result<Scope, String> {
    let text = text(node, "Namespaced or Cluster")?;
    match text.to_ascii_lowercase().as_str() {
        "namespaced" => Ok(Scope::Namespaced),
        "cluster" => Ok(Scope::Cluster),
        _ => {
            let near = nearest(text, ["Namespaced", "Cluster"]);
            let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            Err(format!("expected Namespaced or Cluster, found {}{hint}", quoted(text)))
        }
    }
}

pub(super) fn label_selector(node: &Node) -> Result<LabelSelector, String> {
    let text = text(node, "a label selector as in \"app=web\"")?;
    text.parse().map_err(|error| in_selector(text, &error))
}

pub(super) fn field_selector(node: &Node) -> Result<FieldSelector, String> {
    let text = text(node, "a field selector as in \"spec.nodeName=n1\"")?;
    text.parse().map_err(|error| in_selector(text, &error))
}

fn in_selector(text: &str, error: &dyn std::error::Error) -> String {
    if text.trim().is_empty() { error.to_string() } else { format!("in {}: {error}", quoted(text)) }
}

/// The exact name of an object of any kind, as API servers accept it.
pub(super) fn object_name(node: &Node) -> Result<String, String> {
    let name = text(node, "an exact name")?;
    if name.is_empty() {
        return Err("expected an exact name, found \"\"; leave the key out for all names".to_owned());
    }
    // Beside DNS names there are kinds, such as roles, that take any path segment.
    let segment = name != "." && name != ".." && name.bytes().all(|b| b.is_ascii_graphic() && !b"/%*".contains(&b));
    if !segment || name.len() > 253 {
        return Err(format!("expected an exact name, found {}{}", quoted(name), pattern_hint(name)));
    }
    Ok(name.to_owned())
}

/// The exact name of a namespace: an RFC 1123 label.
pub(super) fn namespace_name(node: &Node) -> Result<String, String> {
    let what = "the exact name of a namespace (a-z, 0-9 and -, at most 63)";
    let name = text(node, what)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) || name.starts_with('-') || name.ends_with('-') {
        let lower = name.to_ascii_lowercase();
        let hint = if lower != name && lower.bytes().all(plain) {
            format!("; did you mean {}?", quoted(&lower))
        } else {
            pattern_hint(name).to_owned()
        };
        return Err(format!("expected {what}, found {}{hint}", quoted(name)));
    }
    Ok(name.to_owned())
}

/// The same, or the empty name, which means all namespaces.
pub(super) fn namespace_name_or_all(node: &Node) -> Result<String, String> {
    let is_empty = if let Value::Text(name) = &node.value { name.is_empty() } else { false };
    if is_empty { Ok(String::new()) } else { namespace_name(node) }
}

fn pattern_hint(name: &str) -> &'static str {
    if name.contains(['*', '?', '^', '$', '+', '|']) {
        "; patterns are not supported, list the names or use a label selector"
    } else {
        ""
    }
}
