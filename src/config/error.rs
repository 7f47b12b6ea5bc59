//! What is wrong with a configuration, where, and what to write instead.

use crate::yaml;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file was read, and this is wrong with it. One mistake a line, as in `config.yaml:12: resources[2].gvr: expected …`.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One mistake in a configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is there, and what is allowed.
    pub message: String,
}

/// A place in a configuration. Its text is `config.yaml:12: resources[2].gvr`.
///
/// The line is looked up when it is asked for, by parsing the text again.
#[derive(Clone)]
pub struct Place {
    pub(super) source: Arc<Source>,
    pub(super) spot: Spot,
    pub(super) path: String,
}

/// The text of a configuration and what it is called.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// The text as a whole.
    Whole,
    Line(usize),
    /// The number of a node.
    Node(usize),
}

/// How many mistakes are told at once.
const PROBLEMS_TOLD_MAX: usize = 20;

fn list(problems: &[Problem]) -> String {
    let mut text = match problems {
        [problem] => return problem.to_string(),
        more => format!("{} mistakes in the configuration", more.len()),
    };
    for problem in problems.iter().take(PROBLEMS_TOLD_MAX) {
        text += &format!("\n{problem}");
    }
    if problems.len() > PROBLEMS_TOLD_MAX {
        text += &format!("\n… and {} more", problems.len() - PROBLEMS_TOLD_MAX);
    }
    text
}

/// What a build without one of Faro's features says to whoever asks for what the feature does; `instead` is the other way out.
pub(crate) fn lacks(feature: &str, instead: &str) -> String {
    format!("this program was built without faro's feature `{feature}`; build it with that feature, or {instead}")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Place {
    /// The line, counted from 1; `None` where the configuration as a whole is meant.
    pub fn line(&self) -> Option<usize> {
        match self.spot {
            Spot::Whole => None,
            Spot::Line(line) => Some(line),
            // What a program has built has no lines.
            Spot::Node(_) if self.source.text.is_empty() => None,
            Spot::Node(number) => yaml::line_of(&self.source.text, number),
        }
    }
}

impl Place {
    /// A place in what earlier runs have watched.
    pub(super) fn remembered() -> Self {
        let source = Source { name: "remembered of earlier runs".to_owned(), text: String::new() };
        Self { source: Arc::new(source), spot: Spot::Whole, path: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
