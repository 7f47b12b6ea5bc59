//! Which proxy leads to the server, decided as kubectl decides: `proxy-url`, then the variables as Go's `httpproxy` reads them.

use super::SetupError;
use super::kubeconfig::Variables;
use super::secret::Secret;
use super::url::Url;
use std::net::IpAddr;

/// A proxy, and how to speak to it. Never shows its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<Secret>,
    pub(crate) password: Option<Secret>,
}

/// How a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    /// `CONNECT` in plain text.
    Http,
    /// `CONNECT` inside TLS.
    Https,
    /// SOCKS5. The proxy resolves names, also for `socks5`: Go makes no difference to `socks5h`.
    Socks5,
}

impl Proxy {
    /// `place` is the setting that names the proxy, for errors.
    pub(crate) fn parse(text: &str, place: &str) -> Result<Self, SetupError> {
        let error = |problem: String| SetupError::Proxy { place: place.to_owned(), problem };
        let url =
            Url::parse(text, "http").map_err(|problem| error(format!("not a proxy URL: {problem}; write http://HOST:PORT")))?;
        let (kind, port) = match url.scheme.as_str() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            other => return Err(error(format!("{other}:// is no proxy; write http://, https://, socks5:// or socks5h://"))),
        };
        Ok(Self { kind, host: url.host, port: url.port.unwrap_or(port), user: url.user, password: url.password })
    }

    /// The proxy that the environment names for `server`, unless it exempts it.
    pub(crate) fn from_variables(server: &Url, variables: Variables<'_>) -> Result<Option<Self>, SetupError> {
        let value = |upper: &'static str| {
            // As in Go, the name in upper case comes first.
            let names = [upper.to_owned(), upper.to_ascii_lowercase()];
            names.into_iter().find_map(|name| variables(&name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let Some((name, text)) = value(if server.scheme == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" }) else {
            return Ok(None);
        };
        let port = server.port.unwrap_or(if server.scheme == "https" { 443 } else { 80 });
        let exempt = value("NO_PROXY").map(|(_, list)| list).unwrap_or_default();
        if is_exempt(&server.host, port, &exempt) {
            return Ok(None);
        }
        Self::parse(&text, &name).map(Some)
    }

    /// `http://host:port`, for messages.
    pub(crate) fn shown(&self) -> String {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5",
        };
        format!("{scheme}://{}:{}", super::url::bracketed(&self.host), self.port)
    }
}

/// Whether `host` is reached without a proxy.
// The rules of golang.org/x/net/http/httpproxy, `useProxy` and `init`.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.trim_end_matches('.');
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| exempts(&entry, host, address, port))
}

fn exempts(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>())
    {
        return address.is_some_and(|address| contains(network, bits, address));
    }
    let (name, only_port) = split_port(entry);
    if name.is_empty() || only_port.is_some_and(|only| only != port) {
        return false;
    }
    if let Ok(wanted) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return address == Some(wanted);
    }
    if address.is_some() {
        return false;
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(domain) => is_below(host, domain),
        None => host == name || is_below(host, name),
    }
}

/// `name:port`, `[v6]:port`, or a name alone; a bare IPv6 address has colons and no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name, Some(port)),
        Some((_, Err(_))) | None => (entry, None),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

fn contains(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(server: &str, variables: &[(&str, &str)], expected: Option<&str>) {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::from_variables(&Url::parse(server, "https").unwrap(), &lookup).unwrap();
        assert_eq!(proxy.map(|proxy| proxy.shown()).as_deref(), expected, "{server} with {variables:?}");
    }

    #[test]
    fn proxy_variables_are_chosen_by_scheme() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://p:2"), ("ALL_PROXY", "http://a:3")];
        check("https://api.test", &both, Some("http://s:1"));
        check("http://api.test", &both, Some("http://p:2"));
        check("https://api.test", &both[1..], None);
        check("https://api.test", &[("https_proxy", "s:1")], Some("http://s:1"));
        check("https://api.test", &[("HTTPS_PROXY", ""), ("https_proxy", "s:1")], Some("http://s:1"));
        check("https://api.test", &[("HTTPS_PROXY", "socks5://joe:hunter2@s")], Some("socks5://s:1080"));
        check("https://localhost:6443", &both, None);
        check("https://127.0.0.9:6443", &both, None);
        check("https://[::1]:6443", &both, None);
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        fn no_proxy(server: &str, list: &str, exempt: bool) {
            let proxy = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", list)];
            check(server, &proxy, (!exempt).then_some("http://p:1"));
        }
        no_proxy("https://10.96.0.1", "10.96.0.0/12", true);
        no_proxy("https://10.112.0.1", "10.96.0.0/12", false);
        no_proxy("https://10.96.0.1", "0.0.0.0/0", true);
        no_proxy("https://[fd00::1]", "fd00::/8", true);
        no_proxy("https://[fe00::1]", "fd00::/8", false);
        no_proxy("https://api.test", "10.0.0.0/8", false);
        no_proxy("https://10.96.0.1", "10.96.0.1", true);
        no_proxy("https://10.96.0.1:6443", "10.96.0.1:6443", true);
        no_proxy("https://10.96.0.1:6443", "10.96.0.1:443", false);
        no_proxy("https://[fd00::1]:6443", "[fd00::1]:6443", true);
        no_proxy("https://[fd00::1]", "fd00::1", true);
        no_proxy("https://api.example.com", "a.test, example.com", true);
        no_proxy("https://example.com", "example.com", true);
        no_proxy("https://myexample.com", "example.com", false);
        no_proxy("https://example.com", ".example.com", false);
        no_proxy("https://api.example.com", ".example.com", true);
        no_proxy("https://api.example.com", "*.example.com", true);
        no_proxy("https://API.Example.com", "EXAMPLE.com", true);
        no_proxy("https://api.example.com:6443", "example.com:6443", true);
        no_proxy("https://api.example.com:6443", "example.com:443", false);
        no_proxy("https://api.test", "*", true);
        no_proxy("https://api.test", ",, ,", false);
        no_proxy("https://api.test", "10.0.0.0/99, a/b", false);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_without_its_password() {
        fn check(text: &str, expected: &str) {
            let error = Proxy::parse(text, "HTTPS_PROXY").unwrap_err().to_string();
            assert_eq!(error, expected);
        }
        check("ftp://joe:hunter2@p", "HTTPS_PROXY: ftp:// is no proxy; write http://, https://, socks5:// or socks5h://");
        check("http://joe:hunter2@p:x", "HTTPS_PROXY: not a proxy URL: its port is not a number; write http://HOST:PORT");
    }
}
