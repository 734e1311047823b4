//! Keys rotate in good order and the replica that rotates them is killed meanwhile: whatever pods hold is verified all
//! the while, by what each replica publishes at that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    command::run,
    issuer::Issuer,
    kept_logs,
    key_set::KeySet,
    local::LocalPod,
    manifest::pod,
    operator::renewed,
    payments::Payments,
    remark::remark,
    state,
    token::claims,
    wait::{not_yet, now, until},
};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    f04_rotated::{MOST, STEP, leading},
    fixture::{MINUTE, current, lasts},
};

/// How often in a row: a third one within an hour waits.
const ROUNDS: u32 = 2;

/// In that time each pod's token of 30 s is replaced.
const LIVED: Duration = Duration::from_secs(32);

/// Between two looks at all tokens and keys.
const BEAT: Duration = Duration::from_millis(250);

#[tokio::test]
async fn f04_every_token_that_is_valid_is_verified_while_keys_rotate_and_their_leader_is_killed()
-> Result<()> {
    if state::folder("keys rotate").is_none() {
        return Ok(());
    }
    kept_logs::keep();
    current().await?;
    let shop = Cluster::alone("verified").await?;
    let issuer = Issuer::new(&shop).await?;
    issuer.keys().await?;
    let payments = Payments::new(shop, |audience| {
        audience.with("/spec/issuerRef/name", json!(issuer.name))
    })
    .await?;
    let mut witness = Witness::new(&issuer, &payments).await?;
    for round in 0..ROUNDS {
        witness.replicas().await?;
        let scene = pin!(rotated(&issuer, STEP * round));
        witness.sees(scene).await?;
    }
    renewed().await?;
    remark(&format!(
        "{} tokens of {} keys were verified {} times while keys rotated and their leader was killed",
        witness.tokens.len(),
        witness.signers.len(),
        witness.verified
    ));
    ensure!(
        witness.signers.len() == 3,
        "two rotations, three signers: {:?}",
        witness.signers
    );
    Ok(())
}

/// The next key signs, and all pods have tokens by it; its leader was killed that long after it was asked.
async fn rotated(issuer: &Issuer, after: Duration) -> Result<()> {
    let (_, next) = issuer.keys().await?;
    issuer.published_long_ago(&next).await?;
    let leader = leading(&current().await?).await?;
    issuer.annotate("rotate").await?;
    lasts(after).await;
    leader.kill().await?;
    until(MINUTE, "the next key signs", || async {
        match issuer.keys().await? {
            (active, another) if active == next && another != next => Ok(()),
            keys => Err(not_yet(keys)),
        }
    })
    .await?;
    current().await?;
    lasts(LIVED).await;
    Ok(())
}

/// Reads tokens and keys all the time.
struct Witness {
    path: String,
    issuer: String,
    audience: String,
    sockets: Vec<PathBuf>,
    apis: Vec<OperatorApi>,
    /// When each token that was seen ends.
    tokens: BTreeMap<String, i64>,
    signers: BTreeSet<String>,
    verified: usize,
    _pods: Vec<LocalPod>,
}

impl Witness {
    async fn new(issuer: &Issuer, payments: &Payments) -> Result<Self> {
        let mut pods = Vec::new();
        for name in [payments.pod.as_str(), "more-0", "more-1"] {
            if name != payments.pod {
                let more = pod(name).injected().under("orders");
                payments.shop.start(&more).await?;
            }
            pods.push(LocalPod::find(&payments.shop, name).await?);
        }
        payments.token().await?;
        Ok(Self {
            path: format!("/{}", issuer.name),
            issuer: issuer.url.clone(),
            audience: payments.value(),
            sockets: pods.iter().map(LocalPod::socket).collect(),
            apis: Vec::new(),
            tokens: BTreeMap::new(),
            signers: BTreeSet::new(),
            verified: 0,
            _pods: pods,
        })
    }

    /// Asks those that there are now, which keep their addresses when they are killed.
    async fn replicas(&mut self) -> Result<()> {
        self.apis.clear();
        for replica in current().await? {
            self.apis.push(replica.api().await?);
        }
        Ok(())
    }

    /// Looks until the scene is over.
    async fn sees(
        &mut self,
        mut scene: std::pin::Pin<&mut impl Future<Output = Result<()>>>,
    ) -> Result<()> {
        loop {
            tokio::select! {
                over = &mut scene => return over,
                seen = self.look() => seen?,
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        sleep(BEAT).await;
        for socket in &self.sockets {
            let token = read(socket).await?;
            let ends = claims(&token)?["exp"].as_i64().context("an end")?;
            self.tokens.insert(token, ends);
        }
        for api in &self.apis {
            // one that was killed does not answer
            let Ok(keys) = KeySet::of(api, &self.path).await else {
                continue;
            };
            ensure!(keys.names().len() <= MOST, "{:?}", keys.names());
            let soon = now().as_second() + 1;
            for (token, _) in self.tokens.iter().filter(|(_, ends)| **ends > soon) {
                let signer = keys.signer(token, &self.issuer, &self.audience)?;
                self.signers.insert(signer);
                self.verified += 1;
            }
        }
        Ok(())
    }
}

async fn read(socket: &std::path::Path) -> Result<String> {
    let socket = socket.to_str().context("a path in UTF-8")?;
    let args = ["-sSf", "-m", "12", "-H", "accept: text/plain"];
    let of = [
        "--unix-socket",
        socket,
        "http://hallpass/v1/tokens/payments",
    ];
    let token = run("curl", &[&args[..], &of].concat(), None)
        .await?
        .success()?;
    Ok(token.trim_end().to_owned())
}
