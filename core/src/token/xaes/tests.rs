use sha3::{
    Shake128,
    digest::{ExtendableOutput, Update, XofReader},
};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sealed(key: &[u8; 32], nonce: &[u8; 24], associated: &[u8], content: &[u8]) -> Vec<u8> {
    let mut sealed = content.to_vec();
    let key = Key::new(key).unwrap();
    key.seal(nonce, associated, &mut sealed).unwrap();
    assert_eq!(key.open(nonce, associated, &sealed).unwrap(), content);
    sealed
}

/// The two vectors of the specification: one key whose L begins with a 0 bit, one with a 1 bit.
#[test]
fn makes_what_the_specification_says() {
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    let first = Key::new(&[1; 32]).unwrap().derived(nonce).unwrap();
    assert_eq!(
        hex(first.as_slice()),
        "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b"
    );
    let second = Key::new(&[3; 32]).unwrap().derived(nonce).unwrap();
    assert_eq!(
        hex(second.as_slice()),
        "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8"
    );
    assert_eq!(
        hex(&sealed(&[1; 32], nonce, b"", b"XAES-256-GCM")),
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    );
    assert_eq!(
        hex(&sealed(
            &[3; 32],
            nonce,
            b"c2sp.org/XAES-256-GCM",
            b"XAES-256-GCM"
        )),
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    );
}

/// The accumulated vector of the specification: inputs are drawn from one SHAKE128, outputs go into
/// another one.
#[test]
fn makes_ten_thousand_times_what_the_specification_says() {
    let mut input = Shake128::default().finalize_xof();
    let mut output = Shake128::default();
    for _ in 0..10_000 {
        let (mut key, mut nonce, mut length) = ([0; 32], [0; 24], [0; 1]);
        input.read(&mut key);
        input.read(&mut nonce);
        input.read(&mut length);
        let mut content = vec![0; usize::from(length[0])];
        input.read(&mut content);
        input.read(&mut length);
        let mut associated = vec![0; usize::from(length[0])];
        input.read(&mut associated);
        output.update(&sealed(&key, &nonce, &associated, &content));
    }
    let mut hash = [0; 32];
    output.finalize_xof().read(&mut hash);
    assert_eq!(
        hex(&hash),
        "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    );
}

#[test]
fn opens_nothing_that_was_changed() {
    let (key, nonce) = ([7; 32], [9; 24]);
    let whole = sealed(&key, &nonce, b"associated", b"content");
    let opens = |key: &_, nonce: &_, associated: &[u8], sealed: &[u8]| {
        let key = Key::new(key).unwrap();
        key.open(nonce, associated, sealed).is_ok()
    };
    assert!(opens(&key, &nonce, b"associated", &whole));
    assert!(!opens(&key, &nonce, b"associate", &whole));
    for place in 0..32 {
        let mut other = key;
        other[place] ^= 1;
        assert!(!opens(&other, &nonce, b"associated", &whole), "key {place}");
    }
    for place in 0..24 {
        let mut other = nonce;
        other[place] ^= 1;
        assert!(!opens(&key, &other, b"associated", &whole), "nonce {place}");
    }
    for place in 0..whole.len() {
        let mut other = whole.clone();
        other[place] ^= 1;
        assert!(!opens(&key, &nonce, b"associated", &other), "byte {place}");
        assert!(
            !opens(&key, &nonce, b"associated", &whole[..place]),
            "{place} bytes"
        );
    }
}
