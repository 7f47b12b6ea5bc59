//! Credentials that come and go while the cluster runs, as they do over months.

use super::{ADMIN, Cluster, MASTERS};
use std::io;

impl Cluster {
    /// A new token of the administrator, beside those there are.
    pub fn issue_token(&self) -> String {
        self.server.site().authority.issue_token(ADMIN, &[MASTERS])
    }

    /// A new client certificate of the administrator and its key, as PEM, beside those there are; `None` without TLS.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn issue_certificate(&self) -> io::Result<Option<(String, String)>> {
        self.server.site().authority.issue_certificate(ADMIN, &[MASTERS])
    }

    /// Answers every token and certificate that the administrator has so far with 401. Open watches go on.
    pub fn revoke_logins(&self) {
        self.server.site().authority.revoke(ADMIN);
    }

    /// The certificate of the cluster's authority, as PEM; `None` without TLS.
    pub fn authority(&self) -> Option<String> {
        self.server.site().authority.certificate()
    }

    /// Has another authority sign what the cluster shows from now on, and takes client certificates of that one alone. Open
    /// connections go on.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn renew_authority(&self) -> io::Result<()> {
        self.server.site().authority.renew()
    }

    /// How many lists, streaming ones until their end, have been under way at the same time, at most.
    pub fn most_lists_at_once(&self) -> usize {
        self.server.site().lists.most()
    }
}
