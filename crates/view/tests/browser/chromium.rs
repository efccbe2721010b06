//! Chromium without a screen: what a page is once its scripts have run, and what they complained of.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";
/// In the page's own time, which passes as fast as its scripts are done.
const TIME_MS: u32 = 10_000;

/// Whether the browser is installed; where it is not, that is said.
pub(crate) fn is_there() -> bool {
    if Path::new(CHROMIUM).exists() {
        return true;
    }
    let needed = env::var_os("TEMBLOR_NEEDS_CHROMIUM").is_some();
    assert!(!needed, "{CHROMIUM} is not installed, and TEMBLOR_NEEDS_CHROMIUM is set");
    eprintln!("skipped: {CHROMIUM} is not installed (on Debian: apt-get install chromium)");
    false
}

/// What it is started with, so that it keeps to itself and to a profile of its own.
pub(crate) fn without_a_screen(profile: &Path) -> [String; 10] {
    [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1200,900",
        &format!("--user-data-dir={}", profile.display()),
    ]
    .map(str::to_owned)
}

/// A page as it was in the end.
pub(crate) struct Page {
    dom: String,
    said: String,
}

impl Page {
    pub(crate) fn open(address: SocketAddr, hash: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let told = Command::new("timeout")
            .args(["--kill-after=5", "60", CHROMIUM])
            .args(without_a_screen(profile.path()))
            .arg("--enable-logging=stderr")
            .arg(format!("--virtual-time-budget={TIME_MS}"))
            .args(["--dump-dom", &format!("http://{address}/#{hash}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.success(), "{CHROMIUM} failed: {said}");
        Self { dom: String::from_utf8(told.stdout).unwrap(), said }
    }

    pub(crate) fn dom(&self) -> &str {
        &self.dom
    }

    /// What the scripts, or the browser about them, complained of. That an answer refuses what was
    /// asked for is told on the page.
    pub(crate) fn wrong(&self) -> Vec<&str> {
        let console = self.said.lines().filter(|line| line.contains("CONSOLE"));
        console.filter(|line| !line.contains("status of 404")).collect()
    }

    /// The tag that has this in it.
    pub(crate) fn tag(&self, marked: &str) -> &str {
        let at = self.dom.find(marked).unwrap_or_else(|| panic!("no {marked} in {}", self.dom));
        let begin = self.dom[..=at].rfind('<').unwrap();
        let end = at + self.dom[at..].find('>').unwrap();
        &self.dom[begin..end]
    }

    pub(crate) fn attribute(&self, marked: &str, name: &str) -> Option<&str> {
        self.tag(marked).split_once(&format!("{name}=\""))?.1.split('"').next()
    }

    /// The text of the element whose tag has this in it, words divided by single spaces.
    pub(crate) fn inside(&self, marked: &str) -> String {
        let tag = self.tag(marked);
        let name = tag[1..].split(' ').next().unwrap();
        let from = tag.as_ptr() as usize - self.dom.as_ptr() as usize + tag.len() + 1;
        let end = self.dom[from..].find(&format!("</{name}>")).expect("every element ends");
        text(&self.dom[from..from + end])
    }

    /// The text of each line of the tables that are shown.
    pub(crate) fn rows(&self) -> Vec<String> {
        let rows = self.dom.split("<tr").skip(1);
        rows.map(|row| text(&format!("<tr{}", row.split("</tr>").next().unwrap()))).collect()
    }
}

/// Without tags.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(begin) = rest.find('<') {
        text.push_str(&rest[..begin]);
        // Words of neighbours are words of their own.
        text.push(' ');
        rest = rest[begin..].split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
