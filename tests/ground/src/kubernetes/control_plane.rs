//! etcd, the API server, the controller manager and the scheduler.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::Cluster;
use super::instance::write_whole;
use super::parts::Part;

/// etcd and the API server start together in about two seconds on an idle machine.
const API_SERVER_READY: Duration = Duration::from_secs(120);

/// Every request leaves a line without its body. What a token review carries is a secret, and is left out like any other body.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}"#;

/// Starts the four, and waits until the API server serves.
pub(super) async fn ensure(cluster: &Cluster) -> anyhow::Result<()> {
    let instance = &cluster.instance;
    write_whole(&instance.path("audit-policy.json"), AUDIT_POLICY.as_bytes())?;
    let mut etcd = instance.ensure_part(&etcd(cluster)).await?;
    let mut server = instance.ensure_part(&api_server(cluster)).await?;
    let deadline = tokio::time::Instant::now() + API_SERVER_READY;
    while !cluster.api.is_ready().await {
        for (part, name) in [(&mut etcd, "etcd"), (&mut server, "apiserver")] {
            if !part.is_running() {
                bail!("{name} ended: see {}", instance.logs().join(format!("{name}.log")).display());
            }
        }
        if tokio::time::Instant::now() > deadline {
            bail!("the API server isn't ready after {} s: see {}", API_SERVER_READY.as_secs(), instance.logs().join("apiserver.log").display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    instance.ensure_part(&controller_manager(cluster)).await?;
    instance.ensure_part(&scheduler(cluster)).await?;
    Ok(())
}

fn etcd(cluster: &Cluster) -> Part {
    let clients = "http://127.0.0.1:2379";
    let peers = "http://127.0.0.1:2380";
    Part {
        name: "etcd",
        program: cluster.binaries.program("etcd"),
        arguments: flags(&[
            ("name", "local".to_owned()),
            ("data-dir", text(&cluster.instance.path("etcd"))),
            ("listen-client-urls", clients.to_owned()),
            ("advertise-client-urls", clients.to_owned()),
            ("listen-peer-urls", peers.to_owned()),
            ("initial-advertise-peer-urls", peers.to_owned()),
            ("initial-cluster", format!("local={peers}")),
            ("log-level", "warn".to_owned()),
        ]),
        environment: Vec::new(),
        configuration: Vec::new(),
    }
}

fn api_server(cluster: &Cluster) -> Part {
    let instance = &cluster.instance;
    let addresses = instance.addresses;
    let file = |name: &str| text(&cluster.credentials.file(name));
    Part {
        name: "apiserver",
        program: cluster.binaries.program("kube-apiserver"),
        arguments: flags(&[
            ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
            ("advertise-address", addresses.node().to_string()),
            ("secure-port", "6443".to_owned()),
            ("tls-cert-file", file("server.pem")),
            ("tls-private-key-file", file("server.key")),
            ("token-auth-file", file("tokens.csv")),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("service-cluster-ip-range", addresses.services().to_string()),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
            ("service-account-key-file", file("service-accounts.pub")),
            ("service-account-signing-key-file", file("service-accounts.key")),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("kubelet-certificate-authority", file("ca.pem")),
            ("kubelet-client-certificate", file("kubelet-client.pem")),
            ("kubelet-client-key", file("kubelet-client.key")),
            ("audit-policy-file", text(&instance.path("audit-policy.json"))),
            ("audit-log-path", text(&instance.audit_log())),
            ("audit-log-maxsize", "64".to_owned()),
            ("audit-log-maxbackup", "4".to_owned()),
            ("profiling", "false".to_owned()),
        ]),
        environment: Vec::new(),
        configuration: vec![AUDIT_POLICY.to_owned()],
    }
}

fn controller_manager(cluster: &Cluster) -> Part {
    let addresses = cluster.instance.addresses;
    Part {
        name: "controller-manager",
        program: cluster.binaries.program("kube-controller-manager"),
        arguments: flags(&[
            ("kubeconfig", text(&cluster.credentials.kubeconfig("controller-manager"))),
            ("service-account-private-key-file", text(&cluster.credentials.file("service-accounts.key"))),
            ("root-ca-file", text(&cluster.credentials.file("ca.pem"))),
            ("use-service-account-credentials", "true".to_owned()),
            ("allocate-node-cidrs", "true".to_owned()),
            ("cluster-cidr", addresses.pods().to_string()),
            ("node-cidr-mask-size", "24".to_owned()),
            ("service-cluster-ip-range", addresses.services().to_string()),
            ("leader-elect", "false".to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("profiling", "false".to_owned()),
        ]),
        environment: Vec::new(),
        configuration: Vec::new(),
    }
}

fn scheduler(cluster: &Cluster) -> Part {
    Part {
        name: "scheduler",
        program: cluster.binaries.program("kube-scheduler"),
        arguments: flags(&[
            ("kubeconfig", text(&cluster.credentials.kubeconfig("scheduler"))),
            ("leader-elect", "false".to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("profiling", "false".to_owned()),
        ]),
        environment: Vec::new(),
        configuration: Vec::new(),
    }
}

/// `--name=value` for each.
pub(super) fn flags(pairs: &[(&str, String)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
