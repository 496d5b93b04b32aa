//! The files that a worker reads at start.

use std::io;
use std::path::{Path, PathBuf};

use tapekeeper_contract::settings::{Settings, SettingsError};

/// A worker's files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its text is not what a worker of this role obeys.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl LoadError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "SettingsUnreadable",
            Self::Settings(error) => error.reason(),
        }
    }
}

/// Reads and checks the settings file at `path`.
///
/// # Errors
/// [`LoadError`]; a setting that production only forbids reads `FORBIDDEN: field: why`.
pub fn load<S: Settings>(path: &Path) -> Result<S, LoadError> {
    Ok(S::from_yaml(&read(path)?)?)
}

/// The PEM text of the extra certificate authorities, when the settings name a file of them.
///
/// # Errors
/// [`LoadError::Unreadable`] when the file is named but not there.
pub fn extra_authorities(path: Option<&Path>) -> Result<Option<String>, LoadError> {
    path.map(read).transpose()
}

fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapekeeper_contract::settings::BatcherSettings;

    #[test]
    fn a_settings_file_that_is_not_there_is_named() {
        let refusal = load::<BatcherSettings>(Path::new("nowhere/settings.yaml")).unwrap_err();
        assert_eq!(refusal.reason(), "SettingsUnreadable");
        assert!(refusal.to_string().starts_with("nowhere/settings.yaml: "), "{refusal}");
    }

    #[test]
    fn without_a_named_file_there_are_no_extra_authorities() {
        assert_eq!(extra_authorities(None).unwrap(), None);
        assert!(extra_authorities(Some(Path::new("nowhere/ca.pem"))).is_err());
    }
}
