//! Uninstalled, Hallpass leaves its definitions and the policies, and pods start as ever.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, RELEASE, before, engine, install},
    command::run,
    injection::check_bare,
    inventory::{Inventory, Place},
    manifest::pod,
    readme::block_of,
    remark::remark,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const DEFINITION: &str = "CustomResourceDefinition.apiextensions.k8s.io";
const DEFINITIONS: [&str; 5] = [
    "tokenpolicies.hallpass.dev",
    "tokenaudiences.hallpass.dev",
    "tokenissuers.hallpass.dev",
    "tokenrevocations.hallpass.dev",
    "clustertokenrevocations.hallpass.dev",
];

#[tokio::test]
async fn uninstalling_leaves_the_definitions_and_the_policies_and_nothing_else() -> Result<()> {
    let cluster = Cluster::alone("uninstall").await?;
    cluster.orders().await?;
    let running = cluster
        .start(&pod("before").injected().under("orders"))
        .await?;
    what_depends_is_found(&cluster).await?;

    run("helm", &["uninstall", "hallpass", "-n", RELEASE], None)
        .await?
        .success()?;
    let outcome = uninstalled(&cluster, &running).await;
    install().await.context("install it again")?;
    outcome?;

    // the policy of before counts again
    let again = cluster
        .start(&pod("again").injected().under("orders"))
        .await?;
    cluster.token(&again, "app", "vault").await?;
    until(MINUTE, "its status is written", || async {
        let args = [
            "get",
            "tokenpolicies.hallpass.dev",
            "orders",
            "-o",
            "jsonpath={.status.pods}",
        ];
        let pods = cluster.kubectl(&args).await?.success()?;
        if pods == "2" {
            Ok(())
        } else {
            Err(not_yet(pods))
        }
    })
    .await
}

/// By the commands of the chapter.
async fn what_depends_is_found(cluster: &Cluster) -> Result<()> {
    let api = engine()? == Engine::AdmissionPolicy;
    if api {
        let bundle = json!({"clusterTrustBundle": {
            "signerName": "hallpass.dev/serving", "labelSelector": {}, "path": "ca.pem", "optional": true,
        }});
        let volume = json!({"name": "ca", "projected": {"sources": [bundle]}});
        let api = pod("api").with("/spec/volumes", json!([volume]));
        cluster.apply(&api.to_string()).await?;
    }
    let commands = block_of("docs/operations.md", "depends")?;
    let found = run("sh", &["-c", &commands], None).await?;
    ensure!(found.stderr.is_empty(), "{found:?}");
    for (name, there) in [("before", true), ("orders", true), ("api", api)] {
        // the name, behind its kind where there are several
        let is = |object: &str| object.rsplit('/').next() == Some(name);
        let mut lines = found.stdout.lines().map(str::split_whitespace);
        let named = lines.any(|mut line| {
            line.next() == Some(cluster.namespace.as_str()) && line.next().is_some_and(is)
        });
        ensure!(named == there, "{name}: {found:?}");
    }
    Ok(())
}

async fn uninstalled(cluster: &Cluster, running: &str) -> Result<()> {
    until(MINUTE, "injection is out of force", || async {
        check_bare(&cluster.create(&pod("probe").injected()).accepted().await?)
    })
    .await?;
    for pod in [
        pod("plain").under("orders"),
        pod("labelled").injected().under("orders"),
    ] {
        cluster.start(&pod).await?;
    }
    cluster
        .token(running, "app", "vault")
        .await
        .context("what was issued is still served")?;

    nothing_else_is_left().await
}

/// An uninstallation is done, and left what it should.
pub(crate) async fn nothing_else_is_left() -> Result<()> {
    let Some(before) = before() else {
        remark(
            "skipped where Hallpass was there before the tests: what uninstalling leaves behind",
        );
        return Ok(());
    };
    until(MINUTE, "nothing else is left", || async {
        let now = Inventory::take().await?;
        let left: Vec<String> = now
            .without(before)
            .filter(|(place, _)| !may_stay(place, before))
            .map(|(place, _)| place.to_string())
            .collect();
        let marked: Vec<String> = now
            .with(before)
            .filter(|(place, object)| names_us(place, object))
            .map(|(place, _)| place.to_string())
            .collect();
        ensure!(
            left.is_empty() && marked.is_empty(),
            "left: {left:?}, marked: {marked:?}"
        );
        for definition in DEFINITIONS {
            ensure!(now.has(DEFINITION, definition), "{definition} is gone");
        }
        Ok(())
    })
    .await
}

/// Why an object that was not there before the installation may be there after the uninstallation.
fn may_stay(place: &Place, before: &Inventory) -> bool {
    let Place {
        kind,
        namespace,
        name,
    } = place;
    match kind.as_str() {
        // by helm.sh/resource-policy: keep
        DEFINITION => DEFINITIONS.contains(&name.as_str()),
        // theirs who wrote them
        "TokenPolicy.hallpass.dev"
        | "TokenAudience.hallpass.dev"
        | "TokenIssuer.hallpass.dev"
        | "TokenRevocation.hallpass.dev"
        | "ClusterTokenRevocation.hallpass.dev" => true,
        // by Kubernetes, for the group of the definition
        "APIService.apiregistration.k8s.io" => name == "v1alpha1.hallpass.dev",
        // what happened does not unhappen; Kubernetes forgets it after an hour
        "Event" | "Event.events.k8s.io" => true,
        // by `helm --create-namespace`, which has no counterpart, and by Kubernetes in each namespace
        "Namespace" if name == RELEASE => true,
        "ServiceAccount" if namespace == RELEASE => name == "default",
        "ConfigMap" if namespace == RELEASE => name == "kube-root-ca.crt",
        // by each node, for as long as it is there
        "Lease.coordination.k8s.io" if namespace == "kube-node-lease" => before.has("Node", name),
        // other tests' namespaces, on their way out, and all that is in them
        "Namespace" => true,
        _ => namespace != RELEASE && !namespace.is_empty() && !before.has("Namespace", namespace),
    }
}

/// Whether an object of before still speaks of us: an aggregated role, a label, an annotation.
fn names_us(place: &Place, object: &Value) -> bool {
    let mut object = object.clone();
    // a node lists the images that it has
    if place.kind == "Node" {
        object["status"] = Value::Null;
    }
    object.to_string().contains("hallpass.dev")
}
