//! Building the product as it ships: static programs, one image each, named by their contents.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tapekeeper_test_ground::kubernetes::Cluster;

use crate::layout::workspace;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "local";

/// The operator's package, program and image.
pub(crate) const OPERATOR: Program = Program { name: "tapekeeper-operator", containerfile: "operator/Containerfile" };
/// The workers' package, program and image.
pub(crate) const WORKER: Program = Program { name: "tapekeeper-worker", containerfile: "workers/Containerfile" };
/// The tests' venue, which is no part of an image.
pub(crate) const VENUE: &str = "tapekeeper-test-venue";

/// A program of the product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    containerfile: &'static str,
}

/// Where a built program lies.
pub(crate) fn built(package: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join(TARGET).join(PROFILE).join(package)
}

/// Builds the programs of `packages`, statically linked, so that they run in an empty image.
pub(crate) fn build(packages: &[&str]) -> anyhow::Result<()> {
    cargo("build", packages.iter().flat_map(|package| ["--package", package]).map(OsStr::new)).map(drop)
}

/// Runs an example of `package` as it would be built for an image, and gives what it printed.
pub(crate) fn run_example(package: &str, example: &str, arguments: &[PathBuf]) -> anyhow::Result<String> {
    let options = ["--package", package, "--example", example, "--"].into_iter().map(OsStr::new);
    cargo("run", options.chain(arguments.iter().map(|argument| argument.as_os_str())))
}

fn cargo<'a>(what: &str, arguments: impl Iterator<Item = &'a OsStr>) -> anyhow::Result<String> {
    // The build ends with the one who waits for it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        .arg(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args([what, "--quiet", "--profile", PROFILE, "--target", TARGET])
        .args(["--config", &format!("target.{TARGET}.rustflags=[\"-C\",\"target-feature=+crt-static\"]")])
        .args(arguments)
        .current_dir(workspace())
        // Both would win over the configuration above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null());
    let output = command.output().context("cargo")?;
    if !output.status.success() {
        bail!("cargo {what}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds and loads the image of `program` unless the node has it, and gives its tag.
pub(crate) async fn ensure_image(cluster: &Cluster, program: Program) -> anyhow::Result<String> {
    let binary = built(program.name);
    let tag = tag(&binary)?;
    let reference = format!("ghcr.io/tapekeeper/{}:{tag}", program.name);
    if !cluster.has_image(&reference).await? {
        let context = tempfile::tempdir_in(&cluster.instance.folder)?;
        std::fs::copy(&binary, context.path().join(program.name))?;
        cluster.build_and_load(&reference, &workspace().join(program.containerfile), context.path()).await?;
    }
    Ok(tag)
}

/// The first 12 hexadecimal digits of the SHA-256 of the file.
fn tag(binary: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(binary).with_context(|| binary.display().to_string())?;
    Ok(Sha256::digest(bytes)[..6].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_from_the_contents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(tag(&file).unwrap(), "ba7816bf8f01");
    }
}
