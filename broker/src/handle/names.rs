//! Topic names: Kafka's pattern.

/// The longest name: files are called `<topic>-<partition>`.
const MAX_LEN: usize = 249;

/// Whether `name` may be a topic's, with Kafka's words if not (`Topic.validate`).
///
/// # Errors
/// The message for the client.
pub(super) fn check_topic_name(name: &str) -> Result<(), String> {
    let refuse = |why: String| Err(format!("Topic name is invalid: {why}"));
    if name.is_empty() {
        refuse("the empty string is not allowed".to_owned())
    } else if name == "." || name == ".." {
        refuse(format!("'{name}' is not allowed"))
    } else if name.len() > MAX_LEN {
        refuse(format!("the length of '{name}' is longer than the max allowed length {MAX_LEN}"))
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        refuse(format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_pattern() {
        for good in ["a", "A.b_c-1", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "é", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
    }
}
