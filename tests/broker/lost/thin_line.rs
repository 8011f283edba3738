//! Over a thin line, jobs with large arguments and results take longer than any short call; everything works all the same.

use std::time::Duration;

use serde_json::{Value, json};
use tikkun::job::{Args, JobChanges, Limit, NewJob, Verbatim};
use tikkun::queue::{Broker, Delivery, Disposition, RqSettings, Settled, Settlement, open_rq};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::super::ground::*;
use super::super::redis_server::SHARED;
use super::super::rq::Prefix;

/// Bytes in one direction in a tenth of a second.
const WIDTH: usize = 16 << 10;
/// The length of texts that take over four seconds.
const LARGE: usize = 760_000;

/// Copies from one side to the other, no faster than the line is wide.
async fn trickle(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut bytes = vec![0; WIDTH];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if count > 1024 {
            tokio::time::sleep(Duration::from_millis(100) * u32::try_from(count).unwrap() / 16384).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// The port of a thin line to the server.
async fn line() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = UnixStream::connect(SHARED.socket()).await.unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(trickle(from_near, to_far));
            tokio::spawn(trickle(from_far, to_near));
        }
    });
    port
}

/// Letters by chance, so that they cannot be packed much.
fn text_of(length: usize) -> Value {
    json!(std::iter::repeat_with(fastrand::alphanumeric).take(length).collect::<String>())
}

fn text() -> Value {
    text_of(LARGE)
}

/// The first call says how heavy it is; the second waits for it.
async fn second_time(broker: &dyn Broker) -> Delivery {
    assert_eq!(fetch(broker, 2).await, [], "no job is lent in vain");
    let weight = broker.left(Some(&queue()));
    assert!(weight > LARGE / 2, "{weight}");
    let lent = broker.fetch_heavy(&queue(), weight, &me()).await.unwrap();
    assert_eq!(broker.left(Some(&queue())), 0);
    lent.into_iter().next().expect("the job that was too heavy at first")
}

#[tokio::test]
async fn large_jobs_are_fetched_and_their_large_results_are_written_over_a_thin_line() {
    let (prefix, port) = (Prefix::new(), line().await);
    let settings = RqSettings { url: format!("redis://127.0.0.1:{port}/0").into(), ..prefix.settings() };
    let (near, far) = (open_rq(&prefix.settings()).unwrap(), open_rq(&settings).unwrap());
    assert!(far.renew_lease(&process(ME), LONG).await.unwrap());
    let mut large = job("large");
    large.args = Args::positional([text()]);
    near.enqueue(&[large, job("small")]).await.unwrap();

    let delivery = second_time(&*far).await;
    assert_eq!((delivery.job.id.as_str(), delivery.job.attempt), ("large", 1));
    let result = text();
    let verdict = Disposition::Ack { result: result.clone(), keep: Limit::After(LONG) };
    let (settled, renewed) =
        tokio::join!(settle(&*far, &delivery, verdict), async { far.renew_lease(&process(ME), LONG).await });
    assert_eq!(settled, Settled::Done);
    assert!(renewed.unwrap(), "short calls do not wait for long ones");
    assert_eq!(record(&*near, "large").await.result, Some(result));
    assert_eq!(ids(&fetch(&*far, 2).await), ["small"]);
}

/// None of them is large. Together they take longer than a short call, as does one that only every server accepts.
#[tokio::test]
async fn many_jobs_that_are_not_large_are_fetched_over_a_thin_line() {
    let (prefix, port) = (Prefix::new(), line().await);
    let settings = RqSettings { url: format!("redis://127.0.0.1:{port}/0").into(), ..prefix.settings() };
    let (near, far) = (open_rq(&prefix.settings()).unwrap(), open_rq(&settings).unwrap());
    assert!(far.renew_lease(&process(ME), LONG).await.unwrap());
    let jobs: Vec<_> = (0..12)
        .map(|number| NewJob { args: Args::positional([text_of(70_000)]), ..job(&format!("job-{number}")) })
        .chain([NewJob { args: Args::positional([text_of(600_000)]), ..job("last") }])
        .collect();
    near.enqueue(&jobs).await.unwrap();
    let mut fetched = Vec::new();
    while fetched.len() < 12 {
        let some = ids(&fetch(&*far, 12).await);
        assert!(!some.is_empty(), "after {fetched:?}");
        fetched.extend(some);
    }
    assert_eq!(far.held(&queue(), &me()).await.unwrap().len(), 12);
    assert_eq!(fetch(&*far, 2).await, []);
    let last = far.fetch_heavy(&queue(), far.left(Some(&queue())), &me()).await.unwrap();
    assert_eq!(ids(&last), ["last"]);
}

