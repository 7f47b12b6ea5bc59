//! Asks a proxy for a tunnel to the server: HTTP `CONNECT`, or SOCKS5.

use crate::client::proxy::Proxy;
use crate::client::secret::Secret;
use crate::client::url::bracketed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Read, Write};
use std::net::IpAddr;

/// RFC 9110, section 9.3.6.
pub(super) fn connect(stream: &mut (impl Read + Write), proxy: &Proxy, host: &str, port: u16) -> io::Result<()> {
    let target = format!("{}:{port}", bracketed(host));
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {}\r\n", super::user_agent());
    if let Some(user) = &proxy.user {
        let password = proxy.password.as_ref().map(Secret::reveal).unwrap_or_default();
        let pair = STANDARD.encode(format!("{}:{password}", user.reveal()));
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let head = read_head(stream)?;
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.splitn(3, ' ');
    let (version, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (version.starts_with("HTTP/1."), code) {
        (true, code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        (true, "407") => {
            Err(io::Error::other("it asks for a user name and password that it accepts (407); write them into the proxy's URL"))
        }
        (true, code) if code.len() == 3 && code.bytes().all(|digit| digit.is_ascii_digit()) => {
            Err(io::Error::other(format!("it refuses to connect to {target} ({code})")))
        }
        (true, _) => Err(io::Error::other("its answer has no status; check the proxy's URL")),
        (false, _) => Err(io::Error::other("it does not speak HTTP; check the proxy's URL")),
    }
}

/// Reads up to the empty line and not one byte further: what follows belongs to the server.
fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// RFC 1928, with a user name and password by RFC 1929. The proxy resolves the name.
pub(super) fn socks5(stream: &mut (impl Read + Write), proxy: &Proxy, host: &str, port: u16) -> io::Result<()> {
    let methods: &[u8] = if proxy.user.is_some() { &[VERSION, 2, ANYONE, BY_PASSWORD] } else { &[VERSION, 1, ANYONE] };
    stream.write_all(methods)?;
    stream.flush()?;
    match (read::<2>(stream)?, &proxy.user) {
        ([VERSION, ANYONE], _) => {}
        ([VERSION, BY_PASSWORD], Some(user)) => authenticate(stream, user, proxy.password.as_ref())?,
        ([VERSION, _], _) => {
            return Err(io::Error::other("it asks for a user name and password; write them into the proxy's URL"));
        }
        _ => return Err(io::Error::other("it does not speak SOCKS5; check the proxy's URL")),
    }
    let mut request = vec![VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => request.extend([&[1][..], &address.octets()].concat()),
        Ok(IpAddr::V6(address)) => request.extend([&[4][..], &address.octets()].concat()),
        Err(_) => {
            request.extend([3, short(host)?]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request)?;
    stream.flush()?;
    let [_, reply, _, kind] = read::<4>(stream)?;
    if reply != 0 {
        return Err(io::Error::other(format!("it cannot connect to {}:{port} ({})", bracketed(host), reason(reply))));
    }
    let rest = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(read::<1>(stream)?[0]),
    };
    stream.read_exact(&mut [0; 255 + 2][..rest + 2])
}

fn authenticate(stream: &mut (impl Read + Write), user: &Secret, password: Option<&Secret>) -> io::Result<()> {
    let (user, password) = (user.reveal(), password.map(Secret::reveal).unwrap_or_default());
    let mut message = vec![1, short(user)?];
    message.extend(user.as_bytes());
    message.push(short(password)?);
    message.extend(password.as_bytes());
    stream.write_all(&message)?;
    stream.flush()?;
    match read::<2>(stream)? {
        [_, 0] => Ok(()),
        _ => Err(io::Error::other("it does not accept the user name and password of its URL")),
    }
}

fn read<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// SOCKS5 gives lengths one byte.
fn short(text: &str) -> io::Result<u8> {
    u8::try_from(text.len()).map_err(|_| io::Error::other("a name or password is longer than the 255 bytes of SOCKS5"))
}

/// RFC 1928, section 6.
fn reason(reply: u8) -> &'static str {
    match reply {
        2 => "not allowed",
        3 => "network unreachable",
        4 => "host unreachable, or its name unknown",
        5 => "connection refused",
        6 => "time to live expired",
        _ => "general failure",
    }
}

const VERSION: u8 = 5;
const ANYONE: u8 = 0;
const BY_PASSWORD: u8 = 2;
/// Longest accepted answer to a CONNECT.
const HEAD_BYTES_MAX: usize = 16 * 1024;
