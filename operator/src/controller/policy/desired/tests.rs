use hallpass_core::decide::PodGroups;
use hallpass_crds::{selector::PodSelector, token_policy::TokenPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    controller::status::reported,
    index::{
        Index, PolicyRecord, Snapshot,
        fixture::{pod, policy, service_account, subject, token, unreadable},
    },
};

const GRANT: &str = "kubectl create rolebinding hallpass -n shop --clusterrole=hallpass-token-request --serviceaccount=hallpass-system:hallpass";

/// A namespace, and what the status of its policy `name` should be.
struct Shop {
    policies: Vec<TokenPolicy>,
    pods: Vec<(&'static str, &'static str)>,
    accounts: Vec<&'static str>,
    right: Right,
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            policies: vec![policy("shop", "orders", "orders")],
            pods: vec![("orders-1", "orders")],
            accounts: vec!["orders"],
            right: Right::Granted,
        }
    }
}

impl Shop {
    fn index(&self) -> Index {
        let pods = self.pods.iter().map(|(name, sa)| pod("shop", name, sa));
        let accounts = self
            .accounts
            .iter()
            .map(|name| service_account("shop", name));
        Index::filled(self.policies.clone(), pods.collect(), accounts.collect())
    }

    fn desired(&self, name: &str, old: Option<&TokenPolicyStatus>, now: &str) -> TokenPolicyStatus {
        let snapshot = self.index().snapshot().unwrap();
        let record = &snapshot.policies("shop")[name];
        let namespace = Namespace::parse("shop").unwrap();
        let view = View {
            namespace: &namespace,
            rules: snapshot.rules(),
            standings: standings(&snapshot),
            service_accounts: snapshot.service_accounts("shop"),
            right: self.right,
            grant_command: GRANT,
        };
        desired(&record.clone().unpacked(), &view, now.parse().unwrap(), old)
    }

    fn status(&self, name: &str) -> TokenPolicyStatus {
        self.desired(name, None, NOON)
    }
}

fn standings(snapshot: &Snapshot) -> Standings<'_> {
    let pods = snapshot.pods("shop");
    let policies = snapshot.rules().policies.of("shop");
    let groups = PodGroups::new(policies, pods.values().map(selected_by));
    Standings::new(policies.iter().map(|p| groups.reach(p)).collect())
}

const NOON: &str = "2026-11-01T12:00:00Z";
const LATER: &str = "2026-11-01T13:00:00Z";

/// The tokens of a status, each as `name ready reason: message`.
fn lines(status: &TokenPolicyStatus) -> Vec<String> {
    let line =
        |t: &PolicyTokenStatus| format!("{} {:?} {}: {}", t.name, t.ready, t.reason, t.message);
    status.tokens.iter().map(line).collect()
}

fn summary_line(status: &TokenPolicyStatus) -> String {
    let c = reported(status).unwrap();
    format!("{} {}: {}", c.status, c.reason, c.message)
}

fn with_tokens(mut policy: TokenPolicy, names: &[&str]) -> TokenPolicy {
    policy.spec.tokens = names.iter().map(|name| token(name)).collect();
    policy
}

/// A policy that is younger than those of the fixture.
fn younger(mut policy: TokenPolicy) -> TokenPolicy {
    policy.metadata.creation_timestamp = Some(Time(NOON.parse().unwrap()));
    policy
}

#[test]
fn a_policy_with_nothing_in_its_way_is_ready() {
    let status = Shop::default().status("orders");
    assert_eq!(lines(&status), ["vault True Ready: can be issued"]);
    assert_eq!(
        summary_line(&status),
        "True Ready: every token can be issued"
    );
    assert_eq!(status.tokens_ready.as_deref(), Some("1/1"));
    assert_eq!(status.pods, Some(1));
    assert_eq!(status.observed_generation, Some(1));
    let condition = reported(&status).unwrap();
    assert_eq!(condition.observed_generation, Some(1));
    assert_eq!(condition.last_transition_time.0.to_string(), NOON);
}

#[test]
fn a_missing_service_account_is_named() {
    let shop = Shop {
        accounts: vec!["default"],
        ..Shop::default()
    };
    let message = "the service account \"orders\" does not exist in namespace \"shop\"";
    let status = shop.status("orders");
    assert_eq!(
        lines(&status),
        [format!("vault False ServiceAccountMissing: {message}")]
    );
    assert_eq!(
        summary_line(&status),
        format!("False ServiceAccountMissing: {message}")
    );
    assert_eq!(status.tokens_ready.as_deref(), Some("0/1"));
}

