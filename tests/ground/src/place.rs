//! The folder of one server: its data, its configuration, its certificate, its password, its logs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::authority::Authority;
use crate::private_file::{kept_password, write_private};

/// A folder, removed when dropped if nobody asked for a particular one.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn open(folder: Option<&Path>, server: &str) -> Result<Self> {
        let Some(folder) = folder else {
            let temporary = tempfile::Builder::new().prefix(&format!("tapekeeper-{server}-")).tempdir()?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { path: std::path::absolute(folder)?, _temporary: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The given authority, or the folder's own.
    pub(crate) fn authority(&self, given: Option<&Authority>) -> Result<Authority> {
        match given {
            Some(authority) => Ok(authority.clone()),
            None => Authority::load_or_create(&self.path.join("authority"), "Tapekeeper test ground"),
        }
    }

    /// The given password, or the folder's own.
    pub(crate) fn password(&self, given: Option<&str>) -> Result<String> {
        match given {
            Some(password) => Ok(password.to_owned()),
            None => kept_password(&self.path.join("password")),
        }
    }

    /// Writes a certificate for `localhost`, the loopback and bind addresses and `names`: `ca.pem`, `server.pem`,
    /// `server.key`, and the latter two together as `server.both.pem`.
    pub(crate) fn certificate(&self, authority: &Authority, bind: IpAddr, names: &[String]) -> Result<()> {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if !bind.is_unspecified() && !bind.is_loopback() {
            all.push(bind.to_string());
        }
        all.extend(names.iter().cloned());
        let issued = authority.issue(&all)?;
        std::fs::write(self.path.join("ca.pem"), authority.ca_pem())?;
        std::fs::write(self.path.join("server.pem"), &issued.cert_pem)?;
        write_private(&self.path.join("server.key"), &issued.key_pem)?;
        write_private(&self.path.join("server.both.pem"), &format!("{}{}", issued.cert_pem, issued.key_pem))
    }
}

/// What a client calls a server that binds to `bind`.
pub(crate) fn host_of(bind: IpAddr) -> String {
    match bind {
        loopback if loopback.is_loopback() || loopback.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
