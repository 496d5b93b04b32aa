//! How a process is told to end.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A shared flag that is raised once. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A flag that only [`trigger`](Self::trigger) raises.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that SIGTERM and SIGINT raise. A second signal ends the process at once with status 130.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn on_signals() -> Self {
        let shutdown = Self::new();
        let raised = shutdown.clone();
        let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        tokio::spawn(async move {
            let (mut terminate, mut interrupt) = match (terminate, interrupt) {
                (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(%error, "signals can't be listened to: SIGTERM ends this process without draining");
                    return;
                }
            };
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "ending: draining first");
            raised.trigger();
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "ending now: a second signal came before draining was done");
            std::process::exit(130);
        });
        shutdown
    }

    /// A flag that this one raises, and that can be raised on its own without raising this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Completes when the flag is raised; at once when it already is.
    pub fn triggered(&self) -> impl Future<Output = ()> + Send + 'static {
        self.token.clone().cancelled_owned()
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Raises the flag.
    pub fn trigger(&self) {
        self.token.cancel();
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_parent_ends_its_child_but_not_the_other_way_round() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.trigger();
        assert!(first.is_triggered() && !second.is_triggered() && !parent.is_triggered());
        parent.trigger();
        second.triggered().await;
    }
}
