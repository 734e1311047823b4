//! A `TokenAudience` in its raw form.

use hallpass_core::audience::{RawAllow, RawClaim, RawStatement};

use crate::{
    selector::NamespaceSelector,
    token_audience::{
        AllowedFrom, AudienceAllow, AudienceClaim, AudienceGuard, TokenAudience, TokenAudienceSpec,
    },
};

impl From<&TokenAudience> for RawStatement {
    fn from(resource: &TokenAudience) -> Self {
        let metadata = resource.metadata.clone();
        let TokenAudienceSpec {
            audience,
            issuer_ref,
            format,
            scopes,
            allow,
            max_lifetime,
            claims,
            contact,
            guard,
        } = resource.spec.clone();
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .map(|time| time.0)
                .unwrap_or_default(),
            audience,
            issuer: issuer_ref.name,
            format: format.map(|format| format.as_str().to_owned()),
            scopes: scopes.into_iter().map(|scope| scope.name).collect(),
            allow: allow.into_iter().map(raw_allow).collect(),
            max_lifetime,
            claims: claims.into_iter().map(raw_claim).collect(),
            contact,
            verifiers: guard.map(|AudienceGuard { service_accounts }| service_accounts),
        }
    }
}

fn raw_allow(AudienceAllow { from, scopes }: AudienceAllow) -> RawAllow {
    let AllowedFrom {
        namespace_selector: NamespaceSelector { match_labels },
        service_accounts,
    } = from;
    RawAllow {
        match_labels,
        service_accounts,
        scopes,
    }
}

fn raw_claim(claim: AudienceClaim) -> RawClaim {
    let AudienceClaim {
        name,
        literal,
        namespace_label,
        service_account_annotation,
    } = claim;
    RawClaim {
        name,
        literal,
        namespace_label,
        service_account_annotation,
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::audience::Statement;
    use serde_json::json;

    use super::*;

    fn stored(spec: serde_json::Value) -> TokenAudience {
        serde_json::from_value(json!({
            "apiVersion": "hallpass.dev/v1alpha1",
            "kind": "TokenAudience",
            "metadata": {
                "namespace": "payments",
                "name": "payments",
                "uid": "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e",
                "creationTimestamp": "2026-11-25T01:42:00Z",
            },
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn every_field_reaches_the_domain() {
        let audience = stored(json!({
            "audience": "https://payments.payments.svc",
            "issuerRef": {"name": "hallpass"},
            "format": "Opaque",
            "scopes": [{"name": "payments:read"}, {"name": "payments:write"}],
            "allow": [{
                "from": {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "serviceAccounts": ["orders"]},
                "scopes": ["payments:read"],
            }],
            "maxLifetime": "5m",
            "claims": [
                {"name": "a", "literal": "x"},
                {"name": "b", "namespaceLabel": "team"},
                {"name": "c", "serviceAccountAnnotation": "example.com/tenant"},
            ],
            "contact": "#payments-oncall",
            "guard": {"serviceAccounts": ["payments"]},
        }));
        let claim = |name: &str| RawClaim {
            name: name.into(),
            ..RawClaim::default()
        };
        let expected = RawStatement {
            namespace: "payments".into(),
            name: "payments".into(),
            uid: "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e".into(),
            created: "2026-11-25T01:42:00Z".parse().unwrap(),
            audience: "https://payments.payments.svc".into(),
            issuer: "hallpass".into(),
            format: Some("Opaque".into()),
            scopes: vec!["payments:read".into(), "payments:write".into()],
            allow: vec![RawAllow {
                match_labels: [("team".into(), "shop".into())].into(),
                service_accounts: vec!["orders".into()],
                scopes: vec!["payments:read".into()],
            }],
            max_lifetime: Some("5m".into()),
            claims: vec![
                RawClaim {
                    literal: Some("x".into()),
                    ..claim("a")
                },
                RawClaim {
                    namespace_label: Some("team".into()),
                    ..claim("b")
                },
                RawClaim {
                    service_account_annotation: Some("example.com/tenant".into()),
                    ..claim("c")
                },
            ],
            contact: Some("#payments-oncall".into()),
            verifiers: Some(vec!["payments".into()]),
        };
        let raw = RawStatement::from(&audience);
        assert_eq!(raw, expected);
        assert_eq!(Statement::parse(&raw).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let spec = json!({
            "audience": "https://payments.payments.svc",
            "issuerRef": {"name": "hallpass"},
            "scopes": [{"name": "payments:read"}],
        });
        let audience = stored(spec.clone());
        let raw = RawStatement::from(&audience);
        let expected = RawStatement {
            namespace: raw.namespace.clone(),
            name: raw.name.clone(),
            uid: raw.uid.clone(),
            created: raw.created,
            audience: "https://payments.payments.svc".into(),
            issuer: "hallpass".into(),
            scopes: vec!["payments:read".into()],
            ..RawStatement::default()
        };
        assert_eq!(raw, expected);
        assert_eq!(Statement::parse(&raw).map(|_| ()), Ok(()));
        assert_eq!(serde_json::to_value(&audience.spec).unwrap(), spec);
    }
}
