//! What becomes of pods, as the API server would see it: each patch is applied.

mod annotations;
mod bounds;
mod resources;
mod shape;
mod threats;
mod who;
