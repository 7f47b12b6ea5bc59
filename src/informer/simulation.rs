//! A server in memory with faults by seed, and the law that an informer keeps with it.
//!
//! The law: when faults end, what was told replays to the server's objects; each delete is told once; each object's events
//! come in order. The replay fails on the first event that no receiver could make sense of.

use super::testing::{self, Outbox};
use super::{Context, Informer};
use crate::api::Status;
use crate::client::{
    Error, Line, ListWatch, PageReader, PageRequest, PastPage, Proof, Served, ServerVersion, WatchLines, WatchStart,
};
use crate::event::{EventType, MatchedEvent};
use crate::lifecycle::Stop;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How many seeds; each has other writes and other faults.
const SEEDS: u64 = 300;
const WRITES: usize = 60;
const FAULTS: usize = 30;

#[test]
fn whatever_the_server_does_the_events_replay_to_its_objects() {
    let only = std::env::var("SIM_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        obey(seed);
    }
}

fn obey(seed: u64) {
    let stop = Stop::new();
    let outbox = Outbox::default();
    let server = Model::new(seed, stop.clone(), outbox.clone());
    let watch = testing::watch("v1/configmaps");
    let context = Context { limits: testing::hasty(), ..testing::context(&watch, &stop) };
    Informer::new(watch, Box::new(server.clone()), Box::new(outbox.clone()), context).run();

    let events = outbox.events();
    let mut told = BTreeMap::new();
    testing::replay(&events, &mut told);
    let server = server.lock();
    let objects: BTreeMap<_, _> =
        server.objects.iter().map(|(name, (uid, v))| (name.clone(), (uid.clone(), v.to_string()))).collect();
    assert_eq!(told, objects, "seed {seed}: run `SIM_SEED={seed} cargo test simulation`");
    if server.restores == 0 {
        check_each_object(seed, &events);
    }
}

/// Without a restore the versions of an object only grow, and once deleted it stays so.
fn check_each_object(seed: u64, events: &[MatchedEvent]) {
    let mut newest: HashMap<String, u64> = HashMap::new();
    let mut deleted = HashSet::new();
    for event in events {
        let metadata = event.metadata();
        let (uid, version) = (metadata.uid().into_owned(), metadata.resource_version().as_str().parse().unwrap());
        assert!(!deleted.contains(&uid), "seed {seed}: {} after its delete", testing::words(event));
        if event.event_type == EventType::Deleted {
            deleted.insert(uid.clone());
        }
        let before = newest.insert(uid, version).unwrap_or(0);
        let is_newer = version > before || (version == before && event.event_type == EventType::Deleted && event.inferred);
        assert!(is_newer, "seed {seed}: {} after version {before}", testing::words(event));
    }
}

/// A server, shared by its connections.
#[derive(Clone)]
struct Model(Arc<Mutex<Server>>);

struct Server {
    random: fastrand::Rng,
    objects: Objects,
    /// Every change since `compacted`: its version, its line.
    history: Vec<(u64, Vec<u8>)>,
    /// What was there after each.
    pasts: BTreeMap<u64, Objects>,
    version: u64,
    compacted: u64,
    /// Lists under way, by token: the objects that are left of each.
    lists: HashMap<String, (u64, Vec<String>)>,
    streams: bool,
    writes: usize,
    faults: usize,
    uids: u64,
    /// A state to restore, as from a backup.
    backup: Option<(Objects, u64)>,
    restores: u32,
    /// So many requests still fail because the server starts.
    starting: u32,
    /// What discovery says while the path is not found, and how often still.
    unserved: Option<(u32, Served)>,
    stop: Stop,
    outbox: Outbox,
}

/// Each object's uid and version, by name.
type Objects = BTreeMap<String, (String, u64)>;

/// One open answer.
struct Open {
    model: Model,
    position: u64,
    initial: VecDeque<Vec<u8>>,
    restores: u32,
    line: Vec<u8>,
    quiet: u32,
}

impl Model {
    fn new(seed: u64, stop: Stop, outbox: Outbox) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let streams = random.bool();
        let mut server = Server {
            random,
            objects: BTreeMap::new(),
            history: Vec::new(),
            pasts: BTreeMap::new(),
            version: 100,
            compacted: 100,
            lists: HashMap::new(),
            streams,
            writes: WRITES,
            faults: FAULTS,
            uids: 0,
            backup: None,
            restores: 0,
            starting: 0,
            unserved: None,
            stop,
            outbox,
        };
        (0..10).for_each(|_| server.write());
        Self(Arc::new(Mutex::new(server)))
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap()
    }
}

