//! What is shown, one function each; its name says what.

mod harness;

use crate::runner::{Needs, Scenario};

/// Lists functions as scenarios, under the names they have.
macro_rules! scenarios {
    ($needs:ident: $($module:ident::$name:ident),+ $(,)?) => {
        [$(Scenario { name: concat!(stringify!($module), "::", stringify!($name)), needs: Needs::$needs, run: $module::$name }),+]
    };
}

/// Every scenario; those that take longest first.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(scenarios!(OwnControlPlane:
        harness::a_restored_server_forgets_what_was_written_since,
    ));
    all
}
