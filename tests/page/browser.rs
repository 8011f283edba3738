//! A headless Chromium, driven through chromedriver: the WebDriver protocol is JSON over HTTP, so it needs no
//! library.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// One browser; closed when dropped. A test ends with [`Browser::end`].
pub struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
    /// What the browser leaves lying about lies in here, and goes with it.
    folder: TempDir,
    ended: bool,
}

impl Browser {
    /// Starts a browser with a window of this size.
    pub fn open(width: u32, height: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, of Debian's package chromium-driver: tests/run installs it");
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = said
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver to say its port");
        // It goes on talking, and dies when nobody listens.
        std::thread::spawn(move || said.for_each(drop));
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            &format!("--window-size={width},{height}"),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, at, session: String::new(), folder, ended: false };
        let opened = browser.post("", &wanted);
        opened["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser.order(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
        browser
    }

    /// An order to the browser itself, not to the page.
    fn order(&self, order: &str, params: &Value) {
        self.post("/chromium/send_command", &json!({ "cmd": order, "params": params }));
    }

    /// Shows the page as it is printed, or on the screen again.
    pub fn paper(&self, is_printed: bool) {
        let media = if is_printed { "print" } else { "" };
        self.order("Emulation.setEmulatedMedia", &json!({ "media": media }));
    }

    /// Whether the system is light or dark.
    pub fn system(&self, appearance: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": appearance }]);
        self.order("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    fn path(&self, rest: &str) -> String {
        if self.session.is_empty() {
            "/session".to_owned()
        } else {
            format!("/session/{}{rest}", self.session)
        }
    }

    /// One command. The driver keeps the connection open, so the answer ends where its length says.
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(DEADLINE * 2)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = BufReader::new(stream);
        let (mut status, mut length) = (String::new(), 0);
        answer.read_line(&mut status).unwrap();
        let mut line = String::new();
        while answer.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut bytes = vec![0; length];
        answer.read_exact(&mut bytes).unwrap();
        let mut told: Value = serde_json::from_slice(&bytes).unwrap();
        let shown: String = body.chars().take(200).collect();
        assert!(status.contains(" 200 "), "{method} {path} {shown}: {told}");
        told["value"].take()
    }

    fn post(&self, rest: &str, body: &Value) -> Value {
        let path = self.path(rest);
        self.ask("POST", &path, &body.to_string())
    }

    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// Opens one more tab beside those that there are, and goes on there.
    pub fn tab(&self) {
        let opened = self.post("/window/new", &json!({ "type": "tab" }));
        self.post("/window", &json!({ "handle": opened["handle"] }));
    }

    /// All tabs.
    pub fn tabs(&self) -> Vec<String> {
        let all = self.ask("GET", &self.path("/window/handles"), "");
        all.as_array().unwrap().iter().map(|handle| handle.as_str().unwrap().to_owned()).collect()
    }

    /// Goes on in a tab.
    pub fn look_at(&self, tab: &str) {
        self.post("/window", &json!({ "handle": tab }));
    }

    /// What a script answers.
    pub fn run(&self, script: &str, args: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": args }))
    }

    /// What a script hands to the function that is its last argument.
    pub fn run_until_told(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script answers something that is true, and says what it waited for if it never does.
    pub fn until(&self, what: &str, script: &str) -> Value {
        let began = Instant::now();
        loop {
            let found = self.run(script, &[]);
            if !matches!(found, Value::Null | Value::Bool(false)) {
                return found;
            }
            if began.elapsed() > DEADLINE {
                let page = self.run("return document.body.innerText", &[]);
                panic!("waited in vain for {what}; the page says:\n{}", page.as_str().unwrap_or_default());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn element(&self, css: &str) -> String {
        self.until(&format!("`{css}`"), &format!("return document.querySelector({css:?}) !== null"));
        let found = self.post("/element", &json!({ "using": "css selector", "value": css }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    /// Clicks as a hand does.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types as a hand does.
    pub fn write(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The key, as WebDriver writes it.
    pub const ENTER: &str = "\u{e007}";

    /// Presses a key where the focus is put first.
    pub fn press(&self, css: &str, key: &str) {
        self.element(css);
        self.run("document.querySelector(arguments[0]).focus()", &[json!(css)]);
        let actions = json!([{ "type": "key", "id": "keys", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
        ] }]);
        self.post("/actions", &json!({ "actions": actions }));
    }

    /// Chooses one of a list.
    pub fn choose(&self, css: &str, value: &str) {
        self.element(css);
        let script =
            "const [css, value] = arguments; const list = document.querySelector(css); list.value = value;
            list.dispatchEvent(new Event('change', { bubbles: true }))";
        self.run(script, &[json!(css), json!(value)]);
    }

    /// Signs in with the secret, in a language.
    pub fn sign_in(&self, url: &str, secret: &str, language: &str) {
        self.go(url);
        self.choose("#language", language);
        self.write("#secret", secret);
        self.write("#name", "Dana");
        self.click(".signin button");
        self.until("the overview", "return document.querySelector('.health-word') !== null");
    }

    /// What the console has said since the last time that somebody asked.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        let lines =
            log.as_array().unwrap().iter().map(|line| format!("{}: {}", line["level"], line["message"]));
        lines.collect()
    }

    /// The end of a test: the console has said nothing since somebody last asked, but lines that hold one of these.
    pub fn end(mut self, allowed: &[&str]) {
        self.ended = true;
        let mut said = self.complaints();
        said.retain(|line| !allowed.iter().any(|one| line.contains(one)));
        assert_eq!(said, Vec::<String>::new(), "the console is not silent");
    }

    /// Closes the window and waits until that is done; whoever has failed already wants no other failure.
    fn close(&self) {
        let Ok(mut stream) = TcpStream::connect(self.at) else { return };
        let _ = stream.set_read_timeout(Some(DEADLINE));
        let path = self.path("");
        let _ = write!(stream, "DELETE {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 1024]);
    }

    /// Writes down what can be seen.
    pub fn picture(&self, path: &Path) {
        let bytes = self
            .ask("GET", &self.path("/screenshot"), "")
            .as_str()
            .map(|text| base64::engine::general_purpose::STANDARD.decode(text).expect("a picture in base64"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes.expect("a picture")).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.close();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // The last of its processes may still write there.
        let began = Instant::now();
        while std::fs::remove_dir_all(self.folder.path()).is_err() && self.folder.path().exists() {
            if began.elapsed() > DEADLINE {
                eprintln!("the browser's folder {} could not be removed", self.folder.path().display());
                break;
            }
            std::thread::sleep(LOOK);
        }
        if !std::thread::panicking() {
            assert!(self.ended, "a test with a browser must end by asking whether its console was silent");
        }
    }
}
