//! What a test can make the venue do while it runs. New misbehaviour starts here, as a variant.

use serde::{Deserialize, Serialize};

use crate::options::Rate;

/// One command of a test's script. As JSON: `{"command": "close", "code": 1001}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Begins every symbol's tape now, whoever listens.
    Start {},
    /// Holds the tape.
    Pause {},
    /// Lets a held tape run on from where it stood.
    Resume {},
    /// Changes the pace: `{"command": "rate", "rate": 500}` or `"max"`.
    Rate {
        /// The new pace.
        rate: Rate,
    },
    /// Closes every connection.
    Close {
        /// The close code on the wire.
        #[serde(default = "going_away")]
        code: u16,
        /// The reason on the wire.
        #[serde(default)]
        reason: String,
        /// Whether the venue's notice of a planned shutdown goes before it.
        #[serde(default)]
        announce: bool,
    },
    /// Cuts every connection without a close frame.
    Drop {},
    /// Stops sending market data on every connection, while sockets stay open and the tape runs on.
    Mute {
        /// Whether pings go on.
        #[serde(default = "yes")]
        pings: bool,
    },
    /// Ends a mute. What ran past meanwhile is not sent again.
    Unmute {},
}

fn going_away() -> u16 {
    1001
}

fn yes() -> bool {
    true
}