#[test]
fn one_service_account_of_several_is_enough_and_the_others_are_named() {
    let mut policy = policy("shop", "orders", "orders");
    policy
        .spec
        .subjects
        .extend([subject("jobs"), subject("mail")]);
    let shop = Shop {
        policies: vec![policy],
        ..Shop::default()
    };
    assert_eq!(
        summary_line(&shop.status("orders")),
        "True Ready: every token can be issued, but the service accounts \"jobs\", \"mail\" do not exist in namespace \"shop\""
    );
}

#[test]
fn a_missing_right_is_answered_with_the_command_that_gives_it() {
    let shop = Shop {
        right: Right::Withheld,
        ..Shop::default()
    };
    let status = shop.status("orders");
    let message = format!(
        "Hallpass may not create tokens in namespace \"shop\"; whoever may grant it: {GRANT}"
    );
    assert_eq!(
        lines(&status),
        [format!("vault False MintForbidden: {message}")]
    );
    assert_eq!(
        summary_line(&status),
        format!("False MintForbidden: {message}")
    );
}

#[test]
fn a_right_that_is_not_known_makes_no_token_ready_or_unready() {
    let shop = Shop {
        right: Right::Unknown,
        ..Shop::default()
    };
    let status = shop.status("orders");
    assert_eq!(status.tokens[0].ready, TokenReady::Unknown);
    let condition = reported(&status).unwrap();
    assert_eq!(
        (&*condition.status, &*condition.reason),
        ("Unknown", "Unavailable")
    );
}

#[test]
fn the_younger_policy_is_told_whose_name_it_took() {
    let two = with_tokens(policy("shop", "more", "orders"), &["vault", "payments"]);
    let shop = Shop {
        policies: vec![policy("shop", "orders", "orders"), younger(two)],
        ..Shop::default()
    };
    let taken = "the older policy \"orders\" gives pods of this policy a token of that name: rename one of the two";
    let status = shop.status("more");
    assert_eq!(
        lines(&status),
        [
            format!("vault False NameTaken: {taken}"),
            "payments True Ready: can be issued".to_owned(),
        ]
    );
    assert_eq!(summary_line(&status), format!("False NameTaken: {taken}"));
    assert_eq!(status.tokens_ready.as_deref(), Some("1/2"));
    assert_eq!(
        summary_line(&shop.status("orders")),
        "True Ready: every token can be issued"
    );
}

#[test]
fn a_name_is_taken_only_where_a_live_pod_has_both_policies() {
    let shop = Shop {
        policies: vec![
            policy("shop", "orders", "orders"),
            younger(policy("shop", "more", "orders")),
        ],
        pods: vec![],
        ..Shop::default()
    };
    let status = shop.status("more");
    assert_eq!(lines(&status), ["vault True Ready: can be issued"]);
    assert_eq!(status.pods, Some(0));
}

#[test]
fn what_no_right_could_mend_is_said_before_the_missing_right() {
    let mut lost = younger(with_tokens(policy("shop", "lost", "nobody"), &["other"]));
    lost.metadata.generation = Some(7);
    let shop = Shop {
        policies: vec![
            policy("shop", "orders", "orders"),
            younger(with_tokens(
                policy("shop", "more", "orders"),
                &["payments", "vault"],
            )),
            lost,
        ],
        right: Right::Withheld,
        ..Shop::default()
    };
    let reasons = |name: &str| -> Vec<String> {
        let status = shop.status(name);
        let summary = reported(&status).unwrap().reason.clone();
        let tokens = status.tokens.into_iter().map(|t| t.reason);
        tokens.chain([summary]).collect()
    };
    assert_eq!(reasons("orders"), ["MintForbidden", "MintForbidden"]);
    assert_eq!(
        reasons("more"),
        ["MintForbidden", "NameTaken", "MintForbidden"]
    );
    assert_eq!(
        reasons("lost"),
        ["ServiceAccountMissing", "ServiceAccountMissing"]
    );
    assert_eq!(shop.status("lost").observed_generation, Some(7));
}

