//! The one protobuf message that has to be read: what `kubectl create namespace NAME` sends.
//!
//! Everything else comes as JSON. An answer in JSON is good enough for `kubectl` here too.

use serde_json::{Value, json};

/// Precedes every Kubernetes message.
const MAGIC: &[u8] = b"k8s\0";

/// The Namespace in a body, if it is one with a name and nothing else that counts.
pub(crate) fn namespace(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let of_type = fields(only(&envelope, 1)?)?;
    if (only(&of_type, 1)?, only(&of_type, 2)?) != (b"v1".as_slice(), b"Namespace".as_slice()) {
        return None;
    }
    let namespace = fields(only(&envelope, 2)?)?;
    let metadata = fields(only(&namespace, 1)?)?;
    // An empty field is Go's way of saying nothing; any other would be lost here.
    if metadata.iter().any(|(number, bytes)| *number != 1 && !bytes.is_empty()) {
        return None;
    }
    let name = std::str::from_utf8(only(&metadata, 1)?).ok()?;
    Some(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

fn only<'a>(fields: &[(u64, &'a [u8])], number: u64) -> Option<&'a [u8]> {
    fields.iter().find(|(found, _)| *found == number).map(|(_, bytes)| *bytes)
}

/// The fields of a message; a number is given as the bytes that spell it, and as none if it is zero.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    const NUMBER: u64 = 0;
    const BYTES: u64 = 2;
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (key, rest) = varint(message)?;
        let (value, after) = varint(rest)?;
        let (bytes, after) = match key & 7 {
            NUMBER if value == 0 => (&[][..], after),
            NUMBER => rest.split_at_checked(rest.len() - after.len())?,
            BYTES => after.split_at_checked(usize::try_from(value).ok()?)?,
            _ => return None,
        };
        fields.push((key >> 3, bytes));
        message = after;
    }
    Some(fields)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from kubectl 1.32: `kubectl create namespace foo`.
    const CREATE_FOO: &[u8] =
        b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03foo\x12\0\x1a\0\"\0*\x002\08\0B\0\x12\0\x1a\x02\n\0\x1a\0\"\0";

    #[test]
    fn a_namespace_made_by_name_is_read() {
        assert_eq!(
            namespace(CREATE_FOO),
            Some(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}))
        );
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_refused() {
        for end in 0..CREATE_FOO.len() - 6 {
            assert_eq!(namespace(&CREATE_FOO[..end]), None, "{end} bytes");
        }
        let another: Vec<u8> = CREATE_FOO.iter().map(|byte| if *byte == b'N' { b'M' } else { *byte }).collect();
        assert_eq!(namespace(&another), None);
    }
}
