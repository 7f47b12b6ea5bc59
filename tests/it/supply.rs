//! What others make and a release is built with is named by its content: actions by commit, base images by digest.

use crate::support::manifests::read;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// The workflows, sorted.
pub(crate) fn workflows() -> Vec<String> {
    let entries = fs::read_dir(".github/workflows").unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What is wrong with the line of a workflow.
fn action_mistake(line: &str) -> Option<&'static str> {
    let uses = line.trim_start().trim_start_matches("- ").strip_prefix("uses:")?.trim();
    if uses.starts_with("./") {
        return None;
    }
    let (action, version) = uses.split_once(" # ").unwrap_or((uses, ""));
    let commit = action.split_once('@').map_or("", |(_, commit)| commit);
    if !is_hex(commit, 40) {
        return Some("no commit");
    }
    version.is_empty().then_some("no comment with the version")
}

/// What is wrong with the line of a Dockerfile whose stages so far are these.
fn image_mistake(line: &str, stages: &mut Vec<String>) -> Option<&'static str> {
    let image = if let Some(from) = line.strip_prefix("FROM ") {
        let words: Vec<&str> = from.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        if let [_, "AS", stage] = words[..] {
            stages.push(stage.to_owned());
        }
        words[0]
    } else if let Some(source) = line.split_whitespace().find_map(|word| word.strip_prefix("--from=")) {
        source
    } else {
        line.strip_prefix("# syntax=")?
    };
    let digest = image.split_once("@sha256:").map_or("", |(_, digest)| digest);
    (!is_hex(digest, 64) && !stages.iter().any(|stage| stage == image)).then_some("no digest")
}

#[test]
fn every_action_of_the_workflows_is_a_commit_with_its_version_beside_it() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(action_mistake(&format!("      - uses: a/b@{commit} # v1.2.3")), None);
    assert_eq!(action_mistake("        uses: a/b@v1.2.3"), Some("no commit"));
    assert_eq!(action_mistake(&format!("      - uses: a/b@{commit}")), Some("no comment with the version"));
    assert_eq!(action_mistake(&format!("      - uses: a/b@{} # v1", &commit[1..])), Some("no commit"));
    let mut actions = 0;
    for path in workflows() {
        for line in fs::read_to_string(&path).unwrap().lines() {
            assert_eq!(action_mistake(line), None, "{path}: {line}");
            actions += usize::from(line.contains("uses:"));
            assert!(!line.contains("kindest/node:") || line.contains('@'), "{path}: no digest: {line}");
        }
    }
    assert!(actions > 30, "{actions} actions were looked at");
}

#[test]
fn every_image_of_the_dockerfile_has_a_digest() {
    let mut stages = Vec::new();
    assert_eq!(image_mistake("FROM --platform=linux/amd64 rust:1 AS builder", &mut stages), Some("no digest"));
    assert_eq!(image_mistake("COPY --from=builder /a /b", &mut stages), None);
    assert_eq!(image_mistake("COPY --from=nginx:1 /a /b", &mut stages), Some("no digest"));
    assert_eq!(image_mistake("# syntax=docker/dockerfile:1", &mut stages), Some("no digest"));
    let (mut stages, mut images) = (Vec::new(), 0);
    for line in fs::read_to_string("Dockerfile").unwrap().lines() {
        assert_eq!(image_mistake(line, &mut stages), None, "{line}");
        images += usize::from(line.contains("@sha256:"));
    }
    assert_eq!((images, stages), (3, vec!["builder".to_owned()]));
}

#[test]
fn whatever_is_pinned_is_kept_current() {
    let updates = read(".github/dependabot.yml")["updates"].take();
    let ecosystems: Vec<_> =
        updates.as_array().unwrap().iter().map(|update| update["package-ecosystem"].as_str().unwrap()).collect();
    assert_eq!(ecosystems, ["github-actions", "docker", "cargo"]);
    let folders = updates[2]["directories"].as_array().unwrap();
    for folder in folders {
        let lock = format!(".{}/Cargo.lock", folder.as_str().unwrap().trim_end_matches('/'));
        assert!(fs::exists(&lock).unwrap(), "{lock}");
    }
    assert_eq!(folders.len(), 3);
}

/// Who may sign, and what it says, is decided by these permissions: no job has one that it does not use.
#[test]
fn what_is_released_is_attested_by_the_job_that_made_it() {
    let workflow = read(".github/workflows/release.yml");
    let jobs = workflow["jobs"].as_object().unwrap();
    let of_attest = |step: &Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/attest-build-provenance@"));
    let mut attesting = Vec::new();
    for (name, job) in jobs {
        let attest = job["steps"].as_array().into_iter().flatten().find(|step| of_attest(step));
        let is_allowed = |what: &str| job["permissions"][what] == "write";
        assert_eq!([is_allowed("id-token"), is_allowed("attestations")], [attest.is_some(); 2], "{name}");
        if let Some(step) = attest {
            attesting.push((name.as_str(), step["with"]["subject-path"].as_str(), step["with"]["subject-digest"].as_str()));
        }
    }
    let of_image = Some("${{ steps.tags.outputs.digest }}");
    assert_eq!(attesting, [("binaries", Some("target/dist/*"), None), ("image-tags", None, of_image)]);
}
