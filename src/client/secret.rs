//! A word that is never printed.

use serde::{Deserialize, Deserializer};
use std::fmt;

/// A credential. Its `Debug` says only that there is one, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The credential itself, for whoever sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A decoder's error without the value that it names: serde quotes what it found, and that may be a credential.
pub(crate) fn without_value(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some((before, found)) = text.split_once(kind)
            && let Some((found, expected)) = found.rsplit_once(", expected ")
        {
            let word: String = found.chars().take_while(|c| c.is_ascii_alphabetic() || *c == ' ').collect();
            return format!("{before}found {}, expected {expected}", word.trim_end());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
    }

    #[test]
    fn a_decoding_error_does_not_quote_the_value() {
        fn check(yaml: &str, expected: &str) {
            let error = serde_yaml::from_str::<std::collections::BTreeMap<String, Vec<Secret>>>(yaml).unwrap_err();
            assert_eq!(without_value(&error), expected);
        }
        check("token: hunter2", "token: found string, expected a sequence at line 1 column 8");
        check("token: 31337", "token: found integer, expected a sequence at line 1 column 8");
        check("token: \"a\\\", expected b\"", "token: found string, expected a sequence at line 1 column 8");
    }
}
