//! The command line. Every flag of `run` has an environment variable, which is how the chart sets it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tapekeeper_runtime::{telemetry, tls};

use crate::controller::Scope;
use crate::installation::Installation;
use crate::{plan_file, run};

const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps a complete tape: brings Pipelines, TickSinks and ExchangeFeeds to what their manifests say.
#[derive(Debug, Parser)]
#[command(name = "tapekeeper-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator until SIGTERM.
    Run(RunArguments),
    /// Prints the CustomResourceDefinitions.
    Crd {
        /// Writes them into this folder instead, a file each.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Asks an address, such as the operator's /readyz, and succeeds when it answers well. The image has no other program that could.
    Probe {
        /// The address, `http://HOST:PORT/PATH`.
        url: String,
    },
    /// Prints what the operator would do for the manifests of a file, and touches nothing. It needs no cluster.
    Plan {
        /// The manifests: YAML, several documents allowed; `-` reads the standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The namespace of objects that name none.
        #[arg(short, long, default_value = "default")]
        namespace: String,
        #[command(flatten)]
        workers: WorkerArguments,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    workers: WorkerArguments,
    /// The namespaces to watch, separated by commas. None: all.
    #[arg(long, env = "TAPEKEEPER_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    watch_namespaces: Vec<String>,
    /// The port of /healthz, /readyz, /status and /metrics.
    #[arg(long, env = "TAPEKEEPER_HTTP_PORT", default_value_t = 8080)]
    http_port: u16,
}

#[derive(Debug, Args)]
struct WorkerArguments {
    /// The workers' image.
    #[arg(long, env = "TAPEKEEPER_WORKER_IMAGE", default_value = concat!("tapekeeper-worker:", env!("CARGO_PKG_VERSION")), value_name = "IMAGE")]
    worker_image: String,
    /// When to pull it.
    #[arg(long, env = "TAPEKEEPER_WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    worker_image_pull_policy: String,
    /// Secrets to pull it with, separated by commas. They must exist in the namespaces of feeds and sinks.
    #[arg(long, env = "TAPEKEEPER_WORKER_IMAGE_PULL_SECRETS", value_delimiter = ',', value_name = "NAMES")]
    worker_image_pull_secrets: Vec<String>,
    /// A PEM file of certificate authorities beside the public ones, for the operator and for every worker.
    #[arg(long, env = "TAPEKEEPER_EXTRA_CA_FILE", value_name = "FILE")]
    extra_ca_file: Option<PathBuf>,
}

impl WorkerArguments {
    fn installation(&self) -> Result<Installation, String> {
        let extra_ca = self.extra_ca_file.as_deref().filter(|file| !file.as_os_str().is_empty()).map(read_authorities).transpose()?;
        Ok(Installation {
            image: self.worker_image.clone(),
            pull_policy: self.worker_image_pull_policy.clone(),
            pull_secrets: without_empty(&self.worker_image_pull_secrets),
            extra_ca,
        })
    }
}

fn read_authorities(file: &Path) -> Result<String, String> {
    let pem = std::fs::read_to_string(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    // What no worker could read is refused here, once and early.
    tls::authorities(Some(&pem)).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(pem)
}

fn without_empty(list: &[String]) -> Vec<String> {
    list.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => serve(&arguments),
        Command::Crd { write } => definitions(write.as_deref()),
        Command::Probe { url } => probe(&url),
        Command::Plan { file, namespace, workers } => plan(&file, &namespace, &workers),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tapekeeper-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &RunArguments) -> Result<ExitCode, String> {
    tls::install_provider();
    telemetry::init("tapekeeper-operator");
    let namespaces = without_empty(&arguments.watch_namespaces);
    let scopes = if namespaces.is_empty() { vec![Scope::Cluster] } else { namespaces.into_iter().map(Scope::Namespace).collect() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(run::run(arguments.workers.installation()?, scopes, arguments.http_port)).map(|()| ExitCode::SUCCESS)
}

fn probe(url: &str) -> Result<ExitCode, String> {
    tls::install_provider();
    let client = tls::http_client(tls::client_config(None).map_err(|error| error.to_string())?, PROBE_TIMEOUT).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async { client.get(url).send().await?.error_for_status()?.text().await });
    println!("{}", answer.map_err(|error| error.to_string())?.trim());
    Ok(ExitCode::SUCCESS)
}

fn definitions(folder: Option<&Path>) -> Result<ExitCode, String> {
    let files = tapekeeper_crds::manifest::files().map_err(|error| error.to_string())?;
    let Some(folder) = folder else {
        println!("{}", files.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n"));
        return Ok(ExitCode::SUCCESS);
    };
    for (name, text) in files {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(file: &Path, namespace: &str, workers: &WorkerArguments) -> Result<ExitCode, String> {
    tls::install_provider();
    let text = if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| format!("can't read {}: {error}", file.display()))?;
    let plan = plan_file::plan(&text, namespace, &workers.installation()?).map_err(|error| error.to_string())?;
    print!("{}", plan.text);
    Ok(if plan.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
