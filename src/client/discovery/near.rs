//! What might have been meant by a resource that is not served.
//!
//! Compares the name with every plural, singular, kind and short name, then group and version. Suggests only what can
//! be listed and watched.

use super::ApiResource;
use crate::api::GroupVersionResource;

/// The best first; at most [`MATCHES_MAX`].
pub(super) fn matches<'a>(asked: &GroupVersionResource, served: impl Iterator<Item = &'a ApiResource>) -> Vec<String> {
    let mut found: Vec<(usize, String)> = served
        .filter(|resource| resource.is_watchable())
        .filter_map(|resource| Some((cost(asked, resource)?, resource.gvr.to_string())))
        .collect();
    found.sort_unstable();
    found.into_iter().take(MATCHES_MAX).map(|(_, text)| text).collect()
}

/// More would be a list to search, not a hint.
const MATCHES_MAX: usize = 3;

/// How far `resource` is from what was asked; `None` when its name is another word. The name counts most.
fn cost(asked: &GroupVersionResource, resource: &ApiResource) -> Option<usize> {
    let word = asked.resource();
    let is_short_name = resource.short_names.iter().any(|short| short == word);
    let kind = resource.kind.to_ascii_lowercase();
    let names = [resource.gvr.resource(), resource.singular.as_str(), kind.as_str()];
    let closest = names.iter().filter(|name| !name.is_empty()).map(|name| distance(word, name)).min();
    let name = if is_short_name { 0 } else { closest? };
    if name > word.len().div_ceil(LETTERS_PER_SLIP) {
        return None;
    }
    let group = distance(asked.group(), resource.gvr.group()).min(GROUP_COST_MAX);
    let version = usize::from(asked.version() != resource.gvr.version());
    Some(name * NAME_WEIGHT + group + version)
}

/// A word of up to four letters may have one slip, one of five to eight two.
const LETTERS_PER_SLIP: usize = 4;

/// One slip in the name outweighs another group and version.
const NAME_WEIGHT: usize = GROUP_COST_MAX + 2;

/// Beyond this, a group is simply another one.
const GROUP_COST_MAX: usize = 4;

/// How many letters must be added, taken away, changed or swapped with their neighbour (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let change = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_slips_of_the_pen() {
        for (left, right, expected) in
            [("pods", "pods", 0), ("podz", "pods", 1), ("pdos", "pods", 1), ("", "apps", 4), ("deploments", "deployments", 1)]
        {
            assert_eq!((distance(left, right), distance(right, left)), (expected, expected), "{left} {right}");
        }
    }
}
