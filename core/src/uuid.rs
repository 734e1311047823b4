//! UUIDs in the one spelling that Kubernetes writes (RFC 9562 §4, lower case), as text and as bytes.

/// The bytes of a UUID in its usual spelling; [`None`] for every other text.
pub(crate) fn bytes(uuid: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let digits: String = uuid.split('-').collect();
    for (byte, place) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(place..place + 2)?, 16).ok()?;
    }
    // Hyphens elsewhere, upper case, signs and lengths: all of them spell it another way.
    (text(bytes) == uuid).then_some(bytes)
}

/// The usual spelling.
pub(crate) fn text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_spelling() {
        let usual = "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11";
        let read = bytes(usual).unwrap();
        assert_eq!((read[0], read[4], read[15]), (0x0f, 0x7c, 0x11));
        assert_eq!(text(read), usual);
        for other in [
            "",
            "0f2f4b9c7c1c4c5e9f431a1c7a6f0b11",
            "0F2F4B9C-7C1C-4C5E-9F43-1A1C7A6F0B11",
            "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b1",
            "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b111",
            "0f2f4b9c-7c1c-4c5e-9f431-a1c7a6f0b11",
            "+f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11",
            "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b1\u{e9}",
            "account-uid-1",
        ] {
            assert_eq!(bytes(other), None, "{other:?}");
        }
    }
}
