//! The driver against a scripted server in memory: what it asks, what it tells, and that every wait of it ends.

use super::testing::{self, Outbox, bookmark, line, object, page};
use super::{ClusterCheck, Context, Entrant, Informer, Limits, ListGate, Resume};
use crate::api::{Anchor, Identity, ObjectRef, ResourceVersion, Status, ToldId};
use crate::client::{
    Error, Line, ListWatch, NoHead, PageRequest, PastPage, Proof, READ_TICK, Served, ServerVersion, WatchLines, WatchStart,
};
use crate::event::EventType;
use crate::health::{Condition, Standing, WatchStatus};
use crate::lifecycle::{Joined, Stop};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{io, mem};

/// What the server does when it is asked next.
enum Answer {
    /// A page, of now or of the past.
    Body(Vec<u8>),
    /// A watch.
    Watch(Vec<Read>),
    /// An error status.
    Status(u16, &'static str),
    /// What discovery says.
    Served(Served),
    /// Nothing, not even a head.
    Nothing,
    /// The connection is refused.
    Refusal,
}

/// What a read of a watch gives.
enum Read {
    Line(Vec<u8>),
    TooLong,
    Quiet(u32),
    /// So many bytes that say nothing, each after a quiet read.
    Heartbeats(u32),
    End,
    /// The connection breaks.
    Cut,
    /// The receivers take so many events, then none until they were asked so often.
    Refuse(usize, usize),
}

/// A server that follows a script, and stops the informer at its end.
struct Script {
    answers: VecDeque<Answer>,
    asked: Arc<Mutex<Vec<String>>>,
    outbox: Outbox,
    stop: Stop,
    /// At the end of the script, wait for a stop from elsewhere.
    hold: bool,
    /// How often a new connection was asked for.
    renewed: usize,
    /// What it says to be its version when it is asked, or the status that it answers; in the end 1.36.
    versions: VecDeque<Result<&'static str, u16>>,
}

struct Reads<'a> {
    reads: std::vec::IntoIter<Read>,
    quiet: u32,
    heartbeats: u32,
    line: Vec<u8>,
    script: &'a mut Script,
}

/// An informer with its script, ready to run.
struct Stage {
    informer: Informer,
    outbox: Outbox,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Stop,
    status: Arc<WatchStatus>,
}

impl Script {
    fn next(&mut self, asked: String) -> Result<Answer, Error> {
        self.asked.lock().unwrap().push(asked);
        match self.answers.pop_front() {
            Some(Answer::Status(code, body)) => {
                let status = Status::from_body(code, body.as_bytes());
                Err(Error::Status { request: "ask".to_owned(), status, retry_after: None })
            }
            Some(Answer::Nothing) => Err(broken(NoHead)),
            Some(Answer::Refusal) => Err(broken(io::Error::from(io::ErrorKind::ConnectionRefused))),
            Some(answer) => Ok(answer),
            None => Err(self.end()),
        }
    }

    fn end(&self) -> Error {
        if self.hold {
            self.stop.wait_until_requested();
        }
        self.stop.request();
        Error::Stopped { request: "ask".to_owned() }
    }
}

impl ListWatch for Script {
    fn list(&mut self, page: &PageRequest<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        let Answer::Body(answer) = self.next(format!("page {}", page.limit))? else { panic!("a page was asked for") };
        *body = answer;
        Ok(())
    }

    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        let renewed = if mem::take(&mut self.renewed) > 0 { ", anew" } else { "" };
        let length = if timeout.as_secs() == 25 { ", short" } else { "" };
        assert!(!length.is_empty() || (200..=240).contains(&timeout.as_secs()), "{timeout:?}");
        let asked = match start {
            WatchStart::InitialEvents => format!("stream{length}{renewed}"),
            WatchStart::After(version) => format!("watch {version}{length}{renewed}"),
        };
        let Answer::Watch(reads) = self.next(asked)? else { panic!("a watch was asked for") };
        Ok(Box::new(Reads { reads: reads.into_iter(), quiet: 0, heartbeats: 0, line: Vec::new(), script: self }))
    }

    fn version(&mut self) -> Result<Option<ServerVersion>, Error> {
        match self.versions.pop_front() {
            Some(Ok(text)) => Ok(ServerVersion::parse(text, "", "")),
            Some(Err(code)) => {
                let status = Status::from_body(code, b"");
                Err(Error::Status { request: "ask".to_owned(), status, retry_after: None })
            }
            None => Ok(ServerVersion::parse("v1.36.0", "", "")),
        }
    }

    fn lookup(&mut self, _: Proof) -> Result<Served, Error> {
        let Answer::Served(served) = self.next("look up".to_owned())? else { panic!("discovery was asked") };
        Ok(served)
    }

    fn renew(&mut self) {
        self.renewed += 1;
    }
}

