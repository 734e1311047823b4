//! What ended while no operator ran: the cases of linkerd's issues 3676, 4808 and 9612.

use super::*;

#[tokio::test]
async fn f12_a_ca_that_ended_is_replaced_at_once_and_told() {
    let now = clock::now();
    let made = now - LIVES.authority - Duration::from_secs(60);
    let cluster = Shared::default();
    authority(&cluster).tend(true, || made).await.unwrap();
    let before = cluster.lock().unwrap().bundle.clone().unwrap();
    let (leader, replica) = (authority(&cluster), authority(&cluster));
    replica.tend(false, || now).await.unwrap();
    let reason = replica.ready(now).unwrap_err();
    assert!(
        reason.starts_with("the CA of the serving certificate ended at ")
            && reason.ends_with("; the leader makes a new one"),
        "{reason}"
    );
    leader.tend(true, || now).await.unwrap();
    replica.tend(false, || now).await.unwrap();
    assert_eq!((leader.ready(now), replica.ready(now)), (Ok(()), Ok(())));
    assert_eq!(
        leaf(&cluster, &leader).await,
        leaf(&cluster, &replica).await
    );
    let cluster = cluster.lock().unwrap();
    let text = |bundle: &Value| bundle["spec"]["trustBundle"].as_str().unwrap().to_owned();
    let after = text(cluster.bundle.as_ref().unwrap());
    assert!(
        !after.contains(&text(&before)),
        "one that ended is trusted no more"
    );
    assert_eq!((cluster.secret_writes, cluster.bundle_writes), (2, 2));
}

#[tokio::test]
async fn f12_a_serving_certificate_that_ended_is_renewed_under_the_same_ca() {
    let now = clock::now();
    let cluster = Shared::default();
    let made = now - Duration::from_secs(200 * 24 * 3600);
    authority(&cluster).tend(true, || made).await.unwrap();
    let (leader, replica) = (authority(&cluster), authority(&cluster));
    replica.tend(false, || now).await.unwrap();
    let reason = replica.ready(now).unwrap_err();
    assert!(
        reason.starts_with("the serving certificate ended at "),
        "{reason}"
    );
    leader.tend(true, || now).await.unwrap();
    assert_eq!(leader.ready(now), Ok(()));
    leaf(&cluster, &leader).await;
    assert_eq!(cluster.lock().unwrap().bundle_writes, 1);
}

#[tokio::test]
async fn f12_a_ca_that_ended_is_followed_by_the_one_that_was_prepared() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    leader.tend(true, now).await.unwrap();
    // The serving certificate has ended by then, and is renewed first.
    leader.tend(true, || later(1826)).await.unwrap();
    leader.tend(true, || later(1826)).await.unwrap();
    let prepared = leader.bundle().unwrap();
    // Nobody looks until the first one has ended.
    leader.tend(true, || later(3651)).await.unwrap();
    assert_eq!(leader.ready(later(3651)), Ok(()));
    let left = leader.bundle().unwrap();
    assert!(prepared.ends_with(&left) && prepared != left);
    assert_eq!(leader.ca_ends(), later(1826) + LIVES.authority);
}

#[tokio::test]
async fn f12_what_is_published_grows_before_it_is_used_and_shrinks_after() {
    let cluster = Shared::default();
    let leader = authority(&cluster);
    let mut told = Vec::new();
    for (days, hours) in [
        (0, 0),
        (1826, 0),
        (1826, 1),
        (1827, 0),
        (1827, 1),
        (1827, 2),
        (3650, 1),
    ] {
        let now = later(days) + Duration::from_secs(hours * 3600);
        // The second look is for the CA, where the first one renewed the serving certificate.
        leader.tend(true, || now).await.unwrap();
        leader.tend(true, || now).await.unwrap();
        let cas = leader.bundle().unwrap().matches("BEGIN").count();
        let signs = leader.ca_ends();
        told.push((days, hours, cas, signs == first_ends()));
    }
    let first = true;
    assert_eq!(
        told,
        [
            (0, 0, 1, first),
            (1826, 0, 2, first),
            (1826, 1, 2, first),
            (1827, 0, 2, first),
            // A day after it was seen to be published.
            (1827, 1, 2, !first),
            (1827, 2, 2, !first),
            (3650, 1, 1, !first),
        ]
    );
}

fn first_ends() -> Timestamp {
    now() + LIVES.authority
}

impl Authority {
    /// When the CA of what is served ends.
    fn ca_ends(&self) -> Timestamp {
        let text = self.metrics.encode().unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("hallpass_authority_expiry_timestamp_seconds "));
        Timestamp::from_second(line.unwrap().parse().unwrap()).unwrap()
    }
}
