//! Where things lie: the workspace, the cache, and the files of an instance that several commands read.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use tapekeeper_test_ground::Cache;
use tapekeeper_test_ground::kubernetes::binaries::Binaries;
use tapekeeper_test_ground::kubernetes::{Description, Instance, InstanceName};

/// The folder of the workspace's Cargo.toml.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The file that describes a running instance to tests and to later commands.
pub(crate) fn description_file(instance: &Instance) -> PathBuf {
    instance.path("instance.json")
}

/// The instance called `name` and its description.
///
/// # Errors
///
/// Fails when it was never brought up.
pub(crate) fn described(name: &InstanceName) -> anyhow::Result<(Instance, Description)> {
    let missing = || format!("there is no instance `{name}`: start one with `cargo local up`");
    let instance = Instance::open(&Cache::locate()?, name)?.with_context(missing)?;
    let description = Description::read(&description_file(&instance)).with_context(missing)?;
    Ok((instance, description))
}

/// The instance called `name`, when it has one.
///
/// # Errors
///
/// Fails when the cache can't be found.
pub(crate) fn instance(name: &InstanceName) -> anyhow::Result<Option<Instance>> {
    Instance::open(&Cache::locate()?, name)
}

/// Runs kubectl on the instance in the place of this program, with its input and output.
pub(crate) fn kubectl(name: &InstanceName, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let cache = Cache::locate()?;
    let instance = Instance::open(&cache, name)?.with_context(|| format!("there is no instance `{name}`"))?;
    let status =
        Command::new(Binaries::of(&cache).program("kubectl")).args(arguments).env("KUBECONFIG", instance.kubeconfig()).status().context("kubectl")?;
    Ok(exit_code(status))
}

/// The exit code to hand on: of the program, or 128 plus the signal that ended it.
pub(crate) fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
