use clap::{CommandFactory, error::ErrorKind};

use super::*;
use crate::inject::fixture::{settings, settings_json};

const NEEDED: [&str; 7] = [
    "--name=hallpass",
    "--api-server-audience=https://a",
    "--issuer-url=https://id.example",
    "--pod-name=hallpass-0",
    "--pod-uid=uid-hallpass-0",
    "--pod-ip=10.0.0.7",
    "--pod-namespace=hallpass-system",
];

fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
    Args::try_parse_from([&["hallpass-operator"], arguments].concat()).map(Config::from)
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let config = parse(&NEEDED).unwrap();
    assert_eq!(config.api_addr.to_string(), "[::]:8443");
    assert_eq!(config.issuer_addr.to_string(), "[::]:8444");
    assert_eq!(config.metrics_addr.to_string(), "[::]:9402");
    assert_eq!(config.engine, Engine::AdmissionPolicy);
    assert_eq!(config.log_level, LevelFilter::INFO);
    assert_eq!(config.pod.as_str(), "hallpass-0");
    assert_eq!(config.pod_uid.as_str(), "uid-hallpass-0");
    assert_eq!(config.pod_ip.to_string(), "10.0.0.7");
    let issuer = DefaultIssuer {
        url: IssuerUrl::parse("https://id.example").unwrap(),
        algorithm: None,
        rotate_every: None,
        spiffe_trust_domain: None,
    };
    assert_eq!(config.issuer, issuer);
    assert_eq!(config.injection, None);
    assert_eq!(config.evict, None);
}

#[test]
fn what_is_said_is_kept() {
    let injection = format!("--injection={}", settings_json());
    let said = [
        injection.as_str(),
        "--api-server-audience=b",
        "--issuer-algorithm=EdDSA",
        "--issuer-rotate-every=12h",
        "--issuer-spiffe-trust-domain=prod.example",
        "--evict-uninjected=selected",
        "--api-addr=127.0.0.1:1",
        "--issuer-addr=127.0.0.1:3",
        "--metrics-addr=[::1]:2",
        "--log-level=debug",
    ];
    let config = parse(&[&NEEDED[..], &said].concat()).unwrap();
    let audiences: Vec<_> = config
        .api_server_audiences
        .iter()
        .map(Audience::as_str)
        .collect();
    assert_eq!(audiences, ["https://a", "b"]);
    assert_eq!(config.api_addr.to_string(), "127.0.0.1:1");
    assert_eq!(config.issuer_addr.to_string(), "127.0.0.1:3");
    assert_eq!(config.metrics_addr.to_string(), "[::1]:2");
    assert_eq!(config.engine, Engine::Webhook);
    assert_eq!(config.log_level, LevelFilter::DEBUG);
    assert_eq!(config.injection, Some(settings()));
    assert_eq!(config.evict, Some(Evict::Selected));
    let issuer = DefaultIssuer {
        url: IssuerUrl::parse("https://id.example").unwrap(),
        algorithm: Some(Algorithm::EdDsa),
        rotate_every: Some(Duration::from_secs(12 * 3600)),
        spiffe_trust_domain: Some(TrustDomain::parse("prod.example").unwrap()),
    };
    assert_eq!(config.issuer, issuer);
}

#[test]
fn a_mistake_is_named() {
    for (i, needed) in NEEDED.iter().enumerate().take(3) {
        let mut arguments = NEEDED.to_vec();
        arguments.remove(i);
        let error = parse(&arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{needed}");
    }
    for (mistake, told) in [
        ("--name=Hallpass", "lower-case"),
        ("--api-server-audience=", "must not be empty"),
        (
            "--api-server-audience=hallpass.dev/x",
            "reserved for Hallpass",
        ),
        ("--issuer-url=http://id.example", "must be an https URL"),
        (
            "--issuer-algorithm=HS256",
            "must be one of ES256, EdDSA, RS256",
        ),
        ("--issuer-rotate-every=5m", "between 1h and 365d"),
        ("--issuer-spiffe-trust-domain=A", "lower-case letters"),
        ("--injection={}", "read the settings of injection"),
        (
            "--evict-uninjected=all",
            "possible values: labelled, selected",
        ),
        ("--api-addr=8443", "invalid socket address"),
        ("--issuer-addr=8444", "invalid socket address"),
        ("--metrics-addr=localhost", "invalid socket address"),
        (
            "--log-level=loud",
            "possible values: error, warn, info, debug, trace",
        ),
        ("--pod-namespace=a.b", "lower-case"),
        ("--pod-ip=hallpass-0", "invalid IP address"),
    ] {
        let flag = mistake.split('=').next().unwrap();
        let mut arguments: Vec<_> = NEEDED
            .iter()
            .filter(|n| !n.starts_with(flag))
            .copied()
            .collect();
        arguments.push(mistake);
        let text = parse(&arguments).unwrap_err().to_string();
        assert!(
            text.contains(told) && text.contains(flag),
            "{mistake}: {text}"
        );
    }
}

#[test]
fn every_name_follows_from_the_release() {
    let names = parse(&NEEDED).unwrap().names;
    assert_eq!(names.identity_audience(), "hallpass.dev/hallpass-system");
    assert_eq!(names.lease(), "hallpass");
    assert_eq!(names.serving_secret(), "hallpass-serving");
    assert_eq!(names.webhook(), "hallpass-inject");
    assert_eq!(names.webhook_by_policy(), "hallpass-inject-by-policy");
    assert_eq!(names.keys_namespace(), "hallpass-system-keys");
    assert_eq!(names.operator_role(), "hallpass-operator");
    assert_eq!(names.token_request_role(), "hallpass-token-request");
    assert_eq!(names.trust_bundle(), "hallpass.dev:serving:hallpass-system");
    assert_eq!(
        names.dns(),
        [
            "hallpass.hallpass-system.svc",
            "hallpass.hallpass-system.svc.cluster.local"
        ]
    );
}

#[test]
fn help_tells_what_every_flag_is_for() {
    for argument in Args::command().get_arguments() {
        assert!(
            argument.get_help().is_some(),
            "{} has no help",
            argument.get_id()
        );
    }
}
