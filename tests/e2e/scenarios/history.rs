//! The store behind the API server goes back to a backup and is written on, beyond what the daemon has heard, before the daemon
//! can see it: versions that it knows are those of other changes now. Again and again, with one daemon and one state.

use super::changes::config;
use super::chaos::{Field, seed};
use crate::chaos::story::Story;
use crate::chaos::truth::{LABEL, Selection};
use crate::cluster::Cluster;
use crate::control_plane::Options;
use crate::daemon::{Daemon, Setup};
use crate::law::{check_nothing_invented, check_stories};
use crate::lines::Line;
use crate::runner::{Stage, say};
use crate::tcp_proxy::TcpProxy;
use crate::wait::{SOON, eventually};
use crate::writer::{CONFIG_MAPS, Change, Kind, LEASES, WIDGETS, Writer};
use faro::api::{Watch, WatchTarget};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Twice, for every run of all scenarios.
pub(crate) fn a_restored_and_overtaken_server_is_found_while_faro_runs(stage: &Stage) {
    run(stage, Daemons::Running, 2);
}

/// Twice, for every run of all scenarios.
pub(crate) fn a_restored_and_overtaken_server_is_found_by_the_next_start(stage: &Stage) {
    run(stage, Daemons::Down, 2);
}

/// What the restore takes back is a delete that Faro has only listed past: no event and no object told of it. Without its watch cache
/// the server still has what came before, so that all that Faro knows comes again.
pub(crate) fn an_object_whose_delete_was_only_listed_past_is_found_by_the_next_start(stage: &Stage) {
    let cluster = stage.own(Options { api_server_flags: &["--watch-cache=false"] });
    let (namespace, elsewhere) = (cluster.namespace("past"), cluster.namespace("elsewhere"));
    let (writer, plain) = (cluster.writer.of(CONFIG_MAPS), json!({}));
    let lost = writer.create_object(&namespace, "past-lost", &plain, "0");
    writer.create_object(&namespace, "past-newest", &plain, "0");
    let backup = cluster.own().back_up();
    writer.delete_object(&namespace, "past-lost");
    let setup = Setup::new(&cluster, &config(&namespace));
    let daemon = setup.clone().start_ready();
    daemon.wait_for_lines("the object that is there", |lines| lines.len() == 1);
    daemon.stop_unread();
    cluster.own().restore(&backup);
    cluster.wait_until_ready();
    for n in 0..=LOST_MAX {
        writer.create_object(&elsewhere, &format!("{NAME}{n}"), &plain, "0");
    }
    let daemon = setup.start_ready();
    let lines = daemon.wait_for_lines("the object that lives again", |lines| lines.len() == 2);
    assert_eq!((&lines[1].uid, &*lines[1].event_type, lines[1].inferred), (&lost.uid, "ADDED", true), "{lines:?}");
    daemon.stop_unread();
}

/// Twenty times.
pub(crate) fn twenty_restored_and_overtaken_servers_are_found_while_faro_runs(stage: &Stage) {
    run(stage, Daemons::Running, 20);
}

/// Twenty times.
pub(crate) fn twenty_restored_and_overtaken_servers_are_found_by_the_next_start(stage: &Stage) {
    run(stage, Daemons::Down, 20);
}

/// What the daemon does while the server goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Daemons {
    /// It runs, and hears nothing.
    Running,
    /// It was stopped, or killed.
    Down,
}

