//! RabbitMQ's configuration, as text.

use std::path::Path;

use anyhow::Result;

use super::RabbitMqOptions;
use crate::private_file::write_private;

/// All ports of one broker. The last three are on 127.0.0.1 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RabbitMqPorts {
    /// AMQP 0-9-1 over TLS.
    pub amqps: u16,
    /// The management API over HTTPS.
    pub management: u16,
    /// The stream protocol over TLS.
    pub stream: u16,
    /// Prometheus metrics over plain HTTP.
    pub prometheus: u16,
    /// Erlang's port mapper.
    pub epmd: u16,
    /// Erlang's distribution.
    pub distribution: u16,
}

impl RabbitMqPorts {
    /// The ports that RabbitMQ has by convention: 5671, 15671, 5551, 15692, 4369, 25672.
    pub const CONVENTIONAL: Self = Self { amqps: 5671, management: 15671, stream: 5551, prometheus: 15692, epmd: 4369, distribution: 25672 };

    /// Six consecutive ports from `base` on.
    pub fn from_base(base: u16) -> Self {
        Self { amqps: base, management: base + 1, stream: base + 2, prometheus: base + 3, epmd: base + 4, distribution: base + 5 }
    }
}

const PLUGINS: &str = "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_stream,rabbitmq_consistent_hash_exchange].\n";

/// Writes the configuration files into `folder`.
pub(super) fn write(folder: &Path, options: &RabbitMqOptions, ports: RabbitMqPorts, user: &str, password: &str) -> Result<()> {
    std::fs::write(folder.join("enabled_plugins"), PLUGINS)?;
    write_private(&folder.join("rabbitmq.conf"), &text(folder, options, ports, user, password))
}

fn text(folder: &Path, options: &RabbitMqOptions, ports: RabbitMqPorts, user: &str, password: &str) -> String {
    let folder = folder.display();
    let RabbitMqOptions { bind, vhost, extra_configuration, .. } = options;
    let address = |port: u16| std::net::SocketAddr::new(*bind, port);
    let (amqps, stream) = (address(ports.amqps), address(ports.stream));
    let (management, prometheus) = (ports.management, ports.prometheus);
    let extra = extra_configuration.join("\n");
    format!(
        "\
listeners.tcp = none
listeners.ssl.1 = {amqps}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
management.ssl.ip = {bind}
management.ssl.port = {management}
management.ssl.cacertfile = {folder}/ca.pem
management.ssl.certfile = {folder}/server.pem
management.ssl.keyfile = {folder}/server.key
stream.listeners.tcp = none
stream.listeners.ssl.1 = {stream}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
default_user_tags.administrator = true
loopback_users = none
log.file = false
log.console = true
log.console.level = info
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 200MB
{extra}
"
    )
}

/// The environment of the broker and of its tools.
pub(super) fn environment(folder: &Path, erlang_bin: &Path, ports: RabbitMqPorts) -> Vec<(String, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let search = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    [
        ("PATH", format!("{}:{search}", erlang_bin.display())),
        ("HOME", path("home")),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        // No such file: the host's own must not be read.
        ("RABBITMQ_CONF_ENV_FILE", path("no-environment-file")),
        ("RABBITMQ_MNESIA_BASE", path("database")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_NODENAME", "rabbit@localhost".to_owned()),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("ERL_EPMD_PORT", ports.epmd.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
        ("RABBITMQ_LOG", "-color".to_owned()),
        // The script then becomes Erlang instead of waiting beside it: one process, whose pid is the broker's.
        ("RABBITMQ_ALLOW_INPUT", "true".to_owned()),
        // Without busy waiting, an idle broker leaves the machine's few cores to the others.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-noinput +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_leaves_loopback_is_tls() {
        let options = RabbitMqOptions { bind: [10, 1, 2, 3].into(), ..RabbitMqOptions::default() };
        let text = text(Path::new("/data"), &options, RabbitMqPorts::from_base(30), "user", "secret");
        let listeners: Vec<&str> =
            text.lines().filter(|line| line.contains("listeners.") || line.contains(".ip ") || line.contains(".port ")).collect();
        assert_eq!(
            listeners,
            [
                "listeners.tcp = none",
                "listeners.ssl.1 = 10.1.2.3:30",
                "management.ssl.ip = 10.1.2.3",
                "management.ssl.port = 31",
                "stream.listeners.tcp = none",
                "stream.listeners.ssl.1 = 10.1.2.3:32",
                "prometheus.tcp.ip = 127.0.0.1",
                "prometheus.tcp.port = 33",
            ]
        );
    }
}
