//! "Did you mean …?"

/// The candidate that `word` is most likely a slip of; `None` when nothing is near.
///
/// Case does not count; a swap of two neighbours counts as one slip. A third of the letters may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let slips_max = (word.chars().count() / 3).max(1);
    let ranked = candidates.into_iter().map(|candidate| (slips(&word, &candidate.to_lowercase()), candidate));
    ranked.filter(|(slips, _)| *slips <= slips_max).min_by_key(|(slips, _)| *slips).map(|(_, candidate)| candidate)
}

/// Longer words are no slips of ours, and the comparison takes the square of their length.
const WORD_BYTES_MAX: usize = 100;

/// How many letters to insert, drop, replace or swap with their neighbour to get from `a` to `b` (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, ["output_dir", "log_level", "log_file", "gvr", "scope"]), expected, "{word}");
    }

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        check("outputdir", Some("output_dir"));
        check("Output_Dir", Some("output_dir"));
        check("log_levle", Some("log_level"));
        check("logfile", Some("log_file"));
        check("grv", Some("gvr"));
        check("colour", None);
        check("", None);
        check(&"output_dir".repeat(20), None);
    }
}
