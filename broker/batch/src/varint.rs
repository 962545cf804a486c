//! The numbers inside records: zigzag in groups of seven bits, as in Protocol Buffers.

/// Longest encoding of an i32.
pub(crate) const VARINT_MAX: usize = 5;

/// Longest encoding of an i64.
pub(crate) const VARLONG_MAX: usize = 10;

/// Take an i32 from the front; none when it is cut or doesn't fit.
pub(crate) fn take_varint(input: &mut &[u8]) -> Option<i32> {
    let bits = u32::try_from(take_bits(input, VARINT_MAX)?).ok()?;
    Some((bits >> 1) as i32 ^ -((bits & 1) as i32))
}

/// Take an i64 from the front; none when it is cut or doesn't fit.
pub(crate) fn take_varlong(input: &mut &[u8]) -> Option<i64> {
    let bits = take_bits(input, VARLONG_MAX)?;
    Some((bits >> 1) as i64 ^ -((bits & 1) as i64))
}

fn take_bits(input: &mut &[u8], max_len: usize) -> Option<u64> {
    let mut bits = 0;
    for i in 0..max_len {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let group = u64::from(byte & 0x7F);
        if i == 9 && group > 1 {
            return None;
        }
        bits |= group << (7 * i);
        if byte < 0x80 {
            return Some(bits);
        }
    }
    None
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, value.into());
}

/// An i32 and the same i64 have the same encoding.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_kafkas_encoding() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7F]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i32::MIN, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(take_varint(&mut &out[..]), Some(value));
            assert_eq!(take_varlong(&mut &out[..]), Some(value.into()));
        }
        for value in [i64::MIN, i64::MAX, 1 << 40] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(take_varlong(&mut &out[..]), Some(value));
            assert_eq!(take_varint(&mut &out[..]), None, "{value} is no i32");
        }
    }

    #[test]
    fn cut_and_endless_numbers_are_refused() {
        assert_eq!(take_varint(&mut &[][..]), None);
        assert_eq!(take_varint(&mut &[0x80][..]), None);
        assert_eq!(take_varint(&mut &[0x80; 6][..]), None);
        assert_eq!(take_varlong(&mut &[0xFF; 11][..]), None);
        assert_eq!(take_varlong(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2][..]), None);
    }
}
