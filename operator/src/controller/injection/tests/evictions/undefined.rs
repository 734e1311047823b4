//! Evictions while a definition is away.

use super::*;
use crate::telemetry::label::Kind;

#[tokio::test(start_paused = true)]
async fn f20_while_a_definition_is_missing_nothing_is_evicted() {
    let running = evicting(vec![
        old("orders-0", "orders", json!({})),
        old("orders-1", "orders", asks()),
    ]);
    let policies = running.index.standing().freshness();
    let policies = policies.stamp(Kind::TokenPolicy);
    policies.proven(Instant::now() + Duration::from_secs(3600));
    policies.bereft(true);
    assert_eq!(running.evictions(200).await, NONE);
    policies.bereft(false);
    assert_eq!(running.evictions(61).await, ["orders-1"]);
}
