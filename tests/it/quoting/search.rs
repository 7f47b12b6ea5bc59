//! Looks through everything that Faro puts out.

use super::login::{Login, PART_BYTES};
use crate::support::daemon::{Ended, Setup};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// How much was looked through for which credentials, and what was found.
pub struct Search {
    /// By the bytes that they begin with: every output is gone through once.
    parts: HashMap<Front, Vec<Vec<u8>>>,
    /// How often somebody quoted a credential.
    pub quotes: usize,
    bytes: usize,
    outputs: usize,
    found: Vec<String>,
}

/// One credential is found in many parts.
const FOUND_SHOWN: usize = 5;

type Front = [u8; PART_BYTES];

impl Search {
    pub fn of(login: Login) -> Self {
        let mut parts: HashMap<Front, Vec<Vec<u8>>> = HashMap::new();
        for part in login.parts() {
            parts.entry(*part.first_chunk().unwrap()).or_default().push(part);
        }
        Self { parts, quotes: 0, bytes: 0, outputs: 0, found: Vec::new() }
    }

    pub fn look(&mut self, name: &str, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.outputs += 1;
        for (at, front) in bytes.windows(PART_BYTES).enumerate() {
            let parts = self.parts.get(front).into_iter().flatten();
            let found = parts.filter(|part| bytes[at..].starts_with(part));
            self.found.extend(found.map(|part| format!("{} in {name}", String::from_utf8_lossy(part))));
        }
    }

    fn look_below(&mut self, folder: &Path) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                self.look_below(&path);
            } else {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }

    /// What a plugin says goes to stderr as it is, and nowhere else.
    pub fn look_at(&mut self, ended: &Ended, setup: &Setup) {
        let own = ended.log.lines().filter(|line| !line.starts_with("credential plugin: ")).collect::<Vec<_>>().join("\n");
        self.look("stderr", own.as_bytes());
        self.look("stdout", ended.stdout.as_bytes());
        if setup.output().is_dir() {
            self.look_below(&setup.output());
        }
    }

    /// Nothing was found, in so many outputs and after so many quotes at least.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "the counts are what is to be shown")]
    pub fn check(self, what: &str, outputs_min: usize, quotes_min: usize) {
        let Self { parts, quotes, bytes, outputs, found } = self;
        let counts = format!(
            "{quotes} quotes, {outputs} outputs, {bytes} bytes, {} parts: {} found",
            parts.values().map(Vec::len).sum::<usize>(),
            found.len()
        );
        eprintln!("{what}: {counts}");
        assert!(found.is_empty(), "{what}: {counts}: {:?}", &found[..found.len().min(FOUND_SHOWN)]);
        assert!(outputs >= outputs_min && quotes >= quotes_min && bytes > 1000 && !parts.is_empty(), "{what}: {counts}");
    }
}

#[test]
fn the_search_finds_every_form_in_which_a_credential_is_quoted() {
    for login in Login::ALL {
        let quoted = login.quoted().replace("\\\\", "\\");
        for (number, word) in quoted.split(' ').enumerate().filter(|(_, word)| word.len() > 15) {
            let mut search = Search::of(login);
            search.look("a quote", format!("<{word}>").as_bytes());
            assert!(!search.found.is_empty(), "{login:?}: word {number}: {word}");
        }
        let mut search = Search::of(login);
        for secret in login.secrets() {
            search.look("a secret", secret.as_bytes());
            assert!(search.found.iter().any(|found| found.starts_with(&secret[..8])), "{login:?}: {secret}");
        }
        search.found.clear();
        search.look("nothing", b"authorization: Bearer (..) user another-token-than-that-which-is-looked-for");
        assert_eq!(search.found, Vec::<String>::new());
    }
}
