//! Certificates and keys of one control plane: its own authority, what it serves with, who is admin.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority of its own, and what it signed. Everything is PEM.
#[derive(Debug)]
pub(crate) struct Pki {
    /// The authority's certificate.
    pub(crate) ca: String,
    /// For 127.0.0.1 and localhost.
    pub(crate) serving: Identity,
    /// User `admin` of the group `system:masters`.
    pub(crate) admin: Identity,
    /// Signs service-account tokens; `cert` is the public key.
    pub(crate) service_accounts: Identity,
}

/// A certificate and its key, as PEM.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pki {
    /// Makes everything anew.
    pub(crate) fn new() -> Self {
        Self::serving_until(2100)
    }

    /// Makes everything anew, with a serving certificate that has expired.
    pub(crate) fn expired() -> Self {
        Self::serving_until(2001)
    }

    fn serving_until(year: i32) -> Self {
        let (ca, issuer) = authority();
        let serving = sign(&issuer, "kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth, year);
        let admin = sign(&issuer, "admin", Some("system:masters"), ExtendedKeyUsagePurpose::ClientAuth, 2100);
        let key = KeyPair::generate().expect("ring makes keys");
        let service_accounts = Identity { cert: key.public_key_pem(), key: key.serialize_pem() };
        Self { ca, serving, admin, service_accounts }
    }
}

/// An authority that signed nothing that is in use: its certificate is the wrong CA.
pub(crate) fn stranger() -> String {
    authority().0
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "faro-e2e-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().expect("ring makes keys");
    let cert = params.self_signed(&key).expect("a plain authority can be signed").pem();
    (cert, Issuer::new(params, key))
}

fn sign(issuer: &Issuer<'_, KeyPair>, name: &str, group: Option<&str>, usage: ExtendedKeyUsagePurpose, until: i32) -> Identity {
    let mut params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned)).expect("these are valid names");
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().expect("ring makes keys");
    let cert = params.signed_by(&key, issuer).expect("a plain certificate can be signed").pem();
    Identity { cert, key: key.serialize_pem() }
}
