//! What becomes of events while the disk of the journal, or of what is owed, takes nothing; and across removals.

use super::tests::{DEADLINE, event, handler, name_and_version, retry, send, watch};
use super::*;
use crate::api::Watch;
use crate::checkpoint::{Journal, OwedEvent, Record, Spill};
use crate::event::{Credit, MatchedEvent, Outlet};
use crate::health::Health;
use crate::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A disk that is full as long as the switch says so: of what it is given it takes half.
#[derive(Debug)]
struct Disk {
    inner: InMemoryBackend,
    is_full: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_full = self.is_full.load(Ordering::SeqCst);
        let taken = if is_full { &bytes[..bytes.len() / 2] } else { bytes };
        self.inner.set_len(self.inner.len()?.max(offset + taken.len() as u64))?;
        self.inner.write(offset, taken)?;
        if is_full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A dispatcher whose events are recorded on disks that a test lets fail.
struct Bench {
    dispatcher: Dispatcher,
    recorder: Arc<Recorder>,
    is_full: Arc<AtomicBool>,
    backlog: Arc<Backlog>,
    folder: TempDir,
}

impl Bench {
    fn new(settings: &Settings, handlers: Vec<Registered>) -> Self {
        let (is_full, folder) = (Arc::<AtomicBool>::default(), TempDir::new().unwrap());
        let disk = Disk { inner: InMemoryBackend::new(), is_full: Arc::clone(&is_full) };
        let journal = Journal::on(Arc::new(disk)).unwrap();
        let recorder = Arc::new(Recorder::new(journal, Spill::open(folder.path()).unwrap()));
        recorder.begin(&Registered::names(&handlers)).unwrap();
        let (health, recording) = (Health::default(), Some(Arc::clone(&recorder)));
        let dispatcher = Dispatcher::recording(settings, handlers, None, health, recording).unwrap();
        Self { dispatcher, recorder, is_full, backlog: Arc::default(), folder }
    }

    fn outlet(&self, watch: &Arc<Watch>) -> LaneOutlet {
        let metrics = Metrics::default().watch(watch);
        self.dispatcher.resumed_outlet(Arc::clone(watch), metrics, Resumed::default(), Arc::clone(&self.backlog)).unwrap()
    }

    /// Waits until so many acceptances are in the journal.
    fn wait_until_journalled(&self, accepted: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.journalled().1 < accepted {
            assert!(Instant::now() < deadline, "{accepted} acceptances are not journalled: {:?}", self.journalled());
            std::thread::yield_now();
        }
    }

    /// As many events are in the journal as were handed out, and as were accepted.
    fn journalled(&self) -> (usize, usize) {
        let (mut emitted, mut accepted) = (0, 0);
        let count = |record| match record {
            Record::Emitted { .. } => emitted += 1,
            Record::Accepted { .. } => accepted += 1,
            Record::Receivers(_) => {}
        };
        self.recorder.read(count).unwrap();
        (emitted, accepted)
    }

    fn owe(&self, name: &str, watch: &Arc<Watch>, versions: impl IntoIterator<Item = u64>) {
        for version in versions {
            let event = event(watch, "web-0", version);
            let (key, received, raw) = ("default\0web-0", event.received, event.raw());
            let owed = OwedEvent { watch: watch.id, key, uid: "u", is_deleted: false, flags: 1, received, raw };
            self.recorder.owed(name).push(&owed, u64::MAX).unwrap();
        }
    }

