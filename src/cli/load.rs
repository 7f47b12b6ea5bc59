//! From a command line to a configuration.
//!
//! Takes arguments and the file that they name; gives [`Settings`], checked as a whole, or a [`LoadError`]. Says nothing by
//! itself, and changes nothing on disk unless [`Settings::reset_state_if_asked`] is called.

use super::{ConfigFile, chain, flags, flags_help, print_error};
use crate::checkpoint::{self, StateError};
use crate::client::ClientOptions;
use crate::config::{Config, ConfigError};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What a command line asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The file that `--config` names, with the flags laid over it.
    pub config: Config,
    /// Which cluster (`--kubeconfig`, `--context`), for [`Client::from_options`](crate::client::Client::from_options).
    /// Defaults to the one that [`Client::try_default`](crate::client::Client::try_default) takes.
    pub client: ClientOptions,
    /// Whether what earlier runs have told is to be forgotten (`--reset-state`). Defaults to false.
    pub reset_state: bool,
    /// The file, to be read again while the program runs.
    pub file: ConfigFile,
}

/// Why there are no [`Settings`]: a mistake, or a wish to read first.
///
/// The text of [`Help`](Self::Help) and [`Version`](Self::Version) is what was asked for. Debug output is for people, too, as
/// it is what a `main` prints that returns this as its error; [`report`](Self::report) does better.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// `--help` or `-h` was given.
    #[error("Usage: {} --config FILE [FLAGS]\n\n{}", program(), flags_help())]
    Help,
    /// `--version` or `-V` was given.
    #[error("{} (faro {})", program(), env!("CARGO_PKG_VERSION"))]
    Version,
    /// The command line cannot be followed; the text says the cure.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be read, or something in it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Follows the command line of this process: its flags, and the file that they name. Flags outrank the file.
///
/// The flags are those of the program `faro`: [`flags_help`] lists them.
///
/// # Errors
///
/// When help or the version is asked for; when a flag is unknown, given twice or has a wrong value; when no `--config` is given;
/// when the file cannot be read; and when anything in it is wrong: then every mistake is told, each with its place.
///
/// # Blocking
///
/// While the file is read.
///
/// ```no_run
/// use faro::cli;
/// use faro::client::Client;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     let settings = match cli::load_config() {
///         Ok(settings) => settings,
///         Err(error) => return error.report(),
///     };
///     let client = Client::from_options(&settings.client);
///     // …
/// #   drop(client);
///     ExitCode::SUCCESS
/// }
/// ```
pub fn load_config() -> Result<Settings, LoadError> {
    load_config_from(std::env::args_os().skip(1))
}

/// As [`load_config`], from arguments without the program's name: for tests, and for programs that take flags of their own out
/// first.
///
/// # Errors
///
/// As for [`load_config`].
///
/// # Blocking
///
/// While the file is read.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("config.yaml");
/// std::fs::write(&file, "output_dir: events\nresources: [{gvr: v1/pods}]\n")?;
///
/// let settings = faro::cli::load_config_from(["--config".into(), file.into_os_string(), "--output-dir=elsewhere".into()])?;
/// assert_eq!(settings.config.output_dir.to_str(), Some("elsewhere"));
/// assert_eq!(settings.config.watches()[0].target.to_string(), "v1/pods");
///
/// let error = faro::cli::load_config_from(["--confg=x".into()]).unwrap_err();
/// assert_eq!(error.to_string(), "unknown flag --confg; did you mean --config?");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load_config_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Settings, LoadError> {
    let flags = flags::parse(arguments)?;
    // Looked at before it is read, so that no change is between the two.
    let file = ConfigFile::new(flags.config, flags.overrides);
    let config = file.load_first()?;
    Ok(Settings { config, client: flags.client, reset_state: flags.reset_state, file })
}

impl Settings {
    /// Forgets what earlier runs have told, where the command line asks for it and the configuration keeps a state. Call it before
    /// the controller starts.
    ///
    /// # Errors
    ///
    /// When another process uses the state, or when a file of it cannot be removed.
    ///
    /// # Blocking
    ///
    /// While files are removed.
    pub fn reset_state_if_asked(&self) -> Result<(), StateError> {
        if self.reset_state && self.config.state.enabled {
            checkpoint::reset(&self.config.state.dir)?;
            log::info!("forgot what was told: {} begins anew", self.config.state.dir.display());
        }
        Ok(())
    }
}

