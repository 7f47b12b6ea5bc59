//! How many file descriptors the process may have: as many as the system lets it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of descriptors to the hard one, and returns what it was where it was raised. Each watch takes one, and the usual 1024 of a login or a service
/// are there for programs that call select(2), which Faro does not.
///
/// What cannot be raised stays as it is: the log says it, and the metrics of the process tell what there is.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        log::debug!("file descriptors: {} at most", words(current));
        return None;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            log::debug!("file descriptors: {} at most, raised from {}", words(maximum), words(current));
            current
        }
        Err(error) => {
            log::warn!(cause:% = error; "file descriptors: {} at most, and cannot be raised to {}", words(current), words(maximum));
            None
        }
    }
}

fn words(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string())
}
