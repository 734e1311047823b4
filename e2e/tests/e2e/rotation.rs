//! Keys change under the eyes of other people's verifiers, which keep what they have read of them as each
//! library does.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    issuer::Issuer,
    jury::Jury,
    manifest::audience_policy,
    operator::replicas,
    payments::{Payments, READ},
    remark::remark,
    state,
    token::{kid, renamed},
    verifiers::{ALL, Trust, Verdict},
};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

const MINUTE: Duration = Duration::from_secs(60);

/// Of each of them a replica issues one in ten seconds: one of them each beat is within that.
const TOKENS: usize = 32;
const BEAT: Duration = Duration::from_millis(350);

/// So many verdicts of each verifier on the tokens of a key are a load.
const ENOUGH: usize = 12;

/// Libraries that read the keys again as soon as they meet one that they do not know.
const ASK_AT_ONCE: [&str; 2] = ["go-oidc", "golang-jwt"];

#[tokio::test]
async fn an_ordinary_rotation_under_load_has_no_verifier_refuse_a_token() -> Result<()> {
    if state::folder("an ordinary rotation under load").is_none() {
        return Ok(());
    }
    let cluster = Cluster::shared("rotation").await?;
    let issuer = Issuer::new(&cluster).await?;
    let (first, second) = issuer.keys().await?;
    issuer.published_long_ago(&second).await?;
    let mut load = Load::new(cluster, issuer).await?;
    let mut jury = load.jury()?;
    load.feed(&mut jury, &[&first]).await?;

    load.issuer.annotate("rotate").await?;
    load.feed(&mut jury, &[&first, &second]).await?;
    load.signs_with(&second).await?;

    // the key after it was published a moment ago: however often it is asked for, it has to wait
    let (_, third) = load.issuer.keys().await?;
    load.issuer.annotate("rotate").await?;
    for _ in 0..2 {
        load.feed(&mut jury, &[&first, &second]).await?;
    }
    ensure!(load.refused.is_empty(), "{:?}", load.refused);
    load.signs_with(&second).await?;
    ensure!(!load.held.contains_key(&third), "{third} signs already");
    remark(&format!("an ordinary rotation: {}", load.said()));
    jury.end().await
}

#[tokio::test]
async fn an_emergency_rotation_under_load_has_every_verifier_take_the_new_key_at_once() -> Result<()>
{
    if state::folder("an emergency rotation under load").is_none() {
        return Ok(());
    }
    let cluster = Cluster::shared("leaked").await?;
    let issuer = Issuer::new(&cluster).await?;
    let (first, second) = issuer.keys().await?;
    let mut load = Load::new(cluster, issuer).await?;
    let mut jury = load.jury()?;
    load.feed(&mut jury, &[&first]).await?;
    ensure!(load.refused.is_empty(), "{:?}", load.refused);

    load.issuer.annotate("rotate-now").await?;
    load.feed(&mut jury, &[&second]).await?;
    load.signs_with(&second).await?;
    // what becomes of the other one depends on when each of them reads the keys again
    let new = load.refused.iter().filter(|refused| refused.kid == second);
    let new: Vec<_> = new.collect();
    ensure!(new.is_empty(), "tokens of the new key are refused: {new:?}");
    remark(&format!("an emergency: {}", load.said()));

    load.issuer.gone(&first).await?;
    let leaked = load.held[&first].clone();
    let unknown = renamed(&leaked, "nobody")?;
    for (name, verdict) in jury.verdicts(&unknown).await? {
        ensure!(!verdict.accepted(), "{name} takes a token of no key");
    }
    let kept = accepting(&mut jury, &leaked).await?;
    ensure!(
        kept.iter().all(|name| !ASK_AT_ONCE.contains(name)),
        "they have just read the keys: {kept:?}"
    );
    remark(&format!(
        "a removed key after a token of an unknown one: still good for {kept:?}, until they read the keys again"
    ));
    jury.end().await?;

    // who reads the keys again refuses it, whoever it is
    let mut jury = load.jury()?;
    let kept = accepting(&mut jury, &leaked).await?;
    ensure!(kept.is_empty(), "a removed key is good for {kept:?}");
    let good = accepting(&mut jury, &load.held[&second]).await?;
    ensure!(
        good.len() == ALL.len() + 1,
        "good for no more than {good:?}"
    );
    jury.end().await
}

/// The verifiers that take that token.
async fn accepting(jury: &mut Jury, token: &str) -> Result<Vec<&'static str>> {
    let verdicts = jury.verdicts(token).await?;
    let accepted = verdicts.iter().filter(|(_, verdict)| verdict.accepted());
    Ok(accepted.map(|(name, _)| *name).collect())
}

