//! Free port ranges on loopback, without two test processes ever taking the same one.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

/// Ports per range: enough for the server with the most listeners.
pub const RANGE: u16 = 8;
/// Below the kernel's ephemeral ports (32768 and up) and Kubernetes' node ports (30000 to 32767).
const FIRST: u16 = 20_000;
const COUNT: u16 = 1_200;

/// [`RANGE`] consecutive free ports, ours until dropped.
#[derive(Debug)]
pub struct PortRange {
    base: u16,
    // Released by the kernel when the process dies.
    _lock: File,
}

impl PortRange {
    /// Finds a range that no other holder has and whose ports nobody listens on.
    pub fn claim() -> Result<Self> {
        let folder = std::env::temp_dir().join("tapekeeper-ports");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // Where the search starts only spreads the load; the locks are what makes it safe.
        let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
        for step in 0..COUNT {
            let base = FIRST + (start + step) % COUNT * RANGE;
            let path = folder.join(base.to_string());
            let lock = File::options().create(true).truncate(false).write(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
            match lock.try_lock() {
                Ok(()) if (base..base + RANGE).all(is_free) => return Ok(Self { base, _lock: lock }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
            }
        }
        bail!("no free range of {RANGE} ports from {FIRST} on")
    }

    /// The first port.
    pub fn base(&self) -> u16 {
        self.base
    }
}

fn is_free(port: u16) -> bool {
    let wildcard: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    if TcpListener::bind(SocketAddr::new(wildcard, port)).is_err() {
        return false;
    }
    // A machine without IPv6 can't have a listener there either.
    match TcpListener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)) {
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
        Ok(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_never_overlap_and_a_listener_is_stepped_around() {
        let first = PortRange::claim().unwrap();
        let second = PortRange::claim().unwrap();
        assert!(first.base().abs_diff(second.base()) >= RANGE);
        let taken = second.base();
        drop(second);
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken + 3)).unwrap();
        assert_ne!(PortRange::claim().unwrap().base(), taken);
    }
}
