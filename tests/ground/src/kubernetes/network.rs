//! The network namespace of an instance, its link to the machine, and its way to the internet when it has one.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;

use super::bounded::{run, succeeds};
use super::instance::Instance;

/// The bridge of the pods.
pub(crate) const BRIDGE: &str = "pods";
const NODE_DEVICE: &str = "eth0";

/// Whether pods reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The instance ends at the machine.
    MachineOnly,
    /// The machine forwards and translates addresses.
    Internet,
}

/// The words before a command that runs it in the instance's network namespace.
///
/// `ip netns exec` would give each process a mount namespace of its own, and containerd then couldn't see kubelet's mounts.
#[must_use]
pub fn prefix(namespace: &Path) -> [OsString; 2] {
    let mut net = OsString::from("--net=");
    net.push(namespace);
    ["nsenter".into(), net]
}

/// Makes the namespace and everything in it that isn't there yet.
///
/// # Errors
///
/// Fails without the right to make namespaces.
pub async fn ensure(instance: &Instance, reach: Reach) -> anyhow::Result<()> {
    let name = instance.qualified_name();
    let addresses = instance.addresses;
    let machine_device = addresses.machine_device();
    if !succeeds("ip", ["-n", &name, "link", "show", "lo"]).await? {
        // A file without a namespace on it stays behind when `ip netns add` is interrupted.
        let _ = std::fs::remove_file(instance.network_namespace());
        run("ip", ["netns", "add", &name]).await?;
    }
    let inside = |words: &str| {
        let mut arguments = vec!["-n".to_owned(), name.clone()];
        arguments.extend(words.split(' ').map(str::to_owned));
        run("ip", arguments)
    };
    let outside = |words: String| run("ip", words.split(' ').map(str::to_owned).collect::<Vec<_>>());

    inside("link set lo up").await?;
    if !succeeds("ip", ["-n", &name, "link", "show", NODE_DEVICE]).await? {
        let _ = succeeds("ip", ["link", "delete", &machine_device]).await?;
        outside(format!("link add {machine_device} type veth peer name {NODE_DEVICE} netns {name}")).await?;
    }
    if !succeeds("ip", ["-n", &name, "link", "show", BRIDGE]).await? {
        inside(&format!("link add {BRIDGE} type bridge")).await?;
    }
    inside(&format!("addr replace {}/24 dev {NODE_DEVICE}", addresses.node())).await?;
    inside(&format!("addr replace {}/24 dev {BRIDGE}", addresses.pods_gateway())).await?;
    inside(&format!("link set {NODE_DEVICE} up")).await?;
    inside(&format!("link set {BRIDGE} up")).await?;
    // The look-up must find a route before the address of a Service is translated.
    inside(&format!("route replace {} dev {BRIDGE} src {}", addresses.services(), addresses.node())).await?;
    outside(format!("addr replace {}/24 dev {machine_device}", addresses.machine())).await?;
    outside(format!("link set {machine_device} up")).await?;
    for network in [addresses.pods(), addresses.services()] {
        outside(format!("route replace {network} via {}", addresses.node())).await?;
    }
    set_inside(instance, "/proc/sys/net/ipv4/ip_forward", "1").await?;
    // Without it a Service whose pod is on the bridge too is answered past the translation. Absent where the module is.
    if Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() || succeeds("modprobe", ["br_netfilter"]).await.unwrap_or(false) {
        set_inside(instance, "/proc/sys/net/bridge/bridge-nf-call-iptables", "1").await?;
    }
    match reach {
        Reach::Internet => {
            inside(&format!("route replace default via {}", addresses.machine())).await?;
            open_to_the_internet(instance).await
        }
        Reach::MachineOnly => {
            if inside("route show default").await?.contains("default") {
                inside("route delete default").await?;
            }
            close_to_the_internet(instance).await
        }
    }
}

/// Takes the namespace away, with its devices and the machine's rules for it. Fine when there is none.
///
/// # Errors
///
/// Fails when the kernel refuses.
pub async fn remove(instance: &Instance) -> anyhow::Result<()> {
    close_to_the_internet(instance).await?;
    let device = instance.addresses.machine_device();
    let _ = succeeds("ip", ["link", "delete", &device]).await?;
    if instance.network_namespace().exists() {
        run("ip", ["netns", "delete", &instance.qualified_name()]).await?;
    }
    Ok(())
}

fn rules(instance: &Instance) -> Vec<Vec<String>> {
    let device = instance.addresses.machine_device();
    let comment = instance.qualified_name();
    let mut rules = vec![
        format!("filter FORWARD -i {device} -j ACCEPT"),
        format!("filter FORWARD -o {device} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
    ];
    rules.extend(
        [instance.addresses.link(), instance.addresses.pods()].map(|network| format!("nat POSTROUTING -s {network} ! -o {device} -j MASQUERADE")),
    );
    rules
        .iter()
        .map(|rule| {
            let mut words: Vec<String> = rule.split(' ').map(str::to_owned).collect();
            words.extend(["-m", "comment", "--comment", &comment].map(str::to_owned));
            words
        })
        .collect()
}

fn iptables(action: &str, rule: &[String]) -> Vec<String> {
    let (table, rest) = rule.split_at(1);
    let mut arguments = vec!["-w".to_owned(), "-t".to_owned()];
    arguments.extend(table.iter().cloned());
    arguments.push(action.to_owned());
    arguments.extend(rest.iter().cloned());
    arguments
}

async fn open_to_the_internet(instance: &Instance) -> anyhow::Result<()> {
    const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
    if std::fs::read_to_string(FORWARDING)?.trim() == "0" {
        std::fs::write(FORWARDING, "1").context(FORWARDING)?;
        std::fs::write(instance.path("switched-on-forwarding"), "")?;
    }
    for rule in rules(instance) {
        if !succeeds("iptables", iptables("-C", &rule)).await? {
            // First, because a container engine on this machine may drop what it doesn't know.
            run("iptables", iptables("-I", &rule)).await?;
        }
    }
    Ok(())
}

async fn close_to_the_internet(instance: &Instance) -> anyhow::Result<()> {
    if super::bounded::find_program("iptables").is_some() {
        for rule in rules(instance) {
            if succeeds("iptables", iptables("-C", &rule)).await? {
                run("iptables", iptables("-D", &rule)).await?;
            }
        }
    }
    let switched = instance.path("switched-on-forwarding");
    if switched.exists() {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0")?;
        std::fs::remove_file(switched)?;
    }
    Ok(())
}

async fn set_inside(instance: &Instance, setting: &str, value: &str) -> anyhow::Result<()> {
    let [nsenter, net] = prefix(&instance.network_namespace());
    let script = format!("echo {value} > {setting}");
    run(nsenter, [net, "sh".into(), "-c".into(), script.into()]).await?;
    Ok(())
}
