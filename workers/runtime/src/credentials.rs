//! The address, user and password of a broker or a database: a Secret, mounted as a folder with a file per key or read from the API.
//!
//! Keys: `uri`, `username`, `password` and, for an authority of one's own, `ca.crt`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use tapekeeper_contract::production::{self, Forbidden};
use url::Url;

/// A value that no log, panic or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one who sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to reach a broker or a database, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The address: `amqps://` or `https://`, without user and password.
    pub uri: Url,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// PEM text of the authority that signed the server's certificate, when it is not a public one.
    pub ca_pem: Option<String>,
}

/// The credentials can't be used. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A key is missing.
    #[error("{field}: missing: expected are the keys uri, username, password and, for an authority of one's own, ca.crt")]
    Missing {
        /// The key, with what it was read from.
        field: String,
    },
    /// A key's file can't be read.
    #[error("{field}: {source}")]
    Unreadable {
        /// The key, with what it was read from.
        field: String,
        /// Why.
        source: io::Error,
    },
    /// A key's value is not UTF-8, or empty.
    #[error("{field}: {why}")]
    NotText {
        /// The key, with what it was read from.
        field: String,
        /// Why.
        why: &'static str,
    },
    /// Production only forbids it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

impl CredentialsError {
    /// A word for logs, metrics and conditions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "CredentialsMissing",
            Self::Unreadable { .. } | Self::NotText { .. } => "CredentialsUnreadable",
            Self::Forbidden(_) => "Forbidden",
        }
    }
}

const URI: &str = "uri";
const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const CA: &str = "ca.crt";

impl Credentials {
    /// A broker's credentials from the folder into which its Secret is mounted.
    ///
    /// # Errors
    /// [`CredentialsError`]; fields are called `broker.credentials.KEY`.
    pub fn read_broker(dir: &Path) -> Result<Self, CredentialsError> {
        Self::broker_from("broker.credentials", &read_keys("broker.credentials", dir)?)
    }

    /// A database's credentials from the folder into which its Secret is mounted.
    ///
    /// # Errors
    /// [`CredentialsError`]; fields are called `database.credentials.KEY`.
    pub fn read_database(dir: &Path) -> Result<Self, CredentialsError> {
        Self::https_from("database.credentials", &read_keys("database.credentials", dir)?)
    }

    /// A broker's credentials from a Secret's data. `field` says whose they are, for example `secret/tapekeeper-broker`.
    ///
    /// # Errors
    /// [`CredentialsError`]; fields are called `FIELD.KEY`.
    pub fn broker_from(field: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsError> {
        Self::from(field, data, production::broker_uri)
    }

    /// Credentials of a database, or of a broker's management interface, from a Secret's data.
    ///
    /// # Errors
    /// As [`Credentials::broker_from`].
    pub fn https_from(field: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsError> {
        Self::from(field, data, production::https_uri)
    }

    fn from(field: &str, data: &BTreeMap<String, Vec<u8>>, check: fn(&str, &str) -> Result<Url, Forbidden>) -> Result<Self, CredentialsError> {
        let uri = check(&format!("{field}.{URI}"), required(field, data, URI)?)?;
        let username = required(field, data, USERNAME)?.to_owned();
        let password = Secret::new(required(field, data, PASSWORD)?);
        let ca_pem = text(field, data, CA)?.map(str::to_owned);
        Ok(Self { uri, username, password, ca_pem })
    }
}

fn read_keys(field: &str, dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, CredentialsError> {
    let mut keys = BTreeMap::new();
    for key in [URI, USERNAME, PASSWORD, CA] {
        match std::fs::read(dir.join(key)) {
            Ok(value) => drop(keys.insert(key.to_owned(), value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CredentialsError::Unreadable { field: format!("{field}.{key}"), source }),
        }
    }
    Ok(keys)
}

fn required<'a>(field: &str, data: &'a BTreeMap<String, Vec<u8>>, key: &str) -> Result<&'a str, CredentialsError> {
    match text(field, data, key)? {
        Some("") => Err(CredentialsError::NotText { field: format!("{field}.{key}"), why: "empty" }),
        Some(value) => Ok(value),
        None => Err(CredentialsError::Missing { field: format!("{field}.{key}") }),
    }
}

/// A key's value without the line end that editors leave behind it.
fn text<'a>(field: &str, data: &'a BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<&'a str>, CredentialsError> {
    let Some(value) = data.get(key) else { return Ok(None) };
    let value = std::str::from_utf8(value).map_err(|_| CredentialsError::NotText { field: format!("{field}.{key}"), why: "not UTF-8" })?;
    Ok(Some(value.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keys: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        keys.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_secret_reads_the_same_mounted_and_from_the_api() {
        let keys = [("uri", "amqps://broker.example:5671\n"), ("username", "tape"), ("password", "hunter2\n")];
        let dir = tempfile::tempdir().unwrap();
        for (key, value) in keys {
            std::fs::write(dir.path().join(key), value).unwrap();
        }
        let expected = Credentials {
            uri: Url::parse("amqps://broker.example:5671").unwrap(),
            username: "tape".to_owned(),
            password: Secret::new("hunter2"),
            ca_pem: None,
        };
        assert_eq!(Credentials::read_broker(dir.path()).unwrap(), expected);
        assert_eq!(Credentials::broker_from("secret/broker", &secret(&keys)).unwrap(), expected);
    }

    #[test]
    fn a_plain_text_address_is_forbidden_and_its_field_named() {
        let keys = secret(&[("uri", "amqp://broker:5672"), ("username", "tape"), ("password", "hunter2")]);
        let refusal = Credentials::broker_from("secret/broker", &keys).unwrap_err();
        assert_eq!(refusal.to_string(), "FORBIDDEN: secret/broker.uri: `amqp://` is not allowed: only TLS is, that is `amqps://`");
        assert_eq!(refusal.reason(), "Forbidden");
    }

    #[test]
    fn a_missing_or_empty_key_is_named() {
        let missing = secret(&[("uri", "https://db:8443"), ("username", "tape")]);
        assert!(Credentials::https_from("secret/db", &missing).unwrap_err().to_string().starts_with("secret/db.password: missing"));
        let empty = secret(&[("uri", "https://db:8443"), ("username", ""), ("password", "x")]);
        assert_eq!(Credentials::https_from("secret/db", &empty).unwrap_err().to_string(), "secret/db.username: empty");
    }

    #[test]
    fn no_debug_output_shows_a_password() {
        let keys = secret(&[("uri", "https://db:8443"), ("username", "tape"), ("password", "hunter2")]);
        assert!(!format!("{:?}", Credentials::https_from("secret/db", &keys)).contains("hunter2"));
    }
}
