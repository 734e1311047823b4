//! Hallpass as a whole, on a real Kubernetes: a module for each behaviour.

mod admission;
mod api;
mod assignments;
mod audit;
mod author;
mod bad_spec;
mod bearer;
mod bystander;
mod canary;
mod chart;
mod identity;
mod injection;
mod minting_right;
mod own_audience;
mod pod_shape;
mod policy;
mod quality;
mod readme;
mod refresh;
mod robustness;
mod slow;
mod token;
mod uninstall;
