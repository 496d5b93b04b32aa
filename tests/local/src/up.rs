//! `cargo local up`.

use std::time::Instant;

use anyhow::Context;
use clap::Args;
use tapekeeper_test_ground::kubernetes::binaries::{Binaries, Build};
use tapekeeper_test_ground::kubernetes::{Cluster, DEBIAN_PACKAGES, Description, Instance, InstanceName, Reach, network};
use tapekeeper_test_ground::packages::ensure_debian;
use tapekeeper_test_ground::{Authority, Cache, clickhouse, rabbitmq};

use crate::product::{OPERATOR, VENUE, WORKER};
use crate::progress::{blocking_step, step, warn_loudly};
use crate::venues::{HOSTS, Venues};
use crate::{ground, layout, product, quickstart, venues};

/// What the certificate authority of an instance is called.
pub(crate) const AUTHORITY: &str = "Tapekeeper local cluster";

/// What to start.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The instance's name.
    #[arg(long, default_value = "local")]
    pub(crate) name: InstanceName,
    /// Which venues the cluster sees; without it the real ones when they can be reached, else the tape.
    #[arg(long)]
    pub(crate) venues: Option<Venues>,
    /// Stop when the chart is installed.
    #[arg(long)]
    pub(crate) no_quickstart: bool,
    /// Stop when Kubernetes, the broker, the database and the venues are there, without building the product.
    #[arg(long, conflicts_with = "no_quickstart")]
    pub(crate) only_cluster: bool,
}

/// Starts everything that isn't running.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    eprintln!("Tapekeeper's local cluster `{}`", options.name);
    let cache = Cache::locate()?;
    prepare_machine(&cache, options).await?;

    let instance = Instance::open_or_create(&cache, &options.name)?;
    let _only_one = cache.lock(&format!("instance-{}", options.name))?;
    let authority = Authority::load_or_create(&instance.path("authority"), AUTHORITY)?;
    let cluster = Cluster::prepare(&instance, &Binaries::of(&cache), &authority)?;
    let venues = choose_venues(&instance, options.venues).await?;

    let mut names = vec![ground::BROKER.to_owned(), ground::DATABASE.to_owned()];
    let reach = match venues {
        Venues::Live => Reach::Internet,
        Venues::Tape => {
            names.extend(HOSTS.map(str::to_owned));
            Reach::MachineOnly
        }
    };
    let kubernetes = async {
        tokio::try_join!(
            step("the API server, etcd, the controllers, the scheduler", cluster.ensure_control_plane()),
            step("containerd", cluster.ensure_containerd()),
        )?;
        tokio::try_join!(step("DNS", cluster.ensure_dns(&names, reach)), step("the node is ready", cluster.ensure_node()))?;
        anyhow::Ok(())
    };
    let venue = async {
        if venues == Venues::Live {
            instance.stop_part("venue").await?;
            return Ok(None);
        }
        step("the tests' venue plays its tape", venues::ensure_tape(&instance, &authority, product::built(VENUE))).await.map(Some)
    };
    let ((), (broker, broker_management), clickhouse, venue) = tokio::try_join!(
        kubernetes,
        step("RabbitMQ", ground::ensure_broker(&instance, &authority)),
        step("ClickHouse", ground::ensure_database(&instance, &authority)),
        venue,
    )?;

    let mut description = Description {
        name: options.name.to_string(),
        kubeconfig: instance.kubeconfig(),
        kubectl: cluster.binaries.program("kubectl"),
        helm: cluster.binaries.program("helm"),
        command_prefix: instance.command_prefix(),
        ca_certificate: instance.path("authority").join("ca.pem"),
        broker,
        broker_management,
        clickhouse,
        venue,
        operator_tag: String::new(),
        worker_tag: String::new(),
        chart: layout::workspace().join("charts/tapekeeper"),
        audit_log: instance.audit_log(),
        frames: std::env::var_os("TAPEKEEPER_FRAMES").map(Into::into),
    };
    description.write(&layout::description_file(&instance))?;
    if options.only_cluster {
        eprintln!("  the cluster is up after {:.1} s", started.elapsed().as_secs_f32());
        println!("export KUBECONFIG={}", description.kubeconfig.display());
        return Ok(());
    }

    (description.operator_tag, description.worker_tag) = tokio::try_join!(
        step("the operator's image", product::ensure_image(&cluster, OPERATOR)),
        step("the workers' image", product::ensure_image(&cluster, WORKER)),
    )?;
    description.write(&layout::description_file(&instance))?;
    step("the chart", quickstart::install_chart(&instance, &description)).await?;
    if !options.no_quickstart {
        step("the secrets and manifests/quickstart", quickstart::apply(&cluster, &description)).await?;
        let rows = step("rows arrive in tape.ticks", quickstart::wait_for_rows(&instance, &description)).await?;
        quickstart::say_what_runs(options, venues, &description, &rows);
    }
    eprintln!("  up after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Fetches and builds what doesn't belong to one instance.
async fn prepare_machine(cache: &Cache, options: &Options) -> anyhow::Result<()> {
    blocking_step("Debian packages", || ensure_debian(&DEBIAN_PACKAGES)).await?;
    for build in Build::ALL {
        if !build.is_there(cache) {
            step(format!("building {}", build.what()), build.ensure(cache)).await?;
        }
    }
    blocking_step("fetching RabbitMQ and ClickHouse", || {
        rabbitmq::fetch()?;
        clickhouse::fetch()
    })
    .await?;
    let mut packages = Vec::new();
    if !options.only_cluster {
        packages.extend(["tapekeeper-operator", "tapekeeper-worker"]);
    }
    if options.venues != Some(Venues::Live) {
        packages.push(VENUE);
    }
    if packages.is_empty() {
        return Ok(());
    }
    blocking_step(format!("building {}", packages.join(", ")), move || product::build(&packages)).await
}

/// Makes the network, and finds out whether the real venues can be reached when that matters.
async fn choose_venues(instance: &Instance, asked: Option<Venues>) -> anyhow::Result<Venues> {
    if asked != Some(Venues::Tape) {
        step("the network, with a way to the internet", network::ensure(instance, Reach::Internet)).await?;
        let probed = venues::probe_live(instance).await;
        match (asked, probed) {
            (Some(_), probed) => return venues::insist(probed).map(|()| Venues::Live),
            (None, Ok(())) => return Ok(Venues::Live),
            (None, Err(why)) => warn_loudly(&venues::tape_instead(&why)),
        }
    }
    step("the network", network::ensure(instance, Reach::MachineOnly)).await.context("the network namespace")?;
    Ok(Venues::Tape)
}
