//! Fresh discovery of one resource: is it served, was it never, or can nobody tell just now?
//!
//! Takes a transport and a name; gives [`Served`] and, where it is served, the scope. Promises that "absent" is said
//! only when every document that could say otherwise was read.

use super::address::{group_path, group_version_path};
use super::discovery::{ApiResource, GroupVersions, Resources};
use super::http::{ACCEPT_JSON, Http, document, undecodable};
use super::{Error, Served};
use crate::api::{Fault, GroupVersionResource, Scope};

/// Asks for the version first, which settles most cases; then for the group, and for its other versions.
pub(super) fn lookup(http: &dyn Http, gvr: &GroupVersionResource) -> Result<(Served, Option<Scope>), Error> {
    match find_in(http, gvr, gvr.version())? {
        Found::Yes(resource) => return Ok((Served::Yes, Some(resource.scope))),
        Found::Unknown(reason) => return Ok((Served::Unknown(reason), None)),
        Found::No => {}
    }
    let versions = match versions_of(http, gvr)? {
        Group::Versions(versions) => versions,
        Group::Missing => return Ok((Served::Absent, None)),
        Group::Unknown(reason) => return Ok((Served::Unknown(reason), None)),
    };
    let mut others = Vec::new();
    let mut unknown = None;
    for version in versions.into_iter().filter(|version| version != gvr.version()) {
        match find_in(http, gvr, &version)? {
            Found::Yes(_) => others.push(version),
            Found::Unknown(reason) => unknown = Some(reason),
            Found::No => {}
        }
    }
    let served = match unknown {
        _ if !others.is_empty() => Served::OtherVersions(others),
        Some(reason) => Served::Unknown(reason),
        None => Served::Absent,
    };
    Ok((served, None))
}

enum Found {
    Yes(ApiResource),
    /// The version is not served, or does not hold the resource.
    No,
    Unknown(String),
}

fn find_in(http: &dyn Http, gvr: &GroupVersionResource, version: &str) -> Result<Found, Error> {
    let path = group_version_path(gvr.group(), version);
    let request = format!("discover {path}");
    let parsed = document(http, &request, &path, ACCEPT_JSON)
        .and_then(|body| Resources::parse(gvr.group(), version, &body).map_err(|error| undecodable(&request, &error)));
    match parsed {
        Ok(resources) => {
            let found = resources.into_iter().find(|resource| resource.gvr.resource() == gvr.resource());
            Ok(found.map_or(Found::No, Found::Yes))
        }
        Err(error) if error.fault() == Fault::NotFound => Ok(Found::No),
        Err(error) => Ok(Found::Unknown(unknown(error)?)),
    }
}

enum Group {
    Versions(Vec<String>),
    Missing,
    Unknown(String),
}

fn versions_of(http: &dyn Http, gvr: &GroupVersionResource) -> Result<Group, Error> {
    let path = group_path(gvr.group());
    let request = format!("discover {path}");
    let parsed = document(http, &request, &path, ACCEPT_JSON)
        .and_then(|body| GroupVersions::parse(&body).map_err(|error| undecodable(&request, &error)));
    match parsed {
        Ok(versions) => Ok(Group::Versions(versions)),
        Err(error) if error.fault() == Fault::NotFound => Ok(Group::Missing),
        Err(error) => Ok(Group::Unknown(unknown(error)?)),
    }
}

