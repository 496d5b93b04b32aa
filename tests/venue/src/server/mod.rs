//! The sockets: TLS, HTTP, WebSocket.

pub mod frame;

pub(crate) mod connection;
pub(crate) mod http;
pub(crate) mod listener;
pub mod tls;
