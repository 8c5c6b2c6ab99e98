//! Ids made by the hub: a prefix that tells what it is, and 26 letters.
//!
//! A *fresh* id starts with its time, so that ids sort by creation. A *derived* id
//! is a hash of what it stands for, so that two writers of the same thing, or one
//! that retries after a crash, make the same id. One from [`derived_at`] is both.

use sha2::{Digest, Sha256};

use crate::{clock::Clock, random::Random};

/// Crockford's base 32 in lower case, without i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of an id after its prefix: 128 bits.
const ID_CHARS: usize = 26;

/// `prefix_` and 26 letters: 48 bits of milliseconds, 80 random bits.
#[must_use]
pub fn fresh(prefix: &str, clock: &dyn Clock, random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    id_at(prefix, clock.now().as_millisecond(), bytes)
}

/// Like a fresh id of the unix millisecond `at`, but it depends on `at` and `parts` alone.
#[must_use]
pub fn derived_at(prefix: &str, at: i64, parts: &[&str]) -> String {
    id_at(prefix, at, first16(&digest(parts)))
}

/// The lowest id with `prefix` for the unix millisecond `at`.
#[must_use]
pub fn earliest_at(prefix: &str, at: i64) -> String {
    id_at(prefix, at, [0; 16])
}

/// When an id that begins with its time was made, unix milliseconds;
/// [`None`] if it is not an id of the hub. Meaningless for a [`derived`] id.
#[must_use]
pub fn unix_ms_of(id: &str) -> Option<i64> {
    let (_, letters) = id.rsplit_once('_')?;
    if letters.len() != ID_CHARS {
        return None;
    }
    let value = letters.bytes().try_fold(0_u128, |value, letter| {
        let digit = ALPHABET.iter().position(|known| *known == letter)?;
        Some((value << 5) | digit as u128)
    })?;
    i64::try_from(value >> 80).ok()
}

fn id_at(prefix: &str, millisecond: i64, rest: [u8; 16]) -> String {
    let time = u128::try_from(millisecond).unwrap_or(0) << 80;
    format!("{prefix}_{}", base32((u128::from_be_bytes(rest) & ((1 << 80) - 1)) | time))
}

/// `prefix_` and 26 letters that depend on `parts` alone. Parts are hashed with their lengths, so that
/// (`a`, `bc`) and (`ab`, `c`) differ.
#[must_use]
pub fn derived(prefix: &str, parts: &[&str]) -> String {
    format!("{prefix}_{}", base32(u128::from_be_bytes(first16(&digest(parts)))))
}

/// SHA-256 of `parts` as 64 hex digits, lengths included.
#[must_use]
pub fn fingerprint(parts: &[&str]) -> String {
    digest(parts).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A shard in `0..shards` that depends on `text` alone.
#[must_use]
pub fn shard(text: &str, shards: u32) -> u32 {
    let [a, b, c, d, ..] = digest(&[text]);
    u32::from_be_bytes([a, b, c, d]).checked_rem(shards).unwrap_or(0)
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    out
}

fn base32(mut value: u128) -> String {
    let mut out = [b'0'; ID_CHARS];
    for place in out.iter_mut().rev() {
        *place = ALPHABET.get((value & 31) as usize).copied().unwrap_or(b'0');
        value >>= 5;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, random::StdRandom};

    #[test]
    fn fresh_ids_sort_by_time_and_derived_ids_depend_on_their_parts_alone() {
        let (clock, random) = (ManualClock::at(1_700_000_000), StdRandom::seeded(1));
        let first = fresh("msg", &clock, &random);
        clock.advance_ms(1);
        assert!(first < fresh("msg", &clock, &random));
        assert_eq!(first.len(), "msg_".len() + 26);
        let derived_then = derived_at("msg", 1_700_000_000_000, &["a"]);
        assert_eq!(derived_then, derived_at("msg", 1_700_000_000_000, &["a"]));
        assert!(derived_then < fresh("msg", &clock, &random));
        assert_ne!(derived_then, derived_at("msg", 1_700_000_000_000, &["b"]));
        assert_eq!(derived("cus", &["a", "bc"]), derived("cus", &["a", "bc"]));
        assert_ne!(derived("cus", &["a", "bc"]), derived("cus", &["ab", "c"]));
        assert_eq!(unix_ms_of(&first), Some(1_700_000_000_000));
        assert_eq!(unix_ms_of(&derived_then), Some(1_700_000_000_000));
        assert!(
            earliest_at("msg", 1_700_000_000_000) <= first && first < earliest_at("msg", 1_700_000_000_001)
        );
        for none in
            ["", "msg", "msg_", "msg_u", "msg_01jd3v6m5s8qk2x9w4r7t0y1zal", "msg_01jd3v6m5s8qk2x9w4r7t0y1é"]
        {
            assert_eq!(unix_ms_of(none), None, "{none}");
        }
        assert!((0..1000).all(|n| shard(&n.to_string(), 16) < 16));
    }
}