impl Server {
    fn write(&mut self) {
        if self.writes == 0 || self.unserved.is_some() {
            return;
        }
        // Each life of the server has versions of its own: an object that was written twice at one could not be told apart.
        let life = u64::from(self.restores);
        self.version = (self.version / LIVES_MAX + self.random.u64(1..3)) * LIVES_MAX + life;
        self.writes -= 1;
        let name = format!("o{}", self.random.u8(0..6));
        let kind = match self.objects.get_mut(&name) {
            None => {
                self.uids += 1;
                self.objects.insert(name.clone(), (format!("uid{}", self.uids), self.version));
                "ADDED"
            }
            Some(_) if self.random.u8(0..3) == 0 => "DELETED",
            Some((_, version)) => {
                *version = self.version;
                "MODIFIED"
            }
        };
        let uid = self.objects[&name].0.clone();
        if kind == "DELETED" {
            self.objects.remove(&name);
        }
        self.pasts.insert(self.version, self.objects.clone());
        self.history.push((self.version, testing::line(kind, &format!("{name}/{uid}@{}", self.version))));
    }

    fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
        self.pasts = BTreeMap::from([(self.version, self.objects.clone())]);
    }

    /// Whether this moment has a fault, one in `n`.
    fn strikes(&mut self, n: u32) -> bool {
        let strikes = self.faults > 0 && self.random.u32(0..n) == 0;
        self.faults -= usize::from(strikes);
        strikes
    }

    /// Time passes.
    fn live(&mut self) {
        if self.random.bool() {
            self.write();
        }
        if self.strikes(30) {
            self.compact();
            self.lists.clear();
        }
        if self.strikes(60) {
            self.backup = Some((self.objects.clone(), self.version));
        }
        if self.strikes(15) {
            let (credit, refusals) = (self.random.usize(0..3), self.random.usize(1..6));
            self.outbox.refuse_after(Some(credit), refusals);
        }
    }

    fn restore(&mut self) {
        let Some((objects, version)) = self.backup.take() else { return };
        if version == self.version || u64::from(self.restores) + 1 == LIVES_MAX {
            return;
        }
        (self.objects, self.version, self.compacted) = (objects, version, version);
        self.history.clear();
        self.pasts = BTreeMap::from([(self.version, self.objects.clone())]);
        self.lists.clear();
        self.restores += 1;
        self.starting = self.random.u32(1..5);
        (0..self.random.u32(0..8)).for_each(|_| self.write());
    }

    /// The kind is no longer served as it was; only where it is gone altogether its objects are gone with it.
    fn leave(&mut self) {
        let served = match self.random.u8(0..3) {
            0 => Served::Absent,
            1 => Served::OtherVersions(vec!["v2".to_owned()]),
            _ => Served::Unknown("stale".to_owned()),
        };
        if served == Served::Absent {
            self.objects.clear();
            self.version += LIVES_MAX;
            self.compact();
        }
        self.lists.clear();
        self.backup = None;
        self.unserved = Some((self.random.u32(0..4), served));
    }

    fn serve(&mut self) -> Result<(), Error> {
        if self.starting > 0 {
            self.starting -= 1;
            self.live();
            return Err(match self.random.u8(0..5) {
                0 => status(500),
                1 => status(503),
                2 => status(401),
                3 => status(429),
                _ => broken(),
            });
        }
        if self.unserved.is_some() { Err(status(404)) } else { Ok(()) }
    }

    fn any_error(&mut self) -> Error {
        match self.random.u8(0..6) {
            0 => status(500),
            1 => status(429),
            2 => status(401),
            3 => status(403),
            4 => status(503),
            _ => broken(),
        }
    }

    fn lines(&self) -> Vec<String> {
        lines_of(&self.objects)
    }
}

fn lines_of(objects: &Objects) -> Vec<String> {
    objects.iter().map(|(name, (uid, version))| format!("{name}/{uid}@{version}")).collect()
}

impl ListWatch for Model {
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error> {
        let mut server = self.lock();
        server.live();
        server.serve()?;
        if server.strikes(4) {
            return Err(server.any_error());
        }
        let (version, mut left) = match page.token {
            Some(token) => server.lists.remove(token).ok_or_else(|| status(410))?,
            None => (server.version, server.lines()),
        };
        let rest = left.split_off(left.len().min(2));
        let next = (!rest.is_empty()).then(|| format!("t{}-{}", version, rest.len()));
        if let Some(token) = &next {
            server.lists.insert(token.clone(), (version, rest));
        }
        let mut objects: Vec<String> = left.iter().map(|object| testing::object(object)).collect();
        if !objects.is_empty() && server.strikes(8) {
            objects[0] = testing::object("?");
        }
        Ok(PageReader::of(testing::page("ConfigMapList", &objects, &version.to_string(), next.as_deref())))
    }