impl WatchLines for Reads<'_> {
    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        let token = page.token.map(|token| format!(" {token}")).unwrap_or_default();
        let asked = format!("past {} {}{token}", page.version, page.limit);
        let Answer::Body(answer) = self.script.next(asked)? else { panic!("the past was asked for") };
        *body = answer;
        Ok(())
    }

    fn next(&mut self) -> Result<Line<'_>, Error> {
        loop {
            if self.quiet > 0 {
                self.quiet -= 1;
                return Ok(Line::Quiet);
            }
            if self.heartbeats > 0 {
                (self.quiet, self.heartbeats) = (1, self.heartbeats - 1);
                return Ok(Line::Partial);
            }
            match self.reads.next() {
                Some(Read::Line(line)) => {
                    self.line = line;
                    return Ok(Line::Whole(&self.line));
                }
                Some(Read::TooLong) => return Ok(Line::TooLong(1 << 24)),
                Some(Read::Quiet(ticks)) => self.quiet = ticks,
                Some(Read::Heartbeats(beats)) => self.heartbeats = beats,
                Some(Read::End) => return Ok(Line::End),
                Some(Read::Cut) => return Err(broken(io::Error::from(io::ErrorKind::ConnectionReset))),
                Some(Read::Refuse(credit, refusals)) => self.script.outbox.refuse_after(Some(credit), refusals),
                None => return Err(self.script.end()),
            }
        }
    }
}

impl Stage {
    fn new(gvr: &str, answers: Vec<Answer>, limits: Limits) -> Self {
        Self::of_versions(gvr, answers, limits, &[])
    }

    fn of_versions(gvr: &str, answers: Vec<Answer>, limits: Limits, versions: &[Result<&'static str, u16>]) -> Self {
        let (watch, stop, outbox) = (testing::watch(gvr), Stop::new(), Outbox::default());
        let asked = Arc::default();
        let context = Context { limits, ..testing::context(&watch, &stop) };
        let status = Arc::clone(&context.status);
        let script = Script {
            answers: answers.into(),
            asked: Arc::clone(&asked),
            outbox: outbox.clone(),
            stop: stop.clone(),
            hold: false,
            renewed: 0,
            versions: versions.iter().copied().collect(),
        };
        let informer = Informer::new(watch, Box::new(script), Box::new(outbox.clone()), context);
        Self { informer, outbox, asked, stop, status }
    }

    /// Runs the script to its end, and gives what was asked and what was told.
    fn run(self) -> (Vec<String>, Vec<String>) {
        self.informer.run();
        let told = self.outbox.events().iter().map(testing::words).collect();
        (self.asked.lock().unwrap().clone(), told)
    }

    /// Runs until `waits` holds, then asks for a stop, which must end the run.
    fn stop_when(self, waits: impl Fn(&WatchStatus, &[String]) -> bool) -> Vec<String> {
        let Self { informer, asked, stop, status, outbox } = self;
        let thread = Joined::spawn("informer", move || informer.run()).unwrap();
        until("the informer waits", || waits(&status, &asked.lock().unwrap()));
        stop.request();
        assert!(thread.join_until(Instant::now() + DEADLINE), "still running after {:?}", asked.lock().unwrap());
        outbox.events().iter().map(testing::words).collect()
    }
}

fn broken(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Connection { request: "ask".to_owned(), server: "https://api.test".to_owned(), source: source.into() }
}

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn check(answers: Vec<Answer>, asked: &[&str], told: &[&str]) {
    let found = Stage::new("v1/configmaps", answers, testing::hasty()).run();
    assert_eq!(
        (found.0.iter().map(String::as_str).collect::<Vec<_>>(), found.1),
        (asked.to_vec(), told.iter().map(ToString::to_string).collect())
    );
}

fn streamed(objects: &[&str], version: &str, then: Vec<Read>) -> Answer {
    let lines = objects.iter().map(|object| Read::Line(line("ADDED", object)));
    Answer::Watch(lines.chain([Read::Line(bookmark(version, true))]).chain(then).collect())
}

fn listed(objects: &[&str], version: &str) -> Answer {
    let objects: Vec<String> = objects.iter().map(|text| object(text)).collect();
    Answer::Body(page("ConfigMapList", &objects, version, None))
}

/// A list on a server without streaming lists, so that a watch of its own follows.
fn listed_by_pages(objects: &[&str], version: &str) -> Vec<Answer> {
    vec![Answer::Status(422, ""), listed(objects, version)]
}

fn ticks(limit: Duration) -> u32 {
    u32::try_from(limit.as_secs().div_ceil(READ_TICK.as_secs())).unwrap()
}

#[test]
fn lists_and_watches_from_end_to_end() {
    let changes = vec![Read::Line(line("MODIFIED", "a@11")), Read::Line(line("DELETED", "b@12")), Read::End];
    check(
        vec![streamed(&["a@7", "b@8"], "10", changes)],
        &["stream", "watch 12"],
        &["ADDED(initial) a@7", "ADDED(initial) b@8", "UPDATED a@11", "DELETED b@12"],
    );
}

#[test]
fn a_streaming_list_without_a_byte_for_10_s_goes_on_by_pages() {
    let enough = ticks(Limits::default().first_byte);
    check(
        vec![Answer::Watch(vec![Read::Quiet(enough)]), listed(&["a@7"], "10")],
        &["stream", "page 500", "watch 10, short"],
        &["ADDED(initial) a@7"],
    );
    check(vec![Answer::Watch(vec![Read::Quiet(enough - 1)])], &["stream"], &[]);
}

#[test]
fn a_streaming_list_that_does_not_end_goes_on_by_pages() {
    let enough = ticks(Limits::default().initial_events_end);
    let begun = |quiet| Answer::Watch(vec![Read::Line(line("ADDED", "a@7")), Read::Quiet(quiet)]);
    check(vec![begun(enough), listed(&["a@7"], "10")], &["stream", "page 500", "watch 10"], &["ADDED(initial) a@7"]);
    check(vec![begun(enough - 1)], &["stream"], &["ADDED(initial) a@7"]);
}

#[test]
fn a_streaming_list_that_does_not_end_goes_on_by_pages_whatever_keeps_coming() {
    let changes =
        ["a@9", "a@10"].map(|object| [Read::Quiet(ticks(Duration::from_secs(30))), Read::Line(line("MODIFIED", object))]);
    let initial = ["a@7", "b@8"].map(|object| Read::Line(line("ADDED", object)));
    let answers =
        vec![Answer::Watch(initial.into_iter().chain(changes.into_iter().flatten()).collect()), listed(&["a@9", "b@8"], "10")];
    check(answers, &["stream", "page 500", "watch 10"], &["ADDED(initial) a@7", "ADDED(initial) b@8", "UPDATED a@9"]);
}

/// A kind, what its server answers, and which versions it says to be.
type Run<'a> = (&'a str, Vec<Answer>, &'a [Result<&'static str, u16>]);

