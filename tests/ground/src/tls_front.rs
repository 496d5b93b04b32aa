//! The TLS listener of a server that has none of its own: HAProxy, passing bytes through.
//!
//! It works on connections, not on requests: when the server behind it is gone, a client sees a closed connection, as
//! it would from the server itself, and not an answer that the server never gave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process::{Launch, Lifetime};
use crate::servers::Servers;

const FRONT: &str = "tls-front";

/// From where to where.
#[derive(Debug, Clone)]
pub(crate) struct TlsFront<'a> {
    /// The folder with `server.both.pem`, in which the configuration and the log are kept too.
    pub(crate) folder: &'a Path,
    /// Where TLS connections are accepted.
    pub(crate) listen: SocketAddr,
    /// The port on 127.0.0.1 that they are passed on to.
    pub(crate) backend_port: u16,
}

impl TlsFront<'_> {
    /// Writes the configuration.
    pub(crate) fn write_configuration(&self) -> Result<()> {
        Ok(std::fs::write(self.configuration_file(), self.configuration())?)
    }

    /// What to start.
    pub(crate) fn launch(&self, servers: &Servers, command_prefix: &[String], lifetime: Lifetime) -> Launch {
        Launch {
            name: FRONT.to_owned(),
            program: servers.haproxy(),
            args: vec!["-db".to_owned(), "-f".to_owned(), self.configuration_file().display().to_string()],
            env: Vec::new(),
            command_prefix: command_prefix.to_vec(),
            folder: Some(self.folder.to_owned()),
            log: self.folder.join(format!("{FRONT}.log")),
            pidfile: self.folder.join(format!("{FRONT}.pid")),
            lifetime,
        }
    }

    fn configuration_file(&self) -> PathBuf {
        self.folder.join("haproxy.cfg")
    }

    fn configuration(&self) -> String {
        let Self { folder, listen, backend_port } = self;
        let folder = folder.display();
        format!(
            "\
global
    maxconn 2000
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h

listen {FRONT}
    bind {listen} ssl crt {folder}/server.both.pem alpn http/1.1
    server backend 127.0.0.1:{backend_port}
"
        )
    }
}
