//! Who is let in when, with a clock of our own.

use super::*;

/// A door, everybody who came to it by name, and a clock.
struct Hall {
    door: Door,
    now: Instant,
    came: Vec<(String, Ticket, Arc<AtomicU64>)>,
    let_in: Vec<String>,
}

impl Hall {
    fn new(limit: usize) -> Self {
        Self { door: Door::new(limit), now: Instant::now(), came: Vec::new(), let_in: Vec::new() }
    }

    fn comes(&mut self, name: &str, turn: Turn) {
        self.joins(name, &Entrant { turn, ..Entrant::default() }, false);
    }

    /// As one who can be withdrawn.
    fn sends(&mut self, name: &str, turn: Turn) {
        self.joins(name, &Entrant { turn, ..Entrant::default() }, true);
    }

    fn joins(&mut self, name: &str, entrant: &Entrant, can_be_withdrawn: bool) {
        let received = Arc::clone(&entrant.received);
        let (ticket, _) = self.door.queue(entrant, can_be_withdrawn);
        self.came.push((name.to_owned(), ticket, received));
        self.look();
    }

    fn goes(&mut self, name: &str) {
        let at = self.came.iter().position(|(came, ..)| came == name).unwrap();
        let (_, ticket, _) = self.came.remove(at);
        self.door.leave(&ticket);
        self.look();
    }

    fn receives(&mut self, name: &str, bytes: u64) {
        let (_, _, received) = self.came.iter().find(|(came, ..)| came == name).unwrap();
        received.fetch_add(bytes, Ordering::Relaxed);
    }

    fn seconds_pass(&mut self, seconds: u64) {
        self.passes(Duration::from_secs(seconds));
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.look();
    }

    /// Everybody who may go in does, and who is withdrawn for that leaves, and comes again behind the others.
    fn look(&mut self) {
        loop {
            let Self { door, came, let_in, now } = self;
            if let Some((name, ..)) = came.iter().find(|(_, ticket, _)| door.admit(ticket, *now)) {
                let_in.push(name.clone());
                continue;
            }
            let Some(number) = came.iter().find_map(|(_, ticket, _)| door.withdraw_for(ticket, *now)) else { return };
            let at = came.iter().position(|(_, ticket, _)| ticket.number == number).unwrap();
            let (name, ticket, received) = came.remove(at);
            assert!(door.is_withdrawn(&ticket));
            door.leave(&ticket);
            let again = Entrant { turn: Turn::Failed, received, ..Entrant::default() };
            let (ticket, _) = door.queue(&again, true);
            came.push((name, ticket, again.received));
        }
    }

    /// Who was let in since this was asked last.
    fn let_in(&mut self) -> Vec<String> {
        std::mem::take(&mut self.let_in)
    }
}

#[test]
fn first_come_first_served_but_live_watches_go_before_first_lists_and_failed_ones_last() {
    let mut hall = Hall::new(1);
    let came = [
        ("inside", Turn::First),
        ("failed", Turn::Failed),
        ("first", Turn::First),
        ("live", Turn::Live),
        ("second", Turn::First),
        ("live too", Turn::Live),
    ];
    came.into_iter().for_each(|(name, turn)| hall.comes(name, turn));
    for name in ["inside", "live", "live too", "first", "second", "failed"] {
        assert_eq!(hall.let_in(), [name]);
        hall.goes(name);
    }
}

#[test]
fn whoever_gets_no_answer_for_5_s_holds_no_place_and_twice_the_limit_are_inside_at_most() {
    let mut hall = Hall::new(2);
    ["a", "b", "c", "d", "e"].into_iter().for_each(|name| hall.comes(name, Turn::First));
    assert_eq!(hall.let_in(), ["a", "b"]);
    hall.seconds_pass(4);
    assert_eq!(hall.let_in(), Vec::<String>::new());
    hall.seconds_pass(1);
    assert_eq!(hall.let_in(), ["c", "d"]);
    hall.seconds_pass(60);
    assert_eq!(hall.let_in(), Vec::<String>::new(), "as many as may be are in flight");
    hall.goes("b");
    assert_eq!(hall.let_in(), ["e"]);
}

#[test]
fn whoever_receives_holds_its_place_and_gets_it_back_when_bytes_come() {
    let mut hall = Hall::new(1);
    hall.comes("receives", Turn::First);
    hall.comes("waits", Turn::First);
    for _ in 0..10 {
        hall.receives("receives", PROGRESS_BYTES);
        hall.seconds_pass(4);
    }
    assert_eq!(hall.let_in(), ["receives"]);
    hall.seconds_pass(5);
    assert_eq!(hall.let_in(), ["waits"]);
    hall.comes("comes later", Turn::First);
    hall.goes("waits");
    assert_eq!(hall.let_in(), ["comes later"]);
    hall.comes("comes last", Turn::First);
    hall.receives("receives", PROGRESS_BYTES);
    hall.seconds_pass(0);
    hall.goes("comes later");
    assert_eq!(hall.let_in(), Vec::<String>::new(), "bytes came, and with them the place");
}

