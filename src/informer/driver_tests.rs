//! The driver against a scripted server in memory: what it asks, what it tells, and that every wait of it ends.

mod after_lists;
mod earlier;
mod lists;
mod watches;

use super::testing::{self, Outbox, bookmark, line, object, page};
use super::{ClusterCheck, Context, Entrant, Informer, Limits, ListGate, Resume};
use crate::api::{Anchor, Identity, ObjectRef, ResourceVersion, Status, ToldId, WatchKind};
use crate::client::transcript::Cut;
use crate::client::{
    Error, Line, ListWatch, NoHead, PageReader, PageRequest, PastPage, Proof, READ_TICK, Served, ServerVersion, WatchLines,
    WatchStart,
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
    /// A page that breaks off.
    Torn(Vec<u8>),
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
    /// When it answered last.
    answered: Arc<Mutex<Instant>>,
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
    answered: Arc<Mutex<Instant>>,
    stop: Stop,
    status: Arc<WatchStatus>,
}

impl Script {
    fn next(&mut self, asked: String) -> Result<Answer, Error> {
        self.asked.lock().unwrap().push(asked);
        *self.answered.lock().unwrap() = Instant::now();
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
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error> {
        match self.next(format!("page {}", page.limit))? {
            Answer::Body(answer) => Ok(PageReader::of(answer)),
            Answer::Torn(front) => {
                let torn = Cut::at(&front, &[]).failing_between(io::ErrorKind::ConnectionReset);
                Ok(PageReader::new("ask", "https://api.test", Box::new(torn)))
            }
            Answer::Watch(_) | Answer::Status(..) | Answer::Served(_) | Answer::Nothing | Answer::Refusal => {
                panic!("a page was asked for")
            }
        }
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
    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        let token = page.token.map(|token| format!(" {token}")).unwrap_or_default();
        let asked = format!("past {} {}{token}", page.version, page.limit);
        let Answer::Body(answer) = self.script.next(asked)? else { panic!("the past was asked for") };
        Ok(PageReader::of(answer))
    }

    fn is_ready(&mut self) -> bool {
        self.quiet == 0 && self.heartbeats == 0 && matches!(self.reads.as_slice(), [Read::Line(_), ..])
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
        let (asked, answered) = (Arc::default(), Arc::new(Mutex::new(Instant::now())));
        let context = Context { limits, ..testing::context(&watch, &stop) };
        let status = Arc::clone(&context.status);
        let script = Script {
            answers: answers.into(),
            asked: Arc::clone(&asked),
            answered: Arc::clone(&answered),
            outbox: outbox.clone(),
            stop: stop.clone(),
            hold: false,
            renewed: 0,
            versions: versions.iter().copied().collect(),
        };
        let informer = Informer::new(watch, Box::new(script), Box::new(outbox.clone()), context);
        Self { informer, outbox, asked, answered, stop, status }
    }

    /// Runs the script to its end, and gives what was asked and what was told.
    fn run(self) -> (Vec<String>, Vec<String>) {
        self.informer.run();
        let told = self.outbox.events().iter().map(testing::words).collect();
        (self.asked.lock().unwrap().clone(), told)
    }

    /// Runs until `waits` holds, then asks for a stop, which must end the run.
    fn stop_when(self, waits: impl Fn(&WatchStatus, &[String]) -> bool) -> Vec<String> {
        let Self { informer, asked, stop, status, outbox, .. } = self;
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
    let values: Vec<_> = events[0].annotations().iter().map(|(key, value)| (key.into_owned(), value.len())).collect();
    let digest = "redacted:".len() + 16;
    assert!(!raw.contains("c2VjcmV0"), "{raw}");
    assert_eq!(values, [("kubectl.kubernetes.io/last-applied-configuration".to_owned(), digest), ("team".to_owned(), digest)]);
}

#[test]
fn a_copy_is_as_it_was_sent_in_the_event_and_a_digest_wherever_it_is_written() {
    let applied = r#""annotations":{"kapp.k14s.io/original":"c2VjcmV0","team":"a"}"#;
    let with_copy = |name: &str, version: u32| {
        format!(
            r#"{{"kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"demo","uid":"u-{name}","resourceVersion":"{version}",{applied}}},"data":{{}}}}"#
        )
    };
    let with_copy_added = format!(r#"{{"type":"ADDED","object":{}}}"#, with_copy("a", 7));
    let expired = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#.to_vec();
    let reads = vec![Read::Line(with_copy_added.into_bytes()), Read::Line(bookmark("10", true)), Read::Line(expired)];
    let answers = vec![Answer::Watch(reads), Answer::Status(410, ""), streamed(&[], "12", vec![])];
    let stage = Stage::new("v1/configmaps", answers, testing::hasty());
    let outbox = stage.outbox.clone();
    stage.run();
    let events = outbox.events();
    assert_eq!(events.iter().map(testing::words).collect::<Vec<_>>(), ["ADDED(initial) a@7", "DELETED(inferred) a@7"]);
    assert_eq!(events[0].annotations().get("kapp.k14s.io/original").as_deref(), Some("c2VjcmV0"));
    assert_eq!(events[0].raw(), with_copy("a", 7).as_bytes());
    for event in &events {
        let written = [event.written_annotations().as_json(), event.identity().as_text()].join(" ");
        let bytes = String::from_utf8(event.written_bytes().into_owned()).unwrap();
        assert!(!written.contains("c2VjcmV0") && !bytes.contains("c2VjcmV0"), "{written} {bytes}");
        assert!(written.contains(r#"{"kapp.k14s.io/original":"redacted:"#) && written.contains(r#""team":"a"}"#), "{written}");
        serde_json::from_str::<serde_json::Value>(&bytes).expect("it is JSON still");
    }
    assert_eq!(events[1].annotations().as_json(), events[0].written_annotations().as_json());
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

/// Knows what the server said of its cluster before its last answer, as another watch may have asked.
#[derive(Debug)]
struct Before(Arc<Mutex<Instant>>);

impl ClusterCheck for Before {
    fn is_same(&self, since: Instant) -> Result<bool, Error> {
        Ok(since < *self.0.lock().unwrap())
    }
}

#[test]
fn whose_a_server_was_before_it_answered_says_nothing() {
    for then in [streamed(&["b@30"], "40", vec![]), Answer::Status(422, "")] {
        let expired = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
        let lost = streamed(&["a@7"], "10", vec![Read::Line(expired.to_vec())]);
        let answers = vec![lost, Answer::Status(410, ""), then, listed(&["b@30"], "40")];
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        stage.informer.context.cluster = Some(Arc::new(Before(Arc::clone(&stage.answered))));
        assert_eq!(stage.run().1, ["ADDED(initial) a@7"]);
    }
}

#[test]
fn a_list_after_a_lost_version_is_told_only_of_the_same_cluster() {
    let gone = || Answer::Status(410, "");
    let error = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
    let in_stream = || Answer::Watch(vec![Read::Line(error.as_bytes().to_vec())]);
    let list = || listed(&["b@30"], "40");
    for answers in [
        vec![gone(), gone(), list()],
        vec![Answer::Status(504, r#"{"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#), list()],
        vec![in_stream(), in_stream(), list()],
        vec![Answer::Watch(vec![Read::Quiet(1), Read::End]), Answer::Watch(vec![Read::Quiet(1)]), gone(), list()],
    ] {
        let answers = listed_by_pages(&["a@7"], "10").into_iter().chain(answers).collect();
        let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
        stage.informer.context.cluster = Some(Arc::new(Cluster(Some(false))));
        assert_eq!(stage.run().1, ["ADDED(initial) a@7"]);
    }
}

#[test]
fn a_server_that_does_not_find_a_kind_or_finds_it_again_may_be_another_clusters() {
    let run = |says, answers| {
        let mut stage = Stage::new("example.com/v1/widgets", answers, testing::hasty());
        stage.informer.context.cluster = Some(Arc::new(Cluster(Some(says))));
        stage.run()
    };
    let unknown = || vec![Answer::Status(404, ""), Answer::Served(Served::Unknown("another cluster".to_owned()))];
    assert_eq!(run(false, unknown()).0, ["stream", "look up"]);
    assert_eq!(run(true, unknown()).0, ["stream", "look up", "look up"]);

    let again = || {
        let served = [Served::Absent, Served::Absent, Served::Yes].map(Answer::Served);
        let list = streamed(&["a@7"], "10", vec![]);
        [Answer::Status(404, "")].into_iter().chain(served).chain([list]).collect()
    };
    assert_eq!(run(false, again()).1, Vec::<String>::new());
    assert_eq!(run(true, again()).1, ["ADDED(initial) a@7"]);
}

#[test]
fn a_list_after_silence_is_told_only_of_the_same_cluster() {
    let limits = Limits::default();
    let begun = || Read::Line(line("ADDED", "a@7"));
    let endless = vec![begun(), Read::Quiet(ticks(limits.initial_events_end))];
    let mute = vec![Read::Quiet(ticks(limits.first_byte))];
    let dirty = vec![begun(), Read::Line(bookmark("10", true)), Read::Line(line("MODIFIED", "?"))];
    for (begins, told) in [(endless, 1), (mute, 0), (dirty, 1)] {
        // By pages, or streamed where the list before has ended.
        let list = if matches!(begins.last(), Some(Read::Line(_))) {
            streamed(&["b@30"], "40", vec![])
        } else {
            listed(&["b@30"], "40")
        };
        let mut stage = Stage::new("v1/configmaps", vec![Answer::Watch(begins), list], testing::hasty());
        stage.informer.context.cluster = Some(Arc::new(Cluster(Some(false))));
        assert_eq!(stage.run().1.len(), told);
    }
}

#[test]
fn a_list_after_one_that_waited_for_its_receivers_is_not_told_before_the_server_says_whose_it_is() {
    let slow = vec![Read::Line(line("ADDED", "a@7")), Read::Refuse(0, 2), Read::Line(line("ADDED", "b@8"))];
    let answers = vec![Answer::Watch(slow), streamed(&["b@30"], "40", vec![])];
    let mut stage = Stage::new("v1/configmaps", answers, testing::hasty());
    stage.informer.context.cluster = Some(Arc::new(Cluster(None)));
    assert_eq!(stage.run().1, ["ADDED(initial) a@7"]);
}

#[test]
fn a_page_that_is_asked_for_late_is_told_only_of_the_same_cluster() {
    let limits = Limits { unchecked: Duration::ZERO, ..testing::hasty() };
    let first = Answer::Body(page("ConfigMapList", &[object("a@7")], "10", Some("rest")));
    let answers = vec![Answer::Status(422, ""), first, listed(&["b@8"], "10")];
    let mut stage = Stage::new("v1/configmaps", answers, limits);
    stage.informer.context.cluster = Some(Arc::new(Cluster(Some(false))));
    assert_eq!(stage.run().1, ["ADDED(initial) a@7"]);
}
