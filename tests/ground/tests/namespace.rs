//! Both servers inside a network namespace, as the local cluster runs them. Needs root.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Result, ensure};
use tapekeeper_test_ground::{ClickHouse, ClickHouseOptions, ClickHousePorts, RabbitMq, RabbitMqOptions, RabbitMqPorts};

/// A namespace joined to the machine by a pair of interfaces; removed when dropped.
struct Namespace {
    name: String,
    inside: Ipv4Addr,
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Namespace {
    fn create() -> Result<Self> {
        let number = std::process::id();
        let name = format!("tkground{number}");
        // 198.18.0.0/15 is set aside for tests of network equipment, so nobody's network is hidden by it.
        let [_, _, high, low] = (number * 4 % 0x1_0000).to_be_bytes();
        let (outside, inside) = (Ipv4Addr::new(198, 18, high, low + 1), Ipv4Addr::new(198, 18, high, low + 2));
        let this = Self { name, inside };
        let name = &this.name;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add tko{number} type veth peer name tki{number} netns {name}"))?;
        ip(&format!("address add {outside}/30 dev tko{number}"))?;
        ip(&format!("link set tko{number} up"))?;
        ip(&format!("-netns {name} address add {inside}/30 dev tki{number}"))?;
        ip(&format!("-netns {name} link set tki{number} up"))?;
        ip(&format!("-netns {name} link set lo up"))?;
        Ok(this)
    }

    fn prefix(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name), "--".to_owned()]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.name)).ok();
    }
}

#[tokio::test]
async fn both_serve_on_their_conventional_ports_inside_a_namespace() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making a network namespace needs root");
        return Ok(());
    }
    let namespace = Namespace::create()?;
    let database = ClickHouse::start(ClickHouseOptions {
        bind: namespace.inside.into(),
        ports: Some(ClickHousePorts::CONVENTIONAL),
        command_prefix: namespace.prefix(),
        ..ClickHouseOptions::default()
    })
    .await?;
    assert_eq!(database.https_uri(), format!("https://{}:8443", namespace.inside));
    assert_eq!(database.query("SELECT 1").await?, "1\n");

    let mut broker = RabbitMq::start(RabbitMqOptions {
        bind: namespace.inside.into(),
        ports: Some(RabbitMqPorts::CONVENTIONAL),
        command_prefix: namespace.prefix(),
        extra_configuration: vec!["vm_memory_high_watermark.absolute = 300MB".to_owned()],
        ..RabbitMqOptions::default()
    })
    .await?;
    let alarms = format!("{}/api/health/checks/alarms", broker.management_uri());
    let response = broker.authority().http_client()?.get(alarms).basic_auth(broker.user(), Some(broker.password())).send().await?;
    assert_eq!(response.status(), 200);
    let limit = broker.ctl(&["eval", "vm_memory_monitor:get_memory_limit()."]).await?;
    assert_eq!(limit.trim(), "300000000", "extra configuration wins over ours");
    broker.stop().await
}
