//! Which partition of an internal topic a key belongs to: its leader coordinates the key.

/// `abs(hash) % partitions`, the hash being Java's `String.hashCode` (over UTF-16), as every Kafka broker computes it
/// for groups and for transactional ids.
pub(crate) fn partition_for(key: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    let hash = key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's Utils.abs: i32::MIN, which has no positive counterpart, counts as 0.
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    #[test]
    fn keys_belong_where_kafka_puts_them() {
        // Computed with Java's String.hashCode; the hash of "polygenelubricants" is Integer.MIN_VALUE.
        let cases = [
            ("", 0),
            ("test", 48),
            ("orders-service", 17),
            ("console-consumer-71543", 11),
            ("größe", 7),
            ("🦦-otters", 26),
            ("polygenelubricants", 0),
            ("connect-cluster", 13),
        ];
        for (key, partition) in cases {
            assert_eq!(partition_for(key, 50), partition, "{key}");
        }
    }
}
