//! Chromium with somebody's hands at the mouse and the keys, through its debugging protocol.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use super::chromium::{CHROMIUM, without_a_screen};

/// For one answer of the browser.
const ANSWER_TAKES: Duration = Duration::from_secs(30);
/// Resolves once the page shows what its address says.
const READY: &str = "new Promise((done) => {
    const look = () => document.body?.dataset.ready === 'true' ? done() : setTimeout(look, 10);
    look();
})";

/// A page that is open. Dropping it ends the browser.
pub(crate) struct Hand {
    browser: Child,
    _profile: TempDir,
    socket: WebSocket<TcpStream>,
    session: String,
    commands: u64,
    wrong: Vec<String>,
}

impl Hand {
    pub(crate) fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new(CHROMIUM)
            .args(without_a_screen(profile.path()))
            .arg("--remote-debugging-port=0")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(browser.stderr.take().unwrap()).lines();
        let listens = said
            .find_map(|line| Some(line.ok()?.strip_prefix("DevTools listening on ")?.to_owned()));
        let listens = listens.expect("the browser says where it listens");
        // What it says later is read away, so that it never waits for a reader.
        std::thread::spawn(move || said.for_each(drop));
        let address = listens.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_TAKES)).unwrap();
        let (socket, _) = tungstenite::client(&listens, stream).unwrap();
        let mut hand = Self {
            browser,
            _profile: profile,
            socket,
            session: String::new(),
            commands: 0,
            wrong: Vec::new(),
        };
        let target = hand.command("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = hand.command("Target.attachToTarget", &attach);
        hand.session = session["sessionId"].as_str().unwrap().to_owned();
        hand.command("Runtime.enable", &json!({}));
        hand.command("Log.enable", &json!({}));
        hand.command("Page.enable", &json!({}));
        hand.command("Page.navigate", &json!({"url": url}));
        hand.settle();
        hand
    }

    /// What the page, or the browser about it, complained of.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.clone()
    }

    fn command(&mut self, method: &str, params: &Value) -> Value {
        self.commands += 1;
        let mut command = json!({"id": self.commands, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(command.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut told: Value = serde_json::from_str(text.as_str()).unwrap();
            if told["id"] == self.commands {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].take();
            }
            let is_wrong =
                ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
            if is_wrong.iter().any(|event| told["method"] == *event) {
                self.wrong.push(told["params"].to_string());
            }
        }
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut told = self.command("Runtime.evaluate", &asked);
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].take()
    }

    fn settle(&mut self) {
        self.evaluate(READY);
    }

    pub(crate) fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What stands behind the address.
    pub(crate) fn address(&mut self) -> String {
        self.evaluate("location.hash").as_str().unwrap().trim_start_matches('#').to_owned()
    }

    fn rect(&mut self, id: &str) -> [f64; 4] {
        let rect = self.evaluate(&format!(
            "(({{left, top, width, height}}) => [left, top, width, height])\
             (document.getElementById('{id}').getBoundingClientRect())"
        ));
        [0, 1, 2, 3].map(|at| rect[at].as_f64().unwrap())
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let button = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
        self.command("Input.dispatchMouseEvent", &button);
    }

    /// At a share of an element's width, so many pixels from its top.
    pub(crate) fn click(&mut self, id: &str, across: f64, down: u32) {
        let [left, top, width, _] = self.rect(id);
        let at = (left + width * across, top + f64::from(down));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            self.mouse(kind, at);
        }
        self.settle();
    }

    /// From one place in an element to another, as shares of its width and height.
    pub(crate) fn drag(&mut self, id: &str, from: (f64, f64), to: (f64, f64)) {
        let [left, top, width, height] = self.rect(id);
        let at = |(across, down): (f64, f64)| (left + width * across, top + height * down);
        self.mouse("mousePressed", at(from));
        self.mouse("mouseMoved", at(to));
        self.mouse("mouseReleased", at(to));
        self.evaluate(&format!("document.getElementById('{id}').focus()"));
        self.settle();
    }

    pub(crate) fn key(&mut self, key: &str) {
        let mut down = json!({"type": "keyDown", "key": key});
        if key.len() == 1 {
            down["text"] = json!(key);
        }
        self.command("Input.dispatchKeyEvent", &down);
        self.command("Input.dispatchKeyEvent", &json!({"type": "keyUp", "key": key}));
        self.settle();
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.command("Input.insertText", &json!({"text": text}));
        self.settle();
    }

    pub(crate) fn back(&mut self) {
        // Going back is done later: what it comes to is waited for.
        self.evaluate(
            "new Promise((done) => { addEventListener('popstate', done, {once: true}); history.back(); })
                .then(() => undefined)",
        );
        self.settle();
    }

    pub(crate) fn choose(&mut self, id: &str, value: &str) {
        self.evaluate(&format!(
            "((select) => {{ select.value = '{value}'; select.dispatchEvent(new Event('change')); }})\
             (document.getElementById('{id}'))"
        ));
        self.settle();
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Its helpers end with it.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
