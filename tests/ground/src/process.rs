//! A server process: started with its output in a file, watched until it is ready, stopped within a bound.

mod identity;
mod spawner;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

pub use identity::Identity;

use crate::command::tail;

const POLL: Duration = Duration::from_millis(20);
/// A killed process is gone as soon as the kernel gets to it; the rest is slack for a loaded machine.
const KILL_BOUND: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 30;

/// How long a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Killed when the handle is dropped, and by the kernel when the process that started it dies.
    #[default]
    WithHandle,
    /// Goes on when the handle and its process are gone; found again through its pidfile.
    Detached,
}

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What the process is called in errors and logs.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set on top of the inherited ones.
    pub env: Vec<(String, String)>,
    /// Words before the program, such as `nsenter --net=/run/netns/NAME`. They must end in an `exec`, not in a fork.
    pub command_prefix: Vec<String>,
    /// The folder it runs in; the current one when `None`.
    pub folder: Option<PathBuf>,
    /// Where both outputs are appended.
    pub log: PathBuf,
    /// Where pid and start time are kept.
    pub pidfile: PathBuf,
    /// How long it lives.
    pub lifetime: Lifetime,
}

/// A started process and its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Identity,
    child: Option<Child>,
    log: PathBuf,
    log_start: u64,
    pidfile: PathBuf,
    lifetime: Lifetime,
}

impl Process {
    /// Starts `launch` as the leader of a process group of its own, with no input.
    pub fn start(launch: &Launch) -> Result<Self> {
        let log =
            std::fs::File::options().create(true).append(true).open(&launch.log).with_context(|| format!("opening {}", launch.log.display()))?;
        let log_start = log.metadata()?.len();
        let mut words: Vec<&std::ffi::OsStr> = Vec::new();
        if launch.lifetime == Lifetime::WithHandle {
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(std::ffi::OsStr::new));
        }
        words.extend(launch.command_prefix.iter().map(std::ffi::OsStr::new));
        words.push(launch.program.as_os_str());
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(&launch.args)
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(folder) = &launch.folder {
            command.current_dir(folder);
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = spawner::spawn(command).with_context(|| format!("starting {}", launch.name))?;
        let identity = Identity::of(child.id()).with_context(|| format!("{} was gone at once", launch.name))?;
        identity.write(&launch.pidfile)?;
        tracing::debug!(name = launch.name, pid = identity.pid, "started");
        Ok(Self {
            name: launch.name.clone(),
            identity,
            child: Some(child),
            log: launch.log.clone(),
            log_start,
            pidfile: launch.pidfile.clone(),
            lifetime: launch.lifetime,
        })
    }

    /// The process that an earlier [`Process::start`] of the same launch left behind, when it still runs.
    pub fn attach(launch: &Launch) -> Option<Self> {
        let identity = Identity::read(&launch.pidfile).filter(Identity::is_alive)?;
        Some(Self {
            name: launch.name.clone(),
            identity,
            child: None,
            log: launch.log.clone(),
            log_start: 0,
            pidfile: launch.pidfile.clone(),
            lifetime: launch.lifetime,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => self.identity.is_alive(),
        }
    }

    /// Whether it listens on TCP `port`, seen from inside its own network namespace.
    pub fn listens_on(&self, port: u16) -> bool {
        ["tcp", "tcp6"]
            .iter()
            .any(|table| std::fs::read_to_string(format!("/proc/{}/net/{table}", self.identity.pid)).is_ok_and(|table| has_listener(&table, port)))
    }

    /// What it has written since this start.
    pub fn output(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// Waits until `ready` holds. Fails with the end of the log when the process ends first or `bound` passes.
    pub async fn wait_until(&mut self, bound: Duration, mut ready: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + bound;
        loop {
            if !self.is_running() {
                bail!("{} ended before it was ready; {}", self.name, self.last_words());
            }
            if ready(self) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {bound:?}; {}", self.name, self.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to end (SIGTERM), and kills its group when it has not within `bound`. Ended already is success.
    pub async fn stop(&mut self, bound: Duration) -> Result<()> {
        if self.is_running() {
            kill(self.raw_pid(), Signal::SIGTERM).ok();
            if !self.wait_for_end(bound).await {
                tracing::warn!(name = self.name, ?bound, "did not end in time: killing it");
            }
        }
        self.kill().await
    }

    /// SIGKILL to its whole group, and waits until it is gone. Gone already is success.
    pub async fn kill(&mut self) -> Result<()> {
        self.send_kill();
        if !self.wait_for_end(KILL_BOUND).await {
            bail!("{} (pid {}) is still there {KILL_BOUND:?} after SIGKILL", self.name, self.pid());
        }
        std::fs::remove_file(&self.pidfile).ok();
        Ok(())
    }

    async fn wait_for_end(&mut self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.is_running() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    fn send_kill(&mut self) {
        // Only while the leader lives: afterwards its number may belong to someone else.
        if self.is_running() {
            killpg(self.raw_pid(), Signal::SIGKILL).ok();
        }
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.identity.pid).unwrap_or(i32::MAX))
    }

    fn last_words(&self) -> String {
        last_words(&self.output(), &self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Detached {
            return;
        }
        self.send_kill();
        if let Some(child) = &mut self.child {
            child.wait().ok();
        }
        std::fs::remove_file(&self.pidfile).ok();
    }
}

fn last_words(output: &str, log: &Path) -> String {
    format!("the end of {}:\n{}", log.display(), tail(output, LOG_TAIL_LINES))
}

/// `/proc/net/tcp`: the second column is `ADDRESS:PORT` in hexadecimal, the fourth the state, of which 0A is LISTEN.
fn has_listener(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, state) = (columns.next(), columns.nth(1));
        state == Some("0A") && local.and_then(|local| local.rsplit_once(':')).is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests;
