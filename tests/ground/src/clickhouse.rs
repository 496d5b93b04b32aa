//! A real ClickHouse 26.7, with its HTTP interface over TLS.
//!
//! The engine is ClickHouse's own library, started as a server by `tapekeeper-test-clickhouse`. Users come from a
//! file: `CREATE USER` and replicated tables are not to be had here, everything else of one node is.

mod configuration;
mod engine;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use configuration::ClickHousePorts;

use crate::authority::Authority;
use crate::place::Place;
use crate::ports::PortRange;
use crate::process::{Launch, Lifetime, Process};
use crate::servers::Servers;
use crate::tls_front::TlsFront;
use engine::Engine;

const USER: &str = "tapekeeper";
const START_BOUND: Duration = Duration::from_secs(60);
const STOP_BOUND: Duration = Duration::from_secs(20);
const QUERY_BOUND: Duration = Duration::from_secs(120);
/// What the launcher prints when both listeners accept.
const READY: &str = "clickhouse ready\n";

/// Fetches the engine and HAProxy into the cache and builds the launcher, unless they are there. Blocks;
/// [`ClickHouse::start`] calls it by itself.
pub fn fetch() -> Result<()> {
    Servers::fetch()?;
    Engine::fetch().map(drop)
}

/// How to start a database. The default is one for a test: loopback, free ports, a temporary folder, its own authority.
#[derive(Clone)]
pub struct ClickHouseOptions {
    /// Where data, configuration and logs are kept; temporary when `None`.
    pub data_dir: Option<PathBuf>,
    /// Where HTTPS listens. Plain HTTP and the native protocol are on 127.0.0.1 always.
    pub bind: IpAddr,
    /// The ports; a free range on loopback when `None`.
    pub ports: Option<ClickHousePorts>,
    /// Words before each program, such as `nsenter --net=/run/netns/NAME`.
    pub command_prefix: Vec<String>,
    /// Who signs the certificate; an authority kept in the data folder when `None`.
    pub authority: Option<Authority>,
    /// Names of the certificate besides `localhost`, the bind address and 127.0.0.1.
    pub names: Vec<String>,
    /// The administrator's password; random, and kept in the data folder, when `None`.
    pub password: Option<String>,
    /// Whether the database outlives the handle.
    pub lifetime: Lifetime,
    /// XML elements put at the end of the server's configuration.
    pub extra_configuration: Vec<String>,
}

impl Default for ClickHouseOptions {
    fn default() -> Self {
        Self {
            data_dir: None,
            bind: Ipv4Addr::LOCALHOST.into(),
            ports: None,
            command_prefix: Vec::new(),
            authority: None,
            names: Vec::new(),
            password: None,
            lifetime: Lifetime::WithHandle,
            extra_configuration: Vec::new(),
        }
    }
}

/// A running database.
pub struct ClickHouse {
    // First, so that they are dropped, and the processes with them, before their folder and their ports.
    front: Option<Process>,
    server: Option<Process>,
    servers: Servers,
    engine: Engine,
    options: ClickHouseOptions,
    ports: ClickHousePorts,
    authority: Authority,
    http: reqwest::Client,
    password: String,
    place: Place,
    _range: Option<PortRange>,
}

impl ClickHouse {
    /// Starts a database and waits until it serves.
    ///
    /// A detached one that already runs in this data folder is taken over as it is, its old options included.
    pub async fn start(options: ClickHouseOptions) -> Result<Self> {
        let mut this = tokio::task::spawn_blocking(move || Self::prepare(options)).await??;
        if this.options.lifetime == Lifetime::Detached {
            (this.server, this.front) = this.attach_to_processes();
            if this.server.is_some() && this.front.is_some() {
                this.wait_until_it_serves().await?;
                return Ok(this);
            }
            // Half of it may still run, and would hold the ports and the data: `restart` ends it.
        }
        this.restart().await?;
        Ok(this)
    }

    /// The detached database that runs in the data folder of `options`, or `None`.
    pub async fn attach(options: ClickHouseOptions) -> Result<Option<Self>> {
        ensure!(options.data_dir.is_some() && options.ports.is_some(), "attaching needs a data folder and ports");
        let mut this = tokio::task::spawn_blocking(move || Self::prepare(options)).await??;
        (this.server, this.front) = this.attach_to_processes();
        Ok((this.server.is_some() || this.front.is_some()).then_some(this))
    }

    fn prepare(options: ClickHouseOptions) -> Result<Self> {
        let servers = Servers::fetch()?;
        let engine = Engine::fetch()?;
        let place = Place::open(options.data_dir.as_deref(), "clickhouse")?;
        let (range, ports) = match options.ports {
            Some(ports) => (None, ports),
            None => {
                let range = PortRange::claim()?;
                let ports = ClickHousePorts::from_base(range.base());
                (Some(range), ports)
            }
        };
        let authority = place.authority(options.authority.as_ref())?;
        let password = place.password(options.password.as_deref())?;
        let http = authority.http_client()?;
        Ok(Self { front: None, server: None, servers, engine, options, ports, authority, http, password, place, _range: range })
    }

