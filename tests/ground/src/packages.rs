//! Debian packages that the host itself needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::run;

const ATTEMPTS: u32 = 3;

/// Installs those of `packages` that are missing, without their recommendations.
///
/// Blocks; call it from `spawn_blocking` in asynchronous code. Needs root only when something is missing.
pub fn ensure_debian(packages: &[&str]) -> Result<()> {
    if missing(packages)?.is_empty() {
        return Ok(());
    }
    let _lock = Cache::locate()?.lock("debian-packages")?;
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("these Debian packages are missing, and installing them needs root: apt-get install {}", missing.join(" "));
    }
    if lists_are_missing(Path::new("/var/lib/apt/lists")) {
        update()?;
    }
    let mut attempt = 1;
    loop {
        tracing::info!(packages = missing.join(" "), attempt, "installing Debian packages");
        let mut install = apt_get();
        install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        match run(&mut install) {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => {
                return Err(error).with_context(|| format!("installing {}", missing.join(" ")));
            }
            // Stale lists name versions that the mirror no longer has.
            Err(error) => {
                tracing::warn!(%error, attempt, "installing failed; updating the lists");
                attempt += 1;
                update()?;
            }
        }
    }
}

fn update() -> Result<()> {
    run(apt_get().arg("update")).map(drop).context("updating apt's lists")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args([
        "--quiet",
        "-oDPkg::Lock::Timeout=300",
        "-oAcquire::Retries=3",
        "-oAcquire::http::Timeout=60",
    ]);
    command
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when a package is unknown, and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .context("dpkg-query: is this a Debian machine?")?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(packages.iter().copied().filter(|package| !is_installed(&listing, package)).collect())
}

fn is_installed(listing: &str, package: &str) -> bool {
    listing.lines().any(|line| line.strip_prefix(package).is_some_and(|status| status == " installed"))
}

fn lists_are_missing(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .map_or(true, |mut entries| !entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_installed_state_of_the_very_package_counts() {
        let listing = "runc installed\ncontainerd config-files\nlibrunc-extra installed\n";
        assert!(is_installed(listing, "runc"));
        assert!(!is_installed(listing, "containerd"));
        assert!(!is_installed(listing, "librunc"));
    }

    #[test]
    fn what_is_installed_needs_neither_root_nor_the_network() {
        ensure_debian(&["dpkg", "libc6"]).unwrap();
        assert_eq!(missing(&["dpkg", "no-such-package-anywhere"]).unwrap(), ["no-such-package-anywhere"]);
    }
}
