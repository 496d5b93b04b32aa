//! What Binance allows its clients. Sources: `README.md`.

use std::time::Duration;

use crate::venues::Limits;

/// The limits of the spot stream.
pub(super) const LIMITS: Limits = Limits {
    streams_per_connection: 1_024,
    streams_per_message: 200,
    // Five messages per second are allowed, pings and pongs among them: half a second leaves room for those.
    message_spacing: Duration::from_millis(500),
    connections: 300,
    connections_within: Duration::from_secs(300),
    connection_life: Duration::from_secs(24 * 3_600),
};
