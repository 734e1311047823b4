//! Lists pods that lack the sidecar: their metadata alone, a page at a time, at a steady pace.

use std::time::Duration;

use hallpass_core::name::ServiceAccount;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Resource,
    api::{GetParams, ListParams},
    core::Request,
};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::pod::{Lacking, Page, State};

/// Lists for one leader.
///
/// # Guarantees
/// The API server is asked at most [`PACE`] times a second, however many policies there are, and one page
/// is in memory at a time.
pub(super) struct Lister {
    client: Client,
    pace: Interval,
}

/// Which pods are listed.
#[derive(Debug, Clone)]
pub(super) struct Which {
    path: String,
    labels: &'static str,
    fields: String,
}

/// Why they are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error("make the request for pods without the sidecar")]
    MakeRequest(#[source] kube::core::request::Error),
    #[error("look for pods without the sidecar")]
    List(#[source] Box<kube::Error>),
}

impl Which {
    /// Those of the whole cluster whose own label asks for the sidecar.
    pub(super) fn asking() -> Self {
        Self {
            path: Pod::url_path(&(), None),
            labels: ASKING,
            fields: UNFINISHED.to_owned(),
        }
    }

    /// Those of a namespace that do not say they want none.
    pub(super) fn of(namespace: &str) -> Self {
        Self {
            path: Pod::url_path(&(), Some(namespace)),
            labels: WILLING,
            fields: UNFINISHED.to_owned(),
        }
    }

    /// Those of a namespace that have it and run.
    pub(super) fn injected(namespace: &str) -> Self {
        Self {
            path: Pod::url_path(&(), Some(namespace)),
            labels: INJECTED,
            fields: RUNNING.to_owned(),
        }
    }

    /// The one of that name, if it runs and does not say that it wants none.
    pub(super) fn running(namespace: &str, name: &str) -> Self {
        Self {
            path: Pod::url_path(&(), Some(namespace)),
            labels: WILLING,
            fields: format!("metadata.name={name},{RUNNING}"),
        }
    }

    /// The same under that service account: pods say in their spec alone whose they are.
    pub(super) fn under(&self, account: &ServiceAccount) -> Self {
        Self {
            fields: format!("spec.serviceAccountName={account},{UNFINISHED}"),
            ..self.clone()
        }
    }
}

impl Lister {
    /// A lister that asks by that client, which bounds a page in bytes and in time.
    pub(super) fn new(client: Client) -> Self {
        let mut pace = interval(Duration::from_secs(1) / PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { client, pace }
    }

    /// Shows each of them to `look`.
    pub(super) async fn each(
        &mut self,
        which: &Which,
        mut look: impl FnMut(Lacking),
    ) -> Result<(), ListError> {
        let mut params = which.params();
        loop {
            let page = self.page(which, &params).await?;
            let more = page.metadata.more.clone();
            let items = page.items().into_iter();
            items.for_each(|item| look(item.metadata));
            match more.filter(|more| !more.is_empty()) {
                Some(more) => params.continue_token = Some(more),
                None => return Ok(()),
            }
        }
    }

    /// Whether there is one at all.
    pub(super) async fn any(&mut self, which: &Which) -> Result<bool, ListError> {
        let page = self.page(which, &which.params()).await?;
        Ok(!page.items().is_empty())
    }

    /// Whether the pod of that name is ready.
    pub(super) async fn is_ready(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<bool, ListError> {
        self.turn().await;
        let path = Pod::url_path(&(), Some(namespace));
        let request = Request::new(path).get(name, &GetParams::default());
        let request = request.map_err(ListError::MakeRequest)?;
        match self.client.request::<State>(request).await {
            Ok(state) => Ok(state.is_ready()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(ListError::List(Box::new(error))),
        }
    }

    /// Waits until another request may be sent.
    pub(super) async fn turn(&mut self) {
        self.pace.tick().await;
    }

    async fn page(&mut self, which: &Which, params: &ListParams) -> Result<Page, ListError> {
        self.turn().await;
        let request = Request::new(&which.path).list_metadata(params);
        let request = request.map_err(ListError::MakeRequest)?;
        let page = self.client.request(request).await;
        page.map_err(|error| ListError::List(Box::new(error)))
    }
}

impl Which {
    fn params(&self) -> ListParams {
        let params = ListParams::default().limit(PAGE);
        params.labels(self.labels).fields(&self.fields)
    }
}

/// Requests a second.
const PACE: u32 = 10;

/// Pods of a page.
const PAGE: u32 = 500;

/// Set by injection on every pod that got the sidecar, so that who has not got it has it not.
const ASKING: &str = "hallpass.dev/inject=true,!hallpass.dev/injected";

/// Which holds of a pod without that label, too.
const WILLING: &str = "hallpass.dev/inject!=false,!hallpass.dev/injected";

const INJECTED: &str = "hallpass.dev/injected=true";
const RUNNING: &str = "status.phase=Running";

/// A pod that finished needs no token.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";
