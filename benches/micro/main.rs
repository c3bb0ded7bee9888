//! What the parts cost by themselves: `cargo bench --bench micro`, or of some, `cargo bench --bench micro -- answer sign`.
//!
//! Times are of this machine in this minute, for comparing two versions of one function. What an answer may cost at most is counted in
//! instructions, by `tests/instructions.rs`.
#![allow(clippy::unwrap_used)]

mod answer;
#[path = "../../tests/engine/kinds.rs"]
#[allow(dead_code)]
mod kinds;
mod load;
#[path = "../../tests/engine/message.rs"]
#[allow(dead_code)]
mod message;
mod sign;
mod store;
#[path = "../../tests/engine/zone.rs"]
#[allow(dead_code)]
mod zone;

fn main() {
    divan::main();
}
