//! RabbitMQ and ClickHouse beside the cluster, in its network namespace.

use tapekeeper_test_ground::kubernetes::{Endpoint, Instance};
use tapekeeper_test_ground::{Authority, ClickHouse, ClickHouseOptions, ClickHousePorts, Lifetime, RabbitMq, RabbitMqOptions, RabbitMqPorts};

/// The broker's name in the cluster.
pub(crate) const BROKER: &str = "rabbitmq.tapekeeper.internal";
/// The database's name in the cluster.
pub(crate) const DATABASE: &str = "clickhouse.tapekeeper.internal";

fn broker_options(instance: &Instance, authority: &Authority) -> RabbitMqOptions {
    RabbitMqOptions {
        data_dir: Some(instance.path("rabbitmq")),
        bind: instance.addresses.node().into(),
        ports: Some(RabbitMqPorts::CONVENTIONAL),
        command_prefix: instance.command_prefix(),
        authority: Some(authority.clone()),
        names: vec![BROKER.to_owned()],
        // The default of a Pipeline, and of a RabbitMQ installed by hand.
        vhost: "/".to_owned(),
        lifetime: Lifetime::Detached,
        ..RabbitMqOptions::default()
    }
}

fn database_options(instance: &Instance, authority: &Authority) -> ClickHouseOptions {
    ClickHouseOptions {
        data_dir: Some(instance.path("clickhouse")),
        bind: instance.addresses.node().into(),
        ports: Some(ClickHousePorts::CONVENTIONAL),
        command_prefix: instance.command_prefix(),
        authority: Some(authority.clone()),
        names: vec![DATABASE.to_owned()],
        lifetime: Lifetime::Detached,
        ..ClickHouseOptions::default()
    }
}

/// Starts the broker unless it runs. Gives its AMQP address and its management API's.
pub(crate) async fn ensure_broker(instance: &Instance, authority: &Authority) -> anyhow::Result<(Endpoint, Endpoint)> {
    let options = broker_options(instance, authority);
    if RabbitMq::attach(options.clone()).await?.is_none() {
        instance.kill_strays_in(&instance.path("rabbitmq"));
    }
    let broker = RabbitMq::start(options).await?;
    let endpoint = |scheme: &str, port: u16| Endpoint {
        uri: format!("{scheme}://{}:{port}", broker.host()),
        cluster_uri: format!("{scheme}://{BROKER}:{port}"),
        username: broker.user().to_owned(),
        password: broker.password().to_owned(),
    };
    Ok((endpoint("amqps", broker.ports().amqps), endpoint("https", broker.ports().management)))
}

/// Starts the database unless it runs.
pub(crate) async fn ensure_database(instance: &Instance, authority: &Authority) -> anyhow::Result<Endpoint> {
    let options = database_options(instance, authority);
    if ClickHouse::attach(options.clone()).await?.is_none() {
        instance.kill_strays_in(&instance.path("clickhouse"));
    }
    let database = ClickHouse::start(options).await?;
    Ok(Endpoint {
        uri: database.https_uri(),
        cluster_uri: format!("https://{DATABASE}:{}", database.ports().https),
        username: database.user().to_owned(),
        password: database.password().to_owned(),
    })
}

/// Stops the broker when it runs.
pub(crate) async fn stop_broker(instance: &Instance, authority: &Authority) -> anyhow::Result<()> {
    match RabbitMq::attach(broker_options(instance, authority)).await? {
        Some(mut broker) => broker.stop().await,
        None => Ok(()),
    }
}

/// Stops the database when it runs.
pub(crate) async fn stop_database(instance: &Instance, authority: &Authority) -> anyhow::Result<()> {
    match ClickHouse::attach(database_options(instance, authority)).await? {
        Some(mut database) => database.stop().await,
        None => Ok(()),
    }
}