#[tokio::test]
async fn what_a_job_changed_of_itself_is_written_over_a_thin_line_as_it_is() {
    let (prefix, port) = (Prefix::new(), line().await);
    let settings = RqSettings { url: format!("redis://127.0.0.1:{port}/0").into(), ..prefix.settings() };
    let (near, far) = (open_rq(&prefix.settings()).unwrap(), open_rq(&settings).unwrap());
    assert!(far.renew_lease(&process(ME), LONG).await.unwrap());
    let delivery = one(&*far, job("large")).await;

    let meta: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(LARGE).collect();
    let fields = [("meta", meta.clone()), ("description", Vec::new()), ("notes", b"\x00\xff".to_vec())];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    let words = Verbatim {
        payload: Some(b"\x80\x04K\x1b.".to_vec()),
        changes: JobChanges { fields, ..JobChanges::default() },
        ..Verbatim::default()
    };
    let end = [Settlement { verbatim: Some(words.into()), ..settlement(&delivery, ack()) }];
    let (settled, renewed) =
        tokio::join!(far.settle(&end), async { far.renew_lease(&process(ME), LONG).await });
    assert_eq!(settled.unwrap(), [Settled::Done]);
    assert!(renewed.unwrap(), "short calls do not wait for long ones");
    for (name, expected) in [("meta", &*meta), ("description", b""), ("notes", b"\x00\xff")] {
        assert!(prefix.ask_bytes(&["HGET", "job:large", name]).await == expected, "{name}");
    }
    assert_eq!(record(&*near, "large").await.result, Some(json!(27)));
}

#[tokio::test]
async fn large_jobs_of_dead_processes_are_found_over_a_thin_line() {
    let (prefix, port) = (Prefix::new(), line().await);
    let settings = RqSettings { url: format!("redis://127.0.0.1:{port}/0").into(), ..prefix.settings() };
    let (near, far) = (open_rq(&prefix.settings()).unwrap(), open_rq(&settings).unwrap());
    assert!(near.renew_lease(&process(ME), LONG).await.unwrap());
    let mut large = job("large");
    large.args = Args::positional([text()]);
    near.enqueue(&[large, job("small")]).await.unwrap();
    second_time(&*near).await;
    assert_eq!(ids(&fetch(&*near, 2).await), ["small"]);
    near.end_lease(&me()).await.unwrap();

    let found = async || -> Vec<String> {
        far.orphans(9).await.unwrap().into_iter().map(|one| one.delivery.job.id.to_string()).collect()
    };
    assert_eq!(found().await, ["small"], "it holds up no other");
    assert!(far.left(None) > LARGE / 2);
    let mut all = found().await;
    all.sort();
    assert_eq!(all, ["large", "small"]);

    assert_eq!(found().await, ["small"]);
    let both = far.orphans(9).await.unwrap();
    let large = both.into_iter().find(|one| one.delivery.job.id == "large".into()).unwrap();
    far.leave_orphans(vec![large.delivery.execution]);
    for _ in 0..2 {
        assert_eq!(found().await, ["small"], "what is left to others is not sent again");
    }
    assert_eq!(far.left(None), 0);
}

/// Ids that a fetch brings, and what it leaves.
async fn brought(broker: &dyn Broker) -> (Vec<String>, usize) {
    (ids(&fetch(broker, 9).await), broker.left(Some(&queue())))
}

#[tokio::test]
async fn a_heavy_job_waits_in_its_place_for_who_asks_for_just_that() {
    for whole in [false, true] {
        let prefix = Prefix::new();
        let settings =
            RqSettings { whole_hashes: whole.then(queue).into_iter().collect(), ..prefix.settings() };
        let broker = open_rq(&settings).unwrap();
        assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
        let heavy = |id: &str| {
            let args = Args::positional([text()]);
            NewJob { args, ..job(id) }
        };
        let jobs = [job("a"), heavy("b"), job("c"), heavy("d")];
        broker.enqueue(&jobs).await.unwrap();
        let (first, weight) = brought(&*broker).await;
        assert_eq!(first, ["a"], "what stands before it comes, and what stands behind it waits");
        assert!(weight > LARGE / 2);
        assert_eq!(brought(&*broker).await, (vec![], weight), "nobody overtakes it");
        let asked = async |weight| ids(&broker.fetch_heavy(&queue(), weight, &me()).await.unwrap());
        assert_eq!(asked(weight - 1).await, Vec::<String>::new(), "there would be no room for it");
        assert_eq!(broker.left(Some(&queue())), weight);
        assert_eq!(asked(weight).await, ["b"]);
        assert_eq!(asked(weight).await, Vec::<String>::new(), "a light one needs no room");
        assert_eq!(broker.left(Some(&queue())), 0);
        let (next, weight) = brought(&*broker).await;
        assert_eq!(next, ["c"]);
        let last = broker.fetch_heavy(&queue(), weight, &me()).await.unwrap().remove(0);
        assert_eq!(last.job.id, "d".into());
        assert_eq!(last.hash.map(|hash| hash.weight()), whole.then_some(weight));
    }
}
