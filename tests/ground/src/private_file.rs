//! Files that only their owner may read: keys and passwords.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `text` to `path` with mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// The password kept in `path`; a random one is made and kept when there is none.
pub(crate) fn kept_password(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(kept) if !kept.is_empty() => Ok(kept),
        _ => {
            let password = random_hex(16)?;
            write_private(path, &password)?;
            Ok(password)
        }
    }
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