/// Runs watches one after the other behind one gate, and gives what each asked.
fn asked_in_turn(runs: Vec<Run<'_>>) -> Vec<Vec<String>> {
    let gate = ListGate::new(1);
    let run = |(gvr, answers, versions)| {
        let mut stage = Stage::of_versions(gvr, answers, testing::hasty(), versions);
        stage.informer.context.gate = gate.clone();
        stage.run().0
    };
    runs.into_iter().map(run).collect()
}

#[test]
fn a_streaming_list_without_end_is_remembered_for_its_group() {
    let endless =
        || Answer::Watch(vec![Read::Line(line("ADDED", "a@7")), Read::Quiet(ticks(Limits::default().initial_events_end))]);
    let asked = asked_in_turn(vec![
        ("v1/configmaps", vec![endless(), listed(&["a@7"], "10")], &[]),
        ("v1/pods", vec![listed(&[], "10")], &[]),
        ("apps/v1/deployments", vec![streamed(&[], "10", vec![])], &[]),
    ]);
    assert_eq!(asked, [vec!["stream", "page 500", "watch 10"], vec!["page 500", "watch 10"], vec!["stream"]]);
}

#[test]
fn a_422_holds_for_all_watches_of_a_server_until_its_version_changes() {
    let page = || listed(&[], "10");
    let asked = asked_in_turn(vec![
        ("v1/configmaps", vec![Answer::Status(422, ""), page()], &[Ok("v1.31.4")]),
        ("v1/pods", vec![page()], &[Err(500)]),
        // The server was out of reach, and comes back as another.
        ("v1/pods", vec![Answer::Status(503, ""), page()], &[Ok("v1.32.0")]),
        ("v1/configmaps", vec![streamed(&[], "10", vec![])], &[Err(500)]),
    ]);
    let by_pages = ["page 500", "watch 10"];
    assert_eq!(asked[..2], [["stream"].iter().chain(&by_pages).copied().collect::<Vec<_>>(), by_pages.to_vec()]);
    assert_eq!(asked[2..], [vec!["page 500", "page 500", "watch 10"], vec!["stream"]]);
}

#[test]
fn only_a_server_that_says_to_be_1_27_or_newer_is_asked_for_a_streaming_list() {
    let asked = |versions: &[Result<&'static str, u16>]| {
        let answers = vec![listed(&["a@7"], "10")];
        Stage::of_versions("v1/configmaps", answers, testing::hasty(), versions).run().0
    };
    for version in [Ok("v1.26.15+k3s1"), Ok("v1.20.2"), Ok("unreadable"), Err(403), Err(404), Err(400)] {
        assert_eq!(asked(&[version]), ["page 500", "watch 10"], "{version:?}");
    }
    assert_eq!(asked(&[Err(500), Err(503), Err(500)]), ["page 500", "watch 10"], "a version that is withheld for ever");
    let streams = |versions: &[Result<&'static str, u16>]| {
        let answers = vec![streamed(&["a@7"], "10", vec![])];
        Stage::of_versions("v1/configmaps", answers, testing::hasty(), versions).run().0
    };
    for versions in
        [&[Ok("v1.27.0-eks-1a2b3c")][..], &[Ok("v2.0.0")], &[Err(500), Ok("v1.36.0")], &[Err(429), Err(429), Err(429)]]
    {
        assert_eq!(streams(versions), ["stream"], "{versions:?}");
    }
}

#[test]
fn each_ten_thousand_objects_earn_a_streaming_list_more_time() {
    let limits = Limits::default();
    let list = super::stream::ListSilence {
        first_byte: limits.first_byte,
        end: limits.initial_events_end,
        step: limits.initial_events_step,
    };
    for (objects, seconds) in [(0, 60), (9_999, 60), (10_000, 70), (250_000, 310)] {
        assert_eq!(list.end_after(objects), Duration::from_secs(seconds), "{objects}");
    }
}

