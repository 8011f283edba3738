//! An S3 server for tests: `s3s` implements the protocol, signatures included. The bucket is a map, because a
//! bucket has no folders. A proxy in front of it injects faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput,
    PutObjectOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{
    Body, HttpRequest, HttpResponse, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error,
};
use tokio::sync::oneshot;

/// The one bucket there is.
pub const BUCKET: &str = "attachments";
/// The key that opens it.
pub const KEY_ID: &str = "AKIDTEST";
/// The key's secret.
pub const SECRET: &str = "hunter2-hunter2-hunter2";

/// What a bulk deletion may prove itself with.
const CHECKSUMS: [&str; 2] = ["content-md5", "x-amz-checksum-crc32"];

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Nothing: it goes through.
    Pass,
    /// It is answered with a status and a code, and does not reach the bucket.
    Answer(u16, &'static str, &'static str),
    /// It goes through, late.
    Slow(Duration),
    /// A bulk deletion takes this long for each key, there or not.
    SlowKeys(Duration),
    /// The connection is cut before an answer.
    Cut,
    /// It goes through, and the connection is cut before the answer.
    CutAfter,
    /// It is answered with this text and status 200, and does not reach the bucket.
    Says(&'static str),
    /// A deletion goes through with this error for these keys; a single one of such a key is answered 403.
    Keys(&'static str, &'static str, Vec<String>),
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, i64>>,
    script: Mutex<VecDeque<Trouble>>,
    /// What happens to every request that no script is left for.
    always: Mutex<Option<Trouble>>,
    versioned: Mutex<bool>,
    /// The one checksum that bulk deletions may carry.
    only: Mutex<Option<&'static str>>,
    requests: Mutex<Vec<String>>,
    paths: Mutex<Vec<String>>,
}

/// The server; it stops when dropped, and complains about a script that was not used up.
pub struct S3Server {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
}

impl S3Server {
    /// Serves on a free port, on a thread of its own: a test may block its own.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&state));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = serving => {} _ = stopped => {} }
            });
        });
        Self { address, state, stop: Some(stop) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next requests meet these, one each, but for those that only look.
    pub fn script(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.state.script.lock().extend(troubles);
    }

    /// From now on every request meets this, or nothing, but for those that only look.
    pub fn always(&self, trouble: Option<Trouble>) {
        *self.state.always.lock() = trouble;
    }

    pub fn take_only(&self, checksum: &'static str) {
        *self.state.only.lock() = Some(checksum);
    }

    pub fn keep_versions(&self) {
        *self.state.versioned.lock() = true;
    }

    pub fn put(&self, key: &str) {
        self.state.objects.lock().insert(key.to_owned(), 10);
    }

    pub fn keys(&self) -> BTreeSet<String> {
        self.state.objects.lock().keys().cloned().collect()
    }

    /// What was asked to change so far, such as `PUT`, `DELETE`, `POST ?delete`; tries included.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().clone()
    }

    /// Where they went.
    pub fn paths(&self) -> Vec<String> {
        self.state.paths.lock().clone()
    }

    /// How many of them were this.
    pub fn asked(&self, what: &str) -> usize {
        self.requests().iter().filter(|request| *request == what).count()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let stopped = self.stop.take().map(|stop| stop.send(()));
        let left = self.state.script.lock().clone();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "the script was not used up: {left:?}; stopped: {stopped:?}");
        }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut builder = S3ServiceBuilder::new(Bucket(Arc::clone(&state)));
    builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
    let s3 = builder.build();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, s3) = (Arc::clone(&state), s3.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            front(Arc::clone(&state), s3.clone(), request.map(Body::from))
        });
        tokio::spawn(async move {
            // A connection that was cut on purpose ends in an error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn front(
    state: Arc<State>,
    s3: S3Service,
    mut request: HttpRequest,
) -> Result<HttpResponse, Box<dyn std::error::Error + Send + Sync>> {
    let query = request.uri().query().unwrap_or_default();
    let sub =
        if query.split('&').any(|pair| pair.trim_end_matches('=') == "delete") { " ?delete" } else { "" };
    state.paths.lock().push(request.uri().path().to_owned());
    // One that only looks is no part of a script: each start looks at some objects.
    if request.method() == hyper::Method::HEAD {
        return Ok(s3.call(request).await?);
    }
    state.requests.lock().push(format!("{}{sub}", request.method()));
    let scripted = state.script.lock().pop_front();
    let trouble = scripted.or_else(|| state.always.lock().clone()).unwrap_or(Trouble::Pass);
    match trouble {
        Trouble::Cut => return Err("cut".into()),
        Trouble::Answer(status, code, message) => {
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            );
            let body = if code.is_empty() { String::new() } else { xml };
            return Ok(hyper::Response::builder().status(status).body(Body::from(body))?);
        }
        Trouble::Says(text) => return Ok(HttpResponse::new(Body::from(text.to_owned()))),
        Trouble::Slow(delay) => tokio::time::sleep(delay).await,
        Trouble::SlowKeys(delay) => drop(request.extensions_mut().insert(KeyDelay(delay))),
        Trouble::Keys(code, message, keys) => {
            request.extensions_mut().insert(KeyTrouble(code, message, keys));
        }
        Trouble::CutAfter => {
            s3.call(request).await?;
            return Err("cut".into());
        }
        Trouble::Pass => {}
    }
    Ok(s3.call(request).await?)
}

