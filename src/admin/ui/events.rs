//! What happens: the last events as a page, and a stream that tells open pages that there is something new.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::guard::Visitor;
use super::layout::{self, Section};
use super::parts::{self, ROWS, Tone, name_link, nothing, now_s, page_of, pager, query, state, when};
use super::trouble::Trouble;
use super::{Here, Page, Ui};
use crate::admin::access::Door;
use crate::admin::serve::Stop;
use crate::model::event::{Event, EventKind};
use crate::model::events::KEPT;
use crate::model::target::Verdict;

/// Nothing is told more often than this: a page fetches what is new all at once.
const PAUSE: Duration = Duration::from_millis(500);
/// What is said into the silence, so that whoever has gone is noticed, and a proxy does not hang up.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Pages at once that are told by a stream; the others ask every 15 seconds. Less than half of the connections of a listener, so that a page
/// that somebody opens always finds one.
pub(super) const STREAMS: usize = 64;
/// Names of an event that are shown.
const NAMES: usize = 4;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    kind: String,
    page: Option<usize>,
}

/// `GET /ui/events`.
pub(super) async fn list(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<ListQuery>,
) -> Page {
    let search = wanted.q.trim().to_ascii_lowercase();
    let (asked, only) = (search.clone(), wanted.kind.clone());
    let (events, count, page) = ui
        .ask(move |control| {
            let all = control.events().last(KEPT);
            let found: Vec<Arc<Event>> =
                all.into_iter().rev().filter(|event| matches(event, &asked, &only)).collect();
            let page = page_of(wanted.page, found.len());
            let count = found.len();
            let shown: Vec<Arc<Event>> = found.into_iter().skip((page - 1) * ROWS).take(ROWS).collect();
            (shown, count, page)
        })
        .await?;
    let address = |page: usize| {
        let pairs = [("q", search.as_str()), ("kind", &wanted.kind), ("page", &page.to_string())];
        format!("/ui/events?{}", query(&pairs))
    };
    let body = html! {
        h1 { "Events" }
        (parts::filter("/ui/events", "Filter events", &search, &kind_choice(&wanted.kind)))
        (parts::live(&address(page), &html! {
            @if events.is_empty() {
                (nothing(if search.is_empty() && wanted.kind.is_empty() { "Nothing has happened since the start." } else { "No event matches." }))
            } @else { (table(&events)) (pager(page, count, address)) }
        }))
        p.hint { "The last " (KEPT) " events since the start. " code { "hale events" } " prints and follows them." }
    };
    Ok(layout::page(Section::Events, "Events", &visitor, &body))
}

/// Whether an event is of a kind, or trouble, and says something.
fn matches(event: &Event, search: &str, only: &str) -> bool {
    let news = &event.news;
    let is_kind = match only {
        "" => true,
        "trouble" => news.kind.is_trouble(),
        name => news.kind.name() == name,
    };
    let texts = [Some(&news.text), news.target.as_ref(), news.source.as_ref(), news.why.as_ref()];
    let says = |text: &&String| text.to_ascii_lowercase().contains(search);
    is_kind && (texts.into_iter().flatten().any(|text| says(&text)) || news.names.iter().any(|n| says(&n)))
}

fn kind_choice(chosen: &str) -> Markup {
    html! {
        label.hidden for="kind" { "Kind" }
        select #kind name="kind" {
            option value="" { "Every kind" }
            option value="trouble" selected[chosen == "trouble"] { "Trouble only" }
            @for kind in EventKind::ALL { option value=(kind.name()) selected[chosen == kind.name()] { (kind.name()) } }
        }
    }
}

fn tone(event: &Event) -> Tone {
    match event.news.kind {
        kind if kind.is_trouble() => Tone::Bad,
        EventKind::TargetFlip if event.news.to == Some(Verdict::Down) => Tone::Bad,
        EventKind::TargetFlip
        | EventKind::NameRecovered
        | EventKind::SourceRecovered
        | EventKind::BrakeReleased
        | EventKind::ReloadDone => Tone::Good,
        EventKind::OverrideSet | EventKind::NameHidden => Tone::Warn,
        _ => Tone::Quiet,
    }
}

/// Events, latest first.
pub(super) fn table(events: &[Arc<Event>]) -> Markup {
    let now_s = now_s();
    html! {
        table.list {
            thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "About" } } }
            tbody { @for event in events { tr {
                td data-label="When" { (when(event.at_ms / 1000, now_s)) }
                td data-label="What" {
                    (state(tone(event), event.news.kind.name()))
                    div { (event.news.text) }
                    @if let Some(why) = event.news.why.as_ref().filter(|why| !event.news.text.contains(why.as_str())) { div.muted { (why) } }
                }
                td data-label="About" { (about(event)) }
            } } }
        }
    }
}

fn about(event: &Event) -> Markup {
    let news = &event.news;
    let more = news.names_in_all.unwrap_or(news.names.len() as u64).saturating_sub(NAMES as u64);
    html! {
        @if let Some(target) = &news.target {
            div { @match news.target_id {
                Some(id) => a.mono href={ "/ui/target?id=" (id) } { (target) },
                None => span.mono { (target) },
            } }
        }
        @for name in news.names.iter().take(NAMES) { div { (name_link(name)) } }
        @if more > 0 { div.muted { "and " (parts::plural(more, "name")) " more" } }
        @if let Some(source) = &news.source { div { a href="/ui/sources" { (source) } @if let Some(object) = &news.object { " " span.muted { (object) } } } }
        @if let Some(owner) = &news.owner { div.muted { "by " (owner) } }
        @if let Some(file) = &news.file { div.path { (file) } }
    }
}

/// `GET /ui/events/stream`: says `news` with the number of the last event, and nothing of what it is: pages fetch that.
pub(super) async fn stream(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(stop): Extension<Stop>,
) -> Response {
    let Ok(place) = Arc::clone(&ui.streams).try_acquire_owned() else {
        // A browser does not try again, and the page goes by its clock.
        return Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are told of news already")
            .into_response();
    };
    // One line waits for the page and no more: a batch of news is dropped when its number is known.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        tell(ui, visitor, stop, sender).await;
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Lines(receiver))).into_response()
}

/// Ends when nobody listens any more, the server stops or takes another token, or the login that was needed to listen is over.
async fn tell(ui: Arc<Ui>, visitor: Visitor, mut stop: Stop, sender: mpsc::Sender<Bytes>) {
    let mut watcher = ui.control.events().watch(None);
    let mut line = Bytes::from_static(b": watching\n\n");
    while sender.send(line).await.is_ok() {
        sleep(PAUSE).await;
        line = tokio::select! {
            () = sender.closed() => return,
            () = stop.told() => return,
            news = timeout(HEARTBEAT, watcher.next()) => match news {
                Ok(batch) => {
                    let id = batch.events.last().map_or(0, |event| event.id);
                    Bytes::from(format!("id: {id}\nevent: news\ndata: {id}\n\n"))
                }
                Err(_) => Bytes::from_static(b": still here\n\n"),
            },
        };
        let is_over = |id| ui.sessions.csrf(id, Instant::now()).is_none();
        if ui.door == Door::Open && visitor.session.is_none_or(is_over) {
            return;
        }
    }
}

/// A body of lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|bytes| Ok(Frame::data(bytes))))
    }
}
