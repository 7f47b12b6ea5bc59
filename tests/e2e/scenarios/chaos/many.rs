//! Many objects are known; Faro is started again when a few of them changed: a few lines, and ready at once.

use crate::chaos::hand::Hand;
use crate::chaos::judge::{Forgetting, judge};
use crate::chaos::story::{Story, count};
use crate::chaos::truth::{Key, Selection, Truth};
use crate::control_plane::Options;
use crate::daemon::{Daemon, Setup};
use crate::runner::{Stage, say};
use crate::wait::{SOON, eventually, pause};
use faro::api::{Scope, WatchTarget};
use faro::client::{Client, Content, ListWatch, PageReader, PageRequest, RestListWatch};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// 50,000 objects of which 10 change and 5 go: 15 lines, ready within the time of a list and two seconds.
pub(crate) fn fifty_thousand_known_objects_are_not_told_again_by_a_real_server(stage: &Stage) {
    // Without its watch cache the server has only etcd's history, which a compaction ends.
    let cluster = stage.own(Options { api_server_flags: &["--watch-cache=false"] });
    let namespace = cluster.namespace("many");
    let (writer, began) = (&cluster.writer, Instant::now());
    let many = Many {
        setup: &|config| Setup::new(&cluster, config),
        hand: &|| Hand::real(writer, began),
        forget: &|| cluster.own().compact(),
        client: Client::from_kubeconfig(&cluster.admin(), None).expect("the kubeconfig was written by us"),
        namespace,
        began,
    };
    many.show();
}

/// The same on a simulated server.
pub(crate) fn fifty_thousand_known_objects_are_not_told_again_by_a_simulated_server(_: &Stage) {
    let cluster = Arc::new(faro::sim::Cluster::start().expect("loopback has free ports"));
    let began = Instant::now();
    let many = Many {
        setup: &|config| Setup::with_config(config).kubeconfig(cluster.kubeconfig()),
        hand: &|| Hand::simulated(&cluster, began),
        forget: &|| cluster.compact(),
        client: cluster.client(),
        namespace: "default".to_owned(),
        began,
    };
    many.show();
}

struct Many<'a> {
    setup: &'a (dyn Fn(&str) -> Setup + Sync),
    hand: &'a (dyn Fn() -> Hand + Sync),
    /// Lets the server forget its history.
    forget: &'a (dyn Fn() + Sync),
    client: Client,
    namespace: String,
    began: Instant,
}

