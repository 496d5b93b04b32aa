//! `cargo local status`.

use std::process::ExitCode;

use tapekeeper_test_ground::kubernetes::{InstanceName, PartState};

use crate::layout::{description_file, instance};
use crate::quickstart::kubectl;
use crate::sql::ask;

/// What stands beside the cluster: the folder of its pidfile, its name.
const SERVERS: [(&str, &str); 4] = [("clickhouse", "clickhouse"), ("clickhouse", "tls-front"), ("rabbitmq", "epmd"), ("rabbitmq", "rabbitmq")];

const ROWS: &str = "SELECT database, name AS table, total_rows AS rows, formatReadableSize(total_bytes) AS size FROM system.tables \
                    WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND total_rows IS NOT NULL ORDER BY 1, 2";

/// Shows processes, pods, feeds and rows. The exit status is 1 when a process that was started doesn't run.
pub(crate) async fn run(name: &InstanceName) -> anyhow::Result<ExitCode> {
    let Some(instance) = instance(name)? else {
        println!("There is no instance `{name}`: start one with `cargo local up`.");
        return Ok(ExitCode::FAILURE);
    };
    let mut parts = instance.part_states()?;
    for (folder, server) in SERVERS {
        parts.push(PartState::read(server, &instance.path(folder).join(format!("{server}.pid"))));
    }
    print!("{}", table(&parts));
    let up = parts.iter().all(|part| part.pid.is_some());
    if let Ok(description) = tapekeeper_test_ground::kubernetes::Description::read(&description_file(&instance)) {
        for arguments in [["get", "pods", "-A"].as_slice(), &["get", "tapekeeper", "-A"]] {
            println!("\n$ kubectl {}", arguments.join(" "));
            match kubectl(&description, arguments).await {
                Ok(text) => print!("{text}"),
                Err(error) => println!("{error:#}"),
            }
        }
        println!("\nRows in ClickHouse");
        match ask(&instance, &description, ROWS, "PrettyCompactMonoBlock").await {
            Ok(text) => print!("{text}"),
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(if up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(parts: &[PartState]) -> String {
    let mut text = format!("{:<20} {:<5} {:>8} {:>10}\n", "PART", "STATE", "PID", "MEMORY");
    for part in parts {
        let (state, pid) = part.pid.map_or(("down", "-".to_owned()), |pid| ("up", pid.to_string()));
        text.push_str(&format!("{:<20} {state:<5} {pid:>8} {:>6} MiB\n", part.name, part.resident >> 20));
    }
    let total: u64 = parts.iter().map(|part| part.resident).sum();
    text.push_str(&format!("{:<20} {:<5} {:>8} {:>6} MiB\n", "all, without pods", "", "", total >> 20));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_runs_and_what_does_not() {
        let part = |name: &str, pid, mebibytes: u64| PartState { name: name.to_owned(), pid, resident: mebibytes << 20 };
        assert_eq!(
            table(&[part("etcd", Some(42), 70), part("kubelet", None, 0)]),
            "PART                 STATE      PID     MEMORY\n\
             etcd                 up          42     70 MiB\n\
             kubelet              down         -      0 MiB\n\
             all, without pods                       70 MiB\n"
        );
    }
}
