//! A uid in 16 bytes, for those who keep very many.

use aws_lc_rs::digest::{SHA256, digest};

use super::Uid;
use crate::uuid;

/// A uid to compare others with.
///
/// # Guarantees
/// Two that are not the same are told apart: a UUID in its usual spelling, which Kubernetes gives every object, by
/// what it says, and any other text by 128 bits of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedUid([u8; 16]);

impl PackedUid {
    /// Whether it is that one.
    #[must_use]
    pub fn is(&self, uid: &Uid) -> bool {
        *self == Self::from(uid)
    }
}

impl From<&Uid> for PackedUid {
    fn from(uid: &Uid) -> Self {
        Self(uuid::bytes(uid.as_str()).unwrap_or_else(|| {
            let hash = digest(&SHA256, uid.as_str().as_bytes());
            std::array::from_fn(|place| hash.as_ref()[place])
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_itself_and_no_other() {
        let all = [
            "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11",
            "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b12",
            "0F2F4B9C-7C1C-4C5E-9F43-1A1C7A6F0B11",
            "0f2f4b9c7c1c4c5e9f431a1c7a6f0b11",
            "pod-1",
        ];
        for one in all.map(|text| Uid::parse(text).unwrap()) {
            for other in all.map(|text| Uid::parse(text).unwrap()) {
                assert_eq!(
                    PackedUid::from(&one).is(&other),
                    one == other,
                    "{one} {other}"
                );
            }
        }
    }
}
