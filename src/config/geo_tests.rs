//! Regions as text, and what databases and networks make of a map.

use super::*;

#[path = "../../tests/support/mmdb.rs"]
#[allow(clippy::unwrap_used, unreachable_pub)]
mod mmdb;

#[test]
fn regions_as_text() {
    let v4 = |text: &str, bits| Region::Network(text.parse().unwrap(), bits);
    for (text, want) in [
        ("EU", Region::Continent(*b"EU")),
        ("OC", Region::Continent(*b"OC")),
        ("continent:NA", Region::Continent(*b"NA")),
        ("country:NA", Region::Country(*b"NA")),
        ("DE", Region::Country(*b"DE")),
        ("US-CA", Region::Subdivision(*b"US", *b"CA\0")),
        ("FR-75C", Region::Subdivision(*b"FR", *b"75C")),
        ("AS64500", Region::Asn(64_500)),
        ("192.0.2.0/24", v4("192.0.2.0", 24)),
        ("0.0.0.0/0", v4("0.0.0.0", 0)),
        ("2001:db8::/32", v4("2001:db8::", 32)),
        ("::1/128", v4("::1", 128)),
    ] {
        assert_eq!(text.parse(), Ok(want), "{text}");
    }
    for (text, why) in [
        ("AS", "\"AS\" is a continent and a country"),
        ("NA", "\"NA\" is a continent and a country"),
        ("UK", "\"UK\" is no country"),
        ("eu", "\"eu\" is no region"),
        ("Europe", "\"Europe\" is no region"),
        ("continent:DE", "\"continent:DE\" is no region"),
        ("US-", "\"US-\" is no region"),
        ("US-CALI", "\"US-CALI\" is no region"),
        ("AS4294967296", "\"AS4294967296\" is no region"),
        ("192.0.2.1/24", "\"192.0.2.1/24\" has bits beyond its prefix"),
        ("192.0.2.0/33", "\"192.0.2.0/33\" is not a network"),
        ("192.0.2.0/+8", "\"192.0.2.0/+8\" is not a network"),
        ("2001:db8::/", "\"2001:db8::/\" is not a network"),
        ("", "\"\" is no region"),
    ] {
        assert_eq!(text.parse::<Region>().unwrap_err().0, why);
    }
}

/// Databases of places and of autonomous systems in a folder that goes away.
fn databases() -> (tempfile::TempDir, Geo) {
    let folder = tempfile::tempdir().unwrap();
    let place = mmdb::place;
    let places = mmdb::database(
        "Test-City",
        &[
            ("10.0.0.0/8", place("EU", "", "")),
            ("10.1.0.0/16", place("EU", "DE", "")),
            ("10.2.0.0/16", place("NA", "US", "CA")),
            ("10.3.0.0/16", place("NA", "US", "NY")),
            ("2001:db8::/32", place("EU", "DE", "")),
        ],
    );
    let systems = mmdb::database(
        "Test-ASN",
        &[("10.1.1.0/24", mmdb::system(64_500)), ("192.0.2.0/24", mmdb::system(64_501))],
    );
    let paths = [("city.mmdb", places), ("asn.mmdb", systems)].map(|(name, octets)| {
        let path = folder.path().join(name);
        std::fs::write(&path, octets).unwrap();
        path
    });
    (folder, Geo::new(paths.to_vec()))
}

fn regions(texts: &[&str]) -> Vec<(Region, u16)> {
    texts.iter().enumerate().map(|(i, text)| (text.parse().unwrap(), i as u16 + 1)).collect()
}

#[test]
fn the_most_specific_region_counts() {
    let (_folder, geo) = databases();
    let map = regions(&["EU", "DE", "US-CA", "US", "AS64500", "10.1.1.128/25", "10.1.1.192/26"]);
    let (table, unused) = geo.table(&map, 0).unwrap();
    assert_eq!(unused, []);
    for (client, branch, scope) in [
        ("10.9.9.9", 1, 13),
        ("10.1.2.3", 2, 23),
        ("10.2.0.1", 3, 16),
        ("10.3.0.1", 4, 16),
        ("10.1.1.1", 5, 25),
        ("10.1.1.129", 6, 26),
        ("10.1.1.200", 7, 26),
        ("192.0.2.1", 0, 1),
        ("2001:db8::1", 2, 32),
        ("2001:db9::1", 0, 32),
    ] {
        assert_eq!(table.find(client.parse().unwrap()), (branch, scope), "{client}");
    }
    let again = geo.table(&map, 0).unwrap().0;
    assert!(Arc::ptr_eq(&table, &again), "the same map has the same table");
}

#[test]
fn regions_without_networks_are_told() {
    let (_folder, geo) = databases();
    let map = regions(&["EU", "FR", "AS1", "10.0.0.0/8"]);
    assert_eq!(geo.table(&map, 0).unwrap().1, [Region::Country(*b"FR"), Region::Asn(1)]);
}

#[test]
fn a_database_is_needed_for_places_alone() {
    let geo = Geo::default();
    assert_eq!(geo.table(&regions(&["10.0.0.0/8"]), 0).unwrap().0.find("10.0.0.1".parse().unwrap()), (1, 8));
    assert_eq!(geo.table(&regions(&["EU"]), 0).unwrap_err(), "there is no database to look clients up in");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.mmdb");
    let missing = Geo::new(vec![path.clone()]).table(&regions(&["EU"]), 0).unwrap_err();
    assert!(missing.starts_with(&format!("cannot read {}", path.display())), "{missing}");
    std::fs::write(&path, b"no database").unwrap();
    assert!(Geo::new(vec![path]).table(&regions(&["EU"]), 0).is_err());
}
