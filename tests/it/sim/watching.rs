//! One watch of a world: a real informer over a real socket, with limits so short that nothing takes long.

use super::mutation::Mutation;
use super::told::Told;
use super::writer::Kind;
use faro::api::{Scope, Watch, WatchTarget};
use faro::change::{DigestKey, Redaction};
use faro::client::{
    Client, Content, Error, Interrupt, ListWatch, PageReader, PageRequest, Proof, RestListWatch, Served, ServerVersion,
    WatchLines, WatchStart,
};
use faro::event::Outlet;
use faro::health::Health;
use faro::informer::{ClusterCheck, Context, Histories, Informer, Limits, ListGate, Server};
use faro::lifecycle::{Joined, Stop};
use faro::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Which objects: their labels and fields, in the server's words, and in ours.
#[derive(Clone, Copy)]
pub(super) struct Selection {
    pub(super) namespace: Option<&'static str>,
    pub(super) labels: Option<&'static str>,
    pub(super) fields: Option<&'static str>,
    pub(super) content: Content,
    /// Whether an object of this namespace, name and label `app` is one of them.
    pub(super) matches: fn(&str, &str, Option<&str>) -> bool,
}

/// Of the objects that a world writes.
pub(super) const SELECTIONS: [Selection; 5] = [
    Selection { namespace: None, labels: None, fields: None, content: Content::Object, matches: |_, _, _| true },
    Selection {
        namespace: Some("demo"),
        labels: Some("app=web"),
        fields: None,
        content: Content::Metadata,
        matches: |namespace, _, app| namespace == "demo" && app == Some("web"),
    },
    Selection {
        namespace: None,
        labels: Some("app notin (web),app"),
        fields: None,
        content: Content::Object,
        matches: |_, _, app| app.is_some_and(|app| app != "web"),
    },
    Selection {
        namespace: Some("other"),
        labels: None,
        fields: Some("metadata.name=o1"),
        content: Content::Metadata,
        matches: |namespace, name, _| namespace == "other" && name == "o1",
    },
    Selection {
        namespace: None,
        labels: Some("!app"),
        fields: Some("metadata.name!=o2"),
        content: Content::Object,
        matches: |_, name, app| app.is_none() && name != "o2",
    },
];

/// An informer at work, until it is dropped.
pub(super) struct Watching {
    pub(super) target: WatchTarget,
    pub(super) selection: Selection,
    pub(super) told: Told,
    /// It does not tell what was there before.
    pub(super) skips: bool,
    stop: Stop,
    interrupt: Interrupt,
    thread: Option<Joined>,
}

/// What the informers of a world have in common.
pub(super) struct Common {
    pub(super) client: Client,
    pub(super) kind: Kind,
    pub(super) gate: ListGate,
    /// The uid of the cluster that they watch.
    pub(super) cluster: String,
    pub(super) mutation: Option<Mutation>,
}

/// Asks whose server it is, as the controller does.
#[derive(Debug)]
struct SameCluster {
    client: Client,
    known: String,
}

impl ClusterCheck for SameCluster {
    fn is_same(&self, _: Instant) -> Result<bool, Error> {
        Ok(self.client.transport().cluster_uid_again()?.is_none_or(|found| found == self.known))
    }
}

