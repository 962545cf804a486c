//! `DIFFERENCES.md`: where Ottla means to answer otherwise than Apache Kafka. The only excuses that the tests accept.

use anyhow::{Context, Result, ensure};
use regex::RegexBuilder;

/// Turns what Kafka says in this recording into what Ottla is to say. A row that changes nothing is out of date.
pub fn apply(recording: &str, mut text: String) -> Result<String> {
    for line in include_str!("../DIFFERENCES.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).trim_matches('`')).collect();
        let [place, kafka, ottla, _why] = cells[..] else { anyhow::bail!("not four cells: {line}") };
        if place != recording {
            continue;
        }
        let rule = RegexBuilder::new(kafka).multi_line(true).build().with_context(|| line.to_owned())?;
        ensure!(rule.is_match(&text), "Kafka does not say that any more: {line}");
        text = rule.replace_all(&text, ottla.replace("\\n", "\n")).into_owned();
    }
    Ok(text)
}