    /// No file of owed events can be made for this subscription until this folder is gone.
    fn block_owed(&self, name: &str) -> PathBuf {
        let other = TempDir::new().unwrap();
        let event = event(&watch("v1/pods"), "web-0", 1);
        let (watch, key, received, raw) = (event.watch.id, "any", event.received, event.raw());
        let owed = OwedEvent { watch, key, uid: "u", is_deleted: false, flags: 1, received, raw };
        Spill::open(other.path()).unwrap().of(name).push(&owed, u64::MAX).unwrap();
        let made = fs::read_dir(other.path()).unwrap().next().unwrap().unwrap().file_name();
        let obstacle = self.folder.path().join(format!("{}.new", made.to_str().unwrap()));
        fs::create_dir(&obstacle).unwrap();
        obstacle
    }
}

/// A subscription of this name, which refuses what its switch says, and reports what it accepts.
fn named(name: &str, refuses_bad: &Arc<AtomicBool>) -> (Registered, Receiver<(String, u64)>) {
    let ((accepted, acceptances), refuses_bad) = (bounded(10_000), Arc::clone(refuses_bad));
    let handler = move |event: &MatchedEvent| {
        let (name, version) = name_and_version(event);
        if name == "bad" && refuses_bad.load(Ordering::SeqCst) {
            return Err("refused".into());
        }
        Ok(accepted.send((name, version))?)
    };
    (Registered::new(Subscription::new().name(name), handler), acceptances)
}

fn of(acceptances: &Receiver<(String, u64)>, count: usize) -> Vec<u64> {
    (0..count).map(|_| acceptances.recv_timeout(DEADLINE).unwrap().1).collect()
}

/// What is refused is owed at once, and tried again at once, for ever.
fn impatient() -> Settings {
    let retry = Retry { attempts_max: None, ..retry(Duration::ZERO) };
    Settings { retry, owed_after: Duration::ZERO, lanes: 1, ..Settings::default() }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        thread::yield_now();
    }
}

#[test]
fn while_the_journal_takes_nothing_no_handler_is_called_and_then_everything_comes_once_and_in_order() {
    let (audit, acceptances) = named("audit", &Arc::default());
    let bench = Bench::new(&Settings::default(), vec![audit]);
    let pods = watch("v1/pods");
    let mut outlet = bench.outlet(&pods);
    let mut version = 0;
    for round in 0..3 {
        let before = version;
        bench.is_full.store(true, Ordering::SeqCst);
        // As much as waits for one write, and what is then written in vain.
        while outlet.wait_for_credit(Duration::ZERO) == Credit::Granted {
            version += 1;
            outlet.send(event(&pods, "web-0", version));
            assert!(version < 1000, "the watch is held");
        }
        outlet.flush();
        assert_eq!((acceptances.try_recv().ok(), bench.dispatcher.unfinished() > 0), (None, true), "round {round}");
        bench.is_full.store(false, Ordering::SeqCst);
        outlet.flush();
        version += 1;
        send(&mut outlet, event(&pods, "web-0", version));
        outlet.flush();
        let expected: Vec<_> = (before + 1..=version).collect();
        assert_eq!(of(&acceptances, expected.len()), expected);
        // What is not noted before the disk is full again is noted never: it may come again after a crash.
        bench.wait_until_journalled(usize::try_from(version).unwrap());
    }
    drop(outlet);
    assert_eq!(bench.dispatcher.drain(DEADLINE), Drained { unfinished: 0 });
    assert_eq!(bench.journalled(), (usize::try_from(version).unwrap(), usize::try_from(version).unwrap()));
}

#[test]
fn a_run_that_ends_while_the_journal_takes_nothing_gives_nothing_to_anybody_and_counts_it() {
    let (audit, acceptances) = named("audit", &Arc::default());
    let bench = Bench::new(&Settings::default(), vec![audit]);
    let pods = watch("v1/pods");
    let mut outlet = bench.outlet(&pods);
    bench.is_full.store(true, Ordering::SeqCst);
    (1..=3).for_each(|version| send(&mut outlet, event(&pods, "web-0", version)));
    drop(outlet);
    assert_eq!(bench.dispatcher.drain(DEADLINE), Drained { unfinished: 3 });
    assert_eq!((acceptances.try_recv().ok(), bench.journalled()), (None, (0, 0)));
}

