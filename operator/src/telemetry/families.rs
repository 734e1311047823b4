//! The metric families: their names, their help, and the series that are there from the start.

use hallpass_core::denial::Code;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::label::{
    EvictionOutcome, InjectionOutcome, KeyStep, Kind, ReviewOutcome, Route, StatusWrite,
    StepOutcome, TurnedAway, Uninjected,
};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The families behind [`Metrics`](super::Metrics).
#[derive(Debug)]
pub(super) struct Families {
    registry: Registry,
    pub(super) requests: Family<Labels<2>, Counter>,
    pub(super) request_duration: Family<Labels<1>, Histogram>,
    pub(super) tokens_issued: Counter,
    pub(super) denials: Family<Labels<1>, Counter>,
    pub(super) mint_duration: Histogram,
    pub(super) mints_in_progress: Gauge,
    pub(super) mints_waiting: Gauge,
    pub(super) mints_turned_away: Family<Labels<1>, Counter>,
    pub(super) watch_objects: Family<Labels<1>, Gauge>,
    pub(super) watch_errors: Family<Labels<1>, Counter>,
    pub(super) definition_missing: Family<Labels<1>, Gauge>,
    pub(super) unreadable_objects: Family<Labels<1>, Gauge>,
    pub(super) revocations_refused: Gauge,
    pub(super) leader: Gauge,
    pub(super) uninjected_pods: Family<Labels<1>, Gauge>,
    pub(super) evictions: Family<Labels<1>, Counter>,
    pub(super) evictions_stopped: Gauge,
    pub(super) status_writes: Family<Labels<1>, Counter>,
    pub(super) keys: Gauge,
    pub(super) key_steps: Family<Labels<2>, Counter>,
    pub(super) token_reviews: Family<Labels<1>, Counter>,
    pub(super) certificate_expiry: Gauge,
    pub(super) authority_expiry: Gauge,
    pub(super) state_age: Gauge,
    pub(super) state_went_back: Counter,
    pub(super) injections: Family<Labels<1>, Counter>,
    pub(super) panics: Counter,
    pub(super) log_lines_lost: Counter,
}

impl Families {
    /// All of them, registered and at zero.
    pub(super) fn new() -> Self {
        let mut families = Self {
            registry: Registry::with_prefix("hallpass"),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(histogram),
            tokens_issued: Counter::default(),
            denials: Family::default(),
            mint_duration: histogram(),
            mints_in_progress: Gauge::default(),
            mints_waiting: Gauge::default(),
            mints_turned_away: Family::default(),
            watch_objects: Family::default(),
            watch_errors: Family::default(),
            definition_missing: Family::default(),
            unreadable_objects: Family::default(),
            revocations_refused: Gauge::default(),
            leader: Gauge::default(),
            uninjected_pods: Family::default(),
            evictions: Family::default(),
            evictions_stopped: Gauge::default(),
            status_writes: Family::default(),
            keys: Gauge::default(),
            key_steps: Family::default(),
            token_reviews: Family::default(),
            certificate_expiry: Gauge::default(),
            authority_expiry: Gauge::default(),
            state_age: Gauge::default(),
            state_went_back: Counter::default(),
            injections: Family::default(),
            panics: Counter::default(),
            log_lines_lost: Counter::default(),
        };
        families.register_requests();
        families.register_mints();
        families.register_state();
        families.register_currency();
        families.start_at_zero();
        families
    }

