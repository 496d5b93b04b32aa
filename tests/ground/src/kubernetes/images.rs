//! Images without a registry: built by buildah into an archive, loaded into the node's containerd.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use super::Cluster;
use super::bounded::{find_program, run, run_prepared};

/// The image of each pod's first process.
pub(crate) const PAUSE: &str = "tapekeeper.internal/pause:1";

const LONGEST_BUILD: Duration = Duration::from_secs(300);

impl Cluster {
    /// Whether the node has the image called `reference`.
    ///
    /// # Errors
    ///
    /// Fails when containerd doesn't answer.
    pub async fn has_image(&self, reference: &str) -> anyhow::Result<bool> {
        let listed = self.ctr(&["images", "list", "--quiet"]).await?;
        Ok(listed.lines().any(|line| line == reference))
    }

    /// Builds `containerfile` over the files of the folder `context`, and loads the image as `reference`.
    ///
    /// # Errors
    ///
    /// Fails when the Containerfile is wrong or containerd doesn't answer.
    pub async fn build_and_load(&self, reference: &str, containerfile: &Path, context: &Path) -> anyhow::Result<()> {
        let workspace = tempfile::tempdir_in(&self.instance.folder)?;
        let archive = workspace.path().join("image.tar");
        let mut build = buildah(workspace.path())?;
        build.args(["bud", "--isolation", "chroot", "--tag", reference, "--file"]).arg(containerfile).arg(context);
        run_prepared(build, LONGEST_BUILD).await?;
        let mut save = buildah(workspace.path())?;
        save.args(["push", reference]).arg(format!("docker-archive:{}:{reference}", archive.display()));
        run_prepared(save, LONGEST_BUILD).await?;
        self.ctr(&["images", "import", &archive.to_string_lossy()]).await?;
        Ok(())
    }

    /// Builds and loads the image of each pod's first process.
    pub(super) async fn ensure_pause_image(&self) -> anyhow::Result<()> {
        if self.has_image(PAUSE).await? {
            return Ok(());
        }
        let context = tempfile::tempdir_in(&self.instance.folder)?;
        std::fs::copy(self.binaries.program("pause"), context.path().join("pause"))?;
        let containerfile = context.path().join("Containerfile");
        std::fs::write(&containerfile, "FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT [\"/pause\"]\n")?;
        self.build_and_load(PAUSE, &containerfile, context.path()).await
    }

    async fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let socket = self.instance.containerd_socket();
        let mut all = vec!["--address", socket.to_str().context("the path of a socket")?, "--namespace", "k8s.io"];
        all.extend(arguments);
        run("ctr", all).await
    }
}

/// buildah with all it keeps below `workspace`, so that nothing of a user's own images is touched.
fn buildah(workspace: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(find_program("buildah").context("buildah isn't installed")?);
    command
        .args(["--storage-driver", "vfs", "--root"])
        .arg(workspace.join("storage"))
        .arg("--runroot")
        .arg(workspace.join("run"))
        .env("TMPDIR", workspace);
    Ok(command)
}
