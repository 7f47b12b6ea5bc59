//! Every kind of credential, marked: as a kubeconfig has it, as others quote it, and as it must be found nowhere.

use crate::api::Api;
use crate::support::pki::Pki;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

const TOKEN: &str = "mk.TOKEN_q7w8/e9r0+t1y2-u3i4o5p6a7s8d9f0g1h2j3k4";
const FILED: &str = "mk.FILED_z1x2/c3v4+b5n6-m7q8w9e0r1t2y3u4i5o6p7a8";
const PASSWORD: &str = "mk-PASSWORD:z9x8c7v6b5%41n4m3";
const USER: &str = "a-user-name";
const PROXY_PASSWORD: &str = "mk-PROXYPASS-l1k2j3h4g5f6d7";
const PRINTED: &str = "mk.PRINTED_p0o9/i8u7+y6t5-r4e3w2q1a2s3d4f5g6h7j8";
const ARGUMENT: &str = "mk-ARGUMENT-a9b8c7d6e5f4g3h2";
const VARIABLE: &str = "mk-VARIABLE-n1m2b3v4c5x6z7l8";

static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

/// So many bytes of a credential in a row are one too many.
pub const PART_BYTES: usize = 8;

/// What Faro logs in with in one run.
#[derive(Clone, Copy, Debug)]
pub enum Login {
    Token,
    TokenFile,
    Password,
    ClientKey,
    /// A plugin that prints a token, with an argument and a variable that are secret.
    Plugin,
    /// A proxy's name and password.
    Proxy,
}

impl Login {
    pub const ALL: [Self; 6] = [Self::Token, Self::TokenFile, Self::Password, Self::ClientKey, Self::Plugin, Self::Proxy];

