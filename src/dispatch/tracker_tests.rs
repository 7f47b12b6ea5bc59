//! A watch's tickets: the ordered prefix, its bounds, and what a checkpoint is told of it.

use super::book::{Reached, TICKETS_KEPT, WINDOW};
use super::tests::{event as dispatch_event, ledger, watch};
use super::*;
use crate::api::{Anchor, Change, Identity, ResourceVersion};
use crate::event::{Credit, Mark};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn version(number: u64) -> ResourceVersion {
    ResourceVersion::new(&number.to_string()).unwrap()
}

fn event(ledger: &Arc<Ledger>, number: u64) -> Completion {
    assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Granted);
    register(ledger, Some(version(number)), None)
}

/// A ticket that the export has to accept.
fn register(ledger: &Arc<Ledger>, version: Option<ResourceVersion>, change: Option<Change>) -> Completion {
    reach(ledger, Reached { version, change, ..Reached::default() })
}

fn reach(ledger: &Arc<Ledger>, reached: Reached) -> Completion {
    let sequence = ledger.register_reached(Receivers::EXPORT, reached, 0);
    ledger.completion(sequence, Receivers::EXPORT, 0, SystemTime::now())
}

fn told(ledger: &Ledger) -> String {
    let accepted = ledger.accepted();
    let version = accepted.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    if accepted.listing { format!("{version} listing") } else { version }
}

#[test]
fn the_version_stands_still_until_everything_before_it_is_accepted() {
    let ledger = ledger();
    ledger.mark(Mark::Listing);
    assert_eq!(told(&ledger), "none listing");
    let (a, b) = (event(&ledger, 7), event(&ledger, 3));
    ledger.mark(Mark::Listed(version(10), None));
    let c = event(&ledger, 11);
    ledger.mark(Mark::Bookmark(version(20)));
    c.complete();
    b.complete();
    assert_eq!(told(&ledger), "none listing");
    a.complete();
    assert_eq!(told(&ledger), "20");
    ledger.mark(Mark::Listing);
    event(&ledger, 25).complete();
    assert_eq!(told(&ledger), "20 listing");
    ledger.mark(Mark::Listed(version(30), None));
    assert_eq!(told(&ledger), "30");
    event(&ledger, 31).complete();
    assert_eq!(told(&ledger), "31");
}

#[test]
fn a_first_list_that_ends_without_a_place_to_go_on_from_has_ended_and_is_under_way() {
    let ledger = ledger();
    ledger.mark(Mark::Listing);
    let initial = event(&ledger, 7);
    ledger.mark(Mark::FirstListed(version(10)));
    assert_eq!(told(&ledger), "none listing");
    initial.complete();
    assert_eq!(told(&ledger), "10 listing");
    event(&ledger, 11).complete();
    ledger.mark(Mark::Bookmark(version(12)));
    assert_eq!((told(&ledger).as_str(), ledger.book().has_list_ended()), ("10 listing", false));
    ledger.mark(Mark::Listed(version(14), None));
    assert_eq!((told(&ledger).as_str(), ledger.book().has_list_ended()), ("14", true));
}

fn anchor(number: u64) -> Option<Anchor> {
    Anchor::from_texts([&number.to_string(), "0123456789abcdef", "M", ""])
}

#[test]
fn the_newest_event_follows_what_was_accepted_and_bookmarks_leave_it() {
    let ledger = ledger();
    let event = |number| {
        assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Granted);
        reach(&ledger, Reached { version: Some(version(number)), anchor: anchor(number), ..Reached::default() })
    };
    let accepted = || (ledger.accepted().anchor, ledger.accepted().history);
    ledger.mark(Mark::Listing);
    event(7).complete();
    assert_eq!(accepted(), (None, 1), "what a list told is no place to go on from");
    ledger.mark(Mark::Listed(version(10), anchor(9)));
    assert_eq!(accepted(), (anchor(9), 1));
    let (a, b) = (event(11), event(12));
    ledger.mark(Mark::Bookmark(version(20)));
    b.complete();
    assert_eq!(accepted(), (anchor(9), 1));
    a.complete();
    assert_eq!((accepted(), ledger.accepted().version), ((anchor(12), 1), Some(version(20))));
    let open = event(21);
    ledger.mark(Mark::OtherHistory(2));
    ledger.mark(Mark::Listing);
    assert_eq!((accepted(), told(&ledger).as_str()), ((anchor(12), 1), "20"));
    open.complete();
    assert_eq!((accepted(), told(&ledger).as_str()), ((anchor(21), 2), "21 listing"));
    ledger.mark(Mark::Listed(version(5), None));
    assert_eq!((accepted(), told(&ledger).as_str()), ((None, 2), "5"), "an empty list has no newest object");
}

