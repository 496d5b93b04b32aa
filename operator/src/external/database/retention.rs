//! A table's TTL: how long a row is kept after its `timestamp`.

use tapekeeper_contract::HumanDuration;

const UNITS: [(u64, &str); 5] = [(604_800, "WEEK"), (86_400, "DAY"), (3_600, "HOUR"), (60, "MINUTE"), (1, "SECOND")];

/// The TTL expression of a retention, in days where it is whole days, else in seconds.
pub(super) fn expression(retention: HumanDuration) -> String {
    // A retention below a second would drop every row as it is written.
    let seconds = retention.as_secs().max(1);
    if seconds.is_multiple_of(86_400) {
        format!("toDateTime(timestamp) + INTERVAL {} DAY", seconds / 86_400)
    } else {
        format!("toDateTime(timestamp) + INTERVAL {seconds} SECOND")
    }
}

/// The same in seconds, for comparing.
pub(super) fn seconds(retention: HumanDuration) -> u64 {
    retention.as_secs().max(1)
}

/// Reads a TTL expression as ClickHouse shows it (`toDateTime(timestamp) + toIntervalDay(90)`), in seconds. `None` for any other expression.
pub(super) fn parse(expression: &str) -> Option<u64> {
    let interval = expression.strip_prefix("toDateTime(timestamp) + toInterval")?.strip_suffix(')')?;
    let (unit, count) = interval.split_once('(')?;
    let (seconds, _) = UNITS.iter().find(|(_, name)| name.eq_ignore_ascii_case(unit))?;
    count.parse::<u64>().ok()?.checked_mul(*seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_written_in_days_where_it_is_whole_days() {
        assert_eq!(expression(HumanDuration::from_secs(90 * 86_400)), "toDateTime(timestamp) + INTERVAL 90 DAY");
        assert_eq!(expression(HumanDuration::from_secs(5_400)), "toDateTime(timestamp) + INTERVAL 5400 SECOND");
    }

    #[test]
    fn what_clickhouse_shows_is_read_whatever_its_unit() {
        assert_eq!(parse("toDateTime(timestamp) + toIntervalDay(90)"), Some(90 * 86_400));
        assert_eq!(parse("toDateTime(timestamp) + toIntervalSecond(5400)"), Some(5_400));
        assert_eq!(parse("toDateTime(timestamp) + toIntervalMonth(3)"), None);
        assert_eq!(parse("toDateTime(received) + toIntervalDay(90)"), None);
        assert_eq!(parse("toDateTime(timestamp) + toIntervalDay(90) TO VOLUME 'cold'"), None);
    }
}
