//! Faro is killed, and what happens until it is started again is told, whether the server still has the history or not.

use super::field::Field;
use crate::chaos::aftermath::Aftermath;
use crate::chaos::hand::{Hand, LABELS};
use crate::chaos::judge::Forgetting;
use crate::chaos::killer::Kept;
use crate::chaos::story::{Story, count};
use crate::chaos::truth::{Key, Truth, differences};
use crate::control_plane::Options;
use crate::daemon::Setup;
use crate::lines::Line;
use crate::runner::{Stage, say};
use crate::wait::{SOON, eventually};
use std::time::{Duration, Instant};

/// Every delete is told once, each last state once, and nothing of what stayed as it was.
pub(crate) fn what_happened_while_faro_was_down_is_told_once_after_a_compaction(stage: &Stage) {
    run(stage, true);
}

/// Every single change is told.
pub(crate) fn what_happened_while_faro_was_down_is_told_change_by_change(stage: &Stage) {
    run(stage, false);
}

fn run(stage: &Stage, is_compacted: bool) {
    // Without its watch cache the server has only etcd's history, which a compaction ends.
    let cluster = stage.own(Options { api_server_flags: &["--watch-cache=false"] });
    let field = Field::on(&cluster);
    let setup = Setup::new(&cluster, &field.config()).arguments("--log-level info").release();
    let began = Instant::now();
    let mut hand = Hand::real(&cluster.writer, began);
    let objects: Vec<(Key, &str)> = (0..OBJECTS).map(|index| object(&field, index)).collect();
    let mut kept = Kept::start(setup.clone(), began);
    kept.wait_until_ready();
    objects.iter().for_each(|(key, label)| hand.create(key, label, "before"));
    let told: usize = told(&field, &hand);
    let lines = || count(&setup.output());
    eventually(SOON, &format!("{told} lines before the kill"), || lines() >= told + of_the_cluster(&setup));
    // A state that has not yet the end of the first list makes Faro list again, and compare.
    kept.wait_until_settled();
    let then = began.elapsed();
    kept.stay_down(|| {
        objects.iter().enumerate().for_each(|(index, (key, label))| change(&mut hand, index, key, label));
        if is_compacted {
            cluster.own().compact();
        }
    });
    let now = began.elapsed();
    let windows = if is_compacted { vec![then..=now] } else { Vec::new() };
    let forgetting = Forgetting { beginning: Duration::ZERO, windows };
    let truth = Truth::new(hand.acts.iter().cloned());
    let expected: usize = field.watches.iter().map(|watch| differences(&truth, watch, then)).sum();
    let steps: usize = field.watches.iter().flat_map(|watch| truth.stories(watch).into_values()).map(|steps| steps.len()).sum();
    let aftermath = Aftermath {
        kept,
        setup: &setup,
        moved: Vec::new(),
        watches: &field.watches,
        forgetting,
        acts: std::mem::take(&mut hand.acts),
    };
    let findings = aftermath.judge(hand, &field.last());
    say(&format!("    {} changes while down: {}\n", OBJECTS - OBJECTS / DEEDS, findings.verdict));
    findings.demand_none();
    let wanted = if is_compacted { (expected, expected) } else { (steps - told, 0) };
    let story = Story::read(&[setup.output()]);
    let after: Vec<_> = story.lines.iter().filter(|line| is_ours(line)).skip(told).collect();
    let inferred = after.iter().filter(|line| line.inferred).count();
    assert_eq!((after.len(), inferred), wanted, "lines for what happened while it was down, and those of them that are inferred");
}

/// The object and its label; every deed meets every place and label.
fn object(field: &Field, index: usize) -> (Key, &'static str) {
    let (gvr, namespace) = field.places[index % field.places.len()].clone();
    ((gvr, namespace, format!("object-{index:02}")), LABELS[index / (field.places.len() * DEEDS) % LABELS.len()])
}

fn change(hand: &mut Hand, index: usize, key: &Key, label: &str) {
    let other = LABELS[usize::from(label == LABELS[0])];
    match index / 4 % DEEDS {
        0 => {}
        1 => {
            hand.update(key, label, "once");
            hand.update(key, label, "twice");
        }
        2 => hand.delete(key, label),
        3 => {
            hand.update(key, label, "once");
            hand.delete(key, label);
            hand.create(key, label, "again");
        }
        4 => hand.update(key, other, "once"),
        5 => {
            hand.update(key, other, "once");
            hand.update(key, label, "twice");
        }
        _ => {
            // Came and went, unseen.
            let unseen = (key.0.clone(), key.1.clone(), format!("unseen-{index}"));
            hand.create(&unseen, label, "once");
            hand.delete(&unseen, label);
        }
    }
}

/// How many lines all watches have for what was done so far.
fn told(field: &Field, hand: &Hand) -> usize {
    let truth = Truth::new(hand.acts.iter().cloned());
    field.watches.iter().map(|watch| truth.stories(watch).values().map(Vec::len).sum::<usize>()).sum()
}

/// How many lines there are of what the cluster itself made.
fn of_the_cluster(setup: &Setup) -> usize {
    Story::read(&[setup.output()]).lines.iter().filter(|line| !is_ours(line)).count()
}

/// But for the last object of all.
fn is_ours(line: &Line) -> bool {
    line.name.starts_with("object-") || line.name.starts_with("unseen-")
}

const DEEDS: usize = 7;
const OBJECTS: usize = 4 * DEEDS * 2;
