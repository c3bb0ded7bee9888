//! A headless Chromium, driven by plain WebDriver (W3C Recommendation) over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{Running, TempDir, find, free_port};

/// How long the driver takes to start, a page to load and a condition to come true, at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Key codes of WebDriver (§17.4.2).
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";

/// A browser with one window; it ends when this is dropped.
pub struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Running,
    _folder: TempDir,
}

impl Browser {
    /// Starts one with an empty profile; `None`, with a line that says so, where Chromium or its driver is not installed.
    pub fn start(name: &str) -> Option<Browser> {
        let (chromium, driver) = (find("chromium")?, find("chromedriver")?);
        let folder = TempDir::new(name);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", address.port()));
        let mut running = Running::start(command, folder.path(), "chromedriver");
        running
            .wait_for(PATIENCE, |_| TcpStream::connect(address).is_ok().then_some(()))
            .expect("chromedriver listens");
        let profile = folder.path().join("profile");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let started = exchange(address, "POST", "/session", &wanted).expect("Chromium starts");
        let session = format!("/session/{}", started["sessionId"].as_str().unwrap());
        Some(Browser { address, session, _driver: running, _folder: folder })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        exchange(self.address, method, &format!("{}{path}", self.session), body)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A window of this size, and the colours that its person prefers: `light` or `dark`.
    pub fn show(&self, width: u32, height: u32, colours: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        self.prefer(&[("prefers-color-scheme", colours)]);
    }

    /// What its person prefers, as media features.
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Whether pages run scripts; those of the tests run all the same.
    pub fn scripting(&self, is_on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !is_on }));
    }

    /// Where files go that are downloaded.
    pub fn download_to(&self, folder: &Path) {
        let how = json!({ "behavior": "allow", "downloadPath": folder });
        self.devtools("Browser.setDownloadBehavior", &how);
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Loads a page.
    pub fn open(&self, address: &str) {
        self.ask("POST", "/url", &json!({ "url": address }));
    }

    /// Runs a function body in the page and returns what it returns. This is the driver's doing, to which a page's policy does not apply.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn wait_for(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({expression})")) != true {
            let page = || self.run("return document.body.innerText");
            assert!(
                Instant::now() < deadline,
                "never: {expression}\n{}",
                page().as_str().unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn element(&self, selector: &str) -> String {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        format!("/element/{}", id.as_str().unwrap())
    }

    /// Clicks as a mouse does: what lies under something else, or is not shown, cannot be clicked.
    pub fn click(&self, selector: &str) {
        self.ask("POST", &format!("{}/click", self.element(selector)), &json!({}));
    }

    /// Types into a field.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.ask("POST", &format!("{element}/clear"), &json!({}));
        self.ask("POST", &format!("{element}/value"), &json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let each = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() }))
        });
        let actions: Vec<Value> = each.collect();
        self.ask(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }),
        );
    }

    /// What the console has been told since the last call: errors and warnings alone.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let grave = |entry: &&Value| {
            matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"))
                || entry["message"].as_str().is_some_and(|text| text.contains("Content Security Policy"))
        };
        log.as_array().unwrap().iter().filter(grave).map(|entry| entry["message"].to_string()).collect()
    }

    /// Keeps a picture of the whole page, at most `most` pixels high.
    pub fn picture(&self, path: &Path, most: u64) {
        let number = |script: &str| self.run(script).as_u64().unwrap();
        let height = number("return document.documentElement.scrollHeight").min(most);
        let clip =
            json!({ "x": 0, "y": 0, "width": number("return innerWidth"), "height": height, "scale": 1 });
        let taken =
            self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true, "clip": clip }));
        let png = data_encoding::BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(path, png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; the driver is killed after that.
        let _ = exchange(self.address, "DELETE", &self.session, &Value::Null);
    }
}

/// One command (§6.3): the value of its response.
fn exchange(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).map_err(|error| error.to_string())?;
    // The driver keeps the connection whatever it is told, so the length counts.
    let mut answer = BufReader::new(stream);
    let (mut status, mut length) = (String::new(), 0);
    answer.read_line(&mut status).map_err(|error| error.to_string())?;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| format!("a length of {value}"))?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if status.starts_with("HTTP/1.1 200") {
        Ok(value["value"].clone())
    } else {
        Err(value["value"].to_string())
    }
}
