use proptest::prelude::*;

use super::*;
use crate::token::fixture::{HALLPASS, START, access};

fn decoded(content: &[u8]) -> Option<Claims> {
    decode(content, HALLPASS, &access().audience)
}

#[test]
fn writes_what_it_documents() {
    let content = encode(&access()).unwrap();
    let mut expected = vec![ID_IS_UUID | ACCOUNT_IS_UUID | CLIENT_IS_SUBJECT | PACKED];
    expected.extend(&START.to_be_bytes()[4..]);
    expected.extend([0x03, 0x84]);
    expected.extend(uuid::bytes("2a2a2a2a-2a2a-4a2a-aa2a-2a2a2a2a2a2a").unwrap());
    expected.extend(uuid::bytes("6d6f6e0e-9a0e-4b53-8b3a-6a2c4c1b9d00").unwrap());
    expected.extend(b"\x09pod-uid-1");
    // 70,000, and 70,000 ^ 3, in three bytes each.
    expected.extend([0x33, 0x01, 0x11, 0x70, 0x01, 0x11, 0x73]);
    let names = pack("shop*orders*orders-0*orders*payments:read*payments:refunds").unwrap();
    expected.extend([0, 45]);
    expected.extend(names);
    expected.extend(b"\x18https://example.com/tier\x00\x07\"gold\"\n");
    expected.extend(b"\x04team\x00\x08payments");
    assert_eq!(content, expected);
    assert_eq!(decoded(&content), Some(access()));
}

#[test]
fn packs_four_characters_into_three_bytes() {
    assert_eq!(pack("*a*b"), Some(vec![0, 0b0001_0000, 0b0000_0010]));
    assert_eq!(pack("a"), Some(vec![0b0000_0100, 0, 0]));
    assert_eq!(unpack(&[0b0000_0100, 0, 0]), "a");
    assert_eq!(pack(SYMBOLS).unwrap().len(), 48);
    for other in ["J", "~", " ", "é"] {
        assert_eq!(pack(other), None, "{other}");
    }
}

#[test]
fn falls_back_to_plain_text_where_a_scope_has_a_rare_character() {
    let claims = Claims {
        scopes: ScopeSet::parse("Jobs~Queue payments:read").unwrap(),
        ..access()
    };
    let content = encode(&claims).unwrap();
    assert_eq!(content[0] & PACKED, 0);
    let plain = b"\x00\x34shop*orders*orders-0*orders*Jobs~Queue*payments:read";
    assert!(content.windows(plain.len()).any(|bytes| bytes == plain));
    assert_eq!(decoded(&content), Some(claims));
}

#[test]
fn takes_nothing_that_it_would_not_write() {
    let content = encode(&access()).unwrap();
    // Every shorter text, but those that end where a claim of the owner ends, which say less.
    let whole = |length: usize| decoded(&content[..length]).is_some();
    let ends = (0..content.len()).filter(|&length| whole(length));
    let last = content.len() - b"\x04team\x00\x08payments".len();
    let before = last - b"\x18https://example.com/tier\x00\x07\"gold\"\n".len();
    assert_eq!(ends.collect::<Vec<_>>(), [before, last]);
    assert_eq!(decoded(&[&content[..], &[0]].concat()), None);
    // The same claims in another order, and one of them twice.
    let (one, two) = (&content[before..last], &content[last..]);
    assert_eq!(decoded(&[&content[..before], two, one].concat()), None);
    assert_eq!(decoded(&[&content[..last], one, two].concat()), None);
    // Other flags: what they say does not fit what follows, or another spelling would be shorter.
    for flags in (0..=255).filter(|&flags| flags != content[0]) {
        let mut other = content.clone();
        other[0] = flags;
        let claims = decoded(&other);
        // For this subject, both flags say the same: only the first is written.
        assert_eq!(claims, None, "{flags:#b}");
    }
}

#[test]
fn takes_scopes_in_order_and_once() {
    let with_names = |names: &str| {
        let mut other = encode(&access()).unwrap();
        let start = 1 + 4 + 2 + 16 + 16 + 10 + 7;
        let packed = pack(names).unwrap();
        let length = (packed.len() as u16).to_be_bytes();
        other.splice(start..start + 2 + 45, length.into_iter().chain(packed));
        decoded(&other).is_some()
    };
    assert!(with_names("shop*orders*orders-0*web*a*b"));
    for names in [
        "shop*orders*orders-0*web*b*a",
        "shop*orders*orders-0*web*a*a",
        "shop*orders*orders-0*web",
        "shop*orders*orders-0*web**a",
        "*shop*orders*orders-0*web*a",
        "shop*orders*web*a",
        "Shop*orders*orders-0*web*a",
        "shop*orders*orders-0*web*a*b******",
        "",
    ] {
        assert!(!with_names(names), "{names}");
    }
}

#[test]
fn writes_numbers_in_as_few_bytes_as_they_have() {
    let start = 1 + 4 + 2 + 16 + 16 + 10;
    for (known, bytes) in [
        ((0, 0), vec![0x00]),
        ((0, 256), vec![0x02, 1, 0]),
        ((70_001, 70_000), vec![0x31, 0x01, 0x11, 0x71, 0x01]),
        ((u64::MAX, u64::MAX), [&[0x80][..], &[255; 8]].concat()),
    ] {
        let known = Epochs {
            namespaced: known.0,
            cluster: known.1,
        };
        let claims = Claims { known, ..access() };
        let content = encode(&claims).unwrap();
        assert_eq!(content[start..start + bytes.len()], bytes);
        assert_eq!(decoded(&content), Some(claims));
    }
    // A leading zero byte is another spelling, and no number has nine bytes.
    for longer in [
        &[0x10, 0][..],
        &[0x21, 0, 5, 1],
        &[0x90, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ] {
        let mut content = encode(&access()).unwrap();
        content.splice(start..start + 7, longer.iter().copied());
        assert_eq!(decoded(&content), None, "{longer:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_another_spelling(
        bytes in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        if let Some(claims) = decoded(&bytes) {
            prop_assert_eq!(encode(&claims), Ok(bytes));
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_is_never_another_spelling(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&access()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Some(claims) = decoded(&bytes) {
            prop_assert_eq!(encode(&claims), Ok(bytes));
        }
    }
}