#[test]
fn what_is_created_while_a_streaming_list_does_not_end_is_told_also_where_initial_objects_are_skipped() {
    let initial = ["a@7", "b@8"].map(|object| Read::Line(line("ADDED", object)));
    let live = [Read::Quiet(1), Read::Line(line("ADDED", "c@9")), Read::Quiet(ticks(Limits::default().initial_events_end))];
    let endless = Answer::Watch(initial.into_iter().chain(live).collect());
    let mut stage = Stage::new("v1/configmaps", vec![endless, listed(&["a@7", "c@9", "d@6"], "10")], testing::hasty());
    stage.informer.context.skip_initial = true;
    let outbox = stage.outbox.clone();
    assert_eq!(stage.run().1, ["ADDED c@9"], "and b, which no list that ended has named, is not told as deleted");
    assert_eq!(outbox.kept(), ["known a@7", "known d@6"]);
}

#[test]
fn the_same_token_twice_ends_the_list_as_a_fault() {
    let led = |object: &str| Answer::Body(page("ConfigMapList", &[super::testing::object(object)], "10", Some("again")));
    check(
        vec![Answer::Status(422, ""), led("a@7"), led("b@8"), listed(&["a@7", "c@9"], "20")],
        &["stream", "page 500", "page 500", "page 500", "watch 20"],
        &["ADDED(initial) a@7", "ADDED(initial) c@9"],
    );
}

#[test]
fn a_silent_watch_is_reopened_from_before_its_newest_event() {
    let limits = Limits::default();
    let surely = ticks(limits.watch_timeout_max + limits.silence_margin);
    check(vec![streamed(&["a@7"], "10", vec![Read::Quiet(surely)])], &["stream", "watch 6"], &["ADDED(initial) a@7"]);
    let not_yet = ticks(limits.watch_timeout_min + limits.silence_margin) - 1;
    check(vec![streamed(&[], "10", vec![Read::Quiet(not_yet)])], &["stream"], &[]);
}

#[test]
fn bytes_that_say_nothing_are_no_sign_of_life() {
    let limits = Limits::default();
    let surely = ticks(limits.watch_timeout_max + limits.silence_margin);
    let beats = || vec![Read::Heartbeats(surely)];
    check(vec![streamed(&["a@7"], "10", beats())], &["stream", "watch 6"], &["ADDED(initial) a@7"]);
    let spoken = vec![Read::Quiet(10), Read::Line(bookmark("12", false)), Read::Heartbeats(surely)];
    check(vec![streamed(&[], "10", spoken)], &["stream", "watch 12"], &[]);
    let not_yet = ticks(limits.watch_timeout_min + limits.silence_margin) - 1;
    check(vec![streamed(&[], "10", vec![Read::Heartbeats(not_yet)])], &["stream"], &[]);
}

#[test]
fn a_watch_with_heartbeats_alone_was_not_heard() {
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Watch(vec![Read::Heartbeats(100)])]).collect();
    let Stage { informer, status, .. } = Stage::new("v1/configmaps", answers, testing::hasty());
    informer.run();
    assert_eq!(status.standing(Instant::now()), Standing::Stale);
}

#[test]
fn a_cut_goes_on_at_once_and_without_a_look_at_the_history_or_a_word() {
    let cut = |version: &str| Answer::Watch(vec![Read::Quiet(1), Read::Line(line("MODIFIED", version)), Read::Cut]);
    let answers =
        vec![streamed(&["a@7"], "10", vec![Read::Quiet(1), Read::Cut]), cut("a@11"), cut("a@12"), Answer::Watch(vec![])];
    let limits = Limits { backoff_first: HOUR, backoff_max: HOUR, ..testing::hasty() };
    let stage = Stage::new("v1/configmaps", answers, limits);
    let status = Arc::clone(&stage.status);
    assert_eq!(stage.run().0, ["stream", "watch 10", "watch 11", "watch 12"]);
    assert_eq!(status.get().0, Condition::Synced);
}

#[test]
fn a_cut_that_is_made_good_late_or_after_a_refusal_is_followed_by_a_look_at_the_history() {
    let cut = || streamed(&["a@7"], "10", vec![Read::Quiet(1), Read::Cut]);
    check(vec![cut(), Answer::Refusal], &["stream", "watch 10", "watch 6"], &["ADDED(initial) a@7"]);
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let answers = vec![cut(), Answer::Watch(vec![Read::Line(line("MODIFIED", "a@11"))])];
    let (asked, told) = Stage::new("v1/configmaps", answers, limits).run();
    assert_eq!((asked, told.len()), (["stream", "watch 10", "watch 6"].map(str::to_owned).to_vec(), 1), "nothing of it is read");
}

#[test]
fn a_list_that_follows_an_end_is_never_too_late() {
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let replayed = || Answer::Watch(vec![Read::Line(line("MODIFIED", "a@7")), Read::End]);
    let ends = [Answer::Watch(vec![Read::End]), replayed(), replayed(), listed(&["a@7"], "10")];
    let stage = Stage::new("v1/configmaps", listed_by_pages(&["a@7"], "10").into_iter().chain(ends).collect(), limits);
    assert_eq!(stage.run().0[2..], ["watch 10", "watch 6", "watch 6", "page 500", "watch 10"]);
}

