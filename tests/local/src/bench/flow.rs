//! One stretch of the tape through the whole cluster, from a tape that stands still to the last of its rows in the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use serde_json::{Value, json};
use tapekeeper_e2e::{Database, Venue, eventually};
use tapekeeper_test_ground::kubernetes::Instance;

use super::arrival::Counts;
use super::gauges::{Gauges, Levels};
use super::processes::{Used, Watch, own_processor_time, seconds};

const LOOK: Duration = Duration::from_secs(1);
/// Between two counts of the table once the tape stands still: the error of the time of the last row.
const COUNT: Duration = Duration::from_millis(50);
const ARRIVAL: Duration = Duration::from_secs(90);

/// What is measured with.
pub(crate) struct Bench<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) database: &'a Database,
    pub(crate) venue: &'a Venue,
    /// The name of the database.
    pub(crate) name: &'a str,
}

/// How fast, and at what cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Flow {
    /// Rows that the stretch brought.
    pub(crate) rows: Counts,
    /// From the moment that the tape went on until the last row was seen in the table.
    pub(crate) seconds: f64,
    /// For so long the tape ran.
    pub(crate) tape_seconds: f64,
    /// Envelopes that the connector published.
    pub(crate) envelopes: f64,
    /// Inserts that the batcher made.
    pub(crate) inserts: f64,
    /// Connections to the venue or the broker that broke: figures mean nothing unless this is 0.
    pub(crate) broken_connections: f64,
    /// The share of the time for which sockets were not read, because the broker did not keep up.
    pub(crate) backpressure: f64,
    /// Envelopes on their way, while the tape ran.
    pub(crate) levels: Levels,
    /// What each part used.
    pub(crate) parts: BTreeMap<String, Used>,
    /// Processor time of the whole machine.
    #[serde(serialize_with = "seconds")]
    pub(crate) machine: Duration,
    /// Processor time of this program.
    #[serde(serialize_with = "seconds")]
    pub(crate) own: Duration,
    /// From the socket read to the broker's confirm: seconds at the 50th and the 99th percentile.
    pub(crate) confirm: Percentiles,
    /// From the socket read to the acknowledged insert.
    pub(crate) visible: Percentiles,
}

/// Seconds, interpolated between the edges of a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// Observations.
    pub(crate) count: f64,
    /// The median.
    pub(crate) p50: Option<f64>,
    /// 99 of 100 are below.
    pub(crate) p99: Option<f64>,
}

impl Flow {
    /// Trades and quotes per second.
    pub(crate) fn ticks_per_second(&self) -> f64 {
        self.rows.ticks() as f64 / self.seconds
    }

    /// Microseconds of `time` for each trade or quote.
    pub(crate) fn micros_per_tick(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.rows.ticks().max(1) as f64
    }
}

impl Bench<'_> {
    /// Stops the tape and waits until all that was sent is in the table. Gives the venue's truth and when the last row was seen.
    pub(crate) async fn settle(&self) -> anyhow::Result<(Value, Instant)> {
        self.venue.pause().await?;
        let truth = self.venue.truth().await?;
        let sent = Counts::sent(&truth)?;
        let begin = Instant::now();
        loop {
            let stored = Counts::stored(self.database, self.name).await?;
            if stored.trades >= sent.trades && stored.quotes >= sent.quotes {
                return Ok((truth, Instant::now()));
            }
            ensure!(begin.elapsed() < ARRIVAL, "{} s after the tape stopped, {stored:?} of {sent:?} are in the table", ARRIVAL.as_secs());
            tokio::time::sleep(COUNT).await;
        }
    }

    /// Lets the tape run at `rate` for `time`, and waits for its rows. It must stand still before.
    pub(crate) async fn run(&self, gauges: &mut Gauges, rate: &Value, time: Duration) -> anyhow::Result<Flow> {
        let before = Counts::sent(&self.venue.truth().await?)?;
        let workers_before = gauges.workers().await?;
        self.venue.script(&json!({"command": "rate", "rate": rate})).await?;
        gauges.levels();
        let own_before = own_processor_time();
        let mut watch = Watch::begin(self.instance);
        let started = Instant::now();
        self.venue.resume().await?;
        while started.elapsed() + LOOK < time {
            tokio::time::sleep(LOOK).await;
            watch.look();
            gauges.look().await?;
        }
        tokio::time::sleep(time.saturating_sub(started.elapsed())).await;
        let tape_seconds = started.elapsed().as_secs_f64();
        let (truth, last_row) = self.settle().await?;
        let (parts, machine) = watch.end();
        let own = own_processor_time().saturating_sub(own_before);
        let workers = eventually("the last acknowledgement", Duration::from_secs(5), async || {
            let workers = gauges.workers().await?;
            let still =
                workers.connector.total("tapekeeper_connector_envelopes_in_flight") + workers.batcher.total("tapekeeper_batcher_envelopes_held");
            Ok((still == 0.0).then_some(workers))
        })
        .await?;
        let connector = |name: &str| workers.connector.growth(&workers_before.connector, &format!("tapekeeper_connector_{name}_total"));
        let percentiles = |now: &super::histogram::Metrics, earlier, name: &str| {
            let histogram = now.histogram(earlier, name);
            Percentiles { count: histogram.count(), p50: histogram.quantile(0.5), p99: histogram.quantile(0.99) }
        };
        Ok(Flow {
            rows: Counts::sent(&truth)?.since(before),
            seconds: (last_row - started).as_secs_f64(),
            tape_seconds,
            envelopes: connector("envelopes_published"),
            inserts: workers.batcher.growth(&workers_before.batcher, "tapekeeper_batcher_inserts_total"),
            broken_connections: connector("disconnects") + connector("broker_disconnects"),
            backpressure: connector("backpressure_microseconds") / 1e6 / tape_seconds,
            levels: gauges.levels(),
            parts,
            machine,
            own,
            confirm: percentiles(&workers.connector, &workers_before.connector, "tapekeeper_connector_confirm_seconds"),
            visible: percentiles(&workers.batcher, &workers_before.batcher, "tapekeeper_batcher_visible_seconds"),
        })
    }
}
