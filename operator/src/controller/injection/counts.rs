//! How many pods lack the sidecar, as the metric says.

use std::collections::BTreeMap;

use hallpass_core::name::Namespace;

use crate::telemetry::{Metrics, label::Uninjected};

/// What a leader found. Dropped, it says nothing any more: another replica looks then.
#[derive(Debug)]
pub(super) struct Counts {
    metrics: Metrics,
    asking: usize,
    namespaces: BTreeMap<Namespace, [usize; 2]>,
}

impl Counts {
    pub(super) const fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            asking: 0,
            namespaces: BTreeMap::new(),
        }
    }

    /// So many of the cluster ask for it by their own label.
    pub(super) fn asking(&mut self, count: usize) {
        self.asking = count;
        self.show();
    }

    /// In that namespace so many are asked for by the label of the namespace, and so many by policies alone.
    pub(super) fn of(&mut self, namespace: &Namespace, counts: [usize; 2]) {
        if counts == [0, 0] {
            self.namespaces.remove(namespace);
        } else {
            self.namespaces.insert(namespace.clone(), counts);
        }
        self.show();
    }

    fn show(&self) {
        let sum = |place: usize| self.namespaces.values().map(|counts| counts[place]).sum();
        self.metrics.uninjected(Uninjected::PodLabel, self.asking);
        self.metrics.uninjected(Uninjected::NamespaceLabel, sum(0));
        self.metrics.uninjected(Uninjected::Policy, sum(1));
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        for reason in Uninjected::ALL {
            self.metrics.uninjected(*reason, 0);
        }
    }
}
