//! Takes in revocations for which there was no room, beside the watch.

use kube::{Api, api::ListParams};
use tracing::warn;

use super::{
    revocations::{Read, Revocations, Revokes},
    stored::Stored,
    watch::{PAGE, Watched},
};
use crate::telemetry::log::Chain;

/// Lists them, and puts in force those for which there is room now.
///
/// # Guarantees
/// The watch goes on meanwhile, and what it says counts. What was not read to its end is read again.
pub(super) async fn fill<K: Revokes + Watched>(revocations: &Revocations, api: Api<Stored<K>>) {
    revocations.begin_filling(K::KIND);
    let outcome = pages(revocations, &api).await;
    if let Err(error) = &outcome {
        let (kind, error) = (K::KIND.as_str(), Chain(error));
        warn!(object.kind = kind, %error, "those that had no room could not be listed");
    }
    revocations.end_filling(K::KIND, outcome.is_ok());
}

async fn pages<K: Revokes + Watched>(
    revocations: &Revocations,
    api: &Api<Stored<K>>,
) -> kube::Result<()> {
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let more = page.metadata.continue_.filter(|more| !more.is_empty());
        let read = page.items.into_iter().filter_map(Read::of).collect();
        let on = revocations.fill(K::KIND, read);
        match more {
            Some(more) if on => params.continue_token = Some(more),
            // The watch began anew, or that is all.
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::revocation::{Kind, MOST_OF_NAMESPACE};
    use hallpass_crds::token_revocation::TokenRevocation;
    use http::{Request, Response};
    use kube::{Client, client::Body, runtime::watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::index::{Index, fixture::revocation, listed};

    fn policy(index: usize) -> TokenRevocation {
        let spec = json!({"target": {"policy": format!("p-{index}")}});
        revocation(&format!("r-{index}"), index as u64 + 1, &spec)
    }

    /// An API server that stores two more than there was room for, a page each; the second page of the
    /// first list fails where `fails`.
    fn api(fails: bool) -> Api<Stored<TokenRevocation>> {
        let first = std::sync::atomic::AtomicBool::new(fails);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let second = query.contains("continue=more");
            assert!(query.contains("limit=500"), "{query}");
            let failed = second && first.swap(false, std::sync::atomic::Ordering::Relaxed);
            let (index, more) = if second {
                (20_001, "")
            } else {
                (20_000, "more")
            };
            let list = json!({
                "metadata": {"resourceVersion": "9", "continue": more},
                "items": [policy(index)],
            });
            let answer = Response::builder().status(if failed { 500 } else { 200 });
            let answer = answer.body(Body::from(list.to_string().into_bytes()));
            async move { answer }
        });
        Api::all(Client::new(service, "default"))
    }

    /// More than are kept, and then two places.
    fn overfull() -> Revocations {
        let index = Index::filled(vec![], vec![], vec![]);
        let revocations = index.revocations().clone();
        let guarded = |i| Stored(Ok(policy(i)));
        revocations.deliver(listed((0..MOST_OF_NAMESPACE + 10_002).map(guarded)));
        revocations.deliver((0..10_002).map(|i| Event::Delete(guarded(i))).collect());
        assert_eq!(revocations.ask(|set| set.len()), MOST_OF_NAMESPACE - 2);
        revocations
    }

    #[tokio::test]
    async fn every_page_is_taken_in() {
        let revocations = overfull();
        fill(&revocations, api(false)).await;
        assert_eq!(revocations.ask(|set| set.len()), MOST_OF_NAMESPACE);
        assert_eq!(revocations.lacks(), None);
    }

    #[tokio::test]
    async fn what_could_not_be_listed_is_wanted_on() {
        let (revocations, api) = (overfull(), api(true));
        fill(&revocations, api.clone()).await;
        assert_eq!(revocations.ask(|set| set.len()), MOST_OF_NAMESPACE - 1);
        assert_eq!(revocations.lacks(), Some(Kind::Namespaced));
        fill(&revocations, api).await;
        assert_eq!(revocations.ask(|set| set.len()), MOST_OF_NAMESPACE);
    }
}
