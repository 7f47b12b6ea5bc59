//! Golden transcripts: what the machine and the store make of each row of the watch protocol.
//!
//! Each line of `tests/golden/informer/*.txt` is an input, and after the arrow what came of it: notes, events, marks, and
//! what is asked next (nothing where it reads on). `UPDATE_GOLDEN=1` rewrites the right-hand sides for review.

use super::TextBudget;
use super::handover::{Halt, Handover, Patience};
use super::machine::{Action, Close, Comparison, End, Input, Line, Machine, Note, Page, Pause, Step};
use super::replay::Replay;
use super::store::Store;
use super::stream::next_step;
use super::teller::{Heard, Phase, Teller};
use super::testing::{self, Outbox};
use crate::api::{Anchor, Fault, HISTORY_FIRST, Identity, ListPage, Object, ObjectRef, ResourceVersion, Status, ToldId};
use crate::client::{Proof, Served};
use crate::lifecycle::Stop;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// A machine, its store, and the connection it thinks it has.
struct Scene {
    machine: Machine,
    teller: Teller,
    outbox: Outbox,
    out: Vec<String>,
}

#[test]
fn the_protocol_is_followed_row_by_row() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/informer");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no transcripts in {}", folder.display());
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let found = play(&expected);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        assert!(found == expected || std::env::var_os("UPDATE_GOLDEN").is_some(), "{}: found\n{found}", file.display());
    }
}

/// Plays every scene of a file and writes it anew.
fn play(text: &str) -> String {
    let mut scene = Scene::new(None);
    let mut found = String::new();
    for line in text.lines() {
        let input = line.split("->").next().unwrap_or_default().trim();
        if input.is_empty() || input.starts_with('#') {
            scene = Scene::new(None);
            writeln!(found, "{line}").unwrap();
            continue;
        }
        let out = scene.input(input);
        match out.as_str() {
            "" => writeln!(found, "{input}").unwrap(),
            out => writeln!(found, "{input:<44} -> {out}").unwrap(),
        }
    }
    found
}

impl Scene {
    fn new(known: Option<&[&str]>) -> Self {
        let is_known = known.is_some();
        let watch = testing::watch("v1/configmaps");
        let outbox = Outbox::default();
        let context = testing::context(&watch, &Stop::new());
        let known = known.into_iter().flatten();
        let known = known.map(|known| Identity::of(&ObjectRef::scan(testing::object(known).as_bytes()).unwrap())).collect();
        let store = Store::of(known, context.server.texts());
        let teller =
            Teller::new(Handover::new(watch, Box::new(outbox.clone()), context, HISTORY_FIRST), store, Replay::default(), None);
        Self { machine: Machine::new(is_known, is_known), teller, outbox, out: Vec::new() }
    }

