//! Everything under `--state`: what survives a restart.

pub mod verdicts;
