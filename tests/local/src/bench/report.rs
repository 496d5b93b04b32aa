//! The figures as a table for people, with the unit of each and how it was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::arrival::Difference;
use super::decode::Cost;
use super::disk::OnDisk;
use super::flow::{Flow, Percentiles};
use super::gauges::Level;

/// The share of a machine's cores above which they are called busy.
const BUSY: f64 = 0.9;

/// The parts on the way of a tick, in its order.
const WAY: [&str; 6] = ["venue", "connector", "rabbitmq", "batcher", "tls-front", "clickhouse"];

/// The machine, and what else ran on it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Processors.
    pub(crate) cores: usize,
    /// Load averages of 1, 5 and 15 minutes before the bench.
    pub(crate) load_before: String,
    /// The same after the saturated run.
    pub(crate) load_after: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let load = load()?;
        Ok(Self { cores: std::thread::available_parallelism()?.get(), load_before: load.clone(), load_after: load })
    }
}

/// The load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Instruments on the tape.
    pub(crate) symbols: usize,
    /// Shard queues of the pipeline.
    pub(crate) shards: u32,
    /// Trades and quotes per second of `latency`.
    pub(crate) rate: u64,
    /// Decoding without a network.
    pub(crate) decode: Vec<Cost>,
    /// As fast as it went.
    pub(crate) saturation: Flow,
    /// At a rate that leaves room.
    pub(crate) latency: Flow,
    /// Resident bytes of each part while connected and the tape stood still.
    pub(crate) at_rest: BTreeMap<String, u64>,
    /// The seeded tables against the venue's truth.
    pub(crate) difference: Difference,
    /// Tables after a merge.
    pub(crate) on_disk: Vec<OnDisk>,
    /// Where.
    pub(crate) machine: Machine,
}

impl Report {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nDECODING: ns per frame on one core, the fastest of 60 rounds; `encode` is from event to the envelope's bytes")?;
        for cost in &self.decode {
            let Cost { file, kind, frames, bytes, parse_ns, encode_ns } = cost;
            writeln!(out, "  {file:<36} {kind:<6} {frames:>6} frames {bytes:>4} bytes {parse_ns:>6.0} parse {encode_ns:>6.0} encode")?;
        }
        self.write_saturation(out)?;
        self.write_parts(out)?;
        self.write_latency(out)?;
        writeln!(out, "\nBYTES ON DISK PER ROW: active parts after OPTIMIZE FINAL, marks and indices included")?;
        for table in &self.on_disk {
            let OnDisk { tape, table: name, rows, bytes_uncompressed, .. } = table;
            let plain = *bytes_uncompressed as f64 / (*rows).max(1) as f64;
            writeln!(out, "  {tape:<9} {name:<8} {:>7.1} bytes/row, uncompressed {plain:>6.1}, {rows:>8} rows", table.per_row())?;
        }
        let Machine { cores, load_before, load_after } = &self.machine;
        writeln!(out, "\nMACHINE: {cores} cores for everything; load average {load_before} before the bench, {load_after} after the saturated run")
    }

    fn write_saturation(&self, out: &mut String) -> std::fmt::Result {
        let flow = &self.saturation;
        let rows = flow.rows;
        writeln!(
            out,
            "\nEND TO END AT SATURATION: {} instruments, {} shards; the tape runs as fast as it is taken, until the last row is in the table",
            self.symbols, self.shards
        )?;
        writeln!(
            out,
            "  {:<24} {:>9.0} ticks/s: {} trades + {} quotes in {:.2} s ({:.2} s of tape, then what was on its way)",
            "throughput",
            flow.ticks_per_second(),
            rows.trades,
            rows.quotes,
            flow.seconds,
            flow.tape_seconds
        )?;
        writeln!(
            out,
            "  {:<24} {:>9.0} envelopes/s of {:.1} ticks; {:.1} inserts/s of {:.0} rows",
            "envelopes",
            flow.envelopes / flow.seconds,
            rows.ticks() as f64 / flow.envelopes.max(1.0),
            flow.inserts / flow.seconds,
            rows.ticks() as f64 / flow.inserts.max(1.0)
        )?;
        let Difference { sent, trades_missing, trades_twice, quotes_missing, quotes_twice, symbols_different } = &self.difference;
        writeln!(
            out,
            "  {:<24} {:>9} of {} ticks sent in all runs; twice: {}; symbols whose ids or sums differ: {}; broken connections: {}",
            "lost",
            trades_missing + quotes_missing,
            sent.ticks(),
            trades_twice + quotes_twice,
            symbols_different.len(),
            flow.broken_connections + self.latency.broken_connections
        )?;
        let levels = &flow.levels;
        for (what, Level { mean, max }) in [
            ("wait for the publisher", levels.waiting),
            ("unconfirmed", levels.in_flight),
            ("in the shard queues", levels.queued),
            ("held by the batcher", levels.held),
        ] {
            writeln!(out, "  {what:<24} {mean:>9.0} envelopes in the mean, {max:.0} at most (looked at every second)")?;
        }
        writeln!(out, "  {:<24} {:>8.0} % of the time the connector's sockets were not read", "backpressure", 100.0 * flow.backpressure)?;
        writeln!(out, "  {:<24} {}", "limit", limit(flow, self.machine.cores))
    }

    fn write_parts(&self, out: &mut String) -> std::fmt::Result {
        let flow = &self.saturation;
        writeln!(
            out,
            "\nPARTS: processor time (/proc, user and system) in the saturated run; resident memory connected at rest, and at most in that run"
        )?;
        writeln!(out, "  {:<24} {:>9} {:>7} {:>9} {:>9}", "", "µs/tick", "cores", "MiB rest", "MiB peak")?;
        let mut names: BTreeSet<&str> = self.at_rest.keys().map(String::as_str).collect();
        names.extend(flow.parts.keys().map(String::as_str));
        let others = names.iter().copied().filter(|name| !WAY.contains(name));
        let mut known = Duration::ZERO;
        for name in WAY.into_iter().chain(others) {
            let used = flow.parts.get(name).cloned().unwrap_or_default();
            known += used.processor;
            let rest = self.at_rest.get(name).copied().unwrap_or(0) >> 20;
            let peak = used.resident_peak >> 20;
            writeln!(out, "  {name:<24} {:>9.2} {:>7.2} {rest:>9} {peak:>9}", flow.micros_per_tick(used.processor), cores(used.processor, flow))?;
        }
        let outside = flow.machine.saturating_sub(known + flow.own);
        for (name, time) in [("this program", flow.own), ("the rest of the machine", outside), ("all", flow.machine)] {
            writeln!(out, "  {name:<24} {:>9.2} {:>7.2}", flow.micros_per_tick(time), cores(time, flow))?;
        }
        Ok(())
    }

    fn write_latency(&self, out: &mut String) -> std::fmt::Result {
        let flow = &self.latency;
        writeln!(
            out,
            "\nLATENCY AT {} TICKS/S: interpolated between the edges of Prometheus buckets, each 1.33 times the one before; one clock",
            self.rate
        )?;
        for (what, percentiles) in [("socket read → confirm", flow.confirm), ("socket read → row is in", flow.visible)] {
            let Percentiles { count, p50, p99 } = percentiles;
            writeln!(out, "  {what:<24} {:>9} p50 {:>9} p99, {count:.0} envelopes", milliseconds(p50), milliseconds(p99))?;
        }
        writeln!(
            out,
            "  {:<24} {:>9.0} ticks/s came through, {:.0} envelopes/s of {:.1} ticks, {:.1} inserts/s; machine {:.2} cores busy",
            "meanwhile",
            flow.rows.ticks() as f64 / flow.tape_seconds,
            flow.envelopes / flow.tape_seconds,
            flow.rows.ticks() as f64 / flow.envelopes.max(1.0),
            flow.inserts / flow.tape_seconds,
            cores(flow.machine, flow)
        )
    }
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.2} ms", seconds * 1e3))
}

