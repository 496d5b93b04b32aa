//! The cgroup of an instance: every pod runs below it, so that two kubelets on one machine don't sweep each other's pods, and so that a
//! stop finds every process that a pod ever started.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// Makes the cgroup `name` in each hierarchy (version 1), or in the one there is (version 2).
///
/// # Errors
///
/// Fails when cgroups can't be written.
pub(crate) fn ensure(name: &str) -> anyhow::Result<()> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
            // A controller that the kernel lacks or that is on already is no reason to stop.
            let _ = std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        std::fs::create_dir_all(root.join(name))?;
        return Ok(());
    }
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(name);
        std::fs::create_dir_all(&folder)?;
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = std::fs::read(hierarchy.join(setting)) {
                std::fs::write(folder.join(setting), all)?;
            }
        }
    }
    Ok(())
}

/// Sends `signal` to every process below the cgroup `name`, and says how many there were.
pub(crate) fn signal_all(name: &str, signal: Signal) -> usize {
    let processes = processes(name);
    for process in &processes {
        let _ = kill(*process, signal);
    }
    processes.len()
}

/// The processes below the cgroup `name`.
pub(crate) fn processes(name: &str) -> Vec<Pid> {
    let mut found: Vec<i32> = folders(name)
        .iter()
        .filter_map(|folder| std::fs::read_to_string(folder.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(Pid::from_raw).collect()
}

/// Removes the cgroup `name` and all below it. One that still holds a process stays.
pub(crate) fn remove(name: &str) {
    for folder in folders(name) {
        let _ = std::fs::remove_dir(folder);
    }
}

/// The folders of the cgroup in all hierarchies, the deepest first.
fn folders(name: &str) -> Vec<PathBuf> {
    let mut roots = hierarchies().unwrap_or_default();
    roots.push(PathBuf::from(ROOT));
    let mut found = Vec::new();
    for root in roots {
        collect(&root.join(name), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(folder.to_owned());
}

fn hierarchies() -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(ROOT)? {
        let path = entry?.path();
        if path.join("cgroup.procs").exists() && !path.is_symlink() {
            found.push(path);
        }
    }
    Ok(found)
}