/// The exit code of wrong usage and of a wrong configuration.
const EXIT_USAGE: u8 = 2;

impl LoadError {
    /// Tells people, and returns the exit code for `main`: help and the version on stdout, 0; a mistake on stderr after the
    /// program's name, with its causes, 2.
    pub fn report(&self) -> ExitCode {
        if self.is_mistake() {
            print_error(&format!("{}: {self:?}", program()));
            return ExitCode::from(EXIT_USAGE);
        }
        // Nobody is left to tell when stdout is closed.
        let _ = writeln!(io::stdout(), "{}", self.to_string().trim_end());
        ExitCode::SUCCESS
    }

    /// Whether something is wrong; help and the version were asked for otherwise.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Help | Self::Version => false,
            Self::Usage(_) | Self::Config(_) => true,
        }
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

/// What this process was started as, without its folder.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "faro".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// Loads a file with `yaml` and these flags.
    fn load(yaml: &str, flags: &str) -> (TempDir, Result<Settings, LoadError>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        fs::write(&file, yaml.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let arguments = ["--config".into(), file.into()].into_iter().chain(flags.split_whitespace().map(OsString::from));
        let loaded = load_config_from(arguments);
        (folder, loaded)
    }

    #[test]
    fn flags_outrank_the_file_and_say_which_cluster() {
        let yaml = "output_dir: FOLDER\nlog_level: info\nresources: [{gvr: v1/pods}]";
        let (_folder, loaded) = load(yaml, "--log-level debug --stdout --kubeconfig k --context prod");
        let Settings { config, client, reset_state, .. } = loaded.unwrap();
        assert_eq!((config.log_level.as_str(), config.json_stdout, reset_state), ("debug", true, false));
        assert_eq!(
            client,
            ClientOptions { kubeconfig: Some("k".into()), context: Some("prod".to_owned()), plugin_descriptors: None }
        );
    }

    #[test]
    fn a_mistake_is_told_to_people_with_its_place_and_cause() {
        let (_folder, loaded) = load("output_dir: FOLDER\nresourcs: []", "");
        let told = format!("{:?}", loaded.unwrap_err());
        assert!(told.contains("config.yaml:2: resourcs") && told.contains("did you mean"), "{told}");
        let told = format!("{:?}", load_config_from(["--config=nowhere.yaml".into()]).unwrap_err());
        assert!(told.starts_with("cannot read the configuration nowhere.yaml: No such file"), "{told}");
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        let asked = |flag: &str| load_config_from([flag.into()]).unwrap_err();
        for (flag, is_mistake) in [("--help", false), ("-h", false), ("--version", false), ("-V", false), ("--helpp", true)] {
            assert_eq!(asked(flag).is_mistake(), is_mistake, "{flag}");
        }
        let help = asked("--help").to_string();
        assert!(help.starts_with("Usage: ") && help.contains("\n  --config FILE "), "{help}");
        assert!(asked("--version").to_string().contains(env!("CARGO_PKG_VERSION")));
    }

    #[cfg(feature = "state")]
    #[test]
    fn a_state_is_forgotten_only_where_that_is_asked_and_one_is_kept() {
        for (yaml, flags, is_left) in
            [("", "", true), ("", "--reset-state", false), ("state: {enabled: false}", "--reset-state", true)]
        {
            let yaml = format!("output_dir: FOLDER\nresources: [{{gvr: v1/pods}}]\n{yaml}");
            let (folder, loaded) = load(&yaml, flags);
            let state = folder.path().join("state/state.redb");
            fs::create_dir(state.parent().unwrap()).unwrap();
            fs::write(&state, "what was told").unwrap();
            loaded.unwrap().reset_state_if_asked().unwrap();
            assert_eq!(state.exists(), is_left, "{yaml} {flags}");
        }
    }
}
