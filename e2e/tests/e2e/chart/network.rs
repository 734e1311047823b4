//! NetworkPolicies, the chart's own and the one that a page shows: nothing in the test cluster enforces them, so they are held
//! against what they are about.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, RELEASE},
    command::{kubectl, kubectl_with},
    readme::block_of,
};
use serde_json::{Value, json};

use super::rendered;

#[tokio::test]
async fn the_egress_that_the_page_shows_leads_to_the_operators_pods_and_to_the_dns() -> Result<()> {
    let cluster = Cluster::shared("egress").await?;
    let here = format!("namespace: {}\n", cluster.namespace);
    let block = block_of("docs/operations.md", "network-egress")?;
    let shown = judged(&block.replace("namespace: shop\n", &here)).await?;
    assert_eq!(shown["metadata"]["namespace"], *cluster.namespace);

    let spec = &shown["spec"];
    let injected = json!({"matchLabels": {"hallpass.dev/injected": "true"}});
    assert_eq!(spec["podSelector"], injected);
    assert_eq!(spec["policyTypes"], json!(["Egress"]));
    let rules = spec["egress"].as_array().context("rules")?;
    let [operator, dns] = rules.as_slice() else {
        anyhow::bail!("not two rules: {rules:?}");
    };

    let template = operators_pods().await?;
    let [to] = operator["to"].as_array().context("peers")?.as_slice() else {
        anyhow::bail!("not one peer: {operator}");
    };
    assert_eq!(to["namespaceSelector"], namespace(RELEASE));
    ensure!(selects(&to["podSelector"], &template), "{to}, {template}");
    let port = json!([{"port": port(&template, "https")?, "protocol": "TCP"}]);
    assert_eq!(operator["ports"], port);

    assert_eq!(
        dns["to"],
        json!([{"namespaceSelector": namespace("kube-system")}])
    );
    assert_eq!(dns["ports"], both_of_dns());
    Ok(())
}

#[tokio::test]
async fn the_charts_policy_lets_everybody_in_at_the_operators_ports_and_it_out_to_its_like()
-> Result<()> {
    let _cluster = Cluster::shared("ingress").await?;
    let on = ["--set", "networkPolicy.enabled=true"];
    let only = ["--show-only", "templates/networkpolicy.yaml"];
    let policy = judged(&rendered(&[on, only].concat()).await?).await?;
    let spec = &policy["spec"];
    let template = operators_pods().await?;
    ensure!(selects(&spec["podSelector"], &template), "{spec}");

    let mut ports = Vec::new();
    for rule in spec["ingress"].as_array().context("rules")? {
        ensure!(rule["from"].is_null(), "not for everybody: {rule}");
        for named in rule["ports"].as_array().context("ports")? {
            ports.push(port(&template, named["port"].as_str().context("a name")?)?);
        }
    }
    ports.sort_unstable();
    assert_eq!(ports, [8443, 8444, 9402]);

    let rules = spec["egress"].as_array().context("rules")?;
    let anywhere = |ports: &Value| {
        let mut rules = rules.iter();
        rules.any(|rule| rule["to"].is_null() && rule["ports"] == *ports)
    };
    let api_server = json!([{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]);
    ensure!(anywhere(&both_of_dns()), "no DNS: {rules:?}");
    ensure!(anywhere(&api_server), "no API server: {rules:?}");
    let like = rules.iter().find(|rule| rule["to"].is_array());
    let like = like.context("a way to the other replicas")?;
    ensure!(selects(&like["to"][0]["podSelector"], &template), "{like}");
    assert_eq!(like["ports"][0]["port"], "https");
    Ok(())
}

/// The manifest as the API server would store it.
async fn judged(manifest: &str) -> Result<Value> {
    let apply = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let said = kubectl_with(&apply, manifest).await?.success()?;
    Ok(serde_json::from_str(&said)?)
}

/// What the Deployment makes the operator's pods of.
async fn operators_pods() -> Result<Value> {
    let get = ["get", "deployment", "hallpass", "-n", RELEASE, "-o", "json"];
    let mut deployment: Value = serde_json::from_str(&kubectl(&get).await?.success()?)?;
    Ok(deployment["spec"]["template"].take())
}

/// Whether the selector means such pods, and not all there are.
fn selects(selector: &Value, template: &Value) -> bool {
    let labels = &template["metadata"]["labels"];
    let wanted = selector["matchLabels"].as_object();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    })
}

/// The number of the port that a container of such pods calls so.
fn port(template: &Value, name: &str) -> Result<u64> {
    let ports = template["spec"]["containers"][0]["ports"].as_array();
    let mut ports = ports.context("ports")?.iter();
    let named = ports.find(|port| port["name"] == name);
    let number = named.and_then(|port| port["containerPort"].as_u64());
    number.with_context(|| format!("no port {name}"))
}

fn namespace(name: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": name}})
}

fn both_of_dns() -> Value {
    json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}])
}
