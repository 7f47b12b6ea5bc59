//! The disk fails in the middle of a load, for ten seconds: Faro says so once, waits, and loses nothing.

use super::field::{Field, seed};
use super::kills::HANDS;
use crate::chaos::aftermath::Aftermath;
use crate::chaos::doctor::Doctor;
use crate::chaos::hand::Hand;
use crate::chaos::judge::Forgetting;
use crate::chaos::killer::Kept;
use crate::chaos::load::Load;
use crate::chaos::mount::Mount;
use crate::chaos::story::count;
use crate::cluster::Cluster;
use crate::daemon::Setup;
use crate::runner::{Stage, say};
use crate::wait::{SOON, eventually, pause};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A tmpfs of 2 MiB is full: `/ready` says 503 meanwhile, `/health` 200, and the log one line.
pub(crate) fn nothing_is_lost_when_the_disk_is_full_for_10_s(stage: &Stage) {
    on_a_small_disk(stage, |trial, mount| {
        let full = Instant::now();
        let filled = mount.fill();
        let (noticed, body) = trial.doctor.wait_for_ready(503, full, SOON);
        pause(AWAY.saturating_sub(full.elapsed()));
        mount.free();
        let (recovered, _) = trial.doctor.wait_for_ready(200, Instant::now(), SOON);
        say(&format!(
            "    filled with {filled} bytes; unready after {noticed:.1?} ({}), ready again after {recovered:.1?}\n",
            body.trim()
        ));
        Expected { ready: vec![200, 503, 200], moved: Vec::new() }
    });
}

/// The same, and it is killed while there is no room: it comes back when there is.
pub(crate) fn nothing_is_lost_when_it_is_killed_while_the_disk_is_full(stage: &Stage) {
    on_a_small_disk(stage, |trial, mount| {
        let full = Instant::now();
        mount.fill();
        trial.doctor.wait_for_ready(503, full, SOON);
        for _ in 0..3 {
            trial.kept.keep_until(Instant::now() + Duration::from_secs(2));
            trial.kept.kill(false);
        }
        trial.kept.keep_until(full + AWAY);
        mount.free();
        let freed = Instant::now();
        trial.kept.wait_until_ready();
        say(&format!(
            "    killed 3 times, starts that failed {}, ready again after {:.1?}\n",
            trial.kept.killed.failed_starts,
            freed.elapsed()
        ));
        Expected { ready: Vec::new(), moved: Vec::new() }
    });
}

/// The folder is removed with all that is in it, and comes back after a while.
pub(crate) fn nothing_is_lost_when_the_output_folder_is_removed(stage: &Stage) {
    let cluster = stage.shared();
    let field = Field::on(cluster);
    // The state lies elsewhere: it goes on while the folder of the events is away.
    run(cluster, &field, setup(cluster, &field, "state: {dir: state}\n"), |trial| {
        let (output, kept) = (trial.setup.output(), trial.setup.folder().join("kept"));
        let open: Vec<(PathBuf, File)> =
            fs::read_dir(&output).into_iter().flatten().flatten().filter_map(|entry| opened(&entry)).collect();
        let away = Instant::now();
        fs::remove_dir_all(&output).expect("the daemon's folder is ours");
        // A file is where the folder was, so that it cannot be made again.
        fs::write(&output, "").expect("the daemon's folder is ours");
        let (noticed, body) = trial.doctor.wait_for_ready(503, away, SOON);
        pause(AWAY.saturating_sub(away.elapsed()));
        fs::remove_file(&output).expect("the daemon's folder is ours");
        fs::create_dir(&output).expect("the daemon's folder is ours");
        let (recovered, _) = trial.doctor.wait_for_ready(200, Instant::now(), SOON);
        say(&format!("    unready after {noticed:.1?} ({}), ready again after {recovered:.1?}\n", body.trim()));
        // What was removed was told, but for what was written once more because it came too late.
        fs::create_dir(&kept).expect("the daemon's folder is ours");
        let anew = lines_of(&output);
        for (name, mut file) in open {
            let mut text = String::new();
            file.read_to_string(&mut text).expect("an open file can be read");
            let text: String = text.split_inclusive('\n').filter(|line| !anew.contains(*line)).collect();
            fs::write(kept.join(name), text).expect("the daemon's folder is ours");
        }
        Expected { ready: vec![200, 503, 200], moved: vec![kept] }
    });
}

fn lines_of(folder: &Path) -> HashSet<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_file());
    let texts: Vec<String> = files.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
    texts.iter().flat_map(|text| text.split_inclusive('\n').map(str::to_owned)).collect()
}

fn opened(entry: &fs::DirEntry) -> Option<(PathBuf, File)> {
    let is_file = entry.path().is_file();
    is_file.then(|| (entry.file_name().into(), File::open(entry.path()).expect("the daemon's files can be read")))
}