#[test]
fn an_acceptance_that_cannot_be_journalled_holds_nobody_and_the_event_comes_again_after_a_crash() {
    let disk = Arc::<OnceLock<Arc<AtomicBool>>>::default();
    let known = Arc::clone(&disk);
    let filling = handler(move |_| {
        known.get().unwrap().store(true, Ordering::SeqCst);
        Ok(())
    });
    let bench = Bench::new(&Settings::default(), vec![filling]);
    disk.set(Arc::clone(&bench.is_full)).unwrap();
    let pods = watch("v1/pods");
    let mut outlet = bench.outlet(&pods);
    send(&mut outlet, event(&pods, "web-0", 1));
    outlet.flush();
    assert!(outlet.ledger().wait_until_settled(Instant::now() + DEADLINE));
    assert_eq!((bench.dispatcher.unfinished(), bench.journalled()), (0, (1, 0)));
}

#[test]
fn while_what_is_owed_cannot_be_written_other_subscriptions_go_on_and_then_it_comes_in_order() {
    let refuses = Arc::new(AtomicBool::new(true));
    let ((audit, acceptances), (mail, mails)) = (named("audit", &refuses), named("mail", &Arc::default()));
    let bench = Bench::new(&impatient(), vec![audit, mail]);
    let obstacle = bench.block_owed("audit");
    let pods = watch("v1/pods");
    let mut outlet = bench.outlet(&pods);
    for version in 1..=40 {
        send(&mut outlet, event(&pods, "bad", version));
    }
    outlet.flush();
    assert_eq!(of(&mails, 40), (1..=40).collect::<Vec<_>>());
    assert_eq!((bench.recorder.owed("audit").events(), bench.dispatcher.unfinished()), (0, 40), "nothing counts as owed");
    fs::remove_dir(obstacle).unwrap();
    wait_until("all are owed", || bench.dispatcher.unfinished() == 0);
    assert_eq!(bench.recorder.owed("audit").events(), 40);
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(of(&acceptances, 40), (1..=40).collect::<Vec<_>>());
    wait_until("nothing is owed", || bench.recorder.owed("audit").events() == 0);
}

#[test]
fn a_run_that_ends_while_what_is_owed_cannot_be_written_leaves_it_to_the_journal() {
    let (audit, _) = named("audit", &Arc::new(AtomicBool::new(true)));
    let bench = Bench::new(&impatient(), vec![audit]);
    let obstacle = bench.block_owed("audit");
    let pods = watch("v1/pods");
    let mut outlet = bench.outlet(&pods);
    (1..=5).for_each(|version| send(&mut outlet, event(&pods, "bad", version)));
    drop(outlet);
    assert_eq!(bench.dispatcher.drain(Duration::ZERO), Drained { unfinished: 5 });
    fs::remove_dir(obstacle).unwrap();
    assert_eq!((bench.recorder.owed("audit").events(), bench.journalled()), (0, (5, 0)));
}

#[test]
fn what_a_removed_watch_was_just_given_is_given_again_when_it_is_added_again_and_so_is_what_comes_behind_it() {
    let (called, calls) = bounded(16);
    let held = Registered::new(Subscription::new().name("audit"), move |event: &MatchedEvent| {
        let (release, released) = bounded::<()>(1);
        called.send((name_and_version(event).1, release))?;
        Ok(released.recv()?)
    });
    let bench = Bench::new(&impatient(), vec![held]);
    // Ends before the dispatcher, which waits for handlers that wait for this.
    let next_call = move || calls.recv_timeout(DEADLINE).unwrap();
    let (pods, name) = (watch("v1/pods"), "audit");
    bench.owe(name, &pods, [1, 2]);
    let first = bench.outlet(&pods);
    let (version, release_first) = next_call();
    assert!(!bench.dispatcher.remove(first.ledger(), Duration::ZERO), "the handler has not returned");
    let second = bench.outlet(&pods);
    let (again, release_second) = next_call();
    release_first.send(()).unwrap();
    assert!(first.ledger().wait_for_calls(Instant::now() + DEADLINE));
    assert_eq!((version, again, bench.recorder.owed(name).events()), (1, 1, 2));
    release_second.send(()).unwrap();
    let (behind, release) = next_call();
    assert_eq!((behind, bench.recorder.owed(name).events()), (2, 1));
    release.send(()).unwrap();
    wait_until("nothing is owed", || bench.recorder.owed(name).events() == 0);
    drop((first, second));
}
