//! Two pods of one namespace and one of another, which call three APIs: with JWTs and opaque tokens of an
//! issuer of the test's own, and with JWTs of the installation's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    guard::{Guard, Token, VERIFIER},
    issuer::Issuer,
    manifest::{Manifest, audience, audience_policy, pod, service_account},
    wait::until,
};

/// The scope that all of them may have.
pub const SCOPE: &str = "payments:read";

/// Who is given tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The pod `orders` of service account `orders`.
    Orders,
    /// The pod `stock` of service account `stock` beside it.
    Stock,
    /// A pod `orders` of service account `orders` of another namespace.
    Elsewhere,
}

/// The tokens of a row, each with the API it is for. `first` is the policy of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A JWT of the test's issuer.
    Jwt,
    /// An opaque token of the test's issuer.
    Opaque,
    /// A JWT of the test's issuer, by the policy `second`.
    Second,
    /// A JWT of the installation's issuer, by the policy `second`.
    Foreign,
}

/// The pods, the APIs, and the verifier of those.
#[derive(Debug)]
pub struct Scene {
    /// The namespace of `orders` and `stock`.
    pub shop: Cluster,
    /// The test's issuer.
    pub issuer: Issuer,
    /// The verifier.
    pub guard: Guard,
    owner: Cluster,
    identities: [String; 3],
    _elsewhere: Cluster,
}

impl Scene {
    /// For so many rows of tokens. Of each a replica issues two at once, and one of them may be for the
    /// pod's sidecar: a row is good for one of each replica.
    ///
    /// # Errors
    /// Something was refused, or does not start.
    pub async fn new(test: &str, rows: usize) -> Result<Self> {
        Self::inside(Cluster::shared(test).await?, rows).await
    }

    /// The same in that namespace.
    ///
    /// # Errors
    /// Something was refused, or does not start.
    pub async fn inside(shop: Cluster, rows: usize) -> Result<Self> {
        let owner = shop.beside("payments").await?;
        let elsewhere = shop.beside("elsewhere").await?;
        let issuer = Issuer::new(&shop).await?;
        issuer.keys().await?;
        let apis = [
            ("payments", "JWT", issuer.name.as_str()),
            ("ledger", "Opaque", &issuer.name),
            ("mail", "JWT", "hallpass"),
        ];
        for (name, format, issuer) in apis {
            let api = audience(&owner.namespace)
                .with("/metadata/name", json!(name))
                .with("/spec/audience", json!(aud(name, &owner)))
                .with("/spec/issuerRef/name", json!(issuer))
                .with("/spec/format", json!(format))
                .with("/spec/maxLifetime", json!("10m"))
                .with("/spec/guard", json!({"serviceAccounts": [VERIFIER]}))
                .with("/spec/allow", json!([allowed(&shop), allowed(&elsewhere)]));
            owner.apply(&api.to_string()).await?;
        }
        for cluster in [&shop, &elsewhere] {
            for policy in policies(&owner, rows) {
                cluster.apply(&policy.to_string()).await?;
            }
        }
        let identities = [
            identity(&shop, "orders").await?,
            identity(&shop, "stock").await?,
            identity(&elsewhere, "orders").await?,
        ];
        let scene = Self {
            guard: Guard::new(&owner).await?,
            shop,
            issuer,
            owner,
            identities,
            _elsewhere: elsewhere,
        };
        scene.begun().await?;
        Ok(scene)
    }

    /// Waits until both replicas issue the tokens of a row that nobody asks for afterwards.
    async fn begun(&self) -> Result<()> {
        for who in [Who::Orders, Who::Stock, Who::Elsewhere] {
            for (replica, what) in [0, 1].into_iter().flat_map(|r| What::ALL.map(|w| (r, w))) {
                let token = until(MINUTE, "it issues", || {
                    self.token(replica, who, what, "begin")
                });
                let token = token.await.with_context(|| format!("{who:?} {what:?}"))?;
                self.guard.accepts_soon("at the beginning", &token).await?;
            }
        }
        Ok(())
    }

    /// The identity token of that pod.
    #[must_use]
    pub fn identity(&self, who: Who) -> &str {
        &self.identities[who as usize]
    }

    /// The `aud` of the tokens for that API.
    #[must_use]
    pub fn aud(&self, api: &str) -> String {
        aud(api, &self.owner)
    }

    /// The path of the issuer of those tokens.
    #[must_use]
    pub fn path(&self, what: What) -> String {
        match what {
            What::Foreign => String::new(),
            What::Jwt | What::Opaque | What::Second => format!("/{}", self.issuer.name),
        }
    }

    /// A token of that row, which that replica issued.
    ///
    /// # Errors
    /// It refused.
    pub async fn token(&self, replica: usize, who: Who, what: What, row: &str) -> Result<Token> {
        let (name, path) = (what.name(row), self.path(what));
        let identity = self.identity(who);
        self.guard.issue(replica, identity, &name, &path).await
    }
}

impl What {
    const ALL: [Self; 4] = [Self::Jwt, Self::Opaque, Self::Second, Self::Foreign];

    /// The name of that token of a row.
    #[must_use]
    pub fn name(self, row: &str) -> String {
        let prefix = match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::Second => "second",
            Self::Foreign => "foreign",
        };
        format!("{prefix}-{row}")
    }

    /// The audience that it is for.
    #[must_use]
    pub const fn api(self) -> &'static str {
        match self {
            Self::Jwt | Self::Second => "payments",
            Self::Opaque => "ledger",
            Self::Foreign => "mail",
        }
    }
}

fn aud(api: &str, owner: &Cluster) -> String {
    format!("https://{api}.{}.svc", owner.namespace)
}

fn allowed(consumer: &Cluster) -> Value {
    let labels = json!({"kubernetes.io/metadata.name": consumer.namespace});
    json!({
        "from": {
            "namespaceSelector": {"matchLabels": labels},
            "serviceAccounts": ["orders", "stock"],
        },
        "scopes": [SCOPE],
    })
}

/// The policies `first` and `second`.
fn policies(owner: &Cluster, rows: usize) -> [Manifest; 2] {
    let policy = |name: &str, each: [What; 2]| {
        let accounts = json!([{"serviceAccount": "orders"}, {"serviceAccount": "stock"}]);
        let mut policy = audience_policy("orders", "payments", &owner.namespace, &[SCOPE])
            .with("/metadata/name", json!(name))
            .with("/spec/subjects", accounts)
            .with("/spec/tokens", json!([]));
        let rows = (0..rows).map(|row| row.to_string());
        for row in rows.chain(["begin".to_owned()]) {
            for what in each {
                let token = json!({
                    "name": what.name(&row), "scopes": [SCOPE], "required": false,
                    "audienceRef": {"namespace": owner.namespace, "name": what.api()},
                });
                policy = policy.with("/spec/tokens/-", token);
            }
        }
        policy
    };
    [
        policy("first", [What::Jwt, What::Opaque]),
        policy("second", [What::Second, What::Foreign]),
    ]
}

/// That of a pod with its own service account, both of that name.
async fn identity(cluster: &Cluster, name: &str) -> Result<String> {
    cluster.apply(&service_account(name).to_string()).await?;
    let pod = cluster.start(&pod(name).injected().under(name)).await?;
    cluster.identity(&pod, name).await
}

const MINUTE: Duration = Duration::from_secs(30);
