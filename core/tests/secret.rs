//! What is left of a credential in memory. In a process of its own, which still may read itself.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use hallpass_core::secret::Secret;

/// What the credentials are made of. The allocator writes into what is given back to it, but not into all of it.
const CANARY: &[u8; 16] = b"canary-of-memory";
const COUNT: usize = 64;
const SIZE: usize = COUNT * CANARY.len();

/// How often the canary is in that piece of this process's memory, whoever it belongs to. It allocates nothing: that could
/// be given the same piece, and clear it.
fn canaries(address: usize) -> io::Result<usize> {
    let mut memory = [0; SIZE];
    File::open("/proc/self/mem")?.read_exact_at(&mut memory, address as u64)?;
    Ok(memory.chunks(CANARY.len()).filter(|c| c == CANARY).count())
}

/// Where the bytes are.
fn place(bytes: &[u8]) -> usize {
    bytes.as_ptr() as usize
}

#[test]
fn t36_nothing_of_a_credential_is_left_in_memory_when_it_is_dropped() -> io::Result<()> {
    let text = Secret::new(String::from_utf8_lossy(CANARY).repeat(COUNT));
    let bytes = Secret::new(CANARY.repeat(COUNT));
    let copy = bytes.clone();
    let key: Box<Secret<[[u8; 16]; COUNT]>> = Box::new(Secret::new([*CANARY; COUNT]));
    let mut longer = CANARY.repeat(COUNT);
    longer.truncate(1);
    let shorter = Secret::new(longer);
    let places = [
        place(text.expose().as_bytes()),
        place(bytes.expose()),
        place(copy.expose()),
        place(key.expose().as_flattened()),
        place(shorter.expose()),
    ];
    for place in places {
        assert_eq!(canaries(place)?, COUNT, "before");
    }
    drop((text, bytes, copy, key, shorter));
    for (number, place) in places.into_iter().enumerate() {
        assert_eq!(canaries(place)?, 0, "of credential {number}");
    }
    Ok(())
}
