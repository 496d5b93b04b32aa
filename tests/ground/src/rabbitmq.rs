//! A real RabbitMQ 4.0, with AMQP and its management API over TLS only.

mod configuration;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use configuration::RabbitMqPorts;

use crate::authority::Authority;
use crate::command::run;
use crate::place::Place;
use crate::ports::PortRange;
use crate::process::{Launch, Lifetime, Process};
use crate::servers::Servers;

const USER: &str = "tapekeeper";
const VHOST: &str = "market";
/// After a crash with many queued messages a start takes 10 s on a quiet machine.
const START_BOUND: Duration = Duration::from_secs(120);
const EPMD_BOUND: Duration = Duration::from_secs(20);
const STOP_BOUND: Duration = Duration::from_secs(30);
const STARTED: &str = "Server startup complete";

/// Fetches RabbitMQ into the cache unless it is there. Blocks; [`RabbitMq::start`] calls it by itself.
pub fn fetch() -> Result<()> {
    Servers::fetch().map(drop)
}

/// How to start a broker. The default is one for a test: loopback, free ports, a temporary folder, its own authority.
#[derive(Clone)]
pub struct RabbitMqOptions {
    /// Where data, configuration and logs are kept; temporary when `None`.
    pub data_dir: Option<PathBuf>,
    /// Where AMQPS, management and streams listen.
    pub bind: IpAddr,
    /// The ports; a free range on loopback when `None`.
    pub ports: Option<RabbitMqPorts>,
    /// Words before each program, such as `nsenter --net=/run/netns/NAME`.
    pub command_prefix: Vec<String>,
    /// Who signs the certificate; an authority kept in the data folder when `None`.
    pub authority: Option<Authority>,
    /// Names of the certificate besides `localhost`, the bind address and 127.0.0.1.
    pub names: Vec<String>,
    /// The administrator's password; random, and kept in the data folder, when `None`.
    pub password: Option<String>,
    /// The virtual host made at the first start.
    pub vhost: String,
    /// Whether the broker outlives the handle.
    pub lifetime: Lifetime,
    /// Lines put at the end of `rabbitmq.conf`, for example `vm_memory_high_watermark.absolute = 64MB`.
    pub extra_configuration: Vec<String>,
}

impl Default for RabbitMqOptions {
    fn default() -> Self {
        Self {
            data_dir: None,
            bind: Ipv4Addr::LOCALHOST.into(),
            ports: None,
            command_prefix: Vec::new(),
            authority: None,
            names: Vec::new(),
            password: None,
            vhost: VHOST.to_owned(),
            lifetime: Lifetime::WithHandle,
            extra_configuration: Vec::new(),
        }
    }
}

/// A running broker.
pub struct RabbitMq {
    // First, so that they are dropped, and the processes with them, before their folder and their ports.
    broker: Option<Process>,
    epmd: Option<Process>,
    servers: Servers,
    options: RabbitMqOptions,
    ports: RabbitMqPorts,
    authority: Authority,
    password: String,
    place: Place,
    _range: Option<PortRange>,
}

impl RabbitMq {
    /// Starts a broker and waits until it serves.
    ///
    /// A detached broker that already runs in this data folder is taken over as it is, its old options included.
    pub async fn start(options: RabbitMqOptions) -> Result<Self> {
        let mut this = tokio::task::spawn_blocking(move || Self::prepare(options)).await??;
        if this.options.lifetime == Lifetime::Detached {
            (this.epmd, this.broker) = this.attach_to_processes()?;
            if this.epmd.is_some() && this.broker.is_some() {
                this.wait_until_it_serves().await?;
                return Ok(this);
            }
            // Half of it may still run, and would hold the ports and the data: `restart` ends it.
        }
        this.restart().await?;
        Ok(this)
    }

    /// The detached broker that runs in the data folder of `options`, or `None`.
    pub async fn attach(options: RabbitMqOptions) -> Result<Option<Self>> {
        ensure!(options.data_dir.is_some() && options.ports.is_some(), "attaching needs a data folder and ports");
        let mut this = tokio::task::spawn_blocking(move || Self::prepare(options)).await??;
        (this.epmd, this.broker) = this.attach_to_processes()?;
        Ok((this.epmd.is_some() || this.broker.is_some()).then_some(this))
    }

    fn prepare(options: RabbitMqOptions) -> Result<Self> {
        let servers = Servers::fetch()?;
        let place = Place::open(options.data_dir.as_deref(), "rabbitmq")?;
        let (range, ports) = match options.ports {
            Some(ports) => (None, ports),
            None => {
                let range = PortRange::claim()?;
                let ports = RabbitMqPorts::from_base(range.base());
                (Some(range), ports)
            }
        };
        let authority = place.authority(options.authority.as_ref())?;
        let password = place.password(options.password.as_deref())?;
        for folder in ["database", "log", "home"] {
            std::fs::create_dir_all(place.path().join(folder))?;
        }
        Ok(Self { broker: None, epmd: None, servers, options, ports, authority, password, place, _range: range })
    }

    fn attach_to_processes(&self) -> Result<(Option<Process>, Option<Process>)> {
        Ok((Process::attach(&self.epmd_launch()?), Process::attach(&self.broker_launch())))
    }

