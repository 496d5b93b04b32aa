//! The test ground: a real RabbitMQ and a real ClickHouse, fetched from package registries and started by the test
//! that needs them.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use tapekeeper_test_ground::{ClickHouse, ClickHouseOptions, RabbitMq, RabbitMqOptions};
//!
//! let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
//! let database = ClickHouse::start(ClickHouseOptions::default()).await?;
//! assert_eq!(database.query("SELECT 1").await?, "1\n");
//! # Ok(()) }
//! ```
//!
//! Nothing of this is part of the product: the product is given addresses, names and a certificate authority, as in
//! any installation.

pub mod authority;
pub mod cache;
pub mod clickhouse;
pub mod kubernetes;
pub mod packages;
pub mod ports;
pub mod process;
pub mod rabbitmq;

mod command;
mod place;
mod private_file;
mod servers;
mod tls_front;

pub use authority::Authority;
pub use cache::Cache;
pub use clickhouse::{ClickHouse, ClickHouseOptions, ClickHousePorts};
pub use process::Lifetime;
pub use rabbitmq::{RabbitMq, RabbitMqOptions, RabbitMqPorts};
