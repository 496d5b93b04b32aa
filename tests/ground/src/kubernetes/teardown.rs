//! Stopping an instance: what restarts others first, then the others, then what they left in the kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};

use super::instance::Instance;
use super::{cgroups, network};

/// How long pods may take to end: as long as a worker's drain.
const PODS: Duration = Duration::from_secs(15);

/// Stops the node's part of the instance: kubelet, the pods, containerd.
///
/// # Errors
///
/// Fails when a process survives SIGKILL.
pub async fn stop_node(instance: &Instance) -> anyhow::Result<()> {
    // kubelet would start again what is stopped below.
    for part in ["kubelet", "kube-proxy"] {
        instance.stop_part(part).await?;
    }
    let cgroup = instance.qualified_name();
    cgroups::signal_all(&cgroup, Signal::SIGTERM);
    let deadline = tokio::time::Instant::now() + PODS;
    while !cgroups::processes(&cgroup).is_empty() {
        if tokio::time::Instant::now() > deadline {
            cgroups::signal_all(&cgroup, Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        if tokio::time::Instant::now() > deadline + PODS {
            anyhow::bail!("a pod's process survives SIGKILL");
        }
    }
    instance.stop_part("containerd").await
}

/// Stops the control plane and CoreDNS.
///
/// # Errors
///
/// Fails when a process survives SIGKILL.
pub async fn stop_control_plane(instance: &Instance) -> anyhow::Result<()> {
    for part in ["coredns", "scheduler", "controller-manager", "apiserver", "etcd"] {
        instance.stop_part(part).await?;
    }
    Ok(())
}

/// Takes away what an instance left in the kernel and in `/run`: stray processes, mounts, cgroups, the network namespace.
///
/// # Errors
///
/// Fails when the namespace can't be deleted.
pub async fn clear(instance: &Instance) -> anyhow::Result<()> {
    // containerd's shims outlive it, and are started in the namespace that containerd is in.
    for stray in instance.processes_inside() {
        let _ = kill(stray, Signal::SIGKILL);
    }
    unmount_below(&[&instance.folder, &instance.run_folder]);
    cgroups::remove(&instance.qualified_name());
    network::remove(instance).await?;
    remove_leftovers(instance);
    if instance.run_folder.exists() {
        std::fs::remove_dir_all(&instance.run_folder)?;
    }
    Ok(())
}

fn unmount_below(folders: &[&Path]) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mount_points(&mounts).iter().rev() {
        if folders.iter().any(|folder| mount.starts_with(folder)) {
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
    }
}

/// The mount points in the order they were made: proc_pid_mountinfo(5), field 5, with octal escapes.
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| {
            let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
            PathBuf::from(point)
        })
        .collect()
}

/// kubelet and the network plugins keep a few small files at fixed places.
fn remove_leftovers(instance: &Instance) {
    let network_results = format!("{}-", instance.qualified_name());
    for entry in entries("/var/lib/cni/results") {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&network_results)) {
            let _ = std::fs::remove_file(entry);
        }
    }
    for entry in entries("/var/log/containers") {
        if std::fs::read_link(&entry).is_ok_and(|target| target.starts_with(&instance.folder)) {
            let _ = std::fs::remove_file(entry);
        }
    }
}

fn entries(folder: &str) -> Vec<PathBuf> {
    std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_come_in_order_with_their_spaces() {
        let text = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                    40 22 0:30 / /a\\040folder/b rw shared:3 - tmpfs tmpfs rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/"), PathBuf::from("/a folder/b")]);
    }
}
