//! A cluster with two issuers, APIs that state audiences, and pods that ask.

use axum::body::Body;
use hallpass_core::{
    name::{
        Audience, ClaimName, IssuerId, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid,
    },
    revocation::Epochs,
    scope::ScopeSet,
    secret::Secret,
    token::{claims::Claims, jwt, opaque},
};
use hallpass_crds::{
    token_audience::TokenAudience, token_issuer::TokenIssuer, token_policy::TokenPolicy,
};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Namespace as NamespaceObject, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::{PartialObjectMeta, PartialObjectMetaExt};
use serde_json::{Value, json};

use crate::{
    api::{
        Front,
        fixture::{Answer, Operator, identity, send},
    },
    index::{
        Index,
        fixture::{pod, service_account},
    },
    issuer::fixture::{START, mint},
    keys::Keys,
};

pub(super) const FIRST: &str = "https://id.example";
pub(super) const SECOND: &str = "https://id.example/second";
pub(super) const PAYMENTS: &str = "https://payments.payments.svc";
pub(super) const LEDGER: &str = "https://ledger.payments.svc";
pub(super) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(super) const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Pod `orders-0` in `shop` may hold `payments` (read and write, a JWT of the first issuer), `ledger` (read,
/// opaque, of the second one) and `vault`, a service-account token. `payments-0` in namespace `payments`
/// checks the first, `ledger-0` there the second.
pub(super) struct Shop {
    pub(super) operator: Operator,
    pub(super) index: Index,
    pub(super) keys: Keys,
    pub(super) router: Front,
    pub(super) outside: Front,
}

impl Shop {
    pub(super) async fn new() -> Self {
        Self::with(vec![issuer("first", FIRST), issuer("second", SECOND)]).await
    }

    pub(super) async fn with(issuers: Vec<TokenIssuer>) -> Self {
        Self::after(issuers, |_| {}).await
    }

    /// The same, after something has been done to the operator.
    pub(super) async fn after(issuers: Vec<TokenIssuer>, done: impl FnOnce(&Operator)) -> Self {
        let urls: Vec<_> = issuers
            .iter()
            .map(|i| i.spec.hallpass.issuer_url.clone())
            .collect();
        let keys = Keys::of(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        let index = index(issuers);
        let mut operator = Operator::with_keys(index.clone(), keys.clone(), mint).await;
        done(&operator);
        let (router, outside) = operator.routers();
        Self {
            operator,
            index,
            keys,
            router,
            outside,
        }
    }

    /// The audience `payments` says from now on what none may say.
    pub(super) fn spoil_payments(&self) {
        let mut payments = audience("payments", PAYMENTS, "JWT", "first");
        payments.spec.scopes.clear();
        self.index.deliver_audience(payments);
    }

    /// The identity token of a pod.
    pub(super) fn identity(&self, namespace: &str, pod: &str, account: &str) -> String {
        let mut claims = identity(pod, account);
        let kubernetes = &mut claims["kubernetes.io"];
        kubernetes["namespace"] = namespace.into();
        kubernetes["pod"]["uid"] = format!("uid-{namespace}-{pod}").into();
        kubernetes["serviceaccount"]["uid"] = format!("uid-{namespace}-{account}").into();
        claims["sub"] = format!("system:serviceaccount:{namespace}:{account}").into();
        self.operator.signed(&claims)
    }

    pub(super) fn orders(&self) -> String {
        self.identity("shop", "orders-0", "orders")
    }

    /// An exchange of that token, with these parameters more.
    pub(super) async fn exchange(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let own = [
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", JWT),
        ];
        self.post("/oauth2/token", &[&own, more].concat()).await
    }

    /// The client credentials grant, with these parameters more.
    pub(super) async fn credentials(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let own = [
            ("grant_type", "client_credentials"),
            ("client_assertion", token),
            ("client_assertion_type", ASSERTION),
        ];
        self.post("/oauth2/token", &[&own, more].concat()).await
    }

    pub(super) async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        send(&self.router, form(path, parameters)).await
    }

    /// What `caller` is told of the token.
    pub(super) async fn introspect(&self, path: &str, caller: &str, token: &str) -> Answer {
        let mut request = form(path, &[("token", token)]);
        let bearer = format!("Bearer {caller}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        send(&self.router, request).await
    }

    /// A token of that issuer with those claims.
    pub(super) fn signed(&self, issuer: &str, claims: &Claims) -> String {
        let ring = self.keys.ring(&IssuerId::of(issuer)).unwrap();
        let key = &ring.active(claims.issued).signing();
        jwt::sign(key, claims).unwrap().expose().clone()
    }

    /// The same, sealed.
    pub(super) fn sealed(&self, issuer: &str, claims: &Claims) -> String {
        let ring = self.keys.ring(&IssuerId::of(issuer)).unwrap();
        let key = &ring.active(claims.issued).sealing();
        let token: Secret<String> = opaque::seal(key, claims, rand::random::<[u8; 24]>()).unwrap();
        token.expose().clone()
    }
}

/// A request with that form.
pub(super) fn form(path: &str, parameters: &[(&str, &str)]) -> Request<Body> {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(parameters);
    raw(path, body.finish())
}

/// A request with that body, said to be a form.
pub(super) fn raw(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header(
            "content-type",
            "application/x-www-form-urlencoded;charset=UTF-8",
        )
        .body(body.into())
        .unwrap()
}

pub(super) async fn get(router: &Front, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

/// What pod `orders-0` holds for that audience, made so many seconds ago for 15 minutes.
pub(super) fn claims(issuer: &str, audience: &str, ago: i64) -> Claims {
    let time = |second| Timestamp::from_second(second).unwrap();
    Claims {
        issuer: issuer.into(),
        subject: "system:serviceaccount:shop:orders".into(),
        audience: Audience::parse(audience).unwrap(),
        expires: time(START - ago + 900),
        issued: time(START - ago),
        id: TokenId::from_random([7; 16]),
        client_id: "system:serviceaccount:shop:orders".into(),
        scopes: ScopeSet::parse("read write").unwrap(),
        namespace: Namespace::parse("shop").unwrap(),
        service_account: ServiceAccount::parse("orders").unwrap(),
        service_account_uid: Uid::parse("uid-shop-orders").unwrap(),
        pod: PodName::parse("orders-0").unwrap(),
        pod_uid: Uid::parse("uid-shop-orders-0").unwrap(),
        policy: ObjectName::parse("orders").unwrap(),
        known: Epochs::default(),
        extra: [(ClaimName::parse("team").unwrap(), "orders".into())].into(),
    }
}

pub(super) fn issuer(name: &str, url: &str) -> TokenIssuer {
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer",
        "metadata": metadata("", name), "spec": {"hallpass": {"issuerURL": url}},
    });
    serde_json::from_value(object).unwrap()
}

fn index(issuers: Vec<TokenIssuer>) -> Index {
    let pods = [
        ("shop", "orders-0", "orders"),
        ("shop", "idle-0", "idle"),
        ("payments", "payments-0", "payments"),
        ("payments", "ledger-0", "ledger"),
        ("bank", "payments-0", "payments"),
    ];
    let accounts = pods.map(|(namespace, _, account)| service_account(namespace, account));
    let pods = pods.map(|(namespace, name, account)| pod(namespace, name, account));
    let index = Index::filled(vec![policy()], pods.into(), accounts.into());
    let audiences = vec![
        audience("payments", PAYMENTS, "JWT", "first"),
        audience("ledger", LEDGER, "Opaque", "second"),
        // Nobody in the shop may hold one.
        audience("closed", "closed.payments.svc", "JWT", "first"),
        audience("lost", "lost.payments.svc", "JWT", "nobody"),
    ];
    let namespaces = ["shop", "payments", "bank"].map(namespace);
    index.allow(audiences, issuers, namespaces.into());
    index
}

/// What gives pod `orders-0` its tokens.
pub(super) fn policy() -> TokenPolicy {
    let token = |name: &str, scopes: &[&str]| {
        json!({
            "name": name, "audienceRef": {"namespace": "payments", "name": name}, "scopes": scopes,
        })
    };
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy",
        "metadata": metadata("shop", "orders"),
        "spec": {
            "subjects": [{"serviceAccount": "orders"}],
            "tokens": [
                token("payments", &["read", "write"]),
                token("ledger", &["read"]),
                token("closed", &["read"]),
                token("lost", &["read"]),
                {"name": "vault", "kubernetesAudience": "https://vault.example"},
            ],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn audience(name: &str, value: &str, format: &str, issuer: &str) -> TokenAudience {
    let from = if name == "closed" { "bank" } else { "shop" };
    let object = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenAudience",
        "metadata": metadata("payments", name),
        "spec": {
            "audience": value, "issuerRef": {"name": issuer}, "format": format,
            "scopes": [{"name": "read"}, {"name": "write"}, {"name": "admin"}],
            "allow": [{
                "from": {
                    "namespaceSelector": {"matchLabels": {"name": from}},
                    "serviceAccounts": ["orders"],
                },
                "scopes": ["read", "write"],
            }],
            "claims": [
                {"name": "team", "literal": "orders"},
            ],
            "guard": {"serviceAccounts": [name]},
        },
    });
    serde_json::from_value(object).unwrap()
}

fn namespace(name: &str) -> PartialObjectMeta<NamespaceObject> {
    let metadata = ObjectMeta {
        labels: Some([("name".to_owned(), name.to_owned())].into()),
        name: Some(name.to_owned()),
        uid: Some(format!("uid-{name}")),
        ..ObjectMeta::default()
    };
    metadata.into_response_partial()
}

fn metadata(namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name, "uid": format!("uid-{namespace}-{name}"), "resourceVersion": "1",
        "generation": 1, "creationTimestamp": "1970-01-01T00:00:00Z",
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    metadata
}
