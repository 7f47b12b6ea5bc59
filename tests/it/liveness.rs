//! Whatever becomes of a thread, a probe of `/health` says so within ten seconds, and names it.

use crate::support::wait::{eventually, eventually_some};
use faro::api::{Scope, Watch, WatchTarget};
use faro::change::{DigestKey, Redaction};
use faro::client::{Content, RestListWatch};
use faro::event::{Credit, Mark, MatchedEvent, Outlet};
use faro::health::Health;
use faro::http::{HttpServer, HttpSettings};
use faro::informer::{Context, Histories, Informer, Limits, ListGate, Server};
use faro::lifecycle::{Joined, Stop};
use faro::metrics::Metrics;
use faro::sim::Cluster;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is promised.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// For what must happen soon and only a failure makes late.
const PATIENCE: Duration = Duration::from_secs(60);

struct Endpoints {
    health: Health,
    server: HttpServer,
}

impl Endpoints {
    fn start() -> Self {
        let health = Health::default();
        let settings = HttpSettings { bind_addr: Ipv4Addr::LOCALHOST.into(), port: 0, ..HttpSettings::default() };
        let server = HttpServer::start(&settings, &Metrics::default(), &health).unwrap();
        Self { health, server }
    }

    /// The code and body that a probe gets.
    fn probe(&self) -> (u16, String) {
        let mut stream = TcpStream::connect(self.server.local_addr()).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: faro\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let code = text.split(' ').nth(1).unwrap().parse().unwrap();
        (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The body that names a thread in trouble.
    fn wait_for_trouble(&self) -> String {
        eventually_some(PATIENCE, "/health fails", || Some(self.probe()).filter(|(code, _)| *code == 503)).1
    }
}

/// An outlet that does its worst at the first event.
struct Trap {
    hangs_until: Option<Stop>,
    /// When it struck.
    struck: crossbeam_channel::Sender<Instant>,
}

impl Outlet for Trap {
    fn wait_for_credit(&mut self, _: Duration) -> Credit {
        Credit::Granted
    }

    fn send(&mut self, _: MatchedEvent) {
        self.struck.send(Instant::now()).unwrap();
        match &self.hangs_until {
            Some(stop) => stop.wait_until_requested(),
            None => panic!("injected"),
        }
    }

    fn mark(&mut self, _: Mark) {}
}

fn config_maps() -> Arc<Watch> {
    Arc::new(Watch::new(WatchTarget::all("v1/configmaps".parse().unwrap()), "test", None))
}

/// An informer of a cluster with an object, whose outlet is a trap.
fn trapped_informer(cluster: &Cluster, endpoints: &Endpoints, trap: Trap, stop: &Stop) -> Joined {
    let watch = config_maps();
    let source = RestListWatch::new(cluster.client().transport(), &watch.target, Some(Scope::Namespaced), Content::Object);
    let context = Context {
        stop: stop.clone(),
        status: endpoints.health.add_watch(Arc::clone(&watch)),
        metrics: Metrics::default().watch(&watch),
        gate: ListGate::default(),
        server: Server::new("test"),
        histories: Histories::default(),
        cluster: None,
        pulse: endpoints.health.add_thread("inf-v1/configmaps"),
        limits: Limits::default(),
        content_is_metadata: false,
        redaction: Arc::new(Redaction::new(DigestKey::new(b"the key of a test"))),
        skip_initial: false,
    };
    let informer = Informer::new(watch, Box::new(source), Box::new(trap), context);
    Joined::spawn("inf-v1/configmaps", move || informer.run()).unwrap()
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder().tls(false).start().unwrap();
    cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    cluster
}

#[test]
fn informer_that_hangs_is_named_within_ten_seconds_and_well_again_when_it_goes_on() {
    let (cluster, endpoints) = (cluster(), Endpoints::start());
    let (struck, strikes) = crossbeam_channel::bounded(100);
    let (release, stop) = (Stop::new(), Stop::new());
    let thread = trapped_informer(&cluster, &endpoints, Trap { hangs_until: Some(release.clone()), struck }, &stop);
    let since = strikes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(endpoints.probe().0, 200, "not stuck yet");
    let body = endpoints.wait_for_trouble();
    assert!(since.elapsed() < NOTICED_WITHIN, "{:?}", since.elapsed());
    assert!(body.contains("inf-v1/configmaps") && body.contains("stuck"), "{body}");
    release.request();
    eventually(PATIENCE, "it is well again", || endpoints.probe().0 == 200);
    stop.request();
    drop(cluster);
    drop(thread);
}

#[test]
fn informer_that_panics_is_named_at_once() {
    let (cluster, endpoints) = (cluster(), Endpoints::start());
    let (struck, _strikes) = crossbeam_channel::bounded(100);
    let thread = trapped_informer(&cluster, &endpoints, Trap { hangs_until: None, struck }, &Stop::new());
    let body = endpoints.wait_for_trouble();
    assert!(body.contains("inf-v1/configmaps") && body.contains("dead"), "{body}");
    drop(thread);
}
