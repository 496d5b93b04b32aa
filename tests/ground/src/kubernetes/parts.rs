//! The processes of an instance: started once, found again by whoever comes later, started anew when their command changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use super::instance::{Instance, write_whole};
use super::network;
use crate::process::{Identity, Launch, Lifetime, Process};

/// How long a part may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);

/// A process to keep running in the instance's network namespace.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name: of its pidfile, its log and its line in the status.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set on top of the inherited ones.
    pub environment: Vec<(String, String)>,
    /// The contents of files that it reads only at its start: a change starts it anew.
    pub configuration: Vec<String>,
}

/// One part as a status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartState {
    /// Its name.
    pub name: String,
    /// Its process, when it runs.
    pub pid: Option<u32>,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl PartState {
    /// Of the process in `pidfile`, under `name`.
    #[must_use]
    pub fn read(name: &str, pidfile: &Path) -> Self {
        let pid = Identity::read(pidfile).filter(Identity::is_alive).map(|identity| identity.pid);
        Self { name: name.to_owned(), pid, resident: pid.map_or(0, group_resident_bytes) }
    }
}

impl Instance {
    /// Where pidfiles lie.
    fn parts(&self) -> PathBuf {
        self.path("parts")
    }

    /// The pidfile of the part called `name`: `PID START_TIME`.
    #[must_use]
    pub fn pidfile(&self, name: &str) -> PathBuf {
        self.parts().join(format!("{name}.pid"))
    }

    fn launch(&self, part: &Part) -> Launch {
        Launch {
            name: part.name.to_owned(),
            program: part.program.clone(),
            args: part.arguments.clone(),
            env: part.environment.clone(),
            command_prefix: self.command_prefix(),
            folder: None,
            log: self.logs().join(format!("{}.log", part.name)),
            pidfile: self.pidfile(part.name),
            lifetime: Lifetime::Detached,
        }
    }

    /// The words before a command that run it in the instance's network namespace.
    #[must_use]
    pub fn command_prefix(&self) -> Vec<String> {
        network::prefix(&self.network_namespace()).map(|word| word.to_string_lossy().into_owned()).to_vec()
    }

    /// Starts `part` unless it runs already with the same command and configuration.
    ///
    /// # Errors
    ///
    /// Fails when it can't be started, or an older one can't be stopped.
    pub async fn ensure_part(&self, part: &Part) -> anyhow::Result<Process> {
        std::fs::create_dir_all(self.parts())?;
        let launch = self.launch(part);
        let fingerprint_file = self.parts().join(format!("{}.command", part.name));
        let fingerprint = fingerprint(part);
        if let Some(mut running) = Process::attach(&launch) {
            if std::fs::read_to_string(&fingerprint_file).ok().as_deref() == Some(&fingerprint) {
                return Ok(running);
            }
            running.stop(STOP).await?;
        }
        // One whose starter was killed before it could write the pidfile.
        for stray in self.processes_inside().iter().filter(|stray| is_running_program(**stray, &part.program)) {
            let _ = kill(*stray, Signal::SIGKILL);
        }
        write_whole(&fingerprint_file, fingerprint.as_bytes())?;
        keep_bounded(&launch.log)?;
        Process::start(&launch).with_context(|| part.name.to_owned())
    }

    /// Stops the part called `name` when it runs.
    ///
    /// # Errors
    ///
    /// Fails when it survives SIGKILL.
    pub async fn stop_part(&self, name: &'static str) -> anyhow::Result<()> {
        let launch = self.launch(&Part { name, program: PathBuf::new(), arguments: Vec::new(), environment: Vec::new(), configuration: Vec::new() });
        match Process::attach(&launch) {
            Some(mut running) => running.stop(STOP).await,
            None => Ok(()),
        }
    }

    /// All parts that were ever started, in the order of their names.
    ///
    /// # Errors
    ///
    /// Fails when the folder of pidfiles can't be read.
    pub fn part_states(&self) -> anyhow::Result<Vec<PartState>> {
        let mut names = Vec::new();
        if let Ok(entries) = std::fs::read_dir(self.parts()) {
            for entry in entries {
                let file = entry?.file_name().to_string_lossy().into_owned();
                names.extend(file.strip_suffix(".command").map(str::to_owned));
            }
        }
        names.sort();
        Ok(names.into_iter().map(|name| PartState::read(&name, &self.pidfile(&name))).collect())
    }

    /// Kills the processes that run in `folder` (their current one) inside the instance's namespace: what a starter left that was killed
    /// before it could write a pidfile.
    pub fn kill_strays_in(&self, folder: &Path) {
        for process in self.processes_inside() {
            if std::fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|current| current == folder) {
                let _ = kill(process, Signal::SIGKILL);
            }
        }
    }

    /// Every process in the instance's network namespace. Pods have namespaces of their own and are not among them.
    #[must_use]
    pub fn processes_inside(&self) -> Vec<Pid> {
        let Ok(namespace) = std::fs::metadata(self.network_namespace()) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
            .filter(|pid| {
                std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|its| (its.dev(), its.ino()) == (namespace.dev(), namespace.ino()))
            })
            .map(Pid::from_raw)
            .collect()
    }
}

/// Resident memory of a process in bytes; 0 when it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .unwrap_or(0)
        * 1024
}

/// Resident memory of a process group in bytes: what a part that starts others holds altogether.
fn group_resident_bytes(group: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| group_of(*pid) == Some(group))
        .map(resident_bytes)
        .sum()
}

/// proc_pid_stat(5): field 5, counted after the name in parentheses.
fn group_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}

fn is_running_program(process: Pid, program: &Path) -> bool {
    std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|running| running == program)
}

fn fingerprint(part: &Part) -> String {
    let mut digest = Sha256::new();
    let words = part.arguments.iter().chain(part.environment.iter().flat_map(|(name, value)| [name, value])).chain(&part.configuration);
    digest.update(part.program.as_os_str().as_encoded_bytes());
    for word in words {
        digest.update([0]);
        digest.update(word);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts a log anew when it outgrew 16 MiB; the one before is kept.
fn keep_bounded(log: &Path) -> anyhow::Result<()> {
    const LARGEST: u64 = 16 << 20;
    if std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > LARGEST) {
        std::fs::rename(log, log.with_extension("log.old"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(argument: &str, configuration: &str) -> Part {
        Part {
            name: "part",
            program: "/bin/true".into(),
            arguments: vec![argument.to_owned()],
            environment: Vec::new(),
            configuration: vec![configuration.to_owned()],
        }
    }

    #[test]
    fn a_changed_command_or_configuration_has_another_fingerprint() {
        let before = fingerprint(&part("--a", "b"));
        assert_eq!(before, fingerprint(&part("--a", "b")));
        assert_ne!(before, fingerprint(&part("--b", "b")));
        assert_ne!(before, fingerprint(&part("--a", "c")));
        assert_ne!(before, fingerprint(&part("--ab", "")));
    }

    #[test]
    fn a_running_process_has_resident_memory() {
        assert!(resident_bytes(std::process::id()) > 100_000);
        assert_eq!(resident_bytes(u32::MAX), 0);
    }
}
