//! Who is who: the cluster's certificate authority, the certificates and tokens it gave out, and the kubeconfigs with them.

use super::api::Request;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A user's name and groups.
pub(super) type Identity = (String, Vec<String>);

/// What the cluster knows of its users, and the folder where their kubeconfigs lie.
pub(super) struct Authority {
    folder: Folder,
    /// Replaced as a whole when the authority is renewed.
    tls: Mutex<Option<Arc<Tls>>>,
    logins: Mutex<Logins>,
}

/// A server with certificates.
struct Tls {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate, as PEM.
    pem: String,
    server: Arc<ServerConfig>,
}

#[derive(Default)]
struct Logins {
    /// By what the client shows, in DER.
    certificates: HashMap<Vec<u8>, Identity>,
    tokens: HashMap<String, Token>,
    /// Tokens that were replaced.
    replaced: u64,
}

struct Token {
    who: Identity,
    file: PathBuf,
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that somebody removed before is gone as it should be.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Authority {
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub(super) fn new(with_tls: bool) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("faro-sim-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let tls = if with_tls { Some(Arc::new(Tls::new().map_err(io::Error::other)?)) } else { None };
        Ok(Self { folder: Folder(folder), tls: Mutex::new(tls), logins: Mutex::default() })
    }

    /// How to speak TLS; `None` where HTTP is plain.
    pub(super) fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.tls().map(|tls| Arc::clone(&tls.server))
    }

    /// The authority's certificate as PEM; `None` where HTTP is plain.
    pub(super) fn certificate(&self) -> Option<String> {
        self.tls().map(|tls| tls.pem.clone())
    }

    /// Another authority signs from now on what the server shows and what it takes, for connections made from now on.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub(super) fn renew(&self) -> io::Result<()> {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if tls.is_some() {
            *tls = Some(Arc::new(Tls::new().map_err(io::Error::other)?));
        }
        Ok(())
    }

    /// A new token of `name`.
    pub(super) fn issue_token(&self, name: &str, groups: &[&str]) -> String {
        let token = format!("{:032x}", fastrand::u128(..));
        self.lock().tokens.insert(token.clone(), Token { who: identity(name, groups), file: PathBuf::new() });
        token
    }

    /// A new certificate of `name` and its key, as PEM; `None` where HTTP is plain.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub(super) fn issue_certificate(&self, name: &str, groups: &[&str]) -> io::Result<Option<(String, String)>> {
        let Some(tls) = self.tls() else { return Ok(None) };
        let (certificate, key) = tls.sign_client(name, groups).map_err(io::Error::other)?;
        self.lock().certificates.insert(certificate.der().to_vec(), identity(name, groups));
        Ok(Some((certificate.pem(), key.serialize_pem())))
    }

    /// No token or certificate that `name` has so far is taken any longer.
    pub(super) fn revoke(&self, name: &str) {
        let mut logins = self.lock();
        logins.certificates.retain(|_, who| who.0 != name);
        logins.tokens.retain(|_, token| token.who.0 != name);
    }

    fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who asks. `Err` for a login that is not known, which a server answers with 401.
    pub(super) fn identify(&self, request: &Request, certificate: Option<&[u8]>) -> Result<Option<Identity>, ()> {
        let logins = self.lock();
        if let Some(certificate) = certificate {
            return logins.certificates.get(certificate).cloned().map(Some).ok_or(());
        }
        match bearer(request) {
            Some(token) => logins.tokens.get(token).map(|token| Some(token.who.clone())).ok_or(()),
            None => Ok(None),
        }
    }

    /// A kubeconfig for `name` with a certificate where there is TLS, else with a file of a token.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(super) fn kubeconfig(&self, url: &str, name: &str, groups: &[&str]) -> io::Result<PathBuf> {
        let user = match self.issue_certificate(name, groups)? {
            Some((certificate, key)) => {
                format!(r#""client-certificate-data":"{}","client-key-data":"{}""#, base64(&certificate), base64(&key))
            }
            None => format!(r#""tokenFile":{:?}"#, self.token(identity(name, groups))?),
        };
        self.write_kubeconfig(url, name, &user)
    }

    /// A kubeconfig for `name` with a file of a token, also where there is TLS.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(super) fn kubeconfig_with_token(&self, url: &str, name: &str, groups: &[&str]) -> io::Result<PathBuf> {
        let user = format!(r#""tokenFile":{:?}"#, self.token(identity(name, groups))?);
        self.write_kubeconfig(url, name, &user)
    }

    /// The token of this request is worth nothing from now on; its file holds the new one.
    pub(super) fn replace_token(&self, request: &Request) {
        let mut logins = self.lock();
        let Some((old, token)) = bearer(request).and_then(|token| logins.tokens.remove_entry(token)) else { return };
        logins.replaced += 1;
        let new = format!("{}-{}", old.split('-').next().unwrap_or_default(), logins.replaced);
        if write_atomically(&token.file, &new).is_ok() {
            logins.tokens.insert(new, token);
        } else {
            logins.tokens.insert(old, token);
        }
    }

    fn token(&self, who: Identity) -> io::Result<PathBuf> {
        let file = self.folder.0.join(format!("{}.token", file_name(&who.0)));
        let token = format!("{:032x}", fastrand::u128(..));
        write_atomically(&file, &token)?;
        self.lock().tokens.insert(token, Token { who, file: file.clone() });
        Ok(file)
    }

    fn write_kubeconfig(&self, url: &str, name: &str, user: &str) -> io::Result<PathBuf> {
        let authority =
            self.tls().map(|tls| format!(r#","certificate-authority-data":"{}""#, base64(&tls.pem))).unwrap_or_default();
        // JSON is YAML too, and needs no care with its blanks.
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Config","current-context":"sim",
"clusters":[{{"name":"sim","cluster":{{"server":"{url}"{authority}}}}}],
"users":[{{"name":{name:?},"user":{{{user}}}}}],
"contexts":[{{"name":"sim","context":{{"cluster":"sim","user":{name:?}}}}}]}}
"#
        );
        let file = self.folder.0.join(format!("{}.kubeconfig", file_name(name)));
        write_atomically(&file, &text)?;
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(name: &str, groups: &[&str]) -> Identity {
    (name.to_owned(), groups.iter().map(|&group| group.to_owned()).collect())
}

fn bearer(request: &Request) -> Option<&str> {
    let mut found = request.headers.iter().filter(|(name, _)| name == "authorization");
    found.next().and_then(|(_, value)| value.strip_prefix("Bearer "))
}

fn base64(pem: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(pem)
}

/// A user's name as part of a file's name.
fn file_name(user: &str) -> String {
    user.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect()
}

/// Whoever reads sees the old text or the new one, never a part. Nobody else may read: most of them hold credentials.
fn write_atomically(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    made.write_all(text.as_bytes())?;
    fs::rename(new, file)
}

impl Tls {
    fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "faro-sim-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let (certificate, key) = sign(&issuer, "kube-apiserver", &[], ExtendedKeyUsagePurpose::ServerAuth)?;

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der().to_vec()))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.allow_unauthenticated().build()?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut server = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { issuer, pem: authority.pem(), server: Arc::new(server) })
    }

    fn sign_client(&self, name: &str, groups: &[&str]) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
        sign(&self.issuer, name, groups, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn sign(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    groups: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2100, 1, 1));
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?, key))
}
