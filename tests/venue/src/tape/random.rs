//! The generator behind seeded tapes.

/// SplitMix64 (Steele, Lea, Flood 2014). Written out, because a tape must stay the same whatever version a library has.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator for one name under one seed, independent of every other name.
    pub fn for_name(seed: u64, name: &str) -> Self {
        let start = name.bytes().fold(mix(seed ^ 0x9e37_79b9_7f4a_7c15), |hash, byte| mix(hash ^ u64::from(byte)));
        Self(start)
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// SplitMix64's finaliser: a bijection in which each input bit moves half of the output bits.
#[inline]
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
