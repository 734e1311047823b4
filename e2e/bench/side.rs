//! Everything that is measured side by side.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};

use crate::{
    bare::{self, Certificate, Server},
    load::Target,
    operator::Operator,
    peer::Peer,
    scale::Scale,
    world::World,
};

/// The operator in its cluster, and the servers beside it.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) world: World,
    pub(crate) operator: Operator,
    /// Where it is installed.
    pub(crate) peer: Option<Peer>,
    /// The bare handler.
    pub(crate) bare: Arc<Target>,
    _bare: Server,
    _certificate: Certificate,
}

impl Side {
    /// Makes the world and starts the others; `peer` is where the peer in JavaScript is installed, if it is.
    pub(crate) async fn make(peer: Option<&Path>, scale: &Scale) -> Result<Self> {
        let state = hallpass_e2e::state::folder("issuance and introspection");
        let world = World::make(&state.context("needs a cluster of our own")?).await?;
        let operator = Operator::find().await?;
        world.revoke(scale.revocations)?;
        operator.rest().await?;
        let beside = operator.pid;
        let certificate = Certificate::make()?;
        let (server, bare) = bare::start(beside, &certificate)?;
        Ok(Self {
            world,
            peer: peer.map(|folder| Peer::start(folder, beside)).transpose()?,
            operator,
            bare,
            _bare: server,
            _certificate: certificate,
        })
    }
}
