//! Faro is killed again and again while objects change: every change is one line all the same.

use crate::chaos::judge::{Forgetting, Verdict, judge};
use crate::chaos::killer::{Kept, Killed, Killing};
use crate::chaos::load::{Load, RealScribe, Scribe};
use crate::chaos::story::Story;
use crate::chaos::truth::{Act, Deed, Key, Selection, Truth};
use crate::cluster::Cluster;
use crate::control_plane::Options;
use crate::daemon::{Daemon, Setup};
use crate::runner::{Stage, say};
use crate::tcp_proxy::TcpProxy;
use crate::wait::pause;
use crate::writer::widgets_definition;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

/// 2,000 changes to 200 objects in a minute; 30 kills, 20 cuts, and the API server is restarted once.
pub(crate) fn nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let ordeal = Ordeal { seconds: 60, changes: 2_000, objects: 200, kills: 30, cuts: 20, restarts: true, seed: seed() };
    ordeal.on_real(&cluster);
}

/// The same, short enough for every run of all scenarios.
pub(crate) fn nothing_is_lost_or_doubled_in_15_s_of_kills(stage: &Stage) {
    let ordeal = Ordeal { seconds: 15, changes: 500, objects: 50, kills: 8, cuts: 4, restarts: false, seed: seed() };
    ordeal.on_real(stage.shared());
}

/// What befalls the daemon, and how much is written meanwhile.
#[derive(Clone, Debug)]
struct Ordeal {
    seconds: u64,
    changes: usize,
    objects: usize,
    kills: usize,
    cuts: usize,
    restarts: bool,
    seed: u64,
}

/// `CHAOS_SEED`, or another one each time.
fn seed() -> u64 {
    std::env::var("CHAOS_SEED").map_or_else(|_| fastrand::u64(0..1_000_000), |seed| seed.parse().expect("CHAOS_SEED is a number"))
}

/// The watches, and the namespaces in which is written: everything, by label, by namespace; three kinds.
fn watches(namespaces: [&str; 2]) -> Vec<Selection> {
    let watch = |gvr, namespace: Option<&str>, label| Selection { gvr, namespace: namespace.map(str::to_owned), label };
    vec![
        watch("v1/configmaps", None, None),
        watch("v1/configmaps", None, Some("front")),
        watch("v1/configmaps", Some(namespaces[0]), None),
        watch("chaos.faro.test/v1/widgets", None, None),
        watch("coordination.k8s.io/v1/leases", Some(namespaces[1]), Some("front")),
    ]
}

fn config(watches: &[Selection]) -> String {
    let entry = |watch: &Selection| {
        let namespace = watch.namespace.as_ref().map(|name| format!(", namespace_names: [{name}]")).unwrap_or_default();
        let label = watch.label.map(|label| format!(", label_selector: tier={label}")).unwrap_or_default();
        format!("- {{gvr: {}{namespace}{label}}}\n", watch.gvr)
    };
    format!("resources:\n{}", watches.iter().map(entry).collect::<String>())
}

impl Ordeal {
    fn load(&self, namespaces: [&str; 2]) -> Load {
        let place = |gvr: &str, index: usize| (gvr.to_owned(), namespaces[index].to_owned());
        let places = vec![
            place("v1/configmaps", 0),
            place("v1/configmaps", 1),
            place("chaos.faro.test/v1/widgets", 0),
            place("coordination.k8s.io/v1/leases", 1),
        ];
        Load { places, objects: self.objects, changes: self.changes, duration: self.duration(), seed: self.seed }
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn killing(&self) -> Killing {
        Killing { kills: self.kills, duration: self.duration(), seed: self.seed }
    }

    fn on_real(&self, cluster: &Cluster) {
        let namespaces = ["left", "right"].map(|stem| cluster.namespace(stem));
        let namespaces = [namespaces[0].as_str(), namespaces[1].as_str()];
        cluster.kubectl.create(&widgets_definition());
        cluster.kubectl.run("wait --for=condition=established --timeout=30s crd widgets.chaos.faro.test");
        let watches = watches(namespaces);
        let network = TcpProxy::to(cluster.own().port());
        let text = fs::read_to_string(cluster.admin()).expect("the kubeconfig was written by us");
        let kubeconfig = cluster.write_kubeconfig(&text.replace(&cluster.server, &network.url()));
        let setup = Setup::new(cluster, &config(&watches)).kubeconfig(&kubeconfig).arguments("--log-level info").release();
        let began = Instant::now();
        let mut kept = Kept::start(setup.clone(), began);
        let (acts, window) = std::thread::scope(|scope| {
            let hands = (0..HANDS).map(|_| RealScribe::new(&cluster.writer)).collect();
            let load = self.load(namespaces);
            let writing = scope.spawn(move || load.run(hands, began));
            let cutting = scope.spawn(|| self.cut(&network));
            let restarting = scope.spawn(|| self.restarts.then(|| self.restart(cluster, began)));
            self.killing().run(&mut kept);
            cutting.join().expect("the network is cut and mended");
            (writing.join().expect("all is written"), restarting.join().expect("the server comes back"))
        });
        let (daemon, killed) = kept.into_daemon();
        let beginning = killed.first_ready.unwrap_or(began.elapsed()) + LATE;
        let forgetting = Forgetting { beginning, windows: window.into_iter().collect() };
        let aftermath = Aftermath { ordeal: self, setup, watches, forgetting };
        aftermath.check(daemon, &killed, acts, &*RealScribe::new(&cluster.writer), began);
    }

    /// Cuts all connections at random moments, for up to half a second.
    fn cut(&self, network: &TcpProxy) {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0xC0);
        let each = self.duration() / u32::try_from(self.cuts.max(1)).expect("cuts are few");
        for _ in 0..self.cuts {
            let before = each.mul_f64(random.f64() * 0.8);
            pause(before);
            network.cut();
            let away = Duration::from_millis(random.u64(0..500)).min(each - before);
            pause(away);
            network.mend();
            pause(each.saturating_sub(before + away));
        }
    }

