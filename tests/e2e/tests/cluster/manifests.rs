//! The manifests of the tests, as a user would write them.

/// A Pipeline called `ticks` on the exchange `{name}.ticks`.
pub(crate) fn pipeline(name: &str, deletion_policy: &str) -> String {
    format!(
        "apiVersion: tapekeeper.dev/v1alpha1
kind: Pipeline
metadata: {{name: ticks}}
spec:
  broker:
    secretRef: {{name: tapekeeper-broker}}
    managementSecretRef: {{name: tapekeeper-broker-management}}
  exchange: {name}.ticks
  shards: 2
  deletionPolicy: {deletion_policy}
---
"
    )
}

/// A TickSink called `clickhouse` into the database `name`.
pub(crate) fn sink(name: &str, deletion_policy: &str) -> String {
    format!(
        "apiVersion: tapekeeper.dev/v1alpha1
kind: TickSink
metadata: {{name: clickhouse}}
spec:
  pipelineRef: {{name: ticks}}
  clickhouse:
    secretRef: {{name: tapekeeper-clickhouse}}
    database: {name}
  deletionPolicy: {deletion_policy}
---
"
    )
}

/// An ExchangeFeed called `binance` of these symbols.
pub(crate) fn feed(symbols: &str) -> String {
    format!(
        "apiVersion: tapekeeper.dev/v1alpha1
kind: ExchangeFeed
metadata: {{name: binance}}
spec:
  venue: Binance
  instruments: {{symbols: [{symbols}]}}
  pipelineRef: {{name: ticks}}
---
"
    )
}
