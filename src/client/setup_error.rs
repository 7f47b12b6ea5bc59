//! What can be wrong with the way to an API server before a request is made.

use std::io;
use std::path::{Path, PathBuf};

/// Why a server's address, certificates or credentials cannot be used. Texts name the file and the cure, and hold no credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file that was named cannot be read.
    #[error("cannot read {what} {}", path.display())]
    Read {
        /// What the file holds.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No kubeconfig was named, none is where it usually is, and this is no pod.
    #[error("found no way to a cluster: {tried}; give --kubeconfig FILE or set KUBECONFIG")]
    NoCluster {
        /// Where was looked.
        tried: String,
    },
    /// A kubeconfig does not say what is needed.
    #[error("{place}: {problem}")]
    Kubeconfig {
        /// The file, or the files.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The service account of this pod cannot be used.
    #[error("in-cluster configuration: {problem}")]
    InCluster {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A certificate or key cannot be used.
    #[error("{what}: {problem}")]
    Certificate {
        /// Which one, and where it comes from.
        what: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A proxy cannot be used.
    #[error("{place}: {problem}")]
    Proxy {
        /// Which setting names it.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An exec credential plugin gave no credential.
    #[error("credential plugin {command}: {problem}")]
    Exec {
        /// The command, without its arguments.
        command: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The request was interrupted while credentials were fetched.
    #[error("ended while fetching credentials")]
    Interrupted,
}

impl SetupError {
    pub(crate) fn read(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Read { what, path: path.to_owned(), source }
    }

    pub(crate) fn kubeconfig(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Kubeconfig { place: place.into(), problem: problem.into() }
    }

    pub(crate) fn certificate(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Certificate { what: what.into(), problem: problem.into() }
    }

    pub(crate) fn exec(command: &str, problem: impl Into<String>) -> Self {
        Self::Exec { command: command.to_owned(), problem: problem.into() }
    }
}
