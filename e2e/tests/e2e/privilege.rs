//! Who may do what: requests in the name of the operator and of people, and who refuses them. Every right to write that
//! the operator has is used here once, and beside it what its admission policies refuse.

mod besides;
mod complete;
mod evictions;
mod mints;
mod operator;
mod own;
mod people;
mod scoped;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    attempt::{Attempt, Caller},
    cluster::{Cluster, RELEASE, engine},
    command::{kubectl, kubectl_with},
    wait::until,
};
use serde_json::{Value, json};

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// It is done.
    Allowed,
    /// RBAC refuses it.
    NoRight,
    /// RBAC refuses it; and to whom has every right the admission policy of that name says that.
    NoRightAndPolicy(&'static str, &'static str),
    /// The admission policy of that name refuses it with these words.
    Policy(&'static str, &'static str),
    /// It is refused, to whom has every right too; and whoever says so first, the admission policy of that name has these
    /// words against it.
    Besides(&'static str, &'static str),
}
use Expected::{Allowed, Besides, NoRight, NoRightAndPolicy, Policy};

/// One request: what is told of it, the request, and what becomes of it.
type Row = (&'static str, Attempt, Expected);

/// With it the operator has every right, so that the policies alone are in its way.
const EVERY_RIGHT: &str = "system:masters";

/// Where the requests go.
struct Place {
    /// The test's own namespace, below the group of our kinds.
    ours: String,
    /// The same namespace, below the core group.
    core: String,
    /// The API server's name for the pod `app` there.
    pod: Value,
    /// The name of the Secret of a signing key.
    key: String,
    /// The name of the Lease of a replica.
    replica: String,
    /// An authority, as PEM.
    authority: String,
}

const WIDE: &str = "/apis/hallpass.dev/v1alpha1";

impl Place {
    async fn find(cluster: &Cluster) -> Result<Self> {
        let namespace = &cluster.namespace;
        for object in objects(namespace) {
            cluster.apply(&object.to_string()).await?;
        }
        let pod = cluster
            .kubectl(&["get", "pod", "app", "-o", "jsonpath={.metadata.uid}"])
            .await?
            .success()?;
        let keys = format!("{RELEASE}-keys");
        let signing = "--field-selector=type=hallpass.dev/signing-key";
        let replicas = "--selector=hallpass.dev/replica=hallpass";
        Ok(Self {
            ours: format!("{WIDE}/namespaces/{namespace}"),
            core: format!("/api/v1/namespaces/{namespace}"),
            pod: json!({"kind": "Pod", "apiVersion": "v1", "name": "app", "uid": pod}),
            key: first("secrets", &keys, signing).await?,
            replica: first("leases", RELEASE, replicas).await?,
            authority: hallpass_e2e::authority::published().await?,
        })
    }

    /// Something of ours.
    fn ours(&self, rest: &str) -> String {
        format!("{}/{rest}", self.ours)
    }

    /// Something of the core's.
    fn core(&self, rest: &str) -> String {
        format!("{}/{rest}", self.core)
    }
}

/// The name of the first one that is selected.
async fn first(resource: &str, namespace: &str, selector: &str) -> Result<String> {
    let path = "jsonpath={.items[0].metadata.name}";
    let args = ["get", resource, "-n", namespace, selector, "-o", path];
    kubectl(&args).await?.success()
}

/// What the requests are about.
fn objects(namespace: &str) -> [Value; 8] {
    let ours = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "hallpass.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    [
        hallpass_e2e::manifest::pod("app").json().clone(),
        ours("TokenPolicy", "orders", people::policy()),
        ours("TokenAudience", "payments", people::audience("a")),
        ours(
            "TokenRevocation",
            "once",
            json!({"target": {"pod": "nobody"}}),
        ),
        ours(
            "TokenRevocation",
            "lock",
            json!({"target": {"pod": "nobody"}, "effect": "Lock"}),
        ),
        ours(
            "TokenRevocation",
            "early",
            json!({"target": {"pod": "nobody"}, "ttlSecondsAfterExpired": 31_536_000}),
        ),
        own::event(namespace, "told", "hallpass-operator"),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "team"}}),
    ]
}

fn operator() -> String {
    format!("system:serviceaccount:{RELEASE}:hallpass")
}

/// Tries each request, and names the first one that ends otherwise.
async fn judge(cluster: &Cluster, user: &str, rows: &[Row]) -> Result<()> {
    for (what, attempt, expected) in rows {
        one(cluster, user, attempt, *expected)
            .await
            .with_context(|| format!("{user}: {what}"))?;
    }
    Ok(())
}

async fn one(cluster: &Cluster, user: &str, attempt: &Attempt, expected: Expected) -> Result<()> {
    let as_is = Caller { user, groups: &[] };
    let mighty = Caller {
        user,
        groups: &[EVERY_RIGHT],
    };
    let verdict = cluster.attempt(as_is, attempt).await?;
    match expected {
        Allowed => verdict.allowed().map(drop),
        NoRight => verdict.without_right(&attempt.right()?),
        NoRightAndPolicy(policy, why) => {
            verdict.without_right(&attempt.right()?)?;
            let verdict = cluster.attempt(mighty, attempt).await?;
            verdict.against_policy(policy, why)
        }
        Policy(policy, why) => verdict.against_policy(policy, why),
        Besides(policy, why) => besides::said(cluster, mighty, attempt, policy, why).await,
    }
}

