//! How fast the venue can feed one TLS client. The client only decrypts and counts bytes, on a runtime of its own, so
//! that the processor time of each side can be told apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tapekeeper_test_venue::{Rate, Seeded, Source, StartMode, TestCertificate, Venue, VenueOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Measures and prints.
pub(crate) async fn run(time: Duration) -> anyhow::Result<()> {
    let certificate = TestCertificate::for_binance()?;
    let seeded = Seeded {
        seed: 1,
        symbols: ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"].map(str::to_owned).to_vec(),
        quotes_per_trade: 1,
        length: None,
        start: StartMode::OnFirstSubscriber,
    };
    let mut options = VenueOptions::on_loopback(certificate.certificate_pem, certificate.key_pem, Source::Seeded(seeded));
    options.rate = Rate::Max;

    let (started, address) = std::sync::mpsc::channel();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let venue_thread = std::thread::spawn(move || -> anyhow::Result<(u64, Duration)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let venue = Venue::start(options).await?;
            started.send(venue.addr())?;
            let _ = (&mut stopped).await;
            let truth = venue.truth();
            Ok((truth.trades_heard + truth.quotes_heard, thread_time()?))
        })
    });
    let address = address.recv().context("the venue did not start")?;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.ca_pem.as_bytes())?)?;
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from("stream.binance.com")?;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, socket).await?;
    let streams: Vec<String> = ["btcusdt", "ethusdt", "solusdt", "xrpusdt"].iter().map(|s| format!("{s}@trade/{s}@bookTicker")).collect();
    let request = format!(
        "GET /stream?streams={} HTTP/1.1\r\nHost: stream.binance.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        streams.join("/")
    );
    stream.write_all(request.as_bytes()).await?;

    let mut buffer = vec![0; 256 << 10];
    ensure!(stream.read(&mut buffer).await? > 0, "the venue refused the client");
    let (begin, mut bytes) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        bytes += stream.read(&mut buffer).await? as u64;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let _ = stop.send(());
    let (frames, busy) = venue_thread.join().map_err(|_| anyhow::anyhow!("the venue panicked"))??;
    println!(
        "{:.0} frames/s, {:.1} MB/s to one TLS client over {elapsed:.1} s; the venue's thread: {:.2} s busy, {:.2} µs a frame, \
         {:.0} frames/s on a whole core",
        frames as f64 / elapsed,
        bytes as f64 / elapsed / 1e6,
        busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 / frames as f64,
        frames as f64 / busy.as_secs_f64(),
    );
    Ok(())
}

/// Processor time of the calling thread, from the kernel's `schedstat` (nanoseconds on a processor come first).
fn thread_time() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