    fn watch(&mut self, start: &WatchStart, _: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        let mut server = self.lock();
        server.live();
        server.serve()?;
        if server.strikes(5) {
            return Err(server.any_error());
        }
        let mut initial = VecDeque::new();
        let position = match start {
            WatchStart::InitialEvents if !server.streams => return Err(status(422)),
            WatchStart::InitialEvents => {
                initial.extend(server.lines().iter().map(|object| testing::line("ADDED", object)));
                initial.push_back(testing::bookmark(&server.version.to_string(), true));
                server.version
            }
            WatchStart::After(version) => version.as_str().parse().unwrap(),
        };
        if position < server.compacted {
            let line = br#"{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}"#.to_vec();
            initial = [line].into();
        }
        let restores = server.restores;
        Ok(Box::new(Open { model: self.clone(), position, initial, restores, line: Vec::new(), quiet: 0 }))
    }

    fn lookup(&mut self, _: Proof) -> Result<Served, Error> {
        let mut server = self.lock();
        if server.strikes(5) {
            return Err(server.any_error());
        }
        match server.unserved.take() {
            Some((left @ 1.., served)) => {
                server.unserved = Some((left - 1, served.clone()));
                Ok(served)
            }
            Some((0, _)) | None => Ok(Served::Yes),
        }
    }

    fn version(&mut self) -> Result<Option<ServerVersion>, Error> {
        let mut server = self.lock();
        if server.strikes(5) {
            return Err(server.any_error());
        }
        Ok(ServerVersion::parse("v1.36.0", "", ""))
    }
}

impl WatchLines for Open {
    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        let mut server = self.model.lock();
        server.live();
        server.serve()?;
        if server.strikes(5) {
            return Err(server.any_error());
        }
        let version = page.version.number().unwrap();
        if version > server.version {
            let cause = br#"{"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
            return Err(Error::Status { request: "ask".to_owned(), status: Status::from_body(504, cause), retry_after: None });
        }
        if version < server.compacted {
            return Err(status(410));
        }
        let (_, past) = server.pasts.range(..=version).next_back().expect("what was there when it was compacted");
        let objects: Vec<String> = lines_of(past).iter().map(|object| testing::object(object)).collect();
        Ok(PageReader::of(testing::page("PartialObjectMetadataList", &objects, page.version.as_str(), None)))
    }

    fn next(&mut self) -> Result<Line<'_>, Error> {
        let mut server = self.model.0.lock().unwrap();
        server.live();
        if server.strikes(12) {
            return Err(broken());
        }
        if server.strikes(12) {
            return Ok(Line::End);
        }
        if server.strikes(40) {
            server.restore();
        }
        if server.strikes(50) {
            server.leave();
        }
        if self.restores != server.restores {
            return if server.random.bool() { Err(broken()) } else { Ok(Line::End) };
        }
        server.serve().map_err(|_| broken())?;
        if let Some(line) = self.initial.pop_front() {
            self.line = line;
            return Ok(if server.strikes(15) { Line::TooLong(1 << 24) } else { Line::Whole(&self.line) });
        }
        if self.position < server.compacted {
            // What it has not sent is gone: a server ends such a watch.
            return if server.random.bool() { Err(broken()) } else { Ok(Line::End) };
        }
        let next = server.history.iter().find(|(version, _)| *version > self.position).cloned();
        if let Some((version, line)) = next {
            (self.position, self.line, self.quiet) = (version, line, 0);
            if server.strikes(15) {
                self.line = b"{\"type\":\"DELETED\",".to_vec();
            }
            return Ok(Line::Whole(&self.line));
        }
        self.quiet += 1;
        if self.position < server.version {
            return Err(broken());
        }
        if server.writes == 0 && self.position == server.version && self.quiet > QUIET_AT_END {
            server.faults = 0;
            server.stop.request();
        }
        Ok(Line::Quiet)
    }
}

/// Lives of a server, each begun by a restore.
const LIVES_MAX: u64 = 16;

/// So many quiet ticks at the end show that nothing more comes.
const QUIET_AT_END: u32 = 20;

fn status(code: u16) -> Error {
    Error::Status { request: "ask".to_owned(), status: Status::from_body(code, b""), retry_after: None }
}

fn broken() -> Error {
    Error::Connection { request: "ask".to_owned(), server: "model".to_owned(), source: "broken".into() }
}