#[tokio::test]
async fn t25_the_operator_may_do_what_it_is_for_and_nothing_else() -> Result<()> {
    let cluster = Cluster::shared("operator").await?;
    let place = Place::find(&cluster).await?;
    let other = format!("other-{}", cluster.namespace);
    let keys = format!("{RELEASE}-keys");
    let secret = ["create", "secret", "generic", &other, "-n", &keys];
    kubectl(&secret).await?.success()?;
    let outcome = beside(&cluster, &place, &other).await;
    let secret = ["delete", "secret", &other, "-n", &keys];
    kubectl(&secret).await?.success()?;
    let (gone, lock) = ("--ignore-not-found", format!("{other}-lock"));
    let revocations = ["delete", "clustertokenrevocation", &other, &lock, gone];
    kubectl(&revocations).await?.success()?;
    outcome
}

/// With revocations that have expired, of both kinds.
async fn beside(cluster: &Cluster, place: &Place, other: &str) -> Result<()> {
    let spec = |target: Value| {
        json!({
            "target": target, "issuedBefore": "2020-01-01T00:00:00Z", "ttlSecondsAfterExpired": 31_536_000,
        })
    };
    let status = json!({"status": {"conditions": [{
        "type": "Expired", "status": "True", "reason": "Expired", "message": "a",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    for (kind, target) in [
        ("TokenRevocation", json!({"pod": "nobody"})),
        ("ClusterTokenRevocation", json!({"namespace": other})),
    ] {
        let object = json!({
            "apiVersion": "hallpass.dev/v1alpha1", "kind": kind, "metadata": {"name": other}, "spec": spec(target),
        });
        cluster.apply(&object.to_string()).await?;
        let (resource, patch) = (format!("{kind}.hallpass.dev"), status.to_string());
        let how = ["--subresource=status", "--type=merge", "-p", &patch];
        let patch = [&["patch", &resource, other], &how[..]].concat();
        cluster.kubectl(&patch).await?.success()?;
    }
    let lock = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "ClusterTokenRevocation",
        "metadata": {"name": format!("{other}-lock")},
        "spec": {"target": {"namespace": other}, "effect": "Lock"},
    });
    cluster.apply(&lock.to_string()).await?;
    let rows = operator::rows(place, &cluster.namespace, other, engine()?);
    let warns = besides::ask(cluster, &rows).await?;
    let judged = judge(cluster, &operator(), &rows).await;
    warns.end().await?;
    judged
}

#[tokio::test]
async fn t25_a_status_carries_nothing_else_with_it() -> Result<()> {
    let cluster = Cluster::shared("status").await?;
    let place = Place::find(&cluster).await?;
    let patch = json!({
        "metadata": {"labels": {"a": "b"}, "finalizers": ["hallpass.dev/a"]},
        "spec": {"tokens": [{"name": "other", "kubernetesAudience": "https://other.example"}]},
        "status": {"observedGeneration": 7},
    });
    let attempt = Attempt::patch(&place.ours("tokenpolicies/orders/status"), patch);
    let user = operator();
    let caller = Caller {
        user: &user,
        groups: &[],
    };
    let reported = cluster.attempt(caller, &attempt).await?.allowed()?;
    assert_eq!(reported["status"]["observedGeneration"], 7);
    assert_eq!(reported["spec"]["tokens"][0]["name"], "vault");
    for member in ["labels", "finalizers"] {
        assert_eq!(reported["metadata"][member], Value::Null, "{member}");
    }
    Ok(())
}

#[tokio::test]
async fn each_role_of_a_namespace_lets_people_write_what_is_theirs() -> Result<()> {
    let cluster = Cluster::shared("people").await?;
    let place = Place::find(&cluster).await?;
    let roles = BTreeMap::from([
        ("view", people::viewer(&place)),
        ("edit", people::editor(&place)),
        ("admin", people::editor(&place)),
    ]);
    for (role, rows) in roles {
        let user = format!("{}-{role}", cluster.namespace);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        let apply = ["-n", &cluster.namespace, "create", "-f", "-"];
        kubectl_with(&apply, &binding.to_string())
            .await?
            .success()?;
        until(Duration::from_secs(30), "the binding is in force", || {
            let read = Attempt::get(&place.ours("tokenpolicies/orders"));
            let (cluster, user) = (&cluster, &user);
            async move { one(cluster, user, &read, Allowed).await }
        })
        .await?;
        judge(&cluster, &user, &rows).await?;
    }
    let nobody = format!("{}-nobody", cluster.namespace);
    judge(&cluster, &nobody, &people::nobody(&place)).await
}
