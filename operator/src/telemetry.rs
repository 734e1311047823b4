//! What is seen from outside: metrics, health, logs.
//!
//! [`Metrics`] is made once, in `main`, and handed to everybody. A metric is a method, never a public
//! family: what a label can say is an enum of [`label`], so no name, path or text of an error can
//! become one.

use std::{fmt, sync::Arc, time::Duration};

use hallpass_core::denial::Code;
use jiff::Timestamp;
use prometheus_client::encoding::text;

use self::{
    families::{Families, OK},
    label::{
        EvictionOutcome, InjectionOutcome, KeyStep, Kind, ReviewOutcome, Route, StatusWrite,
        StepOutcome, TurnedAway, Uninjected,
    },
};

mod families;
pub mod health;
pub mod label;
pub mod log;
pub mod server;

/// Every metric of the operator. Cheap to clone; made once, in `main`.
///
/// # Guarantees
/// Every series with a label that is known beforehand exists from the start with the value 0, so that
/// the first failure is an increase and not a new series.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Families>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Families::new()))
    }

    /// A request of the API was answered: without a code where it succeeded.
    pub fn request(&self, route: Route, code: Option<Code>, took: Duration) {
        let labels = [
            ("route", route.as_str()),
            ("code", code.map_or(OK, Code::as_str)),
        ];
        self.0.requests.get_or_create(&labels).inc();
        self.0
            .request_duration
            .get_or_create(&[("route", route.as_str())])
            .observe(took.as_secs_f64());
    }

    /// One token left the operator.
    pub fn issued(&self) {
        self.0.tokens_issued.inc();
    }

    /// One token, or one caller, was refused.
    pub fn denied(&self, code: Code) {
        self.0
            .denials
            .get_or_create(&[("code", code.as_str())])
            .inc();
    }

    /// The API server answered a TokenRequest, whatever it answered.
    pub fn minted(&self, took: Duration) {
        self.0.mint_duration.observe(took.as_secs_f64());
    }

    /// So many tokens are being minted by the API server, and so many wait.
    pub fn mints(&self, in_progress: usize, waiting: usize) {
        self.0.mints_in_progress.set(gauge(in_progress));
        self.0.mints_waiting.set(gauge(waiting));
    }

    /// A token was not minted, since too many are asked for.
    pub fn turned_away(&self, why: TurnedAway) {
        self.0
            .mints_turned_away
            .get_or_create(&[("reason", why.as_str())])
            .inc();
    }

    /// So many objects of that kind are known now.
    pub fn watch_objects(&self, kind: Kind, count: usize) {
        self.0
            .watch_objects
            .get_or_create(&[("kind", kind.as_str())])
            .set(gauge(count));
    }

    /// So many revocations are not in force, since there is no room for them.
    pub fn revocations_refused(&self, count: usize) {
        self.0.revocations_refused.set(gauge(count));
    }

    /// The watch of that kind failed and starts again.
    pub fn watch_error(&self, kind: Kind) {
        self.0
            .watch_errors
            .get_or_create(&[("kind", kind.as_str())])
            .inc();
    }

    /// Whether the definition of that kind is gone.
    pub fn definition_missing(&self, kind: Kind, missing: bool) {
        self.0
            .definition_missing
            .get_or_create(&[("kind", kind.as_str())])
            .set(missing.into());
    }

    /// So many objects of that kind are stored in a form that cannot be read, and are left out.
    pub fn unreadable_objects(&self, kind: Kind, count: usize) {
        self.0
            .unreadable_objects
            .get_or_create(&[("kind", kind.as_str())])
            .set(gauge(count));
    }

    /// Whether this replica is the one that writes.
    pub fn leader(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// So many pods should have the sidecar for that reason and have not.
    pub fn uninjected(&self, reason: Uninjected, count: usize) {
        self.0
            .uninjected_pods
            .get_or_create(&[("reason", reason.as_str())])
            .set(gauge(count));
    }

    /// The eviction of a pod that lacks the sidecar was asked for.
    pub fn eviction(&self, outcome: EvictionOutcome) {
        self.0
            .evictions
            .get_or_create(&[("outcome", outcome.as_str())])
            .inc();
    }

    /// In so many namespaces no more pods are evicted, since the last one did not come back as it should.
    pub fn evictions_stopped(&self, count: usize) {
        self.0.evictions_stopped.set(gauge(count));
    }

    /// A status was written, or could not be.
    pub fn status_write(&self, outcome: StatusWrite) {
        self.0
            .status_writes
            .get_or_create(&[("outcome", outcome.as_str())])
            .inc();
    }

    /// So many keys of the cluster are known now.
    pub fn keys(&self, count: usize) {
        self.0.keys.set(gauge(count));
    }

    /// The leader took a step with a key, or could not.
    pub fn key_step(&self, step: KeyStep, outcome: StepOutcome) {
        self.0
            .key_steps
            .get_or_create(&[("step", step.as_str()), ("outcome", outcome.as_str())])
            .inc();
    }

    /// The API server was asked about a token that could not be judged here.
    pub fn token_review(&self, outcome: ReviewOutcome) {
        self.0
            .token_reviews
            .get_or_create(&[("outcome", outcome.as_str())])
            .inc();
    }

    /// The API server showed a pod to the webhook.
    pub fn injection(&self, outcome: InjectionOutcome) {
        self.0
            .injections
            .get_or_create(&[("outcome", outcome.as_str())])
            .inc();
    }

    /// The serving certificate in use ends then.
    pub fn certificate_expiry(&self, at: Timestamp) {
        self.0.certificate_expiry.set(at.as_second());
    }

    /// The CA of that certificate ends then.
    pub fn authority_expiry(&self, at: Timestamp) {
        self.0.authority_expiry.set(at.as_second());
    }

    /// The state of the cluster was seen to have gone back.
    pub fn state_went_back(&self) {
        self.0.state_went_back.inc();
    }

    /// How long ago it was last proven that what is known of the cluster is current, if ever.
    pub fn state_age(&self, age: Option<Duration>) {
        let seconds = age.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.0.state_age.set(seconds);
    }

    /// A handler panicked; its request was answered with `Internal`.
    pub fn panicked(&self) {
        self.0.panics.inc();
    }

    /// So many lines of the log were lost.
    pub fn log_lines_lost(&self, count: u64) {
        self.0.log_lines_lost.inc_by(count);
    }

    /// The OpenMetrics text of all of them.
    ///
    /// # Errors
    /// None in practice: a `String` takes everything.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, self.0.registry())?;
        Ok(text)
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: [(&str, &str); 29] = [
        ("hallpass_requests", "counter"),
        ("hallpass_request_duration_seconds", "histogram"),
        ("hallpass_tokens_issued", "counter"),
        ("hallpass_denials", "counter"),
        ("hallpass_mint_duration_seconds", "histogram"),
        ("hallpass_mints_in_progress", "gauge"),
        ("hallpass_mints_waiting", "gauge"),
        ("hallpass_mints_turned_away", "counter"),
        ("hallpass_watch_objects", "gauge"),
        ("hallpass_watch_errors", "counter"),
        ("hallpass_definition_missing", "gauge"),
        ("hallpass_unreadable_objects", "gauge"),
        ("hallpass_revocations_refused", "gauge"),
        ("hallpass_leader", "gauge"),
        ("hallpass_uninjected_pods", "gauge"),
        ("hallpass_evictions", "counter"),
        ("hallpass_evictions_stopped", "gauge"),
        ("hallpass_status_writes", "counter"),
        ("hallpass_keys", "gauge"),
        ("hallpass_key_steps", "counter"),
        ("hallpass_token_reviews", "counter"),
        ("hallpass_certificate_expiry_timestamp_seconds", "gauge"),
        ("hallpass_authority_expiry_timestamp_seconds", "gauge"),
        ("hallpass_state_age_seconds", "gauge"),
        ("hallpass_state_went_back", "counter"),
        ("hallpass_injections", "counter"),
        ("hallpass_panics", "counter"),
        ("hallpass_log_lines_lost", "counter"),
        ("hallpass_build", "info"),
    ];

    #[test]
    fn every_documented_family_is_there_from_the_start() {
        let text = Metrics::new().encode().unwrap();
        for (family, kind) in DOCUMENTED {
            let line = format!("# TYPE {family} {kind}\n");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        let families = text.lines().filter(|l| l.starts_with("# TYPE ")).count();
        assert_eq!(families, DOCUMENTED.len());
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.request(
            Route::Tokens,
            Some(Code::NoPolicy),
            Duration::from_millis(3),
        );
        metrics.request(Route::Assignments, None, Duration::from_millis(3));
        metrics.issued();
        metrics.denied(Code::NoPolicy);
        metrics.watch_objects(Kind::Pod, 7);
        metrics.unreadable_objects(Kind::TokenPolicy, 1);
        metrics.definition_missing(Kind::TokenIssuer, true);
        metrics.leader(true);
        metrics.uninjected(Uninjected::Policy, 2);
        metrics.status_write(StatusWrite::Failed);
        metrics.token_review(ReviewOutcome::Limited);
        metrics.certificate_expiry(Timestamp::from_second(1_800_000_000).unwrap());
        metrics.authority_expiry(Timestamp::from_second(1_900_000_000).unwrap());
        metrics.state_age(Some(Duration::from_millis(12_900)));
        metrics.state_went_back();
        metrics.injection(InjectionOutcome::Refused);
        metrics.panicked();
        metrics.log_lines_lost(3);
        let text = metrics.encode().unwrap();
        for line in [
            r#"hallpass_requests_total{route="tokens",code="NoPolicy"} 1"#,
            r#"hallpass_requests_total{route="assignments",code="OK"} 1"#,
            r#"hallpass_request_duration_seconds_bucket{le="0.005",route="tokens"} 1"#,
            "hallpass_tokens_issued_total 1",
            r#"hallpass_denials_total{code="NoPolicy"} 1"#,
            r#"hallpass_denials_total{code="NameTaken"} 0"#,
            r#"hallpass_watch_objects{kind="Pod"} 7"#,
            r#"hallpass_unreadable_objects{kind="TokenPolicy"} 1"#,
            r#"hallpass_definition_missing{kind="TokenIssuer"} 1"#,
            r#"hallpass_definition_missing{kind="TokenPolicy"} 0"#,
            "hallpass_leader 1",
            r#"hallpass_uninjected_pods{reason="Policy"} 2"#,
            r#"hallpass_uninjected_pods{reason="PodLabel"} 0"#,
            r#"hallpass_status_writes_total{outcome="Failed"} 1"#,
            r#"hallpass_token_reviews_total{outcome="Limited"} 1"#,
            "hallpass_certificate_expiry_timestamp_seconds 1800000000",
            "hallpass_authority_expiry_timestamp_seconds 1900000000",
            "hallpass_state_age_seconds 12",
            "hallpass_state_went_back_total 1",
            r#"hallpass_injections_total{outcome="Refused"} 1"#,
            r#"hallpass_injections_total{outcome="Injected"} 0"#,
            "hallpass_panics_total 1",
            "hallpass_log_lines_lost_total 3",
            concat!(
                "hallpass_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
