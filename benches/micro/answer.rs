//! One answer, by kind of query, from the message's octets to the response's.

use std::sync::LazyLock;

use divan::Bencher;

use crate::kinds::{Asking, KINDS, Zones};

static ZONES: LazyLock<Zones> = LazyLock::new(Zones::new);

#[divan::bench(args = KINDS.iter().map(|kind| kind.name), sample_count = 100, sample_size = 100, max_time = 1)]
fn answer(bencher: Bencher<'_, '_>, name: &str) {
    let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
    let mut asking = Asking::new(&ZONES, kind);
    assert_eq!(asking.surprise(), None, "{}: not the answer it is to measure", name);
    bencher.bench_local(|| asking.one());
}