impl Many<'_> {
    fn show(&self) {
        let config = format!(
            "resources: [{{gvr: {GVR}, namespace_names: [{}], field_selector: metadata.name!=kube-root-ca.crt}}]",
            self.namespace
        );
        let setup = (self.setup)(&config).arguments("--log-level info").release();
        let mut acts = self.fill();
        let filled = self.began.elapsed();
        let daemon = setup.clone().start();
        eventually(SOON * 2, "every object is told", || count(&setup.output()) == OBJECTS);
        let mut daemon = ready(daemon);
        say(&format!(
            "    {OBJECTS} objects were filled in within {filled:.1?} and told after {:.1?} more\n",
            self.began.elapsed() - filled
        ));
        let mut windows = Vec::new();
        for (round, is_forgotten) in [false, true].into_iter().enumerate() {
            if is_forgotten {
                drop(daemon.kill());
            } else {
                daemon.stop_unread();
            }
            let then = self.began.elapsed();
            let mut hand = (self.hand)();
            let first = round * (CHANGED + DELETED + 1);
            (first..first + CHANGED).for_each(|index| hand.update(&self.key(index), "front", "1"));
            (first + CHANGED..first + CHANGED + DELETED).for_each(|index| hand.delete(&self.key(index), "front"));
            if is_forgotten {
                (self.forget)();
                windows.push(then..=self.began.elapsed());
            }
            let before = count(&setup.output());
            let list = self.list_time();
            let started = Instant::now();
            daemon = ready(setup.clone().start());
            let ready = started.elapsed();
            eventually(SOON, "what changed is told", || count(&setup.output()) >= before + CHANGED + DELETED);
            let told = started.elapsed();
            // Whatever would be told too much is told before this.
            let last = (GVR.to_owned(), self.namespace.clone(), format!("last-{round}"));
            hand.create(&last, "front", "last");
            eventually(SOON, "a last object is told", || {
                Story::read(&[setup.output()]).lines.iter().any(|line| line.name == last.2)
            });
            let lines = count(&setup.output()) - before - 1;
            acts.extend(hand.acts);
            say(&format!(
                "    {OBJECTS} known, {CHANGED} changed and {DELETED} deleted, history {}: {lines} lines; ready after {ready:.2?}, \
                 all told after {told:.2?}; a list takes {list:.2?}\n",
                if is_forgotten { "compacted, after a kill" } else { "kept, after a stop" }
            ));
            assert_eq!(lines, CHANGED + DELETED);
            assert!(ready < list + READY_LIMIT, "ready after {ready:?}, where a list takes {list:?}");
        }
        daemon.stop_unread();
        let watch = Selection { gvr: GVR, namespace: Some(self.namespace.clone()), label: None };
        let forgetting = Forgetting { beginning: filled, windows };
        let verdict = judge(&Story::read(&[setup.output()]), &Truth::new(acts), &[watch], &forgetting);
        say(&format!("    {verdict}\n"));
        assert!(verdict.faults() == 0, "{verdict}\n{}", verdict.findings.join("\n"));
    }

    fn fill(&self) -> Vec<crate::chaos::truth::Act> {
        std::thread::scope(|scope| {
            let part = |part: usize| {
                scope.spawn(move || {
                    let mut hand = (self.hand)();
                    (part..OBJECTS).step_by(HANDS).for_each(|index| hand.create(&self.key(index), "front", "0"));
                    hand.acts
                })
            };
            let parts: Vec<_> = (0..HANDS).map(part).collect();
            parts.into_iter().flat_map(|part| part.join().expect("every object is made")).collect()
        })
    }

    fn key(&self, index: usize) -> Key {
        (GVR.to_owned(), self.namespace.clone(), format!("object-{index:05}"))
    }

    /// How long the server takes to list what the daemon watches, page by page, for a client that throws it away.
    fn list_time(&self) -> Duration {
        let mut target = WatchTarget::all(GVR.parse().expect("this is a gvr"));
        target.namespace = Some(self.namespace.clone());
        let mut source = RestListWatch::new(self.client.transport(), &target, Some(Scope::Namespaced), Content::Metadata);
        let mut token = None::<String>;
        let mut spent = Duration::ZERO;
        loop {
            let asked = Instant::now();
            let page = PageRequest { limit: PAGE_OBJECTS, token: token.as_deref() };
            let body = source.list(&page).and_then(PageReader::into_body).expect("the server lists");
            spent += asked.elapsed();
            let list: Value = serde_json::from_slice(&body).expect("a list is JSON");
            token = list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return spent;
            }
        }
    }
}

/// Waits until it says so, to within a few milliseconds.
fn ready(mut daemon: Daemon) -> Daemon {
    let end = Instant::now() + SOON * 2;
    while daemon.http("/ready").is_none_or(|(code, _)| code != 200) {
        assert!(daemon.code().is_none(), "the daemon ended before it was ready:\n{}", daemon.log());
        assert!(Instant::now() < end, "never ready:\n{}", daemon.log());
        pause(Duration::from_millis(5));
    }
    daemon
}

const GVR: &str = "v1/configmaps";
const OBJECTS: usize = 50_000;
const CHANGED: usize = 10;
const DELETED: usize = 5;
const HANDS: usize = 8;

/// As Faro asks.
const PAGE_OBJECTS: u32 = 500;

const READY_LIMIT: Duration = Duration::from_secs(2);
