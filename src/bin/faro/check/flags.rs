//! The flags of `faro check`: those of a run, and two of its own.

use faro::cli::{LoadError, Settings, flags_help, load_config_from};
use std::ffi::OsString;

/// What is to be checked, and how it is told.
#[derive(Debug)]
pub(crate) struct CheckFlags {
    pub(super) settings: Settings,
    /// Print the rights that are needed, and nothing else.
    pub(super) print_rbac: bool,
    /// Who gets them.
    pub(super) service_account: Option<ServiceAccount>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServiceAccount {
    pub(super) namespace: String,
    pub(super) name: String,
}

const SERVICE_ACCOUNT: &str = "--service-account";

/// Follows the arguments behind `check`; `None` when help is asked for.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<CheckFlags>, LoadError> {
    let mut others = Vec::new();
    let (mut print_rbac, mut service_account) = (false, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        let joined = text.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.strip_prefix('='));
        if text == "--print-rbac" {
            print_rbac = true;
        } else if text == SERVICE_ACCOUNT {
            service_account = Some(account(arguments.next().and_then(|value| value.into_string().ok()).as_deref())?);
        } else if joined.is_some() {
            service_account = Some(account(joined)?);
        } else {
            others.push(argument);
        }
    }
    if service_account.is_some() && !print_rbac {
        return Err(LoadError::Usage(format!("{SERVICE_ACCOUNT} says who gets what --print-rbac prints; give both")));
    }
    match load_config_from(others) {
        Ok(settings) => Ok(Some(CheckFlags { settings, print_rbac, service_account })),
        Err(LoadError::Help) => Ok(None),
        Err(other) => Err(other),
    }
}

fn account(text: Option<&str>) -> Result<ServiceAccount, LoadError> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    match text.and_then(|text| text.split_once('/')).filter(|(namespace, name)| is_name(namespace) && is_name(name)) {
        Some((namespace, name)) => Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }),
        None => {
            Err(LoadError::Usage(format!("{SERVICE_ACCOUNT}: expected NAMESPACE/NAME, found {:?}", text.unwrap_or_default())))
        }
    }
}

/// The text of `faro check --help`.
pub(crate) fn help() -> String {
    format!(
        "faro check: whether a configuration would work on a cluster; starts nothing and writes no file\n\n\
         Usage: faro check --config FILE [FLAGS]\n\n  \
         --print-rbac              print the rights that it needs, for kubectl apply, and nothing else\n  \
         --service-account NS/NAME with --print-rbac: bind them to this service account\n\
         {}\n\
         Exit codes: 0 all would work, 1 the cluster does not answer, or something is missing or forbidden,\n\
         2 wrong usage or configuration.\n",
        flags_help()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(None) => "Help".to_owned(),
            Ok(Some(flags)) => format!("{flags:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn its_own_flags_are_taken_out_and_the_rest_is_a_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        std::fs::write(&file, "output_dir: x\nresources: [{gvr: v1/pods}]").unwrap();
        for account in ["--service-account a/b", "--service-account=a/b"] {
            let line = format!("--print-rbac --config {} {account} --context c", file.display());
            let flags = parse(line.split_whitespace().map(OsString::from)).unwrap().unwrap();
            assert_eq!((flags.print_rbac, flags.settings.client.context.as_deref()), (true, Some("c")));
            assert_eq!(flags.service_account, Some(ServiceAccount { namespace: "a".to_owned(), name: "b".to_owned() }));
        }
    }

    #[test]
    fn wrong_usage_is_told_with_its_cure() {
        assert_eq!(told("--help"), "Help");
        assert!(told("").contains("--config FILE"));
        assert_eq!(told("--print-rbca"), "unknown flag --print-rbca; --help lists all");
        for wrong in ["a", "a/", "/b", "a/b/c", "A/b"] {
            let expected = format!("--service-account: expected NAMESPACE/NAME, found {wrong:?}");
            assert_eq!(told(&format!("--print-rbac --service-account {wrong}")), expected);
        }
        assert!(told("--service-account a/b").contains("give both"));
        let help = help();
        assert!(help.contains("\n  --print-rbac ") && help.contains("\n  --config FILE "), "{help}");
    }
}
