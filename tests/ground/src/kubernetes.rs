//! A real single-node Kubernetes in a network namespace of its own: built from Go modules, run beside the machine, gone without a trace.
//!
//! Each `ensure` looks at what is there and does what is missing, so that one that was killed half way is finished by the next.

mod addresses;
mod api;
pub mod binaries;
mod bounded;
mod cgroups;
mod control_plane;
mod credentials;
mod description;
mod dns;
mod images;
mod instance;
pub mod network;
mod node;
mod parts;
pub mod teardown;

pub use addresses::Addresses;
pub use api::Api;
pub use description::{Description, Endpoint, Venue};
pub use instance::{Instance, InstanceName, write_whole};
pub use network::Reach;
pub use parts::{Part, PartState, resident_bytes};

use crate::authority::Authority;
use binaries::Binaries;
use credentials::Credentials;

/// What the cluster needs from Debian.
pub const DEBIAN_PACKAGES: [&str; 7] = ["buildah", "conntrack", "containerd", "containernetworking-plugins", "iproute2", "iptables", "runc"];

/// The cluster of one instance.
#[derive(Debug)]
pub struct Cluster {
    /// The instance.
    pub instance: Instance,
    /// Its programs.
    pub binaries: Binaries,
    /// Its API server.
    pub api: Api,
    credentials: Credentials,
}

impl Cluster {
    /// The cluster of `instance`, with its credentials made and nothing started.
    ///
    /// # Errors
    ///
    /// Fails when the instance's folder can't be written.
    pub fn prepare(instance: &Instance, binaries: &Binaries, authority: &Authority) -> anyhow::Result<Self> {
        let credentials = Credentials::ensure(instance, authority)?;
        Ok(Self { api: Api::new(instance, &credentials, authority)?, instance: instance.clone(), binaries: binaries.clone(), credentials })
    }

    /// Starts the control plane, and waits until the API server serves.
    ///
    /// # Errors
    ///
    /// Fails when a part ends or isn't ready in time; its log is named.
    pub async fn ensure_control_plane(&self) -> anyhow::Result<()> {
        control_plane::ensure(self).await
    }

    /// Starts containerd, and loads the image that every pod begins with.
    ///
    /// # Errors
    ///
    /// Fails when containerd isn't ready in time.
    pub async fn ensure_containerd(&self) -> anyhow::Result<()> {
        node::ensure_containerd(self).await?;
        self.ensure_pause_image().await
    }

    /// Starts kubelet and kube-proxy, and waits until the node is ready.
    ///
    /// # Errors
    ///
    /// Fails when a part ends or isn't ready in time; its log is named.
    pub async fn ensure_node(&self) -> anyhow::Result<()> {
        node::ensure(self).await
    }

    /// Starts CoreDNS, which answers `hosts` with the node's address.
    ///
    /// # Errors
    ///
    /// Fails when it isn't ready in time.
    pub async fn ensure_dns(&self, hosts: &[String], reach: Reach) -> anyhow::Result<()> {
        dns::ensure(self, hosts, reach).await
    }
}