    /// What prints them.
    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    // OpenMetrics appends _total to the name of a counter and _info to that of an info.
    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register(
            "requests",
            "Requests to the API, by outcome",
            self.requests.clone(),
        );
        r.register(
            "request_duration_seconds",
            "Time to answer a request to the API",
            self.request_duration.clone(),
        );
        r.register(
            "tokens_issued",
            "Tokens handed out",
            self.tokens_issued.clone(),
        );
        r.register("denials", "Tokens that were refused", self.denials.clone());
        r.register(
            "token_reviews",
            "Tokens that only the API server could judge",
            self.token_reviews.clone(),
        );
        r.register(
            "injections",
            "Pods that the API server showed to the webhook, by what became of them",
            self.injections.clone(),
        );
        r.register(
            "panics",
            "Requests that ended in a fault of Hallpass itself",
            self.panics.clone(),
        );
        r.register(
            "log_lines_lost",
            "Lines of the log that were lost, since nothing read them",
            self.log_lines_lost.clone(),
        );
    }

    fn register_mints(&mut self) {
        let r = &mut self.registry;
        r.register(
            "mint_duration_seconds",
            "Time that the API server took to mint a token",
            self.mint_duration.clone(),
        );
        r.register(
            "mints_in_progress",
            "Tokens that the API server is minting",
            self.mints_in_progress.clone(),
        );
        r.register(
            "mints_waiting",
            "Tokens that wait for others to be minted",
            self.mints_waiting.clone(),
        );
        r.register(
            "mints_turned_away",
            "Tokens that were not minted, since too many are asked for",
            self.mints_turned_away.clone(),
        );
    }

    fn register_state(&mut self) {
        let r = &mut self.registry;
        r.register(
            "watch_objects",
            "Objects in the index",
            self.watch_objects.clone(),
        );
        r.register(
            "watch_errors",
            "Failures of a watch",
            self.watch_errors.clone(),
        );
        r.register(
            "unreadable_objects",
            "Stored objects that cannot be read and are left out",
            self.unreadable_objects.clone(),
        );
        r.register(
            "revocations_refused",
            "Stored revocations that are NOT in force, since there are too many",
            self.revocations_refused.clone(),
        );
        r.register(
            "leader",
            "1 on the replica that writes status",
            self.leader.clone(),
        );
        r.register(
            "status_writes",
            "Writes of a status",
            self.status_writes.clone(),
        );
        r.register(
            "keys",
            "Keys of the cluster that identity tokens are checked with",
            self.keys.clone(),
        );
        r.register(
            "key_steps",
            "Steps that the leader took with the keys of an issuer",
            self.key_steps.clone(),
        );
        r.register(
            "certificate_expiry_timestamp_seconds",
            "End of the serving certificate in use, 0 while there is none",
            self.certificate_expiry.clone(),
        );
        r.register(
            "authority_expiry_timestamp_seconds",
            "End of the CA that signed it, 0 while there is none",
            self.authority_expiry.clone(),
        );
        r.register(
            "build",
            "The running version",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
    }

    fn register_currency(&mut self) {
        let r = &mut self.registry;
        r.register(
            "state_age_seconds",
            "Time since it was last proven that what is known of the cluster is current, 0 before",
            self.state_age.clone(),
        );
        r.register(
            "definition_missing",
            "1 while the definition of that kind is gone, and what was known of its objects goes on",
            self.definition_missing.clone(),
        );
        r.register(
            "uninjected_pods",
            "Running pods that should have the sidecar and have not, 0 on replicas that do not lead",
            self.uninjected_pods.clone(),
        );
        r.register(
            "evictions",
            "Evictions of pods without the sidecar that were asked for",
            self.evictions.clone(),
        );
        r.register(
            "evictions_stopped",
            "Namespaces in which no more pods without the sidecar are evicted, since the last one did not come back with it",
            self.evictions_stopped.clone(),
        );
        r.register(
            "state_went_back",
            "Times that this replica saw that the state of the cluster went back, as by a restore of etcd",
            self.state_went_back.clone(),
        );
    }

    fn start_at_zero(&self) {
        for route in Route::ALL {
            drop(
                self.requests
                    .get_or_create(&[("route", route.as_str()), ("code", OK)]),
            );
            drop(
                self.request_duration
                    .get_or_create(&[("route", route.as_str())]),
            );
        }
        for code in Code::ALL {
            drop(self.denials.get_or_create(&[("code", code.as_str())]));
        }
        for kind in Kind::ALL {
            let labels = [("kind", kind.as_str())];
            drop(self.watch_objects.get_or_create(&labels));
            drop(self.watch_errors.get_or_create(&labels));
            drop(self.unreadable_objects.get_or_create(&labels));
        }
        for kind in Kind::DEFINED {
            let labels = [("kind", kind.as_str())];
            drop(self.definition_missing.get_or_create(&labels));
        }
        for outcome in StatusWrite::ALL {
            drop(
                self.status_writes
                    .get_or_create(&[("outcome", outcome.as_str())]),
            );
        }
        for (step, outcome) in KeyStep::ALL
            .iter()
            .flat_map(|step| StepOutcome::ALL.iter().map(move |outcome| (step, outcome)))
        {
            drop(
                self.key_steps
                    .get_or_create(&[("step", step.as_str()), ("outcome", outcome.as_str())]),
            );
        }
        for reason in TurnedAway::ALL {
            let labels = [("reason", reason.as_str())];
            drop(self.mints_turned_away.get_or_create(&labels));
        }
        for reason in Uninjected::ALL {
            let labels = [("reason", reason.as_str())];
            drop(self.uninjected_pods.get_or_create(&labels));
        }
        for outcome in EvictionOutcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            drop(self.evictions.get_or_create(&labels));
        }
        for outcome in InjectionOutcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            drop(self.injections.get_or_create(&labels));
        }
        for outcome in ReviewOutcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            drop(self.token_reviews.get_or_create(&labels));
        }
    }
}

fn histogram() -> Histogram {
    // Ours takes milliseconds, a mint tens of them; the slow end is where calls are cut off.
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

/// The label `code` of a request that succeeded.
pub(super) const OK: &str = "OK";