#[test]
fn a_connection_that_breaks_at_once_and_brought_nothing_is_a_failure() {
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Watch(vec![Read::Cut])]).collect();
    check(answers, &["stream", "page 500", "watch 10", "watch 6"], &["ADDED(initial) a@7"]);
}

#[test]
fn a_version_that_a_server_has_no_more_is_asked_for_once_more_over_a_new_connection() {
    let expired = || Read::Line(br#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#.to_vec());
    let in_stream = || streamed(&["a@7"], "10", vec![expired()]);
    let brings = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@11"))]);
    check(vec![in_stream(), brings], &["stream", "watch 10, anew"], &["ADDED(initial) a@7", "UPDATED a@11"]);
    check(
        vec![in_stream(), Answer::Status(410, ""), streamed(&["a@12"], "12", vec![])],
        &["stream", "watch 10, anew", "stream, anew"],
        &["ADDED(initial) a@7", "UPDATED(inferred) a@12"],
    );
}

#[test]
fn a_head_that_is_held_back_is_asked_for_with_a_short_end_and_is_no_trouble() {
    let held = Limits { held_calm: Duration::ZERO, held_together: HOUR, backoff_first: HOUR, ..testing::hasty() };
    let short = || Answer::Watch(vec![Read::Quiet(4), Read::Line(line("MODIFIED", "a@11")), Read::End]);
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Nothing, short(), Answer::Watch(vec![])]).collect();
    let stage = Stage::new("v1/configmaps", answers, held);
    let (status, server) = (Arc::clone(&stage.status), stage.informer.context.server.clone());
    let (asked, told) = stage.run();
    assert_eq!(asked, ["stream", "page 500", "watch 10", "watch 10, short", "watch 11, short"]);
    assert_eq!((told, status.get().0), (vec!["ADDED(initial) a@7".to_owned(), "UPDATED a@11".to_owned()], Condition::Synced));
    assert!(server.holds_back(Instant::now()));
}

#[test]
fn a_watch_after_a_list_that_gave_no_byte_ends_soon_so_that_what_is_held_back_is_not_late() {
    let silent = Answer::Watch(vec![Read::Quiet(ticks(Limits::default().first_byte))]);
    check(vec![silent, listed(&[], "10")], &["stream", "page 500", "watch 10, short"], &[]);
}

#[test]
fn a_server_that_gives_no_head_though_the_answer_had_to_end_is_out_of_reach() {
    let answers = listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Nothing, Answer::Nothing]).collect();
    let stage = Stage::new("v1/configmaps", answers, Limits { backoff_first: HOUR, ..testing::hasty() });
    let status = Arc::clone(&stage.status);
    stage.stop_when(|status, _| status.get().0 == Condition::Retrying);
    assert!(status.get().1.contains("no answer came in time"), "{status:?}");
}

#[test]
fn an_idle_watch_that_ends_when_it_was_asked_to_is_opened_again_without_a_look_at_the_history() {
    let limits = Limits { watch_timeout_min: Limits::default().watch_timeout_max, ..testing::hasty() };
    let check = |quiet, expected: &str| {
        let answers =
            listed_by_pages(&["a@7"], "10").into_iter().chain([Answer::Watch(vec![Read::Quiet(quiet), Read::End])]).collect();
        let (asked, _) = Stage::new("v1/configmaps", answers, limits.clone()).run();
        assert_eq!(asked[3], expected, "after {quiet} quiet reads");
    };
    check(ticks(limits.watch_timeout_max), "watch 10");
    check(1, "watch 6");
}

#[test]
fn a_watch_that_fell_silent_is_not_relied_on_until_it_is_heard_again() {
    let standing_after = |reads: Vec<Read>| {
        let surely = ticks(Limits::default().watch_timeout_max + Limits::default().silence_margin);
        let silent = streamed(&["a@7"], "10", vec![Read::Quiet(surely)]);
        let answers = vec![silent, Answer::Watch(reads)];
        let Stage { informer, status, .. } = Stage::new("v1/configmaps", answers, testing::hasty());
        informer.run();
        status.standing(Instant::now())
    };
    assert_eq!(standing_after(vec![]), Standing::Stale, "the server answers, and that is all");
    assert_eq!(standing_after(vec![Read::Line(line("MODIFIED", "a@7"))]), Standing::Healthy, "what was told comes again");
}

#[test]
fn receivers_without_room_close_the_connection_and_lose_nothing() {
    let busy = vec![Read::Refuse(1, 10), Read::Line(line("MODIFIED", "a@11")), Read::Line(line("MODIFIED", "a@12"))];
    let again = [line("MODIFIED", "a@11"), line("MODIFIED", "a@12"), line("ADDED", "b@13")];
    check(
        vec![streamed(&["a@7"], "10", busy), Answer::Watch(again.map(Read::Line).into())],
        &["stream", "watch 10"],
        &["ADDED(initial) a@7", "UPDATED a@11", "UPDATED a@12", "ADDED b@13"],
    );
}

#[test]
fn a_line_over_the_limit_is_made_good_by_a_list() {
    check(
        vec![streamed(&["a@7", "b@8"], "10", vec![Read::TooLong]), streamed(&["a@7"], "12", vec![])],
        &["stream", "stream"],
        &["ADDED(initial) a@7", "ADDED(initial) b@8", "DELETED(inferred) b@8"],
    );
}

