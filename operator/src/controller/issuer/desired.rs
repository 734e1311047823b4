//! What the status of an issuer should say: a function of what is known.

use hallpass_core::{
    consent::AudienceSet,
    denial::{Code, Denial},
    issuer::Issuer,
    token::signing::Algorithm,
};
use hallpass_crds::token_issuer::{IssuerKey, KeyAlgorithm, TokenIssuerStatus};
use jiff::Timestamp;

use super::{
    default::NAME,
    keys::{IssuerKeys, ReportedKey},
};
use crate::{
    controller::status::{Verdict, to_the_second},
    index::IssuerRecord,
};

/// What is known about the issuers beside their own objects.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) audiences: &'a AudienceSet,
    /// The keys of the issuer that is looked at.
    pub(super) keys: IssuerKeys,
    /// The URL that the chart's issuer has by the chart.
    pub(super) chart_url: &'a str,
}

/// The status that the issuer should have.
///
/// # Guarantees
/// Where `old` says the same already, the result equals it, whatever the time is.
pub(super) fn desired(
    record: &IssuerRecord,
    view: &View<'_>,
    now: Timestamp,
    old: Option<&TokenIssuerStatus>,
) -> TokenIssuerStatus {
    let generation = record.generation;
    let issuer = match &record.spec {
        Ok(issuer) => issuer,
        Err(unusable) => {
            let verdict = Verdict::refused(Code::Invalid, unusable.to_string());
            return TokenIssuerStatus {
                observed_generation: generation,
                conditions: vec![verdict.condition(generation, now, old)],
                ..TokenIssuerStatus::default()
            };
        }
    };
    let refusal = view.audiences.issuer_refusal(issuer.name.as_str());
    // The keys belong to the URL, and so to the issuer that counts.
    let keys = if refusal.is_some() {
        &IssuerKeys::default()
    } else {
        &view.keys
    };
    let verdict = match refusal {
        Some(Denial { code, detail }) => Verdict::refused(*code, detail.clone()),
        None => judge(issuer, keys, view.chart_url),
    };
    TokenIssuerStatus {
        observed_generation: generation,
        issuer_id: Some(issuer.url.id().to_string()),
        jwks_uri: Some(format!("{}/jwks", issuer.url)),
        keys: keys.keys.iter().take(MOST_KEYS).map(reported).collect(),
        last_rotation: keys.active().map(|key| to_the_second(key.since)),
        next_rotation: keys.next_rotation.map(to_the_second),
        conditions: vec![verdict.condition(generation, now, old)],
    }
}

fn judge(issuer: &Issuer, keys: &IssuerKeys, chart_url: &str) -> Verdict {
    let active = keys.active();
    let said = match active {
        Some(_) => "tokens can be made",
        None => "there is no key that signs yet",
    };
    let unreadable = issuer.asked.unreadable.iter().map(|annotation| {
        format!(
            "the annotation {annotation} asks for nothing, since it is no time such as 2026-11-26T12:00:00Z"
        )
    });
    let asked = active.into_iter().flat_map(|active| {
        let emergency = awaited_emergency(issuer, active);
        [emergency, awaited(issuer, active, keys)]
    });
    let remarks = other_url(issuer, chart_url).into_iter();
    let remarks = remarks.chain(unreadable).chain(asked.flatten());
    let message = std::iter::once(said.to_owned()).chain(remarks);
    let message = message.collect::<Vec<_>>().join("; ");
    match active {
        Some(_) => Verdict::ready(message),
        None => Verdict::refused(Code::IssuerNotReady, message),
    }
}

/// What an asked rotation waits for, as long as it has not happened.
fn awaited(issuer: &Issuer, active: &ReportedKey, keys: &IssuerKeys) -> Option<String> {
    let asked = issuer.asked.ordinary.filter(|at| active.since < *at)?;
    let what = "the rotation that hallpass.dev/rotate asks for";
    let Some(next) = keys.next_rotation else {
        return Some(format!(
            "{what} waits until keys that cannot be read are gone: they take the place of the next one"
        ));
    };
    if next <= asked {
        return Some(format!(
            "{what} waits until {asked}, the time that it names"
        ));
    }
    let retired = keys.keys.iter().filter_map(|key| key.until);
    let no_room = keys.keys.len() >= MOST_KEYS && retired.min() == Some(next);
    let why = if no_room {
        "when a retired key goes: there are never more than 4"
    } else {
        "when every verifier knows the next key"
    };
    Some(format!("{what} waits until {next}, {why}"))
}

fn awaited_emergency(issuer: &Issuer, active: &ReportedKey) -> Option<String> {
    let asked = issuer.asked.emergency.filter(|at| active.since < *at)?;
    Some(format!(
        "the rotation that hallpass.dev/rotate-now asks for waits until {asked}, the time that it names"
    ))
}

/// The URL can not be changed, so the chart may say another one than the object that was made by it.
fn other_url(issuer: &Issuer, chart_url: &str) -> Option<String> {
    let url = &issuer.url;
    if issuer.name.as_str() != NAME || url.as_str() == chart_url {
        return None;
    }
    Some(format!(
        "the chart says the URL {chart_url}, but this TokenIssuer keeps {url}, which cannot be changed"
    ))
}

fn reported(key: &ReportedKey) -> IssuerKey {
    IssuerKey {
        key_id: key.kid.to_string(),
        state: key.state,
        algorithm: algorithm(key.algorithm),
        since: to_the_second(key.since),
        until: key.until.map(to_the_second),
    }
}

/// The word of the resource for it.
pub(super) const fn algorithm(algorithm: Algorithm) -> KeyAlgorithm {
    match algorithm {
        Algorithm::Es256 => KeyAlgorithm::Es256,
        Algorithm::EdDsa => KeyAlgorithm::EdDsa,
        Algorithm::Rs256 => KeyAlgorithm::Rs256,
    }
}

/// The most keys that an issuer has.
const MOST_KEYS: usize = 4;

#[cfg(test)]
mod tests;
