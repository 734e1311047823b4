//! Somebody who asks for tokens and about tokens all the time, by the operator's Service: each time on a connection of
//! its own, and anew where one ends without an answer, as a client does.

use std::{pin::Pin, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    api::OperatorApi,
    cluster::Cluster,
    guard::VERIFIER,
    manifest::{audience_policy, pod, service_account},
    payments::{Payments, READ},
};

/// Who asks, and what came of it.
#[derive(Debug)]
pub struct Load {
    /// How many tokens were issued and then called active.
    pub good: usize,
    /// How many questions were asked again, each with its reason.
    pub again: Vec<String>,
    api: OperatorApi,
    identity: String,
    verifier: String,
    next: usize,
    _payments: Payments,
}

impl Load {
    /// A pod that may have many tokens, and one that may ask about them.
    ///
    /// # Errors
    /// Something was refused, or does not start.
    pub async fn new(shop: Cluster) -> Result<Self> {
        let payments = Payments::new(shop, |audience| {
            audience
                .with("/spec/maxLifetime", json!("10m"))
                .with("/spec/guard", json!({"serviceAccounts": [VERIFIER]}))
        })
        .await?;
        let (shop, owner) = (&payments.shop, &payments.api);
        let mut policy = audience_policy("orders", "payments", &owner.namespace, &[READ])
            .with("/metadata/name", json!("load"))
            .with("/spec/tokens", json!([]));
        for i in 0..TOKENS {
            let token = json!({
                "name": format!("t{i}"), "scopes": [READ], "required": false,
                "audienceRef": {"namespace": owner.namespace, "name": "payments"},
            });
            policy = policy.with("/spec/tokens/-", token);
        }
        shop.apply(&policy.to_string()).await?;
        owner.apply(&service_account(VERIFIER).to_string()).await?;
        let verifier = pod(VERIFIER).injected().under(VERIFIER);
        let verifier = owner.start(&verifier).await?;
        payments.token().await?;
        let mut load = Self {
            good: 0,
            again: Vec::new(),
            api: OperatorApi::find().await?,
            identity: bearer(&shop.identity(&payments.pod, "orders").await?),
            verifier: bearer(&owner.identity(&verifier, VERIFIER).await?),
            next: 0,
            _payments: payments,
        };
        // what both were just given is on its way to the replicas
        let since = Instant::now();
        while let Err(why) = load.round().await {
            if since.elapsed() > BEGUN {
                return Err(why);
            }
        }
        load.again.clear();
        Ok(load)
    }

    /// Asks until the scene is over.
    ///
    /// # Errors
    /// Those of the scene; and a question was not answered as it should however often it was asked.
    pub async fn during<T>(
        &mut self,
        mut scene: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        loop {
            tokio::select! {
                over = &mut scene => return over,
                asked = self.round() => asked?,
            }
        }
    }

    async fn round(&mut self) -> Result<()> {
        sleep(BEAT).await;
        let name = format!("t{}", self.next % TOKENS);
        self.next += 1;
        let body = json!({"names": [name]}).to_string();
        let json = "Content-Type: application/json";
        let (identity, verifier) = (self.identity.clone(), self.verifier.clone());
        let args = ["-H", &identity, "-H", json, "-d", &body];
        let issued = self.answer(&args, "/v1/tokens", |said| {
            said["tokens"][0]["token"].is_string()
        });
        let issued = issued.await.context("issue a token")?;
        let token = issued["tokens"][0]["token"].as_str().unwrap_or_default();
        let form = format!("token={token}");
        let args = ["-H", &verifier, "--data-urlencode", &form];
        let active = |said: &Value| said["active"] == true;
        self.answer(&args, "/oauth2/introspect", active)
            .await
            .context("ask about a token")?;
        self.good += 1;
        Ok(())
    }

    /// The first good answer, of at most three.
    async fn answer(
        &mut self,
        args: &[&str],
        path: &str,
        is_good: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut tried = 0;
        loop {
            let why = match self.api.ask(args, path).await {
                Ok(answer) if answer.status == 200 => match answer.json()? {
                    said if is_good(&said) => return Ok(said),
                    _ => format!("{path}: 200, but not so"),
                },
                Ok(answer) => format!("{path}: {} {:?}", answer.status, answer.code()),
                Err(why) => format!("{path}: {why:#}"),
            };
            tried += 1;
            ensure!(tried < TRIES, "{why}, after {:?}", self.again);
            self.again.push(why);
            sleep(BEAT).await;
        }
    }
}

fn bearer(identity: &str) -> String {
    format!("Authorization: Bearer {identity}")
}

/// Of each of them a replica issues one in ten seconds: one of them each beat is within that.
const TOKENS: usize = 32;
const BEAT: Duration = Duration::from_millis(350);

const BEGUN: Duration = Duration::from_secs(30);

/// A replica that ends is asked no more once every node knows; until then the next question may meet it again.
const TRIES: usize = 3;
