//! A kubeconfig that is read again while Faro runs: tokens and certificates inside it may be replaced.
//!
//! The context is the one that was chosen at the start, whatever the current context has become. Credentials are taken
//! only while the file still leads to the same server by the same way and acts for the same user: those of another
//! cluster are not shown to this one.

use super::{Kubeconfig, SetupError, Source, Variables};
use crate::client::endpoint::Endpoint;
use crate::client::files::Files;

/// How to read a kubeconfig again.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    source: Source,
    context: String,
}

impl Again {
    /// `None` where a file can be read only once.
    pub(super) fn new(config: &Kubeconfig, context: &str) -> Option<Self> {
        (!config.source.is_once).then(|| Self { source: config.source.clone(), context: context.to_owned() })
    }

    /// What the files say now; `None` while they are as they were when `known` was read from them.
    ///
    /// # Errors
    ///
    /// When a file cannot be read with `files`, as while it is replaced, or leads elsewhere than `known`.
    pub(crate) fn changed(
        &self,
        known: &Endpoint,
        variables: Variables<'_>,
        files: Files,
    ) -> Result<Option<Endpoint>, SetupError> {
        let mut source = Source { files, ..self.source.clone() };
        source.load()?;
        if source.digest == self.source.digest {
            return Ok(None);
        }
        let config = Kubeconfig::read(source)?;
        let found = config.endpoint(Some(&self.context), variables)?;
        let differs = [
            ("server", found.server != known.server),
            ("proxy", found.proxy != known.proxy),
            ("user to act as", found.impersonation != known.impersonation),
        ];
        match differs.into_iter().find(|(_, differs)| *differs) {
            Some((what, _)) => Err(SetupError::kubeconfig(
                config.place(),
                format!("context {:?} names another {what} than at the start; restart Faro to follow it", self.context),
            )),
            None => Ok(Some(found)),
        }
    }
}
