//! B7: checking a token in the process of an API, beside `jsonwebtoken` on the same tokens: one that is new,
//! and one that was there a moment ago, which is looked up among the revocations as well.

use std::{
    hint::black_box,
    process::{self, Command},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use hallpass_core::{
    name::{Audience, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid},
    revocation::{Epochs, RawRevocation, RawTarget, RevocationSet},
    scope::ScopeSet,
    secret::Secret,
    token::{
        Expected,
        cache::{TokenHash, VerifiedCache},
        claims::Claims,
        jwt,
        keys::KeySet,
        signing::{Algorithm as Signs, SigningKey},
    },
};
use hallpass_e2e::wait::now;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::{
    place::{GENERATOR, pin_this_thread},
    pod::resident_kb,
    report::{Bar, Report},
    stats::Sample,
};

/// The ways to check a token. The first two are ours, the others are their peers.
const WAYS: [Way; 4] = [
    Way {
        name: "hallpass",
        check: |tokens, number| {
            let token = tokens.secret(number);
            jwt::verify(&tokens.keys, token, &EXPECTED, tokens.now).is_ok()
        },
    },
    Way {
        name: "hallpass, again",
        check: |tokens, number| tokens.again(number),
    },
    Way {
        name: "jsonwebtoken, key held",
        check: |tokens, number| tokens.peer(number, &tokens.key),
    },
    Way {
        name: "jsonwebtoken, key parsed each time",
        check: |tokens, number| {
            let key = DecodingKey::from_jwk(&tokens.jwk);
            key.is_ok_and(|key| tokens.peer(number, &key))
        },
    },
];

/// One way.
struct Way {
    name: &'static str,
    check: fn(&mut Tokens, usize) -> bool,
}

/// Tokens of one key, and what each way needs to check them.
struct Tokens {
    tokens: Vec<Secret<String>>,
    keys: KeySet,
    jwk: Jwk,
    key: DecodingKey,
    validation: Validation,
    verified: VerifiedCache,
    revocations: RevocationSet,
    now: Timestamp,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    pin_this_thread(GENERATOR)?;
    let mut tokens = Tokens::make()?;
    let before = resident_kb(process::id())?;
    tokens.revocations = revocations(tokens.now, REVOKED)?;
    let set = (resident_kb(process::id())? - before) / 1024.0;
    let mut micros = [const { Vec::new() }; WAYS.len()];
    for _ in 0..ROUNDS {
        for (way, micros) in WAYS.iter().zip(&mut micros) {
            let start = Instant::now();
            way.run(&mut tokens, CHECKS)?;
            #[expect(clippy::cast_precision_loss, reason = "hundreds")]
            micros.push(start.elapsed().as_secs_f64() * 1e6 / CHECKS as f64);
        }
    }
    let micros = micros.map(|micros| Sample::new(micros).median());
    let how = "ES256, another token each time, one thread; median of 15 interleaved rounds of 400; the peer reads the claims as a JSON value";
    rows(report, ("us", REVOKED), micros, how);
    let how = "growth of VmRSS by a set of as many as a cluster can have, each of another token";
    report.add("resident", "100,000 revocations", (set, "MiB"), how);
    match instructions()? {
        Some(counts) => {
            let how = "valgrind --tool=callgrind, the difference of two runs; its processor has no AVX-512 and no SHA";
            rows(report, ("instr", FEW_REVOKED), counts, how);
        }
        None => hallpass_e2e::remark::remark("skipped, valgrind is not there: instruction counts"),
    }
    Ok(())
}

fn rows(
    report: &mut Report,
    (unit, revoked): (&str, usize),
    figures: [f64; WAYS.len()],
    how: &str,
) {
    let [cold, again, peers @ ..] = figures;
    let known = format!(
        "{how}; one of {DIFFERENT} tokens that were verified before, found by its SHA-256; {revoked} revocations in force"
    );
    for (metric, ours, how) in [
        ("cold verification", cold, how),
        ("repeated, with revocation check", again, &known),
    ] {
        for (way, peer) in WAYS.iter().skip(2).zip(peers) {
            report.add("B7", metric, (ours, unit), how);
            report.beside(way.name, peer);
        }
        if unit == "us" && ours == again {
            report.bar(Bar::Value(1.5));
        }
    }
}

/// Checks that many tokens in the way of that name: what is run under valgrind.
pub(crate) fn check(name: &str, count: usize) -> Result<()> {
    let way = WAYS.iter().find(|way| way.name == name);
    way.context("no such way")?.run(&mut Tokens::make()?, count)
}

/// The instructions of one check; [`None`] where valgrind is not there.
fn instructions() -> Result<Option<[f64; WAYS.len()]>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let mut counts = [0.0; WAYS.len()];
    for (way, count) in WAYS.iter().zip(&mut counts) {
        *count = (collected(way.name, 300)? - collected(way.name, 100)?) / 200.0;
    }
    Ok(Some(counts))
}

