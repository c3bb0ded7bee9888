//! Complete lists: every page of one configuration, or nothing.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::api::{Listed, Version};
use super::client::{Client, Page};
use crate::discovery::source::{Failure, FailureKind, Reporter};

/// Routers asked for at once. Traefik has no upper limit, and one response is one configuration.
const PER_PAGE: usize = 100_000;
/// Pages of a list.
const MAX_PAGES: usize = 1000;
/// Walks over a list of several pages until two in a row agree.
const MAX_WALKS: usize = 5;

/// A complete list.
pub(super) struct Fetched {
    /// Every router but Traefik's own.
    pub(super) routers: Vec<Listed>,
    /// An element of which not even the name could be read.
    pub(super) unnamed: Option<Failure>,
}

/// The instance's version; nothing if it refuses to tell.
pub(super) async fn version(client: &Client, reporter: &Reporter) -> Result<Option<String>, Failure> {
    use FailureKind::{Client as Refused, Forbidden, NotFound, Unauthorized};
    match client.get(reporter, "version", "version").await {
        Ok(page) => match serde_json::from_slice::<Version>(&page.body) {
            Ok(version) => Ok(Some(version.version)),
            Err(error) => Err(client.failure(FailureKind::Decode, format!("version: {error}"))),
        },
        // If the lists are refused too, they will say so.
        Err(failure) if matches!(failure.kind, Refused | Forbidden | NotFound | Unauthorized) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A complete list of routers.
///
/// # Errors
/// A page could not be had, or the pages of no two walks were the same.
pub(super) async fn list(
    client: &Client,
    reporter: &Reporter,
    endpoint: &'static str,
) -> Result<Fetched, Failure> {
    let mut last = walk(client, reporter, endpoint).await?;
    if last.pages > 1 {
        // A configuration that is replaced between two pages lets a router slip from one not yet read to one that was.
        let mut walks = 1;
        loop {
            let next = walk(client, reporter, endpoint).await?;
            walks += 1;
            let agree = next.is_same(&last);
            last = next;
            if agree {
                break;
            }
            if walks == MAX_WALKS {
                let text = format!("{endpoint}: changed during each of {MAX_WALKS} walks over its pages");
                return Err(client.failure(FailureKind::Inconsistent, text));
            }
        }
    }
    read(client, endpoint, &last.elements)
}

/// The elements of one walk over all pages.
struct Walk {
    elements: Vec<Box<RawValue>>,
    pages: usize,
}

impl Walk {
    fn is_same(&self, other: &Self) -> bool {
        self.elements.len() == other.elements.len()
            && self.elements.iter().zip(&other.elements).all(|(a, b)| a.get() == b.get())
    }
}

async fn walk(client: &Client, reporter: &Reporter, endpoint: &'static str) -> Result<Walk, Failure> {
    let decode = |text: String| client.failure(FailureKind::Decode, format!("{endpoint}: {text}"));
    let mut elements: Vec<Box<RawValue>> = Vec::new();
    for page in 1..=MAX_PAGES {
        let path = format!("{endpoint}?page={page}&per_page={PER_PAGE}");
        let answer = client.get(reporter, endpoint, &path).await?;
        let list: Vec<Box<RawValue>> =
            serde_json::from_slice(&answer.body).map_err(|error| decode(format!("page {page}: {error}")))?;
        let count = list.len();
        elements.extend(list);
        match next_page(&answer).map_err(decode)? {
            // Traefik says 1 on the last page.
            Some(1) => return Ok(Walk { elements, pages: page }),
            Some(next) if next == page + 1 => {}
            Some(next) => return Err(decode(format!("page {next} is said to follow page {page}"))),
            // A proxy that lets only known headers through: fewer than were asked for is the last page.
            None if count < PER_PAGE => return Ok(Walk { elements, pages: page }),
            None => return Err(decode("a full page does not say which page follows".to_owned())),
        }
    }
    Err(decode(format!("there are more than {MAX_PAGES} pages")))
}

/// What `X-Next-Page` says.
fn next_page(page: &Page) -> Result<Option<usize>, String> {
    let Some(value) = page.headers.get("x-next-page") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| format!("X-Next-Page {value:?} is no number"))
}

/// Reads the elements one by one, so that one that is malformed hides no other.
fn read(client: &Client, endpoint: &str, elements: &[Box<RawValue>]) -> Result<Fetched, Failure> {
    let mut routers = Vec::with_capacity(elements.len());
    let mut names: HashSet<Box<str>> = HashSet::new();
    let mut unnamed = None;
    for (index, element) in elements.iter().enumerate() {
        match Listed::read(element) {
            Ok(router) if !names.insert(router.name().into()) => {
                let text = format!("{endpoint}: there are two routers named {}", router.name());
                return Err(client.failure(FailureKind::Inconsistent, text));
            }
            Ok(router) if router.name().ends_with("@internal") => {}
            Ok(router) => routers.push(router),
            Err(why) => {
                let text = format!("{endpoint}: element {index}: {why}");
                unnamed = Some(client.failure(FailureKind::Decode, text));
            }
        }
    }
    Ok(Fetched { routers, unnamed })
}
