//! The subject of a certificate as text: RFC 2253, as Java's `X500Principal.getName()` writes it, because
//! `ssl.principal.mapping.rules` and ACLs of Kafka are written for that.

use std::fmt::Write;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// What RFC 2253 calls the types of attributes, in section 2.3. Others are written as numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The tags of ASN.1 whose values Java writes as text: UTF8String, PrintableString, T61String, IA5String,
/// GeneralString and BMPString. Others are written as hexadecimal digits.
const TEXTS: [u32; 6] = [12, 19, 20, 22, 27, 30];

/// The subject of a certificate in DER, the most specific attribute first. `None`: it is no certificate, or the subject
/// is empty or holds text that is no UTF-8.
pub fn subject(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    text(certificate.subject()).filter(|subject| !subject.is_empty())
}

/// A name as text.
fn text(name: &X509Name<'_>) -> Option<String> {
    let mut sets: Vec<String> = Vec::new();
    for set in name.iter_rdn() {
        let attributes: Option<Vec<String>> = set.iter().map(attribute).collect();
        sets.push(attributes?.join("+"));
    }
    sets.reverse();
    Some(sets.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let id = attribute.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(number, _)| *number == id).map(|(_, keyword)| *keyword);
    let value = attribute.attr_value();
    match keyword {
        Some(keyword) if TEXTS.contains(&value.tag().0) => {
            Some(format!("{keyword}={}", escaped(std::str::from_utf8(value.data).ok()?)))
        }
        _ => {
            let mut text = format!("{}=#", keyword.unwrap_or(&id));
            let header = x509_parser::asn1_rs::ToDer::to_der_vec_raw(value).ok()?;
            header.iter().try_for_each(|byte| write!(text, "{byte:02x}")).ok()?;
            Some(text)
        }
    }
}

/// The text of a value: section 2.4 of RFC 2253, and what Java escapes besides.
fn escaped(value: &str) -> String {
    let is_space = |char: char| matches!(char, ' ' | '\r');
    let leading = value.len() - value.trim_start_matches(is_space).len();
    let trailing = value.trim_end_matches(is_space).len();
    let mut text = String::with_capacity(value.len());
    for (at, char) in value.char_indices() {
        match char {
            '\0' => text.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => text.extend(['\\', char]),
            _ if at < leading || at >= trailing => text.extend(['\\', char]),
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// `tests/kafka-4.3.1/certificates.tsv` says how it was made.
    #[test]
    fn names_are_written_as_by_java() {
        let recorded = include_str!("../../tests/kafka-4.3.1/certificates.tsv");
        let mut compared = 0;
        for line in recorded.lines().filter(|line| line.starts_with("name\t")) {
            let mut parts = line.split('\t').skip(1).map(bytes);
            let (der, expected) = (parts.next().unwrap(), String::from_utf8(parts.next().unwrap()).unwrap());
            let (_, name) = X509Name::from_der(&der).unwrap();
            assert_eq!(text(&name).as_deref(), Some(&*expected), "{line}");
            compared += 1;
        }
        assert_eq!(compared, 400);
    }
}
