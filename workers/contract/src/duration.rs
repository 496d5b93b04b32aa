//! Durations as manifests and settings write them: `500ms`, `30s`, `1h 30m`, `90d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration that reads and writes as text with units (`ms`, `s`, `m`, `h`, `d`, `w`); a bare number is refused, because its unit would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: allowed are a number and a unit, such as 500ms, 30s, 5m, 12h or 90d")]
pub struct InvalidDuration(String);

impl HumanDuration {
    /// The same duration, so many seconds long.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds, the unit of ClickHouse's TTL and RabbitMQ's `x-max-age`.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self).map_err(|_| InvalidDuration(text.to_owned()))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_its_unit_and_refuses_a_bare_number() {
        assert_eq!("90d".parse(), Ok(HumanDuration::from_secs(90 * 86_400)));
        assert_eq!("1h 30m".parse(), Ok(HumanDuration::from_secs(5_400)));
        let refusal = "30".parse::<HumanDuration>().unwrap_err().to_string();
        assert!(refusal.contains("`30`") && refusal.contains("30s"), "{refusal}");
    }

    #[test]
    fn a_duration_survives_its_own_text() {
        let two = HumanDuration(Duration::from_millis(90_061_500));
        assert_eq!(two.to_string().parse(), Ok(two));
    }
}