#[test]
fn counts_the_pods_that_it_selects() {
    let mut narrow = policy("shop", "narrow", "orders");
    let selector = PodSelector {
        match_labels: [("app".to_owned(), "else".to_owned())].into(),
    };
    narrow.spec.subjects[0].pod_selector = Some(selector);
    let shop = Shop {
        policies: vec![policy("shop", "orders", "orders"), narrow],
        pods: vec![("a", "orders"), ("b", "orders"), ("c", "jobs")],
        ..Shop::default()
    };
    assert_eq!(shop.status("orders").pods, Some(2));
    assert_eq!(shop.status("narrow").pods, Some(0));
}

#[test]
fn a_pod_that_names_no_service_account_runs_under_default() {
    let mut plain = pod("shop", "plain", "default");
    plain.metadata.annotations = None;
    let index = Index::filled(
        vec![policy("shop", "orders", "default")],
        vec![plain],
        vec![],
    );
    let snapshot = index.snapshot().unwrap();
    let namespace = Namespace::parse("shop").unwrap();
    let view = View {
        namespace: &namespace,
        rules: snapshot.rules(),
        standings: standings(&snapshot),
        service_accounts: snapshot.service_accounts("shop"),
        right: Right::Granted,
        grant_command: GRANT,
    };
    let record = &snapshot.policies("shop")["orders"];
    assert_eq!(
        desired(
            &record.clone().unpacked(),
            &view,
            NOON.parse().unwrap(),
            None
        )
        .pods,
        Some(1)
    );
}

#[test]
fn every_fault_of_a_policy_is_said_with_its_field() {
    let mut bad = with_tokens(
        policy("shop", "orders", "orders"),
        &["vault", "vault", "Bad Name"],
    );
    bad.spec.tokens[0].lifetime = Some("2h".to_owned());
    let shop = Shop {
        policies: vec![bad],
        ..Shop::default()
    };
    let status = shop.status("orders");
    let summary = summary_line(&status);
    assert!(
        summary.starts_with("False Invalid: spec.tokens[0].lifetime must be between 10m and 1h; "),
        "{summary}"
    );
    assert!(
        summary.contains("spec.tokens[1].name must not occur twice"),
        "{summary}"
    );
    let names: Vec<_> = status
        .tokens
        .iter()
        .map(|t| (&*t.name, &*t.reason))
        .collect();
    assert_eq!(names, [("vault", "Invalid")]);
    assert_eq!(status.tokens_ready.as_deref(), Some("0/1"));
}

#[test]
fn an_object_that_cannot_be_read_says_so() {
    let shop = Shop::default();
    let index = shop.index();
    index.deliver(unreadable("shop", "broken"));
    let snapshot = index.snapshot().unwrap();
    let record: &PolicyRecord = &snapshot.policies("shop")["broken"];
    let namespace = Namespace::parse("shop").unwrap();
    let view = View {
        namespace: &namespace,
        rules: snapshot.rules(),
        standings: Standings::default(),
        service_accounts: BTreeSet::new(),
        right: Right::Granted,
        grant_command: GRANT,
    };
    let status = desired(
        &record.clone().unpacked(),
        &view,
        NOON.parse().unwrap(),
        None,
    );
    let summary = summary_line(&status);
    assert!(
        summary
            .starts_with("False Invalid: the stored object cannot be read: invalid type: string"),
        "{summary}"
    );
    assert_eq!(status.tokens, []);
}

#[test]
fn what_is_said_already_is_said_again_unchanged() {
    let shop = Shop::default();
    let first = shop.status("orders");
    assert_eq!(shop.desired("orders", Some(&first), LATER), first);
}

#[test]
fn the_time_of_transition_moves_with_the_status_alone() {
    let fine = Shop::default().status("orders");
    let missing = Shop {
        accounts: vec![],
        ..Shop::default()
    };
    let forbidden = Shop {
        right: Right::Withheld,
        ..Shop::default()
    };
    let since =
        |status: &TokenPolicyStatus| reported(status).unwrap().last_transition_time.0.to_string();
    let turned = missing.desired("orders", Some(&fine), LATER);
    assert_eq!(since(&turned), LATER);
    let other_reason = forbidden.desired("orders", Some(&turned), "2026-11-01T14:00:00Z");
    assert_eq!(since(&other_reason), LATER);
}

mod consent;
