//! A server's version: what it calls itself, and the numbers in that.

use super::Error;
use super::http::{ACCEPT_JSON, Http, document, undecodable};
use crate::api::Fault;
use serde::Deserialize;

/// The version of an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    text: String,
    /// Major and minor.
    numbers: (u32, u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    major: String,
    #[serde(default)]
    minor: String,
    git_version: String,
}

impl ServerVersion {
    /// Reads the leading digits of `git_version`, as in `v1.30.0-eks-036c24b` and `v1.31.4+k3s1`. A server that was built
    /// without a version says `v0.0.0-master+$Format:%H$` there, and the truth in `major` and `minor`
    /// (`version.http`, `k8s.io/component-base/version/base.go`). `None` where neither holds numbers.
    pub fn parse(git_version: &str, major: &str, minor: &str) -> Option<Self> {
        let stamped = git_version.strip_prefix('v').unwrap_or(git_version).split_once('.');
        let stamped = stamped.and_then(|(major, rest)| Some((leading_number(major)?, leading_number(rest)?)));
        let numbers =
            stamped.filter(|(major, _)| *major > 0).or_else(|| Some((leading_number(major)?, leading_number(minor)?)))?;
        Some(Self { text: git_version.to_owned(), numbers })
    }

    /// What the server calls itself, as in `v1.36.0`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a server of this version may have streaming lists; its feature gate may still be off. Older ones accept the
    /// parameters, ignore them, and never send the mark of an end (KEP-3157: alpha in 1.27).
    pub fn has_streaming_lists(&self) -> bool {
        self.numbers >= STREAMING_LISTS_SINCE
    }
}

const STREAMING_LISTS_SINCE: (u32, u32) = (1, 27);

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Asks for the version; `None` where it may not be read or holds no numbers.
pub(super) fn server_version(http: &dyn Http) -> Result<Option<ServerVersion>, Error> {
    match read(http) {
        Ok(document) => Ok(ServerVersion::parse(&document.git_version, &document.major, &document.minor)),
        Err(error) if matches!(error.fault(), Fault::Forbidden | Fault::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What every API server gives at `/version`.
pub(super) fn git_version(http: &dyn Http) -> Result<String, Error> {
    Ok(read(http)?.git_version)
}

fn read(http: &dyn Http) -> Result<Document, Error> {
    let request = "read the server's version";
    let body = document(http, request, "/version", ACCEPT_JSON)?;
    serde_json::from_slice(&body).map_err(|error| undecodable(request, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transcript::{Script, Transcript};

    fn check(git_version: &str, major: &str, minor: &str, expected: Option<(u32, u32)>) {
        let version = ServerVersion::parse(git_version, major, minor);
        assert_eq!(version.map(|version| version.numbers), expected, "{git_version} {major} {minor}");
    }

    #[test]
    fn the_numbers_are_the_leading_digits_of_what_the_server_calls_itself() {
        check("v1.36.0", "1", "36", Some((1, 36)));
        check("v1.30.0-eks-036c24b", "1", "30+", Some((1, 30)));
        check("v1.31.4+k3s1", "1", "31", Some((1, 31)));
        check("1.26.15", "", "", Some((1, 26)));
        check("v1.27", "", "", Some((1, 27)));
        check("v0.0.0-master+$Format:%H$", "1", "36", Some((1, 36)));
        check("v0.0.0-master+$Format:%H$", "", "", None);
        check("", "1", "30+", Some((1, 30)));
        check("v1.x", "", "", None);
        check("v99999999999.1", "", "", None);
        check("<html>", "", "", None);
    }

    #[test]
    fn reads_the_version_of_both_recorded_servers() {
        for (name, text, numbers, streams) in
            [("version", "v0.0.0-master+$Format:%H$", (1, 36), true), ("server-1.20/version", "v1.20.2", (1, 20), false)]
        {
            let script = Script::new([Transcript::golden(name)]);
            let version = server_version(&script).unwrap().unwrap();
            assert_eq!((version.as_str(), version.numbers, version.has_streaming_lists()), (text, numbers, streams));
            assert_eq!(git_version(&script).unwrap(), text);
        }
    }

    #[test]
    fn a_version_that_may_not_be_read_stops_nothing() {
        let refused = Script::new([Transcript::made("/version", 403, "{}")]);
        assert_eq!(server_version(&refused).unwrap(), None);
        for body in [r#"{"major":"1"}"#, "<html>"] {
            let script = Script::new([Transcript::made("/version", 200, body)]);
            assert_eq!(server_version(&script).unwrap_err().fault(), Fault::Undecodable, "{body}");
        }
    }
}