    /// The authority and the certificates of whoever serves TLS here.
    pub fn pki() -> &'static Pki {
        &PKI
    }

    /// As lines of a kubeconfig's user. Makes the files that they name.
    pub fn user(self, api: &Api) -> String {
        match self {
            Self::Token => format!("token: {TOKEN}"),
            Self::TokenFile => {
                fs::write(api.folder().join("token"), FILED).unwrap();
                "tokenFile: token".to_owned()
            }
            Self::Password => format!("username: {USER}\npassword: \"{PASSWORD}\""),
            Self::ClientKey => format!(
                "client-certificate-data: {}\nclient-key-data: {}",
                STANDARD.encode(&PKI.admin.cert),
                STANDARD.encode(&PKI.admin.key)
            ),
            Self::Plugin => Self::plugin(api, &format!("echo '{}'", Self::printed(&format!(r#""token":"{PRINTED}""#)))),
            Self::Proxy => "token: another-token-than-that-which-is-looked-for".to_owned(),
        }
    }

    /// The lines of a user with a plugin that does as `script` says.
    pub fn plugin(api: &Api, script: &str) -> String {
        let path = api.folder().join("plugin.sh");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self::exec("./plugin.sh")
    }

    /// The lines of a user with this plugin.
    pub fn exec(command: &str) -> String {
        format!(
            "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: {command}\n  args: [{ARGUMENT}]\n  \
             env: [{{name: PLUGIN_PASSWORD, value: {VARIABLE}}}]\n  interactiveMode: Never\n  \
             installHint: see https://joe:{ARGUMENT}@example.com/x"
        )
    }

    /// What a plugin prints that has this as its status.
    pub fn printed(status: &str) -> String {
        format!(r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{{{status}}}}}"#)
    }

    /// The userinfo of a proxy's URL, with `@` behind it.
    pub fn userinfo(self) -> String {
        if let Self::Proxy = self { format!("joe:{PROXY_PASSWORD}@") } else { String::new() }
    }

    /// What is secret of it. The first one is what a request shows, if any.
    pub fn secrets(self) -> Vec<&'static str> {
        match self {
            Self::Token => vec![TOKEN],
            Self::TokenFile => vec![FILED],
            Self::Password => vec![PASSWORD],
            // The first line of every key says which kind it is.
            Self::ClientKey => PKI.admin.key.lines().filter(|line| !line.starts_with('-')).skip(1).collect(),
            Self::Plugin => vec![PRINTED, ARGUMENT, VARIABLE],
            Self::Proxy => vec![PROXY_PASSWORD],
        }
    }

    /// What a server or proxy is shown, and can quote: the credential, and the header that it stands in. A key is shown to nobody.
    pub fn shown(self) -> Option<(&'static str, String)> {
        let credential = self.secrets()[0];
        let header = match self {
            Self::ClientKey => return None,
            Self::Token | Self::TokenFile | Self::Plugin => format!("Bearer {credential}"),
            Self::Password | Self::Proxy => format!("Basic {}", STANDARD.encode(self.pair()?)),
        };
        Some((credential, header))
    }

    /// User and password as basic auth has them.
    pub fn pair(self) -> Option<String> {
        match self {
            Self::Password => Some(format!("{USER}:{PASSWORD}")),
            Self::Proxy => Some(format!("joe:{PROXY_PASSWORD}")),
            Self::Token | Self::TokenFile | Self::ClientKey | Self::Plugin => None,
        }
    }

    /// What is shown, in all the ways in which it is quoted, one after the other.
    pub fn quoted(self) -> String {
        let Some((credential, header)) = self.shown() else { return "a certificate".to_owned() };
        let percent: String = credential.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let units: String = credential.bytes().map(|byte| format!("\\\\u{byte:04x}")).collect();
        let (front, back) = (&credential[..20], &credential[credential.len() - 20..]);
        let encoded = STANDARD.encode(credential);
        let in_url = URL_SAFE.encode(credential);
        let whole = STANDARD.encode(format!("authorization: {header}"));
        format!("authorization: {header} {credential} {percent} {units} {encoded} {in_url} {whole} [{front}] [{back}] {front}")
    }

    /// The same as the message of a status.
    pub fn status(self, code: u16) -> String {
        let quoted = self.quoted();
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"{quoted}","message":"{quoted}","code":{code}}}"#
        )
    }

    /// Every part of what is secret, in each form, that no output may hold: none is shorter than [`PART_BYTES`].
    pub fn parts(self) -> Vec<Vec<u8>> {
        let mut parts = BTreeSet::new();
        // The name before the password is known to everybody, in the pair, too.
        let name = self.pair().and_then(|pair| pair.find(':')).map_or(0, |end| ((end + 1) * 8).div_ceil(6));
        let encoded = self.pair().map(|pair| STANDARD.encode(pair)[name..].trim_end_matches('=').to_owned());
        for secret in self.secrets().into_iter().chain(encoded.as_deref()) {
            for part in secret.as_bytes().windows(PART_BYTES) {
                parts.insert(part.to_vec());
                for escaped in [
                    part.iter().map(|byte| format!("%{byte:02X}")).collect::<String>(),
                    part.iter().map(|byte| format!("%{byte:02x}")).collect(),
                    part.iter().map(|byte| format!("\\u{byte:04x}")).collect(),
                    part.iter().map(|byte| format!("\\u{byte:04X}")).collect(),
                ] {
                    parts.insert(escaped.into_bytes());
                }
            }
            // Wherever it stands in what is encoded. What is before it is known to everybody, and so is no part.
            for before in 0..3_usize {
                let padded = [&b"..."[..before], secret.as_bytes()].concat();
                for encoded in [STANDARD.encode(&padded), URL_SAFE.encode(&padded)] {
                    let digits = encoded.trim_end_matches('=').as_bytes();
                    let inner = &digits[(before * 8).div_ceil(6)..padded.len() * 8 / 6];
                    parts.extend(inner.windows(PART_BYTES).map(<[u8]>::to_vec));
                }
            }
        }
        parts.into_iter().collect()
    }
}
