//! The URLs of servers and proxies, taken apart once, with credentials that cannot be printed.

use super::secret::Secret;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// `scheme://user:password@host:port/path`; all but scheme and host may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// In lower case.
    pub(crate) scheme: String,
    /// Percent-decoded.
    pub(crate) user: Option<Secret>,
    /// Percent-decoded.
    pub(crate) password: Option<Secret>,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Without a slash at its end; empty for the root.
    pub(crate) path: String,
}

impl Url {
    /// Takes `text` apart; one without a scheme gets `default_scheme`. The error says what is wrong without quoting the text.
    pub(crate) fn parse(text: &str, default_scheme: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or((default_scheme, text));
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("its scheme is not a word");
        }
        if rest.contains(['?', '#']) {
            return Err("it has a query or fragment");
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (userinfo, host_and_port) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
        let (host, port) = split_port(host_and_port)?;
        let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':').unwrap_or((userinfo, ""))) {
            Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
            None => (None, None),
        };
        if path.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            return Err("its path has blanks");
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), user, password, host, port, path: path.trim_end_matches('/').to_owned() })
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub(crate) fn authority(&self, default_port: u16) -> String {
        format!("{}:{}", bracketed(&self.host), self.port.unwrap_or(default_port))
    }
}

impl fmt::Display for Url {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, bracketed(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

/// A host as it stands in a URL.
pub(crate) fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

fn split_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']').ok_or("its bracket is not closed")) {
        Some(parts) => {
            let (host, rest) = parts?;
            host.parse::<Ipv6Addr>().map_err(|_| "its host in brackets is no IPv6 address")?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or("its port is not a number")?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let known = host.parse::<IpAddr>().is_ok();
    if host.is_empty() || !known && !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err("its host is no host name");
    }
    let port = if port.is_empty() { None } else { Some(port.parse().map_err(|_| "its port is not a number")?) };
    Ok((host.to_ascii_lowercase(), port))
}

fn decode(text: &str) -> Result<Secret, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or("its user or password is not percent-encoded");
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).map(Secret::new).map_err(|_| "its user or password is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_without_showing_credentials() {
        fn check(text: &str, expected: Result<&str, &str>) {
            let url = Url::parse(text, "http");
            let shown = url.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref().map_err(|e| **e), expected, "{text}");
            assert!(!format!("{url:?}").contains("hunter2"), "{text}");
        }
        check("https://API.example.com:6443/", Ok("https://api.example.com:6443"));
        check("https://[fd00::1]:6443/k8s/clusters/c-1/", Ok("https://[fd00::1]:6443/k8s/clusters/c-1"));
        check("proxy.local:3128", Ok("http://proxy.local:3128"));
        check("http://joe:hunter2@proxy", Ok("http://proxy"));
        check("https://", Err("its host is no host name"));
        check("https://a b", Err("its host is no host name"));
        check("https://a:99999", Err("its port is not a number"));
        check("https://[::1", Err("its bracket is not closed"));
        check("https://a?b", Err("it has a query or fragment"));
    }

    #[test]
    fn userinfo_is_percent_decoded_once() {
        let url = Url::parse("http://a%40b:p%2525@h", "http").unwrap();
        assert_eq!((url.user.unwrap().reveal(), url.password.unwrap().reveal()), ("a@b", "p%25"));
        assert!(Url::parse("http://a%4:b@h", "http").is_err());
    }
}
