//! Where clients are: the regions of a `geo` map, and the tables that MaxMind DB files and networks make of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use maxminddb::{Reader, WithinOptions};

use super::input;
use crate::model::prefixes::{PrefixTable, PrefixTableBuilder};

/// A key of a `geo` map but for `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Region {
    /// A continent by MaxMind's code of two letters.
    Continent([u8; 2]),
    /// A country by ISO 3166-1 alpha-2.
    Country([u8; 2]),
    /// A country's subdivision by ISO 3166-2; the part behind the dash ends in zeros where it is shorter.
    Subdivision([u8; 2], [u8; 3]),
    /// An autonomous system.
    Asn(u32),
    /// A network.
    Network(IpAddr, u8),
}

/// Continents by code; those but `EU` and `OC` are countries' codes as well.
const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

impl FromStr for Region {
    /// Message and hint.
    type Err = (String, String);

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |hint: &str| (format!("\"{text}\" is no region"), hint.to_owned());
        if let Some((address, bits)) = text.split_once('/') {
            return network(text, address, bits);
        }
        let system = text.strip_prefix("AS").filter(|rest| !rest.is_empty());
        if let Some(number) = system.filter(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
            let hint = "an autonomous system is written \"AS64500\"";
            return number.parse().map(Self::Asn).map_err(|_| wrong(hint));
        }
        if let Some(code) = text.strip_prefix("continent:") {
            let known = CONTINENTS.contains(&code);
            let hint = format!("continents are {}", CONTINENTS.join(", "));
            return letters(code).filter(|_| known).map(Self::Continent).ok_or_else(|| wrong(&hint));
        }
        let code = text.strip_prefix("country:").unwrap_or(text);
        if let Some((country, part)) = code.split_once('-') {
            let subdivision = letters(country).zip(part_of_country(part));
            let hint = "a subdivision is written as in ISO 3166-2: \"US-CA\"";
            return subdivision
                .map(|(country, part)| Self::Subdivision(country, part))
                .ok_or_else(|| wrong(hint));
        }
        let hint = "a continent such as \"EU\", a country such as \"DE\", \"US-CA\", \"AS64500\", a network, or \"default\"";
        let letters = letters(code).ok_or_else(|| wrong(hint))?;
        match code {
            "UK" => Err((format!("\"{text}\" is no country"), "ISO 3166 calls it \"GB\"".to_owned())),
            _ if code != text => Ok(Self::Country(letters)),
            "EU" | "OC" => Ok(Self::Continent(letters)),
            _ if CONTINENTS.contains(&code) => {
                let message = format!("\"{text}\" is a continent and a country");
                Err((message, format!("write \"continent:{text}\" or \"country:{text}\"")))
            }
            _ => Ok(Self::Country(letters)),
        }
    }
}

fn letters(text: &str) -> Option<[u8; 2]> {
    <[u8; 2]>::try_from(text.as_bytes()).ok().filter(|code| code.iter().all(u8::is_ascii_uppercase))
}

fn part_of_country(text: &str) -> Option<[u8; 3]> {
    let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let mut part = [0; 3];
    part.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    (!text.is_empty() && text.bytes().all(is_part)).then_some(part)
}

fn network(text: &str, address: &str, bits: &str) -> Result<Region, (String, String)> {
    let hint = || "a network is written \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned();
    let wrong = || (format!("\"{text}\" is not a network"), hint());
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let is_number = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    let bits: u8 = bits.parse().ok().filter(|bits| is_number && *bits <= width).ok_or_else(wrong)?;
    let first: IpAddr = match address {
        IpAddr::V4(v4) => {
            (u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).to_be_bytes().into()
        }
        IpAddr::V6(v6) => {
            (u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).to_be_bytes().into()
        }
    };
    if first != address {
        return Err((format!("\"{text}\" has bits beyond its prefix"), format!("write \"{first}/{bits}\"")));
    }
    Ok(Region::Network(address, bits))
}

/// The databases of `hale.json`, read when a map needs them, and the tables made of them.
#[derive(Debug, Default)]
pub(crate) struct Geo {
    paths: Vec<PathBuf>,
    opened: OnceLock<Result<Vec<Reader<Vec<u8>>>, String>>,
    /// Owners with the same map share its table.
    made: Mutex<HashMap<Map, Made>>,
}

/// Regions with their branches, and the branch of all others.
type Map = (Vec<(Region, u16)>, u16);

/// What became of a map.
type Made = Result<(Arc<PrefixTable>, Vec<Region>), String>;

