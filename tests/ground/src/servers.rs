//! The servers that Debian packages: RabbitMQ with its Erlang, and HAProxy, unpacked side by side into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::command::run;

/// RabbitMQ 4.0 is in Debian 13; the host stays what it is.
const SUITE: &str = "trixie";
/// Raised whenever the script or the packages change.
const ENTRY: &str = "servers-trixie-1";
const SCRIPT: &str = include_str!("servers.sh");

/// The folder that the servers were unpacked into.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    folder: PathBuf,
    rabbitmq: PathBuf,
}

impl Servers {
    /// Fetches them unless the cache has them. Blocks.
    pub(crate) fn fetch() -> Result<Self> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            bail!("the test ground's servers are fetched for x86_64 Linux only");
        }
        let folder = Cache::locate()?.entry(ENTRY, |making| {
            run(Command::new("bash")
                .args(["-c", SCRIPT, "servers.sh", SUITE])
                .args([making.folder, making.destination])
                .args(["rabbitmq-server", "haproxy"]))?;
            rabbitmq_folder(making.folder).map(drop)
        })?;
        let rabbitmq = rabbitmq_folder(&folder)?;
        Ok(Self { folder, rabbitmq })
    }

    /// `rabbitmq-server`, `rabbitmqctl` and their like.
    pub(crate) fn rabbitmq_tool(&self, name: &str) -> PathBuf {
        self.rabbitmq.join("sbin").join(name)
    }

    /// The folder of `erl`, for PATH.
    pub(crate) fn erlang_bin(&self) -> PathBuf {
        self.folder.join("usr/lib/erlang/bin")
    }

    /// The Erlang port mapper daemon.
    pub(crate) fn epmd(&self) -> Result<PathBuf> {
        let erlang = self.folder.join("usr/lib/erlang");
        only_folder_starting_with(&erlang, "erts-").map(|folder| folder.join("bin/epmd"))
    }

    /// HAProxy.
    pub(crate) fn haproxy(&self) -> PathBuf {
        self.folder.join("usr/sbin/haproxy")
    }
}

fn rabbitmq_folder(folder: &Path) -> Result<PathBuf> {
    let found = only_folder_starting_with(&folder.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-")?;
    let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(name.starts_with("rabbitmq_server-4.0."), "{SUITE} no longer has RabbitMQ 4.0 but {name}");
    Ok(found)
}

fn only_folder_starting_with(parent: &Path, prefix: &str) -> Result<PathBuf> {
    std::fs::read_dir(parent)
        .with_context(|| format!("reading {}", parent.display()))?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("nothing called {prefix}… in {}", parent.display()))
}
