//! Kubernetes quantities of bytes, such as `100Mi`.

const UNITS: [(&str, u64); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

/// The bytes of a quantity; `None`: it is malformed, or negative.
pub fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = quantity.get(digits.len()..)?;
    let decimal = ["k", "M", "G", "T", "P", "E"].iter().position(|decimal| *decimal == unit);
    let factor = match (UNITS.iter().find(|(binary, _)| *binary == unit), decimal) {
        (Some((_, factor)), _) => *factor as f64,
        (None, Some(power)) => 1000_f64.powi(i32::try_from(power).ok()? + 1),
        (None, None) if unit.is_empty() => 1.0,
        (None, None) => return None,
    };
    let number = digits.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite())?;
    // The cast saturates.
    Some((number * factor) as u64)
}

/// Bytes as a quantity with one decimal at most, such as `1.4Ti`.
pub fn quantity(bytes: u64) -> String {
    let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| bytes >= *factor) else { return bytes.to_string() };
    let tenths = (bytes as f64 / *factor as f64 * 10.0).round() / 10.0;
    format!("{tenths}{unit}")
}

/// A quantity as people read it: `80Mi` as `80 MiB`.
pub fn in_words(quantity: &str) -> String {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    format!("{digits} {}B", quantity.get(digits.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("2k", Some(2000)),
            ("1.5M", Some(1_500_000)),
            ("100Mi", Some(100 << 20)),
            ("1.4Ti", Some(1_539_316_278_886)),
            ("-1Mi", None),
            ("Mi", None),
            ("1m", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for (number, expected) in
            [(0, "0"), (1023, "1023"), (80 << 20, "80Mi"), (1_539_316_278_886, "1.4Ti"), (1 << 60, "1Ei")]
        {
            assert_eq!(quantity(number), expected);
        }
        assert_eq!(["80Mi", "1.4Ti", "12"].map(in_words), ["80 MiB", "1.4 TiB", "12 B"]);
    }
}
