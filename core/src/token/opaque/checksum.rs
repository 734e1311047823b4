//! The checksum at the end of an opaque token. It proves nothing to a verifier: it lets a scanner that
//! knows no key tell a token from a text that only looks like one.

/// How many characters it has: 62^6 is more than 2^32.
pub(super) const LENGTH: usize = 6;

/// The checksum of `text`: CRC-32/ISO-HDLC, the one of zip, gzip and PNG (ISO 3309), in base62.
pub(super) fn of(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_crc_32_of_everybody_in_base62() {
        assert_eq!(of(""), "000000");
        // 0xcbf43926 has the base62 digits 3, 45, 35, 27, 22, 14.
        assert_eq!(of("123456789"), "3jZRME");
        // 0x414fa339 has 1, 12, 9, 37, 34, 17.
        let fox = "The quick brown fox jumps over the lazy dog";
        assert_eq!(of(fox), "1C9bYH");
    }
}
