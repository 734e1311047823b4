//! Who else has a turn while a namespace is looked at.

use super::*;

#[tokio::test]
async fn everything_else_has_its_turn_between_two_policies() {
    let names: Vec<String> = (0..50).map(|i| format!("p-{i}")).collect();
    let policies = names.iter().map(|name| policy("shop", name, "orders"));
    let index = Index::filled(policies.collect(), vec![], vec![]);
    let snapshot = index.snapshot().unwrap();
    let turns = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&turns);
    let mut others = tokio::task::JoinSet::new();
    others.spawn(async move {
        loop {
            *counting.lock().unwrap() += 1;
            yield_now().await;
        }
    });
    standings(snapshot.rules().policies.of("shop"), &[]).await;
    assert!(*turns.lock().unwrap() >= 50);
}
