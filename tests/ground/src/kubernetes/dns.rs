//! CoreDNS beside the cluster: the names of Services, of what stands beside the cluster, and of the world when there is a way to it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::Cluster;
use super::control_plane::text;
use super::instance::write_whole;
use super::network::Reach;
use super::parts::Part;

const READY: Duration = Duration::from_secs(60);

/// Starts CoreDNS with `hosts` answered by the node's address.
pub(super) async fn ensure(cluster: &Cluster, hosts: &[String], reach: Reach) -> anyhow::Result<()> {
    let instance = &cluster.instance;
    let node = instance.addresses.node();
    let upstream = match reach {
        Reach::MachineOnly => Vec::new(),
        Reach::Internet => upstream_servers()?,
    };
    let configuration = corefile(node, &cluster.credentials.kubeconfig("dns"), hosts, &upstream);
    let file = instance.path("Corefile");
    write_whole(&file, configuration.as_bytes())?;
    let mut process = instance
        .ensure_part(&Part {
            name: "coredns",
            program: cluster.binaries.program("coredns"),
            arguments: vec!["-conf".to_owned(), text(&file)],
            environment: Vec::new(),
            configuration: vec![configuration],
        })
        .await?;
    apply_service(cluster).await?;
    process.wait_until(READY, |process| process.listens_on(53)).await
}

/// The configuration of CoreDNS: a block for the cluster's names, one for each of `hosts`, and one for the world.
fn corefile(node: Ipv4Addr, kubeconfig: &Path, hosts: &[String], upstream: &[String]) -> String {
    let block = |zone: &str, lines: &[String]| format!("{zone}:53 {{\n    bind {node}\n    errors\n    {}\n}}\n", lines.join("\n    "));
    let mut text = block("cluster.local", &[format!("kubernetes {{\n        kubeconfig {}\n    }}", kubeconfig.display())]);
    for host in hosts {
        text.push_str(&block(host, &[format!("hosts {{\n        {node} {host}\n        ttl 30\n    }}")]));
    }
    // Without a way out, "no such name" at once rather than after the resolver's timeout.
    text.push_str(&if upstream.is_empty() {
        block(".", &["template ANY ANY {\n        rcode NXDOMAIN\n    }".to_owned()])
    } else {
        block(".", &[format!("forward . {}", upstream.join(" ")), "cache 30".to_owned()])
    });
    text
}

/// The machine's own name servers, as far as they can be reached from another network namespace.
fn upstream_servers() -> anyhow::Result<Vec<String>> {
    // systemd-resolved keeps the real ones here and puts a loopback address in the other.
    for file in ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"] {
        let servers = name_servers(&std::fs::read_to_string(file).unwrap_or_default());
        if !servers.is_empty() {
            return Ok(servers);
        }
    }
    bail!("the machine's name server listens on loopback only, where pods can't reach it")
}

fn name_servers(resolv_conf: &str) -> Vec<String> {
    resolv_conf
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<Ipv4Addr>().ok())
        .filter(|server| !server.is_loopback())
        .map(|server| server.to_string())
        .collect()
}

/// The Service `kube-dns` has no selector: its one endpoint is CoreDNS on the node.
async fn apply_service(cluster: &Cluster) -> anyhow::Result<()> {
    let addresses = cluster.instance.addresses;
    let ports = [("dns", "UDP"), ("dns-tcp", "TCP")];
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {
            "clusterIP": addresses.dns_service().to_string(),
            "ports": ports.map(|(name, protocol)| json!({"name": name, "protocol": protocol, "port": 53})),
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [addresses.node().to_string()]}],
        "ports": ports.map(|(name, protocol)| json!({"name": name, "protocol": protocol, "port": 53})),
    });
    cluster.api.apply("/api/v1/namespaces/kube-system/services/kube-dns", &service).await.context("the Service of CoreDNS")?;
    cluster.api.apply("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns", &slice).await.context("the endpoint of CoreDNS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_a_block_and_nothing_is_forwarded_without_a_way() {
        let node = Ipv4Addr::new(10, 213, 0, 2);
        let text = corefile(node, Path::new("/k"), &["rabbitmq.tapekeeper.internal".to_owned()], &[]);
        assert_eq!(
            text,
            "cluster.local:53 {\n    bind 10.213.0.2\n    errors\n    kubernetes {\n        kubeconfig /k\n    }\n}\n\
             rabbitmq.tapekeeper.internal:53 {\n    bind 10.213.0.2\n    errors\n    \
             hosts {\n        10.213.0.2 rabbitmq.tapekeeper.internal\n        ttl 30\n    }\n}\n\
             .:53 {\n    bind 10.213.0.2\n    errors\n    template ANY ANY {\n        rcode NXDOMAIN\n    }\n}\n"
        );
        let text = corefile(node, Path::new("/k"), &[], &["192.0.2.53".to_owned()]);
        assert!(text.ends_with("forward . 192.0.2.53\n    cache 30\n}\n"), "{text}");
    }

    #[test]
    fn a_name_server_on_loopback_does_not_count() {
        let file = "search example.com\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\n";
        assert_eq!(name_servers(file), ["192.0.2.53"]);
    }
}