    fn attach_to_processes(&self) -> (Option<Process>, Option<Process>) {
        (Process::attach(&self.server_launch()), Process::attach(&self.front_launch()))
    }

    /// Ends what still runs and starts again on the same data and ports.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.place.certificate(&self.authority, self.options.bind, &self.options.names)?;
        configuration::write(self.place.path(), &self.options, self.ports, USER, &self.password)?;
        self.tls_front().write_configuration()?;
        self.server = Some(Process::start(&self.server_launch())?);
        self.front = Some(Process::start(&self.front_launch())?);
        self.wait_until_it_serves().await
    }

    async fn wait_until_it_serves(&mut self) -> Result<()> {
        let (http, https) = (self.ports.http, self.ports.https);
        let server = self.server.as_mut().context("not started")?;
        server.wait_until(START_BOUND, |server| server.output().contains(READY) && server.listens_on(http)).await?;
        let front = self.front.as_mut().context("not started")?;
        front.wait_until(START_BOUND, |front| front.listens_on(https)).await
    }

    /// A clean end: SIGTERM, and SIGKILL after 20 s.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop_front().await?;
        match self.server.take() {
            Some(mut server) => server.stop(STOP_BOUND).await,
            None => Ok(()),
        }
    }

    /// A crash: SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        let server = match self.server.take() {
            Some(mut server) => server.kill().await,
            None => Ok(()),
        };
        self.stop_front().await?;
        server
    }

    async fn stop_front(&mut self) -> Result<()> {
        match self.front.take() {
            Some(mut front) => front.kill().await,
            None => Ok(()),
        }
    }

    /// Runs `sql` as the administrator and gives the answer's text (`FORMAT TabSeparated` unless `sql` says otherwise).
    ///
    /// Goes over HTTPS, with a connection of its own, and so works for a database in another network namespace too.
    pub async fn query(&self, sql: &str) -> Result<String> {
        let response = self
            .http
            .post(self.https_uri())
            .header("X-ClickHouse-User", USER)
            .header("X-ClickHouse-Key", &self.password)
            .timeout(QUERY_BOUND)
            .body(sql.to_owned())
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("ClickHouse answered {status}: {}", text.trim());
        }
        Ok(text)
    }

    /// Whether the server's process runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Process::is_running)
    }

    /// The server's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// `https://HOST:PORT`: the HTTP interface, for the product and for everybody.
    pub fn https_uri(&self) -> String {
        format!("https://{}:{}", self.host(), self.ports.https)
    }

    /// `http://127.0.0.1:PORT`: the same interface without TLS, for a test's own counting. Only inside its namespace.
    pub fn http_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// The host that the HTTPS URI names: `localhost`, or the bind address.
    pub fn host(&self) -> String {
        crate::place::host_of(self.options.bind)
    }

    /// The ports it listens on.
    pub fn ports(&self) -> ClickHousePorts {
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

    /// Who signed the certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The folder of data, configuration and logs.
    pub fn data_dir(&self) -> &Path {
        self.place.path()
    }

    /// Where the server's log is.
    pub fn log(&self) -> PathBuf {
        self.place.path().join("clickhouse.log")
    }

    fn tls_front(&self) -> TlsFront<'_> {
        TlsFront { folder: self.place.path(), listen: SocketAddr::new(self.options.bind, self.ports.https), backend_port: self.ports.http }
    }

    fn front_launch(&self) -> Launch {
        self.tls_front().launch(&self.servers, &self.options.command_prefix, self.options.lifetime)
    }

    fn server_launch(&self) -> Launch {
        let folder = self.place.path();
        Launch {
            name: "clickhouse".to_owned(),
            program: self.engine.launcher.clone(),
            args: vec![
                self.engine.library.display().to_string(),
                format!("--config-file={}", folder.join("config.xml").display()),
                "--log-level=warning".to_owned(),
            ],
            env: Vec::new(),
            command_prefix: self.options.command_prefix.clone(),
            folder: Some(folder.to_owned()),
            log: folder.join("clickhouse.log"),
            pidfile: folder.join("clickhouse.pid"),
            lifetime: self.options.lifetime,
        }
    }
}

// Written out so that the password stays out of logs and of failed assertions.
impl std::fmt::Debug for ClickHouse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ClickHouse")
            .field("pid", &self.pid())
            .field("ports", &self.ports)
            .field("data_dir", &self.data_dir())
            .finish_non_exhaustive()
    }
}
