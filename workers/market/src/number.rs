//! Exact decimals. A price or a size is what the venue wrote, digit for digit, from the wire to the table; it is never an `f64`.

use rust_decimal::Decimal;

/// Digits behind the point that the tape's `Decimal(38, 18)` holds.
pub const MAX_SCALE: u32 = 18;

/// The text is not a number that the tape can hold exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number of at most 28 digits, 18 of them behind the point")]
pub struct InvalidNumber(pub String);

/// Reads a decimal number without rounding. Trailing zeros are kept: `0.0200` has a scale of four.
///
/// # Errors
/// [`InvalidNumber`] when it is not a plain decimal number, or has more digits than the tape holds.
pub fn exact(text: &str) -> Result<Decimal, InvalidNumber> {
    parse(text.as_bytes()).ok_or_else(|| InvalidNumber(text.chars().take(64).collect()))
}

/// Written by hand because it is on the way of every tick, and because `Decimal`'s own parser takes `1_0` for ten.
fn parse(text: &[u8]) -> Option<Decimal> {
    /// So many digits always fit into 64 bits.
    const SHORT: usize = 19;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Longer than any number of the tape, and short enough for 128 bits.
    if digits.is_empty() || digits.len() > 36 {
        return None;
    }
    let mut scale = None;
    let mut short = 0_u64;
    let mut long = 0_u128;
    let is_short = digits.len() <= SHORT;
    for (position, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if is_short => short = short * 10 + u64::from(byte - b'0'),
            b'0'..=b'9' => long = long * 10 + u128::from(byte - b'0'),
            b'.' if scale.is_none() => scale = Some(digits.len() - position - 1),
            _ => return None,
        }
    }
    let scale = match scale {
        None => 0,
        // A point with nothing behind it.
        Some(0) => return None,
        Some(scale) => u32::try_from(scale).ok().filter(|scale| *scale <= MAX_SCALE)?,
    };
    if is_short {
        let (low, middle) = ((short & 0xffff_ffff) as u32, (short >> 32) as u32);
        return Some(Decimal::from_parts(low, middle, 0, negative, scale));
    }
    let magnitude = i128::try_from(long).ok()?;
    Decimal::try_from_i128_with_scale(if negative { -magnitude } else { magnitude }, scale).ok()
}

/// Appends the number as [`exact`] reads it, trailing zeros included.
pub fn write(number: Decimal, out: &mut Vec<u8>) {
    let mantissa = number.mantissa();
    if mantissa < 0 {
        out.push(b'-');
    }
    let magnitude = mantissa.unsigned_abs();
    let (mut short, mut long) = (itoa::Buffer::new(), itoa::Buffer::new());
    let digits = u64::try_from(magnitude).map_or_else(|_| long.format(magnitude), |magnitude| short.format(magnitude)).as_bytes();
    let scale = number.scale() as usize;
    if scale == 0 {
        return out.extend_from_slice(digits);
    }
    if let Some(whole) = digits.len().checked_sub(scale).filter(|whole| *whole > 0) {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
    }
}

/// The number as an integer of units of 10⁻¹⁸, the form of ClickHouse's `Decimal(38, 18)`; `None` where it has more digits than that column.
#[must_use]
pub fn to_units_of_1e18(number: Decimal) -> Option<i128> {
    let shift = MAX_SCALE.checked_sub(number.scale())?;
    number.mantissa().checked_mul(10_i128.pow(shift)).filter(|units| units.unsigned_abs() < 10_u128.pow(38))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_keeps_every_digit_the_venue_wrote() {
        for text in ["61837.63000000", "0.00010000", "84099.0", "92233720368547758070.123", "0.000000000000000001", "-4.2"] {
            assert_eq!(exact(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_the_tape_cannot_hold_exactly_is_refused_not_rounded() {
        for text in
            ["", "-", ".", "5.", "+5", " 5", "1_0", "1.2.3", "1e5", "1e5x", "NaN", "0.0000000000000000001", "123456789012345678901234567890", "1,5"]
        {
            assert_eq!(exact(text), Err(InvalidNumber(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn units_of_the_column_are_exact_up_to_its_edge() {
        assert_eq!(to_units_of_1e18(exact("0.02000000").unwrap()), Some(20_000_000_000_000_000));
        assert_eq!(to_units_of_1e18(exact("99999999999999999999").unwrap()), Some(99_999_999_999_999_999_999 * 10_i128.pow(18)));
        assert_eq!(to_units_of_1e18(exact("100000000000000000000").unwrap()), None);
    }

    proptest! {
        #[test]
        fn any_number_of_the_tape_survives_its_text(mantissa in -10_i128.pow(28)..10_i128.pow(28), scale in 0_u32..=MAX_SCALE) {
            let number = Decimal::from_i128_with_scale(mantissa, scale);
            prop_assert_eq!(exact(&number.to_string()).unwrap(), number);
            let mut written = Vec::new();
            write(number, &mut written);
            prop_assert_eq!(String::from_utf8(written).unwrap(), number.to_string());
        }
    }
}
