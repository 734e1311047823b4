//! XAES-256-GCM (C2SP): AES-256-GCM under a key that is derived from the first half of a nonce of 24
//! bytes, so that 2^80 random nonces under one key are still safe.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
    error::Unspecified,
};
use zeroize::Zeroizing;

pub(super) const KEY: usize = 32;
pub(super) const NONCE: usize = 24;
pub(super) const TAG: usize = 16;

/// A key, with what every use of it begins with.
pub(super) struct Key {
    /// Its key schedule.
    aes: EncryptingKey,
    /// The first subkey of CMAC (NIST SP 800-38B §6.1).
    subkey: Zeroizing<[u8; 16]>,
}

impl Key {
    pub(super) fn new(key: &[u8; KEY]) -> Result<Self, Unspecified> {
        let aes = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?;
        let mut subkey = Zeroizing::new([0; 16]);
        aes.encrypt(subkey.as_mut_slice())?;
        let l = u128::from_be_bytes(*subkey);
        let carry = if l >> 127 == 1 { 0b1000_0111 } else { 0 };
        *subkey = ((l << 1) ^ carry).to_be_bytes();
        Ok(Self { aes, subkey })
    }

    /// Encrypts `content` in its place and appends the tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE],
        associated: &[u8],
        content: &mut Vec<u8>,
    ) -> Result<(), Unspecified> {
        let (key, nonce) = self.derive(nonce)?;
        key.seal_in_place_append_tag(nonce, Aad::from(associated), content)
    }

    /// The content of `sealed`, which ends with the tag; the tag is compared in constant time.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let (key, nonce) = self.derive(nonce)?;
        let mut content = sealed.to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(associated), &mut content)?
            .len();
        content.truncate(length);
        Ok(content)
    }

    /// The key of this nonce's first half, and its second half. The derivation is the CMAC counter mode of
    /// NIST SP 800-108r1 with inputs of one block each.
    fn derive(&self, nonce: &[u8; NONCE]) -> Result<(LessSafeKey, Nonce), Unspecified> {
        let derived = self.derived(nonce)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_slice())?);
        Ok((key, Nonce::try_assume_unique_for_key(&nonce[12..])?))
    }

    fn derived(&self, nonce: &[u8; NONCE]) -> Result<Zeroizing<[u8; KEY]>, Unspecified> {
        // Two blocks: counter, label "X", a zero byte, the first half of the nonce.
        let mut blocks = Zeroizing::new([0; KEY]);
        for (block, counter) in blocks.chunks_exact_mut(16).zip([1, 2]) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            block
                .iter_mut()
                .zip(self.subkey.iter())
                .for_each(|(byte, mask)| *byte ^= mask);
        }
        self.aes.encrypt(blocks.as_mut_slice())?;
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests;
