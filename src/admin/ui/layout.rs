//! What every page has around it.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::guard::Visitor;
use super::parts::csrf;

/// The pages of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// What needs somebody's attention.
    Overview,
    /// Zones and their names.
    Zones,
    /// What is probed.
    Targets,
    /// Where names are discovered.
    Sources,
    /// A person's words.
    Overrides,
    /// What happens.
    Events,
    /// Keys and signatures.
    Dnssec,
    /// What DNS says of a name.
    Test,
    /// None of them.
    Elsewhere,
}

const MENU: [(Section, &str, &str); 8] = [
    (Section::Overview, "/ui", "Overview"),
    (Section::Zones, "/ui/zones", "Zones"),
    (Section::Targets, "/ui/targets", "Targets"),
    (Section::Sources, "/ui/sources", "Sources"),
    (Section::Overrides, "/ui/overrides", "Overrides"),
    (Section::Events, "/ui/events", "Events"),
    (Section::Dnssec, "/ui/dnssec", "DNSSEC"),
    (Section::Test, "/ui/test", "Test"),
];

/// A page with the menu.
pub(super) fn page(section: Section, title: &str, visitor: &Visitor, body: &Markup) -> Response {
    document(
        title,
        visitor.theme,
        &html! {
            a.skip href="#main" { "Skip to the content" }
            header.bar x-data="menu" {
                a.brand href="/ui" { (logo()) "Hale" }
                button.menu.small type="button" x-on:click="toggle" x-bind:aria-expanded="open" aria-controls="menu" aria-expanded="false" { "Menu" }
                form.search role="search" action="/ui/search" {
                    label.hidden for="search" { "Search names and targets" }
                    input #search type="search" name="q" placeholder="Search names and targets" autocomplete="off" spellcheck="false";
                }
                (theme_switch())
                (account(visitor))
                nav.side #menu aria-label="Main" x-bind:class="shown" {
                    @for (of, href, label) in MENU {
                        a href=(href) aria-current=[(of == section).then_some("page")] { (label) }
                    }
                }
            }
            main #main tabindex="-1" {
                @if let Some(note) = &visitor.note {
                    p.note.(if note.good { "good" } else { "bad" }) role="status" { (note.text) }
                }
                p #offline .note.bad role="status" hidden { "The server does not answer. What you see may be old." }
                (body)
            }
            (confirm_dialog())
        },
    )
}

/// A page on its own, for errors and the login.
pub(super) fn bare(title: &str, theme: Option<&str>, body: &Markup) -> Response {
    document(
        title,
        theme,
        &html! {
            header.bar.alone { a.brand href="/ui" { (logo()) "Hale" } (theme_switch()) }
            main #main { (body) }
        },
    )
}

fn document(title: &str, theme: Option<&str>, body: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing of a page is evaluated, and no page is kept in the browser's storage.
                meta name="htmx-config" content=r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,"historyCacheSize":0,"selfRequestsOnly":true}"#;
                title { (title) " · Hale" }
                link rel="icon" href=(assets::link("hale.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::link("hale.css"));
                script defer src=(assets::link("htmx.js")) {}
                script defer src=(assets::link("hale.js")) {}
                // Last: it starts what hale.js has told it of.
                script defer src=(assets::link("alpine.js")) {}
            }
            body { (body) }
        }
    };
    Html(document.into_string()).into_response()
}

fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 24 24" aria-hidden="true" {
            path d="M3 13h4l2.5-7 4.5 13 2.7-6H21" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" {}
        }
    }
}

fn theme_switch() -> Markup {
    html! {
        button.small.theme type="button" x-data="theme" x-on:click="toggle" x-bind:aria-label="label" aria-label="Change colours" {
            svg viewBox="0 0 24 24" aria-hidden="true" {
                circle cx="12" cy="12" r="8" fill="none" stroke="currentColor" stroke-width="2" {}
                path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor" {}
            }
        }
    }
}

fn account(visitor: &Visitor) -> Markup {
    html! {
        @if visitor.can_log_out {
            form.inline method="post" action="/ui/logout" { (csrf(visitor)) button.small { "Log out" } }
        } @else if visitor.can_log_in {
            a.button.small href="/ui/login" { "Log in" }
        }
    }
}

/// Asked before each change; hale.js fills it in.
fn confirm_dialog() -> Markup {
    html! {
        dialog #confirm aria-labelledby="confirm-question" {
            form method="dialog" {
                p #confirm-question {}
                p.actions {
                    button value="no" autofocus { "Cancel" }
                    button.primary #confirm-do value="yes" { "Do it" }
                }
            }
        }
    }
}
