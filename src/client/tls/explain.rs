//! TLS failures in plain words, with a cure.

use rustls::{AlertDescription, CertificateError, Error};

/// What a failed handshake means to the person who has to repair it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => explain_certificate(certificate),
        Error::AlertReceived(alert) => explain_alert(*alert, error),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port; check the URL's scheme and port".to_owned(),
        Error::PeerIncompatible(_) => {
            format!("the server shares no TLS version or cipher with Faro, which speaks TLS {VERSIONS} ({error})")
        }
        other => format!("TLS failed: {other}"),
    }
}

const VERSIONS: &str =
    if cfg!(feature = "tls12") { "1.2 and 1.3" } else { "1.3, and 1.2 only when built with the feature `tls12`" };

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by an authority that is not trusted; check certificate-authority of the cluster"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({error}); renew it, or check this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({error}); check this machine's clock")
        }
        CertificateError::NotValidForName => "the server's certificate is for another name; set tls-server-name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names =
                if presented.is_empty() { "no name (a CN alone does not count)".to_owned() } else { presented.join(", ") };
            let expected = expected.to_str();
            format!(
                "the server's certificate is not for {expected} but for {names}; correct the server's URL or set tls-server-name"
            )
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        other => format!("the server's certificate is not accepted: {other}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; the rest is told in the library's words")]
fn explain_alert(alert: AlertDescription, error: &Error) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the server asks for a client certificate and none is configured".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => {
            format!("the server does not accept the client certificate ({error}); check client-certificate of the user")
        }
        AlertDescription::UnrecognisedName => {
            format!("the server does not know the name it was asked for ({error}); check tls-server-name")
        }
        _ => format!("the server refused the TLS connection: {error}"),
    }
}
