//! B0 and B1: what a token costs, beside those who make tokens today, and beside an answer that nobody
//! thought about.

use std::sync::Arc;

use anyhow::{Result, bail};
use hallpass_e2e::cluster::RELEASE;

use crate::{
    footprint,
    load::{Target, Write},
    operator::Operator,
    peer::{PEER, Peer},
    report::{Bar, Report},
    request::form,
    rounds::{self, Done},
    scale::Scale,
    side::Side,
    world::{OPAQUE, POLICIES, TOKENS, World, audience},
};

/// What the bare handler is called in the table.
pub(crate) const BARE: &str = "bare handler (B0)";
const MINTING: &str = "kube-apiserver TokenRequest";

pub(crate) fn measure(report: &mut Report, side: &Side, scale: &Scale) -> Result<()> {
    let issuing = issuing(&side.operator, &side.world)?;
    let minting = side.world.api.minting(&side.world.pods)?;
    let peer = side.peer.as_ref().map(Peer::issuing).transpose()?;
    let mut servers = vec![("", &issuing), (BARE, &side.bare), (MINTING, &minting)];
    servers.extend(peer.as_ref().map(|peer| (PEER, peer)));
    let full = rounds::closed(&servers)?;
    let [ours, beside @ ..] = &full[..] else {
        bail!("nothing was measured");
    };
    let half = ours.rate() / 2.0;
    let steady = rounds::open(&servers[..2], half)?;
    if let [bare, ..] = beside {
        nothing(report, bare);
    }
    let world = format!(
        "{POLICIES} policies with {TOKENS} tokens each, {} pods, {} revocations in force",
        side.world.pods.len(),
        scale.revocations
    );
    costs(report, ours, beside, &world);
    waits(report, ours, &beside[1..]);
    at_half(report, &steady, half);
    footprint::measure(report, &side.operator, &issuing, (scale, &world))
}

/// B0.
fn nothing(report: &mut Report, bare: &Done) {
    let how = "an empty handler served as the operator serves: TLS 1.3, keep-alive, 100 connections, over loopback in the network of its pod; one worker thread; median of 5 rounds of 1.5 s in turn, after 0.3 s of warm-up and 1 s apart; the server alone on core 0, with the greatest share of it, the generator on core 1 before the rest of the cluster";
    report.add("B0", "processor time per answer", (bare.cpu(), "us"), how);
    report.add("B0", "answers per second", (bare.rate(), "1/s"), how);
    for (metric, part) in [("answer p50", 0.5), ("answer p99", 0.99)] {
        report.add("B0", metric, (bare.waited(part), "us"), how);
    }
}

fn costs(report: &mut Report, ours: &Done, beside: &[Done], world: &str) {
    let how = format!(
        "POST /oauth2/token, client credentials by the pod's identity token (RS256), ES256, {world}, one replica with one worker thread; /proc/PID/stat of the server over answered requests; rounds as in B0"
    );
    for other in beside {
        let (note, bar) = match &*other.name {
            BARE => ("", Bar::Value(60.0)),
            MINTING => (
                "; its own processor time alone, etcd's not counted; RS256, bound to a pod; as system:masters; beside the rest of its cluster",
                Bar::Ratio(1.0 / 25.0),
            ),
            _ => (
                "; client_secret_post, ES256, in memory, NODE_ENV=production",
                // a fortieth is less than an empty answer takes
                Bar::Told(1.0 / 40.0),
            ),
        };
        let how = format!("{how}{note}");
        report.add("B1", "processor time per token", (ours.cpu(), "us"), &how);
        report.beside(&other.name, other.cpu());
        report.bar(bar);
    }
    for other in beside {
        let most = "as fast as one core allows";
        report.add("B1", "tokens per second", (ours.rate(), "1/s"), most);
        report.beside(&other.name, other.rate());
    }
}

fn waits(report: &mut Report, ours: &Done, beside: &[Done]) {
    for (metric, part) in [("full load p50", 0.5), ("full load p99", 0.99)] {
        for other in beside {
            let how = "100 connections, each asks again at once";
            report.add("B1", metric, (ours.waited(part), "us"), how);
            report.beside(&other.name, other.waited(part));
        }
    }
}

/// At half of the load that one core allows.
fn at_half(report: &mut Report, steady: &[Done], half: f64) {
    let [ours, bare] = steady else {
        return;
    };
    let how = format!(
        "constant arrival at {half:.0}/s, half of the full load, both alike; counted from when each was meant to be made, by a generator in real time; median of 5 rounds of 2 s in turn"
    );
    for (metric, part) in [
        ("half load p50", 0.5),
        ("half load p99", 0.99),
        ("half load p99.9", 0.999),
    ] {
        report.add("B1", metric, (ours.waited(part), "us"), &how);
        report.beside(BARE, bare.waited(part));
        if part == 0.99 {
            report.bar(Bar::Told(3.0));
        }
    }
}

/// What the operator is asked for: of each pod every JWT in turn.
fn issuing(operator: &Operator, world: &World) -> Result<Arc<Target>> {
    let jwts = (0..TOKENS).filter(|number| *number != OPAQUE).collect();
    operator.target(token_request(world, jwts), |status, body| {
        status == 200 && body.starts_with(b"{\"access_token\":\"eyJ")
    })
}

/// Asks in the name of each pod in turn for a token of the first of those audiences, then of the next.
pub(crate) fn token_request(world: &World, audiences: Vec<usize>) -> Box<Write> {
    let identities = Arc::clone(&world.identities);
    let host = format!("hallpass.{RELEASE}.svc");
    let encoded = |number| audience(number).replace(':', "%3A").replace('/', "%2F");
    let audiences: Vec<String> = audiences.into_iter().map(encoded).collect();
    Box::new(move |number, request| {
        let identity = &identities[number % identities.len()];
        let audience = &audiences[number / identities.len() % audiences.len()];
        let body = format!("{GRANT}&client_assertion={identity}&audience={audience}");
        form(request, &host, "/oauth2/token", None, &body);
    })
}

const GRANT: &str = "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
