//! What a program around the library needs: its command line and its logger. Needs the feature `cli`.
//!
//! The program `faro` is made of this and nothing else, so that a program of yours has the same flags, the same messages and
//! the same log lines where it wants them. Nothing in the library needs it: a program with a command line or a logger of its
//! own leaves either out.
//!
//! ```no_run
//! use faro::cli::{self, Logger};
//! use faro::client::Client;
//! use faro::controller::Controller;
//! use faro::event::MatchedEvent;
//! use std::error::Error;
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let settings = cli::load_config()?;
//!     let _logger = Logger::install_for(&settings.config, &["my_agent"])?;
//!     settings.reset_state_if_asked()?;
//!     let client = Client::from_options(&settings.client)?;
//!     let controller = Controller::new(client, settings.config);
//!     _ = controller.add_event_handler(|event: &MatchedEvent| {
//!         log::info!("{} {}", event.event_type, event.metadata().name());
//!         Ok(())
//!     })?;
//!     controller.start()?;
//!     Ok(())
//! }
//! ```
//!
//! Signals are the program's: call [`Controller::stop`](crate::controller::Controller::stop) from whatever listens to them.

mod config_file;
mod flags;
mod journal;
mod line;
mod load;
mod log_file;
mod logger;

pub use config_file::ConfigFile;
pub use flags::flags_help;
pub use journal::print_error;
pub use load::{LoadError, Settings, load_config, load_config_from};
pub use logger::{Logger, LoggerError};

use std::borrow::Cow;
use std::error::Error;

/// A text from outside as people may see it: with an escape, as Rust writes it, for each character that ends a line, moves a terminal's
/// cursor, reverses the direction of reading or is not seen.
///
/// ```
/// assert_eq!(faro::cli::shown("v1.36\u{1b}[2J"), "v1.36\\u{1b}[2J");
/// ```
pub fn shown(text: &str) -> Cow<'_, str> {
    crate::shown::shown(text)
}

/// An error with its causes on one line, outermost first: what to tell people at the end of `main`.
///
/// ```
/// let error = faro::cli::load_config_from(["--config=nowhere.yaml".into()]).unwrap_err();
/// let told = faro::cli::chain(&error);
/// assert!(told.starts_with("cannot read the configuration nowhere.yaml: No such file or directory"));
/// ```
pub fn chain(error: &(dyn Error + 'static)) -> String {
    crate::chain::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot watch v1/pods")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(chain(&Outer(io::Error::other("host not found"))), "cannot watch v1/pods: host not found");
    }
}