fn collected(way: &str, count: usize) -> Result<f64> {
    let said = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["check", way, &count.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, collected) = collected.with_context(|| said.clone())?;
    Ok(collected.trim().parse()?)
}

impl Way {
    fn run(&self, tokens: &mut Tokens, count: usize) -> Result<()> {
        for number in 0..count {
            let good = (self.check)(black_box(&mut *tokens), black_box(number));
            ensure!(good, "{} refuses a good token", self.name);
        }
        Ok(())
    }
}

impl Tokens {
    fn make() -> Result<Self> {
        let der = Secret::new(KeyPair::generate()?.serialize_der());
        let key = SigningKey::from_pkcs8(&der, Signs::Es256)?;
        let jwk = serde_json::to_value(key.public())?;
        let keys = json!({"keys": [&jwk]}).to_string();
        let now = Timestamp::from_second(now().as_second())?;
        let tokens = (0..DIFFERENT).map(|_| Ok(jwt::sign(&key, &claims(now)?)?));
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        let jwk: Jwk = serde_json::from_value(jwk)?;
        Ok(Self {
            tokens: tokens.collect::<Result<_>>()?,
            keys: KeySet::parse_issuer(keys.as_bytes())?,
            key: DecodingKey::from_jwk(&jwk)?,
            jwk,
            validation,
            verified: VerifiedCache::new(DIFFERENT),
            revocations: revocations(now, FEW_REVOKED)?,
            now,
        })
    }

    /// As an API does that knows the revocations: what was verified a moment ago is not verified again.
    fn again(&mut self, number: usize) -> bool {
        let token = &self.tokens[number % self.tokens.len()];
        let hash = TokenHash::of(token);
        let known = self.verified.get(&hash, &self.keys, &EXPECTED, self.now);
        let Some(verified) = known.or_else(|| {
            let verified = jwt::verify(&self.keys, token, &EXPECTED, self.now).ok()?;
            let verified = Arc::new(verified);
            self.verified.put(hash, Arc::clone(&verified));
            Some(verified)
        }) else {
            return false;
        };
        let (claims, kid) = (verified.claims(), verified.kid());
        !self.revocations.refuses(claims, kid, "hallpass")
    }

    fn secret(&self, number: usize) -> &Secret<String> {
        &self.tokens[number % self.tokens.len()]
    }

    fn peer(&self, number: usize, key: &DecodingKey) -> bool {
        decode::<Value>(self.secret(number).expose(), key, &self.validation).is_ok()
    }
}

fn claims(now: Timestamp) -> Result<Claims> {
    let account = "system:serviceaccount:shop:orders";
    Ok(Claims {
        issuer: ISSUER.into(),
        subject: account.into(),
        audience: Audience::parse(AUDIENCE)?,
        expires: now + SignedDuration::from_mins(15),
        issued: now,
        id: TokenId::from_random(rand::random()),
        client_id: account.into(),
        scopes: ScopeSet::parse("payments:read payments:write")?,
        namespace: Namespace::parse("shop")?,
        service_account: ServiceAccount::parse("orders")?,
        service_account_uid: Uid::parse(UID)?,
        pod: PodName::parse("orders-6f7c9d8b5d-x2k4q")?,
        pod_uid: Uid::parse("7c1c4c5e-0f2f-4b9c-9f43-1a1c7a6f0b12")?,
        policy: ObjectName::parse("orders-payments")?,
        known: Epochs::default(),
        extra: [].into(),
    })
}

/// Each of another token.
fn revocations(now: Timestamp, count: usize) -> Result<RevocationSet> {
    let mut set = RevocationSet::default();
    for number in 0..count {
        let token = TokenId::from_random(rand::random());
        let raw = RawRevocation {
            name: format!("revocation-{number}"),
            uid: UID.to_owned(),
            created: now,
            resource_version: number.to_string(),
            target: RawTarget {
                token_id: Some(token.as_str().to_owned()),
                ..RawTarget::default()
            },
            ..RawRevocation::default()
        };
        let (target, revocation) = raw.parse()?;
        set.put(&target, revocation, now)?;
    }
    Ok(set)
}

const EXPECTED: Expected<'_> = Expected {
    issuer: ISSUER,
    audience: AUDIENCE,
};
const UID: &str = "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11";
/// As many as a cluster can have.
const REVOKED: usize = 100_000;
/// As many as are made in no time under valgrind.
const FEW_REVOKED: usize = 100;
const ISSUER: &str = "https://hallpass.hallpass-system.svc";
const AUDIENCE: &str = "https://payments.payments.svc";
const DIFFERENT: usize = 64;
const ROUNDS: usize = 15;
const CHECKS: usize = 400;
