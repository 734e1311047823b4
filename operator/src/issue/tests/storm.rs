//! Many pods at once.

use futures::future::join_all;
use hallpass_core::decide::Subject;

use super::*;
use crate::{
    index::fixture::{audience, audience_token, issuer, namespace, revocation},
    issue::admit::AT_ONCE,
    issuer::fixture::subject_in,
};

/// An API server that does not answer, and one that asks for `a` of it in each of these pods.
fn silent() -> (ApiServer, Issuance) {
    let server = ApiServer::default().on(TOKEN_PATH, |_| Reply::Silence);
    let (issuance, ..) = issuance(&server, &["a"]);
    (server, issuance)
}

fn of(subject: Arc<Subject>, expires_in: u32) -> Ask {
    Ask {
        subject,
        expires_in,
        ..ask()
    }
}

async fn asked(issuance: &Issuance, pod: &str, expires_in: u32) -> String {
    let ask = of(subject_in("shop", pod), expires_in);
    let outcomes = issuance.issue(&ask, names(&["a"])).await.unwrap();
    told(&outcomes)[0].1.to_owned()
}

/// So many pods ask, of whom each still has its token for a while.
async fn storm(issuance: &Issuance, count: usize) -> Vec<String> {
    let pods: Vec<String> = (0..count).map(|n| format!("orders-{n}")).collect();
    join_all(pods.iter().map(|pod| asked(issuance, pod, 60))).await
}

fn pods(server: &ApiServer) -> Vec<String> {
    let calls = server.calls().into_iter();
    let of = |body: Value| {
        body["spec"]["boundObjectRef"]["name"]
            .as_str()
            .map(str::to_owned)
    };
    calls.filter_map(|(_, body)| of(body)).collect()
}

#[tokio::test(start_paused = true)]
async fn f11_the_api_server_is_asked_for_so_many_at_once_and_who_has_none_is_first() {
    let (server, issuance) = silent();
    let calls_after = async |seconds| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        pods(&server)
    };
    let late = async {
        assert_eq!(calls_after(1).await.len(), AT_ONCE);
        asked(&issuance, "new", 0).await
    };
    let looks = async {
        // The first are cut off after 8 s, and others have their turn.
        let calls = calls_after(9).await;
        assert_eq!(calls.len(), 2 * AT_ONCE);
        assert!(calls.contains(&"new".to_owned()), "{calls:?}");
    };
    let (storm, late, ()) = futures::join!(storm(&issuance, 100), late, looks);
    assert_eq!(late, "Unavailable");
    assert!(storm.iter().all(|word| word == "Unavailable"), "{storm:?}");
    // Whoever had no turn in 10 s was sent away, and the API server was not asked for it.
    assert_eq!(pods(&server).len(), 2 * AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn f11_who_waits_and_is_minted_for_is_answered_before_its_sidecar_gives_up() {
    let (server, issuance) = silent();
    let pods: Vec<String> = (0..3 * AT_ONCE).map(|n| format!("orders-{n}")).collect();
    let answered = pods.iter().map(async |pod| {
        let began = Instant::now();
        assert_eq!(asked(&issuance, pod, 0).await, "Unavailable");
        began.elapsed().as_secs()
    });
    let mut answered = join_all(answered).await;
    answered.sort_unstable();
    // Whose turn came at once has 8 s, whose turn came then has what is left, and nobody else has one.
    let expected = [8, 10, 12].map(|seconds| vec![seconds; AT_ONCE]).concat();
    assert_eq!(answered, expected);
    assert!(
        answered
            .iter()
            .all(|took| *took < wire::ANSWER_WITHIN.as_secs())
    );
    assert_eq!(server.calls().len(), 2 * AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn f11_what_is_locked_while_it_waits_is_not_issued() {
    for (locked, word, calls) in [
        (true, "Locked", AT_ONCE),
        (false, "Unavailable", AT_ONCE + 1),
    ] {
        let (server, issuance) = silent();
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked(&issuance, "late", 0).await
        };
        let lock = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if locked {
                let spec = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
                issuance
                    .index
                    .deliver_revocation(revocation("lock", 7, &spec));
            }
        };
        let (_, late, ()) = futures::join!(storm(&issuance, AT_ONCE), late, lock);
        assert_eq!(late, word);
        assert_eq!(server.calls().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn f11_what_another_replica_may_know_better_once_its_turn_comes_is_not_issued() {
    let (server, issuance) = silent();
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asked(&issuance, "late", 0).await
    };
    let cut = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        issuance.index.standing().be_cut_off(Instant::now());
    };
    let (_, late, ()) = futures::join!(storm(&issuance, AT_ONCE), late, cut);
    assert_eq!(late, "NotSynced");
    assert_eq!(server.calls().len(), AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn f11_a_token_of_our_own_waits_for_no_turn() {
    let server = ApiServer::default();
    let mut policy = policy("shop", "policy", "orders");
    policy.spec.tokens = vec![audience_token("pay", "pay", &["read"])];
    let (mut issuance, ..) = issuance(&server, &[]);
    issuance.index = Index::filled(vec![policy], vec![], vec![]);
    let stated = vec![audience("pay", "JWT")];
    issuance
        .index
        .allow(stated, vec![issuer()], vec![namespace("shop")]);
    let mut turns = vec![];
    for _ in 0..AT_ONCE {
        let until = Instant::now() + Duration::from_secs(1);
        let namespace = &subject().namespace;
        turns.push(issuance.admission.turn(namespace, 0, until).await.unwrap());
    }
    let ask = ask();
    let outcomes = issuance.issue(&ask, None).await.unwrap();
    // There is no key in this test: it came as far as that.
    assert_eq!(told(&outcomes), [("pay", "IssuerNotReady")]);
    assert_eq!(ask.since.elapsed(), Duration::ZERO);
    drop(turns);
}