#[test]
fn of_secrets_only_metadata_is_told_and_whole_ones_are_dropped_unread() {
    let applied = r#""annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":\"c2VjcmV0\"}","team":"a"}"#;
    let metadata = |name: &str| {
        format!(r#""metadata":{{"name":"{name}","namespace":"demo","uid":"u-{name}","resourceVersion":"7",{applied}}}"#)
    };
    let partial = format!(r#"{{"type":"ADDED","object":{{"kind":"PartialObjectMetadata",{}}}}}"#, metadata("partial"));
    let whole = format!(r#"{{"type":"ADDED","object":{{"kind":"Secret",{},"data":{{"k":"c2VjcmV0"}}}}}}"#, metadata("whole"));
    let reads = vec![Read::Line(whole.into_bytes()), Read::Line(partial.into_bytes()), Read::Line(bookmark("10", true))];
    let wrong_page = Answer::Body(page("SecretList", &[format!("{{{}}}", metadata("paged"))], "20", None));
    let stage = Stage::new("v1/secrets", vec![Answer::Watch(reads), Answer::Status(422, ""), wrong_page], testing::hasty());
    let outbox = stage.outbox.clone();
    assert_eq!(stage.run().0, ["stream", "stream", "page 500", "page 500"]);
    let events = outbox.events();
    assert_eq!(events.iter().map(testing::words).collect::<Vec<_>>(), ["ADDED(initial) partial@7"]);
    let raw = String::from_utf8(events[0].raw().to_vec()).unwrap();
    assert!(!raw.contains("c2VjcmV0") && raw.contains("team"), "{raw}");
}

/// What an earlier run has stored: these objects, this version, and this newest event.
fn earlier(known: &[&str], version: &str, newest: &str) -> Resume {
    let known = known.iter().map(|known| Identity::of(&ObjectRef::scan(object(known).as_bytes()).unwrap())).collect();
    let anchor = Some(Anchor::of_listed(&ObjectRef::scan(object(newest).as_bytes()).unwrap()));
    Resume { known, version: ResourceVersion::new(version), anchor, listed_before: true, ..Resume::default() }
}

#[test]
fn an_earlier_run_is_gone_on_from_when_its_newest_event_comes_again() {
    let changes = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@7")), Read::Line(line("DELETED", "a@11"))]);
    let mut stage = Stage::new("v1/configmaps", vec![changes], testing::hasty());
    stage.informer = stage.informer.resume(earlier(&["a@7"], "10", "a@7"));
    let (asked, told) = stage.run();
    assert_eq!((asked, told), (vec!["watch 6".to_owned()], vec!["DELETED a@11".to_owned()]));
}

#[test]
fn what_an_earlier_run_told_beyond_its_version_is_passed_over_when_it_comes_again() {
    let replay = ["a@10", "a@11", "b@12", "a@13"].map(|object| Read::Line(line("MODIFIED", object)));
    let gone = ["b@14", "c@15"].map(|object| Read::Line(line("DELETED", object)));
    let changes = Answer::Watch(replay.into_iter().chain(gone).collect());
    let mut stage = Stage::new("v1/configmaps", vec![changes], testing::hasty());
    let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false), ToldId::new("u-c", "15", true)];
    stage.informer = stage.informer.resume(Resume { told, ..earlier(&["a@11", "b@12"], "10", "a@10") });
    let outbox = stage.outbox.clone();
    // What nobody wanted was not remembered.
    outbox.be_choosy();
    assert_eq!(stage.run().1, ["UPDATED a@13", "DELETED b@14"]);
    assert_eq!(outbox.kept(), ["replayed Pu-a\u{0}11 at 11", "replayed Pu-b\u{0}12 at 12", "replayed Du-c\u{0}15 at 15"]);
}

#[test]
fn what_an_earlier_run_told_beyond_its_version_is_of_another_history_where_it_does_not_come_again() {
    let newest = || Read::Line(line("MODIFIED", "a@10"));
    let silent = vec![newest(), Read::Line(line("MODIFIED", "a@11")), Read::Quiet(1)];
    let overtaken = vec![newest(), Read::Line(line("ADDED", "d@16"))];
    let in_its_place = vec![newest(), Read::Line(line("ADDED", "d@11"))];
    for reads in [silent, overtaken, in_its_place] {
        let answers = vec![Answer::Watch(reads), streamed(&["a@11", "d@16"], "20", vec![])];
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false)];
        stage.informer = stage.informer.resume(Resume { told, ..earlier(&["a@11", "b@12"], "10", "a@10") });
        let (asked, told) = stage.run();
        assert_eq!(asked, ["watch 9", "stream"]);
        assert_eq!(told, ["ADDED(inferred) d@16", "DELETED(inferred) b@12"]);
    }
}

