//! A hash of 64 bits that is the same in every build and on every machine, so that it can be stored.
//!
//! Folded multiplication of 16 bytes at a time, as wyhash has it. It tells texts apart that no enemy has made.

/// Odd constants of wyhash's default secret.
const SECRET: [u64; 4] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Two words are folded at once.
const BLOCK_BYTES: usize = 2 * size_of::<u64>();

/// The hash of `bytes`.
pub(super) fn hash64(bytes: &[u8]) -> u64 {
    // Two lanes, so that one multiplication does not wait for the other.
    let (mut left, mut right) = (SECRET[0], SECRET[1]);
    let mut pairs = bytes.chunks_exact(2 * BLOCK_BYTES);
    for pair in &mut pairs {
        left = fold(word(pair, 0) ^ SECRET[1], word(pair, 1) ^ left);
        right = fold(word(pair, 2) ^ SECRET[2], word(pair, 3) ^ right);
    }
    let mut hash = left ^ right;
    for block in pairs.remainder().chunks(BLOCK_BYTES) {
        let mut padded = [0; BLOCK_BYTES];
        padded[..block.len()].copy_from_slice(block);
        hash = fold(word(&padded, 0) ^ SECRET[1], word(&padded, 1) ^ hash);
    }
    // With the length, or a text would be as the same one with zeros after it.
    fold(hash ^ SECRET[3], bytes.len() as u64 ^ SECRET[1])
}

fn word(block: &[u8], n: usize) -> u64 {
    let (words, _) = block.as_chunks();
    u64::from_le_bytes(words[n])
}

/// Both halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> u64::BITS) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_hash_is_stable_and_every_byte_and_length_counts() {
        // Written into checkpoints: these values must never change.
        assert_eq!((hash64(b""), hash64(b"faro")), (4_886_742_760_412_276_370, 6_807_209_407_009_375_454));
        let text: Vec<u8> = (0..100).collect();
        let mut seen = HashSet::new();
        for end in 0..=text.len() {
            assert!(seen.insert(hash64(&text[..end])), "{end} bytes");
        }
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert!(seen.insert(hash64(&other)), "byte {at}");
        }
        assert!(seen.insert(hash64(&[0; 40])) && seen.insert(hash64(&[0; 41])), "zeros at the end");
    }
}