    /// Ends what still runs and starts again on the same data and ports.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.place.certificate(&self.authority, self.options.bind, &self.options.names)?;
        configuration::write(self.place.path(), &self.options, self.ports, USER, &self.password)?;
        let mut epmd = Process::start(&self.epmd_launch()?)?;
        let port = self.ports.epmd;
        epmd.wait_until(EPMD_BOUND, |epmd| epmd.listens_on(port)).await?;
        self.epmd = Some(epmd);
        self.broker = Some(Process::start(&self.broker_launch())?);
        self.wait_until_it_serves().await
    }

    /// Makes sure that a crash after this costs no queue. RabbitMQ 4.0.5, killed within seconds of a quorum queue's declaration, has lost the queue's
    /// registration ("was not found on this node"), and the queue comes back without a leader; a clean restart writes the registration to disk.
    pub async fn write_down_what_was_declared(&mut self) -> Result<()> {
        self.restart().await
    }

    async fn wait_until_it_serves(&mut self) -> Result<()> {
        let broker = self.broker.as_mut().context("not started")?;
        let ports = self.ports;
        broker
            .wait_until(START_BOUND, |broker| {
                broker.listens_on(ports.amqps) && broker.listens_on(ports.management) && broker.output().contains(STARTED)
            })
            .await
    }

    /// A clean end: SIGTERM, and SIGKILL after 30 s.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut broker) = self.broker.take() {
            broker.stop(STOP_BOUND).await?;
        }
        self.stop_epmd().await
    }

    /// A crash: SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut broker) = self.broker.take() {
            broker.kill().await?;
        }
        self.stop_epmd().await
    }

    async fn stop_epmd(&mut self) -> Result<()> {
        match self.epmd.take() {
            Some(mut epmd) => epmd.kill().await,
            None => Ok(()),
        }
    }

    /// Whether the broker's process runs.
    pub fn is_running(&mut self) -> bool {
        self.broker.as_mut().is_some_and(Process::is_running)
    }

    /// The broker's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.broker.as_ref().map(Process::pid)
    }

    /// `amqps://USER:PASSWORD@HOST:PORT/VHOST`.
    pub fn amqps_uri(&self) -> String {
        format!("amqps://{USER}:{}@{}:{}/{}", self.password, self.host(), self.ports.amqps, percent_encoded(&self.options.vhost))
    }

    /// `https://HOST:PORT`, without a path: the API lies under `/api`.
    pub fn management_uri(&self) -> String {
        format!("https://{}:{}", self.host(), self.ports.management)
    }

    /// The host that the URIs name: `localhost`, or the bind address.
    pub fn host(&self) -> String {
        crate::place::host_of(self.options.bind)
    }

    /// The ports it listens on.
    pub fn ports(&self) -> RabbitMqPorts {
        self.ports
    }

    /// The administrator's name.
    pub fn user(&self) -> &str {
        USER
    }

    /// The administrator's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The virtual host that the administrator may do everything in.
    pub fn vhost(&self) -> &str {
        &self.options.vhost
    }

    /// Who signed the certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The folder of data, configuration and logs.
    pub fn data_dir(&self) -> &Path {
        self.place.path()
    }

    /// Where the broker's log is.
    pub fn log(&self) -> PathBuf {
        self.place.path().join("rabbitmq.log")
    }

    /// Runs `rabbitmqctl` with `args` against this broker and gives its output. Takes a second or two: it is Erlang too.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        let mut words = self.options.command_prefix.clone();
        words.push(self.servers.rabbitmq_tool("rabbitmqctl").display().to_string());
        words.extend(args.iter().map(|&word| word.to_owned()));
        let environment = self.environment();
        tokio::task::spawn_blocking(move || run(Command::new(&words[0]).args(&words[1..]).envs(environment))).await?
    }

    fn environment(&self) -> Vec<(String, String)> {
        configuration::environment(self.place.path(), &self.servers.erlang_bin(), self.ports)
    }

    fn epmd_launch(&self) -> Result<Launch> {
        let args = ["-port", &self.ports.epmd.to_string(), "-address", "127.0.0.1"].map(str::to_owned).to_vec();
        Ok(self.launch("epmd", self.servers.epmd()?, args))
    }

    fn broker_launch(&self) -> Launch {
        self.launch("rabbitmq", self.servers.rabbitmq_tool("rabbitmq-server"), Vec::new())
    }

    fn launch(&self, name: &str, program: PathBuf, args: Vec<String>) -> Launch {
        Launch {
            name: name.to_owned(),
            program,
            args,
            env: self.environment(),
            command_prefix: self.options.command_prefix.clone(),
            folder: Some(self.place.path().to_owned()),
            log: self.place.path().join(format!("{name}.log")),
            pidfile: self.place.path().join(format!("{name}.pid")),
            lifetime: self.options.lifetime,
        }
    }
}

// Written out so that the password stays out of logs and of failed assertions.
impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RabbitMq").field("pid", &self.pid()).field("ports", &self.ports).field("data_dir", &self.data_dir()).finish_non_exhaustive()
    }
}

/// A virtual host as it stands in an AMQP URI's path, where `/` is `%2F`.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
