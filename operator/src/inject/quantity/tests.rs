//! Quantities as k8s.io/apimachinery v0.37.2 reads them.

use proptest::prelude::*;

use super::*;

fn quantity(text: &str) -> Quantity {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?} {error}"))
}

#[test]
fn equal_quantities_are_equal_however_they_are_written() {
    for equal in [
        &[
            "1",
            "1.",
            "+1",
            "01",
            "1.000",
            "1000m",
            "1e0",
            "1E0",
            "0.001k",
            "1000000u",
            "1000000000n",
            "10e-1",
        ][..],
        &["1Ki", "1024", "1.024k", "0.0009765625Mi", "1024000m"],
        &["512", ".5Ki"],
        &["0", "-0", "0Mi", "0e5", "00.00", "0n"],
        &["1n", "0.1n", "1e-10", "0.0000000001", "1e-999", "0.9e-9"],
        &["-1n", "-0.1n", "-1e-10"],
        &[
            "8Ei",
            "9223372036854775807",
            "9Ei",
            "9223372036854775807Ki",
            "1000000000000000000000Ei",
        ],
        &["1E", "1e18", "1E18", "1e+18", "1000P"],
        &["18446744073709551616", "18446744073709551616000m"],
    ] {
        for (a, b) in equal.iter().zip(&equal[1..]) {
            assert_eq!(quantity(a), quantity(b), "{a} {b}");
        }
    }
}

#[test]
fn order_is_that_of_the_numbers() {
    let ascending = [
        "-1e500",
        "-1Ki",
        "-1",
        "-1m",
        "-1n",
        "0",
        "1n",
        "1u",
        "999u",
        "1m",
        "0.0011",
        "0.999999999",
        "1",
        "1.000000001",
        "999",
        "1k",
        "1Ki",
        "1025",
        "1M",
        "1Mi",
        "1G",
        "1Gi",
        "1T",
        "1Ti",
        "1P",
        "1Pi",
        "1E",
        "1Ei",
        "8Ei",
        "1e19",
        "99999999999999999999999999999999999999",
        "1e38",
        "1e999",
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(quantity(a).cmp(&quantity(b)), i.cmp(&j), "{a} {b}");
        }
    }
}

#[test]
fn what_is_no_quantity_is_refused() {
    // Kubernetes takes those without a digit for 0, and exponents modulo 2^32.
    for text in ["+", "-", ".", "E5", "Ki", "1e1000", "1e4294967296"] {
        assert_eq!(text.parse::<Quantity>(), Err(NoQuantity), "{text:?}");
    }
    for text in [
        "",
        " ",
        "1 ",
        " 1",
        "+",
        "-",
        ".",
        "e",
        "E5",
        "Ki",
        "1K",
        "1ki",
        "1KI",
        "1mi",
        "1Eie5",
        "1e",
        "1e+",
        "1e1.5",
        "1ee5",
        "1..",
        "1.1.1",
        "1,5",
        "--1",
        "+-1",
        "1-",
        "0x10",
        "1_000",
        "١",
        "1e1000",
        "1e4294967296",
        "NaN",
        "inf",
        "1000000000000000000000000000000000000001",
        "1m ",
        "1\n",
        "1.5.Gi",
    ] {
        assert_eq!(text.parse::<Quantity>(), Err(NoQuantity), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,5}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(quantity.cmp(&quantity), Ordering::Equal);
        }
    }

    #[test]
    fn compares_as_numbers_do(a in any::<i64>(), b in any::<i64>(), shift in 0_u32..6) {
        let text = |n: i64| format!("{n}{}", ["", "Ki", "m", "u", "n", "k"][shift as usize]);
        prop_assume!(shift != 1 || a.unsigned_abs().max(b.unsigned_abs()) < 1 << 53);
        prop_assert_eq!(quantity(&text(a)).cmp(&quantity(&text(b))), a.cmp(&b));
    }
}