/// A stream of fresh tokens of every replica, and what the verifiers have said of them so far.
struct Load {
    issuer: Issuer,
    audience: String,
    authority: OperatorApi,
    identity: String,
    replicas: Vec<OperatorApi>,
    beat: Interval,
    beats: usize,
    /// The newest token of each key.
    held: BTreeMap<String, String>,
    /// By key and verifier.
    accepted: BTreeMap<(String, &'static str), usize>,
    refused: Vec<Refused>,
    _payments: Payments,
}

#[derive(Debug)]
struct Refused {
    kid: String,
    #[expect(dead_code, reason = "read by whoever reads why the test failed")]
    by: (&'static str, String),
}

impl Load {
    /// A pod that may have [`TOKENS`] of an audience of that issuer.
    async fn new(cluster: Cluster, issuer: Issuer) -> Result<Self> {
        let payments = Payments::new(cluster, |audience| {
            audience
                .with("/spec/maxLifetime", json!("10m"))
                .with("/spec/issuerRef/name", json!(issuer.name))
        })
        .await?;
        let (shop, owner) = (&payments.shop, &payments.api.namespace);
        let mut policy = audience_policy("orders", "payments", owner, &[READ])
            .with("/metadata/name", json!("load"))
            .with("/spec/tokens", json!([]));
        for i in 0..TOKENS {
            let token = json!({
                "name": format!("t{i}"), "audienceRef": {"namespace": owner, "name": "payments"},
                "scopes": [READ], "required": false,
            });
            policy = policy.with("/spec/tokens/-", token);
        }
        shop.apply(&policy.to_string()).await?;
        let mut apis = Vec::new();
        for replica in replicas().await? {
            apis.push(replica.api().await?);
        }
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            issuer,
            audience: payments.value(),
            authority: OperatorApi::find().await?,
            identity: shop.identity(&payments.pod, "orders").await?,
            replicas: apis,
            beat,
            beats: 0,
            held: BTreeMap::new(),
            accepted: BTreeMap::new(),
            refused: Vec::new(),
            _payments: payments,
        })
    }

    fn jury(&self) -> Result<Jury> {
        let trust = Trust {
            issuer: &self.issuer.url,
            audience: &self.audience,
            ca: self.authority.ca(),
            algorithm: "ES256",
        };
        Jury::start(&trust, READ)
    }

    /// Goes on until each verifier has taken enough tokens more of each of these keys.
    async fn feed(&mut self, jury: &mut Jury, keys: &[&str]) -> Result<()> {
        let least = |load: &Self| {
            let counts = keys.iter().map(|kid| load.accepted_by_all(kid));
            counts.collect::<Vec<_>>()
        };
        let (before, start) = (least(self), Instant::now());
        loop {
            let counts = least(self);
            if counts.iter().zip(&before).all(|(n, b)| *n >= b + ENOUGH) {
                return Ok(());
            }
            ensure!(
                start.elapsed() < MINUTE,
                "{counts:?} tokens of {keys:?} are taken by every verifier; refused: {:?}",
                self.refused
            );
            self.round(jury).await?;
        }
    }

    /// A fresh token of each replica, and the newest of each key, for all the verifiers.
    async fn round(&mut self, jury: &mut Jury) -> Result<()> {
        self.beat.tick().await;
        let mut tokens: Vec<String> = self.held.values().cloned().collect();
        tokens.extend(self.fresh().await?);
        for token in tokens {
            let kid = kid(&token)?;
            for (name, verdict) in jury.verdicts(&token).await? {
                match verdict {
                    Verdict::Accepted(_) => {
                        *self.accepted.entry((kid.clone(), name)).or_default() += 1;
                    }
                    Verdict::Refused(why) => self.refused.push(Refused {
                        kid: kid.clone(),
                        by: (name, why),
                    }),
                }
            }
            self.held.insert(kid, token);
        }
        Ok(())
    }

    /// A token of each replica.
    async fn fresh(&mut self) -> Result<Vec<String>> {
        let name = format!("t{}", self.beats % TOKENS);
        self.beats += 1;
        let mut tokens = Vec::new();
        for api in &self.replicas {
            let answer = api.tokens(&self.identity, &[&name]).await?;
            ensure!(answer.status == 200, "{name}: {answer:?}");
            let answer = answer.json()?;
            let token = answer["tokens"][0]["token"].as_str();
            tokens.push(token.with_context(|| format!("{answer}"))?.to_owned());
        }
        Ok(tokens)
    }

    /// Every replica signs with that key.
    async fn signs_with(&mut self, expected: &str) -> Result<()> {
        for token in self.fresh().await? {
            let kid = kid(&token)?;
            ensure!(kid == expected, "a token by {kid}, not {expected}");
        }
        Ok(())
    }

    /// How many tokens of that key each verifier has taken at least.
    fn accepted_by_all(&self, kid: &str) -> usize {
        let counts = self.accepted.iter().filter(|((key, _), _)| key == kid);
        let counts: Vec<usize> = counts.map(|(_, count)| *count).collect();
        if counts.len() == ALL.len() + 1 {
            counts.into_iter().min().unwrap_or_default()
        } else {
            0
        }
    }

    /// How much of a load it was.
    fn said(&self) -> String {
        let taken: usize = self.accepted.values().sum();
        let (fresh, verifiers) = (self.beats * self.replicas.len(), ALL.len() + 1);
        let refused = self.refused.len();
        format!(
            "{fresh} tokens of {} keys, {taken} times taken by {verifiers} verifiers, {refused} times refused",
            self.held.len()
        )
    }
}