#[test]
fn events_without_an_anchor_count_once_the_newest_of_them_has_one() {
    let ledger = ledger();
    let event = |number, is_unsealed| {
        assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Granted);
        let anchor = if is_unsealed { None } else { anchor(number) };
        reach(&ledger, Reached { version: Some(version(number)), anchor, is_unsealed, ..Reached::default() })
    };
    let accepted = || (told(&ledger), ledger.accepted().anchor, ledger.progress().sequence);
    event(7, false).complete();
    let (a, b) = (event(8, true), event(9, true));
    a.complete();
    let before = ("7".to_owned(), anchor(7), 1);
    assert_eq!(accepted(), before, "it may not be gone on from");
    ledger.seal(&anchor(9).unwrap());
    assert_eq!(accepted(), before, "nobody knows the event of its version");
    b.complete();
    assert_eq!(accepted(), ("9".to_owned(), anchor(9), 3));
    let (c, d, e) = (event(10, true), event(11, true), event(12, true));
    ledger.seal(&anchor(12).unwrap());
    let f = event(13, false);
    [e, f, c].into_iter().for_each(Completion::complete);
    assert_eq!(accepted(), ("9".to_owned(), anchor(9), 3));
    d.complete();
    assert_eq!(accepted(), ("13".to_owned(), anchor(13), 7));
    ledger.mark(Mark::Listing);
    event(14, true).complete();
    ledger.seal(&anchor(14).unwrap());
    assert_eq!(accepted(), ("13 listing".to_owned(), anchor(13), 9), "within a list nothing is gone on from");
}

#[test]
fn what_is_dropped_is_counted_and_holds_the_prefix() {
    let ledger = ledger();
    let (a, b) = (event(&ledger, 1), event(&ledger, 2));
    drop(a);
    b.complete();
    assert_eq!((told(&ledger).as_str(), ledger.unfinished(), ledger.abandoned()), ("none", 1, 1));
    ledger.wait_until_settled(Instant::now() + Duration::from_secs(60));
}

#[test]
fn marks_in_a_row_are_kept_as_one() {
    let ledger = ledger();
    let open = event(&ledger, 1);
    for round in 0..1000 {
        ledger.mark(Mark::Listing);
        ledger.mark(Mark::Listed(version(round), None));
        ledger.mark(Mark::Bookmark(version(5000 + round)));
    }
    assert_eq!(ledger.book().tickets().len(), 2);
    open.complete();
    assert_eq!(told(&ledger), "5999");
}

#[test]
fn one_open_event_lets_others_go_on_for_a_bounded_while() {
    let ledger = ledger();
    let open = event(&ledger, 0);
    let mut number = 0;
    while ledger.take_credit(Duration::ZERO) == Credit::Granted {
        number += 1;
        register(&ledger, Some(version(number)), None).complete();
    }
    assert_eq!(number as usize, WINDOW - 1 + CREDITS_PER_WATCH - 1);
    open.complete();
    assert_eq!(told(&ledger), number.to_string());
    assert!(ledger.book().tickets().capacity() <= 4 * TICKETS_KEPT);
    let rest: Vec<_> = (0..CREDITS_PER_WATCH as u64).map(|more| event(&ledger, number + more)).collect();
    assert_eq!(ledger.take_credit(Duration::ZERO), Credit::Exhausted);
    drop(rest);
}

/// The same words as the ledger's, kept in full and evaluated from the start.
#[derive(Default)]
struct Naive(Vec<(bool, Option<Mark>, u64)>);

impl Naive {
    fn told(&self) -> String {
        let (mut version, mut listing) = ("none".to_owned(), false);
        for (_, mark, number) in self.0.iter().take_while(|(complete, ..)| *complete) {
            match mark {
                None if listing => {}
                None => version = number.to_string(),
                Some(Mark::Listing | Mark::OtherHistory(_)) => listing = true,
                Some(Mark::FirstListed(listed)) => (version, listing) = (listed.to_string(), true),
                Some(Mark::Listed(listed, _)) => (version, listing) = (listed.to_string(), false),
                Some(Mark::Bookmark(_)) if listing => {}
                Some(Mark::Bookmark(bookmark)) => version = bookmark.to_string(),
            }
        }
        if listing { format!("{version} listing") } else { version }
    }
}

