//! What a user of the simulated cluster relies on.

use super::*;
use crate::api::WatchTarget;
use crate::client::{Content, Line, ListWatch, PageReader, PageRequest, PastPage, RestListWatch, WatchStart};
use std::time::Duration;

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web-0, labels: {app: web}}}";

fn pods() -> WatchTarget {
    WatchTarget { namespace: Some("default".to_owned()), ..WatchTarget::all("v1/pods".parse().unwrap()) }
}

fn source(kubeconfig: &Path) -> RestListWatch {
    let client = Client::from_kubeconfig(kubeconfig, None).unwrap();
    RestListWatch::new(client.transport(), &pods(), None, Content::Object)
}

/// The page, or why there is none.
fn list(source: &mut RestListWatch) -> Result<String, String> {
    let page = PageRequest { limit: 500, token: None };
    let body = source.list(&page).and_then(PageReader::into_body);
    body.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string())
}

/// The next whole line of a watch that began at `start`.
fn first_line(source: &mut RestListWatch, start: &WatchStart) -> String {
    let mut lines = source.watch(start, Duration::from_secs(20)).unwrap();
    loop {
        match lines.next().unwrap() {
            Line::Whole(line) => return String::from_utf8_lossy(line).into_owned(),
            Line::Partial | Line::Quiet => {}
            Line::TooLong(_) | Line::Broken(_) | Line::End => panic!("the watch ended"),
        }
    }
}

#[test]
fn each_cluster_is_one_of_its_own_though_their_seeds_are_the_same() {
    let uid = |cluster: &Cluster, name: &str| cluster.get("v1/namespaces", name).unwrap().as_ref().uid().into_owned();
    let [first, second] = [(), ()].map(|()| Cluster::builder().seed(7).start().unwrap());
    assert_eq!(uid(&first, "default"), uid(&second, "default"));
    assert_ne!(uid(&first, "kube-system"), uid(&second, "kube-system"));
    assert_ne!(first.authority(), second.authority());
    let pod = |cluster: &Cluster| cluster.create(POD).unwrap().as_ref().uid().into_owned();
    assert_eq!(pod(&first), pod(&second));
    // A backup brings back which cluster it is of, as a real one does.
    second.restore(&first.snapshot()).unwrap();
    assert_eq!(uid(&first, "kube-system"), uid(&second, "kube-system"));
}

