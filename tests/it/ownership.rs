//! Files and folders that somebody else has put where Faro writes: nothing of anybody else's is overwritten or cut.

use crate::support::daemon::{Ended, Setup};
use faro::sim::Cluster;
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// Some user that neither is root nor runs the tests.
const SOMEBODY: Option<u32> = Some(54321);

struct Stage {
    _cluster: Cluster,
    setup: Setup,
    victim: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::start().unwrap();
        cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
        let setup = Setup::with_config("resources: [{gvr: v1/configmaps}]").kubeconfig(cluster.kubeconfig());
        fs::create_dir_all(setup.output().join("state")).unwrap();
        for folder in [setup.output(), setup.output().join("state")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap();
        }
        let victim = setup.folder().join("victim");
        fs::write(&victim, "somebody's own").unwrap();
        Self { _cluster: cluster, setup, victim }
    }

    fn output(&self, name: &str) -> PathBuf {
        self.setup.output().join(name)
    }

    /// Starts in vain, and leaves the victim as it was.
    #[track_caller]
    fn refused(&self, words: &str) -> Ended {
        let ended = self.setup.clone().run_to_end();
        assert!(ended.code == Some(1) && ended.log.contains(words), "{:?} {}", ended.code, ended.log);
        self.is_unhurt();
        ended
    }

    #[track_caller]
    fn is_unhurt(&self) {
        assert_eq!(fs::read_to_string(&self.victim).unwrap(), "somebody's own");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn links_in_the_state_folder_are_not_followed() {
    let stage = Stage::new();
    symlink(&stage.victim, stage.output("state/lock")).unwrap();
    stage.refused("it is a symbolic link, and is not followed");
    fs::remove_file(stage.output("state/lock")).unwrap();
    for name in ["state.redb", "journal.log", "redact.key"] {
        symlink(&stage.victim, stage.output("state").join(name)).unwrap();
        let log = stage.setup.clone().run_to_end();
        assert_eq!(log.code, Some(1), "{name}: {}", log.log);
        assert!(log.log.contains("it is a symbolic link, and is not followed"), "{name}: {}", log.log);
        stage.is_unhurt();
        fs::remove_file(stage.output("state").join(name)).unwrap();
    }
    // What a crash has left is made anew, and who has put a link in its place gets none of it.
    symlink(&stage.victim, stage.output("state/state.redb.new")).unwrap();
    symlink(&stage.victim, stage.output("state/redact.key.new")).unwrap();
    stage.setup.clone().start_ready().stop();
    stage.is_unhurt();
}

#[test]
fn a_second_name_of_somebody_elses_file_is_neither_cut_nor_written() {
    let stage = Stage::new();
    let events = stage.output("events-20991231-235959.json");
    fs::hard_link(&stage.victim, &events).unwrap();
    stage.refused("it has 2 names (hard links), and is left as it is; put a copy in its place");
    fs::remove_file(&events).unwrap();
    fs::remove_file(stage.output("state/lock")).ok();
    fs::hard_link(&stage.victim, stage.output("state/lock")).unwrap();
    stage.refused("it has 2 names (hard links)");
    fs::remove_file(stage.output("state/lock")).unwrap();
    // Whole lines under two names, as a backup with hard links leaves them, are no trouble.
    stage.setup.clone().start_ready().stop();
    let written =
        fs::read_dir(stage.setup.output()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    fs::hard_link(&written, stage.setup.folder().join("backup")).unwrap();
    stage.setup.clone().start_ready().stop();
    assert_eq!(fs::read(&written).unwrap(), fs::read(stage.setup.folder().join("backup")).unwrap());
}

#[test]
fn what_belongs_to_somebody_else_is_refused_with_its_cure() {
    if !geteuid().is_root() {
        // Nobody else can give a file away.
        return;
    }
    let stage = Stage::new();
    let theirs = stage.setup.folder().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let cure = "belongs to user 54321, and neither to root nor to the user that runs faro: chown it to 0, or name another folder";
    for name in ["state", "logs"] {
        fs::remove_dir_all(stage.output(name)).ok();
        symlink(&theirs, stage.output(name)).unwrap();
        lchown(stage.output(name), SOMEBODY, None).unwrap();
        stage.refused(&format!("the symbolic link {cure}"));
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0, "nothing is written through {name}");
        fs::remove_file(stage.output(name)).unwrap();
    }
    chown(stage.setup.output(), SOMEBODY, None).unwrap();
    stage.refused(&format!("it {cure}"));
    chown(stage.setup.output(), Some(0), None).unwrap();
    fs::set_permissions(stage.setup.output(), fs::Permissions::from_mode(0o777)).unwrap();
    stage.refused("every user may write it (mode 777): chmod o-w");
}

#[test]
fn folders_and_files_are_closed_to_others_whatever_the_umask_is() {
    let stage = Stage::new();
    fs::remove_dir_all(stage.setup.output()).unwrap();
    let wrapper = ["/bin/sh", "-c", "umask 000; exec \"$0\" \"$@\""].map(str::to_owned);
    let setup = stage.setup.clone();
    let binary = setup.binary().to_owned();
    let daemon = setup.behind(wrapper.into(), &binary).start_ready();
    daemon.wait_for_lines("the list", |lines| lines.len() == 1);
    daemon.stop();
    let found = ["", "logs", "state", "state/state.redb", "state/lock", "state/redact.key"]
        .map(|name| mode(&stage.setup.output().join(name)));
    assert_eq!(found, [0o750, 0o750, 0o700, 0o600, 0o600, 0o600]);
    for folder in [stage.setup.output(), stage.output("logs")] {
        for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            assert_eq!(mode(&file), 0o640, "{}", file.display());
        }
    }
}
