//! The engine's library, and the program that serves it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::command::run;
use crate::packages::ensure_debian;

/// Pinned: the registry's own default is an older version, which can't listen.
const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const VERSION: &str = "26.7.3-stable.1";
const LIBRARY: &str = "libchdb.so";
const LIBRARY_SHA256: &str = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5";

const LAUNCHER: &str = "tapekeeper-test-clickhouse";
/// Beside this crate, wherever the workspace was built.
const LAUNCHER_CRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clickhouse");

/// Both, in the cache.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) library: PathBuf,
    pub(super) launcher: PathBuf,
}

impl Engine {
    pub(super) fn fetch() -> Result<Self> {
        let cache = Cache::locate()?;
        Ok(Self { library: fetch_library(&cache)?, launcher: build_launcher(&cache)? })
    }
}

fn fetch_library(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.entry(&format!("clickhouse-{VERSION}"), |making| {
        if Command::new("npm").arg("--version").output().is_err() {
            ensure_debian(&["npm"])?;
        }
        let packed = run(Command::new("npm").args(["pack", "--silent", &format!("{PACKAGE}@{VERSION}")]).current_dir(making.folder))?;
        let archive = making.folder.join(packed.trim());
        run(Command::new("tar")
            .args(["--extract", "--gzip", "--strip-components=1", "--file"])
            .arg(&archive)
            .arg(format!("package/{LIBRARY}"))
            .current_dir(making.folder))?;
        std::fs::remove_file(&archive)?;
        // coreutils' is much quicker than ours in a debug build, and the file has half a gigabyte.
        let sum = run(Command::new("sha256sum").arg(making.folder.join(LIBRARY)))?;
        anyhow::ensure!(
            sum.split_ascii_whitespace().next() == Some(LIBRARY_SHA256),
            "{LIBRARY} of {PACKAGE}@{VERSION} has another checksum than {LIBRARY_SHA256}: {sum}"
        );
        Ok(())
    })?;
    Ok(folder.join(LIBRARY))
}

/// Builds the launcher once per version of its sources, in a target folder of its own: a test runs under a cargo that
/// may hold the lock of the shared one.
fn build_launcher(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.entry(&format!("clickhouse-launcher-{}", source_hash(Path::new(LAUNCHER_CRATE))?), |making| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = making.folder.join("target");
        run(Command::new(cargo)
            .args(["build", "--quiet", "--package", LAUNCHER, "--profile", "local", "--target-dir"])
            .arg(&target)
            .current_dir(LAUNCHER_CRATE)
            // The library is loaded at run time, which a statically linked program can't do.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET"))?;
        std::fs::rename(target.join("local").join(LAUNCHER), making.folder.join(LAUNCHER))?;
        Ok(std::fs::remove_dir_all(target)?)
    })?;
    Ok(folder.join(LAUNCHER))
}

/// Over the names and contents of the crate's files, as 16 hexadecimal digits.
fn source_hash(crate_folder: &Path) -> Result<String> {
    let mut files = vec![crate_folder.join("Cargo.toml")];
    for entry in std::fs::read_dir(crate_folder.join("src")).context("the launcher's sources")? {
        files.push(entry?.path());
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(std::fs::read(&file)?);
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
