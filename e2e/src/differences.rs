//! Differences between what Apache Kafka says and what Ottla says: those that are meant, and how the others are shown.

use anyhow::{Context, Result, bail, ensure};
use regex::{Regex, RegexBuilder};

use crate::target::Maker;

/// The rows of `DIFFERENCES.md` for one recording: the only excuses that the tests accept.
pub struct Differences(Vec<(Regex, String)>);

impl Differences {
    /// The rows for this recording; none when the broker is Kafka. A row that does not apply to what Kafka says in it
    /// is out of date.
    pub fn of(recording: &str, kafka_says: &str, maker: Maker) -> Result<Differences> {
        let mut rules = Vec::new();
        for line in include_str!("../DIFFERENCES.md").lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> =
                line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).trim_matches('`')).collect();
            let [place, rule, becomes, _why] = cells[..] else { bail!("not four cells: {line}") };
            if place != recording || maker == Maker::Kafka {
                continue;
            }
            // A bar would end the table's cell.
            let rule = RegexBuilder::new(&rule.replace("\\|", "|")).multi_line(true).build();
            let rule = rule.with_context(|| line.to_owned())?;
            ensure!(rule.is_match(kafka_says), "Kafka does not say that: {line}");
            rules.push((rule, becomes.replace("\\n", "\n").replace("\\t", "\t")));
        }
        Ok(Differences(rules))
    }

    /// The text without what may differ.
    pub fn without(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (rule, becomes) in &self.0 {
            text = rule.replace_all(&text, becomes).into_owned();
        }
        text
    }
}

/// The difference by lines, by their longest common subsequence, each change with three lines before it.
pub fn by_line(before: &str, after: &str) -> String {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // common[i][j]: how many lines before[i..] and after[j..] have in common.
    let mut common = vec![vec![0_u32; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = match before[i] == after[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut shown) = (0, 0, 0);
    let mut text = String::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        for line in &before[shown.max(i.saturating_sub(3)).min(i)..i] {
            text += &format!("  {line}\n");
        }
        if j == after.len() || i < before.len() && common[i + 1][j] >= common[i][j + 1] {
            text += &format!("- {}\n", before[i]);
            i += 1;
        } else {
            text += &format!("+ {}\n", after[j]);
            j += 1;
        }
        shown = i;
    }
    text
}
