//! Metrics as a pod shows them, and percentiles out of the buckets of a histogram.

use std::collections::BTreeMap;

/// The series of one `/metrics`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

/// Observations of a histogram between two looks: each bucket's upper edge in seconds, and how many lay at or below it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram(Vec<(f64, f64)>);

impl Metrics {
    /// Reads the OpenMetrics text format. Lines that aren't series are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// The sum over all labels of `name`; 0 without any.
    pub(crate) fn total(&self, name: &str) -> f64 {
        self.0.iter().filter(|(series, _)| series.split('{').next() == Some(name)).map(|(_, value)| value).sum()
    }

    /// How much `name` grew since `earlier`.
    pub(crate) fn growth(&self, earlier: &Self, name: &str) -> f64 {
        self.total(name) - earlier.total(name)
    }

    /// What the histogram `name` counted since `earlier`.
    pub(crate) fn histogram(&self, earlier: &Self, name: &str) -> Histogram {
        let prefix = format!("{name}_bucket{{le=\"");
        let edges = self.0.iter().filter_map(|(series, value)| {
            let edge = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            let edge = if edge == "+Inf" { f64::INFINITY } else { edge.parse().ok()? };
            Some((edge, value - earlier.0.get(series).copied().unwrap_or(0.0)))
        });
        let mut edges: Vec<_> = edges.collect();
        edges.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Histogram(edges)
    }
}

impl Histogram {
    /// How many observations there are.
    pub(crate) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The quantile `q` in seconds, interpolated linearly within its bucket; the largest edge when it lies beyond; `None` without observations.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if rank <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for &(edge, count) in &self.0 {
            if count >= rank {
                let within = (rank - below) / (count - below);
                return Some(if edge.is_finite() { lower + (edge - lower) * within } else { lower });
            }
            (lower, below) = (edge, count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP a\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb_seconds_bucket{le=\"0.1\"} 5\nb_seconds_bucket{le=\"+Inf\"} 5\n";
    const AFTER: &str =
        "a_total{x=\"1\"} 9\nb_seconds_bucket{le=\"0.1\"} 5\nb_seconds_bucket{le=\"0.2\"} 15\nb_seconds_bucket{le=\"+Inf\"} 16\n# EOF\n";

    #[test]
    fn a_metric_is_the_sum_over_its_labels() {
        let (before, after) = (Metrics::parse(BEFORE), Metrics::parse(AFTER));
        assert_eq!((before.total("a_total"), after.growth(&before, "a_total"), before.total("a")), (5.0, 4.0, 0.0));
    }

    #[test]
    fn a_quantile_is_interpolated_between_the_edges_of_its_bucket() {
        let histogram = Histogram(vec![(0.1, 0.0), (0.2, 10.0), (0.4, 20.0), (f64::INFINITY, 20.0)]);
        assert_eq!(histogram.quantile(0.25), Some(0.15000000000000002));
        assert_eq!(histogram.quantile(0.5), Some(0.2));
        assert!((histogram.quantile(0.99).unwrap() - 0.396).abs() < 1e-12);
    }

    #[test]
    fn a_quantile_beyond_the_last_edge_is_that_edge_and_of_nothing_there_is_none() {
        assert_eq!(Histogram(vec![(0.1, 1.0), (f64::INFINITY, 4.0)]).quantile(0.99), Some(0.1));
        assert_eq!(Histogram(vec![(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5), None);
    }

    #[test]
    fn buckets_are_counted_since_the_earlier_look_in_the_order_of_their_edges() {
        let (before, after) = (Metrics::parse(BEFORE), Metrics::parse(AFTER));
        assert_eq!(after.histogram(&before, "b_seconds"), Histogram(vec![(0.1, 0.0), (0.2, 15.0), (f64::INFINITY, 11.0)]));
    }
}
