//! Where share groups begin: the values of `share.auto.offset.reset`.

use std::time::Duration;

/// Where a share group begins in a partition of which it has no offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record that is no older than this.
    ByDuration(Duration),
}

impl OffsetReset {
    /// Kafka's text for it, with a duration as Java reads one; `None` if it is none.
    pub(crate) fn from_text(text: &str) -> Option<OffsetReset> {
        match text {
            "earliest" => Some(OffsetReset::Earliest),
            "latest" => Some(OffsetReset::Latest),
            _ => {
                let text = text.strip_prefix("by_duration:")?;
                // Java's Duration knows days, but neither weeks nor other ways to write it.
                let is_javas = text.starts_with(['P', 'p']) && !text.contains(['W', 'w']);
                let span: jiff::Span = text.parse().ok().filter(|_| is_javas)?;
                let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
                Some(OffsetReset::ByDuration(duration.try_into().ok()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_begins_where_its_setting_says() {
        let seconds = |seconds| Some(OffsetReset::ByDuration(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("earliest", Some(OffsetReset::Earliest)),
            ("latest", Some(OffsetReset::Latest)),
            ("by_duration:PT1H30M", seconds(5400)),
            ("by_duration:P1DT1S", seconds(86_401)),
            ("by_duration:PT0.5S", Some(OffsetReset::ByDuration(Duration::from_millis(500)))),
            ("by_duration:-PT1S", None),
            ("by_duration:", None),
            ("by_duration:1h", None),
            ("by_duration:P1W", None),
            ("by_duration:P1M", None),
            ("none", None),
        ] {
            assert_eq!(OffsetReset::from_text(text), expected, "{text}");
        }
    }
}
