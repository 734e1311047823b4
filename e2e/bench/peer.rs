//! node-oidc-provider: an authorization server that many use, on the same two questions.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
};

use anyhow::{Context as _, Result};
use rustls_pki_types::ServerName;
use serde::Deserialize;

use crate::{
    bare::{Certificate, NAME, Server},
    load::{Target, Write},
    request::form,
};

/// What it is called in the table.
pub(crate) const PEER: &str = "oidc-provider 9.13.3";

/// It, running.
#[derive(Debug)]
pub(crate) struct Peer {
    server: Server,
    certificate: Certificate,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
}

impl Peer {
    /// Starts what is in `folder` in the network of that process.
    pub(crate) fn start(folder: &Path, beside: u32) -> Result<Self> {
        let certificate = Certificate::make()?;
        let program = folder.join("server.mjs");
        let program = program.to_str().context("a path in UTF-8")?;
        let own = certificate.folder().to_str().context("a path in UTF-8")?;
        let server = Server::start(
            beside,
            &["env", "NODE_ENV=production", "node", program, own],
        )?;
        Ok(Self {
            server,
            certificate,
        })
    }

    /// As a target that makes JWTs.
    pub(crate) fn issuing(&self) -> Result<Arc<Target>> {
        self.target(token_request("jwt"), |status, _| status == 200)
    }

    /// As a target that says what opaque tokens are worth: as many different ones as it keeps.
    pub(crate) fn introspecting(&self) -> Result<Arc<Target>> {
        let tokens = self.target(token_request("opaque"), |status, _| status == 200)?;
        let tokens = tokens.each(OPAQUE, |answer| {
            let answer: Answer = serde_json::from_slice(answer)?;
            Ok(answer.access_token)
        })?;
        let write = Box::new(move |number: usize, request: &mut Vec<u8>| {
            let token = &tokens[number % tokens.len()];
            let body = format!("client_id=verifier&client_secret=bench&token={token}");
            form(request, NAME, "/token/introspection", None, &body);
        });
        self.target(write, |status, body| {
            status == 200 && body.starts_with(b"{\"active\":true")
        })
    }

    fn target(&self, write: Box<Write>, good: fn(u16, &[u8]) -> bool) -> Result<Arc<Target>> {
        Ok(Arc::new(Target {
            pid: self.server.pid(),
            aside: Some(self.server.beside),
            port: self.server.port,
            name: ServerName::try_from(NAME)?,
            tls: self.certificate.client()?,
            write,
            good: Box::new(good),
            made: AtomicUsize::new(0),
        }))
    }
}

fn token_request(format: &str) -> Box<Write> {
    let body = format!(
        "grant_type=client_credentials&client_id=consumer&client_secret=bench&scope=read&resource=https%3A%2F%2Fapi.example%2F{format}"
    );
    Box::new(move |_, request| form(request, NAME, "/token", None, &body))
}

/// Its store in memory has a thousand places, and forgets the oldest.
const OPAQUE: usize = 500;
