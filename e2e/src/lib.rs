//! What the tests of the whole system share: a cluster with the chart installed, namespaces of their
//! own, workloads, and eyes: what a container reads on its socket, what the operator answers, what a
//! person reads with kubectl.
//!
//! The tests run inside the network namespace of the test cluster (`e2e/cluster/in`), or anywhere
//! when `HALLPASS_E2E_KUBECONFIG` names another cluster on which the chart is installed.

pub mod api;
pub mod apps;
pub mod asker;
pub mod attempt;
pub mod authentication;
pub mod authority;
pub mod caller;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod comparable;
pub mod create;
pub mod daemon;
pub mod disk;
pub mod etcd;
pub mod faults;
pub mod flow;
pub mod forge;
pub mod generated_pods;
pub mod guard;
pub mod hay;
pub mod https;
pub mod injection;
pub mod inventory;
pub mod issuer;
pub mod jury;
pub mod kept_logs;
pub mod key_set;
pub mod late;
pub mod load;
pub mod local;
pub mod manifest;
pub mod memory;
pub mod mint;
pub mod minting;
pub mod operator;
pub mod payments;
pub mod pod;
pub mod pod_log;
pub mod process;
pub mod readme;
pub mod reads;
pub mod release;
pub mod remark;
pub mod request;
pub mod revocation;
pub mod scene;
pub mod sidecars;
pub mod silence;
pub mod state;
pub mod token;
pub mod verifiers;
pub mod wait;
pub mod writes;
