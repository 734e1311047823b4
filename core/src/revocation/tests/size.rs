//! How much is kept of one.

use super::{super::group::Group, *};

/// The longest that can be written, as it is kept.
fn longest(target: RawTarget, within: Option<&str>) -> Revocation {
    let mut raw = lock(cluster(&"n".repeat(253), target), Some(MADE + 1));
    raw.namespace = within.map(Into::into);
    raw.issued_before = Some(time(MADE - 1));
    raw.message = Some("\u{1f4b6}".repeat(256));
    raw.parse().unwrap().1
}

/// The bytes of a group of one that names something of so many, without what the allocator adds.
fn bytes(named: usize, revocation: &Revocation) -> usize {
    let counts = 2 * size_of::<usize>();
    let message = revocation
        .terms()
        .message
        .as_ref()
        .map_or(0, |text| text.len());
    let written = size_of::<Terms>() + message;
    size_of::<Group>() + named + counts + revocation.name.as_str().len() + written
}

#[test]
fn the_longest_of_a_namespace_has_a_kilobyte_and_of_a_cluster_not_much_more() {
    let pod = RawTarget {
        pod: Some("p".repeat(253)),
        ..RawTarget::default()
    };
    let own = bytes(63 + 253, &longest(pod, Some(&"s".repeat(63))));
    assert!(own <= 1024, "{own}");
    let audience = RawTarget {
        audience: Some("a".repeat(512)),
        ..RawTarget::default()
    };
    let cluster = bytes(512, &longest(audience, None));
    assert!(cluster <= 1200, "{cluster}");
}

#[test]
fn of_a_message_256_bytes_are_kept_and_whole_characters() {
    let kept = |text: String| {
        let mut raw = raw("a", account("orders"));
        raw.message = Some(text);
        let (_, revocation) = raw.parse().unwrap();
        revocation.terms().message.clone().unwrap().into_string()
    };
    for text in ["a".repeat(256), "\u{1f4b6}".repeat(64)] {
        assert_eq!(kept(text.clone()), text);
    }
    assert_eq!(kept("ü".repeat(129)), format!("{}…", "ü".repeat(126)));
    assert_eq!(
        kept("\u{1f4b6}".repeat(65)),
        format!("{}…", "\u{1f4b6}".repeat(63))
    );
}
