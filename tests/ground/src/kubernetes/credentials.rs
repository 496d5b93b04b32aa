//! Who may talk to the API server, and how each proves it: a token per part, a certificate for the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::KeyPair;
use serde_json::json;

use super::instance::{Instance, write_whole};
use crate::authority::Authority;

/// The parts that talk to the API server, each with its user and its groups.
const USERS: [(&str, &str, &str); 6] = [
    ("admin", "tapekeeper-local-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kubelet", "system:node:NODE", "system:nodes"),
    ("proxy", "system:kube-proxy", ""),
    ("dns", "tapekeeper-local-dns", "system:masters"),
];

/// The files below `credentials/` of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    folder: PathBuf,
}

impl Credentials {
    /// The files, made when they are missing.
    pub(crate) fn ensure(instance: &Instance, authority: &Authority) -> anyhow::Result<Self> {
        let folder = instance.path("credentials");
        std::fs::create_dir_all(&folder)?;
        let credentials = Self { folder };
        let complete = credentials.file("complete");
        if !complete.exists() {
            credentials.write(instance, authority)?;
            write_whole(&complete, b"")?;
        }
        write_whole(&instance.kubeconfig(), &std::fs::read(credentials.kubeconfig("admin"))?)?;
        Ok(credentials)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn kubeconfig(&self, part: &str) -> PathBuf {
        self.file(&format!("{part}.kubeconfig"))
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> anyhow::Result<String> {
        let tokens = std::fs::read_to_string(self.file("tokens.csv"))?;
        let first = tokens.split(',').next().context("tokens.csv is empty")?;
        Ok(first.to_owned())
    }

    fn write(&self, instance: &Instance, authority: &Authority) -> anyhow::Result<()> {
        let ca = authority.ca_pem();
        write_whole(&self.file("ca.pem"), ca.as_bytes())?;
        let addresses = instance.addresses;
        let serving = authority.issue(&[
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
            "kubernetes.default.svc.cluster.local".to_owned(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            addresses.node().to_string(),
            addresses.api_service().to_string(),
        ])?;
        self.write_pair("server", &serving.cert_pem, &serving.key_pem)?;
        let node = authority.issue(&[instance.name.to_string(), addresses.node().to_string()])?;
        self.write_pair("kubelet", &node.cert_pem, &node.key_pem)?;

        // A self-signed client certificate that kubelet takes as its own client authority: the API server proves itself with it.
        let (client, client_key) = api_server_client()?;
        self.write_pair("kubelet-client", &client, &client_key)?;

        let service_accounts = KeyPair::generate()?;
        write_whole(&self.file("service-accounts.key"), service_accounts.serialize_pem().as_bytes())?;
        write_whole(&self.file("service-accounts.pub"), service_accounts.public_key_pem().as_bytes())?;

        let mut tokens = String::new();
        for (part, user, groups) in USERS {
            let user = user.replace("NODE", &instance.name.to_string());
            let token = random_token()?;
            tokens.push_str(&format!("{token},{user},{user},\"{groups}\"\n"));
            let kubeconfig = kubeconfig(instance, ca, &user, &token);
            write_whole(&self.kubeconfig(part), kubeconfig.as_bytes())?;
        }
        write_whole(&self.file("tokens.csv"), tokens.as_bytes())
    }

    fn write_pair(&self, name: &str, certificate: &str, key: &str) -> anyhow::Result<()> {
        write_whole(&self.file(&format!("{name}.pem")), certificate.as_bytes())?;
        write_whole(&self.file(&format!("{name}.key")), key.as_bytes())
    }
}

fn api_server_client() -> anyhow::Result<(String, String)> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn random_token() -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    std::fs::File::open(Path::new("/dev/urandom"))?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A kubeconfig; JSON is YAML.
fn kubeconfig(instance: &Instance, ca_pem: &str, user: &str, token: &str) -> String {
    let cluster = instance.qualified_name();
    let document: BTreeMap<&str, serde_json::Value> = BTreeMap::from([
        ("apiVersion", json!("v1")),
        ("kind", json!("Config")),
        ("current-context", json!(cluster)),
        (
            "clusters",
            json!([{"name": cluster, "cluster": {
                "server": api_server(instance),
                "certificate-authority-data": base64(ca_pem.as_bytes()),
            }}]),
        ),
        ("users", json!([{"name": user, "user": {"token": token}}])),
        ("contexts", json!([{"name": cluster, "context": {"cluster": cluster, "user": user}}])),
    ]);
    json!(document).to_string()
}

/// Where the API server listens.
pub(crate) fn api_server(instance: &Instance) -> String {
    format!("https://{}:6443", instance.addresses.node())
}

/// Standard base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            if place <= three.len() {
                let six = (bits >> (18 - 6 * place)) as usize & 63;
                text.push(char::from(ALPHABET[six]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_examples_of_rfc_4648() {
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
