//! TLS: one crypto provider (ring), the public certificate authorities, and those that the installation adds.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// How long a TCP connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS client can't be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text of the extra authorities is broken.
    #[error("the extra certificate authorities are not PEM: {0}")]
    NotPem(String),
    /// The PEM text holds no certificate.
    #[error("the extra certificate authorities hold no certificate: at least one `BEGIN CERTIFICATE` block is expected")]
    NoCertificate,
    /// A certificate in it can't be an authority.
    #[error("certificate {number} of the extra certificate authorities is refused: {source}")]
    NotAnAuthority {
        /// Its place in the file, from 1.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// The provider lacks a protocol version.
    #[error("TLS is not available: {0}")]
    Unavailable(#[from] rustls::Error),
    /// The HTTP client can't be built.
    #[error("the HTTP client can't be built: {0}")]
    HttpClient(#[from] reqwest::Error),
}

impl TlsError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotPem(_) | Self::NoCertificate | Self::NotAnAuthority { .. } => "ExtraAuthoritiesUnreadable",
            Self::Unavailable(_) | Self::HttpClient(_) => "TlsUnavailable",
        }
    }
}

/// Makes ring the process's crypto provider. The first thing in `main`; calling it again does nothing.
pub fn install_provider() {
    // An error says that a provider is installed already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The authorities to trust: the public ones and those in `extra_ca_pem`.
///
/// # Errors
/// [`TlsError`] when the text is not PEM, holds no certificate, or one that can't be an authority.
pub fn authorities(extra_ca_pem: Option<&str>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(pem) = extra_ca_pem else { return Ok(store) };
    let mut number = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        number += 1;
        let certificate = certificate.map_err(|error| TlsError::NotPem(error.to_string()))?;
        store.add(certificate).map_err(|source| TlsError::NotAnAuthority { number, source })?;
    }
    if number == 0 { Err(TlsError::NoCertificate) } else { Ok(store) }
}

/// A client configuration that trusts [`authorities`] and presents no certificate of its own.
///
/// # Errors
/// As [`authorities`].
pub fn client_config(extra_ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(extra_ca_pem)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// An HTTP client over `config` that follows no redirects; a whole request may take `timeout`.
///
/// # Errors
/// [`TlsError::HttpClient`] when the client can't be built.
pub fn http_client(config: Arc<ClientConfig>, timeout: Duration) -> Result<reqwest::Client, TlsError> {
    install_provider();
    let config = Arc::unwrap_or_clone(config);
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(concat!("tapekeeper/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .build()?)
}

/// Two PEM texts as one, where either may be missing.
#[must_use]
pub fn join_pem(one: Option<&str>, other: Option<&str>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{}\n{}", one.trim_end(), other)),
        (Some(pem), None) | (None, Some(pem)) => Some(pem.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_authorities_are_trusted_without_any_extra() {
        assert_eq!(authorities(None).unwrap().len(), webpki_roots::TLS_SERVER_ROOTS.len());
    }

    #[test]
    fn an_extra_authority_file_without_a_certificate_is_refused_rather_than_ignored() {
        assert!(matches!(authorities(Some("# nothing here\n")), Err(TlsError::NoCertificate)));
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(authorities(Some(broken)), Err(TlsError::NotPem(_))));
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(authorities(Some(not_a_certificate)), Err(TlsError::NotAnAuthority { number: 1, .. })));
    }

    #[test]
    fn a_client_is_built_with_the_provider_of_this_crate() {
        let config = client_config(None).unwrap();
        assert!(http_client(config, Duration::from_secs(1)).is_ok());
    }
}
