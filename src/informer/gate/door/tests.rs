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
        self.comes_as(name, Entrant { turn, ..Entrant::default() });
    }

    fn comes_as(&mut self, name: &str, entrant: Entrant) {
        let received = Arc::clone(&entrant.received);
        let (ticket, _) = self.door.queue(entrant);
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
        self.now += Duration::from_secs(seconds);
        self.look();
    }

    /// Everybody who may go in does.
    fn look(&mut self) {
        let Self { door, came, let_in, now } = self;
        while let Some((name, ..)) = came.iter().find(|(_, ticket, _)| door.admit(ticket, *now)) {
            let_in.push(name.clone());
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
    hall.comes_as("busy", Entrant { keeps_place: true, ..Entrant::default() });
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
