//! An instance: its name, its number, and where it keeps things.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

use super::addresses::{Addresses, free_number};
use crate::cache::Cache;

/// The name of an instance: a lower-case letter, then up to 20 letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName(String);

impl FromStr for InstanceName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let fits = text.len() <= 21
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '-');
        if !fits {
            bail!("`{text}`: a name is a lower-case letter, then up to 20 of a-z, 0-9 and -");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One instance of the local cluster.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its name.
    pub name: InstanceName,
    /// Its addresses.
    pub addresses: Addresses,
    /// All that outlives a stop: `clusters/NAME` of the cache.
    pub folder: PathBuf,
    /// Sockets and mounts, gone after a reboot. Short, because a socket's path has at most 107 bytes.
    pub run_folder: PathBuf,
}

impl Instance {
    /// The instance `name` below `cache`; a new one gets the lowest free number.
    ///
    /// # Errors
    ///
    /// Fails when the folders can't be made or its number is not one.
    pub fn open_or_create(cache: &Cache, name: &InstanceName) -> anyhow::Result<Self> {
        let clusters = clusters(cache);
        let folder = clusters.join(&name.0);
        std::fs::create_dir_all(&folder)?;
        let _numbers = cache.lock("instance-numbers")?;
        if !number_file(&folder).exists() {
            let number = free_number(&numbers_below(&clusters)?)?;
            write_whole(&number_file(&folder), number.to_string().as_bytes())?;
        }
        let instance = Self::open(cache, name)?.context("the number vanished")?;
        std::fs::create_dir_all(&instance.run_folder)?;
        std::fs::create_dir_all(instance.logs())?;
        Ok(instance)
    }

    /// The instance `name` below `cache`, when there is one.
    ///
    /// # Errors
    ///
    /// Fails when its number is not one.
    pub fn open(cache: &Cache, name: &InstanceName) -> anyhow::Result<Option<Self>> {
        let folder = clusters(cache).join(&name.0);
        let Ok(number) = std::fs::read_to_string(number_file(&folder)) else {
            return Ok(None);
        };
        let number = number.trim().parse().with_context(|| format!("{}", number_file(&folder).display()))?;
        Ok(Some(Self { name: name.clone(), addresses: Addresses::of(number), run_folder: Path::new("/run/tapekeeper").join(&name.0), folder }))
    }

    /// The network namespace, the cgroup and the CNI network are all called so.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        format!("tapekeeper-{}", self.name)
    }

    /// The network namespace as a file.
    #[must_use]
    pub fn network_namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(self.qualified_name())
    }

    /// A folder or file of the instance.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of logs: a file per process, and the API server's audit log.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The API server's audit log.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Where containerd listens.
    #[must_use]
    pub fn containerd_socket(&self) -> PathBuf {
        self.run_folder.join("containerd.sock")
    }
}

/// Writes a file that is there whole or not at all, readable by its owner only.
///
/// # Errors
///
/// Fails when the folder can't be written.
pub fn write_whole(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(|| unfinished.display().to_string())?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path).with_context(|| path.display().to_string())
}

fn clusters(cache: &Cache) -> PathBuf {
    cache.root().join("clusters")
}

fn number_file(folder: &Path) -> PathBuf {
    folder.join("number")
}

fn numbers_below(clusters: &Path) -> anyhow::Result<Vec<u8>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(clusters)? {
        if let Ok(number) = std::fs::read_to_string(number_file(&entry?.path())) {
            numbers.push(number.trim().parse()?);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_number_and_another_gets_another() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        for (name, number) in [("first", "0"), ("second", "1")] {
            let folder = clusters(&cache).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            write_whole(&number_file(&folder), number.as_bytes()).unwrap();
        }
        let mut numbers = numbers_below(&clusters(&cache)).unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1]);
        let opened = |name: &str| Instance::open(&cache, &name.parse().unwrap()).unwrap();
        assert_eq!(opened("second").unwrap().addresses, Addresses::of(1));
        assert!(opened("third").is_none());
    }

    #[test]
    fn a_name_that_would_not_fit_a_host_name_is_refused() {
        for name in ["", "Local", "1st", "a/b", "a-", "a-name-of-22-characters"] {
            assert!(name.parse::<InstanceName>().is_err(), "{name}");
        }
        assert!("local".parse::<InstanceName>().is_ok());
    }
}