    /// Kills the API server half-way and starts it again. Gives the time whose writes it may have forgotten: it kept them in memory.
    fn restart(&self, cluster: &Cluster, began: Instant) -> RangeInclusive<Duration> {
        pause(self.duration() / 2);
        let killed = began.elapsed();
        cluster.own().kill_api_server();
        pause(Duration::from_secs(1));
        cluster.own().start_api_server();
        cluster.wait_until_ready();
        killed.saturating_sub(LATE)..=began.elapsed() + RELIST_LIMIT
    }
}

/// A daemon that ran all the time has told of everything older.
const LATE: Duration = Duration::from_secs(3);

/// By then a daemon that is killed every other second has noticed that history is gone.
const RELIST_LIMIT: Duration = Duration::from_secs(10);

const HANDS: usize = 4;

/// What is left to be looked at.
struct Aftermath<'a> {
    ordeal: &'a Ordeal,
    setup: Setup,
    watches: Vec<Selection>,
    forgetting: Forgetting,
}

impl Aftermath<'_> {
    /// Waits until the daemon has caught up, and once more for a last write to each kind, which comes after whatever would be told
    /// too much; ends it and judges its files.
    fn check(&self, daemon: Daemon, killed: &Killed, mut acts: Vec<Act>, scribe: &dyn Scribe, began: Instant) {
        self.wait_until_caught_up(&acts);
        let last = |watch: &Selection| {
            let namespace = watch.namespace.clone().unwrap_or_else(|| self.watches[2].namespace.clone().expect("one is named"));
            let key: Key = (watch.gvr.to_owned(), namespace, "last".to_owned());
            let (uid, version) = scribe.create(&key, "front", "last");
            Act { key, deed: Deed::Create, uid, version: Some(version), label: "front".to_owned(), at: began.elapsed() }
        };
        acts.extend(self.watches[2..].iter().map(last));
        self.wait_until_caught_up(&acts);
        daemon.stop_unread();
        let verdict = self.verdict(&acts);
        let Ordeal { cuts, restarts, seed, .. } = self.ordeal;
        let Killed { kills, early, failed_starts, longest_unready, .. } = killed;
        say(&format!(
            "    seed {seed}: kills {kills} ({early} within 100 ms of a start), cuts {cuts}, API server restarts {}, \
             starts that failed {failed_starts}, longest life unready {longest_unready:.1?}, changes {}: {verdict}\n",
            u8::from(*restarts),
            acts.len(),
        ));
        if verdict.faults() > 0 {
            let kept = keep(self.setup.folder(), &acts, *seed);
            panic!("{verdict}; all files are in {kept}\n{}", verdict.findings.join("\n"));
        }
    }

    /// Ends early where waiting cannot help.
    fn wait_until_caught_up(&self, acts: &[Act]) {
        let end = Instant::now() + CATCH_UP_LIMIT;
        loop {
            let verdict = self.verdict(acts);
            if verdict.lost == 0 || verdict.faults() > verdict.lost + verdict.torn || Instant::now() > end {
                return;
            }
            pause(Duration::from_millis(250));
        }
    }

    fn verdict(&self, acts: &[Act]) -> Verdict {
        let truth = Truth::new(acts.iter().cloned());
        judge(&Story::read(&[&self.setup.output()]), &truth, &self.watches, &self.forgetting)
    }
}

const CATCH_UP_LIMIT: Duration = Duration::from_secs(45);

/// Copies what a failure left to where it outlives the run; gives the place.
fn keep(folder: &Path, acts: &[Act], seed: u64) -> String {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}-{}", std::process::id()));
    copy(folder, &place);
    let acts: String = acts.iter().map(|act| format!("{act:?}\n")).collect();
    fs::write(place.join("acts.txt"), acts).expect("the target folder is ours");
    place.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder is ours");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("the target folder is ours");
        }
    }
}
