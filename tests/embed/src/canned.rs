//! A few answers of an API server, in the words of a real one; each connection has one thread.

use faro::lifecycle::Joined;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends when it is dropped, and takes its kubeconfig along.
pub struct Server {
    kubeconfig: PathBuf,
    address: String,
    ending: Arc<AtomicBool>,
    // Joined after the connection that dropping makes.
    _thread: Joined,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let kubeconfig = std::env::temp_dir().join(format!("faro-embed-{}.kubeconfig", std::process::id()));
        let cluster = format!("{{name: c, cluster: {{server: 'http://{address}'}}}}");
        let context = "{name: c, context: {cluster: c, user: u}}";
        fs::write(
            &kubeconfig,
            format!("current-context: c\nclusters: [{cluster}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{context}]\n"),
        )?;
        let ending = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&ending);
        let accept = move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().flatten().take_while(|_| !ended.load(Ordering::SeqCst)) {
                // A client that leaves ends its connection.
                connections.extend(Joined::spawn("connection", move || _ = serve(stream)));
            }
        };
        Ok(Self { kubeconfig, address, ending, _thread: Joined::spawn("canned", accept)? })
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(&self.address);
        _ = fs::remove_file(&self.kubeconfig);
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    loop {
        let Some(path) = read_request(&mut requests)? else { return Ok(()) };
        if path.contains("watch=") {
            watch(&mut stream)?;
            // Silent until the client has had enough.
            _ = read_request(&mut requests)?;
            return Ok(());
        }
        let body = answer(path.split('?').next().unwrap_or_default());
        let (status, body) = body.map_or(("404 Not Found", NOT_FOUND), |body| ("200 OK", body));
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// The path of the next request, whose head is read; none where the client has gone.
fn read_request(requests: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut first = String::new();
    if requests.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
    }
    Ok(first.split(' ').nth(1).map(str::to_owned))
}

fn answer(path: &str) -> Option<&'static str> {
    Some(match path {
        "/version" => r#"{"major":"1","minor":"36","gitVersion":"v1.36.0"}"#,
        "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
        "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#,
        "/api/v1" => RESOURCES,
        "/api/v1/namespaces/kube-system" => {
            r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"c1","resourceVersion":"1"}}"#
        }
        "/api/v1/configmaps" => LIST,
        _ => return None,
    })
}

fn watch(stream: &mut TcpStream) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for line in WATCH {
        write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1)?;
    }
    stream.flush()
}

const NOT_FOUND: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not found","reason":"NotFound","code":404}"#;

const RESOURCES: &str = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["get","list","watch"]}]}"#;

const LIST: &str = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"12"},"items":[]}"#;

/// A streaming list of one object, and what becomes of it.
const WATCH: [&str; 4] = [
    r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"demo","uid":"u1","resourceVersion":"7"},"data":{"key":"value-1"}}}"#,
    r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    r#"{"type":"MODIFIED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"demo","uid":"u1","resourceVersion":"11"},"data":{"key":"value-2"}}}"#,
    r#"{"type":"DELETED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"demo","uid":"u1","resourceVersion":"12"},"data":{"key":"value-2"}}}"#,
];