/// Remounted read-only; where that is refused while a file is open for writing, it is while Faro is down.
pub(crate) fn nothing_is_lost_when_the_disk_is_read_only(stage: &Stage) {
    on_a_small_disk(stage, |trial, mount| {
        let away = Instant::now();
        let Err(refused) = mount.remount("ro") else {
            trial.doctor.wait_for_ready(503, away, SOON);
            pause(AWAY.saturating_sub(away.elapsed()));
            mount.remount("rw").expect("it was writable before");
            trial.doctor.wait_for_ready(200, Instant::now(), SOON);
            return Expected { ready: vec![200, 503, 200], moved: Vec::new() };
        };
        say(&format!("    not while it runs: {refused}\n"));
        trial.kept.stay_down(|| mount.remount("ro").expect("nothing has a file open"));
        trial.kept.keep_until(away + AWAY);
        mount.remount("rw").expect("it was writable before");
        trial.kept.wait_until_ready();
        say(&format!("    started on a read-only disk: {} starts failed\n", trial.kept.killed.failed_starts));
        Expected { ready: Vec::new(), moved: Vec::new() }
    });
}

/// What a trial has to have shown.
struct Expected {
    /// The codes of `/ready`, in turn; empty where it did not run all the time.
    ready: Vec<u16>,
    /// Where events are besides its folder.
    moved: Vec<PathBuf>,
}

/// A daemon under a load.
struct Trial {
    setup: Setup,
    kept: Kept,
    doctor: Doctor,
}

fn on_a_small_disk(stage: &Stage, harm: impl FnOnce(&mut Trial, &Mount) -> Expected) {
    let field = Field::on(stage.shared());
    let setup = setup(stage.shared(), &field, "");
    match Mount::tmpfs(&setup.output(), DISK_BYTES) {
        Ok(mount) => run(stage.shared(), &field, setup, |trial| harm(trial, &mount)),
        Err(refused) => say(&format!("    NOT SHOWN: this machine cannot mount a tmpfs: {refused}\n")),
    }
}

fn setup(cluster: &Cluster, field: &Field, config: &str) -> Setup {
    Setup::new(cluster, &format!("{config}{}", field.config())).arguments("--log-level info").release()
}

/// Starts a daemon and a load, does harm after a while, and holds what came of it to what is promised.
fn run(cluster: &Cluster, field: &Field, setup: Setup, harm: impl FnOnce(&mut Trial) -> Expected) {
    let began = Instant::now();
    let mut kept = Kept::start(setup.clone(), began);
    // A state that has not yet the end of the first list makes Faro list again, and compare.
    kept.wait_until_settled();
    let mut trial = Trial { kept, doctor: Doctor::start(setup.port()), setup };
    let hand = || Hand::real(&cluster.writer, began);
    let load = Load { places: field.places.clone(), objects: OBJECTS, changes: CHANGES, duration: LOAD, seed: seed() };
    let (acts, expected) = std::thread::scope(|scope| {
        let hands = (0..HANDS).map(|_| hand()).collect();
        let writing = scope.spawn(move || load.run(hands));
        eventually(SOON, "some of the load is told", || count(&trial.setup.output()) > CHANGES / 8);
        let expected = harm(&mut trial);
        (writing.join().expect("all is written"), expected)
    });
    let Trial { kept, setup, doctor } = trial;
    let log = kept.log();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains(" error ") || line.contains(" warn ")).collect();
    let forgetting = Forgetting { beginning: Duration::ZERO, windows: Vec::new() };
    let aftermath = Aftermath { kept, setup: &setup, moved: expected.moved, watches: &field.watches, forgetting, acts };
    // Before it is asked to stop, and is not ready any more.
    let ((asked, sick), ready) = doctor.end();
    let findings = aftermath.judge(hand(), &field.last());
    say(&format!(
        "    {} changes: {}\n    /ready in turn {ready:?}; /health asked {asked} times, other than 200: {sick}; complaints in the log: {}\n",
        findings.acts.len(),
        findings.verdict,
        complaints.len()
    ));
    complaints.iter().take(COMPLAINTS_SHOWN).for_each(|line| say(&format!("      {line}\n")));
    findings.demand_none();
    if !expected.ready.is_empty() {
        assert_eq!(sick, 0, "answers of /health other than 200");
        assert_eq!(ready, expected.ready, "the codes of /ready, in turn");
        assert_eq!(complaints.len(), 1, "lines of the log that complain");
    }
}

const DISK_BYTES: u64 = 2 * 1024 * 1024;
const AWAY: Duration = Duration::from_secs(10);

/// With the next two, a line is written every ten milliseconds, and all of them have room on the disk.
const CHANGES: usize = 1_500;
const LOAD: Duration = Duration::from_secs(15);
const OBJECTS: usize = 100;

const COMPLAINTS_SHOWN: usize = 10;
