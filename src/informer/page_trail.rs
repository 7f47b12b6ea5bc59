//! Follows a list from page to page, and notices when it leads nowhere.
//!
//! Takes each page as it comes; refuses one that names a page again that the list had before, or that is one of many in a row
//! without an object. Promises that a list by pages ends, as an answer or as a fault.

use crate::client::PageReader;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the pages of one list led so far.
#[derive(Debug, Default)]
pub(super) struct PageTrail {
    /// Of each token, its hash: a million objects have two thousand tokens of a few hundred bytes.
    tokens: HashSet<u64>,
    /// How many pages in a row had no object.
    empty: u32,
}

impl PageTrail {
    /// Goes on with `page`, which has come whole.
    ///
    /// # Errors
    ///
    /// Why the list leads nowhere, in words.
    pub(super) fn follow(&mut self, page: &PageReader<'_>) -> Result<(), &'static str> {
        self.step(page.next_page(), page.objects() == 0)
    }

    /// Looks at a page of which perhaps only the front has come: it may be asked for again.
    ///
    /// # Errors
    ///
    /// As for [`follow`](Self::follow).
    pub(super) fn look(&self, page: &PageReader<'_>) -> Result<(), &'static str> {
        if page.next_page().is_some_and(|token| self.tokens.contains(&hash(token))) { Err(REPEATED) } else { Ok(()) }
    }

    fn step(&mut self, next: Option<&str>, is_empty: bool) -> Result<(), &'static str> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        let Some(token) = next else { return Ok(()) };
        if !self.tokens.insert(hash(token)) {
            return Err(REPEATED);
        }
        if self.empty > EMPTY_PAGES_MAX { Err("ever more pages without an object are to follow") } else { Ok(()) }
    }
}

fn hash(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

const REPEATED: &str = "it names a page as the next one that it named before";

/// So many pages in a row may be empty. API servers fill each page to its limit (`apiserver/pkg/storage/etcd3/store.go`);
/// others may filter what they have read.
const EMPTY_PAGES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_comes_again_ends_the_list_also_when_others_came_between() {
        let mut trail = PageTrail::default();
        assert!(["a", "b", "c"].into_iter().all(|token| trail.step(Some(token), false).is_ok()));
        assert!(trail.step(Some("b"), false).is_err());
        assert!(trail.step(None, false).is_ok());
    }

    #[test]
    fn ever_new_pages_without_an_object_end_the_list() {
        let mut trail = PageTrail::default();
        let mut follow = |n: u32, is_empty| trail.step(Some(&n.to_string()), is_empty).is_ok();
        assert!((0..EMPTY_PAGES_MAX).all(|n| follow(n, true)));
        assert!(follow(1000, false));
        assert!((2000..2000 + EMPTY_PAGES_MAX).all(|n| follow(n, true)));
        assert!(!follow(3000, true));
    }
}
