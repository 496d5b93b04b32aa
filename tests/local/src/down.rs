//! `cargo local down`.

use std::time::Instant;

use tapekeeper_test_ground::kubernetes::{InstanceName, teardown};
use tapekeeper_test_ground::{Authority, Cache};

use crate::progress::step;
use crate::up::AUTHORITY;
use crate::{ground, layout};

/// Stops everything of the instance; with `purge`, forgets it too.
pub(crate) async fn run(name: &InstanceName, purge: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let Some(instance) = layout::instance(name)? else {
        eprintln!("There is no instance `{name}`.");
        return Ok(());
    };
    let cache = Cache::locate()?;
    let _only_one = cache.lock(&format!("instance-{name}"))?;
    eprintln!("Stopping `{name}`");
    let authority = Authority::load_or_create(&instance.path("authority"), AUTHORITY)?;
    step("kubelet, the pods, containerd", teardown::stop_node(&instance)).await?;
    tokio::try_join!(
        step("the tests' venue", instance.stop_part("venue")),
        step("the control plane", teardown::stop_control_plane(&instance)),
        step("RabbitMQ", ground::stop_broker(&instance, &authority)),
        step("ClickHouse", ground::stop_database(&instance, &authority)),
    )?;
    step("mounts, cgroups, the network", teardown::clear(&instance)).await?;
    if purge {
        std::fs::remove_dir_all(&instance.folder)?;
        eprintln!("  ✓ forgot {}", instance.folder.display());
    }
    eprintln!("  down after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}
