//! A certificate authority for one test or one local cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::private_file::write_private;

const YEARS_VALID: i32 = 10;

/// Issues server certificates; clones are the same authority.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    ca_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

impl Authority {
    /// A new authority called `name`, valid for ten years.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let params = ca_params(name)?;
        let ca_pem = params.self_signed(&key)?.pem();
        Ok(Self::assemble(params, key, ca_pem))
    }

    /// The authority kept in `folder` (`ca.pem`, `ca.key`, `ca.name`), made and written there when it is missing.
    ///
    /// Safe against several processes at once: all of them get the same authority.
    pub fn load_or_create(folder: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let lock = std::fs::File::options().create(true).truncate(false).write(true).open(folder.join("ca.lock"))?;
        lock.lock().with_context(|| format!("locking {}", folder.display()))?;
        let (cert, key, kept_name) = (folder.join("ca.pem"), folder.join("ca.key"), folder.join("ca.name"));
        // The certificate is written last: with it there, all three are.
        if cert.exists() {
            let key = KeyPair::from_pem(&std::fs::read_to_string(&key)?).context("ca.key")?;
            let params = ca_params(&std::fs::read_to_string(&kept_name)?)?;
            return Ok(Self::assemble(params, key, std::fs::read_to_string(&cert)?));
        }
        let authority = Self::new(name)?;
        write_private(&key, &authority.inner.key_pem)?;
        std::fs::write(&kept_name, name)?;
        let half = folder.join("ca.pem.new");
        std::fs::write(&half, authority.ca_pem())?;
        std::fs::rename(half, cert)?;
        Ok(authority)
    }

    /// The authority's own certificate, PEM: what a client has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.inner.ca_pem
    }

    /// A server certificate for `names`, each a host name (with a `*.` perhaps) or an IP address.
    pub fn issue<S: AsRef<str>>(&self, names: &[S]) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).with_context(|| format!("names {names:?}"))?;
        params.distinguished_name = named(names.first().map_or("server", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.inner.issuer)?;
        Ok(Issued { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// A client configuration that trusts this authority and nothing else, with the ring provider.
    pub fn client_config(&self) -> Result<rustls::ClientConfig> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem().as_bytes())?)?;
        Ok(rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }

    /// An HTTP client that trusts this authority and nothing else, and goes through no proxy.
    pub fn http_client(&self) -> Result<reqwest::Client> {
        Ok(reqwest::Client::builder()
            .tls_backend_preconfigured(self.client_config()?)
            .no_proxy()
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()?)
    }

    fn assemble(params: CertificateParams, key: KeyPair, ca_pem: String) -> Self {
        let key_pem = key.serialize_pem();
        Self { inner: Arc::new(Inner { ca_pem, key_pem, issuer: Issuer::new(params, key) }) }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Issued").finish_non_exhaustive()
    }
}

fn ca_params(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From the first of January of last year, so that a clock that is a little behind does no harm.
fn set_validity(params: &mut CertificateParams) {
    const SECONDS_PER_YEAR: u64 = 31_556_952;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let year = 1970 + i32::try_from(since / SECONDS_PER_YEAR).unwrap_or(0);
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS_VALID, 1, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_authority_is_the_same_one_the_next_time() {
        let place = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(place.path(), "kept").unwrap();
        let second = Authority::load_or_create(place.path(), "another name").unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.inner.key_pem, second.inner.key_pem);
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_accepts_its_servers_by_name_and_address_and_no_other_name() {
        use rustls::pki_types::ServerName;
        let place = tempfile::tempdir().unwrap();
        Authority::load_or_create(place.path(), "kept").unwrap();
        let authority = Authority::load_or_create(place.path(), "kept").unwrap();
        let issued = authority.issue(&["broker.example", "10.1.2.3"]).unwrap();
        let accepted = |name: &'static str| {
            use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
            let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap(),
                )
                .unwrap();
            let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
            let name = ServerName::try_from(name).unwrap();
            let mut client = rustls::ClientConnection::new(Arc::new(authority.client_config().unwrap()), name).unwrap();
            shake_hands(&mut client, &mut server)
        };
        assert!(accepted("broker.example"));
        assert!(accepted("10.1.2.3"));
        assert!(!accepted("other.example"));
    }

    fn shake_hands(client: &mut rustls::ClientConnection, server: &mut rustls::ServerConnection) -> bool {
        for _ in 0..10 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut sent = wire.as_slice();
            while !sent.is_empty() {
                server.read_tls(&mut sent).unwrap();
                if server.process_new_packets().is_err() {
                    return false;
                }
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut sent = wire.as_slice();
            while !sent.is_empty() {
                client.read_tls(&mut sent).unwrap();
                if client.process_new_packets().is_err() {
                    return false;
                }
            }
            if !client.is_handshaking() && !server.is_handshaking() {
                return true;
            }
        }
        false
    }
}
