//! The rows of `faro check` for people: aligned columns, the verdict last.

use super::{Row, Verdict};
use faro::api::{FieldSelector, LabelSelector};
use faro::cli::shown;

/// A line of headings and one for each row, without trailing blanks.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

const HEADINGS: [&str; 7] = ["RESOURCE", "NAMESPACE", "SELECTORS", "SERVED", "LIST", "WATCH", "VERDICT"];

fn cells(row: &Row) -> [String; 7] {
    let target = &row.target;
    let labels = target.label_selector.as_ref().map(LabelSelector::as_str);
    let fields = target.field_selector.as_ref().map(FieldSelector::as_str);
    let selectors: Vec<&str> = labels.into_iter().chain(fields).collect();
    let selectors = if selectors.is_empty() { "-".to_owned() } else { selectors.join(" ") };
    let [list, watch] =
        row.allowed.map(|allowed| allowed.map_or("unknown", |allowed| if allowed { "yes" } else { "no" }).to_owned());
    let verdict = match &row.verdict {
        Verdict::Good => "good".to_owned(),
        Verdict::Waits(what) => format!("waits: {what}"),
        Verdict::Bad(why) => why.clone(),
    };
    let namespace = target.namespace.clone().unwrap_or_else(|| "-".to_owned());
    // A server names what it serves, and why it does not.
    [target.gvr.to_string(), namespace, selectors, row.served.to_owned(), list, watch, shown(&verdict).into_owned()]
}
