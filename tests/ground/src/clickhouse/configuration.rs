//! ClickHouse's configuration, as text.

use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::ClickHouseOptions;
use crate::private_file::write_private;

/// All ports of one database. The last two are on 127.0.0.1 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClickHousePorts {
    /// The HTTP interface over TLS.
    pub https: u16,
    /// The HTTP interface.
    pub http: u16,
    /// The native protocol.
    pub native: u16,
}

impl ClickHousePorts {
    /// The ports that ClickHouse has by convention: 8443, 8123, 9000.
    pub const CONVENTIONAL: Self = Self { https: 8443, http: 8123, native: 9000 };

    /// Three consecutive ports from `base` on.
    pub fn from_base(base: u16) -> Self {
        Self { https: base, http: base + 1, native: base + 2 }
    }
}

/// Writes `config.xml` and `users.xml` into `folder`, and makes the data folder beside them.
pub(super) fn write(folder: &Path, options: &ClickHouseOptions, ports: ClickHousePorts, user: &str, password: &str) -> Result<()> {
    std::fs::create_dir_all(folder.join("data"))?;
    std::fs::write(folder.join("config.xml"), server(folder, ports, &options.extra_configuration.join("\n  ")))?;
    write_private(&folder.join("users.xml"), &users(user, password))
}

fn server(folder: &Path, ports: ClickHousePorts, extra: &str) -> String {
    let folder = folder.display();
    let ClickHousePorts { http, native, .. } = ports;
    format!(
        "\
<clickhouse>
  <users_config>{folder}/users.xml</users_config>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/data/tmp/</tmp_path>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http}</http_port>
  <tcp_port>{native}</tcp_port>
  <timezone>UTC</timezone>
  <logger><console>1</console></logger>
  <max_concurrent_queries>100</max_concurrent_queries>
  <query_log>
    <database>system</database><table>query_log</table>
    <flush_interval_milliseconds>1000</flush_interval_milliseconds>
  </query_log>
  <part_log>
    <database>system</database><table>part_log</table>
    <flush_interval_milliseconds>1000</flush_interval_milliseconds>
  </part_log>
  <merge_tree><merge_with_ttl_timeout>1</merge_with_ttl_timeout></merge_tree>
  {extra}
</clickhouse>
"
    )
}

/// The administrator, and the engine's own session: it is `default` with an empty password, and a profile that allows
/// one session at a time, which the engine holds, keeps everybody else from being it.
fn users(user: &str, password: &str) -> String {
    let password: String = Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "\
<clickhouse>
  <profiles>
    <default><max_memory_usage>4000000000</max_memory_usage></default>
    <engine><max_sessions_for_user>1</max_sessions_for_user></engine>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>engine</profile>
      <quota>default</quota>
    </default>
    <{user}>
      <password_sha256_hex>{password}</password_sha256_hex>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
      <named_collection_control>1</named_collection_control>
    </{user}>
  </users>
</clickhouse>
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_written_down() {
        assert!(!users("someone", "secret word").contains("secret word"));
    }
}