#[test]
fn a_head_and_a_byte_now_and_then_hold_no_place() {
    let mut hall = Hall::new(1);
    hall.comes("drips", Turn::First);
    hall.comes("waits", Turn::First);
    for _ in 0..5 {
        hall.receives("drips", 1000);
        hall.seconds_pass(1);
    }
    assert_eq!(hall.let_in(), ["drips", "waits"]);
}

#[test]
fn after_a_429_or_503_nobody_goes_in_on_account_of_a_slow_answer() {
    let mut hall = Hall::new(1);
    hall.joins("busy", &Entrant { keeps_place: true, ..Entrant::default() }, false);
    hall.comes("waits", Turn::First);
    hall.seconds_pass(600);
    assert_eq!(hall.let_in(), ["busy"]);
    hall.goes("busy");
    assert_eq!(hall.let_in(), ["waits"]);
}

#[test]
fn whoever_leaves_the_line_is_not_waited_for() {
    let mut hall = Hall::new(1);
    ["inside", "leaves", "stays"].into_iter().for_each(|name| hall.comes(name, Turn::First));
    hall.goes("leaves");
    hall.goes("inside");
    assert_eq!(hall.let_in(), ["inside", "stays"]);
}

#[test]
fn a_sound_kind_behind_forty_that_hang_is_let_in_within_10_s() {
    let mut hall = Hall::new(4);
    (0..40).for_each(|n| hall.sends(&format!("hung {n}"), Turn::First));
    hall.sends("sound", Turn::First);
    let began = hall.now;
    let mut hung = 0;
    loop {
        let let_in = hall.let_in();
        if let_in.iter().any(|name| name == "sound") {
            break;
        }
        hung += let_in.len();
        hall.passes(Duration::from_millis(50));
        assert!(hall.now - began < Duration::from_secs(10), "{hung} were let in");
    }
    assert_eq!(hung, 40, "first come, first served, also here");
    // They have failed since, and many are inside.
    hall.goes("sound");
    (0..30).for_each(|_| hall.seconds_pass(1));
    assert_eq!(hall.door.in_flight(), 8);
    hall.let_in();
    hall.sends("live", Turn::Live);
    assert_eq!(hall.let_in(), ["live"], "and hold up nobody who was live");
}

#[test]
fn who_is_answered_as_slowly_as_is_usual_is_not_withdrawn_and_nobody_is_twice_in_a_row() {
    let mut hall = Hall::new(1);
    hall.door.answered(Duration::from_millis(400));
    ["slow", "next"].into_iter().for_each(|name| hall.sends(name, Turn::First));
    hall.passes(Duration::from_millis(3100));
    assert_eq!(hall.let_in(), ["slow"]);
    hall.passes(Duration::from_millis(100));
    assert_eq!(hall.let_in(), ["next"]);
    hall.receives("next", 1);
    hall.seconds_pass(4);
    assert_eq!(hall.let_in(), Vec::<String>::new(), "its answer has begun");
    hall.goes("next");
    assert_eq!(hall.let_in(), ["slow"]);
    hall.sends("third", Turn::First);
    hall.passes(Duration::from_millis(4900));
    assert_eq!(hall.let_in(), Vec::<String>::new());
    hall.passes(Duration::from_millis(100));
    assert_eq!(hall.let_in(), ["third"], "beside the slow one");
}

#[test]
fn lists_without_end_that_fill_the_gate_make_room() {
    let mut hall = Hall::new(2);
    for n in 0..6 {
        hall.sends(&format!("endless {n}"), Turn::First);
    }
    hall.sends("sound", Turn::First);
    let mut let_in = hall.let_in();
    for _ in 0..20 {
        (0..6).for_each(|n| hall.receives(&format!("endless {n}"), 1000));
        hall.seconds_pass(1);
        let_in.extend(hall.let_in());
    }
    let place = let_in.iter().position(|name| name == "sound");
    assert_eq!(place, Some(6), "{let_in:?}");
}

#[test]
fn a_live_watch_is_not_withdrawn_for_a_first_list_nor_is_anyone_for_one_that_failed() {
    for (inside, waits, expected) in [
        (Turn::Live, Turn::First, false),
        (Turn::First, Turn::Failed, false),
        (Turn::First, Turn::Live, true),
        (Turn::Live, Turn::Live, true),
    ] {
        let mut hall = Hall::new(1);
        hall.sends("inside", inside);
        hall.sends("waits", waits);
        hall.let_in();
        hall.seconds_pass(1);
        assert_eq!(hall.let_in() == ["waits"], expected, "{inside:?} for {waits:?}");
    }
}

#[test]
fn where_no_answer_comes_at_all_ever_fewer_are_withdrawn() {
    let mut hall = Hall::new(4);
    (0..1000).for_each(|n| hall.sends(&n.to_string(), Turn::First));
    hall.seconds_pass(0);
    for _ in 0..(120 * 20) {
        hall.passes(Duration::from_millis(50));
    }
    let withdrawn = hall.came.iter().filter(|(_, ticket, _)| ticket.turn == Turn::Failed).count();
    assert!((80..250).contains(&withdrawn), "{withdrawn} of 1000 in two minutes");
}