fn run(stage: &Stage, daemons: Daemons, rounds: usize) {
    let cluster = stage.own(Options::default());
    let field = Field::on(&cluster);
    let network = TcpProxy::to(cluster.own().port());
    let text = std::fs::read_to_string(cluster.admin()).expect("the kubeconfig was written by us");
    let kubeconfig = cluster.write_kubeconfig(&text.replace(&cluster.server, &network.url()));
    let setup = Setup::new(&cluster, &field.config()).kubeconfig(&kubeconfig);
    let seed = seed();
    let mut past = Past { hand: Hand::new(&cluster, &field, seed), cluster: &cluster, field: &field, setup: &setup };
    past.hand.write(OBJECTS, false);
    let mut daemon = setup.clone().start_ready();
    for round in 0..rounds {
        let when = format!("seed {seed}, round {round}, {daemons:?}");
        past.catches_up(&daemon, &format!("{when}: before the backup"));
        let backup = cluster.own().back_up();
        let lost = past.hand.random.usize(0..=LOST_MAX);
        past.hand.write(lost, true);
        past.catches_up(&daemon, &format!("{when}: before the restore"));
        let restore = |hand: &mut Hand| {
            cluster.own().restore(&backup);
            cluster.wait_until_ready();
            let overtaking = hand.random.usize(0..=2 * LOST_MAX);
            hand.write(overtaking, false);
            overtaking
        };
        let overtaking;
        match daemons {
            Daemons::Running => {
                network.cut();
                overtaking = restore(&mut past.hand);
                network.mend();
            }
            Daemons::Down => {
                if round % 2 == 0 {
                    drop(daemon.kill());
                } else {
                    daemon.stop_unread();
                }
                overtaking = restore(&mut past.hand);
                daemon = setup.clone().start_ready();
            }
        }
        past.catches_up(&daemon, &format!("{when}: {lost} changes lost, {overtaking} in their place"));
        past.hand.write(1, false);
        past.catches_up(&daemon, &format!("{when}: a change behind it"));
    }
    daemon.stop_unread();
    past.check();
    say(&format!("    seed {seed}: {rounds} restores that were written on, {daemons:?}: 0 wrong\n"));
}

/// What is written, and what the daemon makes of it.
struct Past<'a> {
    hand: Hand,
    cluster: &'a Cluster,
    field: &'a Field,
    setup: &'a Setup,
}

impl Past<'_> {
    /// Waits until each watch's lines end with what the server has.
    fn catches_up(&self, daemon: &Daemon, when: &str) {
        let server: Vec<_> = self.field.watches.iter().map(|watch| self.server(watch)).collect();
        let agree = || {
            let story = Story::read(&[self.setup.output()]);
            let mut told = self.field.watches.iter().map(|watch| last_states(&self.lines(&story, watch)));
            server.iter().all(|objects| told.next().is_some_and(|told| told == states(objects)))
        };
        let deadline = std::time::Instant::now() + SOON;
        while !agree() {
            assert!(std::time::Instant::now() < deadline, "{when}: what was told is not what is there\n{}", self.differences());
            crate::wait::pause(LOOK);
        }
        eventually(SOON, &format!("{when}: it is ready"), || daemon.http("/ready").is_some_and(|(code, _)| code == 200));
    }

    fn differences(&self) -> String {
        let story = Story::read(&[self.setup.output()]);
        let difference = |watch: &Selection| {
            let (told, there) = (last_states(&self.lines(&story, watch)), states(&self.server(watch)));
            let wrong = told.iter().filter(|(key, state)| there.get(*key) != Some(state));
            let missing = there.iter().filter(|(key, _)| !told.contains_key(*key));
            format!("{watch:?}: told {:?}, there {:?}", wrong.collect::<Vec<_>>(), missing.collect::<Vec<_>>())
        };
        self.field.watches.iter().map(difference).collect::<Vec<_>>().join("\n")
    }

    /// Every line makes sense after the one before, and says what was so.
    fn check(&self) {
        let story = Story::read(&[self.setup.output()]);
        assert_eq!(story.torn, Vec::<String>::new());
        for watch in &self.field.watches {
            let lines = self.lines(&story, watch);
            check_stories(&lines, &self.server(watch));
            let ours: Vec<Line> = lines.into_iter().filter(|line| line.name.starts_with(NAME)).collect();
            check_nothing_invented(&ours, &self.hand.changes);
        }
    }

    fn lines(&self, story: &Story, watch: &Selection) -> Vec<Line> {
        let id = self.id(watch);
        story.lines.iter().filter(|line| line.watch == id).cloned().collect()
    }

    fn id(&self, watch: &Selection) -> String {
        let target = WatchTarget {
            gvr: watch.gvr.parse().expect("a gvr of ours"),
            namespace: watch.namespace.clone(),
            label_selector: watch.label.map(|label| format!("{LABEL}={label}").parse().expect("a selector of ours")),
            field_selector: None,
        };
        Watch::new(target, &self.hand.cluster_uid, None).id.to_string()
    }

    /// What the server has for a watch.
    fn server(&self, watch: &Selection) -> Vec<Value> {
        let (api, resource) = watch.gvr.rsplit_once('/').expect("a gvr of ours");
        let root = if api.contains('/') { "/apis" } else { "/api" };
        let namespace = watch.namespace.as_ref().map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let label = watch.label.map(|label| format!("?labelSelector={LABEL}%3D{label}")).unwrap_or_default();
        self.cluster.writer.list(&format!("{root}/{api}{namespace}/{resource}{label}"))
    }
}

