//! Where downloads live between runs, and how several processes fill that place at once.
//!
//! An entry is a folder that exists whole or not at all: it is filled under another name and renamed into place while
//! a file lock keeps others from filling it too. A fetch that was killed leaves only a folder that the next one removes.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longer than the slowest fetch or build on a slow line, and still an end.
const LOCK_WAIT: Duration = Duration::from_secs(30 * 60);
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The folder of all downloads.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Where an entry is being made, and where it will be.
#[derive(Debug)]
pub struct Making<'a> {
    /// The folder to fill; empty, and on the same file system as the final one.
    pub folder: &'a Path,
    /// Where the folder will lie once it is whole, for whatever writes its own path into files.
    pub destination: &'a Path,
}

impl Cache {
    /// `$TAPEKEEPER_CACHE`, else `$XDG_CACHE_HOME/tapekeeper`, else `~/.cache/tapekeeper`.
    pub fn locate() -> Result<Self> {
        let root = root_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
            .context("no place for downloads: none of TAPEKEEPER_CACHE, XDG_CACHE_HOME and HOME is set")?;
        Self::at(root)
    }

    /// A cache in `root`, which is made when it is missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = std::path::absolute(root.into())?;
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        Ok(Self { root })
    }

    /// The folder that holds all entries.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of entry `name`, filled by `make` when it is not there yet.
    ///
    /// Blocks while another process makes the same entry. `name` carries the version: an entry never changes.
    pub fn entry(&self, name: &str, make: impl FnOnce(&Making<'_>) -> Result<()>) -> Result<PathBuf> {
        let destination = self.root.join(name);
        if destination.exists() {
            return Ok(destination);
        }
        let _lock = self.lock(name)?;
        if destination.exists() {
            return Ok(destination);
        }
        // We hold the lock: a folder of this name belongs to a maker that died.
        let folder = self.root.join(format!(".making-{name}"));
        remove_if_present(&folder)?;
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        tracing::info!(entry = name, "filling the cache");
        let started = Instant::now();
        make(&Making { folder: &folder, destination: &destination }).with_context(|| format!("fetching {name} into {}", self.root.display()))?;
        std::fs::rename(&folder, &destination)?;
        tracing::info!(entry = name, seconds = started.elapsed().as_secs_f32(), "cache filled");
        Ok(destination)
    }

    /// An exclusive lock by name, held until dropped and released by the kernel when the process dies.
    pub fn lock(&self, name: &str) -> Result<File> {
        let folder = self.root.join(".locks");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => bail!("{} was locked for {LOCK_WAIT:?}", path.display()),
                Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
            }
        }
    }
}

fn root_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("TAPEKEEPER_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("tapekeeper")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache").join("tapekeeper")))
}

fn remove_if_present(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("removing {}", folder.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_variable_wins_over_the_desktop_one_and_that_over_home() {
        let all = |name: &str| Some(PathBuf::from(format!("/{}", name.to_lowercase())));
        assert_eq!(root_from(all), Some("/tapekeeper_cache".into()));
        assert_eq!(root_from(|name| all(name).filter(|_| name != "TAPEKEEPER_CACHE")), Some("/xdg_cache_home/tapekeeper".into()));
        assert_eq!(root_from(|name| all(name).filter(|_| name == "HOME")), Some("/home/.cache/tapekeeper".into()));
        assert_eq!(root_from(|_| None), None);
    }

    #[test]
    fn an_entry_is_made_once() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        for _ in 0..2 {
            let entry = cache.entry("thing-1", |making| Ok(std::fs::create_dir(making.folder.join("made"))?)).unwrap();
            assert!(entry.join("made").is_dir());
        }
        let mut made = 0;
        std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = 0;
                        cache
                            .entry("thing-2", |_| {
                                std::thread::sleep(Duration::from_millis(150));
                                mine += 1;
                                Ok(())
                            })
                            .unwrap();
                        mine
                    })
                })
                .collect();
            made = tries.into_iter().map(|one| one.join().unwrap()).sum();
        });
        assert_eq!(made, 1);
    }

    #[test]
    fn a_failed_fetch_leaves_no_entry_and_the_next_starts_clean() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let failed = cache.entry("thing-1", |making| {
            std::fs::write(making.folder.join("half"), "")?;
            bail!("the line went dead")
        });
        assert!(failed.is_err());
        assert!(!place.path().join("thing-1").exists());
        let entry = cache.entry("thing-1", |_| Ok(())).unwrap();
        assert!(!entry.join("half").exists());
    }
}
