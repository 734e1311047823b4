//! What is promised for when something breaks, held against the real thing while it breaks. Applications
//! read their tokens all the while, and a jury looks at every read. Each test is alone on the cluster.

mod f01_api_server;
mod f02_slow;
mod f02_throttled;
mod f03_leader;
mod f04_rotated;
mod f04_verified;
mod f06_clocks;
mod f07_frozen;
mod f08_full;
mod f09_stopped;
mod f10_silent;
mod f11_storm;
mod f12_authority;
mod f12_lapsed;
mod f13_no_operator;
mod f13_webhook;
mod f14_disk;
mod f14_node;
mod f18_upgraded;
mod f19_crowded;
mod f19_sidecar_killed;
mod f20_deleted;
mod f20_undefined;
mod f21_large;
mod f21_names;
mod f22_panics;
mod fixture;
