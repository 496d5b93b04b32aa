//! The venues, by name, with the hosts that are their own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A venue that Tapekeeper can read. Its API name is the variant's (`Binance`); [`Venue::tape_name`] is what the tape and the command line say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Venue {
    /// Binance spot.
    Binance,
}

impl Venue {
    /// Every venue, in the order in which messages list them.
    pub const ALL: &'static [Self] = &[Self::Binance];

    /// The name in manifests.
    #[must_use]
    pub const fn api_name(self) -> &'static str {
        match self {
            Self::Binance => "Binance",
        }
    }

    /// The name in the tape, in routing keys and on the command line.
    #[must_use]
    pub const fn tape_name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
        }
    }

    /// The venue of that [tape name](Self::tape_name).
    #[must_use]
    pub fn from_tape_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|venue| venue.tape_name() == name)
    }

    /// Where its stream is read unless a manifest says otherwise.
    #[must_use]
    pub const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Binance => "wss://stream.binance.com:9443",
        }
    }

    /// The hosts that serve this venue's public stream. An endpoint elsewhere is not this venue.
    ///
    /// Source: the venue's own documentation of its WebSocket market streams.
    #[must_use]
    pub const fn stream_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Binance => &["stream.binance.com", "data-stream.binance.vision"],
        }
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.api_name())
    }
}
