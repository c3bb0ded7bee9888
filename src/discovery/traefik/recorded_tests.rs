//! What a real Traefik (3.7.13) answered, polled again: for where none can be had. `tests/traefik_real.rs` records it.

use serde_json::Value;

use super::super::fake::{Asked, Fake, Reply};
use super::*;

/// The API as it was recorded in a scene.
fn replay(scene: &str) -> impl Fn(&Asked) -> Reply + use<> {
    let text = include_str!("../../../tests/fixtures/traefik/recorded.json");
    let scenes: Value = serde_json::from_str(text).unwrap();
    let (said, errors) = (scenes[scene].clone(), scenes["errors"].clone());
    let version = scenes["whole"]["version"].clone();
    let is_paged = scene == "pages";
    move |asked| {
        let path = asked.path.strip_prefix("/api/").unwrap();
        let page = format!("{path}?page={}&per_page=", asked.page);
        let whole = format!("{page}{}", asked.per_page);
        // A proxy may cut what was asked for into shorter pages.
        let is_asked = |key: &str| key == whole || (is_paged && key.starts_with(&page));
        let found = said.as_object().unwrap().iter().find(|(key, _)| is_asked(key)).map(|(_, said)| said);
        reply(match path {
            "version" => &version,
            _ => found.unwrap_or(&errors["nothing"]),
        })
    }
}

/// A recorded response, with the headers that count.
fn reply(said: &Value) -> Reply {
    let body = said["body"].as_str().map_or_else(|| said["body"].to_string(), str::to_owned);
    let next = said["next_page"].as_str().map(|next| format!("X-Next-Page: {next}\r\n")).unwrap_or_default();
    let head =
        format!("Content-Type: {}\r\n{next}Content-Length: {}", said["type"].as_str().unwrap(), body.len());
    Reply::Raw(format!("HTTP/1.1 {} Said\r\n{head}\r\n\r\n{body}", said["status"]).into_bytes())
}

/// What a poll makes of the scene, an object a line.
async fn polled(scene: &str) -> Vec<String> {
    let fake = Fake::start(None, replay(scene)).await;
    let lines = Driven::start(traefik(&Driven::url(&fake))).poll().await;
    lines.iter().flat_map(|line| line.split("; ").map(str::to_owned)).collect()
}

#[tokio::test]
async fn routers_of_all_kinds() {
    let expected = [
        "router [router/api@file: api.example http web",
        "router/app@file: app.example http web",
        "router/broken@file: (disabled by Traefik: error while parsing rule Host(`broken.example`: parsing rule \
         Host(`broken.example`: 1:22: missing ',' before newline in argument list)",
        "router/child@file: ",
        "router/heir@file: parent.example https websecure",
        "router/lost@file: (disabled by Traefik: the service \"none@file\" does not exist)",
        "router/options@file: (disabled by Traefik: building router handler: unknown TLS options: none@file)",
        "router/parent@file: parent.example https websecure",
        "router/shop-external@file: shop.example http web",
        "router/two@file: two.example http web, zwei.example http web",
        "router/websecure-app@file: app.example https websecure",
        "router/wild@file: *.wild.example https websecure]",
        "tcprouter [tcprouter/any@file: ",
        "tcprouter/db@file: db.example tls db]",
    ];
    assert_eq!(polled("whole").await, expected);
    // Four to a page: the same.
    assert_eq!(polled("pages").await, expected);
}

/// Its own routers alone: a list like any other, of which the guard holds what it lacks.
#[tokio::test]
async fn a_restart_before_its_providers_have_spoken() {
    assert_eq!(polled("restarted").await, ["router []", "tcprouter []"]);
}

#[tokio::test]
async fn errors_say_what_they_are() {
    let text = include_str!("../../../tests/fixtures/traefik/recorded.json");
    let scenes: Value = serde_json::from_str(text).unwrap();
    for (path, expected) in [
        (
            "http/routers?page=99&per_page=4",
            "router failed client: status 400: {\"message\":\"invalid request: page: 99, per_page: 4\"}",
        ),
        (
            "http/routers?page=0",
            "router failed client: status 400: {\"message\":\"invalid request: page: 0\"}",
        ),
        ("nothing", "router failed not_found: status 404: 404 page not found"),
        ("without the password", "router failed unauthorized: status 401: 401 Unauthorized"),
    ] {
        let said = scenes["errors"][path].clone();
        let fake = Fake::start(None, move |asked: &Asked| match &*asked.path {
            "/api/http/routers" => reply(&said),
            _ => replay("restarted")(asked),
        })
        .await;
        let mut driven = Driven::start(traefik(&Driven::url(&fake)));
        let lines = driven.poll().await;
        let text = driven.texts[0].strip_prefix(&format!("{}: ", Driven::url(&fake))).unwrap();
        assert_eq!(format!("{}: {text}", lines[0]), expected);
    }
}