#[test]
fn in_whatever_order_events_are_accepted_the_prefix_is_the_naive_one() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (ledger, mut naive, mut open) = (ledger(), Naive::default(), Vec::new());
        for number in 1..=200 {
            let mark = match random.u8(..9) {
                8 => Some(Mark::FirstListed(version(number))),
                0 => Some(Mark::Listing),
                1 => Some(Mark::Listed(version(number), None)),
                2 => Some(Mark::Bookmark(version(number))),
                3..6 => {
                    open.push((naive.0.len(), event(&ledger, number)));
                    naive.0.push((false, None, number));
                    continue;
                }
                6..8 if open.is_empty() => continue,
                6.. => {
                    let (index, completion) = open.swap_remove(random.usize(..open.len()));
                    completion.complete();
                    naive.0[index].0 = true;
                    None
                }
            };
            if let Some(mark) = mark {
                naive.0.push((true, Some(mark.clone()), number));
                ledger.mark(mark);
            }
            assert_eq!(told(&ledger), naive.told(), "seed {seed}, step {number}");
            assert_eq!(ledger.unfinished(), open.len() as u64, "seed {seed}, step {number}");
        }
    }
}

/// One ticket as the naive model keeps it: accepted or not, where its line is, and the name that it makes known.
struct Line(Option<u64>, bool, String);

fn keeping(most: usize) -> (Arc<Ledger>, Arc<Backlog>) {
    let backlog = Arc::new(Backlog::of(most));
    let ledger = Arc::into_inner(ledger()).unwrap().resumed(Resumed::default(), Arc::clone(&backlog));
    (Arc::new(ledger), backlog)
}

fn known(name: &str, number: u64) -> Change {
    Change::Known(Identity::of(&dispatch_event(&watch("v1/pods"), name, number).metadata()))
}

fn name(change: &Change) -> String {
    let Change::Known(identity) = change else { panic!("only known objects were registered") };
    format!("{}@{}", identity.key().rsplit('\0').next().unwrap(), identity.version())
}

#[test]
fn a_checkpoint_gets_what_the_prefix_changed_and_the_lines_beyond_it() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (ledger, backlog) = keeping(40);
        let (mut lines, mut open, mut taken) = (Vec::<Line>::new(), Vec::new(), 0);
        for number in 1..=300 {
            match random.u8(..8) {
                0 => {
                    let progress = ledger.progress();
                    let changes: Vec<String> = progress.changes.iter().map(name).collect();
                    let expected: Vec<&str> = lines[taken..taken + changes.len()].iter().map(|line| line.2.as_str()).collect();
                    assert_eq!(changes, expected, "seed {seed}, step {number}");
                    taken += changes.len();
                    assert!(lines[..taken].iter().all(|line| line.1), "seed {seed}: only what was accepted");
                    let beyond = lines[taken..].iter().filter(|line| line.1).filter_map(|line| line.0).min();
                    assert_eq!(progress.written_beyond, beyond, "seed {seed}, step {number}");
                }
                1..5 if ledger.take_credit(Duration::ZERO) == Credit::Granted => {
                    let change = known("web", number);
                    lines.push(Line(None, false, name(&change)));
                    open.push((lines.len() - 1, register(&ledger, Some(version(number)), Some(change))));
                }
                1.. if open.is_empty() => {}
                1.. => {
                    let (index, completion) = open.swap_remove(random.usize(..open.len()));
                    let at = random.bool().then_some(number);
                    Completion::complete_all([completion], at);
                    (lines[index].0, lines[index].1) = (at, true);
                }
            }
            assert!(backlog.waiting() <= 40, "seed {seed}, step {number}");
        }
        drop(open);
    }
}

#[test]
fn changes_that_no_checkpoint_takes_use_up_the_credits() {
    let (ledger, backlog) = keeping(10);
    let mut accepted = 0;
    while ledger.take_credit(Duration::ZERO) == Credit::Granted {
        accepted += 1;
        let change = Some(known("web", accepted));
        register(&ledger, Some(version(accepted)), change).complete();
    }
    assert_eq!((accepted as usize, backlog.waiting()), (10 + CREDITS_PER_WATCH, 10));
    assert_eq!(told(&ledger), "10");
    let progress = ledger.progress();
    assert_eq!((progress.accepted.version, progress.changes.len()), (Some(version(10)), 10));
    assert_eq!((told(&ledger).as_str(), ledger.take_credit(Duration::ZERO)), ("20", Credit::Granted));
}

#[test]
fn a_checkpoint_learns_of_a_list_that_began_and_ended_between_two_of_them() {
    let (ledger, _) = keeping(10);
    assert!(!ledger.progress().listed);
    ledger.mark(Mark::Listing);
    ledger.mark(Mark::Listed(version(7), None));
    let progress = ledger.progress();
    assert!(progress.listed && !progress.accepted.listing);
    assert!(!ledger.progress().listed);
}

#[test]
fn a_checkpoint_is_due_at_once_when_a_list_has_ended_and_all_of_it_was_accepted() {
    let (ledger, backlog) = keeping(10);
    ledger.mark(Mark::Listing);
    let open = event(&ledger, 7);
    ledger.mark(Mark::Listed(version(9), None));
    assert!(backlog.due().try_recv().is_err());
    open.complete();
    assert!(backlog.due().try_recv().is_ok());
}
