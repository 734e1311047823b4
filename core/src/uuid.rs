//! UUIDs in the one spelling that Kubernetes writes (RFC 9562 §4, lower case), as text and as bytes.

/// The bytes of a UUID in its usual spelling; [`None`] for every other text: hyphens elsewhere, upper case,
/// signs, another length.
pub(crate) fn bytes(uuid: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = uuid.as_bytes().try_into().ok()?;
    let hyphens = [8, 13, 18, 23].iter().all(|&place| text[place] == b'-');
    let mut bytes = [0; 16];
    for (byte, place) in bytes.iter_mut().zip(PLACES) {
        *byte = digit(text[place])? << 4 | digit(text[place + 1])?;
    }
    hyphens.then_some(bytes)
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

/// Where the digits of each byte begin.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// What a digit is worth; [`None`] for all others, those in upper case too.
const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
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