impl Watching {
    /// Starts an informer, broken by a mutation if there is one, that goes on from what was `told` already.
    pub(super) fn start(common: &Common, selection: Selection, seed: u64, told: Told) -> Self {
        let Common { client, kind, gate, cluster, mutation } = common;
        let (mutation, skips) = (*mutation, seed % SKIPS_ONE_IN == 1);
        let known = Some(cluster.clone()).filter(|_| mutation != Some(Mutation::TrustsAnotherCluster));
        let same = |known| Arc::new(SameCluster { client: client.clone(), known }) as Arc<dyn ClusterCheck>;
        let cluster = known.clone().map(same);
        let target = WatchTarget {
            gvr: kind.gvr().parse().unwrap(),
            namespace: selection.namespace.map(str::to_owned),
            label_selector: selection.labels.map(|text| text.parse().unwrap()),
            field_selector: selection.fields.map(|text| text.parse().unwrap()),
        };
        let watch = Arc::new(Watch::new(target.clone(), "sim", None));
        let source =
            RestListWatch::new(client.transport(), &target, Some(Scope::Namespaced), selection.content).in_cluster(known);
        let (stop, interrupt) = (Stop::new(), source.interrupt());
        let health = Health::default();
        let context = Context {
            stop: stop.clone(),
            status: health.add_watch(Arc::clone(&watch)),
            metrics: Metrics::default().watch(&watch),
            gate: gate.clone(),
            server: Server::new("test"),
            histories: Histories::default(),
            cluster,
            pulse: health.add_thread("test"),
            limits: mutation.map_or_else(hasty, |mutation| mutation.limits(hasty())),
            content_is_metadata: selection.content == Content::Metadata,
            skip_initial: skips,
            redaction: Arc::new(Redaction::new(DigestKey::new(b"the key of a test"))),
        };
        let receiver = told.receiver(seed);
        let source = SmallPages { source, objects: 1 + u32::from(seed.is_multiple_of(2)) };
        let (source, outlet): (Box<dyn ListWatch>, Box<dyn Outlet>) = match mutation {
            Some(mutation) => (mutation.source(source), mutation.outlet(receiver, seed)),
            None => (Box::new(source), Box::new(receiver)),
        };
        let resume = mutation.map_or_else(|| told.resume(), |mutation| mutation.resume(told.resume()));
        let informer = Informer::new(watch, source, outlet, context).resume(resume);
        let thread = Joined::spawn("informer", move || informer.run()).unwrap();
        Self { target, selection, told, skips, stop, interrupt, thread: Some(thread) }
    }

    /// Whether the informer has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(Joined::is_finished)
    }

    /// Ends the informer. Nothing is told any more.
    pub(super) fn end(&mut self) {
        self.stop.request();
        self.interrupt.interrupt();
        self.thread = None;
    }

    /// Ends the informer. Gives what it told.
    pub(super) fn stop(mut self) -> Told {
        self.end();
        self.told.clone()
    }
}

/// Few watches, as what is not told cannot be wrong.
const SKIPS_ONE_IN: u64 = 4;

/// Asks for so few objects a page that a handful of them fills several.
struct SmallPages<S> {
    source: S,
    objects: u32,
}

impl<S: ListWatch> ListWatch for SmallPages<S> {
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error> {
        self.source.list(&PageRequest { limit: page.limit.min(self.objects), ..*page })
    }

    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        self.source.watch(start, timeout)
    }

    fn lookup(&mut self, proof: Proof) -> Result<Served, Error> {
        self.source.lookup(proof)
    }

    fn version(&mut self) -> Result<Option<ServerVersion>, Error> {
        self.source.version()
    }

    fn asks_everywhere(&self) -> bool {
        self.source.asks_everywhere()
    }

    fn received(&self) -> Arc<AtomicU64> {
        self.source.received()
    }

    fn renew(&mut self) {
        self.source.renew();
    }

    fn interrupter(&self) -> Option<Interrupt> {
        self.source.interrupter()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.end();
    }
}

/// No pause is worth waiting for, and no watch lasts. Some outlast [`READ_TICK`](faro::client::READ_TICK): one that ends sooner
/// without a word is listed again before long, which would hide that nothing was probed.
fn hasty() -> Limits {
    let moment = Duration::from_millis(10);
    Limits {
        watch_timeout_min: Duration::from_secs(1),
        watch_timeout_max: Duration::from_secs(8),
        silence_margin: moment * 20,
        initial_events_end: moment * 30,
        // A simulated server is restored within milliseconds, so that no reconnect is too soon for that.
        unchecked: Duration::ZERO,
        slow: moment,
        backoff_first: moment,
        backoff_max: moment * 5,
        forbidden_max: moment * 5,
        retry_after_max: moment,
        second_look: moment,
        absent_check: moment,
        reconnect_spread: moment,
        dirty_delay: moment,
        dirty_interval: moment,
        ..Limits::default()
    }
}
