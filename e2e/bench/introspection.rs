//! B6: what it costs to say what an opaque token is worth.

use std::sync::Arc;

use anyhow::{Result, bail};
use hallpass_e2e::cluster::RELEASE;
use serde::Deserialize;

use crate::{
    issuance::{BARE, token_request},
    load::Target,
    operator::Operator,
    peer::{PEER, Peer},
    report::{Bar, Report},
    request::form,
    rounds::{self, Done},
    side::Side,
    world::{OPAQUE, World},
};

#[derive(Deserialize)]
struct Issued {
    access_token: String,
}

pub(crate) fn measure(report: &mut Report, side: &Side) -> Result<()> {
    let ours = introspecting(&side.operator, &side.world)?;
    let peer = side.peer.as_ref().map(Peer::introspecting).transpose()?;
    let mut servers = vec![("", &ours), (BARE, &side.bare)];
    servers.extend(peer.as_ref().map(|peer| (PEER, peer)));
    let full = rounds::closed(&servers)?;
    let [full, beside @ ..] = &full[..] else {
        bail!("nothing was measured");
    };
    let half = full.rate() / 2.0;
    let steady = rounds::open(&[("", &ours), (BARE, &side.bare)], half)?;
    let how = format!(
        "another opaque token of {} and another verifier's identity of {} each time; the peer has 500 in memory and one verifier with client_secret_post; rounds as in B1",
        side.world.identities.len(),
        side.world.verifiers.len()
    );
    let mut figures: Vec<(String, &str, Figure)> = vec![
        (TIME.to_owned(), "us", Box::new(Done::cpu)),
        (
            "introspections per second".to_owned(),
            "1/s",
            Box::new(Done::rate),
        ),
    ];
    for (name, part) in PARTS {
        let waited = Box::new(move |done: &Done| done.waited(part));
        figures.push((format!("full load {name}"), "us", waited));
    }
    for (metric, unit, figure) in figures {
        for peer in beside {
            report.add("B6", &metric, (figure(full), unit), &how);
            report.beside(&peer.name, figure(peer));
            if metric == TIME && peer.name == BARE {
                report.bar(Bar::Value(25.0));
            }
        }
    }
    at_half(report, &steady, half);
    Ok(())
}

/// At half of the load that one core allows.
fn at_half(report: &mut Report, steady: &[Done], half: f64) {
    let [ours, bare] = steady else {
        return;
    };
    let how = format!("constant arrival at {half:.0}/s, both alike");
    for (name, part) in PARTS {
        let metric = format!("half load {name}");
        report.add("B6", &metric, (ours.waited(part), "us"), &how);
        report.beside(BARE, bare.waited(part));
    }
}

/// The operator as it is asked by those who check tokens: another token each time, and another caller.
fn introspecting(operator: &Operator, world: &World) -> Result<Arc<Target>> {
    let host = format!("hallpass.{RELEASE}.svc");
    let tokens = opaque(operator, world)?;
    let verifiers = Arc::clone(&world.verifiers);
    let write = Box::new(move |number: usize, request: &mut Vec<u8>| {
        let body = format!("token={}", tokens[number % tokens.len()]);
        let verifier = &verifiers[number % verifiers.len()];
        form(request, &host, "/oauth2/introspect", Some(verifier), &body);
    });
    operator.target(write, |status, body| status == 200 && is_active(body))
}

/// An opaque token of each pod.
fn opaque(operator: &Operator, world: &World) -> Result<Vec<String>> {
    let request = token_request(world, vec![OPAQUE]);
    let target = operator.target(request, |status, _| status == 200)?;
    target.each(world.identities.len(), |answer| {
        let issued: Issued = serde_json::from_slice(answer)?;
        Ok(issued.access_token)
    })
}

fn is_active(answer: &[u8]) -> bool {
    let active = b"\"active\":true";
    answer.windows(active.len()).any(|part| part == active)
}

type Figure = Box<dyn Fn(&Done) -> f64>;

const TIME: &str = "processor time per introspection";

/// What of the waiting is told.
const PARTS: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
