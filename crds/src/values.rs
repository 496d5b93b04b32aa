//! Values with units, as manifests write them: durations (`30s`, `7d`) and sizes (`32Mi`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tapekeeper_contract::HumanDuration;

/// What a duration looks like in a manifest. Every text that matches is a [`HumanDuration`].
pub const DURATION_PATTERN: &str = "^[0-9]{1,9}(ms|s|m|h|d|w)([0-9]{1,9}(ms|s|m|h|d|w))*$";
/// What a size looks like in a manifest when it is not a bare number of bytes.
pub const SIZE_PATTERN: &str = "^[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$";

/// A duration: `500ms`, `30s`, `1h30m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Period> for HumanDuration {
    fn from(period: Period) -> Self {
        Self(period.0)
    }
}

/// Written in the largest unit that divides it, so that the same duration has one text.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let millis = self.0.as_millis();
        let (unit, name) = UNITS.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)).unwrap_or((1, "ms"));
        write!(f, "{}{name}", millis / unit)
    }
}

impl FromStr for Period {
    type Err = tapekeeper_contract::duration::InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<HumanDuration>().map(|duration| Self(duration.0))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION_PATTERN, "maxLength": 32 })
    }
}

/// A number of bytes: `32Mi`, `1G`, `1048576`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// The text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: allowed are whole numbers with k, M, G, T, Ki, Mi, Gi, Ti or without, such as 32Mi")]
pub struct InvalidSize(String);

const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl FromStr for ByteSize {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = SIZE_UNITS.iter().find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, *unit))).unwrap_or((text, 1));
        let refused = || InvalidSize(text.to_owned());
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().take(4).find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => self.0.fmt(f),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": SIZE_PATTERN, "maxLength": 20 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_one_text_that_matches_the_pattern_and_reads_back() {
        for (written, text) in
            [("30s", "30s"), ("24h", "1d"), ("7d", "7d"), ("1w", "7d"), ("90m", "90m"), ("1h30m", "90m"), ("1500ms", "1500ms"), ("0s", "0ms")]
        {
            let period: Period = written.parse().unwrap();
            assert_eq!(period.to_string(), text);
            assert_eq!(text.parse(), Ok(period));
        }
    }

    #[test]
    fn the_longest_text_of_the_duration_pattern_still_parses() {
        assert!("999999999w999999999d999999999h".parse::<Period>().is_ok());
    }

    #[test]
    fn a_size_reads_kubernetes_suffixes_and_bare_bytes() {
        for (written, bytes) in [("32Mi", 32 << 20), ("1Gi", 1 << 30), ("5k", 5_000), ("2G", 2_000_000_000), ("7", 7)] {
            assert_eq!(written.parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(serde_json::from_str::<ByteSize>("1048576").unwrap().to_string(), "1Mi");
        for refused in ["", "Mi", "-1", "1.5Gi", "12 Mi", "99999999999999Ti"] {
            assert!(refused.parse::<ByteSize>().is_err(), "{refused}");
        }
    }
}