/// The object, and what it would be in another history: of the same uid, version and labels.
fn rewritten(text: &str) -> String {
    object(text).replace(r#""resourceVersion""#, r#""generation":2,"resourceVersion""#)
}

fn watched(kind: &str, object: &str) -> Read {
    Read::Line(format!(r#"{{"type":"{kind}","object":{object}}}"#).into_bytes())
}

fn hash_of(object: &str) -> u64 {
    Anchor::of_listed(&ObjectRef::scan(object.as_bytes()).unwrap()).metadata_hash()
}

#[test]
fn an_event_of_the_uid_and_version_of_one_that_was_told_is_of_another_history_where_its_metadata_is_another() {
    let stage = |reads: Vec<Read>, list: &[&str]| {
        let list = list.iter().map(|object| watched("ADDED", object)).chain([Read::Line(bookmark("20", true))]).collect();
        let mut stage = Stage::new("v1/configmaps", vec![Answer::Watch(reads), Answer::Watch(list)], testing::hasty());
        let told = vec![ToldId::new("u-a", "11", false), ToldId::new("u-b", "12", false)];
        let hashes = told.iter().cloned().zip([hash_of(&object("a@11")), hash_of(&object("b@12"))]).collect();
        stage.informer = stage.informer.resume(Resume { told, hashes, ..earlier(&["a@11", "b@12", "z@5"], "10", "a@10") });
        stage.run()
    };
    let newest = || watched("MODIFIED", &object("a@10"));
    let (a, b, z) = (object("a@11"), object("b@12"), object("z@5"));
    // As it was: nothing is asked but to go on.
    let (asked, told) = stage(vec![newest(), watched("MODIFIED", &a), watched("MODIFIED", &b)], &[]);
    assert_eq!((&*asked[0], told), ("watch 9", Vec::<String>::new()));
    // Each that is another one is found by the list, also the one behind the first.
    let (other_a, other_b) = (rewritten("a@11"), rewritten("b@12"));
    let overtaken = vec![newest(), watched("MODIFIED", &other_a)];
    let (asked, told) = stage(overtaken, &[&other_a, &other_b, &z]);
    assert_eq!(asked, ["watch 9", "stream"]);
    assert_eq!(told, ["UPDATED(inferred) a@11", "UPDATED(inferred) b@12"]);
    let (asked, told) = stage(vec![newest(), watched("MODIFIED", &a), watched("MODIFIED", &other_b)], &[&a, &other_b, &z]);
    assert_eq!((asked.len(), told), (2, vec!["UPDATED(inferred) b@12".to_owned()]));
}

#[test]
fn another_object_in_the_place_of_the_newest_event_is_told_though_its_uid_and_version_are_the_same() {
    let other = rewritten("a@10");
    let list = vec![watched("ADDED", &other), watched("ADDED", &object("z@5")), Read::Line(bookmark("20", true))];
    let answers = vec![Answer::Watch(vec![watched("MODIFIED", &other)]), Answer::Watch(list)];
    let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
    stage.informer = stage.informer.resume(earlier(&["a@10", "z@5"], "10", "a@10"));
    let (asked, told) = stage.run();
    assert_eq!(asked, ["watch 9", "stream"]);
    assert_eq!(told, ["UPDATED(inferred) a@10"]);
}

#[test]
fn a_resumed_watch_is_not_synced_when_the_server_no_longer_has_its_version() {
    let expired = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
    let watch = || Answer::Watch(vec![Read::Line(expired.to_vec())]);
    let answers = vec![watch(), watch(), Answer::Status(500, "")];
    let mut stage = Stage::new("v1/configmaps", answers, Limits { backoff_first: HOUR, ..testing::hasty() });
    stage.informer = stage.informer.resume(earlier(&["a@7"], "10", "a@7"));
    let status = Arc::clone(&stage.status);
    stage.stop_when(|status, _| status.get().0 == Condition::Retrying);
    assert!(!status.ever_synced());
}

#[test]
fn a_list_that_was_cut_short_goes_on_with_what_was_told_of_it() {
    let list = streamed(&["a@7", "b@9"], "10", vec![Read::Line(line("DELETED", "b@11"))]);
    let mut stage = Stage::new("v1/configmaps", vec![list], testing::hasty());
    let known = ["a@7", "b@8", "c@8"].map(|known| Identity::of(&ObjectRef::scan(object(known).as_bytes()).unwrap()));
    stage.informer = stage.informer.resume(Resume { known: known.into(), ..Resume::default() });
    assert_eq!(stage.run().1, ["UPDATED(inferred) b@9", "DELETED(inferred) c@8", "DELETED b@11"]);
}

#[test]
fn where_initial_objects_are_skipped_they_are_known_and_changes_are_told() {
    let changes =
        vec![Read::Line(line("MODIFIED", "a@11")), Read::Line(line("ADDED", "c@12")), Read::Line(line("DELETED", "b@13"))];
    let list = streamed(&["a@7", "b@8"], "10", changes);
    let mut stage = Stage::new("v1/configmaps", vec![list], testing::hasty());
    stage.informer.context.skip_initial = true;
    let outbox = stage.outbox.clone();
    assert_eq!(stage.run().1, ["UPDATED a@11", "ADDED c@12", "DELETED b@13"]);
    assert_eq!(outbox.kept(), ["known a@7", "known b@8"]);
}

#[test]
fn a_forbidden_watch_says_verb_resource_namespace_and_cure() {
    let body = r#"{"message":"secrets is forbidden: User \"u\" cannot watch resource \"secrets\" in API group \"\" in the namespace \"demo\""}"#;
    let stage = Stage::new(
        "v1/secrets",
        vec![Answer::Status(403, body)],
        Limits { forbidden_max: HOUR, backoff_first: HOUR, ..testing::hasty() },
    );
    let status = Arc::clone(&stage.status);
    stage.stop_when(|status, _| status.get().0 == Condition::Forbidden);
    let reason = status.get().1;
    let cure = r#"bind a Role with verbs list and watch on secrets (apiGroup "") in namespace demo"#;
    assert!(reason.contains("does not allow to watch secrets in namespace demo") && reason.contains(cure), "{reason}");
}

#[test]
fn a_kind_in_another_version_is_not_told_as_deleted_and_the_version_is_named() {
    let others = || Answer::Served(Served::OtherVersions(vec!["v2".to_owned()]));
    let answers = vec![streamed(&["a@7"], "10", vec![Read::End]), Answer::Status(404, ""), others(), others()];
    let stage = Stage::new("example.com/v1/widgets", answers, Limits { absent_check: HOUR, ..testing::hasty() });
    let status = Arc::clone(&stage.status);
    let told = stage.stop_when(|status, _| status.get().0 == Condition::VersionGone);
    assert_eq!(told, ["ADDED(initial) a@7"]);
    let reason = status.get().1;
    assert!(reason.contains("example.com/v2/widgets"), "{reason}");
}

#[test]
fn a_stop_ends_every_wait() {
    let pausing = Limits { backoff_first: HOUR, backoff_max: HOUR, absent_check: HOUR, second_look: HOUR, ..testing::hasty() };
    let stage = |answers| Stage::new("v1/configmaps", answers, pausing.clone());
    stage(vec![Answer::Status(500, "")]).stop_when(|status, _| status.get().0 == Condition::Retrying);
    let absent = || Answer::Served(Served::Absent);
    stage(vec![Answer::Status(404, ""), absent()]).stop_when(|status, _| status.get().0 == Condition::Absent);
    let gone = vec![streamed(&["a@7"], "10", vec![Read::End]), Answer::Status(404, ""), absent()];
    stage(gone).stop_when(|status, _| status.get().0 == Condition::Retrying);

    let without_room = stage(vec![streamed(&["a@7"], "10", vec![])]);
    without_room.outbox.give_credit(Some(0));
    assert_eq!(without_room.stop_when(|_, asked| !asked.is_empty()), Vec::<String>::new());

    let gate = ListGate::new(1);
    let held = gate.acquire(&Stop::new(), Entrant::default());
    let at_the_gate = stage(vec![]);
    let mut informer = at_the_gate.informer;
    informer.context.gate = gate;
    Stage { informer, ..at_the_gate }.stop_when(|_, asked| asked.is_empty());
    drop(held);
}

#[test]
fn receivers_that_have_ended_end_the_informer() {
    let stage = Stage::new("v1/configmaps", vec![streamed(&["a@7"], "10", vec![])], testing::hasty());
    stage.outbox.close();
    assert_eq!(stage.run().1, Vec::<String>::new());
}

#[test]
fn a_list_that_waits_for_its_receivers_lets_others_list() {
    let gate = ListGate::new(1);
    let stage = |answers| {
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        stage.informer.context.gate = gate.clone();
        stage
    };
    let slow = stage(vec![Answer::Status(422, ""), listed(&["a@7"], "10")]);
    slow.outbox.give_credit(Some(0));
    let (asked, stop, outbox) = (Arc::clone(&slow.asked), slow.stop.clone(), slow.outbox.clone());
    let thread = Joined::spawn("slow", move || slow.informer.run()).unwrap();
    until("the slow list has begun", || asked.lock().unwrap().len() == 2);
    let (_, told) = stage(vec![listed(&["b@8"], "10")]).run();
    assert_eq!(told, ["ADDED(initial) b@8"]);
    stop.request();
    drop(thread);
    assert!(outbox.events().iter().all(|event| event.event_type != EventType::Added), "nothing is sent after a stop");
}

/// Longer than any test may take: who waits for it waits for a stop.
const HOUR: Duration = Duration::from_secs(3600);

/// What a server says of its cluster when it is asked.
#[derive(Debug)]
struct Cluster(Option<bool>);

impl ClusterCheck for Cluster {
    fn is_same(&self, _: Instant) -> Result<bool, Error> {
        self.0.ok_or_else(|| Error::Stopped { request: "ask".to_owned() })
    }
}

#[test]
fn nothing_is_read_of_a_server_that_is_another_clusters_after_a_cut() {
    let told_by = |says| {
        let changes = Answer::Watch(vec![Read::Line(line("MODIFIED", "a@11"))]);
        let answers = vec![streamed(&["a@7"], "10", vec![Read::Quiet(1), Read::Cut]), changes];
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        stage.informer.context.cluster = Some(Arc::new(Cluster(says)));
        stage.run().1
    };
    assert_eq!(told_by(Some(false)), ["ADDED(initial) a@7"]);
    assert_eq!(told_by(Some(true)), ["ADDED(initial) a@7", "UPDATED a@11"]);
    assert_eq!(told_by(None), ["ADDED(initial) a@7", "UPDATED a@11"], "after a mere cut a server that does not say is trusted");
}
