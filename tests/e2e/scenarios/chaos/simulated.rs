//! The same kills on a simulated server that misbehaves by seed: answers are cut, stalled, refused, history is forgotten.

use super::field::{Field, seed};
use super::kills::{HANDS, Ordeal};
use crate::chaos::aftermath::Aftermath;
use crate::chaos::hand::Hand;
use crate::chaos::judge::Forgetting;
use crate::chaos::killer::Kept;
use crate::daemon::Setup;
use crate::runner::{Stage, say};
use crate::wait::pause;
use faro::sim::{Cluster, Fault, Faults, Release};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One seed after the other: `CHAOS_SEED` and those that follow.
pub(crate) fn nothing_is_lost_or_doubled_on_a_simulated_server_with_faults(_: &Stage) {
    let first = seed();
    (0..SEEDS).for_each(|index| run(first + index));
}

const SEEDS: u64 = 3;

fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let ordeal = Ordeal { seconds: 10, changes: 1_000, objects: 60, kills: 15, cuts: 5, restarts: 1, seed };
    let release = [Release::V1_20, Release::V1_33, Release::V1_36][random.usize(0..3)];
    let builder = Cluster::builder().seed(seed).release(release).tls(random.bool());
    let cluster = Arc::new(builder.bookmark_interval(BOOKMARKS).start().expect("loopback has free ports"));
    let field = Field::on_simulated(&cluster);
    let setup = Setup::with_config(&field.config()).kubeconfig(cluster.kubeconfig()).arguments("--log-level info").release();
    cluster.set_faults(faults(seed, &mut random));
    let began = Instant::now();
    let mut kept = Kept::start(setup.clone(), began);
    let hand = || Hand::simulated(&cluster, began);
    let acts = std::thread::scope(|scope| {
        let (load, hands) = (ordeal.load(&field), (0..HANDS).map(|_| hand()).collect());
        let writing = scope.spawn(move || load.run(hands));
        let harming = scope.spawn(|| harm(&cluster, &ordeal));
        ordeal.killing().run(&mut kept);
        harming.join().expect("the cluster is harmed");
        writing.join().expect("all is written")
    });
    let struck: u64 = cluster.faults_struck().values().sum();
    cluster.set_faults(Faults::none());
    kept.wait_until_settled();
    let forgetting = Forgetting { beginning: kept.killed.beginning(), windows: vec![Duration::ZERO..=Duration::MAX] };
    let watches = &field.watches;
    let aftermath = Aftermath { kept, setup: &setup, moved: Vec::new(), watches, forgetting, acts };
    let findings = aftermath.judge(hand(), &field.last());
    say(&format!("    {release:?}, {struck} faults struck\n"));
    ordeal.say(&findings);
    findings.demand_none();
}

/// All but those that a line is lost by until the server is listed again, a minute later, and those that concern another login.
fn faults(seed: u64, random: &mut fastrand::Rng) -> Faults {
    let left_out = [Fault::Garbage, Fault::LongLine, Fault::Unauthorized];
    let kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|kind| !left_out.contains(kind) && random.bool()).collect();
    let faults = Faults::only(&kinds).seed(seed).one_in(random.u32(3..12));
    faults.pause(Duration::from_millis(300)).half_open_limit(Duration::from_secs(2))
}

/// Cuts, forgets and restarts, evenly spread.
fn harm(cluster: &Cluster, ordeal: &Ordeal) {
    let mut random = fastrand::Rng::with_seed(ordeal.seed ^ 0xFA);
    let turns = ordeal.cuts * 2 + ordeal.restarts;
    for turn in 0..turns {
        pause(ordeal.duration().mul_f64(random.f64() / turns as f64));
        match turn {
            _ if turn == turns / 2 => cluster.restart().expect("the port is free again"),
            _ if turn % 2 == 0 => cluster.cut_connections(),
            _ => cluster.compact(),
        }
        pause(ordeal.duration().mul_f64(random.f64() / turns as f64));
    }
}

const BOOKMARKS: Duration = Duration::from_millis(200);
