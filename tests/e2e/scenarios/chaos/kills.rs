//! Faro is killed again and again while objects change: every change is one line all the same.

use super::field::{Field, seed};
use crate::chaos::aftermath::Aftermath;
use crate::chaos::hand::Hand;
use crate::chaos::judge::Forgetting;
use crate::chaos::killer::{Kept, Killed, Killing};
use crate::chaos::load::Load;
use crate::cluster::Cluster;
use crate::control_plane::Options;
use crate::daemon::Setup;
use crate::runner::{Stage, say};
use crate::tcp_proxy::TcpProxy;
use crate::wait::pause;
use std::fs;
use std::time::{Duration, Instant};

/// 2,000 changes to 200 objects in a minute; 30 kills, 20 cuts, and the API server is restarted once.
pub(crate) fn nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let ordeal = Ordeal { seconds: 60, changes: 2_000, objects: 200, kills: 30, cuts: 20, restarts: 1, seed: seed() };
    ordeal.on_real(&cluster);
}

/// The same, short enough for every run of all scenarios.
pub(crate) fn nothing_is_lost_or_doubled_in_15_s_of_kills(stage: &Stage) {
    let ordeal = Ordeal { seconds: 15, changes: 500, objects: 50, kills: 8, cuts: 4, restarts: 0, seed: seed() };
    ordeal.on_real(stage.shared());
}

/// What befalls the daemon, and how much is written meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Ordeal {
    pub(super) seconds: u64,
    pub(super) changes: usize,
    pub(super) objects: usize,
    pub(super) kills: usize,
    pub(super) cuts: usize,
    /// Of the API server.
    pub(super) restarts: usize,
    pub(super) seed: u64,
}

impl Ordeal {
    fn on_real(&self, cluster: &Cluster) {
        let field = Field::on(cluster);
        let network = TcpProxy::to(cluster.own().port());
        let text = fs::read_to_string(cluster.admin()).expect("the kubeconfig was written by us");
        let kubeconfig = cluster.write_kubeconfig(&text.replace(&cluster.server, &network.url()));
        let setup = Setup::new(cluster, &field.config()).kubeconfig(&kubeconfig).arguments("--log-level info").release();
        let began = Instant::now();
        let mut kept = Kept::start(setup.clone(), began);
        let hand = || Hand::real(&cluster.writer, began);
        let (acts, restarts) = std::thread::scope(|scope| {
            let (load, hands) = (self.load(&field), (0..HANDS).map(|_| hand()).collect());
            let writing = scope.spawn(move || load.run(hands));
            let cutting = scope.spawn(|| self.cut(&network));
            let restarting = scope.spawn(|| (0..self.restarts).map(|_| self.restart(cluster, began)).collect::<Vec<_>>());
            self.killing().run(&mut kept);
            cutting.join().expect("the network is cut and mended");
            (writing.join().expect("all is written"), restarting.join().expect("the server comes back"))
        });
        kept.wait_until_settled();
        let windows = restarts.into_iter().map(|(lost, back)| kept.killed.forgotten(lost, back)).collect();
        let forgetting = Forgetting { beginning: kept.killed.beginning(), windows };
        let watches = &field.watches;
        let aftermath = Aftermath { kept, setup: &setup, moved: Vec::new(), watches, forgetting, acts };
        let findings = aftermath.judge(hand(), &field.last());
        self.say(&findings);
        findings.demand_none();
    }

    pub(super) fn load(&self, field: &Field) -> Load {
        let Self { objects, changes, seed, .. } = *self;
        Load { places: field.places.clone(), objects, changes, duration: self.duration(), seed }
    }

    pub(super) fn killing(&self) -> Killing {
        Killing { kills: self.kills, duration: self.duration(), seed: self.seed }
    }

    pub(super) fn say(&self, findings: &crate::chaos::aftermath::Findings) {
        let Self { cuts, restarts, seed, .. } = self;
        let Killed { kills, early, failed_starts, slowest_start, .. } = findings.killed;
        say(&format!(
            "    seed {seed}: kills {kills} ({early} within 100 ms of a start), cuts {cuts}, API server restarts {restarts}, starts that \
             failed {failed_starts}, slowest start {slowest_start:.1?}, changes {}: {}\n",
            findings.acts.len(),
            findings.verdict
        ));
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
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

    /// Kills the API server half-way and starts it again; when that was, and when it answered again. What it remembers of
    /// history it has in memory.
    fn restart(&self, cluster: &Cluster, began: Instant) -> (Duration, Duration) {
        pause(self.duration() / 2);
        let lost = began.elapsed();
        cluster.own().kill_api_server();
        pause(Duration::from_secs(1));
        cluster.own().start_api_server();
        cluster.wait_until_ready();
        (lost, began.elapsed())
    }
}

pub(super) const HANDS: usize = 4;
