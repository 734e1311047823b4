//! A `TokenIssuer` in its raw form.

use hallpass_core::issuer::{RawAudiencePattern, RawIssuer};
use kube::ResourceExt;

use crate::{
    selector::NamespaceSelector,
    token_issuer::{HallpassIssuer, PermittedAudience, TokenIssuer, TokenIssuerSpec},
};

impl From<&TokenIssuer> for RawIssuer {
    fn from(resource: &TokenIssuer) -> Self {
        let metadata = resource.metadata.clone();
        let annotation = |key: &str| resource.annotations().get(key).cloned();
        let TokenIssuerSpec {
            hallpass,
            audiences,
        } = resource.spec.clone();
        let HallpassIssuer {
            issuer_url,
            algorithm,
            rotate_every,
            spiffe_trust_domain,
        } = hallpass;
        Self {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .map(|time| time.0)
                .unwrap_or_default(),
            url: issuer_url,
            algorithm: algorithm.map(|algorithm| algorithm.as_str().to_owned()),
            rotate_every,
            spiffe_trust_domain,
            audiences: audiences.into_iter().map(raw_pattern).collect(),
            rotate: annotation("hallpass.dev/rotate"),
            rotate_now: annotation("hallpass.dev/rotate-now"),
        }
    }
}

fn raw_pattern(permitted: PermittedAudience) -> RawAudiencePattern {
    let PermittedAudience {
        pattern,
        namespaces: NamespaceSelector { match_labels },
    } = permitted;
    RawAudiencePattern {
        pattern,
        match_labels,
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::issuer::Issuer;
    use serde_json::json;

    use super::*;

    fn stored(spec: serde_json::Value) -> TokenIssuer {
        serde_json::from_value(json!({
            "apiVersion": "hallpass.dev/v1alpha1",
            "kind": "TokenIssuer",
            "metadata": {
                "name": "hallpass",
                "uid": "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e",
                "creationTimestamp": "2026-11-25T01:42:00Z",
            },
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn every_field_reaches_the_domain() {
        let mut issuer = stored(json!({
            "hallpass": {
                "issuerURL": "https://id.example",
                "algorithm": "EdDSA",
                "rotateEvery": "7d",
                "spiffeTrustDomain": "prod.example",
            },
            "audiences": [{"pattern": "https://*.acme.example", "namespaces": {"matchLabels": {"team": "api"}}}],
        }));
        issuer.metadata.annotations = Some(
            [
                ("hallpass.dev/rotate", "2026-11-26T00:00:00Z"),
                ("hallpass.dev/rotate-now", "2026-11-27T00:00:00Z"),
                ("example.com/rotate", "2026-11-28T00:00:00Z"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        );
        let expected = RawIssuer {
            name: "hallpass".into(),
            uid: "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e".into(),
            created: "2026-11-25T01:42:00Z".parse().unwrap(),
            url: "https://id.example".into(),
            algorithm: Some("EdDSA".into()),
            rotate_every: Some("7d".into()),
            spiffe_trust_domain: Some("prod.example".into()),
            audiences: vec![RawAudiencePattern {
                pattern: "https://*.acme.example".into(),
                match_labels: [("team".into(), "api".into())].into(),
            }],
            rotate: Some("2026-11-26T00:00:00Z".into()),
            rotate_now: Some("2026-11-27T00:00:00Z".into()),
        };
        let raw = RawIssuer::from(&issuer);
        assert_eq!(raw, expected);
        assert_eq!(Issuer::parse(&raw).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let spec = json!({"hallpass": {"issuerURL": "https://id.example"}});
        let issuer = stored(spec.clone());
        let raw = RawIssuer::from(&issuer);
        let expected = RawIssuer {
            name: raw.name.clone(),
            uid: raw.uid.clone(),
            created: raw.created,
            url: "https://id.example".into(),
            ..RawIssuer::default()
        };
        assert_eq!(raw, expected);
        assert_eq!(Issuer::parse(&raw).map(|_| ()), Ok(()));
        assert_eq!(serde_json::to_value(&issuer.spec).unwrap(), spec);
    }
}
