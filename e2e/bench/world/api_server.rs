//! The API server over plain requests: what is made of the cluster, and the peer that mints
//! service-account tokens.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
};

use anyhow::{Context as _, Result};
use hallpass_e2e::cluster::IDENTITY_AUDIENCE;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde::Deserialize;
use serde_json::json;

use super::{NODE, Pod, object::Object};
use crate::load::{Target, Write};

/// The API server of a cluster of our own, whose authority is in a file.
#[derive(Debug)]
pub(crate) struct ApiServer {
    pki: PathBuf,
    pid: u32,
}

/// In whose name a request is made.
#[derive(Debug, Clone, Copy)]
enum Who {
    Admin,
    /// The node that has no kubelet.
    Node,
}

#[derive(Deserialize)]
struct Stored {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    service_account_name: String,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
struct TokenRequest {
    status: TokenStatus,
}

#[derive(Deserialize)]
struct TokenStatus {
    token: String,
}

impl ApiServer {
    pub(super) fn new(state: &Path) -> Result<Self> {
        let pid = fs::read_to_string(state.join("run/kube-apiserver.pid"))?;
        Ok(Self {
            pki: state.join("pki"),
            pid: pid.trim().parse()?,
        })
    }

    /// Creates the groups one after the other. What is there already is left as it is.
    pub(super) fn create_all(&self, groups: Vec<Vec<Object>>) -> Result<()> {
        for group in groups {
            self.create(&group)?;
        }
        Ok(())
    }

    pub(super) fn create_pods(&self, pods: &[Object]) -> Result<Vec<Pod>> {
        self.create(pods)?;
        let (count, paths): (_, Vec<String>) = (pods.len(), pods.iter().map(path).collect());
        let read = move |number: usize, request: &mut Vec<u8>| get(request, &paths[number]);
        let target = self.target(Who::Admin, Box::new(read), |status| status == 200)?;
        target.each(count, |answer| {
            let Stored { metadata, spec } = serde_json::from_slice(answer)?;
            Ok(Pod {
                namespace: metadata.namespace,
                account: spec.service_account_name,
                name: metadata.name,
                uid: metadata.uid,
            })
        })
    }

    fn create(&self, objects: &[Object]) -> Result<()> {
        let (count, objects) = (objects.len(), objects.to_vec());
        let write = move |number: usize, request: &mut Vec<u8>| {
            let (path, object) = &objects[number];
            post(request, path, object.to_string().as_bytes());
        };
        let stored = |status| status == 201 || status == 409;
        let target = self.target(Who::Admin, Box::new(write), stored)?;
        target.each(count, |_| Ok(())).map(drop)
    }

    /// What tells the operator that it is that pod who asks, as the node gets it.
    pub(super) fn identities(&self, pods: &[Pod]) -> Result<Vec<String>> {
        let target = self.target(Who::Node, token_requests(pods, IDENTITY_AUDIENCE), made)?;
        target.each(pods.len(), |answer| {
            let request: TokenRequest = serde_json::from_slice(answer)?;
            Ok(request.status.token)
        })
    }

    /// The API server as a peer: service-account tokens of an audience, bound to the pod, by `TokenRequest`.
    pub(crate) fn minting(&self, pods: &[Pod]) -> Result<Arc<Target>> {
        self.target(
            Who::Admin,
            token_requests(pods, "https://vault.example"),
            made,
        )
    }

    fn target(&self, who: Who, write: Box<Write>, good: fn(u16) -> bool) -> Result<Arc<Target>> {
        Ok(Arc::new(Target {
            pid: self.pid,
            aside: None,
            port: 6443,
            name: ServerName::try_from("kubernetes")?,
            tls: Arc::new(self.tls(who)?),
            write,
            good: Box::new(move |status, _| good(status)),
            made: AtomicUsize::new(0),
        }))
    }

    fn tls(&self, who: Who) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.pki.join("ca.crt"))?)?;
        let (certificate, key) = match who {
            Who::Admin => (
                CertificateDer::from_pem_file(self.pki.join("admin.crt"))?,
                PrivateKeyDer::from_pem_file(self.pki.join("admin.key"))?,
            ),
            Who::Node => self.node()?,
        };
        let config = ClientConfig::builder().with_root_certificates(roots);
        Ok(config.with_client_auth_cert(vec![certificate], key)?)
    }

    /// The certificate that a kubelet of the node would have.
    fn node(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let authority = fs::read_to_string(self.pki.join("ca.crt"))?;
        let key = KeyPair::from_pem(&fs::read_to_string(self.pki.join("ca.key"))?)?;
        let authority = Issuer::from_ca_cert_pem(&authority, key).context("the authority")?;
        let mut node = CertificateParams::default();
        let name = &mut node.distinguished_name;
        name.push(DnType::OrganizationName, "system:nodes");
        name.push(DnType::CommonName, format!("system:node:{NODE}"));
        node.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = node.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((certificate.der().clone(), key))
    }
}

fn token_requests(pods: &[Pod], audience: &'static str) -> Box<Write> {
    let pods = pods.to_vec();
    Box::new(move |number, request| {
        let Pod {
            namespace,
            account,
            name,
            uid,
        } = &pods[number % pods.len()];
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 7200, "boundObjectRef": bound},
        });
        post(request, &path, body.to_string().as_bytes());
    })
}

fn post(request: &mut Vec<u8>, path: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: kubernetes\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body);
}

fn get(request: &mut Vec<u8>, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: kubernetes\r\n\r\n");
    request.extend_from_slice(head.as_bytes());
}

/// Where an object is that was created.
fn path((below, object): &Object) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{below}/{name}")
}

const fn made(status: u16) -> bool {
    status == 201
}