#[test]
fn what_is_written_from_inside_is_what_a_client_gets() {
    for with_tls in [false, true] {
        let cluster = Cluster::builder().tls(with_tls).start().unwrap();
        let created = cluster.create(POD).unwrap();
        let start = WatchStart::After(created.as_ref().resource_version());
        cluster.patch("v1/pods", "default/web-0", "{status: {phase: Running}}").unwrap();
        let mut source = source(cluster.kubeconfig());
        assert!(list(&mut source).unwrap().contains(r#""phase":"Running""#));
        assert!(first_line(&mut source, &start).starts_with(r#"{"type":"MODIFIED""#));
        cluster.label("v1/pods", "default/web-0", &[("app", None), ("tier", Some("a"))]).unwrap();
        let pod = cluster.get("v1/pods", "default/web-0").unwrap();
        assert_eq!((pod.as_ref().labels().get("app"), pod.as_ref().labels().get("tier").as_deref()), (None, Some("a")));
        cluster.delete("v1/pods", "default/web-0").unwrap();
        assert!(cluster.objects(&pods()).unwrap().is_empty());
    }
}

#[test]
fn what_the_cluster_refuses_says_why() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let refused = |result: Result<(), Refused>| result.unwrap_err().to_string();
    let missing = refused(cluster.delete("v1/pods", "default/no"));
    assert_eq!(missing, r#"the simulated cluster refuses: 404: pods "no" not found"#);
    let kind = refused(cluster.create("{apiVersion: v1, kind: Nothing, metadata: {name: x}}").map(drop));
    assert_eq!(kind, "the simulated cluster refuses: 400: v1 has no kind Nothing");
    cluster.create(POD).unwrap();
    assert_eq!(cluster.create(POD).unwrap_err().code, 409);
    assert_eq!(cluster.create("{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: no}}").unwrap_err().code, 404);
}

#[test]
fn a_restart_keeps_objects_and_a_restore_takes_versions_back() {
    let cluster = Cluster::builder().start().unwrap();
    cluster.create(POD).unwrap();
    let backup = cluster.snapshot();
    let later = cluster.create(&POD.replace("web-0", "web-1")).unwrap();
    let mut source = source(cluster.kubeconfig());
    cluster.restart().unwrap();
    assert!(list(&mut source).unwrap().contains("web-1"));
    let version = later.as_ref().resource_version();
    let start = WatchStart::After(version.clone());
    let page = PastPage { version: &version, limit: 500, token: None };
    let past = |source: &mut RestListWatch| {
        source.watch(&start, Duration::from_secs(5)).unwrap().past(&page).map(|page| page.bytes_received())
    };
    assert!(past(&mut source).is_ok());
    cluster.restore(&backup).unwrap();
    assert!(past(&mut source).is_err(), "that version lies in the future now");
    assert_eq!(cluster.objects(&pods()).unwrap().len(), 1);
}

#[test]
fn a_compacted_history_is_gone() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let start = WatchStart::After(cluster.create(POD).unwrap().as_ref().resource_version());
    cluster.label("v1/pods", "default/web-0", &[("a", Some("b"))]).unwrap();
    cluster.compact();
    let line = first_line(&mut source(cluster.kubeconfig()), &start);
    assert!(line.contains(r#""type":"ERROR""#) && line.contains("410"), "{line}");
}

#[test]
fn users_may_do_what_their_rules_say_and_no_more() {
    let cluster = Cluster::builder().start().unwrap();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let rule = Rule {
        user: "readers".to_owned(),
        verbs: words(&["get", "list"]),
        resources: words(&["pods"]),
        namespaces: words(&["default"]),
        reason: String::new(),
    };
    let reader = cluster.add_user("rita", &["readers"], [rule]).unwrap();
    let stranger = cluster.add_user("sam", &[], []).unwrap();
    assert!(list(&mut source(&reader)).is_ok());
    let refused = list(&mut source(&stranger)).unwrap_err();
    assert!(refused.contains("403") || refused.contains("forbidden"), "{refused}");
    assert!(list(&mut source(cluster.kubeconfig())).is_ok(), "the administrator still may");
    cluster.clear_rules("readers");
    assert!(list(&mut source(&reader)).is_err());
}

#[test]
fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = Cluster::builder().start().unwrap();
    let kubeconfig = cluster.kubeconfig().to_owned();
    let client = cluster.client();
    assert!(kubeconfig.exists());
    drop(cluster);
    assert!(!kubeconfig.exists());
    let mut source = RestListWatch::new(client.transport(), &pods(), None, Content::Object);
    assert!(list(&mut source).is_err());
}

/// All pages, with so many objects each at most, or the first that cannot be had.
fn pages(source: &mut RestListWatch, limit: u32) -> Vec<String> {
    let (mut pages, mut token) = (Vec::new(), None::<String>);
    loop {
        let body = source.list(&PageRequest { limit, token: token.as_deref() }).and_then(PageReader::into_body).unwrap();
        let page = crate::api::ListPage::parse(&body).unwrap();
        let (version, next) = (page.version.to_string(), page.next.clone());
        pages.push(format!("{version} {}", page.objects().filter(Result::is_ok).count()));
        if next.is_none() || next == token {
            return pages;
        }
        token = next;
    }
}

#[test]
fn a_later_page_may_be_newer_or_lead_nowhere_and_an_object_may_be_unreadable() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    (0..5).for_each(|n| drop(cluster.create(&POD.replace("web-0", &format!("web-{n}"))).unwrap()));
    let mut source = source(cluster.kubeconfig());
    let whole = pages(&mut source, 2);
    let version = whole[0].split(' ').next().unwrap();
    assert_eq!(whole, [format!("{version} 2"), format!("{version} 2"), format!("{version} 1")]);

    cluster.set_faults(Faults::only(&[Fault::SamePage]).one_in(1));
    assert_eq!(pages(&mut source, 2), [format!("{version} 2"), format!("{version} 2")]);

    cluster.set_faults(Faults::only(&[Fault::UnreadableObject]).one_in(1));
    assert_eq!(pages(&mut source, 2), [format!("{version} 1"), format!("{version} 1"), format!("{version} 0")]);

    cluster.set_faults(Faults::only(&[Fault::NewerPage]).one_in(1));
    let body = source.list(&PageRequest { limit: 2, token: None }).and_then(PageReader::into_body).unwrap();
    let token = crate::api::ListPage::parse(&body).unwrap().next;
    cluster.label("v1/pods", "default/web-4", &[("app", None)]).unwrap();
    let body = source.list(&PageRequest { limit: 3, token: token.as_deref() }).and_then(PageReader::into_body).unwrap();
    let page = crate::api::ListPage::parse(&body).unwrap();
    assert_ne!(page.version.as_str(), version);
    assert_eq!(page.objects().count(), 3);
}

#[test]
fn a_backup_can_be_overtaken_before_anybody_connects() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let created = cluster.create(POD).unwrap();
    cluster.label("v1/pods", "default/web-0", &[("before", Some("it"))]).unwrap();
    let backup = cluster.snapshot();
    let lost = cluster.label("v1/pods", "default/web-0", &[("tier", Some("a"))]).unwrap();
    let write = |cluster: &Cluster| {
        (0..3).for_each(|n| drop(cluster.label("v1/pods", "default/web-0", &[("n", Some(&n.to_string()))]).unwrap()));
    };
    cluster.restore_then(&backup, write).unwrap();
    let start = WatchStart::After(lost.as_ref().resource_version());
    let line = first_line(&mut source(cluster.kubeconfig()), &start);
    assert!(line.contains(r#""n":"1""#) && !line.contains("tier"), "{line}");
    let start = WatchStart::After(created.as_ref().resource_version());
    let line = first_line(&mut source(cluster.kubeconfig()), &start);
    assert!(line.contains("before") && !line.contains(r#""n":"#), "what was there before the backup is still known: {line}");
}

#[test]
fn an_endless_list_never_says_that_it_has_ended_and_old_bookmarks_go_back() {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    let created = cluster.create(POD).unwrap();
    let mut source = source(cluster.kubeconfig());
    cluster.set_faults(Faults::only(&[Fault::EndlessList]).one_in(1));
    let mut lines = source.watch(&WatchStart::InitialEvents, Duration::from_secs(20)).unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        if let Line::Whole(line) = lines.next().unwrap() {
            came.push(String::from_utf8_lossy(line).into_owned());
            cluster.label("v1/pods", "default/web-0", &[("n", Some(&came.len().to_string()))]).unwrap();
        }
    }
    assert!(came[0].starts_with(r#"{"type":"ADDED""#) && came[1].starts_with(r#"{"type":"MODIFIED""#), "{came:?}");
    drop(lines);

    cluster.set_faults(Faults::only(&[Fault::OldBookmark]).one_in(1));
    let version = created.as_ref().resource_version();
    let old = format!(r#""metadata":{{"resourceVersion":"{version}"}}"#);
    (0..LINES_AT_MOST).for_each(|n| drop(cluster.label("v1/pods", "default/web-0", &[("m", Some(&n.to_string()))]).unwrap()));
    let mut lines = source.watch(&WatchStart::After(version), Duration::from_secs(20)).unwrap();
    loop {
        match lines.next().unwrap() {
            Line::Whole(line) if line.starts_with(br#"{"type":"BOOKMARK""#) => {
                assert!(String::from_utf8_lossy(line).contains(&old));
                return;
            }
            Line::Whole(_) | Line::Partial | Line::Quiet => {}
            Line::TooLong(_) | Line::Broken(_) | Line::End => panic!("the watch ended without its bookmark"),
        }
    }
}

/// Each fault of lines has struck by then.
const LINES_AT_MOST: usize = 12;
