//! From a zone file's JSON to the desired zone, without health, signatures and compiling.

use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use hale::config::{Shared, ZoneReader};
use hale::zone::build::Builder;

/// A zone file of `count` names with one address each.
fn json(count: usize) -> String {
    let mut text = String::from(
        r#"{"zone":"bench.test","nameservers":["ns1.bench.test"],"records":{"ns1":["192.0.2.53"]"#,
    );
    for i in 0..count {
        write!(text, ",\n\"h{i}\":{{\"A\":[\"10.{}.{}.{}\"]}}", i >> 16 & 255, i >> 8 & 255, i & 255)
            .unwrap();
    }
    text.push_str("}}\n");
    text
}

#[divan::bench(args = [1_000, 1_000_000], sample_count = 5, sample_size = 1, max_time = 20)]
fn json_to_desired(bencher: Bencher<'_, '_>, count: usize) {
    let text = json(count);
    let counter = (ItemsCount::new(count), BytesCount::new(text.len()));
    bencher.counter(counter.0).counter(counter.1).with_inputs(|| text.clone()).bench_local_values(|text| {
        let reader = ZoneReader::from_text("zone.json", text, &Shared::default()).unwrap();
        let mut builder = Builder::new(reader.header(), &reader.header().apex);
        let mut diagnostics = Vec::new();
        reader.owners(&mut |owner| builder.owner(owner), &mut diagnostics);
        assert_eq!(diagnostics.len(), 0);
        builder.finish().map(|(zone, _)| zone).unwrap()
    });
}
