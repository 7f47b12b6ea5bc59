//! TLS failures in plain words, with a cure.

use super::verify::{CA_AS_SERVER, Words};
use rustls::{AlertDescription, CertificateError, Error};

/// What a failed handshake means to the person who has to repair it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => explain_certificate(certificate),
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port; check the URL's scheme and port".to_owned(),
        Error::PeerIncompatible(_) => {
            format!("the server shares no TLS version or cipher with Faro, which speaks TLS {VERSIONS}")
        }
        Error::General(words) => format!("TLS failed: {words}"),
        other => format!("TLS failed: {}", in_words(&format!("{other:?}"))),
    }
}

const NOT_TRUSTED: &str =
    "the server's certificate is signed by an authority that is not trusted; check certificate-authority of the cluster";

const VERSIONS: &str =
    if cfg!(feature = "tls12") { "1.2 and 1.3" } else { "1.3, and 1.2 only when built with the feature `tls12`" };

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => NOT_TRUSTED.to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({error}); renew it, or check this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({error}); check this machine's clock")
        }
        CertificateError::NotValidForName => "the server's certificate is for another name; set tls-server-name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name (a CN alone does not count)".to_owned() } else { names.join(", ") };
            let expected = expected.to_str();
            format!(
                "the server's certificate is not for {expected} but for {names}; correct the server's URL or set tls-server-name"
            )
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        CertificateError::BadEncoding => "the server's certificate is damaged".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers (its extended key usage lacks serverAuth)".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed in a way that is not supported, as with SHA-1 or by a key of a rare kind; renew it"
                .to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<Words>() {
            Some(words) => words.to_string(),
            None if other.0.to_string() == "UnsupportedCertVersion" => {
                "the server's certificate is of X.509 version 1, which names no host; renew it with a subjectAltName".to_owned()
            }
            None if other.0.to_string() == CA_AS_SERVER => NOT_TRUSTED.to_owned(),
            None => format!("the server's certificate is not accepted: {}", in_words(&other.0.to_string())),
        },
        other => format!("the server's certificate is not accepted: {}", in_words(&format!("{other:?}"))),
    }
}

/// What is in the brackets of `DnsName("x")`, as the library shows names.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// `UnknownCa` as `unknown ca`: errors of the library are the names of its variants, whose contents are left out.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn explain_alert(alert: AlertDescription) -> String {
    let said = in_words(&format!("{alert:?}"));
    match alert {
        AlertDescription::CertificateRequired => "the server asks for a client certificate and none is configured".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => {
            format!("the server does not accept the client certificate ({said}); check client-certificate of the user")
        }
        AlertDescription::UnrecognisedName => {
            format!("the server does not know the name it was asked for ({said}); check tls-server-name")
        }
        AlertDescription::HandshakeFailure => {
            "the server shares no cipher or kind of key with Faro, or wants another client certificate".to_owned()
        }
        _ => format!("the server refused the TLS connection: {said}"),
    }
}
