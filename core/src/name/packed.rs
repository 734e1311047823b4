//! A uid in the bytes that it says, for those who keep very many.

use super::Uid;
use crate::uuid;

/// A uid to compare others with. A UUID in its usual spelling, which Kubernetes gives every object, takes 24 bytes
/// and none elsewhere; any other text is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedUid(Packed);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Packed {
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl PackedUid {
    /// Whether it is that one.
    #[must_use]
    pub fn is(&self, uid: &Uid) -> bool {
        match &self.0 {
            Packed::Uuid(bytes) => uuid::bytes(uid.as_str()).as_ref() == Some(bytes),
            Packed::Other(text) => **text == *uid.as_str(),
        }
    }
}

impl From<&Uid> for PackedUid {
    fn from(uid: &Uid) -> Self {
        Self(match uuid::bytes(uid.as_str()) {
            Some(bytes) => Packed::Uuid(bytes),
            None => Packed::Other(uid.as_str().into()),
        })
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

    #[test]
    fn takes_no_more_than_it_says() {
        assert!(size_of::<PackedUid>() <= 24);
    }
}