/// Keys that a deletion is to leave.
#[derive(Clone)]
struct KeyTrouble(&'static str, &'static str, Vec<String>);

/// How long a bulk deletion takes for each key.
#[derive(Clone)]
struct KeyDelay(Duration);

struct Bucket(Arc<State>);

impl Bucket {
    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket, "there is only `{BUCKET}`")) }
    }

    fn version(&self) -> Option<String> {
        self.0.versioned.lock().then(|| "v1".to_owned())
    }
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        self.check(&input.bucket)?;
        let mut size = 0;
        while let Some(chunk) = input.body.as_mut().unwrap().next().await {
            size += i64::try_from(chunk.unwrap().len()).unwrap();
        }
        self.0.objects.lock().insert(input.key, size);
        Ok(S3Response::new(PutObjectOutput { version_id: self.version(), ..Default::default() }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.check(&request.input.bucket)?;
        let size = self.0.objects.lock().get(&request.input.key).copied();
        let size = size.ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(S3Response::new(HeadObjectOutput { content_length: Some(size), ..Default::default() }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.check(&request.input.bucket)?;
        if let Some(KeyTrouble(code, message, keys)) = request.extensions.get::<KeyTrouble>()
            && keys.contains(&request.input.key)
        {
            let mut error = S3Error::with_message(S3ErrorCode::Custom((*code).into()), *message);
            error.set_status_code(hyper::StatusCode::FORBIDDEN);
            return Err(error);
        }
        self.0.objects.lock().remove(&request.input.key);
        let delete_marker = self.version().map(|_| true);
        Ok(S3Response::new(DeleteObjectOutput { delete_marker, ..Default::default() }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check(&request.input.bucket)?;
        let carries = |name: &str| request.headers.contains_key(name);
        let others: Vec<_> = CHECKSUMS.iter().filter(|name| carries(name)).collect();
        assert_eq!(others.len(), 1, "some stores refuse a request with two checksums: {others:?}");
        if self.0.only.lock().is_some_and(|only| !carries(only)) {
            return Err(s3_error!(
                InvalidRequest,
                "Missing required header for this request: Content-MD5 or checksum"
            ));
        }
        let trouble = request.extensions.get::<KeyTrouble>().cloned();
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let quiet = request.input.delete.quiet == Some(true);
        if request.input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        let delay = request.extensions.get::<KeyDelay>().cloned();
        for object in request.input.delete.objects {
            if let Some(KeyDelay(delay)) = delay {
                tokio::time::sleep(delay).await;
            }
            if let Some(KeyTrouble(code, message, _)) =
                trouble.as_ref().filter(|trouble| trouble.2.contains(&object.key))
            {
                let (code, message) = (Some((*code).to_owned()), Some((*message).to_owned()));
                errors.push(Error { key: Some(object.key), code, message, version_id: None });
                continue;
            }
            self.0.objects.lock().remove(&object.key);
            let delete_marker = self.version().map(|_| true);
            deleted.push(DeletedObject { key: Some(object.key), delete_marker, ..Default::default() });
        }
        let deleted = (!quiet).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors: Some(errors), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let (prefix, after) = (input.prefix.unwrap_or_default(), input.start_after.unwrap_or_default());
        let max = usize::try_from(input.max_keys.unwrap_or(1000).min(1000)).unwrap();
        let objects = self.0.objects.lock();
        let mut found = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: Vec<Object> = found
            .by_ref()
            .take(max)
            .map(|(key, size)| Object { key: Some(key.clone()), size: Some(*size), ..Default::default() })
            .collect();
        let is_truncated = Some(found.next().is_some());
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents),
            is_truncated,
            ..Default::default()
        }))
    }
}