/// Writes at random, and keeps what the server answered.
struct Hand {
    random: fastrand::Rng,
    /// A writer and a namespace.
    places: Vec<(Writer, String)>,
    changes: Vec<Change>,
    cluster_uid: String,
    written: usize,
}

impl Hand {
    fn new(cluster: &Cluster, field: &Field, seed: u64) -> Self {
        let writer = |gvr: &str| {
            let kinds: [Kind; 3] = [CONFIG_MAPS, WIDGETS, LEASES];
            cluster.writer.of(kinds.into_iter().find(|kind| kind.gvr() == gvr).expect("a kind of ours"))
        };
        let places = field.places.iter().map(|(gvr, namespace)| (writer(gvr), namespace.clone())).collect();
        let cluster_uid = cluster.kubectl.run("get namespace kube-system -o jsonpath={.metadata.uid}").trim().to_owned();
        Self { random: fastrand::Rng::with_seed(seed), places, changes: Vec::new(), cluster_uid, written: 0 }
    }

    /// Makes so many changes. What is `loud` happens to one kind only, while the others are quiet.
    fn write(&mut self, changes: usize, loud: bool) {
        let place = self.random.usize(0..self.places.len());
        for _ in 0..changes {
            let place = if loud { place } else { self.random.usize(0..self.places.len()) };
            self.change(place);
        }
    }

    fn change(&mut self, place: usize) {
        self.written += 1;
        let (writer, namespace) = &self.places[place];
        let there = writer.list_objects(namespace);
        let name = format!("{NAME}{}", self.random.u8(0..NAMES));
        let labels = json!({LABEL: if self.random.bool() { "front" } else { "back" }});
        let data = self.written.to_string();
        let is_there = there.iter().any(|object| object["metadata"]["name"] == name);
        self.changes.push(match (is_there, self.random.u8(0..3)) {
            (false, _) => writer.create_object(namespace, &name, &labels, &data),
            (true, 0) => writer.delete_object(namespace, &name),
            (true, _) => writer.update_object(namespace, &name, &labels, &data),
        });
    }
}

/// An object by namespace and name, and its uid and version.
type States = BTreeMap<(String, String), (String, String)>;

fn last_states(lines: &[Line]) -> States {
    let mut states = States::new();
    for line in lines {
        let key = (line.namespace.clone().unwrap_or_default(), line.name.clone());
        if line.event_type == "DELETED" {
            states.remove(&key);
        } else {
            states.insert(key, (line.uid.clone(), line.resource_version.clone()));
        }
    }
    states
}

fn states(objects: &[Value]) -> States {
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    let state =
        |object| ((text(object, "namespace"), text(object, "name")), (text(object, "uid"), text(object, "resourceVersion")));
    objects.iter().map(state).collect()
}

/// Objects before the first backup.
const OBJECTS: usize = 12;

/// Changes that a backup does not know, at most; as many again may be written in their place.
const LOST_MAX: usize = 6;

/// So few that the same objects are written in both pasts.
const NAMES: u8 = 5;

const NAME: &str = "past-";

const LOOK: std::time::Duration = std::time::Duration::from_millis(100);
