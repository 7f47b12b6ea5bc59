//! Who may ask for what: probes are open to everyone, all else to whoever shows what is asked for.

use super::HttpSettings;
use super::files::Made;
use super::head::Request;
use ring::hmac;
use ring::rand::SystemRandom;
use std::io;
use std::path::Path;
use std::time::Instant;

/// What a client has to show for pages that are not open.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Made<Token>>,
    needs_certificate: bool,
}

/// What a client lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Token,
    Certificate,
}

/// A token as its HMAC under a key of this process: comparing two of these takes the same time for all.
struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

impl Access {
    /// # Errors
    ///
    /// When the token cannot be read.
    pub(super) fn of(settings: &HttpSettings) -> io::Result<Self> {
        let token = settings.bearer_token_file.as_deref().map(token_of).transpose()?;
        let needs_certificate = settings.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        Ok(Self { token, needs_certificate })
    }

    /// What a client lacks that asks so, for a page that is not open; `None` where it may have it. All that is configured is asked for.
    pub(super) fn lack(&mut self, request: &Request, has_certificate: bool, now: Instant) -> Option<Lack> {
        if self.needs_certificate && !has_certificate {
            return Some(Lack::Certificate);
        }
        let token = self.token.as_mut()?.get(now);
        let is_shown = request.bearer.as_ref().is_some_and(|shown| token.is(shown.reveal()));
        (!is_shown).then_some(Lack::Token)
    }
}

fn token_of(path: &Path) -> io::Result<Made<Token>> {
    let name = path.display().to_string();
    Made::of(vec![path.to_owned()], move |files| {
        let token = files[0].trim_ascii();
        if token.len() < TOKEN_BYTES_MIN || !token.iter().all(u8::is_ascii_graphic) {
            let problem = format!("expected a token of {TOKEN_BYTES_MIN} or more letters, digits and signs");
            return Err(io::Error::other(format!("{name}: {problem}")));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Token { tag: hmac::sign(&key, token), key })
    })
}

impl Token {
    fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.tag.as_ref()).is_ok()
    }
}
