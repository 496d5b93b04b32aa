//! Which venues the cluster sees: the real ones, or the tests' own under their names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tapekeeper_test_ground::Authority;
use tapekeeper_test_ground::kubernetes::{Instance, Part, Venue, write_whole};

/// The names that the tests' venue answers to.
pub(crate) const HOSTS: [&str; 3] = ["stream.binance.com", "data-stream.binance.vision", "api.binance.com"];

/// What tells whether the real venues can be reached: this host and port.
const PROBED: (&str, u16) = ("stream.binance.com", 9443);
const PROBE: Duration = Duration::from_secs(5);
const CONTROL_PORT: u16 = 9900;
const READY: Duration = Duration::from_secs(30);

/// Instruments on the tape.
const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT,BNBUSDT,XRPUSDT,ADAUSDT,DOGEUSDT,AVAXUSDT,LINKUSDT,LTCUSDT";

/// What a user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Venues {
    /// The real ones, or nothing.
    Live,
    /// The tests' venue under their names.
    Tape,
}

/// Whether a TLS connection from inside the namespace to the real venue succeeds; the error says at which step it failed.
pub(crate) async fn probe_live(instance: &Instance) -> anyhow::Result<()> {
    let namespace = instance.network_namespace();
    let (host, port) = PROBED;
    let probe = async {
        let address = tokio::net::lookup_host((host, port))
            .await
            .with_context(|| format!("the name {host}"))?
            .find(SocketAddr::is_ipv4)
            .with_context(|| format!("{host} has no IPv4 address"))?;
        // A thread of its own: entering a network namespace is for the thread, and there is no way back but its end.
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = answer.send(shake_hands(&namespace, host, address));
        });
        answered.await?
    };
    tokio::time::timeout(PROBE, probe).await.with_context(|| format!("no answer within {} s", PROBE.as_secs()))?
}

fn shake_hands(namespace: &std::path::Path, host: &'static str, address: SocketAddr) -> anyhow::Result<()> {
    let file = std::fs::File::open(namespace)?;
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let configuration = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut session = rustls::ClientConnection::new(Arc::new(configuration), host.try_into()?)?;
    let mut socket = std::net::TcpStream::connect_timeout(&address, PROBE).with_context(|| format!("connecting to {host} ({address})"))?;
    socket.set_read_timeout(Some(PROBE))?;
    socket.set_write_timeout(Some(PROBE))?;
    while session.is_handshaking() {
        session.complete_io(&mut socket).with_context(|| format!("TLS with {host} ({address})"))?;
    }
    Ok(())
}

/// Starts the tests' venue with a seeded tape unless it runs already.
pub(crate) async fn ensure_tape(instance: &Instance, authority: &Authority, program: PathBuf) -> anyhow::Result<Venue> {
    let folder = instance.path("venue");
    std::fs::create_dir_all(&folder)?;
    let (certificate, key) = (folder.join("venue.pem"), folder.join("venue.key"));
    if !certificate.exists() {
        let issued = authority.issue(&HOSTS)?;
        write_whole(&key, issued.key_pem.as_bytes())?;
        write_whole(&certificate, issued.cert_pem.as_bytes())?;
    }
    let node = instance.addresses.node();
    let control = format!("{node}:{CONTROL_PORT}");
    let arguments = format!(
        "serve --listen {node}:443 --listen {node}:9443 --certificate {} --key {} --control {control} \
         --rate 1000 seeded --seed 1 --symbols {SYMBOLS} --start on-first-subscriber",
        certificate.display(),
        key.display(),
    );
    let part = Part {
        name: "venue",
        program: program.clone(),
        arguments: arguments.split(' ').map(str::to_owned).collect(),
        environment: Vec::new(),
        configuration: Vec::new(),
    };
    let mut process = instance.ensure_part(&part).await?;
    process.wait_until(READY, |process| [443, 9443, CONTROL_PORT].into_iter().all(|port| process.listens_on(port))).await?;
    Ok(Venue { control: format!("http://{control}"), address: node.to_string(), program, certificate, key, pidfile: instance.pidfile(part.name) })
}

/// What to say when the default had to take the tape.
pub(crate) fn tape_instead(why: &anyhow::Error) -> Vec<String> {
    let (host, port) = PROBED;
    vec![
        format!("The real venue ({host}:{port}) can't be reached from here:"),
        format!("{why:#}"),
        String::new(),
        "THE TICKS BELOW ARE NOT MARKET DATA. The tests' venue plays a seeded tape under".to_owned(),
        "the venues' names. On a machine with internet access: cargo local up --venues live".to_owned(),
    ]
}

/// Refuses to go on without the real venues.
pub(crate) fn insist(probed: anyhow::Result<()>) -> anyhow::Result<()> {
    let (host, port) = PROBED;
    match probed {
        Ok(()) => Ok(()),
        Err(why) => bail!("--venues live: {host}:{port} can't be reached from the cluster: {why:#}"),
    }
}