/// Why nothing can be concluded; a server that gave no answer at all is the caller's error.
fn unknown(error: Error) -> Result<String, Error> {
    if matches!(error, Error::Status { .. } | Error::Undecodable { .. } | Error::TooLong { .. }) {
        return Ok(error.to_string());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::transcript::{Script, Transcript};

    const GROUP: &str = r#"{"kind":"APIGroup","name":"example.com","versions":[
        {"groupVersion":"example.com/v2","version":"v2"},{"groupVersion":"example.com/v1","version":"v1"}]}"#;
    const WIDGETS: &str = r#"{"kind":"APIResourceList","resources":[
        {"name":"widgets","namespaced":false,"kind":"Widget","verbs":["list","watch"]},
        {"name":"widgets/status","namespaced":false,"kind":"Widget","verbs":["get"]}]}"#;
    const NOTHING: &str = r#"{"kind":"APIResourceList","resources":null}"#;
    const DOWN: &str = r#"{"kind":"Status","message":"service unavailable","code":503}"#;

    fn check(gvr: &str, answers: &[(&str, u16, &str)], expected: &(Served, Option<Scope>)) {
        let script = Script::new(answers.iter().map(|(path, code, body)| Transcript::made(path, *code, body)));
        assert_eq!(lookup(&script, &gvr.parse().unwrap()).unwrap(), *expected, "{gvr} {answers:?}");
    }

    #[test]
    fn tells_served_from_absent_from_unknown() {
        let (group, one, two) = ("/apis/example.com", "/apis/example.com/v1", "/apis/example.com/v2");
        let unknown = |path: &str| (Served::Unknown(format!("discover {path}: 503 service unavailable")), None);
        let gvr = "example.com/v1/widgets";
        check(gvr, &[(one, 200, WIDGETS)], &(Served::Yes, Some(Scope::Cluster)));
        check(gvr, &[], &(Served::Absent, None));
        check(gvr, &[(group, 200, GROUP), (one, 200, NOTHING), (two, 404, "")], &(Served::Absent, None));
        check(gvr, &[(group, 200, GROUP), (two, 200, WIDGETS)], &(Served::OtherVersions(vec!["v2".to_owned()]), None));
        check(gvr, &[(group, 200, GROUP), (one, 503, DOWN)], &unknown(one));
        check(gvr, &[(group, 503, DOWN)], &unknown(group));
        check(gvr, &[(group, 200, GROUP), (one, 200, NOTHING), (two, 503, DOWN)], &unknown(two));
    }

    #[test]
    fn an_answer_that_is_no_discovery_concludes_nothing() {
        let gvr = "example.com/v1/widgets".parse().unwrap();
        for body in ["", "<html>", "{}", r#"{"resources":7}"#] {
            let script = Script::new([Transcript::made("/apis/example.com/v1", 200, body)]);
            assert!(matches!(lookup(&script, &gvr).unwrap(), (Served::Unknown(_), None)), "{body}");
            let script = Script::new([Transcript::made("/apis/example.com", 200, body)]);
            assert!(matches!(lookup(&script, &gvr).unwrap(), (Served::Unknown(_), None)), "{body}");
        }
    }

    #[test]
    fn a_broken_connection_is_an_error_and_no_conclusion() {
        let script = Script::default().broken("/api/v1");
        assert_eq!(lookup(&script, &"v1/pods".parse().unwrap()).unwrap_err().fault(), Fault::Connection);
    }

    #[test]
    fn reads_the_recorded_documents_of_both_servers() {
        for server in ["", "server-1.20/"] {
            let names = ["discovery-core-v1", "discovery-apps-v1", "discovery-api-legacy", "discovery-group-missing"];
            let script = Script::new(names.map(|name| Transcript::golden(&format!("{server}{name}"))));
            for (gvr, expected) in [
                ("v1/pods", (Served::Yes, Some(Scope::Namespaced))),
                ("v1/nodes", (Served::Yes, Some(Scope::Cluster))),
                ("apps/v1/deployments", (Served::Yes, Some(Scope::Namespaced))),
                ("v1/podz", (Served::Absent, None)),
                ("v2/pods", (Served::OtherVersions(vec!["v1".to_owned()]), None)),
                ("nosuch.example.com/v1/things", (Served::Absent, None)),
            ] {
                assert_eq!(lookup(&script, &gvr.parse().unwrap()).unwrap(), expected, "{server}{gvr}");
            }
        }
    }
}
