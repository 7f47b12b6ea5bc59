//! `faro demo`, as whoever meets Faro first runs it.

use crate::support::daemon::{Ended, Setup};
use crate::support::wait::{SOON, eventually};
use rustix::process::Signal;

fn demo(arguments: &str) -> Setup {
    let setup = Setup::bare();
    let output = setup.output().display().to_string();
    setup.arguments(&format!("demo --output-dir {output} {arguments}"))
}

/// The number that follows `word` in the summary.
fn number(ended: &Ended, word: &str) -> usize {
    let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{word} ")));
    let line = line.unwrap_or_else(|| panic!("no line begins with {word:?}:\n{}\n{}", ended.stdout, ended.log));
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {line:?}"))
}

/// Whatever was made must be told, shown and written, and nothing said on stderr.
fn check_nothing_lost(ended: &Ended) {
    assert_eq!((ended.code, ended.log.as_str()), (Some(0), ""), "{}", ended.stdout);
    let (made, told) = (number(ended, "made"), number(ended, "told"));
    assert_eq!((number(ended, "lost"), told, ended.lines.len()), (0, made, made), "{}", ended.stdout);
    let found = ended.lines.iter().filter(|line| line.initial).count();
    let shown = ended.stdout.lines().filter(|line| line.contains("  shop/"));
    assert_eq!(shown.count(), made - found, "{}", ended.stdout);
}

#[test]
fn demo_shows_every_change_and_loses_none() {
    let ended = demo("--seconds 3 --rate 50 --plain").run_to_end();
    check_nothing_lost(&ended);
    for word in ["ADDED    v1/pods ", "UPDATED  apps/v1/deployments ", "ADDED    v1/events ", "kubectl --kubeconfig /"] {
        assert!(ended.stdout.contains(word), "{word:?} is missing in:\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains(['\x1b', '\r']), "a pipe gets control characters");
}

#[test]
fn demo_in_the_folder_of_another_one_begins_its_own_and_loses_none() {
    let setup = demo("--seconds 2 --rate 50 --plain");
    let first = setup.clone().run_to_end();
    check_nothing_lost(&first);
    let second = setup.run_to_end();
    assert_eq!((second.code, second.log.as_str()), (Some(0), ""), "{}", second.stdout);
    let (made, told) = (number(&second, "made"), number(&second, "told"));
    assert_eq!((number(&second, "lost"), told, second.lines.len()), (0, made, first.lines.len() + made), "{}", second.stdout);
}

#[test]
fn demo_that_is_interrupted_sums_up_and_leaves_no_kubeconfig() {
    let mut daemon = demo("--rate 20 --objects 100 --seed 3").start();
    eventually(SOON, "a pod is deleted", || daemon.lines().iter().any(|line| line.brief().starts_with("DELETED shop/")));
    daemon.signal(Signal::INT);
    let ended = daemon.wait_for_end(SOON);
    check_nothing_lost(&ended);
    let kubeconfig = ended.stdout.split_whitespace().find(|word| word.ends_with("kubeconfig") && word.starts_with('/'));
    assert!(!std::path::Path::new(kubeconfig.unwrap()).exists());
}

#[test]
fn wrong_flags_of_the_demo_exit_2_and_a_closed_stdout_exits_1() {
    for (arguments, word) in [("--rat 5", "did you mean --rate?"), ("--rate 0", "from 1 to"), ("--seconds", "needs a value")] {
        let ended = demo(arguments).run_to_end();
        assert_eq!((ended.code, ended.log.contains(word)), (Some(2), true), "{arguments}: {}", ended.log);
    }
    let mut daemon = demo("--rate 20").stdout_held().start();
    daemon.close_stdout();
    let ended = daemon.wait_for_end(SOON);
    assert_eq!((ended.code, ended.log.contains("cannot write to stdout")), (Some(1), true), "{}", ended.log);
}
