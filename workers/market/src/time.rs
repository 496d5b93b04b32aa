//! Points in time: microseconds since 1970 in UTC, the resolution of the tape.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is not a time, or one outside the tape's range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time between the years 1900 and 2299: expected RFC 3339 in UTC, such as 2026-01-31T12:00:00.000000Z")]
pub struct InvalidTime(pub String);

impl Timestamp {
    /// ClickHouse's `DateTime64(6)` begins here: 1900-01-01.
    pub const MIN: Self = Self(-2_208_988_800_000_000);
    /// … and ends with the year 2299.
    pub const MAX: Self = Self(10_413_791_999_999_999);

    /// From microseconds since 1970.
    ///
    /// # Errors
    /// [`InvalidTime`] outside [`Self::MIN`] and [`Self::MAX`].
    pub fn from_micros(micros: i64) -> Result<Self, InvalidTime> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTime(format!("{micros} µs"))) }
    }

    /// From milliseconds since 1970, the unit of most venues.
    ///
    /// # Errors
    /// As [`Self::from_micros`].
    pub fn from_millis(millis: i64) -> Result<Self, InvalidTime> {
        millis.checked_mul(1_000).map_or_else(|| Err(InvalidTime(format!("{millis} ms"))), Self::from_micros)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Days since 1970: the tape's partition.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(MICROSECONDS_PER_DAY)
    }

    /// How much later `self` is than `earlier`, in microseconds; negative when it is before it.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Appends the RFC 3339 text in UTC with six digits behind the point. Written by hand because it is on the way of every tick.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (year, month, day) = date_of(self.day());
        let micros = self.0.rem_euclid(MICROSECONDS_PER_DAY);
        let seconds = micros / 1_000_000;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, seconds / 3_600),
            (14, 2, seconds / 60 % 60),
            (17, 2, seconds % 60),
            (20, 6, micros % 1_000_000),
        ];
        for (start, length, mut value) in fields {
            for digit in text[start..start + length].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        out.extend_from_slice(&text);
    }

    /// Reads exactly the form that [`write_to`](Self::write_to) writes; `None` for any other, and for days that not every month has.
    fn from_own_form(text: &[u8]) -> Option<Self> {
        let number = |start: usize, length: usize| {
            text[start..start + length].iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
        };
        if text.len() != 27 || !b"--T::.Z".iter().zip([4, 7, 10, 13, 16, 19, 26]).all(|(mark, place)| text[place] == *mark) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hours, minutes, seconds, micros) = (number(11, 2)?, number(14, 2)?, number(17, 2)?, number(20, 6)?);
        if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hours > 23 || minutes > 59 || seconds > 59 {
            return None;
        }
        let seconds = (hours * 60 + minutes) * 60 + seconds;
        Self::from_micros(day_of(year, month, day) * MICROSECONDS_PER_DAY + seconds * 1_000_000 + micros).ok()
    }
}

/// Days from 0000-03-01, where the leap day is the last of its year, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
const fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + DAYS_TO_1970;
    let (era, day_of_era) = (day.div_euclid(DAYS_PER_ERA), day.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as i64, month, day_of_month)
}

/// The day, counted from 1970, of a date in the Gregorian calendar.
const fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |length: Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let micros = time.duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros);
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(time) = Self::from_own_form(text.as_bytes()) {
            return Ok(time);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTime(text.chars().take(64).collect()))?;
        Self::from_micros(time.as_microsecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in RFC 3339")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_six_digits() {
        assert_eq!(Timestamp::from_millis(1_723_161_255_342).unwrap().to_string(), "2024-08-08T23:54:15.342000Z");
        assert_eq!(Timestamp::from_micros(0).unwrap().to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_day_that_its_month_does_not_have_is_refused() {
        assert_eq!("2024-02-29T00:00:00.000000Z".parse::<Timestamp>().unwrap().day(), 19_782);
        for text in ["2023-02-29T00:00:00.000000Z", "2023-13-01T00:00:00.000000Z", "2023-01-01T24:00:00.000000Z", "2023-01-01"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime(text.to_owned())));
        }
    }

    #[test]
    fn a_time_outside_the_tape_is_refused() {
        assert!(Timestamp::from_millis(i64::MAX).is_err());
        assert!(Timestamp::from_micros(Timestamp::MAX.as_micros() + 1).is_err());
        assert_eq!(Timestamp::MAX.to_string(), "2299-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::MIN.to_string(), "1900-01-01T00:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn any_time_of_the_tape_survives_its_text(micros in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()) {
            let time = Timestamp::from_micros(micros).unwrap();
            let text = time.to_string();
            prop_assert_eq!(text.parse(), Ok(time));
            // An independent calendar agrees.
            let other: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(other.as_microsecond(), micros);
            prop_assert_eq!(format!("{other:.6}"), text);
        }
    }
}