impl Geo {
    /// Databases in these files; none of them is read yet.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, ..Self::default() }
    }

    /// The table of a map, and the regions that no network of the databases lies in. A network goes before an autonomous system, this before
    /// a subdivision, this before a country, and this before a continent; of two networks the longer one.
    ///
    /// # Errors
    /// A database is needed and there is none, or it cannot be read.
    pub(crate) fn table(&self, regions: &[(Region, u16)], default: u16) -> Made {
        let map = (regions.to_vec(), default);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(map).or_insert_with_key(|(regions, default)| self.make(regions, *default)).clone()
    }

    fn make(&self, regions: &[(Region, u16)], default: u16) -> Made {
        let mut builder = PrefixTableBuilder::new(default);
        let mut unused: Vec<Region> =
            regions.iter().map(|(r, _)| *r).filter(|r| !matches!(r, Region::Network(..))).collect();
        if !unused.is_empty() {
            let databases = self.databases()?;
            // Autonomous systems are set last, since they are more specific than any place.
            for wanted in [places as fn(&Record<'_>) -> Vec<Region>, systems] {
                for (reader, path) in databases.iter().zip(&self.paths) {
                    set_networks(reader, regions, wanted, &mut builder, &mut unused)
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
        }
        let network = |(region, branch): &(Region, u16)| match *region {
            Region::Network(address, bits) => Some((bits, address, *branch)),
            _ => None,
        };
        let mut networks: Vec<(u8, IpAddr, u16)> = regions.iter().filter_map(network).collect();
        networks.sort_by_key(|(bits, ..)| *bits);
        for (bits, address, branch) in networks {
            builder.set(address, bits, branch);
        }
        Ok((Arc::new(builder.finish()), unused))
    }

    fn databases(&self) -> Result<&[Reader<Vec<u8>>], String> {
        if self.paths.is_empty() {
            return Err("there is no database to look clients up in".to_owned());
        }
        let open = |path: &PathBuf| {
            let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
            let bytes = input::read(path, input::LARGEST).map_err(|error| failed(&error))?;
            Reader::from_source(bytes).map_err(|error| failed(&error))
        };
        let opened = self.opened.get_or_init(|| self.paths.iter().map(open).collect());
        opened.as_deref().map_err(Clone::clone)
    }
}

/// What is read of a database's record; the databases of others than MaxMind have the same shape.
#[derive(Debug, Default, serde::Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    continent: Place<'a>,
    #[serde(borrow, default)]
    country: Place<'a>,
    #[serde(borrow, default)]
    subdivisions: Vec<Place<'a>>,
    #[serde(default)]
    autonomous_system_number: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct Place<'a> {
    /// Of a continent.
    #[serde(default)]
    code: Option<&'a str>,
    /// Of a country or subdivision.
    #[serde(default)]
    iso_code: Option<&'a str>,
}

/// The places of a record, the most specific first.
fn places(record: &Record<'_>) -> Vec<Region> {
    let country = record.country.iso_code.and_then(letters);
    let part = |place: &Place<'_>| Some(Region::Subdivision(country?, part_of_country(place.iso_code?)?));
    let parts = record.subdivisions.iter().rev().filter_map(part);
    let continent = record.continent.code.and_then(letters).map(Region::Continent);
    parts.chain(country.map(Region::Country)).chain(continent).collect()
}

fn systems(record: &Record<'_>) -> Vec<Region> {
    record.autonomous_system_number.map(Region::Asn).into_iter().collect()
}

/// Sets the branches of a database's networks.
fn set_networks(
    reader: &Reader<Vec<u8>>,
    regions: &[(Region, u16)],
    wanted: fn(&Record<'_>) -> Vec<Region>,
    builder: &mut PrefixTableBuilder,
    unused: &mut Vec<Region>,
) -> Result<(), maxminddb::MaxMindDbError> {
    let branches: HashMap<Region, u16> = regions.iter().copied().collect();
    // Many networks share a record: each is decoded once.
    let mut known: HashMap<usize, Option<u16>> = HashMap::new();
    for network in reader.networks(WithinOptions::default())? {
        let network = network?;
        let Some(offset) = network.offset() else { continue };
        let branch = match known.get(&offset) {
            Some(branch) => *branch,
            None => {
                let record: Record<'_> = network.decode()?.unwrap_or_default();
                let found = wanted(&record).into_iter().find_map(|r| Some((r, *branches.get(&r)?)));
                if let Some((region, _)) = found {
                    unused.retain(|other| *other != region);
                }
                known.insert(offset, found.map(|(_, branch)| branch));
                found.map(|(_, branch)| branch)
            }
        };
        if let Some(branch) = branch {
            let at = network.network()?;
            builder.set(at.ip(), at.prefix(), branch);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "geo_tests.rs"]
mod tests;
