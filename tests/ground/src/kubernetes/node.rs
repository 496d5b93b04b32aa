//! The node: containerd, kubelet and kube-proxy.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::control_plane::{flags, text};
use super::instance::write_whole;
use super::parts::Part;
use super::{Cluster, cgroups, images, network};

const CONTAINERD_READY: Duration = Duration::from_secs(60);
const NODE_READY: Duration = Duration::from_secs(120);
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Starts containerd and waits until it answers.
pub(super) async fn ensure_containerd(cluster: &Cluster) -> anyhow::Result<()> {
    let instance = &cluster.instance;
    let network_configurations = instance.path("cni");
    std::fs::create_dir_all(&network_configurations)?;
    write_whole(&network_configurations.join("10-bridge.conflist"), network_configuration(cluster).as_bytes())?;
    let configuration = containerd_configuration(cluster)?;
    let file = instance.path("containerd.toml");
    write_whole(&file, configuration.as_bytes())?;
    let mut containerd = instance
        .ensure_part(&Part {
            name: "containerd",
            program: super::bounded::find_program("containerd").context("containerd isn't installed")?,
            arguments: vec!["--config".to_owned(), text(&file)],
            environment: Vec::new(),
            configuration: vec![configuration],
        })
        .await?;
    let socket = instance.containerd_socket();
    containerd.wait_until(CONTAINERD_READY, |_| std::os::unix::net::UnixStream::connect(&socket).is_ok()).await
}

/// Starts kubelet and kube-proxy, and waits until the node is ready.
pub(super) async fn ensure(cluster: &Cluster) -> anyhow::Result<()> {
    let instance = &cluster.instance;
    cgroups::ensure(&instance.qualified_name())?;
    let mut kubelet = instance.ensure_part(&kubelet(cluster)?).await?;
    instance.ensure_part(&proxy(cluster)?).await?;
    kubelet.wait_until(NODE_READY, |kubelet| kubelet.listens_on(10250)).await?;
    let path = format!("/api/v1/nodes/{}", instance.name);
    let deadline = tokio::time::Instant::now() + NODE_READY;
    loop {
        if let Ok(Some(node)) = cluster.api.get(&path).await
            && is_ready(&node)
        {
            return Ok(());
        }
        if !kubelet.is_running() || tokio::time::Instant::now() > deadline {
            bail!("the node isn't ready after {} s: see {}", NODE_READY.as_secs(), instance.logs().join("kubelet.log").display());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_ready(node: &serde_json::Value) -> bool {
    node["status"]["conditions"]
        .as_array()
        .is_some_and(|conditions| conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
}

fn containerd_configuration(cluster: &Cluster) -> anyhow::Result<String> {
    let instance = &cluster.instance;
    let root = instance.path("containerd");
    std::fs::create_dir_all(&root)?;
    let quoted = |path: &Path| json!(text(path)).to_string();
    Ok(format!(
        r#"version = 2
root = {root}
state = {state}
# Snapshotters and services that nothing here uses.
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # runc may not lower its own score on a machine without CAP_SYS_RESOURCE, and fails otherwise.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = {network}
"#,
        root = quoted(&root),
        state = quoted(&instance.run_folder.join("containerd")),
        socket = quoted(&instance.containerd_socket()),
        pause = images::PAUSE,
        snapshotter = snapshotter(&root)?,
        network = quoted(&instance.path("cni")),
    ))
}

/// An overlay can't lie on an overlay, which is what the root of a container is.
fn snapshotter(root: &Path) -> anyhow::Result<&'static str> {
    let file_system = nix::sys::statfs::statfs(root)?.filesystem_type();
    Ok(if file_system == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC { "native" } else { "overlayfs" })
}

fn network_configuration(cluster: &Cluster) -> String {
    let instance = &cluster.instance;
    json!({
        "cniVersion": "0.4.0",
        "name": instance.qualified_name(),
        "plugins": [
            {
                "type": "bridge",
                "bridge": network::BRIDGE,
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": instance.run_folder.join("pod-addresses"),
                    "ranges": [[{"subnet": instance.addresses.pods().to_string()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

fn kubelet(cluster: &Cluster) -> anyhow::Result<Part> {
    let instance = &cluster.instance;
    let addresses = instance.addresses;
    let credential = |name: &str| cluster.credentials.file(name);
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", instance.containerd_socket().display()),
        "address": addresses.node().to_string(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": credential("kubelet-client.pem")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": credential("kubelet.pem"),
        "tlsPrivateKeyFile": credential("kubelet.key"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [addresses.dns_service().to_string()],
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", instance.qualified_name()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "podLogsDir": instance.logs().join("pods"),
        "containerLogMaxSize": "16Mi",
        "containerLogMaxFiles": 2,
        "volumePluginDir": instance.path("kubelet").join("volume-plugins"),
        // No registry could give a collected image back.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // The disk of a developer's machine is nobody's reason to evict.
        "evictionHard": {"memory.available": "100Mi"},
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m",
        "nodeLeaseDurationSeconds": 120,
        "syncFrequency": "1m",
        "enableDebuggingHandlers": true,
        "shutdownGracePeriod": "0s",
        "registerNode": true,
    })
    .to_string();
    let file = instance.path("kubelet.json");
    write_whole(&file, configuration.as_bytes())?;
    Ok(Part {
        name: "kubelet",
        program: cluster.binaries.program("kubelet"),
        arguments: flags(&[
            ("config", text(&file)),
            ("kubeconfig", text(&cluster.credentials.kubeconfig("kubelet"))),
            ("hostname-override", instance.name.to_string()),
            ("node-ip", addresses.node().to_string()),
            ("root-dir", text(&instance.path("kubelet"))),
            ("cert-dir", text(&instance.path("kubelet").join("pki"))),
        ]),
        environment: Vec::new(),
        configuration: vec![configuration],
    })
}

fn proxy(cluster: &Cluster) -> anyhow::Result<Part> {
    let instance = &cluster.instance;
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": cluster.credentials.kubeconfig("proxy")},
        "clusterCIDR": instance.addresses.pods().to_string(),
        "hostnameOverride": instance.name.to_string(),
        "bindAddress": instance.addresses.node().to_string(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        // The table's size belongs to the machine, not to this namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
    .to_string();
    let file = instance.path("kube-proxy.json");
    write_whole(&file, configuration.as_bytes())?;
    Ok(Part {
        name: "kube-proxy",
        program: cluster.binaries.program("kube-proxy"),
        arguments: flags(&[("config", text(&file))]),
        environment: Vec::new(),
        configuration: vec![configuration],
    })
}
