//! A role as a process: settings are read and checked, the role runs until it is told to end, and its end becomes an exit status.

use std::path::Path;
use std::process::ExitCode;

use tapekeeper_batcher::BatcherError;
use tapekeeper_connector::ConnectorError;
use tapekeeper_contract::settings::Settings;
use tapekeeper_runtime::shutdown::Shutdown;
use tapekeeper_runtime::{settings, telemetry, tls};

/// The settings, or what they refer to, are refused: the same again can't go better.
const REFUSED: u8 = 2;

/// Why a role did not run, or did not end well.
pub(crate) trait RoleError: std::fmt::Display {
    /// A word for logs.
    fn reason(&self) -> &'static str;
    /// Whether the settings, or files that they name, are at fault.
    fn is_permanent(&self) -> bool;
}

impl RoleError for ConnectorError {
    fn reason(&self) -> &'static str {
        self.reason()
    }

    fn is_permanent(&self) -> bool {
        self.is_permanent()
    }
}

impl RoleError for BatcherError {
    fn reason(&self) -> &'static str {
        self.reason()
    }

    fn is_permanent(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::File(_) | Self::Credentials(_) | Self::Database(_))
    }
}

/// Runs the role `name` with the settings in `file`. Exit status: 0 after a clean end, 1 when the role failed, 2 when it was refused before it began.
pub(crate) fn run<S, F, E>(name: &'static str, file: &Path, role: impl FnOnce(S, Shutdown) -> F) -> ExitCode
where
    S: Settings,
    F: Future<Output = Result<(), E>>,
    E: RoleError,
{
    tls::install_provider();
    telemetry::init(name);
    let settings: S = match settings::load(file) {
        Ok(settings) => settings,
        Err(error) => return fail(REFUSED, error.reason(), &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, "RuntimeUnavailable", &error),
    };
    match runtime.block_on(async { role(settings, Shutdown::on_signals()).await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(if error.is_permanent() { REFUSED } else { 1 }, error.reason(), &error),
    }
}

/// Said twice: as a line of the log, and in words on standard error, where a terminal and the pod's termination message show it.
fn fail(status: u8, reason: &str, error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!(reason, "{error}");
    eprintln!("{error}");
    ExitCode::from(status)
}
