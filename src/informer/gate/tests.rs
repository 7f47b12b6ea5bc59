//! The gate with real threads.

use super::*;
use crate::lifecycle::Joined;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn never_more_than_the_limit_are_inside_and_all_get_their_turn() {
    let gate = ListGate::new(2);
    let (inside, most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<Joined> = (0..8)
        .map(|n| {
            let (gate, inside, most, done) = (gate.clone(), inside.clone(), most.clone(), done.clone());
            let list = move || {
                for _ in 0..50 {
                    let entrant = Entrant { keeps_place: true, ..Entrant::default() };
                    let permit = gate.acquire(&Stop::new(), entrant).expect("nobody stops this");
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
                done.fetch_add(1, Ordering::SeqCst);
            };
            Joined::spawn(format!("list-{n}"), list).unwrap()
        })
        .collect();
    drop(threads);
    assert_eq!((done.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (8, 2));
}

#[test]
fn a_stop_wakes_a_wait_at_the_gate() {
    let gate = ListGate::new(1);
    let stop = Stop::new();
    let held = gate.acquire(&stop, Entrant::default());
    let waiting = [1, 2].map(|_| {
        let (gate, stop) = (gate.clone(), stop.clone());
        Joined::spawn("waits", move || assert!(gate.acquire(&stop, Entrant::default()).is_none())).unwrap()
    });
    stop.request();
    drop(waiting);
    drop(held);
    assert!(gate.acquire(&Stop::new(), Entrant::default()).is_some());
}