    /// Plays one input, and gives what came of it.
    fn input(&mut self, text: &str) -> String {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["receivers", "busy"] => self.outbox.give_credit(Some(0)),
            ["receivers", "take", n] => self.outbox.give_credit(Some(n.parse().unwrap())),
            ["asked", "everywhere"] => self.teller.is_asked_everywhere = true,
            ["receivers", "free"] => self.outbox.give_credit(None),
            ["paused"] => self.teller.list_paused(),
            ["known", ref objects @ ..] => *self = Self::new(Some(objects)),
            ["told", ref ids @ .., "beyond", stored] => {
                self.teller.replay = Replay::new(ids.iter().map(told), [], Some(&version(stored)));
            }
            ["silence", "beyond"] => {
                assert!(self.teller.is_replay_due(), "silence says nothing");
                self.step(Input::Close(Close::NotReplayed));
            }
            _ => {
                let input = self.parse(&words);
                self.step(input);
            }
        }
        self.collect();
        std::mem::take(&mut self.out).join("; ")
    }

    /// Steps, and does what the driver does without asking anyone.
    fn step(&mut self, input: Input) {
        self.collect();
        let Step { action, note } = next_step(&mut self.machine, &mut self.teller, input);
        self.out.extend(note.map(note_words));
        let phase = if self.machine.in_first_list() { Phase::FirstList } else { Phase::Relist };
        match &action {
            Action::StreamList | Action::Page { token: None, .. } => self.teller.begin_list(phase),
            Action::EndList { version, whole } => {
                let input = match self.teller.end_list(version, *whole, Patience::Limited) {
                    Ok(newest) => Input::ListEnded { newest },
                    Err(Halt::Slow) => Input::Close(Close::Slow),
                    Err(Halt::Stop) => Input::Stop,
                };
                return self.step(input);
            }
            Action::BeginHistory => {
                self.teller.out.begin_history();
                return self.step(Input::HistoryBegun);
            }
            Action::TellAllDeleted => {
                self.teller.tell_all_deleted().unwrap();
                return self.step(Input::Emptied);
            }
            Action::Page { token: Some(_), .. }
            | Action::Watch(_)
            | Action::Read
            | Action::Replay { .. }
            | Action::Compare { .. }
            | Action::LookUp(_)
            | Action::Pause(_)
            | Action::AwaitCredit
            | Action::Stop => {}
        }
        self.collect();
        self.out.extend(action_words(&action));
    }

    fn collect(&mut self) {
        let mut told: Vec<String> = self.outbox.take().iter().map(testing::Told::words).collect();
        // What a list misses is told in no particular order.
        for run in told.chunk_by_mut(|a, b| a.starts_with(MISSING) && b.starts_with(MISSING)) {
            run.sort();
        }
        self.out.append(&mut told);
    }

    fn parse(&mut self, words: &[&str]) -> Input {
        match *words {
            ["start"] => Input::Start { resume: None, anchor: None },
            ["start", from] => Input::Start { resume: Some(version(from)), anchor: None },
            ["start", from, newest] => Input::Start { resume: Some(version(from)), anchor: Some(anchor(newest)) },
            ["replayed"] => {
                self.teller.replayed();
                Input::Line(Line::Replayed)
            }
            ["not-replayed"] => Input::Close(Close::NotReplayed),
            ["same"] => Input::Line(Line::Compared),
            ["different"] => Input::Compared(Comparison::Different),
            ["ahead"] => Input::Compared(Comparison::Ahead),
            ["other-version"] => Input::Compared(Comparison::OtherVersion),
            ["past", "cut"] => Input::Compared(Comparison::Failed(Fault::Connection)),
            ["past", "504", "too-large"] => Input::Compared(Comparison::Failed(Fault::UnknownVersion)),
            ["past", code] => Input::Compared(Comparison::Failed(fault(code, None))),
            ["opened"] => Input::Line(Line::Opened),
            ["added", object] => self.line(&testing::line("ADDED", object)),
            ["modified", object] => self.line(&testing::line("MODIFIED", object)),
            ["deleted", object] => self.line(&testing::line("DELETED", object)),
            ["bookmark", version] => self.line(&testing::bookmark(version, false)),
            ["initial-events-end", version] => self.line(&testing::bookmark(version, true)),
            ["error", code, ref message @ ..] => self.line(&error_line(code, &message.join(" "))),
            ["garbage"] => self.line(b"{\"type\":\"ADDED\",\"object\":{"),
            ["too-long-line"] => {
                self.teller.skipped();
                Input::Line(Line::Skipped)
            }
            ["relist-due"] => Input::Line(Line::RelistDue),
            ["opened", "late"] => Input::Line(Line::OpenedLate),
            ["end"] => Input::Close(Close::Ended(End::Early)),
            ["end", "at-once"] => Input::Close(Close::Ended(End::AtOnce)),
            ["end", "in-time"] => Input::Close(Close::Ended(End::InTime)),
            ["cut", "short"] => Input::Close(Close::Cut { at_once: true }),
            ["cut", "later"] => Input::Close(Close::Cut { at_once: false }),
            ["overdue"] => Input::Close(Close::Overdue),
            ["held-head"] => Input::Close(Close::HeldHead { late: false }),
            ["held-head", "late"] => Input::Close(Close::HeldHead { late: true }),
            ["silence"] => Input::Close(Close::Silent),
            ["no-first-byte"] => Input::Close(Close::NoFirstByte),
            ["no-initial-events-end"] => Input::Close(Close::NoInitialEventsEnd),
            ["cut"] | ["connection", "refused"] => Input::Failed(Fault::Connection),
            ["too-long"] => Input::Failed(Fault::TooLong),
            ["undecodable"] => Input::Failed(Fault::Undecodable),
            ["stopped"] => Input::Failed(Fault::Stopped),
            ["http", code] => Input::Failed(fault(code, None)),
            ["http", code, retry_after] => Input::Failed(fault(code, Some(retry_after))),
            ["page", ref rest @ ..] => self.page(rest),
            ["served", "yes"] => Input::LookedUp(Served::Yes),
            ["served", "no"] => Input::LookedUp(Served::Absent),
            ["served", "unknown"] => Input::LookedUp(Served::Unknown("stale".to_owned())),
            ["served", ref others @ ..] => Input::LookedUp(Served::OtherVersions(others.iter().map(|&v| v.to_owned()).collect())),
            ["withdrawn"] => Input::Withdrawn,
            ["waited"] => Input::Waited,
            ["credit"] => Input::Credited,
            ["stop"] => Input::Stop,
            _ => panic!("unknown input {words:?}"),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Input {
        let heard = self.teller.line(bytes);
        if self.teller.is_scope_doubtful() {
            return Input::Failed(Fault::NotFound);
        }
        match heard {
            Ok(Heard::Line(line)) => Input::Line(line),
            Ok(Heard::Error(status)) => Input::Close(Close::Error(status.fault(None))),
            Ok(Heard::NotReplayed) => Input::Close(Close::NotReplayed),
            Ok(Heard::Unreadable(_)) => {
                self.teller.skipped();
                Input::Line(Line::Skipped)
            }
            Ok(Heard::Spared(_)) => {
                self.teller.spared();
                Input::Line(Line::Spared)
            }
            Err(Halt::Slow) => Input::Close(Close::Slow),
            Err(Halt::Stop) => Input::Stop,
        }
    }

    fn page(&mut self, words: &[&str]) -> Input {
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let objects: Vec<String> =
            words.iter().filter(|w| w.contains('@') || w.contains('?')).map(|w| testing::object(w)).collect();
        let body = testing::page("ConfigMapList", &objects, value("version=").expect("a version"), value("next="));
        let page = ListPage::parse(&body).unwrap();
        self.teller.page(Some(&page.version));
        let mut whole = true;
        for object in page.objects() {
            match self.teller.page_object(&object, Patience::Unlimited).unwrap() {
                Some(unread) if unread.is_named => self.teller.spared(),
                Some(_) => {
                    whole = false;
                    self.teller.skipped();
                }
                None => {}
            }
        }
        self.teller.page_ended(&page.version);
        if self.teller.is_scope_doubtful() {
            return Input::Failed(Fault::NotFound);
        }
        Input::Page(Page {
            version: page.version,
            next: page.next,
            whole,
            quick: words.contains(&"quick"),
            late: words.contains(&"late"),
        })
    }
}

/// How an object that a list misses is told.
const MISSING: &str = "DELETED(inferred)";

fn version(text: &str) -> ResourceVersion {
    ResourceVersion::new(text.trim_start_matches("from=")).unwrap()
}

/// An event that an earlier run has handed out: `a@7`, or `-a@7` for a delete.
fn told(text: &&str) -> ToldId {
    let line = testing::object(text.trim_start_matches('-'));
    let object = ObjectRef::scan(line.as_bytes()).unwrap();
    ToldId::new(object.uid_json(), object.resource_version().as_str(), text.starts_with('-'))
}

/// The newest event that an earlier run has stored: `modified=7`, or the newest object of a list, `listed=7`; `listed-last=7` where
/// the list was of its version.
fn anchor(text: &str) -> Anchor {
    let (kind, version) = text.split_once('=').unwrap();
    let kind = match kind {
        "added" => "A",
        "modified" => "M",
        "deleted" => "D",
        "listed" => "",
        "listed-last" => "L",
        _ => panic!("unknown kind of event {text}"),
    };
    Anchor::from_texts([version, "0123456789abcdef", kind, ""]).unwrap()
}

fn fault(code: &str, retry_after: Option<&str>) -> Fault {
    let retry_after = retry_after.map(|text| Duration::from_secs(text.trim_start_matches("retry-after=").parse().unwrap()));
    Status::from_body(code.parse().unwrap(), b"").fault(retry_after)
}

fn error_line(code: &str, message: &str) -> Vec<u8> {
    format!(r#"{{"type":"ERROR","object":{{"kind":"Status","status":"Failure","message":"{message}","details":{{"causes":[{{"reason":"{message}"}}]}},"code":{code}}}}}"#)
        .into_bytes()
}

fn note_words(note: Note) -> String {
    match note {
        Note::Relist(reason) => format!("relist({reason:?})"),
        Note::Restart(reason) => format!("restart({reason:?})"),
        Note::Pages(detour) => format!("pages({detour:?})"),
        Note::SmallerPages(limit) => format!("smaller pages({limit})"),
    }
}

fn action_words(action: &Action) -> Option<String> {
    Some(match action {
        Action::Read => return None,
        Action::StreamList => "stream".to_owned(),
        Action::Page { token: None, limit } => format!("page limit={limit}"),
        Action::Page { token: Some(token), limit } => format!("page limit={limit} token={token}"),
        Action::EndList { .. } | Action::TellAllDeleted | Action::BeginHistory => unreachable!("done at once"),
        Action::Watch(version) => format!("watch from={version}"),
        Action::Replay { from, newest } => format!("replay {} from={from}", newest.version()),
        Action::Compare { version, .. } => format!("compare {version}"),
        Action::LookUp(Proof::Server) => "look up".to_owned(),
        Action::LookUp(Proof::Documents) => "look again".to_owned(),
        Action::Pause(pause) => pause_words(pause),
        Action::AwaitCredit => "close, await credit".to_owned(),
        Action::Stop => "stop".to_owned(),
    })
}

fn pause_words(pause: &Pause) -> String {
    match pause {
        Pause::Backoff => "pause backoff".to_owned(),
        Pause::Relist => "pause relist".to_owned(),
        Pause::Brief => "pause brief".to_owned(),
        Pause::Cut => "pause after a cut".to_owned(),
        Pause::Reconnect => "pause reconnect".to_owned(),
        Pause::After(length) => format!("pause {}s", length.as_secs()),
        Pause::Forbidden => "forbidden, pause".to_owned(),
        Pause::Refused => "refused, pause".to_owned(),
        Pause::SecondLook => "pause second look".to_owned(),
        Pause::Absent => "absent, pause".to_owned(),
        Pause::VersionGone(versions) => format!("version gone ({}), pause", versions.join(" ")),
        Pause::Unknown(why) => format!("unknown ({why}), pause backoff"),
    }
}

#[test]
fn an_inventory_is_given_back_as_it_was_told() {
    let told = Object::as_ref(&ObjectRef::scan(testing::object("a/uid@7").as_bytes()).unwrap().to_object()).to_object();
    let mut store = Store::of([Identity::of(&told.as_ref())].into_iter().collect(), &TextBudget::default());
    store.begin_list();
    let (key, gone) = store.recall(&store.missing()).unwrap().remove(0);
    let gone = gone.to_object();
    let (found, expected) = (gone.as_ref(), told.as_ref());
    assert_eq!(
        (found.namespace(), found.name(), found.uid(), found.resource_version(), found.labels().as_json()),
        (expected.namespace(), expected.name(), expected.uid(), expected.resource_version(), expected.labels().as_json())
    );
    assert!(store.forget(key));
    assert_eq!(store.len(), 0);
}