fn cores(time: Duration, flow: &Flow) -> f64 {
    time.as_secs_f64() / flow.seconds
}

/// What the figures say of the part that is the slowest.
fn limit(flow: &Flow, machine_cores: usize) -> String {
    let busy = cores(flow.machine, flow) / machine_cores as f64;
    let busiest = flow.parts.iter().max_by_key(|(_, used)| used.processor);
    let (name, most) = busiest.map_or(("nothing", 0.0), |(name, used)| (name, cores(used.processor, flow)));
    let machine = if busy >= BUSY { "no core is left" } else { "cores are left" };
    format!("{} ({machine}: {:.0} % busy, most with {name}: {most:.2} cores)", pile(flow), 100.0 * busy)
}

/// Where a tick waits longest for the next part. What the batcher holds is the batch that it collects, so it says nothing.
fn pile(flow: &Flow) -> &'static str {
    // By Little's law, so many envelopes waiting mean a wait of 100 ms.
    let a_moment = flow.envelopes / flow.seconds * 0.1;
    if flow.levels.queued.mean > a_moment {
        "the batcher, or ClickHouse behind it: the shard queues fill"
    } else if flow.backpressure > 0.05 || flow.levels.waiting.mean + flow.levels.in_flight.mean > a_moment {
        "RabbitMQ, or the connector's publisher before it: envelopes wait there, and the batcher keeps up"
    } else {
        "the connector: everything behind it keeps up"
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrival::Counts;
    use super::super::gauges::Levels;
    use super::*;

    fn flow(queued: f64, backpressure: f64) -> Flow {
        let nothing = Percentiles { count: 0.0, p50: None, p99: None };
        Flow {
            rows: Counts { trades: 1_000, quotes: 1_000 },
            seconds: 2.0,
            tape_seconds: 2.0,
            envelopes: 2_000.0,
            inserts: 2.0,
            broken_connections: 0.0,
            backpressure,
            levels: Levels { queued: Level { mean: queued, max: queued }, ..Levels::default() },
            parts: BTreeMap::new(),
            machine: Duration::from_secs(4),
            own: Duration::ZERO,
            confirm: nothing,
            visible: nothing,
        }
    }

    #[test]
    fn the_limit_is_the_part_before_which_ticks_wait() {
        assert!(pile(&flow(500.0, 0.5)).starts_with("the batcher"));
        assert!(pile(&flow(0.0, 0.5)).starts_with("RabbitMQ"));
        let waiting = Level { mean: 200.0, max: 256.0 };
        let behind = Flow { levels: Levels { waiting, ..Levels::default() }, ..flow(0.0, 0.0) };
        assert!(pile(&behind).starts_with("RabbitMQ"));
        assert!(pile(&flow(0.0, 0.0)).starts_with("the connector"));
        assert_eq!(
            limit(&flow(0.0, 0.0), 2),
            "the connector: everything behind it keeps up (no core is left: 100 % busy, most with nothing: 0.00 cores)"
        );
    }

    #[test]
    fn costs_are_per_trade_and_quote() {
        let flow = flow(0.0, 0.0);
        assert_eq!((flow.ticks_per_second(), flow.micros_per_tick(Duration::from_millis(2))), (1_000.0, 1.0));
    }
}
