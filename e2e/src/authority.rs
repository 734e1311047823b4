//! The CA of the operator: one that a test puts in its place, and what the operator makes of it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::{
    cluster::{Engine, RELEASE, engine},
    command::{kubectl, kubectl_with},
    wait::now,
};

/// A CA with a serving certificate of the operator's, in PEM.
#[derive(Debug)]
pub struct Authority {
    /// The CA.
    pub certificate: String,
    data: Value,
}

impl Authority {
    /// One that ends after that time.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn living_for(life: Duration) -> Result<Self> {
        let now = now();
        Self::living(now, now + life)
    }

    /// One whose second half has begun.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn past_half() -> Result<Self> {
        let now = now();
        Self::living(now - 5 * HOUR, now + 4 * HOUR)
    }

    /// One that ends so soon, after a life in which nobody looks at it more often than usual: it lapses while the
    /// operator runs.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn ending_after(left: Duration) -> Result<Self> {
        let now = now();
        Self::living(now - HOUR, now + left)
    }

    fn living(from: Timestamp, until: Timestamp) -> Result<Self> {
        let (key, mut ca) = (KeyPair::generate()?, CertificateParams::default());
        ca.distinguished_name
            .push(DnType::CommonName, "Hallpass serving CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        live(&mut ca, from, until);
        let certificate = ca.self_signed(&key)?.pem();
        let host = format!("hallpass.{RELEASE}.svc");
        let names = [host.clone(), format!("{host}.cluster.local")];
        let (serving_key, mut serving) = (KeyPair::generate()?, CertificateParams::new(names)?);
        live(&mut serving, from, until);
        let issuer = Issuer::from_params(&ca, &key);
        let leaf = serving.signed_by(&serving_key, &issuer)?.pem();
        let entry = |text: &str| STANDARD.encode(text);
        let data = json!({
            "ca.crt": entry(&certificate), "ca.key": entry(&key.serialize_pem()),
            "tls.crt": entry(&leaf), "tls.key": entry(&serving_key.serialize_pem()),
        });
        Ok(Self { certificate, data })
    }
}

fn live(certificate: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    certificate.not_before = epoch + from.as_duration().unsigned_abs();
    certificate.not_after = epoch + until.as_duration().unsigned_abs();
}

/// Has the operator find that CA in its Secret, and nothing else.
///
/// # Errors
/// The Secret cannot be written.
pub async fn written(authority: &Authority) -> Result<()> {
    let nothing = r#"{"data":null}"#;
    let patch = |patch: &str| {
        let patch = patch.to_owned();
        async move {
            let args = [
                "patch",
                "secret",
                SECRET,
                "-n",
                RELEASE,
                "--type=merge",
                "--patch-file=/dev/stdin",
            ];
            kubectl_with(&args, &patch).await?.success()
        }
    };
    patch(nothing).await?;
    patch(&json!({"data": authority.data}).to_string()).await?;
    Ok(())
}

/// The names of the Secret's entries.
///
/// # Errors
/// It cannot be read.
pub async fn stored() -> Result<Vec<String>> {
    let secret = kubectl(&["get", "secret", SECRET, "-n", RELEASE, "-o", "json"]).await?;
    let secret: Value = serde_json::from_str(&secret.success()?)?;
    let entries = secret["data"].as_object().context("its data")?;
    Ok(entries.keys().cloned().collect())
}

/// The CAs that are to be trusted: by pods, or by the API server where the operator injects.
///
/// # Errors
/// They are not published.
pub async fn published() -> Result<String> {
    if engine()? == Engine::Webhook {
        let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        let found = [
            "get",
            "mutatingwebhookconfiguration",
            "hallpass-inject",
            "-o",
            path,
        ];
        let text = kubectl(&found).await?.success()?;
        return Ok(String::from_utf8(STANDARD.decode(text)?)?);
    }
    let bundle = format!("hallpass.dev:serving:{RELEASE}");
    let path = [
        "get",
        "clustertrustbundle",
        &bundle,
        "-o",
        "jsonpath={.spec.trustBundle}",
    ];
    kubectl(&path).await?.success()
}

const SECRET: &str = "hallpass-serving";
const HOUR: Duration = Duration::from_secs(3600);
